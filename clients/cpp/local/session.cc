// SPDX-License-Identifier: Apache-2.0
// Users of a session, and opening pools. The thread is in session_thread.cc, attaching in
// session_attach.cc.
#include "clients/cpp/local/session.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/cpp/boot_clock.h"
#include "leaseplane/status.h"

namespace leaseplane::internal {
namespace {

constexpr int64_t kResendNs = 20 * kMillisecondNs;

}  // namespace

Session::Session(SessionConfig config, ProcessMark mark)
    : config_(std::move(config)),
      mark_(mark),
      flags_(*new (MapWipedPage()) Flags),
      wake_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  flags_.Set(Flags::kSegmentDead, true);
}

absl::Status Session::AddUser(SessionListener* listener, int64_t deadline_ns) {
  const MutexLock lock(&life_mu_);
  if (user_count_ == 0) {
    absl::Status status = Start(deadline_ns);
    if (!status.ok()) return status;
  }
  ++user_count_;
  const MutexLock listeners_lock(&listeners_mu_);
  listeners_.push_back(listener);
  return absl::OkStatus();
}

void Session::RemoveUser(SessionListener* listener) {
  const MutexLock lock(&life_mu_);
  {
    const MutexLock listeners_lock(&listeners_mu_);
    listeners_.erase(std::find(listeners_.begin(), listeners_.end(), listener));
  }
  if (--user_count_ == 0) Stop();
}

absl::Status Session::Start(int64_t deadline_ns) {
  absl::Status status = Attach(deadline_ns);
  if (!status.ok()) return status;
  {
    const MutexLock lock(&mu_);
    stopping_ = false;
  }
  // Signals are for the application's threads.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = ::pthread_create(&thread_, nullptr, &Session::ThreadMain, this);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error == 0) return absl::OkStatus();
  Detach();
  return MakeStatus(Reason::kInternal, "no thread could be made");
}

void Session::Stop() {
  {
    const MutexLock lock(&mu_);
    stopping_ = true;
    changed_.Tell();
  }
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_fd_.get(), &one, sizeof(one));
  ::pthread_join(thread_, nullptr);
  Detach();
}

void Session::Detach() {
  flags_.Set(Flags::kSegmentDead, true);
  flags_.BumpAttachGen();
  ForgetClaims();  // what is left of leases has ended, whether the daemon knows already or not
  std::shared_ptr<AttachSocket> socket;
  {
    const MutexLock lock(&mu_);
    attached_ = false;
    socket = std::move(socket_);  // closed below: the daemon takes back what is held
  }
  lifeline_.reset();
  by_handle_.clear();
}

PoolRecord& Session::RecordOf(std::string_view name) {
  const auto found = records_.find(name);
  if (found != records_.end()) return *found->second;
  auto record = std::make_unique<PoolRecord>(*this, mark_, flags_, std::string(name));
  return *records_.emplace(std::string(name), std::move(record)).first->second;
}

bool Session::IsAttachedTo(const PoolRecord& record) const {
  const LocalState* state = record.pool.state();
  return state != nullptr && IsCurrent(state->attachment, flags_) &&
         SessionLives(state->attachment);
}

