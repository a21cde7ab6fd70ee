// SPDX-License-Identifier: Apache-2.0
// The segments of a FakeDaemon.
#include <time.h>

#include <cstdlib>
#include <random>
#include <utility>

#include "core/pool/mapped_words.h"
#include "tests/support/fake_daemon.h"

namespace leaseplane::testing {
namespace {

void Must(bool holds) {
  if (!holds) std::abort();
}

int64_t NowNs() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

uint64_t RandomUid() {
  static std::random_device device;
  return (uint64_t{device()} << 32 | device()) | 1;
}

shm::Mapping MapAll(int fd, uint64_t bytes) {
  auto mapping = shm::Mapping::Map(fd, bytes, shm::Access::kReadWrite, shm::InFork::kHidden);
  Must(mapping.ok());
  return *std::move(mapping);
}

UniqueFd MakeSegment(const std::string& name, uint64_t bytes) {
  auto fd = shm::CreateSegment(name, bytes);
  Must(fd.ok());
  return *std::move(fd);
}

}  // namespace

void FakeDaemon::MakeSess() {
  sess_uid_ = RandomUid();
  sess_fd_ = MakeSegment("sess", shm::kSessBytes);
  sess_ = MapAll(sess_fd_.get(), shm::kSessBytes);
  shm::FormatSess(sess_.base(), sess_uid_);
  shm::Publish(sess_.base());
  Must(shm::SealReadOnly(sess_fd_.get()).ok());
}

FakeDaemon::Pool FakeDaemon::MakeMemory(const FakePool& options, Epoch epoch) {
  const shm::Geometry geometry = shm::MakeGeometry(options.capacity);
  Pool pool;
  pool.options = options;
  pool.uid = RandomUid();
  const uint64_t meta_bytes = shm::MetaBytes(geometry, options.resources);
  pool.data_fd = MakeSegment("data", geometry.data_bytes);
  pool.ctl_fd = MakeSegment("ctl", geometry.ctl_bytes);
  pool.meta_fd = MakeSegment("meta", meta_bytes);
  pool.data = MapAll(pool.data_fd.get(), geometry.data_bytes);
  pool.ctl = MapAll(pool.ctl_fd.get(), geometry.ctl_bytes);
  pool.meta = MapAll(pool.meta_fd.get(), meta_bytes);
  shm::FormatCtl(pool.ctl.base(), geometry, pool.uid, epoch);
  shm::FormatMeta(pool.meta.base(), geometry, pool.uid, options.resources);
  Must(shm::SealSize(pool.data_fd.get()).ok());
  Must(shm::SealReadOnly(pool.ctl_fd.get()).ok());
  Must(shm::SealReadOnly(pool.meta_fd.get()).ok());
  return pool;
}

PoolWords<RealMemory> FakeDaemon::WordsOf(const Pool& pool) const {
  const shm::Geometry geometry = shm::MakeGeometry(pool.options.capacity);
  const shm::PoolBase base{pool.data.base(), pool.ctl.base(), pool.meta.base(), geometry};
  return leaseplane::WordsOf(base, sess_.base());
}

void FakeDaemon::Publish(Pool& pool) {
  pool.authority->Initialize(options_.first_gen, !recovering_, NowNs());
  shm::Publish(pool.ctl.base());
  shm::Publish(pool.meta.base());
}

void FakeDaemon::MakePool(const FakePool& options) {
  Pool pool = MakeMemory(options, options_.epoch);
  pool.authority = std::make_unique<Authority<RealMemory>>(WordsOf(pool), options.capacity);
  pool.authority->SetEpoch(options_.epoch);
  Publish(pool);
  pools_.push_back(std::move(pool));
}

void FakeDaemon::MovePool(const std::string& name) {
  const std::lock_guard<std::mutex> lock(mu_);
  Pool& pool = Named(name);
  const Epoch epoch = pool.authority->epoch() + 1;
  Pool next = MakeMemory(pool.options, epoch);
  next.authority = std::move(pool.authority);
  next.authority->MoveTo(WordsOf(next), epoch);
  recovering_ = true;
  Publish(next);
  pool = std::move(next);
  attach::Message message{};
  message.kind = attach::Kind::kPoolMoved;
  message.pool_moved.pool = HandleOf(name);
  for (const auto& peer : peers_) Send(*peer, message);
}

}  // namespace leaseplane::testing
