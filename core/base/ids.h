// SPDX-License-Identifier: Apache-2.0
//
// The small integers every layer speaks: slot index, session index, generation, epoch and the
// fencing token made of the last two. Plain integers with named ranges, so that they can live in
// shared memory and cross the C ABI unchanged.
#pragma once

#include <cstddef>
#include <cstdint>

namespace leaseplane {

// Distance that keeps two words from sharing a cache line. A constant of the shared layout, so it
// never depends on a compiler flag.
inline constexpr size_t kCacheLineBytes = 64;

using SlotIndex = uint32_t;     // 0 .. capacity-1
using SessionIndex = uint32_t;  // 14 bits, see kOwner*
using Generation = uint64_t;    // 36 bits; grants of one slot since it was last numbered
using Epoch = uint32_t;         // 17 bits; durable per pool, grows with every daemon start

inline constexpr uint32_t kCapacityMax = 1u << 20;  // slots in one pool

inline constexpr int kGenerationBits = 36;
inline constexpr Generation kGenerationMax = (Generation{1} << kGenerationBits) - 1;
inline constexpr int kEpochBits = 17;
inline constexpr Epoch kEpochMax = (Epoch{1} << kEpochBits) - 1;

// Owner field of a slot word.
inline constexpr int kOwnerBits = 14;
inline constexpr SessionIndex kOwnerNone = 0;
inline constexpr SessionIndex kOwnerDaemon = 1;        // remote leases, locks
inline constexpr SessionIndex kOwnerSessionFirst = 2;  // attached processes
inline constexpr SessionIndex kOwnerCount = SessionIndex{1} << kOwnerBits;

// Fencing token: `epoch:17 << 36 | generation:36`, positive and below 2^53, so it is exact in a
// double (JavaScript, Lua, jq). Strictly increasing per slot for ever; the guarded resource
// refuses a smaller one. 0 is never a token.
using FencingToken = int64_t;
inline constexpr FencingToken kFencingTokenMax = (FencingToken{1} << 53) - 1;

constexpr FencingToken MakeToken(Epoch epoch, Generation gen) {
  return static_cast<FencingToken>((uint64_t{epoch} << kGenerationBits) | (gen & kGenerationMax));
}
constexpr Epoch EpochOf(FencingToken token) {
  return static_cast<Epoch>(static_cast<uint64_t>(token) >> kGenerationBits);
}
constexpr Generation GenerationOf(FencingToken token) {
  return static_cast<uint64_t>(token) & kGenerationMax;
}
constexpr bool IsTokenInRange(FencingToken token) { return token > 0 && token <= kFencingTokenMax; }

}  // namespace leaseplane
