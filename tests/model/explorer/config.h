// SPDX-License-Identifier: Apache-2.0
//
// Config: one small system to explore, and how far. The named ones are the regular test.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace leaseplane::explorer {

struct Config {
  std::string name;
  // -- the system
  std::vector<int> threads{0, 1};  // of each application thread: its process (0, 1, ..)
  int slots = 1;
  int rounds = 1;          // acquire and release, each thread
  int remotes = 0;         // remote holders, one lease each
  int bare = 0;            // so many threads, from the first, call TryAcquire and never wait
  bool fifo = false;       // queue at once; else BOUNDED: queue only after `registers`
  bool lingers = false;    // remote holders keep their slot until nobody else can go on
  bool dwells = false;     // threads keep their last slot in the same way
  bool hot = false;        // threads begin with a slot they know, and try it before they wait
  bool turns = false;      // threads stand back for those who wait
  int spins = 0;           // looks of a thread before it is counted as waiting
  bool finder = false;     // the finder's words are scheduling points, too
  bool hands = false;      // a thread gives back what its process took first, not what it took
  bool locked = false;     // slots are released into LOCKED and reopened by the daemon
  int renumber_after = 0;  // generations of a slot until it is renumbered; 0: never
  // What the administrator does, one letter a step, at any time: T tick, A audit, L lock slot 0,
  // U unlock it, V revoke one local lease, P close the gate, E end session 0, N tick
  // and renumber, D drain the pool, R resume it.
  std::string admin;
  // -- how often each fault may strike
  int kills = 0;      // SIGKILL of a process
  int revokes = 0;    // end of the session of a live process
  int crashes = 0;    // of the daemon's worker, which is started again
  int voids = 0;      // a library takes the daemon's heart for stopped
  int moves = 0;      // a process leaves the segment; its threads end then
  int timeouts = 0;   // a thread's deadline passes
  int registers = 0;  // a BOUNDED waiter has waited long enough to queue
  int refusals = 0;   // the daemon's queue is full
  int keeps = 0;      // a plain store stays in the processor's buffer for a while
  // -- the search
  int preemptions = 2;
  uint64_t executions_max = 200'000;  // field name: executions
  bool random = false;                // walks from a seed instead of depth first
};

// Sets one field by its name. False: no such field.
bool SetField(Config& config, const std::string& name, const std::string& value);

// The regular test; `tests/model/explorer/configs.cc` holds the list.
std::vector<Config> RegularConfigs();

// "0,1,3"
std::vector<int> ParseNumbers(const std::string& text);

}  // namespace leaseplane::explorer
