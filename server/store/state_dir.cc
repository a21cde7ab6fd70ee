// SPDX-License-Identifier: Apache-2.0
#include "server/store/state_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"

namespace leaseplane::store {
namespace {

absl::Status DirError(const std::string& dir, const char* action, int error) {
  const std::string text =
      absl::StrCat("state directory ", dir, ": cannot ", action, ": ", std::strerror(error));
  return error == ENOSPC || error == EDQUOT ? absl::ResourceExhaustedError(text)
                                            : absl::PermissionDeniedError(text);
}

absl::Status MakeDir(const std::string& dir, mode_t mode) {
  if (::mkdir(dir.c_str(), mode) != 0 && errno != EEXIST) return DirError(dir, "make it", errno);
  struct stat info {};
  if (::stat(dir.c_str(), &info) != 0) return DirError(dir, "inspect it", errno);
  if (!S_ISDIR(info.st_mode)) return DirError(dir, "use it", ENOTDIR);
  return absl::OkStatus();
}

// What the lock's holder wrote there; for people only, it may be about to change.
std::string HolderText(int fd) {
  char text[32] = {};
  const ssize_t count = ::pread(fd, text, sizeof text - 1, 0);
  if (count <= 0) return "another process";
  text[std::strcspn(text, "\n")] = '\0';
  return absl::StrCat("process ", text);
}

}  // namespace

std::string LedgerDir(const std::string& state_dir) { return absl::StrCat(state_dir, "/ledger"); }

absl::Status PrepareStateDir(const std::string& state_dir) {
  std::error_code error;
  const std::filesystem::path parent = std::filesystem::path(state_dir).parent_path();
  if (!parent.empty()) std::filesystem::create_directories(parent, error);
  if (error) return DirError(state_dir, "make its parents", error.value());
  if (absl::Status status = MakeDir(state_dir, 0750); !status.ok()) return status;
  return MakeDir(LedgerDir(state_dir), 0700);
}

absl::StatusOr<StateDirLock> StateDirLock::Acquire(const std::string& state_dir) {
  const std::string path = absl::StrCat(state_dir, "/lock");
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640));
  if (!fd) return DirError(state_dir, "open its lock", errno);
  // flock() and not fcntl(): it belongs to the open file, so a forked child keeps it, and it ends
  // with the last process that has it, however that one ends.
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return DirError(state_dir, "lock it", errno);
    return absl::AlreadyExistsError(absl::StrCat("state directory ", state_dir, " is in use by ",
                                                 HolderText(fd.get()),
                                                 "; one daemon has one directory"));
  }
  const std::string pid = absl::StrCat(::getpid(), "\n");
  // Only for the message above; that the lock is held does not depend on it.
  if (::ftruncate(fd.get(), 0) == 0) {
    static_cast<void>(::pwrite(fd.get(), pid.data(), pid.size(), 0) == 0);
  }
  return StateDirLock(std::move(fd));
}

}  // namespace leaseplane::store
