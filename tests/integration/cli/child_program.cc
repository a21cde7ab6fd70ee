// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/cli/child_program.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <sstream>
#include <utility>

extern char** environ;

namespace leaseplane::testing {
namespace {

constexpr int kWaitSecondsMax = 60;

std::vector<char*> Pointers(const std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (const std::string& word : words) pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

[[noreturn]] void Die(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  ::abort();
}

}  // namespace

ChildProgram ChildProgram::Start(const std::vector<std::string>& words,
                                 const std::vector<std::string>& environment) {
  std::vector<std::string> variables(environment);
  for (char** entry = environ; *entry != nullptr; ++entry) variables.emplace_back(*entry);
  const std::string folder = FreshFolder();
  const std::string out = folder + "/out";
  const std::string err = folder + "/err";
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::posix_spawn_file_actions_addopen(&actions, 2, err.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  // A process group of its own: tests stop some of these, and the kernel hangs up a whole group,
  // the test runner included, that loses its last parent outside while a member is stopped.
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  ::posix_spawnattr_setpgroup(&attributes, 0);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, words[0].c_str(), &actions, &attributes,
                                   Pointers(words).data(), Pointers(variables).data());
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) Die("cannot start " + words[0]);
  return ChildProgram(pid, folder);
}

ChildProgram ChildProgram::Leasectl(std::vector<std::string> arguments) {
  const char* program = ::getenv("LEASECTL");
  if (program == nullptr) Die("LEASECTL is not set");
  arguments.insert(arguments.begin(), program);
  return Start(arguments);
}

ChildProgram::ChildProgram(ChildProgram&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      folder_(std::move(other.folder_)),
      has_ended_(other.has_ended_),
      status_(other.status_) {}

ChildProgram::~ChildProgram() {
  if (pid_ <= 0 || has_ended_) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void ChildProgram::Signal(int number) const {
  if (!has_ended_ && pid_ > 0) ::kill(pid_, number);
}

bool ChildProgram::HasEnded() {
  if (!has_ended_) has_ended_ = ::waitpid(pid_, &status_, WNOHANG) == pid_;
  return has_ended_;
}

int ChildProgram::Wait() {
  WaitUntil("the end of a program", [this] { return HasEnded(); });
  return WIFSIGNALED(status_) ? 128 + WTERMSIG(status_) : WEXITSTATUS(status_);
}

std::string ChildProgram::Output() const { return ReadFile(folder_ + "/out"); }
std::string ChildProgram::Errors() const { return ReadFile(folder_ + "/err"); }

void WaitUntil(const char* what, const std::function<bool()>& condition) {
  const int64_t end_ns = BootNowNs() + kWaitSecondsMax * int64_t{1'000'000'000};
  while (!condition()) {
    if (BootNowNs() > end_ns) Die(std::string("waited in vain for ") + what);
    ::usleep(2000);
  }
}

std::string FreshFolder() {
  std::string pattern = ::testing::TempDir() + "lp-cli-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) Die("no temporary folder");
  return pattern;
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool IsAlive(pid_t pid) {
  const std::string stat = ReadFile("/proc/" + std::to_string(pid) + "/stat");
  const size_t name_end = stat.rfind(')');
  return name_end != std::string::npos && name_end + 2 < stat.size() && stat[name_end + 2] != 'Z';
}

int64_t BootNowNs() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace leaseplane::testing
