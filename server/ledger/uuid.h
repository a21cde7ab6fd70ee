// SPDX-License-Identifier: Apache-2.0
//
// Uuid: 128 bits that name something for good (a boot of the host, a pool, an instance), and
// where the daemon gets them from. A plain value; all zero means "none".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace leaseplane::ledger {

struct Uuid {
  uint64_t hi = 0, lo = 0;
  bool operator==(const Uuid&) const = default;
  bool empty() const { return hi == 0 && lo == 0; }
};

// 8-4-4-4-12 hex digits, lower case.
std::string FormatUuid(const Uuid& uuid);
// INVALID_ARGUMENT unless `text` is 32 hex digits, with or without the dashes.
absl::StatusOr<Uuid> ParseUuid(std::string_view text);
// From the kernel's random numbers, never all zero.
Uuid RandomUuid();
// The kernel's name for this boot of the host; changes with every boot, equal in all containers.
absl::StatusOr<Uuid> ReadBootId();

}  // namespace leaseplane::ledger
