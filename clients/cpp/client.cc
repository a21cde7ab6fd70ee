// SPDX-License-Identifier: Apache-2.0
#include "leaseplane/client.h"

#include <utility>

#include "clients/cpp/client_state.h"
#include "clients/cpp/target.h"

namespace leaseplane {

absl::StatusOr<Client> Client::Connect(std::string_view target, ClientOptions options) {
  absl::StatusOr<internal::Target> parsed = internal::ParseTarget(target);
  if (!parsed.ok()) return parsed.status();
  auto state = internal::ClientState::Connect(*std::move(parsed), std::move(options));
  if (!state.ok()) return state.status();
  return Client(*std::move(state));
}

absl::StatusOr<Pool> Client::OpenPool(std::string_view name) const {
  absl::StatusOr<internal::ClientState::OpenedPool> opened = state_->OpenPool(name);
  if (!opened.ok()) return opened.status();
  return Pool(state_, opened->local, std::move(opened->remote), std::move(opened->path_reason));
}

Path Client::path() const { return state_->path(); }
std::string Client::path_reason() const { return state_->path_reason(); }
const std::string& Client::target() const { return state_->target().text; }
std::string Client::instance_id() const { return state_->instance_id(); }
int Client::InheritableSessionFd() const { return state_->session_fd(); }

}  // namespace leaseplane
