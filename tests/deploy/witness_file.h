// SPDX-License-Identifier: Apache-2.0
//
// WitnessFile: who is inside which slot, kept by the holders themselves in a small mapped file that
// all containers and the test share. It shares no code with what it judges. Each start of a client
// is an incarnation with a number of its own, given out by the test, because process numbers say
// nothing across PID namespaces. Before the test kills one it writes so into `doomed`: a cell that
// a doomed incarnation never left is no contradiction.
//
// u64 words:  0 violations, 1 grants, 2 losses reported, 3 releases refused
//   16 + 8*client   incarnation, command, phase, grants, slot + 1 (0 = none), token, losses, spare
//   128 + 2*slot    incarnation inside (0 = nobody), last token
//   512 + incarnation   1 = doomed
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace leaseplane::deploy {

enum class Command : uint64_t { kWait = 0, kChurn = 1, kHold = 2, kEnd = 3 };

enum class Phase : uint64_t {
  kNone = 0,
  kStarted = 1,
  kAttaching = 2,  // from Connect to the opened pool
  kAcquiring = 3,  // from the call of Acquire until the cell is entered
  kHolding = 4,
  kReleasing = 5,
};

class WitnessFile {
 public:
  static constexpr size_t kWords = 512 + 16'384;
  static constexpr uint64_t kClientsMax = 14, kSlotsMax = 128;

  // The file exists and has its size already: the test made it.
  WitnessFile(const std::string& path, uint64_t client) : client_(client) {
    const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
    struct stat info {};
    if (fd < 0 || fstat(fd, &info) != 0 || info.st_size != kWords * 8) Die(path);
    void* base = mmap(nullptr, kWords * 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED || client >= kClientsMax) Die(path);
    close(fd);
    words_ = static_cast<std::atomic<uint64_t>*>(base);
    who_ = Mine(0).load();
  }

  Command command() { return static_cast<Command>(Mine(1).load()); }
  void SetPhase(Phase phase) { Mine(2).store(static_cast<uint64_t>(phase)); }

  void Enter(uint32_t slot, int64_t token) {
    const auto value = static_cast<uint64_t>(token);
    const uint64_t before = Inside(slot).exchange(who_);
    if (before != 0 && words_[512 + before].load() == 0) {
      Violation("still inside is", slot, value, before);
    }
    const uint64_t last = LastToken(slot).exchange(value);
    if (value <= last) Violation("token is not above", slot, value, last);
    Mine(4).store(slot + 1);
    Mine(5).store(value);
    Mine(3).fetch_add(1);
    words_[1].fetch_add(1);
  }
  void Leave(uint32_t slot) {
    Mine(4).store(0);
    uint64_t expected = who_;
    if (!Inside(slot).compare_exchange_strong(expected, 0)) {
      Violation("leaving, but inside is", slot, who_, expected);
    }
  }
  void NoteLoss() {
    words_[2].fetch_add(1);
    Mine(6).fetch_add(1);
  }
  void NoteRefusedRelease() { words_[3].fetch_add(1); }

 private:
  std::atomic<uint64_t>& Mine(uint64_t field) { return words_[16 + 8 * client_ + field]; }
  std::atomic<uint64_t>& Inside(uint32_t slot) { return words_[128 + 2 * slot]; }
  std::atomic<uint64_t>& LastToken(uint32_t slot) { return words_[128 + 2 * slot + 1]; }
  void Violation(const char* what, uint32_t slot, uint64_t value, uint64_t other) {
    words_[0].fetch_add(1);
    std::fprintf(stderr, "VIOLATION: slot %u, %llu: %s %llu\n", slot,
                 static_cast<unsigned long long>(value), what,
                 static_cast<unsigned long long>(other));
  }
  [[noreturn]] static void Die(const std::string& path) {
    std::fprintf(stderr, "no usable witness file at %s\n", path.c_str());
    std::exit(70);
  }

  std::atomic<uint64_t>* words_;
  const uint64_t client_;
  uint64_t who_ = 0;
};

}  // namespace leaseplane::deploy
