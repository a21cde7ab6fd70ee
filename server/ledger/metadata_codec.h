// SPDX-License-Identifier: Apache-2.0
//
// Lease metadata as bytes, equal in the ledger file and in the store: for each entry in order of
// keys, byte count (2, little endian) and bytes of the key, then of the value.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "server/engine/types.h"

namespace leaseplane::ledger {

// REQUIRES keys and values below 65536 bytes.
std::string EncodeMetadata(const engine::Metadata& metadata);
// nullopt if `bytes` is not what EncodeMetadata makes.
std::optional<engine::Metadata> DecodeMetadata(std::string_view bytes);

}  // namespace leaseplane::ledger
