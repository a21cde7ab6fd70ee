// SPDX-License-Identifier: Apache-2.0
//
// Any message of the API as JSON, as the documentation of leasectl promises it: field names as in
// the protos, every field present (message fields only if set), enums by name, durations as "15s"
// and instants as RFC 3339 text. 64-bit integers are plain decimals, unlike in the JSON mapping of
// Protobuf: fencing tokens are below 2^53, so every reader gets them exactly.
//
// Pure functions; any thread.
#pragma once

#include <google/protobuf/message.h>

#include <nlohmann/json.hpp>

namespace leaseplane::cli {

nlohmann::ordered_json ToJson(const google::protobuf::Message& message);

}  // namespace leaseplane::cli
