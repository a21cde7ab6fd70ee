// SPDX-License-Identifier: Apache-2.0
#include "server/keeper/holdings.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include <new>

#include "absl/status/status.h"

namespace leaseplane::keeper {
namespace {

int Hold(UniqueFd fd, uint64_t bytes, HeldSegment& out) {
  if (!fd || bytes == 0) return EINVAL;
  absl::StatusOr<shm::Mapping> mapping =
      shm::Mapping::Map(fd.get(), bytes, shm::Access::kReadWrite, shm::InFork::kInherited);
  if (!mapping.ok()) return ENOMEM;
  out.fd = std::move(fd);
  out.mapping = *std::move(mapping);
  return 0;
}

}  // namespace

absl::StatusOr<Holdings> Holdings::Make(UniqueFd listener) {
  Holdings holdings;
  holdings.listener = std::move(listener);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
    return absl::ErrnoToStatus(errno, "cannot make the lifeline");
  }
  holdings.lifeline_reader.reset(ends[0]);
  holdings.lifeline_writer.reset(ends[1]);
  // Zero pages until touched: idle session records cost nothing.
  void* block = ::mmap(nullptr, sizeof(SharedBlock), PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (block == MAP_FAILED) return absl::ErrnoToStatus(errno, "cannot map the session table");
  holdings.shared = static_cast<SharedBlock*>(block);
  holdings.sessions.resize(kOwnerCount);
  return holdings;
}

int Holdings::AddPool(Received& received, bool replaces) {
  const ChannelMessage& message = received.message;
  if (message.index >= kPoolHandleCount || pools.contains(message.index) != replaces ||
      message.pool_id[sizeof(message.pool_id) - 1] != '\0') {
    return EINVAL;
  }
  HeldPool pool;
  pool.id = message.pool_id;
  pool.uid = message.uid;
  pool.max_capacity = message.max_capacity;
  HeldSegment* segments[] = {&pool.data, &pool.ctl, &pool.meta};
  for (int i = 0; i < kDescriptorsMax; ++i) {
    const int error = Hold(std::move(received.fds[i]), message.bytes[i], *segments[i]);
    if (error != 0) return error;
  }
  pools.insert_or_assign(message.index, std::move(pool));  // last: all or nothing
  return 0;
}

int Holdings::Apply(Received received) {
  const ChannelMessage& message = received.message;
  const bool is_session = message.index >= kOwnerSessionFirst && message.index < kOwnerCount;
  switch (message.verb) {
    case Verb::kAddSess:
      sess = {};  // a new one replaces an old one that no session uses any more
      sess_uid = message.uid;
      return Hold(std::move(received.fds[0]), message.bytes[0], sess);
    case Verb::kAddPool:
      return AddPool(received, /*replaces=*/false);
    case Verb::kReplacePool:
      return AddPool(received, /*replaces=*/true);
    case Verb::kDropPool:
      return pools.erase(message.index) == 1 ? 0 : ENOENT;
    case Verb::kAddSession:
      if (!is_session || !received.fds[0]) return EINVAL;
      sessions[message.index] = {std::move(received.fds[0]), std::move(received.fds[1])};
      return 0;
    case Verb::kDropConnection:
      if (!is_session) return EINVAL;
      sessions[message.index].connection.reset();
      return 0;
    case Verb::kDropSession:
      if (!is_session) return EINVAL;
      sessions[message.index] = {};
      return 0;
    case Verb::kAck:
      break;
  }
  return EINVAL;
}

}  // namespace leaseplane::keeper
