// SPDX-License-Identifier: Apache-2.0
//
// Records of the engine to and from the bodies of a ledger file, with their checksums. Private to
// this folder. Fill* REQUIRES the limits of types.h and ends the process otherwise. Read* returns
// nullopt for a body that is not what Fill* made for this word.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "server/engine/ledger_port.h"
#include "server/ledger/ledger_layout.h"

namespace leaseplane::ledger {

// Ends the process with a message if `holds` is false: a mistake of ours, not of the outside.
void RequireLedger(bool holds, const char* what);

LeaseTerm MakeTerm(FencingToken token, const engine::LeaseTerm& term);
bool IsTermSound(FencingToken token, const LeaseTerm& term);

// All return the number of bytes of `body` in use.
size_t FillLease(const engine::LeaseRecord& record, LeaseBody* body);
size_t FillTombstone(uint64_t number, const engine::Tombstone& tombstone, TombstoneBody* body);
// Of a live lease that ends; what FillTombstone would make of its record.
size_t FillTombstone(uint64_t number, FencingToken token, const LeaseBody& lease,
                     engine::LeaseState ended_as, engine::Instant now, TombstoneBody* body);
size_t FillLock(uint64_t version, SlotIndex slot, const std::string& reason, LockBody* body);

std::optional<engine::LeaseRecord> ReadLeaseBody(uint64_t word, const LeaseBody& body);
std::optional<engine::Tombstone> ReadTombstoneBody(uint64_t number, const TombstoneBody& body);
std::optional<engine::LockRecord> ReadLockBody(uint64_t version, const LockBody& body);

constexpr FencingToken TokenOfWord(uint64_t word) {
  return static_cast<FencingToken>(word & ~kTermBit);
}
constexpr int TermOfWord(uint64_t word) { return (word & kTermBit) != 0 ? 1 : 0; }

}  // namespace leaseplane::ledger
