// SPDX-License-Identifier: Apache-2.0
//
// Daemon: one gRPC channel to the daemon, with deadlines on every call and statuses as the client
// library makes them: an absl::Status with a Reason, its message naming the fields at fault.
//
// Ownership: move-only owner of the channel. Threads: one.
// Errors: kInvalidArgument from Dial; whatever the daemon says from calls; UNAVAILABLE without a
// reason if there is no daemon.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "leaseplane/options.h"
#include "leaseplane/v1/admin_service.grpc.pb.h"
#include "leaseplane/v1/lease_service.grpc.pb.h"

namespace leaseplane::cli {

// What a gRPC status says, `google.rpc` details included.
absl::Status FromGrpc(const grpc::Status& status);

class Daemon {
 public:
  // Does not connect yet. `server` empty: LEASEPLANE_SERVER, else the default socket.
  static absl::StatusOr<Daemon> Dial(const std::string& server, absl::Duration call_timeout,
                                     const TlsOptions& tls = {},
                                     const std::string& token_file = {});

  v1::LeaseService::Stub& leases() { return *leases_; }
  v1::AdminService::Stub& admin() { return *admin_; }

  // One call with the daemon's timeout, plus `extra` for a call that is asked to wait.
  template <class Stub, class Request, class Response>
  absl::StatusOr<Response> Call(
      Stub& stub, grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
      const Request& request, absl::Duration extra = absl::ZeroDuration()) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + call_timeout_ + extra));
    Response response;
    const grpc::Status status = (stub.*method)(&context, request, &response);
    if (!status.ok()) return FromGrpc(status);
    return response;
  }

  // All pages of a list, one after the other: `merge(page)` for each.
  template <class Stub, class Request, class Response, class Merge>
  absl::Status CallForPages(Stub& stub,
                            grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                         Response*),
                            Request request, Merge merge) {
    request.set_page_size(kPageSize);
    do {
      absl::StatusOr<Response> page = Call(stub, method, request);
      if (!page.ok()) return page.status();
      merge(*page);
      request.set_page_token(page->next_page_token());
    } while (!request.page_token().empty());
    return absl::OkStatus();
  }

  // grpc.health.v1 Check. True if `service` is SERVING.
  absl::StatusOr<bool> IsServing(const std::string& service);

 private:
  static constexpr int kPageSize = 1000;

  Daemon(std::shared_ptr<grpc::Channel> channel, absl::Duration call_timeout);

  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::LeaseService::Stub> leases_;
  std::unique_ptr<v1::AdminService::Stub> admin_;
  absl::Duration call_timeout_;
};

}  // namespace leaseplane::cli
