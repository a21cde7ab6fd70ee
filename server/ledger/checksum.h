// SPDX-License-Identifier: Apache-2.0
//
// The checksum of a ledger file: XXH3, whose cost is a few nanoseconds for what a record holds. It
// finds what a disk or a bug did to a file; it is no protection against somebody who writes one.
#pragma once

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstddef>
#include <cstdint>

namespace leaseplane::ledger {

inline uint32_t Checksum(uint64_t seed, const void* bytes, size_t count) {
  return static_cast<uint32_t>(XXH3_64bits_withSeed(bytes, count, seed));
}

}  // namespace leaseplane::ledger
