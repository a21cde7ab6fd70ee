// SPDX-License-Identifier: Apache-2.0
//
// Vault: where the worker puts what has to outlive it. Channel is the one that reaches the keeper:
// one SOCK_SEQPACKET pair a worker, fixed-size
// messages with descriptors attached, each acknowledged before the next: when a call returns OK the
// keeper holds what it was given, whatever becomes of the worker.
//
// Threads: Channel's methods may be called from any thread; calls take turns. They wait for the
// keeper, which does nothing but answer (microseconds). Errors: absl::Status with the keeper's
// errno. If the keeper has died the worker is about to be killed by the kernel.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "core/base/ids.h"
#include "core/base/unique_fd.h"
#include "server/obs/mutex.h"

namespace leaseplane::keeper {

inline constexpr int kDescriptorsMax = 3;

enum class Verb : uint32_t {
  kAck = 0,
  kAddSess = 1,         // SESS: 1 descriptor
  kAddPool = 2,         // DATA, CTL, META: 3 descriptors
  kDropPool = 3,        // by handle
  kAddSession = 4,      // connection and, if there is one, pidfd
  kDropConnection = 5,  // by index: hung up; the pidfd stays
  kDropSession = 6,     // by index: connection and pidfd
  kReplacePool = 7,     // as kAddPool, in the place of what is held under that handle
};

struct ChannelMessage {
  Verb verb;
  uint32_t index;  // session index or pool handle
  int32_t error;   // kAck: errno, 0 = done
  uint32_t max_capacity;
  uint64_t uid;  // of the pool, or of SESS
  uint64_t bytes[kDescriptorsMax];
  char pool_id[64];  // NUL-terminated
};

// What AddPool gives away; descriptors stay the caller's.
struct PoolOffer {
  std::string_view id;
  uint32_t handle = 0;
  uint32_t max_capacity = 0;
  uint64_t uid = 0;
  int fds[kDescriptorsMax] = {-1, -1, -1};  // DATA, CTL, META
  uint64_t bytes[kDescriptorsMax] = {};
};

class Vault {
 public:
  virtual ~Vault() = default;
  // The keeper maps the segments writable. Seal them read-only only after this returned OK.
  virtual absl::Status AddSess(int fd, uint64_t bytes, uint64_t uid) = 0;
  virtual absl::Status AddPool(const PoolOffer& offer) = 0;
  // In one step: whoever comes next finds either the old segments or the new ones.
  virtual absl::Status ReplacePool(const PoolOffer& offer) = 0;
  virtual absl::Status DropPool(uint32_t handle) = 0;
  // `pidfd` may be -1.
  virtual absl::Status AddSession(SessionIndex index, int connection, int pidfd) = 0;
  virtual absl::Status DropConnection(SessionIndex index) = 0;
  virtual absl::Status DropSession(SessionIndex index) = 0;
};

class Channel final : public Vault {
 public:
  explicit Channel(UniqueFd socket) : socket_(std::move(socket)) {}

  absl::Status AddSess(int fd, uint64_t bytes, uint64_t uid) override;
  absl::Status AddPool(const PoolOffer& offer) override;
  absl::Status ReplacePool(const PoolOffer& offer) override;
  absl::Status DropPool(uint32_t handle) override;
  absl::Status AddSession(SessionIndex index, int connection, int pidfd) override;
  absl::Status DropConnection(SessionIndex index) override;
  absl::Status DropSession(SessionIndex index) override;

 private:
  absl::Status Call(const ChannelMessage& message, std::span<const int> fds);
  absl::Status OfferPool(Verb verb, const PoolOffer& offer);

  obs::Mutex mu_;
  UniqueFd socket_ ABSL_GUARDED_BY(mu_);
};

// -- the keeper's side

struct Received {
  ChannelMessage message{};
  UniqueFd fds[kDescriptorsMax];
};
enum class ReceiveResult { kMessage, kNothing, kClosed };
// Never waits.
ReceiveResult Receive(int socket, Received& out);
void Acknowledge(int socket, int error);

// Sends one message with descriptors; false with errno set. Waits if the buffer is full.
bool SendWithDescriptors(int socket, const void* bytes, size_t count, std::span<const int> fds,
                         int flags);

}  // namespace leaseplane::keeper
