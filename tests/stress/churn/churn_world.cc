// SPDX-License-Identifier: Apache-2.0
#include "tests/stress/churn/churn_world.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <new>
#include <random>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "core/pool/slot_client.h"

namespace leaseplane::churn {
namespace {

constexpr int64_t kTickNs = 5'000'000;

}  // namespace

std::string Config::Describe() const {
  std::ostringstream out;
  out << "seed " << seed << ": capacity " << capacity << ", processes " << processes << ", threads "
      << threads << ", holds " << holds << ", spins " << spins << ", kills " << kills
      << (waits ? ", waiting" : ", trying");
  return out.str();
}

void Guard::Enter(SlotIndex slot, SessionIndex me, FencingToken token) {
  GuardEntry& entry = slots[slot];
  const uint32_t before = entry.inside.exchange(me + 1);
  if (before != 0 && !is_over[before - 1]) ++second_holders;
  if (entry.last_token.exchange(static_cast<uint64_t>(token)) >= static_cast<uint64_t>(token)) {
    ++old_tokens;
  }
  ++holds;
}

void Guard::Leave(SlotIndex slot, SessionIndex me) {
  if (slots[slot].inside.exchange(0) != uint32_t{me} + 1) ++second_holders;
}

std::string Guard::Complaints() const {
  std::ostringstream out;
  if (second_holders != 0) out << second_holders << " second holders; ";
  if (old_tokens != 0) out << old_tokens << " tokens that did not grow; ";
  if (failed_releases != 0) out << failed_releases << " releases failed; ";
  if (failed_waits != 0) out << failed_waits << " waits failed; ";
  return out.str();
}

World::World(const Config& config) : config_(config) {
  void* base =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) throw std::bad_alloc();
  shared_ = new (base) Shared;
  words_.slots = shared_->slots;
  words_.slot_shift = config.capacity <= shm::kPaddedCapacityMax ? 3 : 0;
  words_.max_capacity = config.capacity;
  words_.wseq = &shared_->wseq;
  words_.dseq = &shared_->dseq;
  words_.wcnt = &shared_->wcnt;
  words_.policy = &shared_->policy;
  words_.drained = &shared_->drained;
  words_.heartbeat = &shared_->heartbeat;
  words_.grant_bits = shared_->grant_bits;
  words_.sessions = shared_->sessions;
  shared_->finder.Lay(words_);
  authority_.emplace_back(words_, config.capacity);
  authority_[0].Initialize(1000, /*grantable=*/true, 0);
}

World::~World() {
  for (const Worker& worker : workers_) ::kill(worker.pid, SIGKILL);
  for (const Worker& worker : workers_) ::waitpid(worker.pid, nullptr, 0);
  ::munmap(shared_, sizeof(Shared));
}

void World::Start() {
  if (next_session_ >= kOwnerSessionFirst + kWorkersMax) throw std::logic_error("sessions");
  const SessionIndex session = next_session_++;
  M::Store(shared_->sessions[session], shm::MakeSessionWord(shm::SessionState::kActive, session));
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) throw std::runtime_error("fork");
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    ::_exit(Work(config_, words_, shared_->guard, session));
  }
  workers_.push_back({pid, session});
}

void World::EndSession(SessionIndex session) {
  shared_->guard.is_over[session] = true;
  M::Store(shared_->sessions[session], shm::MakeSessionWord(shm::SessionState::kRevoked, session));
  std::vector<SlotEvent> taken;
  authority_[0].EndSessions({&session, 1}, taken);
}

void World::Kill(size_t which) {
  const Worker worker = workers_[which];
  workers_.erase(workers_.begin() + static_cast<std::ptrdiff_t>(which));
  ::kill(worker.pid, SIGKILL);
  ::waitpid(worker.pid, nullptr, 0);
  ++killed_;
  EndSession(worker.session);
}

void World::Tick() {
  authority_[0].Scan(
      0, kTickNs, [this](SessionIndex s) { return !shared_->guard.is_over[s]; }, report_);
  violations_ += report_.violations;
}

std::string World::Run() {
  std::mt19937_64 random(config_.seed);
  for (uint32_t i = 0; i < config_.processes; ++i) Start();
  const auto began = std::chrono::steady_clock::now();
  const auto lasts = std::chrono::milliseconds(config_.lasts_ms);
  while (std::chrono::steady_clock::now() - began < lasts || shared_->guard.holds == 0) {
    std::this_thread::sleep_for(std::chrono::nanoseconds(kTickNs));
    Tick();
    if (killed_ >= config_.kills || shared_->guard.holds == 0) continue;
    Kill(random() % workers_.size());
    Start();
  }
  while (killed_ < config_.kills) {
    Kill(random() % workers_.size());
    Start();
  }
  shared_->guard.stop = true;
  std::string complaints;
  for (const Worker& worker : workers_) {
    int status = 0;
    ::waitpid(worker.pid, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) complaints += "a worker died; ";
    EndSession(worker.session);
  }
  workers_.clear();
  return complaints + shared_->guard.Complaints() + JudgeRest();
}

// Nobody is at work any more: every slot is free, and is found by the hints once the scan has been
// there three times.
std::string World::JudgeRest() {
  std::ostringstream out;
  for (SlotIndex i = 0; i < config_.capacity; ++i) {
    if (StateOf(M::Load(words_.Slot(i))) != SlotState::kFree) out << "slot " << i << " is lost; ";
  }
  for (int scan = 0; scan < 3; ++scan) Tick();
  if (violations_ != 0) out << violations_ << " violations, but all are honest; ";
  const SessionIndex me = next_session_;
  const uint64_t word = shm::MakeSessionWord(shm::SessionState::kActive, me);
  M::Store(shared_->sessions[me], word);
  const Attachment<M> attachment(words_, me, word, ProcessFlags<M>::kAttachStep);
  ProcessFlags<M> flags;
  flags.BumpAttachGen();
  Claims<M> claims(config_.capacity);
  ThreadRecord<M>& record = claims.Borrow();
  record.Bind(words_, me);
  ThreadContext<M> context(attachment, flags, claims, record);
  uint32_t found = 0;
  LocalGrant grant;
  while (TryAcquire(context, grant) == TryResult::kOk) {
    shared_->guard.Enter(grant.slot, me, grant.token);
    ++found;
  }
  context.Park();
  Claims<M>::Return(record);
  if (found != config_.capacity) out << "hints lead to " << found << " slots; ";
  return out.str() + shared_->guard.Complaints();
}

}  // namespace leaseplane::churn
