// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/caller.h"

#include <absl/strings/match.h>
#include <absl/strings/string_view.h>
#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/auth_context.h>

#include <chrono>
#include <optional>
#include <utility>

#include "server/engine/types.h"
#include "server/security/principal.h"

namespace leaseplane::rpc {
namespace {

constexpr absl::string_view kBearer = "bearer ";

std::string FirstValue(const grpc::AuthContext& context, const char* property) {
  const auto values = context.FindPropertyValues(property);
  return values.empty() ? std::string() : std::string(values[0].data(), values[0].size());
}

// nullopt: the call brings none.
std::optional<absl::string_view> BearerToken(const grpc::ServerContextBase& context) {
  const auto found = context.client_metadata().find("authorization");
  if (found == context.client_metadata().end()) return std::nullopt;
  const absl::string_view value(found->second.data(), found->second.size());
  if (!absl::StartsWithIgnoreCase(value, kBearer)) return std::nullopt;
  return value.substr(kBearer.size());
}

// Empty if there is none, or none that may be.
std::string CertificatePrincipal(const grpc::AuthContext& context) {
  if (!context.IsPeerAuthenticated()) return {};
  for (const char* property :
       {GRPC_PEER_URI_PROPERTY_NAME, GRPC_PEER_DNS_PROPERTY_NAME, GRPC_X509_CN_PROPERTY_NAME}) {
    std::string name = FirstValue(context, property);
    if (!name.empty()) return security::IsGivenPrincipal(name) ? name : std::string();
  }
  return {};
}

std::string PrincipalOf(const grpc::ServerContextBase& context, const Caller& caller,
                        const security::TokenTable* tokens, bool needs_identity) {
  if (const auto token = BearerToken(context); token && tokens != nullptr) {
    return tokens->Find(std::string_view(token->data(), token->size())).value_or("");
  }
  const auto auth = context.auth_context();
  if (caller.door == security::Door::kUnixSocket) {
    const std::string uid = auth == nullptr ? std::string() : FirstValue(*auth, kUidProperty);
    return uid.empty() ? uid : "uid:" + uid;
  }
  std::string name = auth == nullptr ? std::string() : CertificatePrincipal(*auth);
  if (!name.empty() || needs_identity) return name;
  return std::string(security::kAnonymous);
}

}  // namespace

Caller IdentifyCaller(const grpc::ServerContextBase& context, security::Door tcp_door,
                      const security::TokenTable* tokens, bool needs_identity) {
  Caller caller;
  caller.door = IsOnUnixSocket(context) ? security::Door::kUnixSocket : tcp_door;
  caller.principal = PrincipalOf(context, caller, tokens, needs_identity);
  caller.holder = security::HolderPrincipal(caller.principal);
  return caller;
}

bool IsOnUnixSocket(const grpc::ServerContextBase& context) {
  return context.peer().rfind("unix:", 0) == 0;
}

int64_t RemainingNs(const grpc::ServerContextBase& context) {
  using std::chrono::system_clock;
  const system_clock::time_point deadline = context.deadline();
  const system_clock::time_point now = system_clock::now();
  // Without a deadline it is the end of time, from which nothing may be subtracted.
  if (deadline > now + std::chrono::hours(24)) return engine::kNever;
  if (deadline < now - std::chrono::hours(24)) return 0;
  return std::chrono::duration_cast<std::chrono::nanoseconds>(deadline - now).count();
}

}  // namespace leaseplane::rpc
