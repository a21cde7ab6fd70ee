// SPDX-License-Identifier: Apache-2.0
//
// CredentialsWatch: the TLS material and the tokens in use, read again when their files change.
// Files are compared by content, so it does not matter how they are replaced: in place, by rename,
// or by a symbolic link above them that is turned to another directory. What is not sound as a
// whole is not taken: the old material stays in use. Two looks in a row at the same bad content are
// a failure, logged and counted once; one alone may be a change that is half done.
//
// Owner: the composition root; outlives the server. Threads: any; one of its own reads the files
// every `interval`. Errors: those of Start.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "server/obs/metrics/figures.h"
#include "server/obs/mutex.h"
#include "server/security/file_error.h"
#include "server/security/tls_material.h"
#include "server/security/tokens.h"

namespace leaseplane::security {

struct CredentialFiles {
  TlsFiles tls;        // may be empty
  std::string tokens;  // may be empty
};

class CredentialsWatch {
 public:
  using TlsPtr = std::shared_ptr<const TlsMaterial>;
  using TokensPtr = std::shared_ptr<const TokenTable>;

  // Reads the files; `errors` says what is wrong, and then there is no watch. A certificate that
  // has expired is taken with a warning: the daemon refuses it at its start, but a worker that
  // starts again under it must not end a daemon that served.
  static std::unique_ptr<CredentialsWatch> Start(CredentialFiles files, int64_t interval_ns,
                                                 std::vector<FileError>* errors);
  ~CredentialsWatch();
  CredentialsWatch(const CredentialsWatch&) = delete;
  CredentialsWatch& operator=(const CredentialsWatch&) = delete;

  TlsPtr tls() const;        // null: no TLS. Another pointer after every change.
  TokensPtr tokens() const;  // null: no tokens
  obs::CredentialFigures figures() const;

  // Looks at the files now, as the thread does.
  void Check();

 private:
  explicit CredentialsWatch(CredentialFiles files) : files_(std::move(files)) {}
  std::vector<FileError> ReadAtStart();
  void Run(int64_t interval_ns);

  // What became of the contents of one set of files; contents are known by their digests.
  struct Seen {
    std::string used;
    std::string bad;
    bool is_bad_told = false;
  };
  void CheckTls() ABSL_EXCLUSIVE_LOCKS_REQUIRED(check_mu_);
  void CheckTokens() ABSL_EXCLUSIVE_LOCKS_REQUIRED(check_mu_);
  static bool IsInUse(const std::string& digest, Seen* seen);
  void Took(std::string digest, const char* what, Seen* seen);
  void Failed(std::string digest, const std::vector<FileError>& errors, Seen* seen);

  const CredentialFiles files_;
  obs::Mutex check_mu_;  // one Check at a time
  Seen seen_tls_ ABSL_GUARDED_BY(check_mu_);
  Seen seen_tokens_ ABSL_GUARDED_BY(check_mu_);

  mutable obs::Mutex mu_;
  obs::Wake stop_changed_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  TlsPtr tls_ ABSL_GUARDED_BY(mu_);
  TokensPtr tokens_ ABSL_GUARDED_BY(mu_);
  obs::CredentialFigures figures_ ABSL_GUARDED_BY(mu_);
  std::thread thread_;
};

}  // namespace leaseplane::security
