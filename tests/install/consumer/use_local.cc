// SPDX-License-Identifier: Apache-2.0
// Every public header, and a program that needs no gRPC.
#include <leaseplane/client.h>
#include <leaseplane/lease.h>
#include <leaseplane/lost_lease.h>
#include <leaseplane/options.h>
#include <leaseplane/pool.h>
#include <leaseplane/status.h>

#include <iostream>

int main() {
  using leaseplane::Client;
  using leaseplane::Reason;
  using leaseplane::ReasonOf;
  static_assert(sizeof(leaseplane::Lease) <= 32);
  const auto nobody = Client::Connect("unix:///nonexistent/leaseplane.sock");
  const auto remote = Client::Connect("127.0.0.1:1");
  std::cout << nobody.status() << "\n" << remote.status() << "\n";
  const bool is_right = ReasonOf(nobody.status()) == Reason::kUnreachable &&
                        ReasonOf(remote.status()) == Reason::kNoRemotePath;
  return is_right ? 0 : 1;
}

// Never called: what is inlined has to link.
int Work(const leaseplane::Pool& pool) {
  if (leaseplane::Lease lease = pool.TryAcquire()) return static_cast<int>(lease.slot());
  return pool.Use({.max_wait = absl::Seconds(1)}, [](const leaseplane::Lease&) {}).ok() ? 0 : 1;
}
