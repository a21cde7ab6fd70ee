// SPDX-License-Identifier: Apache-2.0
#include "server/security/credentials_watch.h"

#include <chrono>
#include <iterator>
#include <variant>

#include "absl/strings/str_cat.h"
#include "server/obs/clock.h"
#include "server/obs/log.h"
#include "server/security/principal.h"

namespace leaseplane::security {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;

// Also of files that cannot be read, so that their coming back is a change.
std::string DigestOf(std::initializer_list<const std::string*> paths) {
  std::string all;
  for (const std::string* path : paths) {
    std::string why;
    const auto bytes = path->empty() ? std::string() : ReadSmallFile(*path, &why);
    absl::StrAppend(&all, Sha256Hex(bytes.value_or(why)), bytes ? "+" : "-");
  }
  return Sha256Hex(all);
}

int64_t UnixNowS() { return obs::UnixNowNs() / kSecondNs; }

}  // namespace

std::unique_ptr<CredentialsWatch> CredentialsWatch::Start(CredentialFiles files,
                                                          int64_t interval_ns,
                                                          std::vector<FileError>* errors) {
  std::unique_ptr<CredentialsWatch> watch(new CredentialsWatch(std::move(files)));
  std::vector<FileError> found = watch->ReadAtStart();
  if (!found.empty()) {
    errors->insert(errors->end(), std::make_move_iterator(found.begin()),
                   std::make_move_iterator(found.end()));
    return nullptr;
  }
  watch->thread_ = std::thread([raw = watch.get(), interval_ns] { raw->Run(interval_ns); });
  return watch;
}

std::vector<FileError> CredentialsWatch::ReadAtStart() {
  obs::MutexLock checking(&check_mu_);
  obs::MutexLock lock(&mu_);
  std::vector<FileError> errors;
  if (!files_.tls.empty()) {
    seen_tls_.used = DigestOf({&files_.tls.cert, &files_.tls.key, &files_.tls.client_ca});
    auto loaded = LoadTlsMaterial(files_.tls, UnixNowS(), Validity::kAny);
    if (auto* material = std::get_if<TlsMaterial>(&loaded)) {
      if (material->not_after_unix_s < UnixNowS()) {
        obs::Log(obs::Level::kError, "the TLS certificate has expired",
                 {{"file", files_.tls.cert}});
      }
      figures_.certificate_not_before_unix_s = material->not_before_unix_s;
      figures_.certificate_not_after_unix_s = material->not_after_unix_s;
      tls_ = std::make_shared<const TlsMaterial>(std::move(*material));
    } else {
      errors = std::get<std::vector<FileError>>(std::move(loaded));
    }
  }
  if (!files_.tokens.empty()) {
    seen_tokens_.used = DigestOf({&files_.tokens});
    tokens_ = std::make_shared<const TokenTable>(ReadTokenFile(files_.tokens, &errors));
  }
  return errors;
}

CredentialsWatch::~CredentialsWatch() {
  {
    obs::MutexLock lock(&mu_);
    stopping_ = true;
  }
  stop_changed_.NotifyAll();
  if (thread_.joinable()) thread_.join();
}

CredentialsWatch::TlsPtr CredentialsWatch::tls() const {
  obs::MutexLock lock(&mu_);
  return tls_;
}

CredentialsWatch::TokensPtr CredentialsWatch::tokens() const {
  obs::MutexLock lock(&mu_);
  return tokens_;
}

obs::CredentialFigures CredentialsWatch::figures() const {
  obs::MutexLock lock(&mu_);
  return figures_;
}

void CredentialsWatch::Run(int64_t interval_ns) {
  while (true) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::nanoseconds(interval_ns);
    {
      obs::MutexLock lock(&mu_);
      while (!stopping_ && std::chrono::steady_clock::now() < end) {
        stop_changed_.WaitUntil(&mu_, end);
      }
      if (stopping_) return;
    }
    Check();
  }
}

void CredentialsWatch::Check() {
  obs::MutexLock checking(&check_mu_);
  if (!files_.tls.empty()) CheckTls();
  if (!files_.tokens.empty()) CheckTokens();
}

// If so, whatever was bad meanwhile is over.
bool CredentialsWatch::IsInUse(const std::string& digest, Seen* seen) {
  if (digest != seen->used) return false;
  seen->bad.clear();
  seen->is_bad_told = false;
  return true;
}

void CredentialsWatch::CheckTls() {
  std::string digest = DigestOf({&files_.tls.cert, &files_.tls.key, &files_.tls.client_ca});
  if (IsInUse(digest, &seen_tls_)) return;
  auto loaded = LoadTlsMaterial(files_.tls, UnixNowS());
  if (const auto* errors = std::get_if<std::vector<FileError>>(&loaded)) {
    return Failed(std::move(digest), *errors, &seen_tls_);
  }
  auto material = std::make_shared<const TlsMaterial>(std::get<TlsMaterial>(std::move(loaded)));
  {
    obs::MutexLock lock(&mu_);
    figures_.certificate_not_before_unix_s = material->not_before_unix_s;
    figures_.certificate_not_after_unix_s = material->not_after_unix_s;
    tls_ = std::move(material);
  }
  Took(std::move(digest), "TLS certificate", &seen_tls_);
}

void CredentialsWatch::CheckTokens() {
  std::string digest = DigestOf({&files_.tokens});
  if (IsInUse(digest, &seen_tokens_)) return;
  std::vector<FileError> errors;
  auto table = std::make_shared<const TokenTable>(ReadTokenFile(files_.tokens, &errors));
  if (!errors.empty()) return Failed(std::move(digest), errors, &seen_tokens_);
  {
    obs::MutexLock lock(&mu_);
    tokens_ = std::move(table);
  }
  Took(std::move(digest), "tokens", &seen_tokens_);
}

void CredentialsWatch::Took(std::string digest, const char* what, Seen* seen) {
  *seen = Seen{std::move(digest), "", false};
  {
    obs::MutexLock lock(&mu_);
    ++figures_.reloads;
  }
  obs::Log(obs::Level::kInfo, "credentials read again", {{"what", what}});
}

void CredentialsWatch::Failed(std::string digest, const std::vector<FileError>& errors,
                              Seen* seen) {
  if (digest != seen->bad) {
    seen->bad = std::move(digest);
    seen->is_bad_told = false;
    return;
  }
  if (seen->is_bad_told) return;
  seen->is_bad_told = true;
  {
    obs::MutexLock lock(&mu_);
    ++figures_.reload_failures;
  }
  for (const FileError& error : errors) {
    obs::Log(obs::Level::kError, "new credentials are not used, the old ones stay",
             {{"field", error.field}, {"got", error.got}, {"valid", error.valid}});
  }
}

}  // namespace leaseplane::security
