// SPDX-License-Identifier: Apache-2.0
//
// The stretches of library code that are cut at each instruction, and the child that runs them.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "leaseplane/client.h"

namespace leaseplane::step {

// What the child tells its tracer; in memory of both.
struct VictimPage {
  std::atomic<int> socket_fd{-1};
  // After the stretch. For a stretch that acquires: what it got, and what a release then said.
  std::atomic<uint32_t> done{0}, got_lease{0}, still_held{0}, released{0};
  std::atomic<uint32_t> slot{0};
  std::atomic<int64_t> token{0};
};

struct Victim {
  std::string target;
  const char* pool_name = nullptr;
  std::vector<Client> client;  // one or none
  std::vector<Pool> pool;
  Lease lease;
  VictimPage* page = nullptr;

  void Connect();
};

// When the neighbour, or an operator, does its part.
enum class Cue {
  kNone,
  kBeforeTake,   // takes the slot right before the stretch's own CAS
  kAfterTake,    // an operator locks the slot right after it: the take is undone
  kBeforeSleep,  // gives the slot back right before the futex call
  kWhenAsleep,   // gives the slot back once the stretch sleeps
  kBeforeStart,  // an operator revokes what the stretch is about to release
};

struct Scenario {
  const char* name;
  const char* pool;
  void (*prepare)(Victim&);
  void (*stretch)(Victim&);
  bool neighbour_holds = false;  // the (last free) slot, from the start
  bool neighbour_waits = false;  // for the slot that the victim holds
  Cue cue = Cue::kNone;
  bool stops = false;     // also done with a stop in place of the kill
  bool releases = false;  // the stretch is a release
};

const std::vector<Scenario>& Scenarios();

// Forks the child; returns when it stands before the first instruction of the stretch, traced.
pid_t StartVictim(const Scenario& scenario, const std::string& target, VictimPage* page);

}  // namespace leaseplane::step
