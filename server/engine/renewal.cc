// SPDX-License-Identifier: Apache-2.0
//
// Epochs spent while the pool runs: slots whose generations are used up begin again.
#include "server/engine/pool_engine.h"

namespace leaseplane::engine {

void PoolEngine::Renumber(Instant now, Epoch epoch, Actions& actions) {
  if (is_damaged_) return;
  std::vector<SlotIndex> renumbered;
  authority_.Renumber(epoch, renumbered);
  stats_.renumberings += renumbered.size();
  for (const SlotIndex slot : renumbered) {
    audits_.Forget(slot);
    locals_.ForgetRevocation(slot);
  }
  Settle(now, actions);
}

void PoolEngine::SetBrokered(Instant now, bool is_brokered, Actions& actions) {
  if (is_brokered_ == is_brokered || is_damaged_) return;
  is_brokered_ = is_brokered;
  authority_.SetDirect(!is_brokered);
  Settle(now, actions);
}

}  // namespace leaseplane::engine
