// SPDX-License-Identifier: Apache-2.0
//
// A whole plane with real segments, sockets, ledger and store in one process. TestKeeper stands in
// for the keeper: it holds what the plane gives away and makes, for every worker, the copy that a
// fork would make.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/pool/mapped_words.h"
#include "server/keeper/holdings.h"
#include "server/keeper/listener.h"
#include "server/obs/mutex.h"
#include "server/plane/daemon_plane.h"
#include "server/store/state_dir.h"
#include "tests/unit/server/attach/attach_fixture.h"

namespace leaseplane::plane {

using attach::WaitUntil;
using engine::Reason;

class TestKeeper final : public keeper::Vault {
 public:
  explicit TestKeeper(const std::string& attach_path)
      : kept_(*keeper::Holdings::Make(*keeper::ListenOn(attach_path))) {}
  ~TestKeeper() override { munmap(kept_.shared, sizeof(keeper::SharedBlock)); }

  keeper::Holdings Fork() {
    keeper::Holdings copy = *keeper::Holdings::Make(Dup(kept_.listener));
    munmap(copy.shared, sizeof(keeper::SharedBlock));
    copy.shared = kept_.shared;
    copy.lifeline_reader = Dup(kept_.lifeline_reader);
    copy.lifeline_writer.reset();
    copy.starts = ++kept_.starts;
    copy.sess_uid = kept_.sess_uid;
    copy.sess = Dup(kept_.sess);
    for (const auto& [handle, pool] : kept_.pools) {
      copy.pools[handle] = {pool.id,        pool.uid,      pool.max_capacity,
                            Dup(pool.data), Dup(pool.ctl), Dup(pool.meta)};
      data_of_[pool.id] = copy.pools[handle].data.mapping.base();
    }
    for (SessionIndex i = 0; i < kOwnerCount; ++i) {
      copy.sessions[i] = {Dup(kept_.sessions[i].connection), Dup(kept_.sessions[i].pidfd)};
    }
    return copy;
  }

  keeper::SharedBlock& shared() { return *kept_.shared; }

  std::function<void()> on_replace;  // before it is done; set while no worker runs

  // DATA of a pool as the last worker inherited it.
  std::byte* DataOf(const std::string& pool) const { return data_of_.at(pool); }

  absl::Status AddSess(int fd, uint64_t bytes, uint64_t uid) override {
    keeper::Received r;
    r.message.verb = keeper::Verb::kAddSess;
    r.message.uid = uid;
    r.message.bytes[0] = bytes;
    r.fds[0].reset(dup(fd));
    return Apply(std::move(r));
  }
  absl::Status AddPool(const keeper::PoolOffer& offer) override {
    return Offer(keeper::Verb::kAddPool, offer);
  }
  absl::Status ReplacePool(const keeper::PoolOffer& offer) override {
    if (on_replace) on_replace();
    return Offer(keeper::Verb::kReplacePool, offer);
  }
  absl::Status Offer(keeper::Verb verb, const keeper::PoolOffer& offer) {
    keeper::Received r;
    r.message.verb = verb;
    r.message.index = offer.handle;
    r.message.uid = offer.uid;
    r.message.max_capacity = offer.max_capacity;
    offer.id.copy(r.message.pool_id, sizeof(r.message.pool_id) - 1);
    for (int i = 0; i < keeper::kDescriptorsMax; ++i) {
      r.message.bytes[i] = offer.bytes[i];
      r.fds[i].reset(dup(offer.fds[i]));
    }
    return Apply(std::move(r));
  }
  absl::Status AddSession(SessionIndex index, int connection, int pidfd) override {
    keeper::Received r;
    r.message.verb = keeper::Verb::kAddSession;
    r.message.index = index;
    r.fds[0].reset(dup(connection));
    if (pidfd >= 0) r.fds[1].reset(dup(pidfd));
    return Apply(std::move(r));
  }
  absl::Status DropPool(uint32_t handle) override { return Drop(keeper::Verb::kDropPool, handle); }
  absl::Status DropConnection(SessionIndex i) override {
    return Drop(keeper::Verb::kDropConnection, i);
  }
  absl::Status DropSession(SessionIndex i) override { return Drop(keeper::Verb::kDropSession, i); }

