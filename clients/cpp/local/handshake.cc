// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/local/handshake.h"

#include <poll.h>
#include <string.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/shm/layout.h"

namespace leaseplane::internal {
namespace {

using attach::Kind;
using attach::Message;

Message MakeHello(const SessionConfig& config) {
  Message message = MakeMessage(Kind::kHello);
  attach::Hello& hello = message.hello;
  hello.magic = attach::kProtocolMagic;
  hello.abi_major = shm::kAbiMajor;
  hello.abi_minor = shm::kAbiMinor;
  hello.liveness = static_cast<uint32_t>(
      config.liveness == Liveness::kTree ? attach::Liveness::kTree : attach::Liveness::kProcess);
  const size_t bytes = std::min(config.client_name.size(), sizeof(hello.client_name) - 1);
  ::memcpy(hello.client_name, config.client_name.data(), bytes);
  return message;
}

absl::Status Unanswered(const SessionConfig& config, std::string_view what) {
  return MakeStatus(Reason::kUnreachable,
                    absl::StrCat("the daemon at '", config.attach_path, "' ",
                                 absl::string_view(what.data(), what.size())));
}

absl::Status CheckWelcome(Incoming& answer, const SessionConfig& config, Connection& connection) {
  const Message& message = answer.message;
  if (message.kind == Kind::kRefused) {
    return RefusedStatus(message.refused, "a local session");
  }
  if (message.kind != Kind::kWelcome || answer.fds.size() != 2) {
    return Unanswered(config, "does not speak the attach protocol");
  }
  const attach::Welcome& welcome = message.welcome;
  if (welcome.abi_major != shm::kAbiMajor) {
    return MakeStatus(Reason::kAbiMismatch,
                      absl::StrCat("the daemon's shared memory has version ", welcome.abi_major,
                                   ", this library's ", shm::kAbiMajor));
  }
  if (welcome.session < kOwnerSessionFirst || welcome.session >= kOwnerCount) {
    return Unanswered(config, "gave a session number out of range");
  }
  connection.welcome = welcome;
  connection.welcome.instance_id[sizeof(welcome.instance_id) - 1] = '\0';
  connection.sess_fd = std::move(answer.fds[0]);
  connection.lifeline = std::move(answer.fds[1]);
  return absl::OkStatus();
}

bool HasHungUp(int lifeline) {
  pollfd item{lifeline, 0, 0};
  return ::poll(&item, 1, 0) > 0;
}

absl::Status AttachStatus(shm::AttachError error) {
  const Reason reason = error == shm::AttachError::kAbi ? Reason::kAbiMismatch : Reason::kInternal;
  return MakeStatus(reason, shm::AttachErrorText(error));
}

}  // namespace

absl::StatusOr<Connection> GreetDaemon(const SessionConfig& config, int64_t deadline_ns) {
  auto socket = AttachSocket::Connect(config.attach_path, config.server_uid, deadline_ns);
  if (!socket.ok()) return socket.status();
  Connection connection;
  connection.socket = *std::move(socket);
  if (!connection.socket->Send(MakeHello(config))) return Unanswered(config, "hung up");
  Incoming answer;
  for (;;) {
    switch (connection.socket->Receive(answer)) {
      case AttachSocket::Got::kMessage: {
        absl::Status status = CheckWelcome(answer, config, connection);
        if (!status.ok()) return status;
        // The keeper is dead already and its worker will be in a moment.
        if (HasHungUp(connection.lifeline.get())) return Unanswered(config, "is going away");
        return connection;
      }
      case AttachSocket::Got::kClosed:
        return Unanswered(config, "hung up");
      case AttachSocket::Got::kNothing:
        if (!connection.socket->WaitReadable(deadline_ns)) {
          return Unanswered(config, "did not answer in time");
        }
    }
  }
}

absl::StatusOr<std::unique_ptr<shm::AttachedPool>> MapPool(const Incoming& opened) {
  if (opened.fds.size() != 3) {
    return MakeStatus(Reason::kInternal, "the daemon sent no segments for the pool");
  }
  auto pool = std::make_unique<shm::AttachedPool>();
  const shm::AttachError error =
      shm::AttachPool(opened.fds[0].get(), opened.fds[1].get(), opened.fds[2].get(), *pool);
  if (error != shm::AttachError::kNone) return AttachStatus(error);
  if (pool->pool_uid != opened.message.pool_opened.pool_uid) {
    return AttachStatus(shm::AttachError::kPoolUid);
  }
  return pool;
}

absl::StatusOr<shm::Mapping> MapSess(int sess_fd) {
  shm::Mapping mapping;
  const shm::AttachError error = shm::AttachSess(sess_fd, mapping);
  if (error != shm::AttachError::kNone) return AttachStatus(error);
  return mapping;
}

Reason ReasonOfRefusal(attach::Refusal refusal) {
  switch (refusal) {
    case attach::Refusal::kAbiMismatch:
      return Reason::kAbiMismatch;
    case attach::Refusal::kNotAllowed:
      return Reason::kPermissionDenied;
    case attach::Refusal::kUnknownPool:
    case attach::Refusal::kPoolDeleted:
      return Reason::kNotFound;
    case attach::Refusal::kTooManySessions:
      return Reason::kClientQuota;
    case attach::Refusal::kRecovering:
      return Reason::kRecovering;
    case attach::Refusal::kDraining:
      return Reason::kDraining;
    case attach::Refusal::kLocalDisabled:
      return Reason::kUnimplemented;
    case attach::Refusal::kQueueFull:
      return Reason::kQueueFull;
    case attach::Refusal::kPoolDraining:
      return Reason::kPoolDraining;
    case attach::Refusal::kNone:
    case attach::Refusal::kInternal:
      return Reason::kInternal;
  }
  return Reason::kUnknown;  // a newer daemon's
}

absl::Status RefusedStatus(const attach::Refused& refused, std::string_view what) {
  const std::string text(refused.text, ::strnlen(refused.text, sizeof(refused.text)));
  return MakeStatus(ReasonOfRefusal(static_cast<attach::Refusal>(refused.reason)),
                    absl::StrCat("the daemon refuses ", absl::string_view(what.data(), what.size()),
                                 text.empty() ? "" : ": ", text));
}

}  // namespace leaseplane::internal
