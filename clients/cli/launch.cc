// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/launch.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "clients/cli/exit_codes.h"

namespace leaseplane::cli {
namespace {

constexpr size_t kEnvironmentBytesMax = 16384;

absl::Status SystemError(const char* what) {
  return absl::InternalError(absl::StrCat(what, ": ", ::strerror(errno)));
}

// -- in the child

// Waits for the environment block, NUL after each entry; a descriptor that comes along is installed
// by the kernel without close-on-exec. Returns its size; 0 or less if leasectl is gone.
ssize_t ReceiveOrders(int socket, char* block, size_t block_bytes) {
  iovec data{block, block_bytes};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t size;
  do {
    size = ::recvmsg(socket, &message, 0);
  } while (size < 0 && errno == EINTR);
  return size;
}

[[noreturn]] void BecomeCommand(int socket, const std::vector<std::string>& command) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  std::vector<char> block(kEnvironmentBytesMax);
  const ssize_t size = ReceiveOrders(socket, block.data(), block.size());
  if (size <= 0) ::_exit(kExitRunFailed);
  for (ssize_t at = 0; at < size; at += static_cast<ssize_t>(::strlen(&block[at])) + 1) {
    ::putenv(&block[at]);
  }
  ::execvp(arguments[0], arguments.data());
  const int error_number = errno;
  // The socket closes itself when exec succeeds; so this message says that it did not.
  (void)::send(socket, &error_number, sizeof(error_number), MSG_NOSIGNAL);
  ::_exit(ExecExitCodeOf(error_number));
}

// -- in the parent

absl::Status SendOrders(int socket, const std::string& block, int fd) {
  iovec data{const_cast<char*>(block.data()), block.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    ::memcpy(CMSG_DATA(header), &fd, sizeof(int));
  }
  ssize_t sent;
  do {
    sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent < 0 ? SystemError("starting COMMAND") : absl::OkStatus();
}

}  // namespace

absl::StatusOr<Launch> Launch::Prepare(const std::vector<std::string>& command,
                                       OnParentDeath on_parent_death) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return SystemError("socketpair");
  }
  UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return SystemError("fork");
  if (pid == 0) {
    ours.reset();
    if (on_parent_death == OnParentDeath::kKill) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
      if (::getppid() != parent) ::_exit(kExitRunFailed);
    }
    BecomeCommand(theirs.get(), command);
  }
  return Launch(pid, std::move(ours));
}

absl::StatusOr<int> Launch::Start(const std::vector<std::string>& environment, int inherited_fd) {
  std::string block;
  for (const std::string& entry : environment) block.append(entry).push_back('\0');
  if (block.size() > kEnvironmentBytesMax) {
    return absl::InternalError("the lease's environment is too large");
  }
  const absl::Status sent = SendOrders(socket_.get(), block, inherited_fd);
  if (!sent.ok()) return sent;
  int error_number = 0;
  ssize_t size;
  do {
    size = ::recv(socket_.get(), &error_number, sizeof(error_number), 0);
  } while (size < 0 && errno == EINTR);
  socket_.reset();
  return size == static_cast<ssize_t>(sizeof(error_number)) ? error_number : 0;
}

void Launch::Cancel() {
  socket_.reset();
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace leaseplane::cli
