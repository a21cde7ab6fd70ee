// SPDX-License-Identifier: Apache-2.0
//
// What people type, made into what the API takes: durations and resource names. Pure functions.
// Errors: kInvalidArgument, saying what would be valid.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace leaseplane::cli {

// 5s, 1m30s, 500ms, 0; never negative. `inf` only where `may_be_infinite`.
absl::StatusOr<absl::Duration> ParseDuration(std::string_view text, bool may_be_infinite);

// Names are accepted short and in full, and returned in full. Whether the parts are well-formed
// and exist is the daemon's to say.
absl::StatusOr<std::string> PoolName(std::string_view text);   // gpu    -> pools/gpu
absl::StatusOr<std::string> SlotName(std::string_view text);   // gpu/3  -> pools/gpu/slots/3
absl::StatusOr<std::string> LeaseName(std::string_view text);  // gpu/ID -> pools/gpu/leases/ID

// The last part: pools/gpu/leases/ID -> ID.
std::string_view LastPart(std::string_view name);

// Back to the short form: pools/gpu/slots/3 -> gpu/3. Other texts stay as they are.
std::string ShortName(std::string_view name);

}  // namespace leaseplane::cli
