// SPDX-License-Identifier: Apache-2.0
#include "server/plane/session_bridge.h"

#include <algorithm>

#include "server/security/principal.h"

namespace leaseplane::plane {
namespace {

using attach::Kind;
using attach::Verdict;

bool Contains(const std::vector<uint32_t>& list, uint32_t value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

// Where a message names its pool. Every kind has it as its first field.
uint32_t PoolHandleOf(const attach::Message& message) { return message.claims_done.pool; }

attach::PoolOpened Describe(const PoolRuntime& pool, const PoolSegments& segments) {
  const engine::PoolOptions& options = pool.options();
  attach::PoolOpened opened{};
  opened.pool = pool.handle();
  opened.pool_uid = segments.uid();
  opened.data_bytes = segments.geometry().data_bytes;
  opened.ctl_bytes = segments.geometry().ctl_bytes;
  opened.meta_bytes = segments.meta_bytes();
  opened.capacity = options.capacity;
  opened.max_capacity = segments.geometry().max_capacity;
  opened.fairness = options.fairness == engine::Fairness::kFifo ? 1 : 0;
  opened.max_overtake_ns = options.max_overtake_ns;
  opened.recovering = pool.is_recovering.load() ? 1 : 0;
  return opened;
}

}  // namespace

bool IsAdmitted(const engine::PoolOptions& options, const attach::Peer& peer) {
  if (options.local_uids.empty() && options.local_gids.empty()) return true;
  if (Contains(options.local_uids, peer.uid) || Contains(options.local_gids, peer.gid)) return true;
  return std::any_of(peer.groups.begin(), peer.groups.end(),
                     [&](uint32_t gid) { return Contains(options.local_gids, gid); });
}

std::variant<attach::OpenedPool, attach::Refusal> SessionBridge::OpenPool(SessionIndex session,
                                                                          const attach::Peer& peer,
                                                                          std::string_view name) {
  if (draining_.load()) return attach::Refusal::kDraining;
  // First, so that who has no right does not learn whether the pool exists.
  const security::Rights rights =
      access_.RightsIn(name, security::UidPrincipal(peer.uid), security::Door::kUnixSocket);
  if ((rights & security::kAcquire) == 0) return attach::Refusal::kNotAllowed;
  PoolPtr pool = pools_.Find(std::string(name));
  if (!pool) return attach::Refusal::kUnknownPool;
  if (!pool->options().local_enabled) return attach::Refusal::kLocalDisabled;
  if (!IsAdmitted(pool->options(), peer)) return attach::Refusal::kNotAllowed;
  // Noted before the memory is looked at: a rotation changes the memory and then tells who is
  // noted.
  table_.SetOpened(session, pool->handle());
  MemoryPtr memory = pool->memory();
  attach::OpenedPool opened;
  opened.answer = Describe(*pool, memory->segments);
  opened.fds[0] = memory->segments.data_fd();
  opened.fds[1] = memory->segments.ctl_fd();
  opened.fds[2] = memory->segments.meta_fd();
  opened.keep = std::const_pointer_cast<PoolMemory>(std::move(memory));
  return opened;
}

Verdict SessionBridge::HandleMessage(SessionIndex session, const attach::Message& message) {
  switch (message.kind) {
    case Kind::kEnqueue:
    case Kind::kLeave:
    case Kind::kAuditAnswer:
    case Kind::kClaim:
    case Kind::kClaimsDone:
    case Kind::kGrantAck:
      break;
    default:
      return Verdict::kRubbish;
  }
  const uint32_t handle = PoolHandleOf(message);
  if (handle >= keeper::kPoolHandleCount) return Verdict::kRubbish;
  PoolPtr pool = pools_.FindHandle(handle);
  if (pool && !table_.HasOpened(session, handle)) {
    // It has not followed a rotation yet, and has been told to: it will ask anew.
    if (pool->has_rotated()) return Verdict::kDone;
    pool = nullptr;
  }
  if (pool) return HandleFor(*pool, session, message);
  // Deleted meanwhile, or never opened: the answer is the same, and nothing is learnt from it.
  if (message.kind == Kind::kEnqueue) {
    attach::Message refused{};
    refused.kind = Kind::kTicketRefused;
    refused.ticket_refused = {handle, static_cast<uint32_t>(attach::Refusal::kPoolDeleted),
                              message.enqueue.ticket};
    attach_->Send(session, refused, attach::Delivery::kMust);
  }
  return Verdict::kDone;
}

Verdict SessionBridge::HandleFor(PoolRuntime& pool, SessionIndex session,
                                 const attach::Message& message) {
  switch (message.kind) {
    case Kind::kEnqueue: {
      const attach::Enqueue& m = message.enqueue;
      pool.Step([&](engine::PoolEngine& engine, engine::Instant now, engine::Actions& actions) {
        engine.Enqueue(now, session, m.ticket, std::max<int64_t>(m.waited_ns, 0),
                       std::max<int64_t>(m.rest_ns, 0), actions);
      });
      pool.TellWaiting(NowInstant().boot_ns);
      return Verdict::kDone;
    }
    case Kind::kLeave:
      pool.Step([&](engine::PoolEngine& engine, engine::Instant now, engine::Actions& actions) {
        engine.Leave(now, session, message.leave.ticket, actions);
      });
      return Verdict::kDone;
    case Kind::kGrantAck: {
      const attach::GrantAck& m = message.grant_ack;
      if (m.slot >= pool.options().capacity) return Verdict::kRubbish;
      pool.Step([&](engine::PoolEngine& engine, engine::Instant, engine::Actions&) {
        engine.GrantAck(session, m.slot, m.ticket);
      });
      return Verdict::kDone;
    }
    case Kind::kAuditAnswer:
      return Audit(pool, session, message.audit_answer);
    case Kind::kClaim:
      return Claim(pool, session, message.claim);
    case Kind::kClaimsDone:
      pool.NoteClaimsDone({&session, 1});
      return Verdict::kDone;
    default:
      return Verdict::kDone;
  }
}

Verdict SessionBridge::Audit(PoolRuntime& pool, SessionIndex session,
                             const attach::AuditAnswer& answer) {
  if (answer.slot >= pool.options().capacity || answer.gen > kGenerationMax) {
    return Verdict::kRubbish;
  }
  pool.Step([&](engine::PoolEngine& engine, engine::Instant now, engine::Actions& actions) {
    engine.AuditAnswer(now, session, answer.slot, answer.gen, answer.question, actions);
  });
  return Verdict::kDone;
}

Verdict SessionBridge::Claim(PoolRuntime& pool, SessionIndex session, const attach::Claim& claim) {
  if (!IsTokenInRange(claim.token)) return Verdict::kRubbish;
  const bool accepted =
      claim.slot < pool.options().capacity &&
      pool.Step([&](engine::PoolEngine& engine, engine::Instant now, engine::Actions& actions) {
        return engine.Claim(now, session, claim.slot, claim.token, actions);
      });
  attach::Message result{};
  result.kind = Kind::kClaimResult;
  result.claim_result = {pool.handle(), claim.slot, claim.token, accepted ? 1u : 0u};
  attach_->Send(session, result, attach::Delivery::kMust);
  return Verdict::kDone;
}

void SessionBridge::SessionsEnded(std::span<const SessionIndex> sessions) {
  for (const PoolPtr& pool : pools_.All()) {
    pool->NoteClaimsDone(sessions);
    const bool concerned = std::any_of(sessions.begin(), sessions.end(), [&](SessionIndex session) {
      return table_.HasOpened(session, pool->handle());
    });
    if (!concerned) continue;
    pool->Step([&](engine::PoolEngine& engine, engine::Instant now, engine::Actions& actions) {
      engine.SessionsEnded(now, sessions, actions);
    });
  }
}

}  // namespace leaseplane::plane
