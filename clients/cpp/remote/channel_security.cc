// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/remote/channel_security.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <stdlib.h>

#include <fstream>
#include <map>
#include <optional>
#include <sstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "leaseplane/status.h"

namespace leaseplane::internal {
namespace {

// How often gRPC looks at the TLS files; those of a Kubernetes Secret change within a minute.
constexpr unsigned kTlsRefreshS = 10;

void TakeFromEnvironment(const char* variable, std::string* value) {
  const char* text = value->empty() ? ::getenv(variable) : nullptr;
  if (text != nullptr) *value = text;
}

std::optional<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!file.is_open() || !(text << file.rdbuf())) return std::nullopt;
  return text.str();
}

absl::Status CheckReadable(const char* what, const std::string& path) {
  if (path.empty() || ReadFile(path)) return absl::OkStatus();
  return MakeStatus(Reason::kInvalidArgument,
                    absl::StrCat(what, " '", path, "': not a file that can be read"));
}

// Adds the token to each call. Reads the file each time: it is short, and it may change.
class TokenPlugin final : public grpc::MetadataCredentialsPlugin {
 public:
  explicit TokenPlugin(std::string path) : path_(std::move(path)) {}

  const char* GetType() const override { return "leaseplane_token"; }
  grpc::Status GetMetadata(grpc::string_ref, grpc::string_ref, const grpc::AuthContext&,
                           std::multimap<grpc::string, grpc::string>* metadata) override {
    const auto text = ReadFile(path_);
    if (!text) {
      return {grpc::StatusCode::UNAUTHENTICATED,
              absl::StrCat("token file '", path_, "' cannot be read")};
    }
    metadata->emplace("authorization",
                      absl::StrCat("Bearer ", std::string(absl::StripAsciiWhitespace(*text))));
    return grpc::Status::OK;
  }

 private:
  const std::string path_;
};

std::shared_ptr<grpc::ChannelCredentials> MakeTls(const TlsOptions& tls) {
  using grpc::experimental::FileWatcherCertificateProvider;
  grpc::experimental::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(std::make_shared<FileWatcherCertificateProvider>(
      tls.key_file, tls.cert_file, tls.ca_file, kTlsRefreshS));
  options.watch_root_certs();
  if (!tls.cert_file.empty()) options.watch_identity_key_cert_pairs();
  return grpc::experimental::TlsCredentials(options);
}

absl::Status Check(const TlsOptions& tls, const std::string& token_file) {
  if (tls.cert_file.empty() != tls.key_file.empty()) {
    return MakeStatus(Reason::kInvalidArgument,
                      "a TLS certificate and its key are needed together");
  }
  if (tls.ca_file.empty() && !tls.cert_file.empty()) {
    return MakeStatus(Reason::kInvalidArgument,
                      "a TLS certificate without the CA file that the daemon's is checked by");
  }
  for (const auto& [what, path] :
       {std::pair("CA file", &tls.ca_file), std::pair("certificate file", &tls.cert_file),
        std::pair("key file", &tls.key_file), std::pair("token file", &token_file)}) {
    if (absl::Status status = CheckReadable(what, *path); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const std::string& grpc_target, TlsOptions tls, std::string token_file) {
  TakeFromEnvironment("LEASEPLANE_TOKEN_FILE", &token_file);
  const bool is_unix = grpc_target.rfind("unix:", 0) == 0;
  if (!is_unix) {
    TakeFromEnvironment("LEASEPLANE_TLS_CA", &tls.ca_file);
    TakeFromEnvironment("LEASEPLANE_TLS_CERT", &tls.cert_file);
    TakeFromEnvironment("LEASEPLANE_TLS_KEY", &tls.key_file);
  } else {
    tls = {};
  }
  if (absl::Status status = Check(tls, token_file); !status.ok()) return status;
  const bool has_tls = !tls.ca_file.empty();
  if (token_file.empty()) return has_tls ? MakeTls(tls) : grpc::InsecureChannelCredentials();
  if (!has_tls && !is_unix) {
    return MakeStatus(Reason::kInvalidArgument,
                      "a token is sent over TLS or a Unix socket only: the CA file is missing");
  }
  auto channel = has_tls ? MakeTls(tls) : grpc::experimental::LocalCredentials(UDS);
  return grpc::CompositeChannelCredentials(
      channel, grpc::MetadataCredentialsFromPlugin(std::make_unique<TokenPlugin>(token_file)));
}

}  // namespace leaseplane::internal
