// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/local/node_process.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

namespace leaseplane::bench {

NodeProcess::NodeProcess(const std::string& subject, uint32_t capacity, int workers) {
  int input[2], output[2];
  if (::pipe(input) != 0 || ::pipe(output) != 0) std::abort();
  const std::string size = std::to_string(capacity), count = std::to_string(workers);
  pid_ = ::fork();
  if (pid_ < 0) std::abort();
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(input[0], STDIN_FILENO);
    ::dup2(output[1], STDOUT_FILENO);
    for (int fd = STDERR_FILENO + 1; fd < 256; ++fd) ::close(fd);  // others' pipes, too
    ::execlp("node", "node", NODE_SCRIPT, subject.c_str(), size.c_str(), count.c_str(), nullptr);
    std::perror("node");
    ::_exit(127);
  }
  ::close(input[0]);
  ::close(output[1]);
  to_ = ::fdopen(input[1], "w");
  from_ = ::fdopen(output[0], "r");
  if (ReadLine() != "ready\n") std::abort();
}

NodeProcess::~NodeProcess() {
  ::kill(pid_, SIGKILL);  // it keeps nothing
  std::fclose(to_);
  std::fclose(from_);
  ::waitpid(pid_, nullptr, 0);
}

std::string NodeProcess::ReadLine() {
  char line[256];
  if (std::fgets(line, sizeof(line), from_) == nullptr) {
    std::fprintf(stderr, "benchmark: node ended; are its packages installed?\n");
    std::abort();
  }
  return line;
}

Gang::Window NodeProcess::Run(double seconds) {
  std::fprintf(to_, "%f\n", seconds);
  std::fflush(to_);
  const nlohmann::json answer = nlohmann::json::parse(ReadLine());
  Gang::Window window;
  window.seconds = answer.at("seconds");
  window.ops = answer.at("ops");
  return window;
}

}  // namespace leaseplane::bench
