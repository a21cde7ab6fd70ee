// SPDX-License-Identifier: Apache-2.0
//
// What may be asked for when a client is connected and when a slot is acquired. Plain values; each
// member has a default written here, so that designated initialisers name only what differs and no
// compiler warns about the rest.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "leaseplane/lost_lease.h"

namespace leaseplane {

// How the daemon learns that the holder of local leases is gone.
enum class Liveness {
  kProcess,  // when this process ends, or closes the session; whichever is first
  kTree,     // when no process has the session's descriptor open any more, as with flock(2):
             // children that inherit it keep the leases (Client::InheritableSessionFd)
};

struct SessionOptions {
  Liveness liveness = Liveness::kProcess;
};

// How targets other than `unix:` are spoken to. Files are PEM, and read again when they change.
struct TlsOptions {
  // Authorities one of which must have signed the daemon's certificate. Empty: the environment
  // variable LEASEPLANE_TLS_CA; without that too there is no TLS.
  std::string ca_file = {};
  // What this client shows of itself. Empty: LEASEPLANE_TLS_CERT and LEASEPLANE_TLS_KEY.
  std::string cert_file = {};
  std::string key_file = {};
};

struct ClientOptions {
  // -- callbacks. Called on a thread of the library, one at a time for one client. They may use the
  // library (release, acquire without waiting), must not block for long, must not throw, and must
  // not destroy the last copy of the client.
  //
  // A lease ended without a release; called exactly once for each.
  std::function<void(const LostLease&)> on_lost = {};
  // An operator asks for a slot back; called once for each lease. Remotely it is heard over a
  // stream, which knows a lease some tenths of a second after its grant, or at once when it is
  // opened again; leases that are not renewed (auto_renew, below) are not asked for.
  std::function<void(const RevokeRequest&)> on_revoke = {};
  // The daemon is about to stop. Leases are kept over its restart.
  std::function<void()> on_draining = {};

  // What the client calls itself: shown to operators; remotely also part of who the holder is. At
  // most 63 bytes of printable ASCII; the local path shows the first 47.
  std::string client_id = {};

  // Connect and OpenPool fail (kNoLocalPath) rather than use gRPC.
  bool require_local = false;
  // Never use shared memory, although the target would offer it.
  bool forbid_local = false;

  // Uid the daemon at a Unix socket may have besides root's and our own. Unset: the environment
  // variable LEASEPLANE_SERVER_UID, if there is one; a value that is no number is an error.
  std::optional<uint32_t> server_uid = {};

  // For targets that are not `unix:`. Where a daemon of this host would listen; it is used only if
  // it is the same one as the target's. Empty: /run/leaseplane/leaseplane.sock.
  std::string local_socket = {};

  TlsOptions tls = {};
  // File with a bearer token, sent with every call and read again when it changes; over TLS and
  // Unix sockets only. Empty: the environment variable LEASEPLANE_TOKEN_FILE, if there is one.
  std::string token_file = {};

  // Remote leases: asked for when Acquire says nothing. Zero: the pool's default. 1 s .. 24 h.
  absl::Duration default_ttl = absl::ZeroDuration();
  // Remote leases: renew in the background until released. If false a lease ends after one ttl.
  bool auto_renew = true;

  // Remote leases: of each pool keep so many that were released, so that the next Acquire needs no
  // call to the daemon. Zero: none. A lease that is kept goes back after `prefetch_idle`, and as
  // soon as the daemon says that somebody waits for a slot or an operator wants it. Until then it
  // is held, and counts against every bound of leases.
  //
  // A kept lease that is acquired again is the same lease: it has the same slot and the same
  // fencing token. The token tells this process from others, not its uses from each other; where
  // that matters ask with AcquireOptions::fresh. Pools with a max_duration are left out, since the
  // second user of a lease would have less of it.
  uint32_t prefetch = 0;
  absl::Duration prefetch_idle = absl::Seconds(1);  // more than 0

  // Bound of Connect and of OpenPool.
  absl::Duration connect_timeout = absl::Seconds(5);
  // How long the destruction of the last copy may wait for releases that are under way.
  absl::Duration shutdown_timeout = absl::Seconds(1);

  SessionOptions session = {};
};

struct AcquireOptions {
  // How long to wait for a slot. Zero: not at all. absl::InfiniteDuration(): as long as it takes.
  absl::Duration max_wait = absl::ZeroDuration();

  // The rest has no effect on the local path, where a lease lives with the process and no call is
  // ever repeated.

  // How long the lease lives without renewal. Zero: ClientOptions::default_ttl.
  absl::Duration ttl = absl::ZeroDuration();
  // Not a kept lease (ClientOptions::prefetch): one whose token is larger than all before it.
  bool fresh = false;
  // Shown with the lease; at most 512 bytes, encoded.
  std::map<std::string, std::string> metadata = {};
  // A UUID that makes this wish one and the same over processes and retries. Empty: the library
  // makes one for its own retries.
  std::string request_id = {};
};

}  // namespace leaseplane
