// SPDX-License-Identifier: Apache-2.0
//
// RawSession: a process attached to the daemon without the client library's algorithms: it has the
// segments mapped as a client has them, and what it does with them is the test's affair. For tests
// that look at the words, or write what no client would.
//
// It answers no message of the daemon; end with the object is the end of the session. Threads: one.
// Errors: aborts with a reason.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "clients/cpp/local/handshake.h"
#include "core/attach/messages.h"
#include "core/pool/mapped_words.h"
#include "core/shm/segment.h"

namespace leaseplane::testing {

class RawSession {
 public:
  struct Pool {
    std::unique_ptr<shm::AttachedPool> mapped;
    UniqueFd data_fd;
    attach::PoolOpened opened{};
    PoolWords<RealMemory> words;

    SlotWord Word(SlotIndex slot) const { return RealMemory::Load(words.Slot(slot)); }
  };

  // `socket_path` is the daemon's gRPC socket; attach.sock lies beside it.
  explicit RawSession(const std::string& socket_path);

  // Lives as long as this object.
  Pool& OpenPool(const std::string& name);

  SessionIndex index() const { return connection_.welcome.session; }
  int socket_fd() const { return connection_.socket->fd(); }
  uint64_t SessionWordOf(SessionIndex index) const;

 private:
  internal::Connection connection_;
  shm::Mapping sess_;
  std::map<std::string, Pool> pools_;
};

}  // namespace leaseplane::testing
