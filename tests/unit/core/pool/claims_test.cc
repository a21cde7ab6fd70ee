// SPDX-License-Identifier: Apache-2.0
#include "core/pool/claims.h"

#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <thread>
#include <vector>

namespace leaseplane {
namespace {

using M = RealMemory;
using Record = ThreadRecord<M>;

TEST(ClaimsTest, HoldsWhatWasAcquiredAndNotYetReleased) {
  Claims<M> claims(2);
  EXPECT_EQ(claims.HeldToken(1), 0);
  claims.NoteAcquired(1, MakeToken(1, 7));
  EXPECT_EQ(claims.HeldToken(1), MakeToken(1, 7));
  EXPECT_EQ(claims.HeldToken(0), 0);
  claims.NoteReleased(1, MakeToken(1, 7));
  EXPECT_EQ(claims.HeldToken(1), 0);
}

TEST(ClaimsTest, ALateNoteOfAReleaseDoesNotHideTheNextHold) {
  Claims<M> claims(1);
  claims.NoteAcquired(0, MakeToken(1, 7));
  claims.NoteAcquired(0, MakeToken(1, 8));  // by another thread, after the release CAS of 7
  claims.NoteReleased(0, MakeToken(1, 7));
  EXPECT_EQ(claims.HeldToken(0), MakeToken(1, 8));
}

TEST(ClaimsTest, ALateReleaseDoesNotBringALaterHoldBackToLife) {
  Claims<M> claims(1);
  claims.NoteAcquired(0, MakeToken(1, 7));  // taken back by the daemon
  claims.NoteAcquired(0, MakeToken(1, 8));
  claims.NoteReleased(0, MakeToken(1, 8));
  claims.NoteReleased(0, MakeToken(1, 7));
  EXPECT_EQ(claims.HeldToken(0), 0);
}

TEST(ClaimsTest, AnAuditKnowsHoldsAndWhatIsJustBeingTaken) {
  Claims<M> claims(3);
  Record& record = claims.Borrow();
  M::Store(record.pending, Record::Pending(2, 9));
  EXPECT_EQ(claims.Audit(2, 9), 9u);
  EXPECT_EQ(claims.Audit(2, 8), 0u);
  EXPECT_EQ(claims.Audit(1, 9), 0u);
  claims.NoteAcquired(2, MakeToken(1, 9));
  M::Store(record.pending, 0);
  EXPECT_EQ(claims.Audit(2, 9), 9u);
  EXPECT_EQ(claims.Audit(2, 0), 9u);
  claims.NoteReleased(2, MakeToken(1, 9));
  EXPECT_EQ(claims.Audit(2, 9), 0u);
  EXPECT_EQ(claims.Audit(2, 0), 0u);
}

// Lets another thread act right after the n-th load of the one under test.
struct HookedMemory : RealMemory {
  static inline int loads_left = 0;
  static inline std::function<void()> act;
  using RealMemory::Load;
  static uint64_t Load(const U64& word) {
    const uint64_t value = RealMemory::Load(word);
    if (loads_left > 0 && --loads_left == 0) act();
    return value;
  }
};

TEST(ClaimsTest, AnAuditSeesWhatMovesFromTheRecordToTheTablesMeanwhile) {
  using Hooked = HookedMemory;
  for (int loads = 1; loads < 8; ++loads) {
    Claims<Hooked> claims(2);
    auto& record = claims.Borrow();
    Hooked::Store(record.pending, Record::Pending(0, 7));
    Hooked::act = [&] {  // it notes the acquisition and takes the next slot
      claims.NoteAcquired(0, MakeToken(1, 7));
      Hooked::Store(record.pending, Record::Pending(1, 3));
    };
    Hooked::loads_left = loads;
    EXPECT_EQ(claims.Audit(0, 7), 7u) << loads;
    Hooked::loads_left = 0;
  }
}

TEST(ClaimsTest, AnAuditSeesWhatMovesFromTheTablesToTheRecordMeanwhile) {
  using Hooked = HookedMemory;
  for (int loads = 1; loads < 8; ++loads) {
    Claims<Hooked> claims(2);
    auto& record = claims.Borrow();
    claims.NoteAcquired(0, MakeToken(1, 7));
    Hooked::Store(record.pending, Record::Pending(1, 3));
    Hooked::act = [&] {  // it is about to give the slot back
      ThreadRecord<Hooked>::Touch(record.pending, 0, 7);
      claims.NoteReleased(0, MakeToken(1, 7));
    };
    Hooked::loads_left = loads;
    EXPECT_EQ(claims.Audit(0, 7), 7u) << loads;
    Hooked::loads_left = 0;
  }
}

TEST(ClaimsTest, ARevokedLeaseIsNotHeld) {
  Claims<M> claims(1);
  claims.NoteAcquired(0, MakeToken(1, 7));
  claims.NoteRevoked(0, MakeToken(1, 7));
  EXPECT_EQ(claims.HeldToken(0), 0);
}

TEST(ClaimsTest, ALateNoteOfARevokedLeaseDoesNotLoseTheNextHold) {
  Claims<M> claims(1);
  claims.NoteRevoked(0, MakeToken(1, 7));   // its thread stands still before it notes it
  claims.NoteAcquired(0, MakeToken(1, 8));  // another thread
  EXPECT_EQ(claims.Audit(0, 8), 8u);
  claims.NoteAcquired(0, MakeToken(1, 7));  // too late
  EXPECT_EQ(claims.Audit(0, 8), 8u) << "unknown is answered with yes";
  claims.NoteAcquired(0, MakeToken(1, 9));
  EXPECT_EQ(claims.Audit(0, 8), 0u);
  EXPECT_EQ(claims.Audit(0, 9), 9u);
}

// One slot, which P, session 2, may have.
struct OneSlot {
  OneSlot() {
    words.slots = &word;
    words.max_capacity = 1;
  }
  void Revoke(Claims<M>& claims, FencingToken token) const {
    claims.NoteRevoked(0, token);
    claims.ForgetRevoked(words, kMe, 0);
  }
  static constexpr SessionIndex kMe = 2;
  M::U64 word{FreeWord(7)};
  PoolWords<M> words;
};

// The daemon died before it could tell of the grant of 8.
TEST(ClaimsTest, ARevokedLeaseDoesNotVouchForAGrantNobodyHeardOf) {
  for (const bool is_given_back : {false, true}) {
    Claims<M> claims(1);
    const OneSlot slot;
    claims.NoteAcquired(0, MakeToken(1, 7));
    if (is_given_back) claims.NoteReleased(0, MakeToken(1, 7));
    // By another epoch than it was granted in; and of a later grant, which nobody heard of either.
    slot.Revoke(claims, MakeToken(2, is_given_back ? 8 : 7));
    EXPECT_EQ(claims.Audit(0, 9), 0u);
    EXPECT_EQ(claims.HeldToken(0), 0);
    claims.NoteAcquired(0, MakeToken(2, 10));
    EXPECT_EQ(claims.HeldToken(0), MakeToken(2, 10));
  }
}

TEST(ClaimsTest, ALateNoteHidesTheNextHoldAlsoBeforeTheDaemonTellsOfTheLease) {
  Claims<M> claims(1);
  OneSlot slot;
  M::Store(slot.word, BusyWord(OneSlot::kMe, 8));
  claims.NoteAcquired(0, MakeToken(1, 8));  // another thread
  claims.NoteAcquired(0, MakeToken(1, 7));  // too late
  slot.Revoke(claims, MakeToken(1, 7));
  EXPECT_EQ(claims.Audit(0, 8), 8u);
}

TEST(ClaimsTest, AWordThatNobodyHonestWroteClearsNothing) {
  Claims<M> claims(1);
  OneSlot slot;
  M::Store(slot.word, 0);
  claims.NoteAcquired(0, MakeToken(1, 7));
  slot.Revoke(claims, MakeToken(1, 7));
  EXPECT_EQ(claims.Audit(0, 8), 8u) << "unknown is answered with yes";
}

TEST(ClaimsTest, WhatEndedWithItsSessionOrSegmentVouchesForNothing) {
  Claims<M> claims(2);
  claims.NoteAcquired(0, MakeToken(1, 7));
  claims.NoteAcquired(1, MakeToken(1, 4));
  claims.Forget(0, MakeToken(1, 6));
  EXPECT_EQ(claims.HeldToken(0), MakeToken(1, 7)) << "another lease";
  claims.Forget(0, MakeToken(1, 7));
  EXPECT_EQ(claims.HeldToken(0), 0);
  EXPECT_EQ(claims.Audit(0, 8), 0u);
  claims.NoteRevoked(1, MakeToken(1, 4));
  claims.ForgetAll();
  EXPECT_EQ(claims.Audit(1, 5), 0u);
}

TEST(ClaimsTest, AReturnedRecordIsLentAgain) {
  Claims<M> claims(1);
  Record& first = claims.Borrow();
  Record& second = claims.Borrow();
  EXPECT_NE(&first, &second);
  Claims<M>::Return(first);
  EXPECT_EQ(&claims.Borrow(), &first);
}

TEST(ClaimsTest, ThreadsNeverShareARecord) {
  Claims<M> claims(1);
  constexpr int kThreads = 8;
  std::vector<Record*> lent(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&claims, &lent, t] {
      for (int i = 0; i < 2000; ++i) {
        Record& record = claims.Borrow();
        record.cursor = record.cursor + 1;  // a race here is a report of the sanitizer
        if (i == 1999) {
          lent[static_cast<size_t>(t)] = &record;
        } else {
          Claims<M>::Return(record);
        }
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(std::set<Record*>(lent.begin(), lent.end()).size(), size_t{kThreads});
}

TEST(ClaimsTest, AnAcquisitionIsNotNotedByALeaseOfAnEarlierSegment) {
  std::vector<M::U64> slots(1);
  PoolWords<M> words;
  words.slots = slots.data();
  words.max_capacity = 1;
  Claims<M> claims(1);
  claims.NoteAcquired(0, MakeToken(1, 7));  // the segment before: the same generation
  claims.NoteReleased(0, MakeToken(1, 7));
  M::Store(claims.Borrow().pending, Record::Pending(0, 7));
  M::Store(slots[0], BusyWord(2, 7));
  int waits = 0;
  claims.AwaitPending(words, 2, [&] {
    claims.NoteAcquired(0, MakeToken(2, 7));
    return ++waits < 2;
  });
  EXPECT_EQ(waits, 1);
}

}  // namespace
}  // namespace leaseplane
