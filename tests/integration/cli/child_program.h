// SPDX-License-Identifier: Apache-2.0
//
// ChildProgram: a program that a test starts, watches and ends. Its output goes to files, so that a
// process it leaves behind never holds the test up.
//
// Ownership: move-only; destruction kills a program that still runs. Threads: one.
// Errors: aborts; waiting for more than a minute is one.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace leaseplane::testing {

class ChildProgram {
 public:
  // words[0] is the path of the program, or a name in PATH. `environment`: NAME=VALUE, added.
  static ChildProgram Start(const std::vector<std::string>& words,
                            const std::vector<std::string>& environment = {});
  // $LEASECTL with these arguments.
  static ChildProgram Leasectl(std::vector<std::string> arguments);

  ChildProgram(ChildProgram&& other) noexcept;
  ChildProgram& operator=(ChildProgram&&) = delete;
  ~ChildProgram();

  pid_t pid() const { return pid_; }
  void Signal(int number) const;
  bool HasEnded();
  // Its exit code, or 128+n as a shell has it.
  int Wait();
  std::string Output() const;
  std::string Errors() const;

 private:
  ChildProgram(pid_t pid, std::string folder) : pid_(pid), folder_(std::move(folder)) {}

  pid_t pid_;
  std::string folder_;
  bool has_ended_ = false;
  int status_ = 0;
};

// Looks every few milliseconds whether `condition` holds; aborts after a minute.
void WaitUntil(const char* what, const std::function<bool()>& condition);

// A fresh folder below the test's, short enough for a socket.
std::string FreshFolder();
std::string ReadFile(const std::string& path);  // empty if there is none
bool IsAlive(pid_t pid);                        // zombies are not
int64_t BootNowNs();

}  // namespace leaseplane::testing
