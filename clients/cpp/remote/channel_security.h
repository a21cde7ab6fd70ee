// SPDX-License-Identifier: Apache-2.0
//
// How a channel is secured: TLS by files, a bearer token from a file, or nothing.
//
// Functions; any thread. The credentials watch their files as long as a channel has them.
#pragma once

#include <grpcpp/security/credentials.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "leaseplane/options.h"

namespace leaseplane::internal {

// What is empty is taken from the environment. Errors: kInvalidArgument for a file that cannot be
// read, half of a pair, and a token that would travel in the clear.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const std::string& grpc_target, TlsOptions tls, std::string token_file);

}  // namespace leaseplane::internal
