// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/unary_reply.h"

namespace leaseplane::rpc {

void UnaryReply::Succeed(const google::protobuf::MessageLite& response) {
  if (!Claim()) return;
  *response_ = SerializeReply(response);
  Finish(grpc::Status::OK);
}

void UnaryReply::Fail(const grpc::Status& status) {
  if (Claim()) Finish(status);
}

void UnaryReply::Fail(engine::Reason reason, std::string_view text) {
  if (Claim()) Finish(ToStatus(reason, text));
}

void UnaryReply::Finish(const grpc::Status& status) {
  observer_.CallEnded(method_, CodeName(status.error_code()));
  const std::chrono::nanoseconds took = std::chrono::steady_clock::now() - started_;
  observer_.CallTook(method_, took.count());
  reactor_->Finish(status);
}

}  // namespace leaseplane::rpc
