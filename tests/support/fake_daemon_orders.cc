// SPDX-License-Identifier: Apache-2.0
// What a test can make the daemon do, and what it can see of it.
#include <sys/socket.h>
#include <time.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "tests/support/fake_daemon.h"

namespace leaseplane::testing {
namespace {

using attach::Kind;
using attach::Message;

Message Make(Kind kind) {
  Message message;
  ::memset(&message, 0, sizeof(message));
  message.kind = kind;
  return message;
}

int64_t NowNs() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

uint32_t FakeDaemon::HandleOf(const std::string& name) {
  for (uint32_t handle = 0; handle < pools_.size(); ++handle) {
    if (pools_[handle].options.name == name) return handle;
  }
  std::abort();
}

FakeDaemon::Pool& FakeDaemon::Named(const std::string& name) { return pools_[HandleOf(name)]; }

void FakeDaemon::SetGate(const std::string& pool, shm::Gate gate) {
  const std::lock_guard<std::mutex> lock(mu_);
  Named(pool).authority->SetGate(gate);
}

void FakeDaemon::SetDrained(const std::string& name, bool is_drained) {
  const std::lock_guard<std::mutex> lock(mu_);
  Pool& pool = Named(name);
  pool.authority->SetDrained(is_drained);
  pool.authority->SetGate(is_drained ? shm::Gate::kClosed : shm::Gate::kOpen);
  if (!is_drained) return;
  std::erase_if(queue_, [&](const Waiter& waiter) {
    if (&pools_[waiter.pool] != &pool) return false;
    RefuseTicket(waiter);
    return true;
  });
}

void FakeDaemon::RefuseTicket(const Waiter& waiter) {
  Message message = Make(Kind::kTicketRefused);
  message.ticket_refused = {waiter.pool, static_cast<uint32_t>(attach::Refusal::kPoolDraining),
                            waiter.ticket};
  if (Peer* peer = PeerOf(waiter.session)) Send(*peer, message);
}

void FakeDaemon::RestartWorker() {
  const std::lock_guard<std::mutex> lock(mu_);
  queue_.clear();
  restarted_ = true;
  for (Pool& pool : pools_) pool.authority->SetEpoch(pool.authority->epoch() + 1);
  for (const auto& peer : peers_) Send(*peer, Make(Kind::kWorkerRestarted));
}

void FakeDaemon::HangUp() {
  const std::lock_guard<std::mutex> lock(mu_);
  // The loop finds them shut and ends the sessions.
  for (const auto& peer : peers_) ::shutdown(peer->fd.get(), SHUT_RDWR);
}

void FakeDaemon::KillKeeper() {
  const std::lock_guard<std::mutex> lock(mu_);
  lifeline_write_.reset();
}

void FakeDaemon::SayDraining() {
  const std::lock_guard<std::mutex> lock(mu_);
  for (const auto& peer : peers_) Send(*peer, Make(Kind::kDraining));
}

void FakeDaemon::EndRecovery() {
  const std::lock_guard<std::mutex> lock(mu_);
  recovering_ = false;
  for (Pool& pool : pools_) {
    for (SlotIndex slot = 0; slot < pool.options.capacity; ++slot) pool.authority->Repair(slot);
  }
}

Generation FakeDaemon::Audit(const std::string& pool, SlotIndex slot, Generation gen) {
  uint64_t question = 0;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    const SessionIndex owner = OwnerOf(Named(pool).authority->LoadWord(slot));
    question = ++last_question_;
    Message message = Make(Kind::kAudit);
    message.audit.pool = HandleOf(pool);
    message.audit.slot = slot;
    message.audit.gen = gen;
    message.audit.question = question;
    Peer* peer = PeerOf(owner);
    if (peer == nullptr) std::abort();
    Send(*peer, message);
  }
  for (;;) {
    {
      const std::lock_guard<std::mutex> lock(mu_);
      const auto found = answers_.find(question);
      if (found != answers_.end()) return found->second;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

bool FakeDaemon::RevokeSilently(const std::string& name, SlotIndex slot) {
  const std::lock_guard<std::mutex> lock(mu_);
  Pool& pool = Named(name);
  const SlotWord word = pool.authority->LoadWord(slot);
  return pool.authority->TakeBack(slot, OwnerOf(word), GenerationOfWord(word));
}

Generation FakeDaemon::GrantSilently(const std::string& pool, SlotIndex slot) {
  const std::lock_guard<std::mutex> lock(mu_);
  const auto grant = Named(pool).authority->GrantSlot(slot, last_session_, NowNs());
  return grant.has_value() ? grant->gen : 0;
}

bool FakeDaemon::Revoke(const std::string& name, SlotIndex slot) {
  const std::lock_guard<std::mutex> lock(mu_);
  Pool& pool = Named(name);
  const SlotWord word = pool.authority->LoadWord(slot);
  const SessionIndex owner = OwnerOf(word);
  if (!pool.authority->TakeBack(slot, owner, GenerationOfWord(word))) return false;
  Message message = Make(Kind::kLeaseEnded);
  message.lease_ended.pool = HandleOf(name);
  message.lease_ended.slot = slot;
  message.lease_ended.token = MakeToken(pool.authority->epoch(), GenerationOfWord(word));
  Peer* peer = PeerOf(owner);
  if (peer != nullptr) Send(*peer, message);
  return true;
}

void FakeDaemon::AskBack(const std::string& name, SlotIndex slot, int64_t grace_ns) {
  const std::lock_guard<std::mutex> lock(mu_);
  Pool& pool = Named(name);
  const SlotWord word = pool.authority->LoadWord(slot);
  Message message = Make(Kind::kRevokeRequested);
  message.revoke_requested.pool = HandleOf(name);
  message.revoke_requested.slot = slot;
  message.revoke_requested.token = MakeToken(pool.authority->epoch(), GenerationOfWord(word));
  message.revoke_requested.grace_ns = grace_ns;
  Peer* peer = PeerOf(OwnerOf(word));
  if (peer != nullptr) Send(*peer, message);
}

std::optional<SlotIndex> FakeDaemon::TakeSlot(const std::string& pool) {
  const std::lock_guard<std::mutex> lock(mu_);
  const auto grant = Named(pool).authority->Grant(kOwnerDaemon, NowNs());
  if (!grant.has_value()) return std::nullopt;
  return grant->slot;
}

void FakeDaemon::GiveSlot(const std::string& pool, SlotIndex slot) {
  const std::lock_guard<std::mutex> lock(mu_);
  Authority<RealMemory>& authority = *Named(pool).authority;
  authority.TakeBack(slot, kOwnerDaemon, GenerationOfWord(authority.LoadWord(slot)));
}

uint32_t FakeDaemon::BusyCount(const std::string& name) {
  const std::lock_guard<std::mutex> lock(mu_);
  Pool& pool = Named(name);
  uint32_t count = 0;
  for (SlotIndex slot = 0; slot < pool.options.capacity; ++slot) {
    if (StateOf(pool.authority->LoadWord(slot)) == SlotState::kBusy) ++count;
  }
  return count;
}

uint32_t FakeDaemon::EnlistedCount(const std::string& pool) {
  const std::lock_guard<std::mutex> lock(mu_);
  return Named(pool).authority->enlisted_waiters();
}

size_t FakeDaemon::QueueLength() {
  const std::lock_guard<std::mutex> lock(mu_);
  return queue_.size();
}

size_t FakeDaemon::SessionCount() {
  const std::lock_guard<std::mutex> lock(mu_);
  return peers_.size();
}

}  // namespace leaseplane::testing
