// SPDX-License-Identifier: Apache-2.0
//
// The pool algorithms over real memory, compiled once on their own: errors in a template show here
// and not in whoever includes it first.
#include "core/pool/authority.h"
#include "core/pool/claims.h"
#include "core/pool/mapped_words.h"
#include "core/pool/slot_client.h"
#include "core/pool/thread_context.h"

namespace leaseplane {

template class Authority<RealMemory>;
template class Claims<RealMemory>;
template struct ThreadRecord<RealMemory>;
template struct ThreadContext<RealMemory>;
template TryResult TryAcquireExhaustive<RealMemory>(ThreadContext<RealMemory>&, bool,
                                                    LocalGrant&) noexcept;
template TryResult TryAcquire<RealMemory>(ThreadContext<RealMemory>&, LocalGrant&) noexcept;
template ReleaseResult Release<RealMemory>(ThreadContext<RealMemory>&, SlotIndex,
                                           FencingToken) noexcept;
template bool StillHeld<RealMemory>(const Attachment<RealMemory>&, const ProcessFlags<RealMemory>&,
                                    SlotIndex, FencingToken) noexcept;

}  // namespace leaseplane
