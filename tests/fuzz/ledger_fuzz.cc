// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/mapped_ledger.h"
#include "tests/fuzz/damaged_file.h"
#include "tests/unit/server/ledger/ledger_fixture.h"

namespace leaseplane::fuzz {
namespace {

constexpr uint32_t kSlots = 4;

const ledger::LedgerIdentity& Identity() {
  static const ledger::LedgerIdentity identity{"gpu", {11, 12}, {21, 22}, kSlots};
  return identity;
}

struct Good {
  std::string folder = FreshFolder(), path, bytes;

  Good() {
    auto made = ledger::MappedLedger::Create(folder, Identity(), {});
    Must(made.ok(), "no ledger");
    for (SlotIndex slot = 0; slot < 3; ++slot) {
      (*made)->PutLease(ledger::MakeLease(slot, 1000 + slot));
    }
    (*made)->EndLease(1, engine::LeaseState::kReleased, {5, 6});
    (*made)->PutLock(3, "under repair");
    path = (*made)->path();
    made->reset();
    bytes = ReadAll(path);
  }
  ~Good() { std::filesystem::remove_all(folder); }
};

}  // namespace
}  // namespace leaseplane::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace leaseplane;  // NOLINT
  static const fuzz::Good good;
  fuzz::Input input(data, size);
  fuzz::WriteAll(good.path, fuzz::Damage(good.bytes, input));
  auto opened = ledger::MappedLedger::Open(good.folder, fuzz::Identity());
  if (!opened.ok()) {
    fuzz::Must(!opened.status().message().empty(), "a refusal without a reason");
    return 0;
  }
  for (const auto& lease : (*opened)->Contents().leases) {
    fuzz::Must(lease.slot < fuzz::kSlots, "a lease of an unknown slot");
    fuzz::Must(IsTokenInRange(lease.token), "a token out of range");
  }
  const auto lease = ledger::MakeLease(2, kFencingTokenMax);
  for (const auto& live : (*opened)->Contents().leases) {
    if (live.slot == 2) (*opened)->EndLease(2, engine::LeaseState::kExpired, {5, 6});
  }
  (*opened)->PutLease(lease);
  bool found = false;
  for (const auto& read : (*opened)->Contents().leases) found |= read.token == lease.token;
  fuzz::Must(found, "what was written is not there");
  (*opened)->EndLease(2, engine::LeaseState::kReleased, {7, 8});
  (*opened)->TakeChanges();
  return 0;
}
