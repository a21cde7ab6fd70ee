// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/mapped_ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "server/ledger/ledger_layout.h"
#include "tests/unit/server/ledger/ledger_fixture.h"

namespace leaseplane::ledger {
namespace {

using engine::LeaseState;
using ::testing::HasSubstr;

class MappedLedgerTest : public LedgerFixture {};

TEST_F(MappedLedgerTest, ANewLedgerIsEmpty) {
  auto ledger = CreateEmpty(4);
  EXPECT_EQ(ledger->Contents().leases.size(), 0u);
  EXPECT_EQ(ledger->Contents().tombstones.size(), 0u);
  EXPECT_EQ(ledger->tombstone_count_max(), 1024u);
}

TEST_F(MappedLedgerTest, ALeaseIsThereAfterReopeningWithEveryField) {
  const engine::LeaseRecord lease = MakeLease(2, 7);
  CreateEmpty(4)->PutLease(lease);
  const auto ledger = Reopen(4);
  EXPECT_EQ(Show(ledger->Contents()), Show({{lease}, {}, {}}));
}

TEST_F(MappedLedgerTest, TheLargestLegalRecordFits) {
  engine::LeaseRecord lease = MakeLease(0, kFencingTokenMax);
  lease.principal = std::string(engine::kPrincipalBytesMax, 'p');
  lease.client_id = std::string(engine::kClientIdBytesMax, 'c');
  lease.metadata.clear();
  for (size_t i = 0; i < engine::kMetadataEntriesMax; ++i) {
    lease.metadata[std::string(1, static_cast<char>('a' + i))] =
        std::string(engine::kMetadataBytesMax / engine::kMetadataEntriesMax - 3, '\xC3');
  }
  auto ledger = CreateEmpty(1);
  ledger->PutLease(lease);
  ledger->PutLock(0, std::string(engine::kReasonTextBytesMax, 'r'));
  ledger.reset();
  const engine::LedgerContents contents = Reopen(1)->Contents();
  EXPECT_EQ(Show(contents),
            Show({{lease}, {}, {{0, std::string(engine::kReasonTextBytesMax, 'r')}}}));
}

TEST_F(MappedLedgerTest, ARenewalMovesTheDeadlineManyTimes) {
  auto ledger = CreateEmpty(1);
  engine::LeaseRecord lease = MakeLease(0, 5);
  ledger->PutLease(lease);
  for (int64_t i = 1; i <= 5; ++i) {
    lease.deadline_at_ns += 1000;
    ledger->RenewLease(0, engine::TermOf(lease));
    EXPECT_EQ(Show(ledger->Contents()), Show({{lease}, {}, {}}));
  }
  ledger.reset();
  EXPECT_EQ(Show(Reopen(1)->Contents()), Show({{lease}, {}, {}}));
}

TEST_F(MappedLedgerTest, AnEndedLeaseBecomesATombstone) {
  auto ledger = CreateEmpty(4);
  ledger->PutLease(MakeLease(1, 9));
  ledger->EndLease(1, LeaseState::kExpired, {111, 222});
  ledger.reset();
  const engine::LedgerContents contents = Reopen(4)->Contents();
  EXPECT_TRUE(contents.leases.empty());
  ASSERT_EQ(contents.tombstones.size(), 1u);
  const engine::Tombstone& tombstone = contents.tombstones[0];
  EXPECT_EQ(tombstone.token, 9);
  EXPECT_EQ(tombstone.ended_as, LeaseState::kExpired);
  EXPECT_EQ(tombstone.ended_at_ns, 111);
  EXPECT_EQ(tombstone.ended_unix_ns, 222);
  EXPECT_EQ(tombstone.id, MakeLease(1, 9).id);
  EXPECT_EQ(tombstone.request_id, MakeLease(1, 9).request_id);
}

TEST_F(MappedLedgerTest, TheOldestTombstoneGoesWhenTheyAreFull) {
  auto ledger = CreateEmpty(2);
  const uint32_t count = ledger->tombstone_count_max();
  for (uint32_t i = 1; i <= 3 * count + 7; ++i) {
    ledger->PutLease(MakeLease(i % 2, i));
    ledger->EndLease(i % 2, LeaseState::kReleased, {i, i});
  }
  ledger.reset();
  const engine::LedgerContents contents = Reopen(2)->Contents();
  ASSERT_EQ(contents.tombstones.size(), count);
  EXPECT_EQ(contents.tombstones.front().token, 2 * count + 8);
  EXPECT_EQ(contents.tombstones.back().token, 3 * count + 7);
}

TEST_F(MappedLedgerTest, ALockIsReplacedAndErased) {
  auto ledger = CreateEmpty(3);
  ledger->PutLock(1, "first");
  ledger->PutLock(2, "other");
  ledger->PutLock(1, "second");
  ledger.reset();
  ledger = Reopen(3);
  EXPECT_EQ(Show(ledger->Contents()), Show({{}, {}, {{1, "second"}, {2, "other"}}}));
  ledger->EraseLock(1);
  ledger->EraseLock(0);
  ledger.reset();
  EXPECT_EQ(Show(Reopen(3)->Contents()), Show({{}, {}, {{2, "other"}}}));
}

TEST_F(MappedLedgerTest, AllSlotsLockedAgainAndAgainNeverRunOutOfRecords) {
  auto ledger = CreateEmpty(3);
  for (int round = 0; round < 20; ++round) {
    for (SlotIndex slot = 0; slot < 3; ++slot) ledger->PutLock(slot, std::to_string(round));
  }
  EXPECT_EQ(Show(ledger->Contents()), Show({{}, {}, {{0, "19"}, {1, "19"}, {2, "19"}}}));
}

TEST_F(MappedLedgerTest, ARevocationUnderWayIsInTheFile) {
  auto ledger = CreateEmpty(2);
  const engine::LeaseRecord lease = MakeLease(0, 1);
  ledger->PutLease(lease);
  EXPECT_EQ(ledger->Contents().leases.at(0).revoke_at_ns, engine::kNever);
  EXPECT_EQ(ledger->RenewLease(0, {lease.ttl_ns, lease.deadline_at_ns, 77}), 0u);
  EXPECT_EQ(ledger->Contents().leases.at(0).revoke_at_ns, 77);
}

TEST_F(MappedLedgerTest, SequenceNumbersRiseAndAnUnchangedTtlHasNone) {
  auto ledger = CreateEmpty(2);
  const engine::LeaseRecord lease = MakeLease(0, 1);
  EXPECT_EQ(ledger->PutLease(lease), engine::kInheritedSeq + 1);
  EXPECT_EQ(ledger->RenewLease(0, {lease.ttl_ns, 5}), 0u);
  EXPECT_EQ(ledger->RenewLease(0, {lease.ttl_ns + 1, 6}), 3u);
  EXPECT_EQ(ledger->PutLock(1, ""), 4u);
  EXPECT_EQ(ledger->EndLease(0, LeaseState::kRevoked, {}), 5u);
  EXPECT_EQ(ledger->last_seq(), 5u);
}

TEST_F(MappedLedgerTest, CreateKeepsContentsAndDropsSlotsBeyondTheCapacity) {
  engine::LedgerContents contents{{MakeLease(0, 3), MakeLease(7, 4)}, {}, {{1, "a"}, {7, "b"}}};
  auto made = MappedLedger::Create(dir(), Identity(2), contents);
  ASSERT_TRUE(made.ok()) << made.status();
  made->reset();
  EXPECT_EQ(Show(Reopen(2)->Contents()), Show({{MakeLease(0, 3)}, {}, {{1, "a"}}}));
}

TEST_F(MappedLedgerTest, OpeningWithAnotherCapacityKeepsWhatFits) {
  CreateEmpty(2)->PutLease(MakeLease(1, 3));
  auto grown = Reopen(9);
  grown->PutLease(MakeLease(8, 4));
  grown.reset();
  EXPECT_EQ(Show(Reopen(2)->Contents()), Show({{MakeLease(1, 3)}, {}, {}}));
}

TEST_F(MappedLedgerTest, CleanIsSaidOnceAndWithdrawnByAWrite) {
  auto ledger = CreateEmpty(1);
  EXPECT_FALSE(ledger->was_clean());
  ledger->MarkClean();
  ledger = Reopen(1);
  EXPECT_TRUE(ledger->was_clean());
  ledger = Reopen(1);
  EXPECT_FALSE(ledger->was_clean());
  ledger->MarkClean();
  ledger->PutLease(MakeLease(0, 1));
  EXPECT_FALSE(Reopen(1)->was_clean());
}

// -- handing over

TEST_F(MappedLedgerTest, TheFirstTakeReplacesAllAndLaterOnesHoldWhatChanged) {
  auto ledger = CreateEmpty(4);
  ledger->PutLease(MakeLease(0, 1));
  Changes changes = ledger->TakeChanges();
  EXPECT_TRUE(changes.replaces_all);
  EXPECT_EQ(changes.live_leases.size(), 1u);
  EXPECT_EQ(changes.through_seq, engine::kInheritedSeq + 1);
  EXPECT_TRUE(ledger->TakeChanges().empty());
  ledger->PutLease(MakeLease(1, 2));
  ledger->PutLock(3, "broken");
  changes = ledger->TakeChanges();
  EXPECT_FALSE(changes.replaces_all);
  ASSERT_EQ(changes.live_leases.size(), 1u);
  EXPECT_EQ(changes.live_leases[0].slot, 1u);
  ASSERT_EQ(changes.locks.size(), 1u);
  EXPECT_EQ(changes.through_seq, engine::kInheritedSeq + 3);
}

TEST_F(MappedLedgerTest, ALeasePutAndEndedBetweenTakesLeavesItsTombstone) {
  auto ledger = CreateEmpty(4);
  ledger->TakeChanges();
  for (int i = 1; i <= 3; ++i) {
    ledger->PutLease(MakeLease(2, i));
    ledger->EndLease(2, LeaseState::kReleased, {});
  }
  const Changes changes = ledger->TakeChanges();
  EXPECT_TRUE(changes.live_leases.empty());
  EXPECT_THAT(changes.ended_slots, ::testing::ElementsAre(2u));
  ASSERT_EQ(changes.tombstones.size(), 3u);
  EXPECT_EQ(changes.tombstones[0].number, 1u);
  EXPECT_EQ(changes.tombstones[2].tombstone.token, 3);
}

TEST_F(MappedLedgerTest, CoalescedTakesPassOverLeasesThatBeganAndEndedBetweenThem) {
  constexpr auto kCoalesced = MappedLedger::Take::kCoalesced;
  auto ledger = CreateEmpty(4);
  ledger->PutLease(MakeLease(0, 1));
  ledger->TakeChanges(kCoalesced);
  // Slot 0: its lease is known to the store, the next one never was. Slot 1: only short ones.
  ledger->EndLease(0, LeaseState::kExpired, {});
  ledger->PutLease(MakeLease(0, 2));
  ledger->EndLease(0, LeaseState::kReleased, {});
  for (int i = 3; i <= 5; ++i) {
    ledger->PutLease(MakeLease(1, i));
    ledger->EndLease(1, LeaseState::kReleased, {});
  }
  Changes changes = ledger->TakeChanges(kCoalesced);
  EXPECT_TRUE(changes.live_leases.empty());
  EXPECT_THAT(changes.ended_slots, ::testing::ElementsAre(0u));
  ASSERT_EQ(changes.tombstones.size(), 1u);
  EXPECT_EQ(changes.tombstones[0].tombstone.token, 1);
  EXPECT_EQ(changes.through_seq, engine::kInheritedSeq + 10);

  ledger->PutLease(MakeLease(1, 6));
  ledger->EndLease(1, LeaseState::kReleased, {});
  EXPECT_TRUE(ledger->TakeChanges(kCoalesced).empty()) << "nothing for the disk to do";
  EXPECT_EQ(ledger->Contents().tombstones.size(), 6u) << "all of them stand in the file";

  // What has to be kept is: a live lease, and its end after that.
  ledger->PutLease(MakeLease(1, 7));
  EXPECT_EQ(ledger->TakeChanges(kCoalesced).live_leases.size(), 1u);
  ledger->EndLease(1, LeaseState::kReleased, {});
  changes = ledger->TakeChanges(kCoalesced);
  EXPECT_THAT(changes.ended_slots, ::testing::ElementsAre(1u));
  ASSERT_EQ(changes.tombstones.size(), 1u);
  EXPECT_EQ(changes.tombstones[0].tombstone.token, 7);

  // Before a stop in good order everything goes to the store, once.
  changes = ledger->TakeChanges();
  EXPECT_EQ(changes.tombstones.size(), 5u) << "those that were passed over";
  EXPECT_TRUE(ledger->TakeChanges().empty());

  // The next process does not know what this one left out, and hands over everything.
  ledger = Reopen(4);
  EXPECT_EQ(ledger->TakeChanges(kCoalesced).tombstones.size(), 7u);
}

TEST_F(MappedLedgerTest, TombstonesThatAreGoneBeforeATakeAreNotHandedOver) {
  auto ledger = CreateEmpty(1);
  ledger->TakeChanges();
  const uint32_t count = ledger->tombstone_count_max();
  for (uint32_t i = 1; i <= count + 10; ++i) {
    ledger->PutLease(MakeLease(0, i));
    ledger->EndLease(0, LeaseState::kReleased, {});
  }
  const Changes changes = ledger->TakeChanges();
  EXPECT_EQ(changes.tombstones.size(), count);
  EXPECT_EQ(changes.first_tombstone_kept, 11u);
}

TEST_F(MappedLedgerTest, TakingLocksLeavesTheRestForLater) {
  auto ledger = CreateEmpty(2);
  ledger->PutLease(MakeLease(0, 1));
  ledger->PutLock(1, "x");
  Changes changes = ledger->TakeLockChanges();
  EXPECT_TRUE(changes.replaces_all);
  EXPECT_EQ(changes.locks.size(), 1u);
  EXPECT_TRUE(changes.live_leases.empty());
  ledger->EraseLock(1);
  EXPECT_THAT(ledger->TakeLockChanges().unlocked_slots, ::testing::ElementsAre(1u));
  changes = ledger->TakeChanges();
  EXPECT_TRUE(changes.replaces_all);
  EXPECT_EQ(changes.live_leases.size(), 1u);
}

// -- what is refused

TEST_F(MappedLedgerTest, AMissingFileIsNotFound) {
  EXPECT_EQ(MappedLedger::Open(dir(), Identity(1)).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(MappedLedgerTest, AnotherBootOrPoolIsAFailedPrecondition) {
  CreateEmpty(1);
  LedgerIdentity other_boot = Identity(1);
  other_boot.boot_id.lo++;
  absl::Status status = MappedLedger::Open(dir(), other_boot).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("another boot"));
  LedgerIdentity other_pool = Identity(1);
  other_pool.pool_uid.hi++;
  status = MappedLedger::Open(dir(), other_pool).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("another pool"));
}

TEST_F(MappedLedgerTest, ATruncatedFileIsDamagedWhateverItsLength) {
  CreateEmpty(2);
  const auto full = std::filesystem::file_size(path());
  for (const uintmax_t bytes :
       {full - 1, full / 2, uintmax_t{4096}, uintmax_t{100}, uintmax_t{0}}) {
    std::filesystem::resize_file(path(), bytes);
    const absl::Status status = MappedLedger::Open(dir(), Identity(2)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << bytes << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(path()));
  }
}

TEST_F(MappedLedgerTest, EveryFlippedByteInUseIsNoticedAndNoneCrashes) {
  auto ledger = CreateEmpty(2);
  ledger->PutLease(MakeLease(0, 1));
  ledger->PutLease(MakeLease(1, 2));
  ledger->EndLease(1, LeaseState::kReleased, {});
  ledger->PutLock(1, "why");
  const std::string before = Show(ledger->Contents());
  ledger.reset();
  const std::string good = ReadFile(path());
  const LedgerGeometry geometry = LedgerGeometry::Of(2, 1024);
  int noticed = 0;
  std::vector<uint64_t> places;
  for (uint64_t at = 0; at < 160; ++at) places.push_back(at);
  for (uint64_t at = geometry.lease_words; at < geometry.tombstone_words + 32; ++at) {
    places.push_back(at);
  }
  for (uint64_t at = 0; at < 2 * sizeof(TombstoneBody); ++at) {
    places.push_back(geometry.tombstone_bodies + at);
  }
  for (uint64_t at = geometry.lock_words; at < geometry.file_bytes; ++at) places.push_back(at);
  for (const uint64_t at : places) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x40);
    WriteFile(path(), bad);
    const auto opened = MappedLedger::Open(dir(), Identity(2));
    if (!opened.ok()) {
      ++noticed;
      EXPECT_THAT(std::string(opened.status().message()), HasSubstr(path()));
    } else {
      // The byte was in no use: the content is the same.
      EXPECT_EQ(Show((*opened)->Contents()), before) << "byte " << at;
    }
  }
  EXPECT_GT(noticed, 400);
}

