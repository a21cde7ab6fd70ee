// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/ledger_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/unique_fd.h"
#include "server/ledger/checksum.h"
#include "server/ledger/record_codec.h"

namespace leaseplane::ledger {
namespace {

absl::Status FileError(const std::string& path, const char* action, int error) {
  const std::string text =
      absl::StrCat("ledger ", path, ": cannot ", action, ": ", std::strerror(error));
  switch (error) {
    case ENOENT:
      return absl::NotFoundError(text);
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case ENOMEM:
      return absl::ResourceExhaustedError(text);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(text);
    default:
      return absl::InternalError(text);
  }
}

uint32_t HeaderChecksum(const LedgerHeader& header) {
  return Checksum(0, &header, offsetof(LedgerHeader, checksum));
}

void RequireSane(const LedgerIdentity& identity) {
  RequireLedger(!identity.pool_id.empty() && identity.pool_id.size() <= engine::kPoolIdBytesMax &&
                    identity.pool_id.find('/') == std::string::npos,
                "pool id");
  RequireLedger(identity.max_capacity >= 1 && identity.max_capacity <= kCapacityMax, "capacity");
}

absl::Status DamagedFile(const std::string& path, const std::string& what) {
  return absl::DataLossError(absl::StrCat("ledger ", path, " is damaged: ", what));
}

absl::Status CheckHeader(const std::string& path, const LedgerHeader& header,
                         const LedgerIdentity& identity) {
  if (header.magic != kLedgerMagic) return DamagedFile(path, "it does not begin like a ledger");
  if (header.checksum != HeaderChecksum(header))
    return DamagedFile(path, "wrong checksum of the header");
  const auto other = [&path](const char* what) {
    return absl::FailedPreconditionError(absl::StrCat("ledger ", path, " is of another ", what));
  };
  if (header.version != kLedgerVersion) return other("version");
  if (header.header_bytes != kHeaderBytes || header.lease_body_bytes != sizeof(LeaseBody) ||
      header.tombstone_body_bytes != sizeof(TombstoneBody) ||
      header.lock_body_bytes != sizeof(LockBody)) {
    return other("layout");
  }
  if (header.pool_id_bytes > sizeof header.pool_id ||
      std::string_view(header.pool_id, header.pool_id_bytes) != identity.pool_id ||
      Uuid{header.pool_uid[0], header.pool_uid[1]} != identity.pool_uid) {
    return other("pool");
  }
  if (Uuid{header.boot_id[0], header.boot_id[1]} != identity.boot_id) {
    return other("boot of the host");
  }
  if (header.max_capacity < 1 || header.max_capacity > kCapacityMax ||
      header.tombstone_count != TombstoneCountMax(header.max_capacity)) {
    return DamagedFile(
        path, absl::StrCat(header.max_capacity, " slots, ", header.tombstone_count, " tombstones"));
  }
  return absl::OkStatus();
}

std::string NewName(const std::string& path) { return path + ".new"; }

}  // namespace

LedgerFile::LedgerFile(std::string path, uint32_t max_capacity)
    : path_(std::move(path)),
      max_capacity_(max_capacity),
      tombstone_count_(TombstoneCountMax(max_capacity)),
      geometry_(LedgerGeometry::Of(max_capacity_, tombstone_count_)) {}

LedgerFile::~LedgerFile() {
  if (base_ != nullptr) ::munmap(base_, geometry_.file_bytes);
}

std::string LedgerFile::PathOf(const std::string& dir, const std::string& pool_id) {
  return absl::StrCat(dir, "/", pool_id, ".ledger");
}

absl::StatusOr<std::unique_ptr<LedgerFile>> LedgerFile::CreateNew(const std::string& dir,
                                                                  const LedgerIdentity& identity) {
  RequireSane(identity);
  std::unique_ptr<LedgerFile> file(
      new LedgerFile(PathOf(dir, identity.pool_id), identity.max_capacity));
  const std::string name = NewName(file->path_);
  // A leftover of a kill may be of any size; a fresh file starts as zeros, which is empty (I1).
  if (::unlink(name.c_str()) != 0 && errno != ENOENT) return FileError(name, "remove", errno);
  const UniqueFd fd(::open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return FileError(name, "create", errno);
  const auto bytes = static_cast<off_t>(file->geometry_.file_bytes);
  const int error = ::posix_fallocate(fd.get(), 0, bytes);
  absl::Status status = error == 0 ? file->Map(fd.get()) : FileError(name, "allocate", error);
  if (!status.ok()) {
    ::unlink(name.c_str());
    return status;
  }
  file->WriteHeader(identity);
  return file;
}

absl::Status LedgerFile::MoveIntoPlace() {
  if (std::rename(NewName(path_).c_str(), path_.c_str()) == 0) return absl::OkStatus();
  return FileError(path_, "replace", errno);
}

absl::StatusOr<std::unique_ptr<LedgerFile>> LedgerFile::Open(const std::string& dir,
                                                             const LedgerIdentity& identity) {
  RequireSane(identity);
  const std::string path = PathOf(dir, identity.pool_id);
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return FileError(path, "open", errno);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return FileError(path, "inspect", errno);
  if (!S_ISREG(info.st_mode)) return DamagedFile(path, "it is not a regular file");
  if (info.st_size < static_cast<off_t>(kHeaderBytes)) {
    return DamagedFile(path, absl::StrCat(info.st_size, " bytes are less than a header"));
  }
  LedgerHeader header{};
  if (::pread(fd.get(), &header, sizeof header, 0) != static_cast<ssize_t>(sizeof header)) {
    return FileError(path, "read", errno);
  }
  if (absl::Status status = CheckHeader(path, header, identity); !status.ok()) return status;
  std::unique_ptr<LedgerFile> file(new LedgerFile(path, header.max_capacity));
  const auto wanted = static_cast<off_t>(file->geometry_.file_bytes);
  if (info.st_size != wanted) {
    return file->Damaged(absl::StrCat("it has ", info.st_size, " bytes, not ", wanted));
  }
  if (absl::Status status = file->Map(fd.get()); !status.ok()) return status;
  return file;
}

absl::Status LedgerFile::Map(int fd) {
  void* base = ::mmap(nullptr, geometry_.file_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED) return FileError(path_, "map", errno);
  base_ = base;
  return absl::OkStatus();
}

absl::Status LedgerFile::Damaged(const std::string& what) const { return DamagedFile(path_, what); }

void LedgerFile::WriteHeader(const LedgerIdentity& identity) {
  LedgerHeader header{};
  header.magic = kLedgerMagic;
  header.version = kLedgerVersion;
  header.header_bytes = kHeaderBytes;
  header.lease_body_bytes = sizeof(LeaseBody);
  header.tombstone_body_bytes = sizeof(TombstoneBody);
  header.lock_body_bytes = sizeof(LockBody);
  header.max_capacity = max_capacity_;
  header.tombstone_count = tombstone_count_;
  header.pool_id_bytes = static_cast<uint32_t>(identity.pool_id.size());
  header.pool_uid[0] = identity.pool_uid.hi;
  header.pool_uid[1] = identity.pool_uid.lo;
  header.boot_id[0] = identity.boot_id.hi;
  header.boot_id[1] = identity.boot_id.lo;
  std::memcpy(header.pool_id, identity.pool_id.data(), identity.pool_id.size());
  header.checksum = HeaderChecksum(header);
  stores_.Copy(this->header(), &header, sizeof header);
}

}  // namespace leaseplane::ledger
