// SPDX-License-Identifier: Apache-2.0
//
// AttachSocket: the client's end of the attach protocol (core/attach/messages.h): whole messages
// in and out, and who is at the other end.
//
// Ownership: owns the descriptor. Threads: Send from any thread; Receive and the rest from one.
// Errors: Connect returns a Status with a Reason; afterwards a broken connection is a value.
// Cost: one system call a message. Never blocks but in Connect and WaitReadable.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/attach/messages.h"
#include "core/base/unique_fd.h"

namespace leaseplane::internal {

// A message and the descriptors that came with it.
struct Incoming {
  attach::Message message{};
  std::vector<UniqueFd> fds;
};

class AttachSocket {
 public:
  // Connects to the daemon's attach socket and checks that it is run by root, by our own uid, or by
  // `server_uid`. Reasons: kUnreachable, kUntrustedServer.
  static absl::StatusOr<std::unique_ptr<AttachSocket>> Connect(const std::string& path,
                                                               std::optional<uint32_t> server_uid,
                                                               int64_t deadline_ns);
  explicit AttachSocket(UniqueFd fd) : fd_(std::move(fd)) {}
  ~AttachSocket();
  AttachSocket(const AttachSocket&) = delete;
  AttachSocket& operator=(const AttachSocket&) = delete;

  // False: the connection is broken, or the daemon does not read for so long that its buffer is
  // full.
  bool Send(const attach::Message& message) const;

  enum class Got { kMessage, kNothing, kClosed };
  Got Receive(Incoming& incoming) const;

  // Waits until Receive would give something. False at the deadline.
  bool WaitReadable(int64_t deadline_ns) const;

  // Forked children close it (they do not with Liveness::kTree).
  void CloseInChildren();

  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
  bool closed_in_children_ = false;
};

// Whether the daemon whose gRPC socket is at `path` is run by one of the accepted users. Reasons:
// kUnreachable, kUntrustedServer.
absl::Status CheckServerAt(const std::string& path, std::optional<uint32_t> server_uid);

attach::Message MakeMessage(attach::Kind kind);

}  // namespace leaseplane::internal
