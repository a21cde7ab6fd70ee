// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/local/pool_record.h"

#include <algorithm>

#include "clients/cpp/local/handshake.h"
#include "core/pool/mapped_words.h"

namespace leaseplane::internal {

absl::StatusOr<LocalState*> PoolRecord::MakeState(const Incoming& opened, const Attached& as) {
  const attach::PoolOpened& answer = opened.message.pool_opened;
  const auto same = std::find_if(mappings.begin(), mappings.end(), [&](const auto& mapping) {
    return mapping->pool_uid == answer.pool_uid;
  });
  if (same == mappings.end()) {
    auto mapped = MapPool(opened);
    if (!mapped.ok()) return mapped.status();
    mappings.push_back(*std::move(mapped));
  } else {
    std::rotate(same, same + 1, mappings.end());
  }
  const shm::AttachedPool& mapping = *mappings.back();
  const uint32_t slot_count = mapping.geometry.max_capacity;
  if (claims.empty() || claims.back()->max_capacity() != slot_count) {
    claims.push_back(std::make_unique<Claims<RealMemory>>(slot_count));
  }

  auto state = std::make_unique<LocalState>();
  state->attachment = Attachment<RealMemory>(WordsOf(mapping.base(), as.sess), as.owner,
                                             as.session_word, as.attach_gen);
  state->claims = claims.back().get();
  state->meta = mapping.meta.base();
  state->meta_bytes = mapping.meta.bytes();
  state->pool_uid = mapping.pool_uid;
  state->handle = answer.pool;
  state->capacity = std::min(answer.capacity, slot_count);
  state->fifo = answer.fairness != 0;
  state->serial = pool.NextSerial();
  state->max_overtake_ns = std::max<int64_t>(answer.max_overtake_ns, 0);
  recovering = answer.recovering != 0;
  states.push_back(std::move(state));
  return states.back().get();
}

LocalState* PoolRecord::CopyState(const Attached& as) {
  auto copy = std::make_unique<LocalState>(*pool.state());
  copy->attachment =
      Attachment<RealMemory>(copy->attachment.words, as.owner, as.session_word, as.attach_gen);
  copy->serial = pool.NextSerial();
  states.push_back(std::move(copy));
  return states.back().get();
}

const LocalState* PoolRecord::StateOf(uint32_t handle) const {
  for (const LocalState* state : {static_cast<const LocalState*>(next), pool.state()}) {
    if (state != nullptr && state->handle == handle) return state;
  }
  return nullptr;
}

Claims<RealMemory>* PoolRecord::ClaimsOf(SlotIndex slot) const {
  Claims<RealMemory>* found = nullptr;
  for (const LocalState* state : {static_cast<const LocalState*>(next), pool.state()}) {
    if (state == nullptr || slot >= state->claims->max_capacity()) continue;
    if (state->claims->HeldToken(slot) != 0) return state->claims;
    if (found == nullptr) found = state->claims;
  }
  return found;
}

}  // namespace leaseplane::internal
