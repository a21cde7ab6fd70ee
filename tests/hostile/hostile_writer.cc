// SPDX-License-Identifier: Apache-2.0
//
// A process that maps a pool as a client does and then writes what no client would: anything,
// anywhere in DATA. When its session is taken from it, it goes on through the mapping it has.
//   hostile_writer SOCKET POOL SEED SECONDS [KIND]
// KIND is one of the names below; without it they take turns, but for `harmless`, which writes as
// much into memory of its own: what others suffer from the load alone. Prints the number of writes.
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tests/support/raw_session.h"
#include "tests/support/verify_ledger.h"

namespace leaseplane::testing {
namespace {

class Attacker {
 public:
  Attacker(RawSession::Pool& pool, SessionIndex self, uint64_t seed)
      : pool_(pool),
        self_(self),
        random_(seed),
        data_(pool.mapped->base().data),
        word_count_(pool.mapped->geometry.data_bytes / sizeof(uint64_t)),
        own_(word_count_) {}

  struct Kind {
    const char* name;
    void (Attacker::*burst)();
  };
  static constexpr Kind Harmless() { return {"harmless", &Attacker::OwnMemory}; }
  static const std::vector<Kind>& Kinds() {
    static const std::vector<Kind> all = {
        {"random", &Attacker::Random},   {"bit_flips", &Attacker::BitFlips},
        {"replay", &Attacker::Replay},   {"rewind", &Attacker::Rewind},
        {"jump", &Attacker::Jump},       {"zeros", &Attacker::Zeros},
        {"ones", &Attacker::Ones},       {"steal", &Attacker::Steal},
        {"holes", &Attacker::Holes},     {"storm", &Attacker::Storm},
        {"requeue", &Attacker::Requeue}, {"whole_pages", &Attacker::WholePages},
    };
    return all;
  }

  void Burst(const Kind& kind) { (this->*kind.burst)(); }
  uint64_t writes() const { return writes_; }

 private:
  static constexpr int kBurst = 4096;

  std::atomic<uint64_t>& Anywhere() {
    return *shm::At<std::atomic<uint64_t>>(data_, random_() % word_count_ * sizeof(uint64_t));
  }
  std::atomic<uint64_t>& AnySlot() {
    return pool_.words.Slot(static_cast<SlotIndex>(random_() % pool_.opened.max_capacity));
  }
  void Put(std::atomic<uint64_t>& word, uint64_t value) {
    word.store(value, std::memory_order_relaxed);
    ++writes_;
  }

