// SPDX-License-Identifier: Apache-2.0
//
// TlsMaterial: what a TLS server needs, read from files and checked before anything uses it.
//
// Values and functions; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "server/security/file_error.h"

namespace leaseplane::security {

// Paths of PEM files. `client_ca` empty: clients are not asked for certificates.
struct TlsFiles {
  std::string cert, key, client_ca;
  bool empty() const { return cert.empty() && key.empty() && client_ca.empty(); }
};

struct TlsMaterial {
  std::string cert_chain_pem;  // the server's certificate first
  std::string private_key_pem;
  std::string client_ca_pem;  // empty: none
  // Of the server's certificate.
  int64_t not_before_unix_s = 0, not_after_unix_s = 0;
};

enum class Validity {
  kMustBeNow,  // a certificate that has expired or is not valid yet is an error
  kAny,
};

// Everything that is wrong, with the field of the configuration that names the file.
std::variant<TlsMaterial, std::vector<FileError>> LoadTlsMaterial(
    const TlsFiles& files, int64_t now_unix_s, Validity validity = Validity::kMustBeNow);

}  // namespace leaseplane::security
