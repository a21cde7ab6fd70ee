// SPDX-License-Identifier: Apache-2.0
//
// UnaryReply: the answer to one unary call, given exactly once. ServeUnary: a unary method as a
// function from request to reply.
//
// Owner: shared by whoever may answer; the last one to let go without an answer makes it INTERNAL,
// so no path can leave a call open. Threads: any; the first answer wins, later ones do nothing.
// Nothing of the call may be touched after its answer.
#pragma once

#include <google/protobuf/message_lite.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string_view>
#include <utility>

#include "server/rpc/call_environment.h"
#include "server/rpc/request_parser.h"
#include "server/rpc/scratch_arena.h"
#include "server/rpc/status_map.h"

namespace leaseplane::rpc {

class UnaryReply {
 public:
  // `method` is a literal.
  UnaryReply(grpc::CallbackServerContext* context, grpc::ByteBuffer* response,
             CallObserver& observer, std::string_view method)
      : reactor_(context->DefaultReactor()),
        response_(response),
        observer_(observer),
        method_(method),
        started_(std::chrono::steady_clock::now()) {}
  ~UnaryReply() { Fail(engine::Reason::kInternal, "the call was dropped"); }
  UnaryReply(const UnaryReply&) = delete;
  UnaryReply& operator=(const UnaryReply&) = delete;

  void Succeed(const google::protobuf::MessageLite& response);
  void Fail(const grpc::Status& status);
  void Fail(engine::Reason reason, std::string_view text);

  grpc::ServerUnaryReactor* reactor() const { return reactor_; }

 private:
  bool Claim() { return !is_answered_.exchange(true, std::memory_order_acq_rel); }
  void Finish(const grpc::Status& status);

  grpc::ServerUnaryReactor* const reactor_;
  grpc::ByteBuffer* const response_;
  CallObserver& observer_;
  const std::string_view method_;
  const std::chrono::steady_clock::time_point started_;
  std::atomic<bool> is_answered_{false};
};

using UnaryReplyPtr = std::shared_ptr<UnaryReply>;

// Parses the request and runs `handler(const Request&, UnaryReplyPtr)`, which answers now or later.
template <class Request, class Handler>
grpc::ServerUnaryReactor* ServeUnary(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* bytes, grpc::ByteBuffer* response,
                                     CallObserver& observer, std::string_view method,
                                     Handler&& handler) {
  auto reply = std::make_shared<UnaryReply>(context, response, observer, method);
  grpc::ServerUnaryReactor* const reactor = reply->reactor();
  const bool is_sound = RunGuarded(observer, method, [&] {
    ScratchArena<1024> arena;
    auto* request = arena.New<Request>();
    const auto violations = ParseRequest(*bytes, request);
    if (!violations.empty()) return reply->Fail(InvalidArgument(violations));
    std::forward<Handler>(handler)(std::as_const(*request), reply);
  });
  if (!is_sound) reply->Fail(engine::Reason::kInternal, "internal error");
  return reactor;
}

}  // namespace leaseplane::rpc
