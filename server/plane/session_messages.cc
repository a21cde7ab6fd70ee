// SPDX-License-Identifier: Apache-2.0
//
// The engine's actions for attached sessions, as messages of the attach protocol.
#include "core/attach/messages.h"
#include "server/plane/pool_runtime.h"

namespace leaseplane::plane {
namespace {

using attach::Delivery;
using attach::Kind;
using attach::Message;

Message MakeMessage(Kind kind) {
  Message message{};
  message.kind = kind;
  return message;
}

attach::Refusal RefusalOf(engine::Reason reason) {
  switch (reason) {
    case engine::Reason::kQueueFull:
    case engine::Reason::kClientQuota:
      return attach::Refusal::kQueueFull;
    case engine::Reason::kDraining:
      return attach::Refusal::kDraining;
    case engine::Reason::kPoolDraining:
      return attach::Refusal::kPoolDraining;
    case engine::Reason::kNotFound:
      return attach::Refusal::kPoolDeleted;
    case engine::Reason::kRecovering:
      return attach::Refusal::kRecovering;
    default:
      return attach::Refusal::kInternal;
  }
}

}  // namespace

void PoolRuntime::SendGrant(const engine::Actions::SendGrant& grant) {
  Message message = MakeMessage(Kind::kGrant);
  message.grant = {handle_, grant.slot, grant.ticket, grant.token};
  if (outlets_.attach->Send(grant.session, message, Delivery::kMust)) return;
  Step([&](engine::PoolEngine& engine, engine::Instant now, engine::Actions& actions) {
    engine.SendFailed(now, grant.session, grant.slot, grant.token, actions);
  });
}

void PoolRuntime::CarryOutLocal(const engine::Actions& actions) {
  attach::AttachServer& attach = *outlets_.attach;
  for (const auto& grant : actions.send_grant) SendGrant(grant);
  for (const auto& refused : actions.ticket_refused) {
    Message message = MakeMessage(Kind::kTicketRefused);
    message.ticket_refused = {handle_, static_cast<uint32_t>(RefusalOf(refused.reason)),
                              refused.ticket};
    attach.Send(refused.session, message, Delivery::kMust);
  }
  for (const auto& ask : actions.ask_audit) {
    Message message = MakeMessage(Kind::kAudit);
    message.audit = {handle_, ask.slot, ask.gen, ask.question};
    attach.Send(ask.session, message, Delivery::kMay);
  }
  for (const auto& ask : actions.ask_all) {
    Message message = MakeMessage(Kind::kAudit);
    message.audit = {handle_, ask.slot, 0, ask.question};
    attach.SendToPool(handle_, message, Delivery::kMay);
  }
  for (const auto& request : actions.local_revoke_requested) {
    Message message = MakeMessage(Kind::kRevokeRequested);
    message.revoke_requested = {handle_, request.slot, request.token, request.grace_ns};
    // Who does not read cannot be asked; its lease ends with the grace all the same.
    attach.Send(request.session, message, Delivery::kMay);
  }
  for (const auto& ended : actions.local_lease_ended) {
    Message message = MakeMessage(Kind::kLeaseEnded);
    message.lease_ended = {handle_, ended.slot, ended.token};
    attach.Send(ended.session, message, Delivery::kMust);
  }
}

}  // namespace leaseplane::plane
