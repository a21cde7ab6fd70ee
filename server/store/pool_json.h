// SPDX-License-Identifier: Apache-2.0
//
// PoolOptions as one JSON text, the way the store keeps pools made by the API.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "server/engine/types.h"

namespace leaseplane::store {

std::string PoolToJson(const engine::PoolOptions& options);
// A missing field has its default, an unknown one is passed over: an older or newer version wrote
// it. DATA_LOSS: no JSON, or a field of another type. `from_api` is true.
absl::StatusOr<engine::PoolOptions> PoolFromJson(const std::string& json);

}  // namespace leaseplane::store