  void OwnMemory() {
    for (int i = 0; i < kBurst; ++i) Put(own_[random_() % word_count_], random_());
  }
  void Random() {
    for (int i = 0; i < kBurst; ++i) Put(random_() % 2 == 0 ? Anywhere() : AnySlot(), random_());
  }
  void BitFlips() {
    for (int i = 0; i < kBurst; ++i) {
      (random_() % 2 == 0 ? Anywhere() : AnySlot()).fetch_xor(uint64_t{1} << random_() % 64);
      ++writes_;
    }
  }
  // What a word once was.
  void Replay() {
    for (int i = 0; i < kBurst; ++i) {
      std::atomic<uint64_t>& word = AnySlot();
      if (remembered_.size() < 4096) remembered_.push_back(word.load());
      Put(word, remembered_[random_() % remembered_.size()]);
    }
  }
  void Rewind() {
    for (int i = 0; i < kBurst; ++i) {
      std::atomic<uint64_t>& word = AnySlot();
      Put(word, FreeWord(GenerationOfWord(word.load()) - random_() % 1000));
    }
  }
  void Jump() {
    for (int i = 0; i < kBurst; ++i) {
      Put(AnySlot(), FreeWord(kGenerationMax - random_() % (Generation{1} << 33)));
    }
  }
  void Zeros() {
    for (int i = 0; i < kBurst; ++i) Put(Anywhere(), 0);
  }
  void Ones() {
    for (int i = 0; i < kBurst; ++i) Put(Anywhere(), std::numeric_limits<uint64_t>::max());
  }
  // Words that look like somebody's: the daemon's, our own, others'.
  void Steal() {
    for (int i = 0; i < kBurst; ++i) {
      std::atomic<uint64_t>& word = AnySlot();
      const SessionIndex owners[] = {kOwnerDaemon, self_, kOwnerSessionFirst,
                                     static_cast<SessionIndex>(random_() % kOwnerCount)};
      const Generation gen = GenerationOfWord(word.load()) + random_() % 3;
      Put(word, random_() % 4 == 0 ? LockedWord(gen) : BusyWord(owners[random_() % 4], gen));
    }
  }
  void Holes() {
    for (int i = 0; i < 64; ++i) {
      const off_t page = static_cast<off_t>(random_() % (word_count_ * 8 / shm::kPageBytes));
      if (fallocate(pool_.data_fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    page * static_cast<off_t>(shm::kPageBytes), shm::kPageBytes) == 0) {
        ++writes_;
      }
    }
  }
  void Storm() {
    for (int i = 0; i < kBurst; ++i) {
      pool_.words.wseq->fetch_add(1);
      pool_.words.dseq->fetch_add(1);
      Put(*pool_.words.wcnt, random_());
      writes_ += 2;
      if (i % 16 == 0) Wake(i % 32 == 0 ? pool_.words.wseq : pool_.words.dseq);
    }
  }
  // Moves sleepers from one word to another, where nobody wakes them.
  void Requeue() {
    for (int i = 0; i < kBurst / 16; ++i) {
      const bool forth = random_() % 2 == 0;
      std::atomic<uint32_t>* from = forth ? pool_.words.dseq : pool_.words.wseq;
      std::atomic<uint32_t>* to = random_() % 2 == 0
                                      ? shm::At<std::atomic<uint32_t>>(data_, 256)
                                      : (forth ? pool_.words.wseq : pool_.words.dseq);
      syscall(SYS_futex, from, FUTEX_REQUEUE, 0, 1000, to, 0);
      ++writes_;
    }
  }
  void WholePages() {
    for (int i = 0; i < 16; ++i) {
      const size_t page = random_() % (word_count_ * 8 / shm::kPageBytes);
      std::memset(data_ + page * shm::kPageBytes, static_cast<int>(random_() % 256),
                  shm::kPageBytes);
      writes_ += shm::kPageBytes / sizeof(uint64_t);
    }
  }
  void Wake(std::atomic<uint32_t>* word) {
    syscall(SYS_futex, word, FUTEX_WAKE, std::numeric_limits<int>::max(), nullptr, nullptr, 0);
  }

  RawSession::Pool& pool_;
  const SessionIndex self_;
  std::mt19937_64 random_;
  std::byte* data_;
  const uint64_t word_count_;
  std::vector<std::atomic<uint64_t>> own_;
  std::vector<uint64_t> remembered_;
  uint64_t writes_ = 0;
};

int Attack(int argc, char** argv) {
  const uint64_t seed = std::strtoull(argv[3], nullptr, 10);
  const double end_s = MonotonicSeconds() + std::atof(argv[4]);
  RawSession session(argv[1]);
  Attacker attacker(session.OpenPool(argv[2]), session.index(), seed);
  const auto& kinds = Attacker::Kinds();
  std::mt19937_64 random(seed);
  const Attacker::Kind harmless = Attacker::Harmless();
  const Attacker::Kind* only = nullptr;
  if (argc > 5 && std::string(harmless.name) == argv[5]) only = &harmless;
  for (const auto& kind : kinds) {
    if (argc > 5 && std::string(kind.name) == argv[5]) only = &kind;
  }
  if (argc > 5 && only == nullptr) return 64;
  while (MonotonicSeconds() < end_s) {
    const Attacker::Kind& kind = only != nullptr ? *only : kinds[random() % kinds.size()];
    // One kind for a while, so that each is at work undisturbed too.
    for (int i = 0; i < 64 && MonotonicSeconds() < end_s; ++i) attacker.Burst(kind);
  }
  std::printf("%llu\n", static_cast<unsigned long long>(attacker.writes()));
  return 0;
}

}  // namespace
}  // namespace leaseplane::testing

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "usage: hostile_writer SOCKET POOL SEED SECONDS [KIND]\n");
    return 64;
  }
  return leaseplane::testing::Attack(argc, argv);
}
