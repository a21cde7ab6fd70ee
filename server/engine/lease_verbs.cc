// SPDX-License-Identifier: Apache-2.0
//
// What holders of remote leases ask for: renew, release, and the end of a grant that did not
// arrive.
#include <algorithm>

#include "server/engine/pool_engine.h"
#include "server/engine/refusals.h"

namespace leaseplane::engine {

Result<Renewed> PoolEngine::Renew(Instant now, int64_t received_at_ns, const HolderRef& holder,
                                  int64_t ttl_ns, Actions&) {
  AccountForAbsence(now.boot_ns);
  LiveLease* lease = leases_.Find(holder.id);
  if (lease == nullptr) {
    const Tombstone* ended = leases_.FindEnded(holder.id);
    if (ended == nullptr) return RefuseUnknownLease();
    Refusal refusal = CheckHolder(holder, ended->principal, ended->client_id, ended->token);
    if (refusal.reason != Reason::kNone) return refusal;
    return RefuseEnded(ended->ended_as, ended->ended_unix_ns);
  }
  LeaseRecord& record = lease->record;
  Refusal refusal = CheckHolder(holder, record.principal, record.client_id, record.token);
  if (refusal.reason != Reason::kNone) return refusal;
  const int64_t deadline_ns = leases_.EffectiveDeadline(*lease);
  if (received_at_ns >= deadline_ns) {
    return RefuseEnded(LeaseState::kExpired, now.unix_ns - (now.boot_ns - deadline_ns));
  }
  if (ttl_ns == 0) {
    ttl_ns = record.ttl_ns;
  } else if (ttl_ns < options_.min_ttl_ns || ttl_ns > options_.max_ttl_ns) {
    return RefuseTtl(options_);
  }
  const int64_t end_ns =
      std::min({now.boot_ns + ttl_ns, record.max_end_at_ns, record.revoke_at_ns});
  const int64_t old_ttl_ns = record.ttl_ns;
  record.deadline_at_ns = std::max(record.deadline_at_ns, end_ns);
  // After a restart of the host the lease gets its ttl again; that must cover what is promised now.
  record.ttl_ns = std::max(ttl_ns, record.deadline_at_ns - now.boot_ns);
  const uint64_t seq = WriteTerm(record);
  if (seq != 0 && WaitsForDisk(record.ttl_ns, old_ttl_ns)) lease->term_seq = seq;
  leases_.SetEndAt(record.slot, std::max(leases_.EndAt(record.slot),
                                         record.deadline_at_ns + AgeOutGuardNs(record.ttl_ns)));
  ++stats_.renewed;
  Granted granted = DescribeGrant(now, received_at_ns, *lease);
  Renewed renewed;
  renewed.result.lease = std::move(granted.grant.lease);
  renewed.result.queued_ns = granted.grant.queued_ns;
  renewed.result.renew_interval_ns = granted.grant.renew_interval_ns;
  // Of a renewal that was made again, too: the first one may still be on its way to the disk.
  renewed.commit_seq = WaitsForDisk(record.ttl_ns, 0) ? lease->term_seq : 0;
  return renewed;
}

// 0: nothing that has to survive the host.
uint64_t PoolEngine::WriteTerm(const LeaseRecord& record) {
  const uint64_t seq = ledger_.RenewLease(record.slot, TermOf(record));
  if (seq != 0) last_seq_ = seq;
  return seq;
}

Result<Released> PoolEngine::Release(Instant now, const HolderRef& holder, bool allow_missing,
                                     Actions& actions) {
  AccountForAbsence(now.boot_ns);
  const bool is_sync = options_.durability == Durability::kSync;
  const LiveLease* lease = leases_.Find(holder.id);
  if (lease == nullptr) {
    const Tombstone* ended = leases_.FindEnded(holder.id);
    if (ended == nullptr) {
      if (allow_missing) return Released{};
      return RefuseUnknownLease();
    }
    Refusal refusal = CheckHolder(holder, ended->principal, ended->client_id, ended->token);
    if (refusal.reason != Reason::kNone) return refusal;
    if (ended->ended_as == LeaseState::kReleased || allow_missing) {
      return Released{is_sync ? last_seq_ : 0};
    }
    ++stats_.stale_releases;
    return RefuseEnded(ended->ended_as, ended->ended_unix_ns);
  }
  const LeaseRecord& record = lease->record;
  Refusal refusal = CheckHolder(holder, record.principal, record.client_id, record.token);
  if (refusal.reason != Reason::kNone) return refusal;
  const int64_t deadline_ns = leases_.EffectiveDeadline(*lease);
  const bool is_late = now.boot_ns >= deadline_ns;
  // Too late to count as a release, but the holder is certainly gone: the slot goes on at once.
  const uint64_t seq = EndRemoteLease(
      now, record.slot, is_late ? LeaseState::kExpired : LeaseState::kReleased, actions);
  ++(is_late ? stats_.expired : stats_.released_remote);
  Settle(now, actions);
  if (is_late && !allow_missing) {
    ++stats_.stale_releases;
    return RefuseEnded(LeaseState::kExpired, now.unix_ns - (now.boot_ns - deadline_ns));
  }
  return Released{is_sync ? seq : 0};
}

void PoolEngine::Abandon(Instant now, const Grant& grant, Actions& actions) {
  const LiveLease* lease = leases_.Find(grant.lease.id);
  if (lease == nullptr || lease->record.token != grant.lease.token) return;
  if (!lease->record.request_id.empty()) return;  // the caller may come back for it
  EndRemoteLease(now, lease->record.slot, LeaseState::kReleased, actions);
  Settle(now, actions);
}

void PoolEngine::GiveBack(Instant now, const Grant& grant, Actions& actions) {
  const LiveLease* lease = leases_.Find(grant.lease.id);
  if (lease == nullptr || lease->record.token != grant.lease.token) return;
  const SlotIndex slot = lease->record.slot;
  leases_.ForgetRequest(slot);
  EndRemoteLease(now, slot, LeaseState::kReleased, actions);
  Settle(now, actions);
}

}  // namespace leaseplane::engine
