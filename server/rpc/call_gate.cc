// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/call_gate.h"

#include <utility>

namespace leaseplane::rpc {

CallEnvironment CallGate::Admit(const grpc::ServerContextBase& context) {
  security::CredentialsWatch::TokensPtr tokens;
  bool needs_identity = false;
  if (credentials_ != nullptr) {
    tokens = credentials_->tokens();
    const auto tls = credentials_->tls();
    needs_identity = tokens != nullptr || (tls != nullptr && !tls->client_ca_pem.empty());
  }
  auto guard = GuardFor(IdentifyCaller(context, tcp_door_, tokens.get(), needs_identity));
  plane::Plane& plane = *guard;
  return CallEnvironment{plane, observer_, open_calls_, std::move(guard)};
}

std::shared_ptr<GuardedPlane> CallGate::GuardFor(Caller caller) {
  const std::string key =
      std::string(1, static_cast<char>('0' + static_cast<int>(caller.door))) + caller.principal;
  absl::MutexLock lock(&mutex_);
  const auto found = guards_.find(key);
  if (found != guards_.end()) return found->second;
  if (guards_.size() >= kGuardsMax) guards_.clear();
  auto guard = std::make_shared<GuardedPlane>(plane_, policy_, std::move(caller));
  guards_.emplace(key, guard);
  return guard;
}

}  // namespace leaseplane::rpc
