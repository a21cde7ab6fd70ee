// SPDX-License-Identifier: Apache-2.0
// What a session holds, declared to the daemon's successor.
#include <algorithm>
#include <deque>
#include <utility>

#include "clients/cpp/boot_clock.h"
#include "clients/cpp/local/session.h"

namespace leaseplane::internal {
namespace {

using attach::Kind;
using attach::Message;

constexpr int64_t kAnswerNs = 2 * kSecondNs;
// The daemon never waits for a reader: answers to so many claims fit the socket's buffer.
constexpr size_t kClaimsInFlightMax = 64;

bool IsTransient(const absl::Status& status) {
  const Reason reason = ReasonOf(status);
  return reason == Reason::kRecovering || reason == Reason::kDraining;
}

// Whether the word of a lease that its process holds says that the daemon took it back, and went
// before it could tell: a release is noted before its CAS, so it was none. A word behind the grant
// says nothing: somebody has written over it. Nor does one that cannot be true: the daemon asks who
// holds the slot.
bool WasTakenBack(const Attachment<RealMemory>& old, SlotIndex slot, FencingToken token) {
  const SlotWord word = RealMemory::Load(old.words.Slot(slot));
  return word != BusyWord(old.owner, GenerationOf(token)) && IsWellFormed(word) &&
         GenerationOfWord(word) >= GenerationOf(token);
}

}  // namespace

// False: the connection ended, or the daemon did not answer in time.
template <class Done>
bool Session::Converse(const Done& done) {
  const int64_t deadline_ns = BootNowNs() + kAnswerNs;
  std::shared_ptr<AttachSocket> socket;
  {
    const MutexLock lock(&mu_);
    socket = socket_;
  }
  while (!done()) {
    if (!socket->WaitReadable(deadline_ns) || !ReadAll()) return done();
  }
  return true;
}

void Session::CollectClaims(uint64_t lost_gen, std::vector<Claimed>& claims) {
  claims.clear();
  for (PoolRecord* record : Records()) {
    const LocalState* state = record->pool.state();
    if (state == nullptr || state->attachment.attach_gen != lost_gen) continue;
    const bool session_lived = SessionLives(state->attachment);
    for (SlotIndex slot = 0; slot < state->claims->max_capacity(); ++slot) {
      const FencingToken token = state->claims->HeldToken(slot);
      if (token == 0) continue;
      Claimed claim{record, state->claims, slot, token};
      claim.declared =
          session_lived && (record->is_damaged || !WasTakenBack(state->attachment, slot, token));
      claims.push_back(claim);
    }
  }
}

// Whether its holder has given it back, or was told that it is lost.
bool Session::IsOver(const Claimed& claim) {
  return claim.claims->HeldToken(claim.slot) != claim.token;
}

bool Session::ReopenPools(uint64_t lost_gen) {
  std::vector<PoolRecord*> records = Records();
  std::erase_if(records, [lost_gen](const PoolRecord* record) {
    const LocalState* state = record->pool.state();
    return state == nullptr || state->attachment.attach_gen != lost_gen;
  });
  return Reopen(records);
}

bool Session::Reopen(const std::vector<PoolRecord*>& records) {
  std::deque<Opening> openings;
  std::vector<uint32_t> tags;
  for (PoolRecord* record : records) {
    Message message = MakeMessage(Kind::kOpenPool);
    const std::string& name = record->pool.name();
    std::copy(name.begin(), name.end(), message.open_pool.pool);
    openings.emplace_back();
    openings.back().record = record;
    openings.back().publish = false;
    {
      const MutexLock lock(&mu_);
      message.open_pool.tag = ++last_tag_;
      openings_[last_tag_] = &openings.back();
    }
    tags.push_back(message.open_pool.tag);
    SendPatiently(message);
  }
  const bool answered = Converse([&openings] {
    return std::all_of(openings.begin(), openings.end(), [](const Opening& o) { return o.done; });
  });
  const MutexLock lock(&mu_);
  for (uint32_t tag : tags) openings_.erase(tag);
  return answered && std::none_of(openings.begin(), openings.end(),
                                  [](const Opening& o) { return IsTransient(o.status); });
}

bool Session::DeclareClaims(std::vector<Claimed>& claims) {
  claims_under_way_ = &claims;
  size_t first_unanswered = 0;
  bool alive = true;
  for (size_t i = 0; i < claims.size() && alive; ++i) {
    Claimed& claim = claims[i];
    // It took a while until there was a daemon to tell.
    claim.declared = claim.declared && !IsOver(claim) && claim.record->next != nullptr &&
                     claim.record->recovering;
    if (!claim.declared) continue;
    Message message = MakeMessage(Kind::kClaim);
    message.claim.pool = claim.record->next->handle;
    message.claim.slot = claim.slot;
    message.claim.token = claim.token;
    SendPatiently(message);
    if (i - first_unanswered < kClaimsInFlightMax && i + 1 < claims.size()) continue;
    alive = Converse([&claims, i] { return AllAnswered(claims, i); });
    first_unanswered = i + 1;
  }
  alive = alive && Converse([&claims] { return AllAnswered(claims, claims.size() - 1); });
  claims_under_way_ = nullptr;
  if (!alive) return false;
  for (PoolRecord* record : Records()) {
    if (record->next == nullptr || !record->recovering) continue;
    Message message = MakeMessage(Kind::kClaimsDone);
    message.claims_done.pool = record->next->handle;
    SendPatiently(message);
  }
  return true;
}

void Session::PublishAll(const std::vector<Claimed>& claims) {
  const MutexLock lock(&mu_);
  for (const auto& [name, record] : records_) {
    if (record->next == nullptr) continue;
    for (const Claimed& claim : claims) {
      if (claim.record != record.get() || !claim.accepted) continue;
      if (claim.slot < record->next->claims->max_capacity() &&
          record->next->claims != claim.claims) {
        record->next->claims->NoteAcquired(claim.slot, claim.token);
      }
    }
    record->pool.Publish(std::exchange(record->next, nullptr));
    record->is_damaged = false;
  }
  for (const Claimed& claim : claims) {
    // Released after it was declared; FinishMovedRelease waits for the lock.
    if (!claim.accepted || !IsOver(claim)) continue;
    const LocalState& state = *claim.record->pool.state();
    ReleaseForOthers<RealMemory>(state.attachment, flags_, *state.claims, claim.slot, claim.token);
  }
  flags_.Set(Flags::kSegmentDead, false);
  attached_ = true;
  moving_ = false;
  changed_.Tell();
}

void Session::ReportLost(const std::vector<Claimed>& claims) {
  for (const Claimed& claim : claims) {
    if (claim.accepted || IsOver(claim)) continue;
    claim.claims->Forget(claim.slot, claim.token);
    TellLost(*claim.record, claim.slot, claim.token, Reason::kSessionEnded);
  }
}

// The worker that was killed may have taken leases back and not told of it. The same as what
// OnLeaseEnded does; what the new worker says of these leases later finds that they are over.
void Session::FindTakenBack() {
  for (PoolRecord* record : Records()) {
    const LocalState* state = record->pool.state();
    // Elsewhere the words say nothing: what is held is being declared, or is about to be.
    if (state == nullptr || record->is_damaged || !IsCurrent(state->attachment, flags_)) continue;
    Claims<RealMemory>& claims = *state->claims;
    for (SlotIndex slot = 0; slot < claims.max_capacity(); ++slot) {
      const FencingToken token = claims.HeldToken(slot);
      if (token == 0 || !WasTakenBack(state->attachment, slot, token)) continue;
      // All of them are taken back where the session has ended; the connection tells of that.
      if (!SessionLives(state->attachment)) break;
      if (claims.HeldToken(slot) != token) continue;  // given back, which is noted before the word
      claims.NoteRevoked(slot, token);
      claims.ForgetRevoked(state->attachment.words, state->attachment.owner, slot);
      TellLost(*record, slot, token, Reason::kLeaseRevoked);
    }
  }
}

bool Session::AllAnswered(const std::vector<Claimed>& claims, size_t last) {
  for (size_t i = 0; i < claims.size() && i <= last; ++i) {
    if (claims[i].declared && !claims[i].answered) return false;
  }
  return true;
}

}  // namespace leaseplane::internal
