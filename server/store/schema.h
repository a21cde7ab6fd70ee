// SPDX-License-Identifier: Apache-2.0
//
// The tables of the store and how a file of an older version becomes one of this version.
#pragma once

#include "absl/status/status.h"
#include "server/store/sqlite.h"

namespace leaseplane::store {

// Sets how the connection works (WAL, every commit synced), then brings the file up to date, all
// steps in one transaction. FAILED_PRECONDITION: the file is of a newer version.
absl::Status PrepareDatabase(Database* db);

// What a file has after PrepareDatabase (PRAGMA user_version).
int SchemaVersion();

}  // namespace leaseplane::store
