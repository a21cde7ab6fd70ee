// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/stub.h"

#include <google/protobuf/util/time_util.h>
#include <google/protobuf/wrappers.pb.h>
#include <grpcpp/generic/generic_stub.h>

#include <future>
#include <optional>

#include "absl/strings/str_cat.h"
#include "clients/cpp/remote/channel_security.h"
#include "clients/cpp/target.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "leaseplane/status.h"

namespace leaseplane::cli {
namespace {

constexpr char kErrorDomain[] = "leaseplane";

struct Details {
  Reason reason = Reason::kNone;
  std::string fields;  // "ttl: at least 1s; client_id: ..."
  std::optional<absl::Duration> retry_after;
};

void AddDetail(const google::protobuf::Any& any, Details* details) {
  google::rpc::ErrorInfo info;
  google::rpc::BadRequest bad_request;
  google::rpc::RetryInfo retry;
  if (any.UnpackTo(&info) && info.domain() == kErrorDomain) {
    details->reason = ReasonFromName(info.reason());
  } else if (any.UnpackTo(&bad_request)) {
    for (const auto& violation : bad_request.field_violations()) {
      absl::StrAppend(&details->fields, details->fields.empty() ? "" : "; ", violation.field(),
                      ": ", violation.description());
    }
  } else if (any.UnpackTo(&retry)) {
    details->retry_after = absl::Nanoseconds(
        google::protobuf::util::TimeUtil::DurationToNanoseconds(retry.retry_delay()));
  }
}

Details ParseDetails(const std::string& bytes) {
  Details details;
  google::rpc::Status status;
  if (!status.ParseFromString(bytes)) return details;
  for (const auto& any : status.details()) AddDetail(any, &details);
  return details;
}

}  // namespace

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const Details details = ParseDetails(status.error_details());
  std::string message = status.error_message();
  // The fields say all there is to say about a bad request.
  if (!details.fields.empty()) message = details.fields;
  // Nothing here cancels a call: the other end did, as a daemon that stops does to what it has not
  // read yet.
  if (details.reason == Reason::kNone && status.error_code() == grpc::StatusCode::CANCELLED) {
    return MakeStatus(
        Reason::kOutcomeUnknown,
        "the daemon dropped the call, which may have been carried out; it is stopping");
  }
  if (details.reason == Reason::kNone) {
    return absl::Status(static_cast<absl::StatusCode>(status.error_code()), message);
  }
  if (details.retry_after.has_value()) {
    return MakeStatus(details.reason, message, *details.retry_after);
  }
  return MakeStatus(details.reason, message);
}

Daemon::Daemon(std::shared_ptr<grpc::Channel> channel, absl::Duration call_timeout)
    : channel_(std::move(channel)),
      leases_(v1::LeaseService::NewStub(channel_)),
      admin_(v1::AdminService::NewStub(channel_)),
      call_timeout_(call_timeout) {}

absl::StatusOr<Daemon> Daemon::Dial(const std::string& server, absl::Duration call_timeout,
                                    const TlsOptions& tls, const std::string& token_file) {
  const absl::StatusOr<internal::Target> target = internal::ParseTarget(server);
  if (!target.ok()) return target.status();
  const auto credentials = internal::MakeChannelCredentials(target->grpc_target, tls, token_file);
  if (!credentials.ok()) return credentials.status();
  return Daemon(grpc::CreateChannel(target->grpc_target, *credentials), call_timeout);
}

absl::StatusOr<bool> Daemon::IsServing(const std::string& service) {
  // grpc.health.v1's request is one string, its response one enum, both field 1: on the wire they
  // are what these wrappers are, and gRPC ships no generated code for them.
  using Request = google::protobuf::StringValue;
  using Response = google::protobuf::Int32Value;
  constexpr int kServing = 1;

  grpc::TemplatedGenericStub<Request, Response> stub(channel_);
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + call_timeout_));
  Request request;
  request.set_value(service);
  Response response;
  std::promise<grpc::Status> done;
  stub.UnaryCall(&context, "/grpc.health.v1.Health/Check", grpc::StubOptions(), &request, &response,
                 [&done](grpc::Status status) { done.set_value(std::move(status)); });
  const grpc::Status status = done.get_future().get();
  if (!status.ok()) return FromGrpc(status);
  return response.value() == kServing;
}

}  // namespace leaseplane::cli
