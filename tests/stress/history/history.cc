// SPDX-License-Identifier: Apache-2.0
#include "tests/stress/history/history.h"

#include <algorithm>
#include <limits>
#include <unordered_map>

namespace leaseplane::history {
namespace {

constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
constexpr int64_t kTokenMax = (int64_t{1} << 53) - 1;
constexpr size_t kAnomaliesMax = 20;

void Complain(Verdict& verdict, const std::string& what, uint32_t slot, int64_t token) {
  if (verdict.anomalies.size() >= kAnomaliesMax) return;
  verdict.anomalies.push_back("slot " + std::to_string(slot) + " token " + std::to_string(token) +
                              ": " + what);
}

}  // namespace

// One process: pairs acquires with releases. False: the log itself makes no sense.
bool Checker::Collect(const Window& window, const ProcessLog& log, Verdict& verdict) {
  std::unordered_map<int64_t, size_t> held;  // slot and token -> index in holds_
  const auto key = [](const Operation& op) { return op.token * 1'000'003 + op.slot; };
  int64_t last_ns = window.began_ns;
  const int64_t no_release_ns = log.killed_ns != 0 ? log.killed_ns : kNever;
  for (const Operation& op : log.operations) {
    ++verdict.operations;
    const bool unfinished = op.kind == Kind::kAcquiring || op.kind == Kind::kReleasing;
    if (op.called_ns < last_ns || (!unfinished && op.returned_ns < op.called_ns) ||
        (unfinished && log.killed_ns == 0)) {
      Complain(verdict, "the log is out of order", op.slot, op.token);
      return false;
    }
    last_ns = unfinished ? op.called_ns : op.returned_ns;
    if (op.kind == Kind::kFailedTry) {
      ++verdict.failed_tries;
      tries_.push_back({op.called_ns, op.returned_ns});
      continue;
    }
    if (op.kind == Kind::kAcquiring) continue;
    if (op.slot >= window.slot_count || op.token <= 0 || op.token > kTokenMax) {
      Complain(verdict, "slot or token out of range", op.slot, op.token);
      return false;
    }
    if (op.kind == Kind::kAcquired) {
      held[key(op)] = holds_.size();
      holds_.push_back({op.slot, op.token, op.called_ns, op.returned_ns, no_release_ns, kNever});
      continue;
    }
    const auto found = held.find(key(op));
    if (found == held.end()) {
      Complain(verdict, "released without being held", op.slot, op.token);
      continue;
    }
    Hold& hold = holds_[found->second];
    hold.left_ns = op.called_ns;
    if (op.kind == Kind::kReleased) hold.ended_ns = op.returned_ns;
    if (op.kind == Kind::kStale) Complain(verdict, "a holder was robbed", op.slot, op.token);
    held.erase(found);
  }
  return true;
}

void Checker::CheckSlot(const Window& window, uint32_t slot, const Hold* begin, const Hold* end,
                        Verdict& verdict) {
  int64_t& last_token = last_token_[slot];
  int64_t asked_max_ns = 0, left_max_ns = 0, free_from_ns = window.began_ns;
  for (const Hold* hold = begin; hold != end; ++hold) {
    if (hold->token == last_token)
      Complain(verdict, "the token was given out twice", slot, hold->token);
    if (hold->token < last_token) {
      Complain(verdict, "the token is below an earlier one", slot, hold->token);
    }
    last_token = std::max(last_token, hold->token);
    if (hold->granted_ns < asked_max_ns) {
      Complain(verdict, "granted before a smaller token was asked for", slot, hold->token);
    }
    if (hold->granted_ns < left_max_ns) {
      Complain(verdict, "granted while another held the slot", slot, hold->token);
    }
    if (free_from_ns != kNever) free_.push_back({free_from_ns, hold->asked_ns});
    asked_max_ns = std::max(asked_max_ns, hold->asked_ns);
    left_max_ns = std::max(left_max_ns, hold->left_ns);
    free_from_ns = hold->ended_ns;
  }
  if (free_from_ns != kNever) free_.push_back({free_from_ns, kNever});
}

// Is there a slot that was free all along? Tries and free intervals by their begin; of the
// intervals that began in time the one that ends last decides.
void Checker::CheckTries(Verdict& verdict) {
  const auto earlier = [](const Interval& a, const Interval& b) { return a.from_ns < b.from_ns; };
  std::sort(tries_.begin(), tries_.end(), earlier);
  std::sort(free_.begin(), free_.end(), earlier);
  size_t in_time = 0, in_grace = 0;
  int64_t ends_last_ns = 0, ends_last_in_grace_ns = 0;
  for (const Interval& attempt : tries_) {
    for (; in_time < free_.size() && free_[in_time].from_ns < attempt.from_ns; ++in_time) {
      ends_last_ns = std::max(ends_last_ns, free_[in_time].to_ns);
    }
    for (; in_grace < free_.size() && free_[in_grace].from_ns < attempt.from_ns - hint_grace_ns_;
         ++in_grace) {
      ends_last_in_grace_ns = std::max(ends_last_in_grace_ns, free_[in_grace].to_ns);
    }
    if (ends_last_ns > attempt.to_ns) ++verdict.beside_a_free_slot;
    if (ends_last_in_grace_ns > attempt.to_ns && verdict.anomalies.size() < kAnomaliesMax) {
      verdict.anomalies.push_back("a try failed beside a slot that had been free for long");
    }
  }
}

Verdict Checker::Check(const Window& window) {
  Verdict verdict;
  holds_.clear();
  tries_.clear();
  free_.clear();
  bool was_killed = false;
  for (const ProcessLog& log : window.processes) {
    was_killed |= log.killed_ns != 0;
    if (!Collect(window, log, verdict)) return verdict;
  }
  std::sort(holds_.begin(), holds_.end(), [](const Hold& a, const Hold& b) {
    return a.slot != b.slot ? a.slot < b.slot : a.token < b.token;
  });
  verdict.holds = holds_.size();
  const Hold* const end = holds_.data() + holds_.size();
  const Hold* hold = holds_.data();
  for (uint32_t slot = 0; slot < window.slot_count; ++slot) {
    const Hold* first = hold;
    while (hold != end && hold->slot == slot) ++hold;
    CheckSlot(window, slot, first, hold, verdict);
  }
  // A killed process may have held a slot that it never wrote down.
  if (!was_killed) CheckTries(verdict);
  return verdict;
}

}  // namespace leaseplane::history