TEST_F(MappedLedgerTest, AFullDeviceIsResourceExhaustedAndLeavesNoFile) {
  // A limit on the size of files stands for the device; the kernel says EFBIG and not ENOSPC.
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit old_limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  rlimit limit = old_limit;
  limit.rlim_cur = 8192;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  const absl::Status status = MappedLedger::Create(dir(), Identity(64), {}).status();
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_TRUE(std::filesystem::is_empty(dir()));
}

TEST_F(MappedLedgerTest, AKillBeforeTheNewFileIsInPlaceLeavesTheOldOne) {
  CreateEmpty(1)->PutLease(MakeLease(0, 1));
  WriteFile(path() + ".new", "left over from a kill");
  EXPECT_EQ(Show(Reopen(1)->Contents()), Show({{MakeLease(0, 1)}, {}, {}}));
  ASSERT_TRUE(MappedLedger::Create(dir(), Identity(1), {}).ok());
  EXPECT_TRUE(Reopen(1)->Contents().leases.empty());
}

TEST_F(MappedLedgerTest, RemoveForgetsTheFileAndIsIdempotent) {
  CreateEmpty(1);
  EXPECT_TRUE(MappedLedger::Remove(dir(), "gpu").ok());
  EXPECT_TRUE(MappedLedger::Remove(dir(), "gpu").ok());
  EXPECT_FALSE(std::filesystem::exists(path()));
}

using MappedLedgerDeathTest = MappedLedgerTest;

TEST_F(MappedLedgerDeathTest, BrokenPromisesEndTheProcess) {
  auto ledger = CreateEmpty(1);
  ledger->PutLease(MakeLease(0, 1));
  EXPECT_DEATH(ledger->PutLease(MakeLease(0, 2)), "live lease");
  EXPECT_DEATH(ledger->PutLease(MakeLease(1, 2)), "out of range");
  ledger->EndLease(0, LeaseState::kReleased, {});
  EXPECT_DEATH(ledger->EndLease(0, LeaseState::kReleased, {}), "without a live lease");
  EXPECT_DEATH(ledger->PutLock(0, std::string(256, 'x')), "too long");
}

}  // namespace
}  // namespace leaseplane::ledger