 private:
  static UniqueFd Dup(const UniqueFd& fd) { return UniqueFd(fd ? dup(fd.get()) : -1); }
  // A second writable mapping of the same pages, which a sealed file itself would refuse.
  static keeper::HeldSegment Dup(const keeper::HeldSegment& segment) {
    if (!segment.mapping) return {};
    const uint64_t bytes = segment.mapping.bytes();
    void* base = mremap(segment.mapping.base(), 0, bytes, MREMAP_MAYMOVE);
    EXPECT_NE(base, MAP_FAILED);
    return {Dup(segment.fd), shm::Mapping::Own(base, bytes)};
  }
  absl::Status Drop(keeper::Verb verb, uint32_t index) {
    keeper::Received r;
    r.message.verb = verb;
    r.message.index = index;
    return Apply(std::move(r));
  }
  absl::Status Apply(keeper::Received received) {
    obs::MutexLock lock(&mu_);
    const int error = kept_.Apply(std::move(received));
    return error == 0 ? absl::OkStatus() : absl::ErrnoToStatus(error, "refused");
  }

  obs::Mutex mu_;
  keeper::Holdings kept_;
  std::map<std::string, std::byte*> data_of_;
};

// A caller that waits for its answer.
class Caller final : public AcquireListener {
 public:
  void OnGranted(engine::Grant grant) override {
    std::lock_guard<std::mutex> lock(mu_);
    ++answers_;
    grant_ = std::move(grant);
    changed_.notify_all();
  }
  void OnRefused(engine::Refusal refusal) override {
    std::lock_guard<std::mutex> lock(mu_);
    ++answers_;
    refusal_ = std::move(refusal);
    changed_.notify_all();
  }
  bool Wait() {
    std::unique_lock<std::mutex> lock(mu_);
    return changed_.wait_for(lock, std::chrono::seconds(20), [&] { return answers_ > 0; });
  }
  bool is_granted() {
    std::lock_guard<std::mutex> lock(mu_);
    return grant_.has_value();
  }
  int answers() {
    std::lock_guard<std::mutex> lock(mu_);
    return answers_;
  }
  // After Wait.
  const engine::Grant& grant() const { return *grant_; }
  Reason reason() const { return refusal_ ? refusal_->reason : Reason::kNone; }

 private:
  std::mutex mu_;
  std::condition_variable changed_;
  int answers_ = 0;
  std::optional<engine::Grant> grant_;
  std::optional<engine::Refusal> refusal_;
};

// A co-located process, in this one: attaches by hand and changes words as the protocol says.
class LocalClient {
 public:
  LocalClient(const std::string& path, const std::string& pool) : socket(path) {
    if (socket.Attach().kind != attach::Kind::kWelcome) return;
    if (shm::AttachSess(socket.fds[0].get(), sess) != shm::AttachError::kNone) return;
    opened = Open(pool);
    if (opened.kind != attach::Kind::kPoolOpened) return;
    error = shm::AttachPool(socket.fds[0].get(), socket.fds[1].get(), socket.fds[2].get(), mapped);
    if (error == shm::AttachError::kNone) words = WordsOf(mapped.base(), sess.base());
  }
  attach::Message Open(const std::string& pool) {
    attach::Message m{};
    m.kind = attach::Kind::kOpenPool;
    m.open_pool.tag = 1;
    pool.copy(m.open_pool.pool, sizeof(m.open_pool.pool) - 1);
    socket.Send(m);
    return socket.Receive();
  }
  bool is_open() const { return words.slots != nullptr; }
  uint32_t handle() const { return opened.pool_opened.pool; }
  // Generation, 0 if the slot could not be taken.
  Generation Take(SlotIndex slot) {
    const SlotWord seen = RealMemory::Load(words.Slot(slot));
    if (!IsGrantable(seen) || !words.IsGranted(slot)) return 0;
    const Generation gen = GenerationOfWord(seen) + 1;
    const bool won =
        RealMemory::CompareExchange(words.Slot(slot), seen, BusyWord(socket.session, gen));
    return won ? gen : 0;
  }
  bool Release(SlotIndex slot, Generation gen) {
    const SlotWord after = words.AfterBusy(gen);
    if (!RealMemory::CompareExchange(words.Slot(slot), BusyWord(socket.session, gen), after)) {
      return false;
    }
    WakeAfterFree(words, StateOf(after) == SlotState::kLocked, false);
    return true;
  }
  bool Holds(SlotIndex slot, Generation gen) const {
    return RealMemory::Load(words.Slot(slot)) == BusyWord(socket.session, gen);
  }
  FencingToken TokenOf(Generation gen) const {
    return MakeToken(shm::PolicyEpoch(RealMemory::Load(*words.policy)), gen);
  }

