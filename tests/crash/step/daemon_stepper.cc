// SPDX-License-Identifier: Apache-2.0
#include "tests/crash/step/daemon_stepper.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <stdexcept>
#include <utility>

#include "core/pool/slot_word.h"
#include "tests/support/verify_ledger.h"

extern char** environ;

namespace leaseplane::step {
namespace {

constexpr double kPatienceS = 60;
constexpr char kPool[] = "line";
constexpr SlotIndex kSlots = 2;
constexpr char kConfig[] = R"(pools:
  - {id: line, capacity: 2, fairness: FIFO}
)";

void Nap() {
  const timespec time{0, 200'000};
  nanosleep(&time, nullptr);
}

// The daemon has to serve before the members that attach to it are made.
testing::DaemonProcess& Started(testing::DaemonProcess& daemon) {
  daemon.Start();
  return daemon;
}

}  // namespace

#define ENGINE "_ZN10leaseplane6engine10PoolEngine"
const std::vector<DaemonScenario>& DaemonScenarios() {
  using S = DaemonStepper;
  static const std::vector<DaemonScenario> all = {
      {"remote_grant", ENGINE "7AcquireE", &S::Nothing, &S::AcquireRemotely, &S::CheckRemoteGrant},
      {"remote_release", ENGINE "7ReleaseE", &S::HoldRemotely, &S::ReleaseRemotely,
       &S::CheckAllFree},
      {"remote_release_waited", ENGINE "7ReleaseE", &S::HoldRemotelyBesideASleeper,
       &S::ReleaseRemotely, &S::CheckSleeperGranted},
      {"remote_grant_queued", ENGINE "10OnReleasedE", &S::FillBesideARemoteWaiter,
       &S::ReleaseLocally, &S::CheckRemoteGrant},
      {"kick", ENGINE "13SessionsEndedE", &S::HoldLocallyBesideASleeper, &S::KillHolder,
       &S::CheckSleeperGranted},
  };
  return all;
}
#undef ENGINE

DaemonStepper::DaemonStepper(std::string daemon_program, std::string holder_program)
    : program_(std::move(daemon_program)),
      holder_program_(std::move(holder_program)),
      daemon_({program_, kConfig, {}}),
      raw_(Started(daemon_).socket_path()),
      neighbour_(daemon_.unix_target()) {
  ClientOptions options;
  options.forbid_local = true;
  options.auto_renew = false;
  options.default_ttl = absl::Minutes(10);
  auto client = Client::Connect(daemon_.unix_target(), options);
  if (!client.ok()) Fail(client.status().ToString());
  auto pool = client->OpenPool(kPool);
  if (!pool.ok()) Fail(pool.status().ToString());
  client_.push_back(*std::move(client));
  pool_.push_back(*std::move(pool));
}

DaemonStepper::~DaemonStepper() {
  EndHolder();
  if (call_) call_->join();
}

void DaemonStepper::Fail(const std::string& what) const {
  throw std::runtime_error(where_ + what + "\n" + daemon_.log());
}

void DaemonStepper::Await(const char* what, const std::function<bool()>& holds) {
  const double end = testing::MonotonicSeconds() + kPatienceS;
  while (!holds()) {
    if (testing::MonotonicSeconds() > end) {
      Fail(std::string("gave up waiting for ") + what + "; slots " + States());
    }
    Nap();
  }
}

std::string DaemonStepper::States() {
  const auto& pool = raw_.OpenPool(kPool);
  std::string states;
  for (SlotIndex slot = 0; slot < kSlots; ++slot) {
    const SlotWord word = pool.Word(slot);
    const bool is_busy = StateOf(word) == SlotState::kBusy;
    states += StateOf(word) == SlotState::kFree          ? 'F'
              : is_busy && OwnerOf(word) == kOwnerDaemon ? 'R'
              : is_busy                                  ? 'B'
                                                         : '?';
  }
  return states;
}

uint64_t DaemonStepper::Run(const DaemonScenario& scenario, uint64_t at) {
  where_ = std::string(scenario.name) + ", instruction " + std::to_string(at) + ": ";
  Await("a quiet pool", [&] { return States() == "FF"; });
  (this->*scenario.prepare)();
  const pid_t worker = daemon_.worker_pid();
  uint64_t count = 0;
  {
    WorkerTrace trace(worker, program_, scenario.function);
    (this->*scenario.trigger)();
    count = Cut(trace, at);
  }
  AwaitWorker(worker);
  JoinCall();
  (this->*scenario.finish)();
  EndAll();
  return count;
}

uint64_t DaemonStepper::Cut(WorkerTrace& trace, uint64_t at) {
  Tracee tracee = trace.AwaitCall();
  uint64_t count = 0;
  while (count < at) {
    const Tracee::State state = tracee.Step(nullptr);
    if (state == Tracee::State::kExited) Fail("the worker ended by itself");
    if (state == Tracee::State::kAtEnd) break;
    ++count;
  }
  if (!daemon_.KillWorker()) Fail("no worker to kill");
  int status = 0;
  while (waitpid(tracee.tid(), &status, __WALL) == tracee.tid() && WIFSTOPPED(status)) {
  }
  return count;
}

void DaemonStepper::AwaitWorker(pid_t before) {
  Await("the next worker", [&] {
    const pid_t now = daemon_.worker_pid();
    return now != 0 && now != before;
  });
}

void DaemonStepper::NoteToken(SlotIndex slot, FencingToken token) {
  if (token <= last_token_[slot]) Fail("a token that is not above all before");
  last_token_[slot] = token;
}

// -- calls over gRPC, each by a thread that repeats it until it is answered

void DaemonStepper::CallMeanwhile(std::function<void()> call) {
  call_failure_.clear();
  call_ = std::make_unique<std::thread>(std::move(call));
}

void DaemonStepper::JoinCall() {
  if (!call_) return;
  call_->join();
  call_.reset();
  if (!call_failure_.empty()) Fail(call_failure_);
}

void DaemonStepper::AcquireRemotely() {
  CallMeanwhile([this] {
    auto got = pool_[0].Acquire({.max_wait = absl::Seconds(kPatienceS)});
    if (got.ok()) {
      remote_.push_back(*std::move(got));
    } else {
      call_failure_ = got.status().ToString();
    }
  });
}

void DaemonStepper::ReleaseRemotely() {
  CallMeanwhile([this] {
    Lease lease = std::move(remote_.back());
    remote_.pop_back();
    const absl::Status released = std::move(lease).Release();
    if (!released.ok()) call_failure_ = released.ToString();
  });
}

void DaemonStepper::HoldRemotely() {
  AcquireRemotely();
  JoinCall();
  NoteToken(remote_.back().slot(), remote_.back().token());
}

// -- processes with shared memory

void DaemonStepper::SpawnHolder() {
  std::vector<std::string> words = {holder_program_, daemon_.unix_target(), kPool};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t quiet;
  posix_spawn_file_actions_init(&quiet);
  posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", 1, 0);
  const int error = posix_spawn(&holder_, argv[0], &quiet, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&quiet);
  if (error != 0) Fail("no holder");
  Await("the holder", [&] { return States().find('B') != std::string::npos; });
}

void DaemonStepper::EndHolder() {
  if (holder_ == 0) return;
  kill(holder_, SIGKILL);
  waitpid(holder_, nullptr, 0);
  holder_ = 0;
}

void DaemonStepper::AwaitQueued() {
  const auto& words = raw_.OpenPool(kPool).words;
  Await("somebody to queue", [&] { return words.GateClosed(); });
}

void DaemonStepper::HoldRemotelyBesideASleeper() {
  HoldRemotely();
  HoldRemotely();
  neighbour_.Ask(kPool);
  AwaitQueued();
}

void DaemonStepper::HoldLocallyBesideASleeper() {
  HoldRemotely();
  SpawnHolder();
  neighbour_.Ask(kPool);
  AwaitQueued();
}

void DaemonStepper::FillBesideARemoteWaiter() {
  HoldRemotely();
  const FencingToken token = neighbour_.Take(kPool);
  NoteToken(neighbour_.slot(), token);
  AcquireRemotely();
  AwaitQueued();
}

void DaemonStepper::KillHolder() { EndHolder(); }

void DaemonStepper::ReleaseLocally() {
  if (!neighbour_.GiveBack()) Fail("the neighbour was robbed");
}

// -- afterwards

void DaemonStepper::CheckRemoteGrant() {
  const Lease& got = remote_.back();
  NoteToken(got.slot(), got.token());
  const std::string wanted = remote_.size() == 2 ? "RR" : got.slot() == 0 ? "RF" : "FR";
  Await("the word of the lease, and no other", [&] { return States() == wanted; });
  const SlotWord word = raw_.OpenPool(kPool).Word(got.slot());
  if (GenerationOfWord(word) != GenerationOf(got.token())) Fail("the word is of another grant");
}

void DaemonStepper::CheckAllFree() {
  Await("a free pool", [&] { return States() == "FF"; });
}

void DaemonStepper::CheckSleeperGranted() {
  const FencingToken token = neighbour_.AwaitGrant();
  NoteToken(neighbour_.slot(), token);
  std::string wanted = "RR";
  wanted[neighbour_.slot()] = 'B';
  Await("the words of both leases", [&] { return States() == wanted; });
  const SlotWord word = raw_.OpenPool(kPool).Word(neighbour_.slot());
  if (GenerationOfWord(word) != GenerationOf(token)) Fail("the word is of another grant");
}

// Whoever holds gives back, and is told that it held.
void DaemonStepper::EndAll() {
  while (!remote_.empty()) {
    ReleaseRemotely();
    JoinCall();
  }
  if (neighbour_.holds() && !neighbour_.GiveBack()) Fail("the neighbour was robbed");
  CheckAllFree();
}

}  // namespace leaseplane::step
