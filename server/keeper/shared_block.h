// SPDX-License-Identifier: Apache-2.0
//
// SharedBlock: what one worker leaves to the next in memory that outlives it: who is attached, and
// the ports that are in use. Anonymous shared memory, made by the keeper before the first worker.
//
// Owner: the keeper, for its whole life. Writers: the present worker alone (its attach thread for
// the session records); the keeper reads `ready_start` and sets `reload_asked`. Never mapped by a
// client.
// A worker may die between any two stores, so `state` is stored last when a record begins and first
// when it ends.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/base/ids.h"
#include "server/keeper/accepted_config.h"

namespace leaseplane::keeper {

inline constexpr uint32_t kPoolHandleCount = 4096;  // pools of one daemon

enum class SessionStage : uint32_t {
  kUnused = 0,
  kAttaching = 1,  // not welcomed yet: the next worker hangs up
  kAttached = 2,
  kEnded = 3,  // connection closed, process not yet known to be dead
};

struct SessionRecord {
  std::atomic<SessionStage> stage;
  std::atomic<uint32_t> uid;       // other threads of the worker read it for views
  std::atomic<uint32_t> liveness;  // attach::Liveness
  uint64_t word;                   // session word, as told to the client
  uint64_t process_key;            // attach::ProcessKey
  std::atomic<int64_t> attached_at_ns;
  std::atomic<int64_t> heard_at_ns;  // of the last message that was read
  char client_name[48];
  // Bit h: the session has opened the pool with handle h.
  std::atomic<uint64_t> opened[kPoolHandleCount / 64];
};

struct SharedBlock {
  std::atomic<uint64_t> ready_start;  // number of the last worker start that reported ready
  std::atomic<uint64_t> next_session_value;
  std::atomic<uint32_t> grpc_port;  // 0 = not chosen yet
  std::atomic<uint32_t> metrics_port;
  std::atomic<uint32_t> admin_port;
  std::atomic<uint32_t> ready_line_printed;
  // CLOCK_BOOTTIME until which re-declarations are taken; 0 = not recovering. A worker that ends
  // before it leaves segments that the next one cannot go on with.
  std::atomic<int64_t> recovering_until_ns;
  // Whether processes of before the keeper's start may hold slots: 0 not decided, 1 no, 2 yes.
  std::atomic<uint32_t> claims_possible;
  // 1: the keeper passed a SIGHUP on and no worker has begun to act on it.
  std::atomic<uint32_t> reload_asked;
  SessionRecord sessions[kOwnerCount];
  AcceptedConfig config;
};

}  // namespace leaseplane::keeper
