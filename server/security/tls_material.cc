// SPDX-License-Identifier: Apache-2.0
#include "server/security/tls_material.h"

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <time.h>

#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace leaseplane::security {
namespace {

template <auto kFree>
struct Free {
  template <class T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using Bio = std::unique_ptr<BIO, Free<BIO_free>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using PrivateKey = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;

Bio BioOf(const std::string& pem) {
  return Bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

// There is nobody to ask for a passphrase.
int NoPassphrase(char*, int, int, void*) { return -1; }

// All certificates of the text; empty if one of them is none.
std::vector<Certificate> ParseCertificates(const std::string& pem) {
  std::vector<Certificate> all;
  const Bio bio = BioOf(pem);
  while (true) {
    Certificate next(PEM_read_bio_X509(bio.get(), nullptr, NoPassphrase, nullptr));
    if (next == nullptr) break;
    all.push_back(std::move(next));
  }
  if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) all.clear();
  ERR_clear_error();
  return all;
}

PrivateKey ParsePrivateKey(const std::string& pem) {
  const Bio bio = BioOf(pem);
  PrivateKey key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassphrase, nullptr));
  ERR_clear_error();
  return key;
}

int64_t UnixSecondsOf(const ASN1_TIME* time) {
  tm parts{};
  return ASN1_TIME_to_tm(time, &parts) == 1 ? ::timegm(&parts) : 0;
}

std::string TimeText(int64_t unix_s) {
  return absl::FormatTime(absl::RFC3339_sec, absl::FromUnixSeconds(unix_s), absl::UTCTimeZone());
}

class Loader {
 public:
  Loader(int64_t now_unix_s, Validity validity) : now_unix_s_(now_unix_s), validity_(validity) {}

  std::variant<TlsMaterial, std::vector<FileError>> Load(const TlsFiles& files) {
    const auto cert = Read("tls.cert", files.cert);
    const auto key = Read("tls.key", files.key);
    if (!files.client_ca.empty()) ReadClientCa(files.client_ca);
    if (cert && key) CheckPair(files, *cert, *key);
    if (!errors_.empty()) return std::move(errors_);
    material_.cert_chain_pem = *cert;
    material_.private_key_pem = *key;
    return std::move(material_);
  }

 private:
  void Fail(const std::string& field, std::string got, std::string valid) {
    errors_.push_back({field, std::move(got), std::move(valid)});
  }

  std::optional<std::string> Read(const std::string& field, const std::string& path) {
    if (path.empty()) {
      Fail(field, "", "a file: certificate and key are needed together");
      return std::nullopt;
    }
    std::string why;
    auto bytes = ReadSmallFile(path, &why);
    if (!bytes) Fail(field, absl::StrCat(path, ": ", why), "a PEM file that can be read");
    return bytes;
  }

  void ReadClientCa(const std::string& path) {
    const auto pem = Read("tls.client_ca", path);
    if (!pem) return;
    if (ParseCertificates(*pem).empty()) {
      return Fail("tls.client_ca", absl::StrCat(path, ": no certificates"),
                  "a PEM file of the certificates of authorities");
    }
    material_.client_ca_pem = *pem;
  }

  void CheckPair(const TlsFiles& files, const std::string& cert, const std::string& key) {
    const std::vector<Certificate> chain = ParseCertificates(cert);
    const PrivateKey private_key = ParsePrivateKey(key);
    if (chain.empty()) {
      Fail("tls.cert", absl::StrCat(files.cert, ": no certificates"),
           "a PEM file, the server's certificate first");
    } else {
      CheckValidity(files.cert, *chain.front());
    }
    if (private_key == nullptr) {
      return Fail("tls.key", absl::StrCat(files.key, ": no private key"),
                  "a PEM file with a private key and without a passphrase");
    }
    if (!chain.empty() && X509_check_private_key(chain.front().get(), private_key.get()) != 1) {
      ERR_clear_error();
      Fail("tls.key", absl::StrCat(files.key, ": the key of another certificate"),
           absl::StrCat("the key of the first certificate in ", files.cert));
    }
  }

  void CheckValidity(const std::string& path, const X509& certificate) {
    material_.not_after_unix_s = UnixSecondsOf(X509_get0_notAfter(&certificate));
    material_.not_before_unix_s = UnixSecondsOf(X509_get0_notBefore(&certificate));
    if (validity_ == Validity::kAny) return;
    if (material_.not_after_unix_s < now_unix_s_) {
      Fail("tls.cert", absl::StrCat(path, ": expired on ", TimeText(material_.not_after_unix_s)),
           "a certificate that is valid now");
    } else if (material_.not_before_unix_s > now_unix_s_) {
      Fail("tls.cert",
           absl::StrCat(path, ": not valid before ", TimeText(material_.not_before_unix_s)),
           "a certificate that is valid now");
    }
  }

  const int64_t now_unix_s_;
  const Validity validity_;
  TlsMaterial material_;
  std::vector<FileError> errors_;
};

}  // namespace

std::variant<TlsMaterial, std::vector<FileError>> LoadTlsMaterial(const TlsFiles& files,
                                                                  int64_t now_unix_s,
                                                                  Validity validity) {
  return Loader(now_unix_s, validity).Load(files);
}

}  // namespace leaseplane::security
