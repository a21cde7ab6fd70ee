// SPDX-License-Identifier: Apache-2.0
#include "tests/crash/step/stepper.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <new>
#include <stdexcept>
#include <utility>

#include "core/shm/layout.h"
#include "tests/support/verify_ledger.h"

extern char** environ;

namespace leaseplane::step {
namespace {

constexpr double kPatienceS = 60;
constexpr uint64_t kNever = std::numeric_limits<uint64_t>::max();
constexpr char kConfig[] = R"(pools:
  - {id: one, capacity: 1, max_overtake: 1h}
  - {id: pair, capacity: 2, max_overtake: 1h}
  - {id: cool, capacity: 1, reuse_delay: 10ms}
  - {id: line, capacity: 1, fairness: FIFO}
)";

VictimPage* SharedPage() {
  void* base =
      mmap(nullptr, sizeof(VictimPage), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) throw std::bad_alloc();
  return new (base) VictimPage;
}

void Nap(long ns) {
  const timespec time{0, ns};
  nanosleep(&time, nullptr);
}

// The daemon has to serve before the members that attach to it are made.
testing::DaemonProcess& Started(testing::DaemonProcess& daemon) {
  daemon.Start();
  return daemon;
}

}  // namespace

Stepper::Stepper(const std::string& daemon_program, std::string leasectl_program)
    : leasectl_(std::move(leasectl_program)),
      daemon_({daemon_program, kConfig, {}}),
      raw_(Started(daemon_).socket_path()),
      neighbour_(daemon_.unix_target()),
      page_(SharedPage()),
      residents_(ActiveSessions()) {}

Stepper::~Stepper() { munmap(page_, sizeof(VictimPage)); }

void Stepper::Fail(const Scenario& scenario, uint64_t at, const std::string& what) {
  throw std::runtime_error(std::string(scenario.name) + ", instruction " + std::to_string(at) +
                           ": " + what + "\n" + daemon_.log());
}

