// SPDX-License-Identifier: Apache-2.0
//
// echo_server: the floor that leaseplaned is measured against. The same service, messages, channel
// arguments and build, but nobody is asked anything: requests are parsed, answers are filled with
// what a lease looks like, and sent.
//
//   echo_server --api callback|async --listen unix:/run/x.sock   prints "ready" and serves until
//   killed
#include <absl/synchronization/mutex.h>
#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "leaseplane/v1/lease_service.grpc.pb.h"

namespace leaseplane::bench {
namespace {

constexpr char kName[] = "pools/bench/leases/112233445566778899aabbccddeeff00";

void SetDuration(google::protobuf::Duration* duration) {
  duration->set_seconds(29);
  duration->set_nanos(123'456'789);
}

void Fill(const v1::AcquireLeaseRequest& request, v1::AcquireLeaseResponse* response) {
  v1::Lease& lease = *response->mutable_lease();
  lease.set_name(kName);
  lease.set_pool(request.parent());
  lease.set_slot_index(1234);
  lease.set_fencing_token(123'456'789'012'345);
  lease.set_state(v1::Lease::STATE_ACTIVE);
  lease.set_principal("anonymous");
  lease.set_client_id(request.client_id());
  lease.set_path(v1::LEASE_PATH_REMOTE);
  *lease.mutable_ttl() = request.ttl();
  lease.mutable_acquire_time()->set_seconds(1'700'000'000);
  lease.mutable_acquire_time()->set_nanos(123'456'789);
  lease.mutable_expire_time()->set_seconds(1'700'000'030);
  lease.mutable_expire_time()->set_nanos(123'456'789);
  SetDuration(response->mutable_remaining_duration());
  SetDuration(response->mutable_queued_duration());
  SetDuration(response->mutable_renew_interval());
}

void Fill(const v1::LeaseStreamRequest& request, v1::LeaseStreamResponse* response) {
  for (const auto& operation : request.operations()) {
    auto* result = response->add_results();
    result->set_sequence(operation.sequence());
    if (operation.has_release()) {
      result->mutable_released();
      continue;
    }
    auto* acquired = result->mutable_acquired();
    acquired->set_name(kName);
    acquired->set_slot_index(1234);
    acquired->set_fencing_token(123'456'789'012'345);
    SetDuration(acquired->mutable_remaining_duration());
    SetDuration(acquired->mutable_queued_duration());
    SetDuration(acquired->mutable_renew_interval());
  }
}

void Fill(const v1::ReleaseLeaseRequest&, v1::ReleaseLeaseResponse*) {}

// -- callback API; the stream is served so in both

class EchoStream final
    : public grpc::ServerBidiReactor<v1::LeaseStreamRequest, v1::LeaseStreamResponse> {
 public:
  EchoStream() { StartRead(&request_); }
  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    response_.Clear();
    Fill(request_, &response_);
    StartWrite(&response_);
  }
  void OnWriteDone(bool ok) override {
    if (ok)
      StartRead(&request_);
    else
      Finish(grpc::Status::CANCELLED);
  }
  void OnDone() override { delete this; }

 private:
  v1::LeaseStreamRequest request_;
  v1::LeaseStreamResponse response_;
};

class CallbackEcho final : public v1::LeaseService::CallbackService {
 public:
  grpc::ServerUnaryReactor* AcquireLease(grpc::CallbackServerContext* context,
                                         const v1::AcquireLeaseRequest* request,
                                         v1::AcquireLeaseResponse* response) override {
    return Answer(context, *request, response);
  }
  grpc::ServerUnaryReactor* ReleaseLease(grpc::CallbackServerContext* context,
                                         const v1::ReleaseLeaseRequest* request,
                                         v1::ReleaseLeaseResponse* response) override {
    return Answer(context, *request, response);
  }
  grpc::ServerBidiReactor<v1::LeaseStreamRequest, v1::LeaseStreamResponse>* LeaseStream(
      grpc::CallbackServerContext*) override {
    return new EchoStream();
  }

 private:
  template <class Request, class Response>
  static grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context,
                                          const Request& request, Response* response) {
    Fill(request, response);
    auto* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

// -- completion queues: one for each core, each with a thread of its own that does all of a call

using AsyncEcho =
    v1::LeaseService::WithAsyncMethod_AcquireLease<v1::LeaseService::WithAsyncMethod_ReleaseLease<
        v1::LeaseService::WithCallbackMethod_LeaseStream<v1::LeaseService::Service>>>;

class AsyncService final : public AsyncEcho {
 public:
  grpc::ServerBidiReactor<v1::LeaseStreamRequest, v1::LeaseStreamResponse>* LeaseStream(
      grpc::CallbackServerContext*) override {
    return new EchoStream();
  }
};

class Event {
 public:
  virtual ~Event() = default;
  virtual void Happened(bool ok) = 0;
};

template <class Request, class Response>
class AsyncCall final : public Event {
 public:
  using Writer = grpc::ServerAsyncResponseWriter<Response>;
  using Await = std::function<void(grpc::ServerContext*, Request*, Writer*, void* tag)>;

  explicit AsyncCall(Await await) : await_(std::move(await)) { Next(); }
  void Happened(bool ok) override {
    if (is_answered_) return Next();
    if (!ok) return;
    is_answered_ = true;
    Fill(request_, &response_);
    writer_->Finish(response_, grpc::Status::OK, this);
  }

 private:
  void Next() {
    is_answered_ = false;
    request_.Clear();
    response_.Clear();
    writer_.reset();
    context_ = std::make_unique<grpc::ServerContext>();
    writer_ = std::make_unique<Writer>(context_.get());
    await_(context_.get(), &request_, writer_.get(), this);
  }

  const Await await_;
  bool is_answered_ = false;
  Request request_;
  Response response_;
  std::unique_ptr<grpc::ServerContext> context_;
  std::unique_ptr<Writer> writer_;
};

void ServeQueue(AsyncService* service, grpc::ServerCompletionQueue* queue) {
  constexpr int kCallsAwaited = 128;
  std::vector<std::unique_ptr<Event>> calls;
  for (int i = 0; i < kCallsAwaited; ++i) {
    using Acquire = AsyncCall<v1::AcquireLeaseRequest, v1::AcquireLeaseResponse>;
    calls.push_back(
        std::make_unique<Acquire>([=](auto* context, auto* request, auto* writer, void* tag) {
          service->RequestAcquireLease(context, request, writer, queue, queue, tag);
        }));
    using Release = AsyncCall<v1::ReleaseLeaseRequest, v1::ReleaseLeaseResponse>;
    calls.push_back(
        std::make_unique<Release>([=](auto* context, auto* request, auto* writer, void* tag) {
          service->RequestReleaseLease(context, request, writer, queue, queue, tag);
        }));
  }
  void* tag = nullptr;
  bool ok = false;
  while (queue->Next(&tag, &ok)) static_cast<Event*>(tag)->Happened(ok);
}

int Main(int argc, char** argv) {
  std::string api = "callback", listen;
  int queue_count = 0;
  CLI::App app("Echo of a LeaseService");
  app.add_option("--api", api)->check(CLI::IsMember({"callback", "async"}));
  app.add_option("--listen", listen)->required();
  app.add_option("--queues", queue_count, "0: one for each core");
  CLI11_PARSE(app, argc, argv);

  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  grpc::ServerBuilder builder;
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  int port = 0;
  builder.AddListeningPort(listen, grpc::InsecureServerCredentials(), &port);
  CallbackEcho callback_service;
  AsyncService async_service;
  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues;
  if (api == "callback") {
    builder.RegisterService(&callback_service);
  } else {
    builder.RegisterService(&async_service);
    if (queue_count == 0) queue_count = static_cast<int>(std::thread::hardware_concurrency());
    for (int i = 0; i < queue_count; ++i) queues.push_back(builder.AddCompletionQueue());
  }
  const auto server = builder.BuildAndStart();
  if (server == nullptr) return 1;
  std::vector<std::thread> threads;
  for (auto& queue : queues) threads.emplace_back(ServeQueue, &async_service, queue.get());
  std::printf("ready port=%d\n", port);
  std::fflush(stdout);
  server->Wait();
  return 0;
}

}  // namespace
}  // namespace leaseplane::bench

int main(int argc, char** argv) { return leaseplane::bench::Main(argc, argv); }
