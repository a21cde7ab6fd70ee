// SPDX-License-Identifier: Apache-2.0
//
// A PoolEngine with a fake world around it, and short words for what tests do with it.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "server/engine/pool_engine.h"
#include "tests/unit/server/engine/fake_world.h"

namespace leaseplane::engine {

class EngineTest : public ::testing::Test {
 protected:
  static constexpr SessionIndex kAlice = 2, kBob = 3, kCarol = 4;
  static constexpr Generation kFirstGen = 1000;

  EngineTest() {
    options_.id = "gpu";
    options_.capacity = 2;
  }

  // Builds the words, and an engine on a fresh segment.
  void Start(bool await_claims = false) {
    pool_ = std::make_unique<HeapPool>(options_.capacity);
    sessions_.attached = {{kAlice, now_.boot_ns}, {kBob, now_.boot_ns}, {kCarol, now_.boot_ns}};
    NewEngine();
    RecoverOptions how;
    how.drain_reason = drain_reason_;
    how.await_claims = await_claims;
    how.first_gen = kFirstGen;
    report_ = engine_->Recover(now_, ledger_.Contents(), how, actions_);
  }
  // The worker died and another one takes over the segment.
  void RestartAdopting(bool end_recovery = true) {
    NewEngine();
    authority_->SetEpoch(authority_->epoch() + 1);
    RecoverOptions how;
    how.drain_reason = drain_reason_;
    how.origin = SegmentOrigin::kAdopted;
    how.restart_grace_ns = restart_grace_ns_;
    report_ = engine_->Recover(now_, ledger_.Contents(), how, actions_);
    if (end_recovery) engine_->EndRecovery(now_, actions_);
  }
  // The segment is lost as well; possibly the host was rebooted.
  void RestartFresh(bool same_boot, bool await_claims) {
    const Epoch epoch = authority_->epoch() + 1;
    pool_ = std::make_unique<HeapPool>(options_.capacity);
    NewEngine();
    authority_->SetEpoch(epoch);
    RecoverOptions how;
    how.drain_reason = drain_reason_;
    how.same_boot = same_boot;
    how.await_claims = await_claims;
    how.first_gen = 2 * kFirstGen;
    report_ = engine_->Recover(now_, ledger_.Contents(), how, actions_);
  }
  void NewEngine() {
    engine_.reset();
    actions_.Clear();
    authority_ = std::make_unique<Authority<RealMemory>>(pool_->words(), options_.capacity);
    engine_ = std::make_unique<PoolEngine>(options_, *authority_, ledger_, ids_, sessions_);
  }

  static AcquireRequest Request(int64_t max_wait_ns = 0, uint64_t request_id = 0) {
    AcquireRequest request;
    request.principal = "anonymous";
    request.client_id = "tester";
    request.request_id = {0, request_id};
    request.body_hash = 7;
    request.max_wait_ns = max_wait_ns;
    return request;
  }
  AcquireAnswer Acquire(AcquireRequest request) {
    return engine_->Acquire(now_, now_.boot_ns, std::move(request), actions_);
  }
  Grant MustAcquire(AcquireRequest request = Request()) {
    AcquireAnswer answer = Acquire(std::move(request));
    if (!std::holds_alternative<Granted>(answer)) {
      ADD_FAILURE() << "no lease";
      return {};
    }
    return std::get<Granted>(answer).grant;
  }
  uint64_t MustQueue(AcquireRequest request = Request(kHour)) {
    AcquireAnswer answer = Acquire(std::move(request));
    if (!std::holds_alternative<Queued>(answer)) {
      ADD_FAILURE() << "not queued";
      return 0;
    }
    return std::get<Queued>(answer).ticket;
  }
  Reason RefusalOf(const AcquireAnswer& answer) {
    const Refusal* refusal = std::get_if<Refusal>(&answer);
    return refusal == nullptr ? Reason::kNone : refusal->reason;
  }
  template <class T>
  static Reason ReasonIn(const Result<T>& result) {
    const Refusal* refusal = std::get_if<Refusal>(&result);
    return refusal == nullptr ? Reason::kNone : refusal->reason;
  }
  static HolderRef HolderOf(const Grant& grant) {
    return {grant.lease.principal, grant.lease.client_id, grant.lease.id, grant.lease.token};
  }
  Reason Release(const Grant& grant, bool allow_missing = false) {
    return ReasonIn(engine_->Release(now_, HolderOf(grant), allow_missing, actions_));
  }
  Result<Renewed> Renew(const Grant& grant, int64_t ttl_ns = 0) {
    return engine_->Renew(now_, now_.boot_ns, HolderOf(grant), ttl_ns, actions_);
  }

  // Local clients. What they free reaches the engine as it would through the daemon's dseq thread.
  std::optional<SlotGrant> LocalAcquire(SessionIndex me, bool ignores_gate = false) {
    return LocalClient::TryAcquire(pool_->words(), me, sessions_.IsActive(me), ignores_gate);
  }
  bool LocalRelease(SessionIndex me, const SlotGrant& held) {
    const uint32_t before = authority_->LoadDseq();
    const bool done = LocalClient::Release(pool_->words(), me, held);
    if (authority_->LoadDseq() != before) engine_->OnReleased(now_, actions_);
    return done;
  }
  SlotGrant MustLocalAcquire(SessionIndex me) {
    const auto grant = LocalAcquire(me);
    if (!grant) ADD_FAILURE() << "no slot for session " << me;
    return grant.value_or(SlotGrant{});
  }
  void EndSession(SessionIndex session) {
    sessions_.attached.erase(session);
    const SessionIndex ended[] = {session};
    engine_->SessionsEnded(now_, ended, actions_);
  }

  // Time goes on; the engine is told as by its timer thread and ticks.
  void Pass(int64_t ns) {
    const int64_t end = now_.boot_ns + ns;
    while (now_.boot_ns < end) {
      const int64_t step = std::min(end - now_.boot_ns, 50 * kMillisecond);
      Jump(step);
      engine_->Tick(now_, step, actions_);
    }
  }
  void Jump(int64_t ns) {
    now_.boot_ns += ns;
    now_.unix_ns += ns;
  }

  SlotState StateAt(SlotIndex slot) const { return StateOf(pool_->Word(slot)); }
  shm::Gate gate() const { return authority_->gate(); }

  Instant now_{1'000 * kSecond, 1'700'000'000 * kSecond};
  PoolOptions options_;
  int64_t restart_grace_ns_ = 15 * kSecond;
  std::optional<std::string> drain_reason_;  // what the next engine is told
  FakeLedger ledger_;
  CountingIds ids_;
  FakeSessions sessions_;
  std::unique_ptr<HeapPool> pool_;
  std::unique_ptr<Authority<RealMemory>> authority_;
  std::unique_ptr<PoolEngine> engine_;
  Actions actions_;
  RecoverReport report_;
};

}  // namespace leaseplane::engine