void Stepper::Await(const Scenario& scenario, uint64_t at, const char* what,
                    const std::function<bool()>& holds) {
  const double end = testing::MonotonicSeconds() + kPatienceS;
  while (!holds()) {
    if (testing::MonotonicSeconds() > end) {
      std::string words;
      for (const SlotWord word : Read(scenario))
        words += " " + std::to_string(word >> 62) + "/" + std::to_string(OwnerOf(word)) + "/" +
                 std::to_string(GenerationOfWord(word));
      Fail(scenario, at, std::string("gave up waiting for ") + what + "; words" + words);
    }
    Nap(100'000);
  }
}

Stepper::Words Stepper::Read(const Scenario& scenario) {
  const auto& pool = PoolOf(scenario);
  Words words(pool.opened.capacity);
  for (SlotIndex slot = 0; slot < words.size(); ++slot) words[slot] = pool.Word(slot);
  return words;
}

std::set<SessionIndex> Stepper::ActiveSessions() const {
  std::set<SessionIndex> active;
  for (SessionIndex i = kOwnerSessionFirst; i < kOwnerCount; ++i) {
    if (shm::SessionStateOf(raw_.SessionWordOf(i)) == shm::SessionState::kActive) active.insert(i);
  }
  return active;
}

void Stepper::Leasectl(const std::vector<std::string>& words) {
  std::vector<std::string> all = {leasectl_, "--server", daemon_.unix_target()};
  all.insert(all.end(), words.begin(), words.end());
  std::vector<char*> argv;
  for (std::string& word : all) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t quiet;
  posix_spawn_file_actions_init(&quiet);
  posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t pid = 0;
  int status = 0;
  const int error = posix_spawn(&pid, argv[0], &quiet, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&quiet);
  if (error != 0 || waitpid(pid, &status, 0) != pid || status != 0) {
    throw std::runtime_error("leasectl " + words[0] + " failed");
  }
}

void Stepper::Prepare(const Scenario& scenario) {
  const bool keeps = scenario.neighbour_holds && neighbour_.pool() == scenario.pool;
  if (neighbour_.holds() && !keeps && !neighbour_.GiveBack()) {
    Fail(scenario, 0, "the neighbour's lease was not its own");
  }
  if (scenario.neighbour_holds && !neighbour_.holds()) {
    NoteToken(scenario, 0, neighbour_.Take(scenario.pool), 0);
  }
  const auto& pool = PoolOf(scenario);
  Await(scenario, 0, "a quiet pool", [&] {
    if (WaiterCount(RealMemory::Load(*pool.words.wcnt)) != 0) return false;
    if (ActiveSessions() != residents_) return false;
    for (const SlotWord word : Read(scenario)) {
      if (StateOf(word) != (scenario.neighbour_holds ? SlotState::kBusy : SlotState::kFree)) {
        return false;
      }
    }
    return true;
  });
}

Stepper::Run Stepper::Begin(const Scenario& scenario) {
  Prepare(scenario);
  const pid_t pid = StartVictim(scenario, daemon_.unix_target(), page_);
  Run run{scenario, pid, Tracee(pid), ActiveSessions(), false};
  for (const SessionIndex resident : residents_) run.session.erase(resident);
  if (page_->token != 0) NoteToken(scenario, page_->slot, page_->token, 0);
  if (scenario.cue == Cue::kBeforeStart) GiveCue(run);
  if (scenario.neighbour_waits) {
    neighbour_.Ask(scenario.pool);
    const auto& words = PoolOf(scenario).words;
    Await(scenario, 0, "the neighbour to wait",
          [&] { return WaiterCount(RealMemory::Load(*words.wcnt)) != 0 || words.GateClosed(); });
  }
  return run;
}

uint64_t Stepper::CueAt(const Scenario& scenario) const {
  const auto found = courses_.find(scenario.name);
  if (found == courses_.end()) return kNever;
  switch (scenario.cue) {
    case Cue::kBeforeTake:
      return found->second.take_at - 1;
    case Cue::kAfterTake:
      return found->second.take_at;
    case Cue::kBeforeSleep:
      return found->second.sleep_at;
    default:
      return kNever;
  }
}

void Stepper::GiveCue(Run& run) {
  if (run.cued) return;
  run.cued = true;
  const std::string pool = run.scenario.pool;
  switch (run.scenario.cue) {
    case Cue::kBeforeTake:
      NoteToken(run.scenario, 0, neighbour_.Take(pool), 0);
      return;
    case Cue::kAfterTake:
      return Leasectl({"lock", pool + "/0", "--reason", "under test"});
    case Cue::kBeforeSleep:
    case Cue::kWhenAsleep:
      if (!neighbour_.GiveBack()) Fail(run.scenario, 0, "the neighbour's lease was not its own");
      return;
    case Cue::kBeforeStart:
      return Leasectl({"revoke",
                       "pools/" + pool + "/leases/local-" + std::to_string(page_->slot) + "-" +
                           std::to_string(page_->token),
                       "--reason", "under test"});
    case Cue::kNone:
      return;
  }
}

bool Stepper::StepTo(Run& run, uint64_t at, Course* measured) {
  const Scenario& scenario = run.scenario;
  const uint64_t cue_at = CueAt(scenario);
  uint64_t count = 0;
  const auto on_blocked = [&] {
    if (measured != nullptr && measured->sleep_at == 0) measured->sleep_at = count;
    if (scenario.cue == Cue::kWhenAsleep) GiveCue(run);
  };
  const Words before = measured != nullptr ? Read(scenario) : Words();
  for (;; ++count) {
    if (count == cue_at) GiveCue(run);
    if (count == at) return true;
    switch (run.tracee.Step(on_blocked)) {
      case Tracee::State::kExited:
        Fail(scenario, count, "the victim ended by itself");
      case Tracee::State::kAtEnd:
        if (measured != nullptr) measured->total = count;
        return false;
      case Tracee::State::kStepped:
        break;
    }
    if (measured == nullptr || measured->take_at != 0 || cue_at != kNever) continue;
    const Words now = Read(scenario);
    for (SlotIndex slot = 0; slot < now.size(); ++slot) {
      if (StateOf(before[slot]) == SlotState::kFree && StateOf(now[slot]) == SlotState::kBusy) {
        measured->take_at = count + 1;
      }
    }
  }
}

void Stepper::End(Run& run) {
  kill(run.pid, SIGKILL);
  int status = 0;
  while (waitpid(run.pid, &status, __WALL) == run.pid && WIFSTOPPED(status)) {
  }
}

uint64_t Stepper::Measure(const Scenario& scenario) {
  courses_.erase(scenario.name);
  const bool cued_by_count = scenario.cue == Cue::kBeforeTake || scenario.cue == Cue::kAfterTake ||
                             scenario.cue == Cue::kBeforeSleep;
  Course course;
  for (int pass = cued_by_count ? 0 : 1; pass < 2; ++pass) {  // without the cue, and with it
    Run run = Begin(scenario);
    StepTo(run, kNever, &course);
    const Words last = Read(scenario);
    End(run);
    CheckAfterKill(run, last, course.total);
    courses_[scenario.name] = course;
  }
  return course.total;
}

void Stepper::KillAt(const Scenario& scenario, uint64_t at) {
  Run run = Begin(scenario);
  StepTo(run, at, nullptr);
  const Words last = Read(scenario);
  End(run);
  ++kills_.points;
  CheckAfterKill(run, last, at);
}

void Stepper::CheckAfterKill(Run& run, const Words& last, uint64_t at) {
  const Scenario& scenario = run.scenario;
  if (scenario.neighbour_waits) {
    const double killed_s = testing::MonotonicSeconds();
    NoteToken(scenario, 0, neighbour_.AwaitGrant(), at);
    kills_.woken_max_s = std::max(kills_.woken_max_s, testing::MonotonicSeconds() - killed_s);
    ++kills_.woken;
  }
  Words wanted = last;
  for (SlotIndex slot = 0; slot < wanted.size(); ++slot) {
    const bool neighbours = neighbour_.holds() && neighbour_.slot() == slot;
    const Generation gen = GenerationOfWord(last[slot]);
    if (StateOf(last[slot]) == SlotState::kBusy && !neighbours) ++kills_.reclaimed;
    if (!neighbours) {
      wanted[slot] = FreeWord(gen);
    } else if (scenario.neighbour_waits) {
      // Granted before the words were read, or the next generation after it.
      const Generation granted = GenerationOf(neighbour_.token());
      if (granted != gen && granted != gen + 1) Fail(scenario, at, "a generation was skipped");
      wanted[slot] = BusyWord(OwnerOf(Read(scenario)[slot]), granted);
    }
  }
  if (scenario.cue == Cue::kAfterTake && run.cued) {
    Await(scenario, at, "the locked slot",
          [&] { return Read(scenario)[0] == LockedWord(GenerationOfWord(last[0])); });
    Leasectl({"unlock", std::string(scenario.pool) + "/0"});
  }
  const auto& pool = PoolOf(scenario);
  Await(scenario, at, "word-exact recovery", [&] {
    return Read(scenario) == wanted && ActiveSessions() == residents_ &&
           WaiterCount(RealMemory::Load(*pool.words.wcnt)) == 0;
  });
}

void Stepper::NoteToken(const Scenario& scenario, SlotIndex slot, FencingToken token, uint64_t at) {
  auto& seen = tokens_[{scenario.pool, slot}];
  if (!seen.empty() && *seen.rbegin() >= token) {
    Fail(scenario, at, "token " + std::to_string(token) + " is not above all before");
  }
  seen.insert(token);
}

}  // namespace leaseplane::step
