// SPDX-License-Identifier: Apache-2.0
#include "server/engine/audit_book.h"

#include <algorithm>

namespace leaseplane::engine {

std::optional<uint64_t> AuditBook::Ask(SlotIndex slot, SessionIndex session, Generation gen,
                                       int64_t now_ns) {
  Hold& hold = holds_[slot];
  if (hold.session != session || hold.gen != gen) {
    hold = Hold{};
    hold.session = session;
    hold.gen = gen;
  } else {
    const int64_t interval_ns = hold.denied_ns != 0 ? kAuditConfirmAfter : kAuditInterval;
    if (now_ns - hold.asked_ns < interval_ns) return std::nullopt;
  }
  hold.question = ++last_question_;
  hold.asked_ns = now_ns;
  hold.unanswered_since_ns = std::min(hold.unanswered_since_ns, now_ns);
  return hold.question;
}

std::optional<Generation> AuditBook::Answer(SlotIndex slot, SessionIndex session,
                                            Generation gen_held, uint64_t question,
                                            int64_t now_ns) {
  const auto found = holds_.find(slot);
  if (found == holds_.end()) return std::nullopt;
  Hold& hold = found->second;
  if (hold.session != session || hold.question != question) return std::nullopt;
  hold.question = 0;  // answered: a repeated answer is not a second one
  hold.unanswered_since_ns = kNever;
  if (gen_held == hold.gen) {
    hold.denied_ns = 0;
    return std::nullopt;
  }
  if (hold.denied_ns == 0) {
    hold.denied_ns = now_ns;
    return std::nullopt;
  }
  if (now_ns - hold.denied_ns < kAuditConfirmAfter) return std::nullopt;
  const Generation lost = hold.gen;
  holds_.erase(found);
  return lost;
}

int64_t AuditBook::UnansweredSinceNs(SlotIndex slot, SessionIndex session, Generation gen) const {
  const auto found = holds_.find(slot);
  if (found == holds_.end()) return kNever;
  const Hold& hold = found->second;
  return hold.session == session && hold.gen == gen ? hold.unanswered_since_ns : kNever;
}

void AuditBook::ExtendUnanswered(int64_t by_ns) {
  for (auto& [slot, hold] : holds_) {
    if (hold.unanswered_since_ns != kNever) hold.unanswered_since_ns += by_ns;
  }
}

uint64_t AuditBook::OpenDamage(SlotIndex slot) {
  DamageCase& damage = damages_[slot];
  damage = DamageCase{};
  damage.question = ++last_question_;
  return damage.question;
}

AuditBook::DamageCase* AuditBook::FindDamage(SlotIndex slot) {
  const auto found = damages_.find(slot);
  return found == damages_.end() ? nullptr : &found->second;
}

}  // namespace leaseplane::engine
