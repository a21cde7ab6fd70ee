// SPDX-License-Identifier: Apache-2.0
//
// TLS credentials of a gRPC server whose certificate may change while it serves: every new
// connection gets what the source has at that moment, connections that exist are left alone.
#pragma once

#include <grpcpp/security/server_credentials.h>

#include <memory>

#include "server/security/credentials_watch.h"

namespace leaseplane::rpc {

// What a client has to show.
enum class ClientCertificate { kNone, kIfAny, kRequired };

// For one listening address. REQUIRES credentials.tls() != nullptr. The result must live as long as
// the server, `credentials` longer.
std::shared_ptr<grpc::ServerCredentials> MakeTlsCredentials(
    const security::CredentialsWatch& credentials, ClientCertificate client_certificate);

}  // namespace leaseplane::rpc
