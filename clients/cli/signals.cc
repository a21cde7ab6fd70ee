// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/signals.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace leaseplane::cli {
namespace {

sigset_t RunSignals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (int number : {SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD}) ::sigaddset(&set, number);
  return set;
}

}  // namespace

void BlockRunSignals() {
  const sigset_t set = RunSignals();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

void UnblockRunSignals() {
  const sigset_t set = RunSignals();
  ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

void IgnoreKeyboardSignals() {
  ::signal(SIGINT, SIG_IGN);
  ::signal(SIGQUIT, SIG_IGN);
}

void ResetChildSignal() { ::signal(SIGCHLD, SIG_DFL); }

UniqueFd OpenSignalFd() {
  const sigset_t set = RunSignals();
  return UniqueFd(::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
}

std::vector<int> ReadSignals(int signal_fd) {
  std::vector<int> numbers;
  signalfd_siginfo info;
  while (::read(signal_fd, &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info))) {
    numbers.push_back(static_cast<int>(info.ssi_signo));
  }
  return numbers;
}

}  // namespace leaseplane::cli
