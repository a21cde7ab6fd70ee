// SPDX-License-Identifier: Apache-2.0
#include "server/plane/pool_segments.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/random.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/shm/numa.h"
#include "server/obs/log.h"

namespace leaseplane::plane {
namespace {

absl::Status MakeOne(const std::string& name, uint64_t bytes, UniqueFd& fd, shm::Mapping& map) {
  absl::StatusOr<UniqueFd> created = shm::CreateSegment(name, bytes);
  if (!created.ok()) return created.status();
  fd = *std::move(created);
  absl::StatusOr<shm::Mapping> mapped =
      shm::Mapping::Map(fd.get(), bytes, shm::Access::kReadWrite, shm::InFork::kInherited);
  if (!mapped.ok()) return mapped.status();
  map = *std::move(mapped);
  return absl::OkStatus();
}

// Where it lies decides how fast it is, never whether it serves.
void PlaceData(const std::string& pool, uint32_t node, const shm::Mapping& data) {
  const absl::Status placed =
      shm::PlaceOnNode(shm::NumaMachine::This(), data.base(), data.bytes(), node);
  if (placed.ok()) return;
  obs::Log(obs::Level::kInfo, "the memory of a pool is not put on its NUMA node",
           {{"pool", pool}, {"numa_node", node}, {"why", std::string(placed.message())}});
}

bool IsSealed(int fd) {
  const int seals = ::fcntl(fd, F_GET_SEALS);
  return seals >= 0 && (seals & F_SEAL_SEAL) != 0;
}

// What the kernel gave and nobody has used, of one thread: one system call for many words.
struct RandomStock {
  std::array<uint64_t, 32> words;  // so few bytes come whole
  size_t left = 0;
};

RandomStock& Stock() {
  static thread_local RandomStock stock;
  return stock;
}

}  // namespace

uint64_t RandomWord() {
  // A child must not draw the words of its parent; of the parent's threads it has this one alone.
  static const int registered = pthread_atfork(nullptr, nullptr, [] { Stock().left = 0; });
  static_cast<void>(registered);
  RandomStock& stock = Stock();
  for (;;) {
    if (stock.left == 0) {
      const size_t bytes = sizeof(stock.words);
      if (::getrandom(stock.words.data(), bytes, 0) != static_cast<ssize_t>(bytes)) continue;
      stock.left = stock.words.size();
    }
    const uint64_t word = std::exchange(stock.words[--stock.left], 0);
    if (word != 0) return word;
  }
}

absl::Status PoolSegments::Seal() const {
  if (!IsSealed(data_fd_.get())) {
    absl::Status status = shm::SealSize(data_fd_.get());
    if (!status.ok()) return status;
  }
  for (int fd : {ctl_fd_.get(), meta_fd_.get()}) {
    if (IsSealed(fd)) continue;
    absl::Status status = shm::SealReadOnly(fd);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::StatusOr<PoolSegments> PoolSegments::Create(const engine::PoolOptions& options,
                                                  uint32_t handle, Epoch epoch,
                                                  keeper::Vault& vault) {
  return Make(options, handle, epoch, vault, /*replaces=*/false);
}

absl::StatusOr<PoolSegments> PoolSegments::Replace(const engine::PoolOptions& options,
                                                   uint32_t handle, Epoch epoch,
                                                   keeper::Vault& vault) {
  return Make(options, handle, epoch, vault, /*replaces=*/true);
}

absl::StatusOr<PoolSegments> PoolSegments::Make(const engine::PoolOptions& options, uint32_t handle,
                                                Epoch epoch, keeper::Vault& vault, bool replaces) {
  const uint32_t max_capacity = options.max_capacity == 0 ? options.capacity : options.max_capacity;
  PoolSegments s;
  s.geometry_ = shm::MakeGeometry(max_capacity);
  s.uid_ = RandomWord();
  const uint64_t meta_bytes = shm::MetaBytes(s.geometry_, options.resources);
  const std::string name = absl::StrCat("leaseplane-", options.id);
  absl::Status status = MakeOne(name + "-data", s.geometry_.data_bytes, s.data_fd_, s.data_);
  if (status.ok()) status = MakeOne(name + "-ctl", s.geometry_.ctl_bytes, s.ctl_fd_, s.ctl_);
  if (status.ok()) status = MakeOne(name + "-meta", meta_bytes, s.meta_fd_, s.meta_);
  if (!status.ok()) return status;
  s.Guard();
  if (options.numa_node) PlaceData(options.id, *options.numa_node, s.data_);
  shm::FormatCtl(s.ctl_.base(), s.geometry_, s.uid_, epoch);
  shm::FormatMeta(s.meta_.base(), s.geometry_, s.uid_, options.resources);
  shm::Publish(s.meta_.base());

  keeper::PoolOffer offer;
  offer.id = options.id;
  offer.handle = handle;
  offer.max_capacity = max_capacity;
  offer.uid = s.uid_;
  const int fds[] = {s.data_fd_.get(), s.ctl_fd_.get(), s.meta_fd_.get()};
  const uint64_t bytes[] = {s.geometry_.data_bytes, s.geometry_.ctl_bytes, meta_bytes};
  std::copy(std::begin(fds), std::end(fds), offer.fds);
  std::copy(std::begin(bytes), std::end(bytes), offer.bytes);
  // The keeper maps before anything is sealed: afterwards nobody could.
  status = replaces ? vault.ReplacePool(offer) : vault.AddPool(offer);
  if (status.ok()) status = s.Seal();
  if (!status.ok()) return status;
  return s;
}

absl::StatusOr<PoolSegments> PoolSegments::Adopt(keeper::HeldPool held, uint32_t max_capacity) {
  if (held.max_capacity != max_capacity || !shm::IsPublished(held.ctl.mapping.base())) {
    return absl::FailedPreconditionError("segments of another capacity, or never published");
  }
  PoolSegments s;
  s.geometry_ = shm::MakeGeometry(max_capacity);
  s.uid_ = held.uid;
  s.data_fd_ = std::move(held.data.fd);
  s.ctl_fd_ = std::move(held.ctl.fd);
  s.meta_fd_ = std::move(held.meta.fd);
  s.data_ = std::move(held.data.mapping);
  s.ctl_ = std::move(held.ctl.mapping);
  s.meta_ = std::move(held.meta.mapping);
  if (s.data_.bytes() != s.geometry_.data_bytes || s.ctl_.bytes() != s.geometry_.ctl_bytes ||
      s.meta_.bytes() < shm::MetaBytes(s.geometry_, {})) {
    return absl::FailedPreconditionError("segments of another size");
  }
  absl::Status status = s.Seal();
  if (!status.ok()) return status;
  s.Guard();
  return s;
}

void PoolSegments::Guard() {
  data_guard_ = shm::FaultGuard(data_.base(), data_.bytes());
  ctl_guard_ = shm::FaultGuard(ctl_.base(), ctl_.bytes());
  meta_guard_ = shm::FaultGuard(meta_.base(), meta_.bytes());
}

void PoolSegments::Publish() { shm::Publish(ctl_.base()); }

}  // namespace leaseplane::plane
