// SPDX-License-Identifier: Apache-2.0
//
// Holdings: everything that has to outlive a worker. The keeper has it; a worker is forked from the
// keeper without exec, so it finds its own copy here, descriptors and writable mappings included.
//
// A worker takes what it uses out of its copy (std::move); the keeper's copy is not affected.
// Threads: the keeper has one; a worker reads it while it starts, before its threads exist.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/ids.h"
#include "core/base/unique_fd.h"
#include "core/shm/mapping.h"
#include "server/keeper/channel.h"
#include "server/keeper/shared_block.h"

namespace leaseplane::keeper {

struct HeldSegment {
  UniqueFd fd;
  shm::Mapping mapping;
};

struct HeldPool {
  std::string id;
  uint64_t uid = 0;
  uint32_t max_capacity = 0;
  HeldSegment data, ctl, meta;
};

struct HeldSession {
  UniqueFd connection, pidfd;
};

class Holdings {
 public:
  // Makes the shared block and the lifeline. `listener` is bound and listening.
  static absl::StatusOr<Holdings> Make(UniqueFd listener);

  Holdings(Holdings&&) noexcept = default;
  Holdings& operator=(Holdings&&) noexcept = default;

  // The keeper's side: carries out one message. Returns an errno, 0 = done.
  int Apply(Received received);
  // The worker's side, right after the fork: a client that holds the read end must hear of the
  // keeper's death, not of a worker's.
  void DropLifelineWriter() { lifeline_writer.reset(); }

  UniqueFd listener;
  UniqueFd lifeline_reader, lifeline_writer;
  uint64_t starts = 0;  // of workers, this one included
  uint64_t sess_uid = 0;
  HeldSegment sess;                    // empty: there is none yet
  std::map<uint32_t, HeldPool> pools;  // by handle
  std::vector<HeldSession> sessions;   // by session index
  SharedBlock* shared = nullptr;       // mapped for the keeper's whole life

 private:
  Holdings() = default;
  int AddPool(Received& received, bool replaces);
};

}  // namespace leaseplane::keeper
