// SPDX-License-Identifier: Apache-2.0
//
// A disk that can be made to fail: a SQLite VFS named kFaultyVfs over the system's, whose writes,
// truncations and syncs fail from a chosen one on until it is repaired. Threads: any.
#pragma once

#include <cstdint>

namespace leaseplane::store {

inline constexpr char kFaultyVfs[] = "leaseplane-faulty";

enum class Fault { kEio, kEnospc };

void RegisterFaultyVfs();  // idempotent; leaves the system's VFS the default
// The `nth` (from 1) write, truncation or sync from now on fails, and every one after it.
void FailFrom(int64_t nth, Fault fault);
void RepairDisk();
// Writes, truncations and syncs since the last FailFrom or RepairDisk.
int64_t DiskOperations();

}  // namespace leaseplane::store
