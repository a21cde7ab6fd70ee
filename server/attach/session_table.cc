// SPDX-License-Identifier: Apache-2.0
#include "server/attach/session_table.h"

#include <cstring>

#include "core/attach/messages.h"
#include "core/shm/mapping.h"

namespace leaseplane::attach {

using keeper::SessionRecord;
using keeper::SessionStage;

SessionTable::SessionTable(keeper::SharedBlock* shared, std::byte* sess)
    : shared_(shared), sess_(sess) {}

std::atomic<uint64_t>& SessionTable::Word(SessionIndex index) const {
  return shm::At<std::atomic<uint64_t>>(sess_, shm::kPageBytes)[index];
}

bool SessionTable::IsActive(SessionIndex index) const {
  return IsSession(index) && shm::SessionStateOf(Word(index).load()) == shm::SessionState::kActive;
}

uint64_t SessionTable::WordOf(SessionIndex index) const {
  return IsSession(index) ? Word(index).load() : 0;
}

uint32_t SessionTable::UidOf(SessionIndex index) const {
  return IsSession(index) ? record(index).uid.load(std::memory_order_relaxed) : UINT32_MAX;
}

int64_t SessionTable::AttachedAtNs(SessionIndex index) const {
  return IsSession(index) ? record(index).attached_at_ns.load(std::memory_order_relaxed) : 0;
}

int64_t SessionTable::HeardAtNs(SessionIndex index) const {
  return IsSession(index) ? record(index).heard_at_ns.load(std::memory_order_relaxed) : 0;
}

bool SessionTable::IsTree(SessionIndex index) const {
  return IsSession(index) && record(index).liveness.load(std::memory_order_relaxed) ==
                                 static_cast<uint32_t>(Liveness::kTree);
}

bool SessionTable::HasOpened(SessionIndex index, uint32_t pool_handle) const {
  if (!IsSession(index) || pool_handle >= keeper::kPoolHandleCount) return false;
  return (record(index).opened[pool_handle / 64].load(std::memory_order_relaxed) >>
              (pool_handle % 64) &
          1) != 0;
}

void SessionTable::Begin(SessionIndex index, uint32_t uid, uint32_t liveness, int64_t now_ns) {
  SessionRecord& r = record(index);
  r.stage.store(SessionStage::kAttaching);
  r.uid.store(uid, std::memory_order_relaxed);
  r.liveness.store(liveness, std::memory_order_relaxed);
  r.attached_at_ns.store(now_ns, std::memory_order_relaxed);
  r.heard_at_ns.store(now_ns, std::memory_order_relaxed);
  for (auto& word : r.opened) word.store(0, std::memory_order_relaxed);
  r.word = shm::MakeSessionWord(shm::SessionState::kActive, ++shared_->next_session_value);
}

void SessionTable::PublishWord(SessionIndex index) { Word(index).store(record(index).word); }

void SessionTable::Revoke(SessionIndex index) {
  Word(index).store(shm::MakeSessionWord(shm::SessionState::kRevoked, record(index).word));
}

void SessionTable::SetStage(SessionIndex index, SessionStage stage) {
  record(index).stage.store(stage);
}

void SessionTable::SetOpened(SessionIndex index, uint32_t pool_handle) {
  record(index).opened[pool_handle / 64].fetch_or(uint64_t{1} << (pool_handle % 64));
}

bool SessionTable::TakeOpened(SessionIndex index, uint32_t pool_handle) {
  if (record(index).stage.load(std::memory_order_relaxed) == SessionStage::kUnused) return false;
  const uint64_t bit = uint64_t{1} << (pool_handle % 64);
  return (record(index).opened[pool_handle / 64].fetch_and(~bit) & bit) != 0;
}

void SessionTable::ForgetPool(uint32_t pool_handle) {
  const uint64_t bit = uint64_t{1} << (pool_handle % 64);
  for (SessionIndex i = kOwnerSessionFirst; i < kOwnerCount; ++i) {
    if (record(i).stage.load(std::memory_order_relaxed) == SessionStage::kUnused) continue;
    record(i).opened[pool_handle / 64].fetch_and(~bit);
  }
}

}  // namespace leaseplane::attach