  attach::Client socket;
  shm::Mapping sess;
  attach::Message opened{};
  shm::AttachError error = shm::AttachError::kNone;
  shm::AttachedPool mapped;
  PoolWords<RealMemory> words;
};

class PlaneTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "leaseplane.XXXXXX";
    dir_ = mkdtemp(pattern.data());
    ASSERT_TRUE(store::PrepareStateDir(dir_ + "/state").ok());
    options_.version = "test";
    options_.state_dir = dir_ + "/state";
    options_.redeclare_grace_ns = 300 * engine::kMillisecond;
    AddPool("gpu", 2);
    NewKeeper();
  }
  void TearDown() override {
    plane_.reset();
    keeper_.reset();
    std::string command = "rm -rf " + dir_;
    EXPECT_EQ(system(command.c_str()), 0);
  }
  engine::PoolOptions& AddPool(const std::string& id, uint32_t capacity) {
    engine::PoolOptions pool;
    pool.id = id;
    pool.capacity = capacity;
    options_.pools.push_back(pool);
    return options_.pools.back();
  }
  std::string attach_path() const { return dir_ + "/attach.sock"; }
  void NewKeeper() { keeper_ = std::make_unique<TestKeeper>(attach_path()); }
  void StartWorker() {
    plane_.reset();
    keeper::Holdings holdings = keeper_->Fork();
    auto plane = DaemonPlane::Start(options_, holdings, *keeper_);
    ASSERT_TRUE(plane.ok()) << plane.status();
    plane_ = *std::move(plane);
  }
  void KillWorker() { plane_.reset(); }
  void KillDaemon() {
    plane_.reset();
    keeper_.reset();
    NewKeeper();
  }

  static engine::AcquireRequest Request(int64_t max_wait_ns = 0) {
    engine::AcquireRequest request;
    request.principal = "anonymous";
    request.max_wait_ns = max_wait_ns;
    return request;
  }
  std::shared_ptr<Caller> Ask(const engine::AcquireRequest& request,
                              const std::string& pool = "gpu") {
    auto caller = std::make_shared<Caller>();
    last_ticket_ = plane_->Acquire(pool, request, plane_->NowNs(), caller);
    return caller;
  }
  engine::Grant Lease(const std::string& pool = "gpu") {
    auto caller = Ask(Request(), pool);
    EXPECT_TRUE(caller->Wait());
    EXPECT_TRUE(caller->is_granted()) << static_cast<int>(caller->reason());
    return caller->is_granted() ? caller->grant() : engine::Grant{};
  }
  static engine::HolderRef HolderOf(const engine::Grant& grant) {
    return {grant.lease.principal, grant.lease.client_id, grant.lease.id, grant.lease.token};
  }
  Reason Release(const engine::Grant& grant, const std::string& pool = "gpu") {
    std::atomic<int> answer{-1};
    plane_->Release(pool, HolderOf(grant), false, [&](Result<Done> result) {
      const auto* refusal = std::get_if<engine::Refusal>(&result);
      answer = static_cast<int>(refusal ? refusal->reason : Reason::kNone);
    });
    EXPECT_TRUE(WaitUntil([&] { return answer >= 0; }));
    return static_cast<Reason>(answer.load());
  }
  engine::PoolCounts Counts(const std::string& pool = "gpu") {
    auto info = plane_->GetPool(pool);
    const auto* found = std::get_if<PoolInfo>(&info);
    return found ? found->counts : engine::PoolCounts{};
  }

  std::string dir_;
  PlaneOptions options_;
  std::unique_ptr<TestKeeper> keeper_;
  std::unique_ptr<DaemonPlane> plane_;
  uint64_t last_ticket_ = 0;
};

}  // namespace leaseplane::plane
