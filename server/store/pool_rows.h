// SPDX-License-Identifier: Apache-2.0
//
// Leases, tombstones and locks of a pool to and from their rows. Every function runs inside the
// caller's transaction or stands alone.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/engine/ledger_port.h"
#include "server/ledger/changes.h"
#include "server/store/sqlite.h"

namespace leaseplane::store {

absl::Status DeleteRows(Database* db, int64_t pool_key);
absl::Status WriteRows(Database* db, int64_t pool_key, const ledger::Changes& changes);
absl::StatusOr<engine::LedgerContents> ReadRows(Database* db, int64_t pool_key);

}  // namespace leaseplane::store