absl::StatusOr<LocalPool*> Session::OpenPool(std::string_view name, int64_t deadline_ns) {
  if (name.empty() || name.size() >= attach::kPoolNameBytes) {
    return MakeStatus(Reason::kInvalidArgument, absl::StrCat("a pool's name has 1 to ",
                                                             attach::kPoolNameBytes - 1, " bytes"));
  }
  for (;;) {
    Opening opening;
    uint32_t tag = 0;
    {
      const MutexLock lock(&mu_);
      while (!attached_ && !orphaned_ && changed_.Await(&mu_, deadline_ns)) {
      }
      if (!attached_) {
        return MakeStatus(Reason::kSessionEnded, "the daemon is gone and has not come back");
      }
      PoolRecord& record = RecordOf(name);
      if (record.closed.ok() && IsAttachedTo(record)) return &record.pool;
      opening.record = &record;
      tag = ++last_tag_;
      openings_[tag] = &opening;
    }
    attach::Message message = MakeMessage(attach::Kind::kOpenPool);
    message.open_pool.tag = tag;
    std::copy(name.begin(), name.end(), message.open_pool.pool);
    const int64_t patience_ns = Send(message) ? deadline_ns : BootNowNs() + kResendNs;

    const MutexLock lock(&mu_);
    while (!opening.done && changed_.Await(&mu_, patience_ns)) {
    }
    openings_.erase(tag);
    if (opening.done && opening.status.ok()) return &opening.record->pool;
    if (BootNowNs() >= deadline_ns) {
      return MakeStatus(Reason::kUnreachable, "the daemon did not open the pool in time");
    }
    if (opening.done && ReasonOf(opening.status) != Reason::kSessionEnded) return opening.status;
  }
}

void Session::FinishOpening(uint32_t tag, absl::Status status) {
  const MutexLock lock(&mu_);
  const auto found = openings_.find(tag);
  if (found == openings_.end()) return;  // the caller's time ran out
  Opening& opening = *found->second;
  opening.record->closed = status;
  opening.status = std::move(status);
  opening.done = true;
  changed_.Tell();
}

std::vector<PoolRecord*> Session::Records() {
  const MutexLock lock(&mu_);
  std::vector<PoolRecord*> records;
  for (const auto& [name, record] : records_) records.push_back(record.get());
  return records;
}

Reason Session::AwaitState(const LocalPool& pool, const LocalState* old, int64_t deadline_ns) {
  const MutexLock lock(&mu_);
  const absl::Status& closed = RecordOf(pool.name()).closed;
  for (;;) {
    if (attached_ && pool.state() != old) return Reason::kNone;
    if (!closed.ok()) return ReasonOf(closed);
    const bool hopeless = stopping_ || orphaned_;
    if (hopeless || !changed_.Await(&mu_, deadline_ns)) return Reason::kSessionEnded;
  }
}

Reason Session::WhyClosed(const LocalPool& pool) {
  const MutexLock lock(&mu_);
  const absl::Status& closed = RecordOf(pool.name()).closed;
  return closed.ok() ? Reason::kSessionEnded : ReasonOf(closed);
}

bool Session::FinishMovedRelease(LocalPool& pool, const LocalState& old, SlotIndex slot,
                                 FencingToken token) {
  // PublishAll holds the lock while it looks which claims were released meanwhile: either it saw
  // this one, or what it published is seen here.
  const MutexLock lock(&mu_);
  const LocalState* now = pool.state();
  if (now == &old || slot >= now->claims->max_capacity()) return false;
  const FencingToken held = now->claims->HeldToken(slot);
  if (held > token) return false;  // the slot was taken anew
  // Or taken anew and given back already, of which this release is not to hide the note.
  const SlotWord word = RealMemory::Load(now->attachment.words.Slot(slot));
  const bool is_there = word == BusyWord(now->attachment.owner, GenerationOf(token));
  if (!is_there && held != token) return false;
  const ReleaseResult result =
      ReleaseForOthers<RealMemory>(now->attachment, flags_, *now->claims, slot, token);
  return result != ReleaseResult::kStale;
}

bool Session::Send(const attach::Message& message) {
  std::shared_ptr<AttachSocket> socket;
  {
    const MutexLock lock(&mu_);
    socket = socket_;
  }
  return socket != nullptr && socket->Send(message);
}

std::string Session::instance_id() {
  const MutexLock lock(&mu_);
  return instance_id_;
}

int Session::socket_fd() {
  const MutexLock lock(&mu_);
  return socket_ == nullptr ? -1 : socket_->fd();
}

bool Session::is_orphaned() {
  const MutexLock lock(&mu_);
  return orphaned_;
}

}  // namespace leaseplane::internal
