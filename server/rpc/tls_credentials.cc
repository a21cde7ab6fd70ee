// SPDX-License-Identifier: Apache-2.0
//
// By gRPC's C interface, which asks for the certificate before every handshake. The C++ one has
// watchers of files too, but those take a key that does not belong to its certificate, and then no
// connection can be made any more.
#include "server/rpc/tls_credentials.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include <string>
#include <utility>

namespace leaseplane::rpc {
namespace {

grpc_ssl_client_certificate_request_type RequestType(ClientCertificate certificate) {
  switch (certificate) {
    case ClientCertificate::kNone:
      return GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE;
    case ClientCertificate::kIfAny:
      return GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY;
    case ClientCertificate::kRequired:
      return GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY;
  }
  return GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY;
}

class TlsCredentials final : public grpc::ServerCredentials {
 public:
  TlsCredentials(const security::CredentialsWatch& credentials, ClientCertificate certificate)
      : source_(credentials) {
    grpc_ssl_server_credentials_options* options =
        grpc_ssl_server_credentials_create_options_using_config_fetcher(RequestType(certificate),
                                                                        &Fetch, this);
    credentials_ = grpc_ssl_server_credentials_create_with_options(options);
  }
  ~TlsCredentials() override { grpc_server_credentials_release(credentials_); }

  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }

  // gRPC calls it for one connection of the address at a time.
  static grpc_ssl_certificate_config_reload_status Fetch(
      void* self, grpc_ssl_server_certificate_config** config) {
    return static_cast<TlsCredentials*>(self)->FetchInto(config);
  }

  grpc_ssl_certificate_config_reload_status FetchInto(grpc_ssl_server_certificate_config** config) {
    auto now = source_.tls();
    if (now == given_) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    const grpc_ssl_pem_key_cert_pair pair{now->private_key_pem.c_str(),
                                          now->cert_chain_pem.c_str()};
    // gRPC insists on authorities here. Where no client is asked for a certificate none is used.
    const std::string& roots =
        now->client_ca_pem.empty() ? now->cert_chain_pem : now->client_ca_pem;
    *config = grpc_ssl_server_certificate_config_create(roots.c_str(), &pair, 1);
    given_ = std::move(now);
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  }

  const security::CredentialsWatch& source_;
  security::CredentialsWatch::TlsPtr given_;
  grpc_server_credentials* credentials_ = nullptr;
};

}  // namespace

std::shared_ptr<grpc::ServerCredentials> MakeTlsCredentials(
    const security::CredentialsWatch& credentials, ClientCertificate client_certificate) {
  return std::make_shared<TlsCredentials>(credentials, client_certificate);
}

}  // namespace leaseplane::rpc
