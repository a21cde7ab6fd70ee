// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/server/store/faulty_vfs.h"

#include <sqlite3.h>

#include <atomic>
#include <limits>
#include <new>

namespace leaseplane::store {
namespace {

constexpr int64_t kNeverFails = std::numeric_limits<int64_t>::max();

std::atomic<int64_t> operations{0};
std::atomic<int64_t> fails_from{kNeverFails};
std::atomic<bool> is_full{false};

// SQLITE_OK, or the error of this operation.
int NextOperation(int io_error) {
  if (++operations < fails_from) return SQLITE_OK;
  return is_full && io_error != SQLITE_IOERR_FSYNC ? SQLITE_FULL : io_error;
}

struct FaultyFile {
  sqlite3_file base;
  sqlite3_file* real() { return static_cast<sqlite3_file*>(static_cast<void*>(this + 1)); }
};

sqlite3_file* Real(sqlite3_file* file) {
  return static_cast<FaultyFile*>(static_cast<void*>(file))->real();
}

int Close(sqlite3_file* f) { return Real(f)->pMethods->xClose(Real(f)); }
int Read(sqlite3_file* f, void* to, int bytes, sqlite3_int64 at) {
  return Real(f)->pMethods->xRead(Real(f), to, bytes, at);
}
int Write(sqlite3_file* f, const void* from, int bytes, sqlite3_int64 at) {
  const int error = NextOperation(SQLITE_IOERR_WRITE);
  return error != SQLITE_OK ? error : Real(f)->pMethods->xWrite(Real(f), from, bytes, at);
}
int Truncate(sqlite3_file* f, sqlite3_int64 bytes) {
  const int error = NextOperation(SQLITE_IOERR_TRUNCATE);
  return error != SQLITE_OK ? error : Real(f)->pMethods->xTruncate(Real(f), bytes);
}
int Sync(sqlite3_file* f, int flags) {
  const int error = NextOperation(SQLITE_IOERR_FSYNC);
  return error != SQLITE_OK ? error : Real(f)->pMethods->xSync(Real(f), flags);
}
int FileSize(sqlite3_file* f, sqlite3_int64* bytes) {
  return Real(f)->pMethods->xFileSize(Real(f), bytes);
}
int Lock(sqlite3_file* f, int level) { return Real(f)->pMethods->xLock(Real(f), level); }
int Unlock(sqlite3_file* f, int level) { return Real(f)->pMethods->xUnlock(Real(f), level); }
int CheckReservedLock(sqlite3_file* f, int* out) {
  return Real(f)->pMethods->xCheckReservedLock(Real(f), out);
}
int FileControl(sqlite3_file* f, int operation, void* argument) {
  return Real(f)->pMethods->xFileControl(Real(f), operation, argument);
}
int SectorSize(sqlite3_file* f) { return Real(f)->pMethods->xSectorSize(Real(f)); }
int Characteristics(sqlite3_file* f) { return Real(f)->pMethods->xDeviceCharacteristics(Real(f)); }

// Version 1: no shared-memory methods, so this only works with an exclusive WAL, as the store's is.
constexpr sqlite3_io_methods kMethods = {1,
                                         Close,
                                         Read,
                                         Write,
                                         Truncate,
                                         Sync,
                                         FileSize,
                                         Lock,
                                         Unlock,
                                         CheckReservedLock,
                                         FileControl,
                                         SectorSize,
                                         Characteristics,
                                         nullptr,
                                         nullptr,
                                         nullptr,
                                         nullptr,
                                         nullptr,
                                         nullptr};

sqlite3_vfs* SystemVfs() {
  static sqlite3_vfs* const vfs = sqlite3_vfs_find(nullptr);
  return vfs;
}

int Open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  const int code = SystemVfs()->xOpen(SystemVfs(), name, Real(file), flags, out_flags);
  file->pMethods = code == SQLITE_OK ? &kMethods : nullptr;
  return code;
}

}  // namespace

void RegisterFaultyVfs() {
  static sqlite3_vfs vfs = [] {
    sqlite3_vfs copy = *SystemVfs();
    copy.zName = kFaultyVfs;
    copy.szOsFile = static_cast<int>(sizeof(FaultyFile)) + SystemVfs()->szOsFile;
    copy.pNext = nullptr;
    copy.xOpen = Open;
    return copy;
  }();
  sqlite3_vfs_register(&vfs, 0);
}

void FailFrom(int64_t nth, Fault fault) {
  is_full = fault == Fault::kEnospc;
  operations = 0;
  fails_from = nth;
}

void RepairDisk() {
  fails_from = kNeverFails;
  operations = 0;
}

int64_t DiskOperations() { return operations; }

}  // namespace leaseplane::store
