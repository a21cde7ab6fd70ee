// SPDX-License-Identifier: Apache-2.0
//
// GuardFile: an independent witness of exclusion. A small mapped file with a cell a slot; a holder
// enters the cell when it was granted the slot and leaves it before it gives the slot back. It
// shares no code with what it judges.
//
//   u64 violations, u64 grants, u64 operations[14]; then for each slot: u64 inside, u64 last_token
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace leaseplane::testing {

// Whether process `pid` has ended, or is so far into its end that no code of it runs any more.
inline bool HasEnded(uint64_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/stat";
  FILE* file = fopen(path.c_str(), "re");
  if (file == nullptr) return true;
  char text[512] = {};
  const size_t got = fread(text, 1, sizeof(text) - 1, file);
  fclose(file);
  const char* after_name = got == 0 ? nullptr : strrchr(text, ')');
  if (after_name == nullptr) return true;
  char state = '?';
  unsigned flags = 0;
  if (sscanf(after_name + 1, " %c %*d %*d %*d %*d %*d %u", &state, &flags) != 2) return true;
  constexpr unsigned kExiting = 4;  // PF_EXITING
  return state == 'Z' || state == 'X' || (flags & kExiting) != 0;
}

// What a cell that is not empty means to who is granted the slot.
enum class Holders { kLeave, kMayDie };

class GuardFile {
 public:
  static constexpr int kHeaderWords = 16;
  static constexpr int kSlotsMax = 64;
  static constexpr size_t kBytes = (kHeaderWords + 2 * kSlotsMax) * 8;

  explicit GuardFile(const std::string& path, Holders holders = Holders::kLeave)
      : holders_(holders) {
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, kBytes) != 0) Die(path);
    void* base = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) Die(path);
    close(fd);
    words_ = static_cast<std::atomic<uint64_t>*>(base);
  }

  // A grant: nobody may be inside, and the token must be larger than every one before.
  void Enter(uint32_t slot, int64_t token, uint64_t who) {
    words_[1].fetch_add(1);
    uint64_t nobody = 0;
    while (!Inside(slot).compare_exchange_strong(nobody, who)) {
      if (holders_ == Holders::kMayDie && HasEnded(nobody)) continue;  // expects the dead one now
      Violation("still inside is", slot, token, nobody);
      Inside(slot) = who;
      break;
    }
    const uint64_t last = LastToken(slot).exchange(static_cast<uint64_t>(token));
    if (static_cast<uint64_t>(token) <= last) {
      Violation("token is not above", slot, token, last);
    }
  }
  void Leave(uint32_t slot, uint64_t who) {
    uint64_t expected = who;
    if (!Inside(slot).compare_exchange_strong(expected, 0)) {
      Violation("leaving, but the cell has", slot, static_cast<int64_t>(who), expected);
    }
  }
  void Fault(const char* what) { Violation(what, 0, 0, 0); }
  void CountOperation(int who) { words_[2 + who].fetch_add(1, std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t>& Inside(uint32_t slot) { return words_[kHeaderWords + 2 * slot]; }
  std::atomic<uint64_t>& LastToken(uint32_t slot) { return words_[kHeaderWords + 2 * slot + 1]; }
  void Violation(const char* what, uint32_t slot, int64_t value, uint64_t other) {
    words_[0].fetch_add(1);
    std::fprintf(stderr, "VIOLATION: slot %u, %lld: %s %llu\n", slot, static_cast<long long>(value),
                 what, static_cast<unsigned long long>(other));
  }
  [[noreturn]] static void Die(const std::string& path) {
    std::perror(path.c_str());
    std::exit(70);
  }

  const Holders holders_;
  std::atomic<uint64_t>* words_;
};

}  // namespace leaseplane::testing
