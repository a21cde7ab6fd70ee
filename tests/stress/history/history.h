// SPDX-License-Identifier: Apache-2.0
//
// A history: what N processes saw of a pool, each operation with the instants before its call and
// after its return, and the checker that says whether one pool of slots could have answered so.
//
// A window is a history that begins and ends with every slot free. Checked, for each slot, in order
// of tokens: no token twice and none below an earlier window's; real time agrees with the order of
// tokens; no grant returned before the hold with the next smaller token had begun to be released,
// or its process was killed. A release is stale only if its process was told so for a reason (none
// here: nobody revokes). A try that failed had each slot taken at some instant: no slot was free
// from before it, for longer than `hint_grace_ns`, until after it.
//
// The tokens order the holds, so all this is sorting: O(n log n).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace leaseplane::history {

enum class Kind : uint32_t {
  kNothing = 0,
  kAcquiring = 1,  // called, not returned: the process was killed inside
  kAcquired = 2,
  kFailedTry = 3,
  kReleasing = 4,  // as kAcquiring
  kReleased = 5,
  kStale = 6,
};

// One operation, as a process writes it into its mapped file: first with its kind "-ing".
struct Operation {
  int64_t called_ns = 0;
  int64_t returned_ns = 0;
  int64_t token = 0;
  uint32_t slot = 0;
  Kind kind = Kind::kNothing;
};
static_assert(sizeof(Operation) == 32);

// The operations of one process in the order of its calls.
struct ProcessLog {
  std::vector<Operation> operations;
  int64_t killed_ns = 0;  // an instant before it was killed; 0: it was not
};

struct Window {
  int64_t began_ns = 0;  // every slot was free then
  uint32_t slot_count = 0;
  std::vector<ProcessLog> processes;
};

struct Verdict {
  uint64_t operations = 0, holds = 0, failed_tries = 0;
  uint64_t beside_a_free_slot = 0;     // failed tries that only the grace excuses
  std::vector<std::string> anomalies;  // empty: the history is good
  bool ok() const { return anomalies.empty(); }
};

// Remembers the largest token of each slot from window to window.
class Checker {
 public:
  explicit Checker(int64_t hint_grace_ns) : hint_grace_ns_(hint_grace_ns) {}
  Verdict Check(const Window& window);

 private:
  struct Hold {
    uint32_t slot;
    int64_t token;
    int64_t asked_ns, granted_ns;  // of the acquire
    int64_t left_ns, ended_ns;     // of the release; of a kill: the instant before, and never
  };
  struct Interval {
    int64_t from_ns, to_ns;
  };

  bool Collect(const Window& window, const ProcessLog& log, Verdict& verdict);
  void CheckSlot(const Window& window, uint32_t slot, const Hold* begin, const Hold* end,
                 Verdict& verdict);
  void CheckTries(Verdict& verdict);

  const int64_t hint_grace_ns_;
  std::map<uint32_t, int64_t> last_token_;
  std::vector<Hold> holds_;
  std::vector<Interval> tries_;
  std::vector<Interval> free_;  // when a slot was free beyond doubt
};

}  // namespace leaseplane::history
