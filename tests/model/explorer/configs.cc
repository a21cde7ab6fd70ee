// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <sstream>
#include <utility>

#include "tests/model/explorer/config.h"

namespace leaseplane::explorer {
namespace {

struct Named {
  const char* name;
  const char* fields;
};

constexpr Named kRegular[] = {
    {"two_waiters", "preemptions=3"},
    {"two_waiters_kill", "kills=1 preemptions=2"},
    {"two_threads", "threads=0,0 rounds=2 preemptions=2"},
    {"three_waiters", "threads=0,1,2 preemptions=2"},
    {"three_waiters_kill", "threads=0,1,2 kills=1 preemptions=1"},
    {"two_slots", "threads=0,1,1 slots=2 preemptions=1"},
    {"four_threads_two_slots", "threads=0,1,1,1 slots=2 preemptions=1 random=1"},
    {"zombie", "revokes=1 preemptions=2"},
    {"zombie_tick", "revokes=1 admin=T preemptions=2"},
    {"zombie_killed", "revokes=1 kills=1 preemptions=1"},
    {"timeout", "timeouts=1 preemptions=3"},
    {"bare_try", "bare=1 revokes=1 preemptions=2"},
    {"fifo", "fifo=1 preemptions=2"},
    {"fifo_kill", "fifo=1 kills=1 preemptions=1"},
    {"fifo_timeout", "fifo=1 timeouts=1 preemptions=2"},
    {"fifo_crash", "fifo=1 crashes=1 preemptions=1"},
    {"fifo_zombie", "fifo=1 revokes=1 preemptions=1"},
    {"fifo_zombie_killed", "fifo=1 revokes=1 kills=1 preemptions=1"},
    {"fifo_audit", "threads=0,0 rounds=2 fifo=1 admin=A preemptions=1"},
    {"fifo_void", "fifo=1 voids=1 preemptions=1"},
    {"turns", "turns=1 rounds=2 preemptions=2"},
    {"turns_three", "threads=0,1,2 turns=1 rounds=2 preemptions=1"},
    {"turns_two_slots", "threads=0,1,1 slots=2 turns=1 rounds=2 preemptions=1"},
    {"turns_kill", "threads=0,1,2 turns=1 rounds=2 kills=1 preemptions=1"},
    {"turns_zombie", "turns=1 rounds=2 revokes=1 preemptions=2"},
    {"turns_timeout", "threads=0,1,2 turns=1 rounds=2 timeouts=1 preemptions=1"},
    {"turns_queue", "threads=0,1,2 turns=1 rounds=2 registers=1 preemptions=1"},
    {"turns_remote", "threads=0,1 slots=2 turns=1 rounds=2 remotes=1 admin=P preemptions=1"},
    {"turns_hot", "threads=0,0,1 hot=1 turns=1 rounds=2 preemptions=1"},
    {"turns_random",
     "threads=0,1,2 slots=2 turns=1 rounds=3 kills=1 timeouts=1 registers=1 admin=T random=1"},
    {"turns_full", "threads=0,1,1,2 slots=3 hot=1 turns=1 rounds=3 random=1"},
    {"dwell", "threads=0,1,1,2 slots=2 rounds=2 dwells=1 random=1"},
    {"dwell_turns", "threads=0,1,1,2 slots=2 turns=1 rounds=2 dwells=1 random=1"},
    {"dwell_remote", "threads=0,1,1,2 slots=3 remotes=2 rounds=2 dwells=1 random=1"},
    {"spins", "rounds=2 spins=1 preemptions=2"},
    {"spins_kill", "threads=0,1,2 spins=2 kills=1 preemptions=1"},
    {"spins_zombie", "spins=1 turns=1 revokes=1 kills=1 preemptions=1"},
    {"spins_patience", "remotes=1 spins=1 admin=P preemptions=1"},
    {"queue_after_a_while", "registers=1 preemptions=2"},
    {"queue_full", "registers=1 refusals=1 preemptions=2"},
    {"refused_waiters", "remotes=2 registers=2 refusals=2 revokes=1 admin=P preemptions=1"},
    {"remote", "threads=0 remotes=1 preemptions=3"},
    {"remote_keeps", "threads=0 remotes=1 keeps=1 preemptions=2"},
    {"remote_bare", "remotes=1 bare=1 preemptions=2"},
    {"remote_crash", "threads=0 remotes=1 crashes=1 preemptions=2"},
    {"remote_kill", "threads=0 remotes=1 kills=1 preemptions=2"},
    {"remote_void", "threads=0 remotes=1 voids=1 preemptions=2"},
    {"remote_stays", "threads=0,1 slots=2 remotes=1 lingers=1 preemptions=2"},
    {"withheld_for_a_moment",
     "threads=0,1,2 slots=2 remotes=1 bare=1 lingers=1 preemptions=1 random=1"},
    {"remote_patience", "remotes=1 admin=P preemptions=1"},
    {"locked", "locked=1 preemptions=2"},
    {"locked_hot", "hot=1 locked=1 rounds=2 preemptions=2"},
    {"locked_crash", "threads=0 remotes=1 locked=1 crashes=1 preemptions=1"},
    {"operator_lock", "admin=LU preemptions=2"},
    {"audit", "threads=0,0 rounds=2 admin=A keeps=1 preemptions=2"},
    {"audit_two_slots", "threads=0,0 slots=2 rounds=3 admin=AA preemptions=2"},
    {"take_back_two_slots", "threads=0,0 slots=2 rounds=3 admin=VA preemptions=2"},
    {"take_back", "threads=0,0 rounds=2 admin=VA preemptions=2"},
    {"handed_over", "threads=0,0 slots=2 rounds=2 hands=1 preemptions=2"},
    {"handed_over_audit", "threads=0,0 slots=2 rounds=2 hands=1 admin=AA keeps=1 preemptions=1"},
    {"handed_over_zombie", "threads=0,0,1 slots=2 hands=1 revokes=1 kills=1 preemptions=1"},
    {"handed_over_hot",
     "threads=0,0,1 hot=1 slots=2 rounds=2 hands=1 admin=VA keeps=1 preemptions=1 random=1"},
    {"handed_over_fifo",
     "threads=0,0,0 fifo=1 hot=1 slots=2 rounds=2 hands=1 admin=A preemptions=1 random=1"},
    {"handed_over_three",
     "threads=0,0,0 slots=2 rounds=2 hands=1 admin=VA keeps=1 preemptions=1 random=1"},
    {"handed_over_thrice",
     "threads=0,0,0 slots=2 rounds=3 hands=1 admin=VA preemptions=1 random=1"},
    {"crash_in_kick", "threads=0,1,2 kills=1 crashes=1 preemptions=1"},
    {"finder", "bare=2 slots=2 rounds=2 finder=1 preemptions=2"},
    {"finder_theft", "threads=0,0,1 bare=3 slots=2 rounds=2 finder=1 preemptions=1"},
    {"finder_kill", "bare=2 slots=2 kills=1 finder=1 preemptions=2"},
    {"finder_zombie", "bare=2 slots=2 revokes=1 finder=1 preemptions=2"},
    {"finder_tick", "bare=2 slots=2 rounds=2 admin=TT finder=1 preemptions=1"},
    {"finder_remote", "bare=1 slots=2 remotes=1 crashes=1 finder=1 preemptions=1"},
    {"finder_locks", "bare=1 slots=2 admin=LU finder=1 preemptions=2"},
    {"finder_random", "threads=0,1,2 bare=2 slots=3 rounds=3 kills=1 admin=T finder=1 random=1"},
    {"hot", "hot=1 rounds=2 preemptions=2"},
    {"hot_zombie", "hot=1 revokes=1 kills=1 preemptions=2"},
    {"hot_locks", "hot=1 bare=1 admin=LU preemptions=2"},
    {"hot_audit", "threads=0,0 hot=1 rounds=2 admin=A keeps=1 preemptions=2"},
    {"hot_remote", "threads=0 hot=1 rounds=2 remotes=1 admin=P preemptions=2"},
    {"hot_crash", "threads=0 hot=1 remotes=1 locked=1 crashes=1 preemptions=1"},
    {"hot_random", "threads=0,0,1 hot=1 slots=2 rounds=3 remotes=1 kills=1 admin=TV random=1"},
    {"drain", "admin=D preemptions=2"},
    {"drain_two_slots", "threads=0,1,1 slots=2 rounds=2 admin=DR preemptions=1"},
    {"drain_fifo", "threads=0,1,2 fifo=1 admin=D preemptions=1"},
    {"drain_refused", "threads=0,1,2 registers=2 refusals=1 admin=PD preemptions=1"},
    {"drain_crash", "fifo=1 crashes=1 admin=D preemptions=1"},
    {"drain_void", "bare=2 voids=1 crashes=1 admin=D preemptions=2"},
    {"drain_hot", "hot=1 bare=1 rounds=2 admin=DR preemptions=2"},
    {"move", "moves=1 rounds=2 preemptions=2"},
    {"move_two_threads", "threads=0,0,1 moves=1 rounds=2 hands=1 slots=2 keeps=1 preemptions=1"},
    {"move_hot", "threads=0,0 hot=1 moves=1 rounds=2 slots=2 keeps=1 preemptions=2"},
    {"move_kill", "moves=2 kills=1 turns=1 preemptions=1"},
    {"move_locks", "moves=1 bare=1 admin=LU preemptions=1"},
    {"tick", "admin=TT kills=1 preemptions=1"},
    {"renumber", "rounds=2 renumber_after=1 admin=N preemptions=2"},
    {"renumber_kill", "rounds=2 renumber_after=1 kills=1 admin=N preemptions=1"},
    {"renumber_zombie", "rounds=2 bare=1 renumber_after=1 revokes=1 admin=N preemptions=1"},
    {"renumber_crash", "rounds=2 bare=2 renumber_after=1 crashes=1 admin=N preemptions=1"},
    {"renumber_remote", "threads=0 rounds=2 remotes=1 renumber_after=1 admin=N preemptions=2"},
    {"renumber_hot", "hot=1 rounds=2 renumber_after=1 admin=N preemptions=1"},
    {"renumber_audit", "threads=0,0 rounds=2 renumber_after=1 admin=AN preemptions=1"},
    {"renumber_two_slots",
     "threads=0,1,1 bare=1 slots=2 rounds=2 renumber_after=1 admin=NN preemptions=1 random=1"},
};

bool SetNumber(Config& c, const std::string& name, int value) {
  const std::pair<const char*, int*> fields[] = {
      {"slots", &c.slots},         {"rounds", &c.rounds},
      {"remotes", &c.remotes},     {"bare", &c.bare},
      {"spins", &c.spins},         {"renumber_after", &c.renumber_after},
      {"kills", &c.kills},         {"revokes", &c.revokes},
      {"crashes", &c.crashes},     {"voids", &c.voids},
      {"moves", &c.moves},         {"timeouts", &c.timeouts},
      {"registers", &c.registers}, {"refusals", &c.refusals},
      {"keeps", &c.keeps},         {"preemptions", &c.preemptions}};
  for (const auto& [field, place] : fields) {
    if (name != field) continue;
    *place = value;
    return true;
  }
  return false;
}

}  // namespace

std::vector<int> ParseNumbers(const std::string& text) {
  std::vector<int> numbers;
  std::istringstream in(text);
  for (std::string item; std::getline(in, item, ',');) {
    numbers.push_back(static_cast<int>(std::strtol(item.c_str(), nullptr, 10)));
  }
  return numbers;
}

bool SetField(Config& c, const std::string& name, const std::string& value) {
  if (SetNumber(c, name, static_cast<int>(std::strtol(value.c_str(), nullptr, 10)))) return true;
  if (name == "threads") {
    c.threads = ParseNumbers(value);
  } else if (name == "admin") {
    c.admin = value;
  } else if (name == "fifo") {
    c.fifo = value != "0";
  } else if (name == "hot") {
    c.hot = value != "0";
  } else if (name == "dwells") {
    c.dwells = value != "0";
  } else if (name == "turns") {
    c.turns = value != "0";
  } else if (name == "finder") {
    c.finder = value != "0";
  } else if (name == "hands") {
    c.hands = value != "0";
  } else if (name == "locked") {
    c.locked = value != "0";
  } else if (name == "lingers") {
    c.lingers = value != "0";
  } else if (name == "random") {
    c.random = value != "0";
  } else if (name == "executions") {
    c.executions_max = std::strtoull(value.c_str(), nullptr, 10);
  } else {
    return false;
  }
  return true;
}

std::vector<Config> RegularConfigs() {
  std::vector<Config> all;
  for (const Named& named : kRegular) {
    Config config;
    config.name = named.name;
    std::istringstream in(named.fields);
    for (std::string item; in >> item;) {
      const size_t equals = item.find('=');
      if (!SetField(config, item.substr(0, equals), item.substr(equals + 1))) std::abort();
    }
    all.push_back(std::move(config));
  }
  return all;
}

}  // namespace leaseplane::explorer
