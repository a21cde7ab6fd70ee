// SPDX-License-Identifier: Apache-2.0
#include "tests/support/daemon_process.h"

#include <ctype.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

extern char** environ;

namespace leaseplane::testing {
namespace {

constexpr int kWatchdogMs = 60'000;

std::string TempRoot() {
  const char* folder = ::getenv("TEST_TMPDIR");
  return folder != nullptr ? folder : "/tmp";
}

[[noreturn]] void GiveUp(const std::string& why, const std::string& log) {
  std::fprintf(stderr, "daemon under test: %s\n%s\n", why.c_str(), log.c_str());
  ::abort();
}

// A worker that ended by a fault of its own; the keeper has made another one.
bool TellsOfACrash(const std::string& log) {
  const auto tells = [&log](int signal) {
    const std::string text = "killed by signal " + std::to_string(signal);
    const size_t at = log.find(text);
    return at != std::string::npos && ::isdigit(log[at + text.size()]) == 0;
  };
  return tells(SIGSEGV) || tells(SIGABRT) || tells(SIGBUS) || tells(SIGILL) || tells(SIGFPE);
}

std::string Field(const std::string& line, const std::string& name) {
  const size_t begin = line.find(" " + name + "=");
  if (begin == std::string::npos) return {};
  const size_t value = begin + name.size() + 2;
  return line.substr(value, line.find_first_of(" \n", value) - value);
}

}  // namespace

DaemonProcess::DaemonProcess(DaemonProcessOptions options) : options_(std::move(options)) {
  std::string pattern = TempRoot() + "/leaseplane-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) GiveUp("no folder", pattern);
  folder_ = pattern;
  std::ofstream(folder_ + "/config.yaml") << options_.config;
}

DaemonProcess::~DaemonProcess() {
  if (pid_ != 0) Stop();
  if (TellsOfACrash(log())) GiveUp("a worker crashed", log());
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void DaemonProcess::Start() {
  std::vector<std::string> words = {
      options_.program,   "--config",         folder_ + "/config.yaml",
      "--state-dir",      folder_ + "/state", "--socket",
      socket_path(),      "--listen",         grpc_address_,
      "--metrics-listen", metrics_address_};
  words.insert(words.end(), options_.flags.begin(), options_.flags.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) GiveUp("no pipe", "");
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, (folder_ + "/log").c_str(),
                                     O_WRONLY | O_CREAT | O_APPEND, 0600);
  const int error =
      ::posix_spawn(&pid_, options_.program.c_str(), &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  if (error != 0) GiveUp("cannot run " + options_.program, "");
  ReadReadyLine(ends[0]);
  ::close(ends[0]);
}

void DaemonProcess::ReadReadyLine(int fd) {
  std::string line;
  while (line.find('\n') == std::string::npos) {
    pollfd item{fd, POLLIN, 0};
    char bytes[256];
    if (::poll(&item, 1, kWatchdogMs) <= 0) GiveUp("it does not become ready", log());
    const ssize_t n = ::read(fd, bytes, sizeof(bytes));
    if (n <= 0) GiveUp("it ended instead of becoming ready", log());
    line.append(bytes, static_cast<size_t>(n));
  }
  grpc_address_ = Field(line, "grpc");
  metrics_address_ = Field(line, "metrics");
  if (grpc_address_.empty() || metrics_address_.empty()) GiveUp("it says: " + line, log());
}

int DaemonProcess::Stop() {
  ::kill(pid_, SIGTERM);
  int status = 0;
  for (int waited_ms = 0; waited_ms < kWatchdogMs; waited_ms += 10) {
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = 0;
      return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    ::poll(nullptr, 0, 10);
  }
  std::fprintf(stderr, "daemon under test: does not stop\n%s\n", log().c_str());
  Kill();
  return -1;
}

void DaemonProcess::Kill() {
  if (pid_ <= 0) GiveUp("it does not run", log());  // 0 would be everybody of this group
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = 0;
}

pid_t DaemonProcess::worker_pid() const {
  const std::string keeper = std::to_string(pid_);
  std::ifstream children("/proc/" + keeper + "/task/" + keeper + "/children");
  pid_t worker = 0;
  children >> worker;
  return worker;
}

bool DaemonProcess::KillWorker() {
  const pid_t worker = worker_pid();
  return worker != 0 && ::kill(worker, SIGKILL) == 0;
}

std::string DaemonProcess::log() const {
  std::stringstream text;
  text << std::ifstream(folder_ + "/log").rdbuf();
  return text.str();
}

}  // namespace leaseplane::testing
