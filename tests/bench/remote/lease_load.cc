// SPDX-License-Identifier: Apache-2.0
//
// lease_load: acquires and releases as fast as a LeaseService answers, with a fixed number of
// messages in flight, over unary calls or one LeaseStream. One thread, one completion queue, one
// connection, so that the server is what limits it.
//
//   lease_load --target unix:/run/x.sock --in-flight 64 --seconds 2 [--batch 16] [--stream]
//              [--pool bench] [--server-pid N ...]
#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "leaseplane/v1/lease_service.grpc.pb.h"
#include "tests/bench/remote/measure.h"

namespace leaseplane::bench {
namespace {

struct Options {
  std::string target, pool = "bench";
  int in_flight = 1, batch = 1;
  double seconds = 1;
  bool is_stream = false;
  std::vector<int> server_pids;
};

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "lease_load: %s\n", what.c_str());
  std::exit(1);
}

// Somebody the completion queue tells of an event.
class Event {
 public:
  virtual ~Event() = default;
  virtual void Happened(bool ok) = 0;
};

struct World {
  const Options& options;
  v1::LeaseService::Stub& stub;
  grpc::CompletionQueue& queue;
  Measure& measure;
  bool is_over = false;
  int open_count = 0;  // events still to come
};

void SetAcquire(const World& world, v1::AcquireLeaseRequest* request) {
  request->set_parent("pools/" + world.options.pool);
  request->mutable_ttl()->set_seconds(30);
}

// One caller: acquires, releases what it got, and again.
class UnaryCaller final : public Event {
 public:
  explicit UnaryCaller(World& world) : world_(world) { SetAcquire(world, &acquire_); }

  void Start() {
    if (world_.is_over && !holds_) return;
    ++world_.open_count;
    sent_ns_ = NowNs();
    context_ = std::make_unique<grpc::ClientContext>();
    if (holds_) {
      release_call_ = world_.stub.AsyncReleaseLease(context_.get(), release_, &world_.queue);
      release_call_->Finish(&released_, &status_, this);
    } else {
      acquire_call_ = world_.stub.AsyncAcquireLease(context_.get(), acquire_, &world_.queue);
      acquire_call_->Finish(&acquired_, &status_, this);
    }
  }
  void Happened(bool) override {
    --world_.open_count;
    if (!status_.ok()) Fail(status_.error_message());
    world_.measure.Operation(NowNs() - sent_ns_);
    if (holds_) {
      world_.measure.Pairs(1);
    } else {
      release_.set_name(acquired_.lease().name());
      release_.set_fencing_token(acquired_.lease().fencing_token());
    }
    holds_ = !holds_;
    Start();
  }

 private:
  World& world_;
  v1::AcquireLeaseRequest acquire_;
  v1::AcquireLeaseResponse acquired_;
  v1::ReleaseLeaseRequest release_;
  v1::ReleaseLeaseResponse released_;
  grpc::Status status_;
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v1::AcquireLeaseResponse>> acquire_call_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v1::ReleaseLeaseResponse>> release_call_;
  bool holds_ = false;
  int64_t sent_ns_ = 0;
};

// One stream; each lane sends a message of acquires, then one of releases of what it got.
class StreamCaller {
 public:
  explicit StreamCaller(World& world) : world_(world), lanes_(world.options.in_flight) {
    for (Lane& lane : lanes_) lane.leases.resize(world.options.batch);
    world_.open_count += 2;  // the stream's beginning and its reads
    stream_ = world_.stub.AsyncLeaseStream(&context_, &world_.queue, &begun_);
  }

 private:
  struct Lane {
    std::vector<v1::LeaseStreamResponse::Acquired> leases;
    int missing = 0;
    bool holds = false;
    int64_t sent_ns = 0;
  };
  template <void (StreamCaller::*kMethod)(bool)>
  class Tag final : public Event {
   public:
    explicit Tag(StreamCaller* owner) : owner_(owner) {}
    void Happened(bool ok) override { (owner_->*kMethod)(ok); }

   private:
    StreamCaller* const owner_;
  };

  void Begun(bool ok) {
    --world_.open_count;
    if (!ok) Fail("the stream did not begin");
    for (size_t lane = 0; lane < lanes_.size(); ++lane) Send(lane);
    stream_->Read(&response_, &read_);
  }
  // Sequences number the lane and the place within it.
  void Send(size_t number) {
    Lane& lane = lanes_[number];
    if (world_.is_over && !lane.holds) return Finish();
    const int batch = world_.options.batch;
    v1::LeaseStreamRequest request;
    for (int i = 0; i < batch; ++i) {
      auto* operation = request.add_operations();
      operation->set_sequence(static_cast<int64_t>(number) * batch + i);
      if (lane.holds) {
        operation->mutable_release()->set_name(lane.leases[i].name());
        operation->mutable_release()->set_fencing_token(lane.leases[i].fencing_token());
      } else {
        SetAcquire(world_, operation->mutable_acquire());
      }
    }
    lane.missing = batch;
    lane.sent_ns = NowNs();
    outgoing_.push_back(std::move(request));
    if (outgoing_.size() == 1) Write();
  }
  void Write() {
    ++world_.open_count;
    stream_->Write(outgoing_.front(), &written_);
  }
  void Written(bool ok) {
    --world_.open_count;
    if (!ok) Fail("a write failed");
    outgoing_.pop_front();
    if (!outgoing_.empty())
      Write();
    else if (done_count_ == lanes_.size())
      context_.TryCancel();
  }
  void Read(bool ok) {
    if (!ok) {
      --world_.open_count;
      if (done_count_ != lanes_.size()) Fail("the stream ended");
      return;
    }
    for (auto& result : *response_.mutable_results()) Take(result);
    stream_->Read(&response_, &read_);
  }
  void Take(v1::LeaseStreamResponse::Result& result) {
    const auto batch = static_cast<size_t>(world_.options.batch);
    const auto number = static_cast<size_t>(result.sequence()) / batch;
    Lane& lane = lanes_[number];
    if (result.has_error()) Fail(result.error().message());
    if (result.has_acquired()) {
      lane.leases[static_cast<size_t>(result.sequence()) % batch].Swap(result.mutable_acquired());
    }
    if (--lane.missing != 0) return;
    world_.measure.Operation(NowNs() - lane.sent_ns);
    if (lane.holds) world_.measure.Pairs(world_.options.batch);
    lane.holds = !lane.holds;
    Send(number);
  }
  void Finish() {
    if (++done_count_ == lanes_.size() && outgoing_.empty()) context_.TryCancel();
  }

  World& world_;
  std::vector<Lane> lanes_;
  grpc::ClientContext context_;
  Tag<&StreamCaller::Begun> begun_{this};
  Tag<&StreamCaller::Written> written_{this};
  Tag<&StreamCaller::Read> read_{this};
  std::unique_ptr<grpc::ClientAsyncReaderWriter<v1::LeaseStreamRequest, v1::LeaseStreamResponse>>
      stream_;
  v1::LeaseStreamResponse response_;
  std::deque<v1::LeaseStreamRequest> outgoing_;
  size_t done_count_ = 0;
};

void Run(World& world) {
  std::vector<std::unique_ptr<UnaryCaller>> callers;
  std::unique_ptr<StreamCaller> stream;
  if (world.options.is_stream) {
    stream = std::make_unique<StreamCaller>(world);
  } else {
    for (int i = 0; i < world.options.in_flight; ++i) {
      callers.push_back(std::make_unique<UnaryCaller>(world));
      callers.back()->Start();
    }
  }
  void* tag = nullptr;
  bool ok = false;
  while (world.open_count != 0 && world.queue.Next(&tag, &ok)) {
    world.is_over = world.measure.IsOver(NowNs());
    static_cast<Event*>(tag)->Happened(ok);
  }
}

int Main(int argc, char** argv) {
  Options options;
  CLI::App app("Load on a LeaseService");
  app.add_option("--target", options.target)->required();
  app.add_option("--pool", options.pool);
  app.add_option("--in-flight", options.in_flight);
  app.add_option("--batch", options.batch);
  app.add_option("--seconds", options.seconds);
  app.add_flag("--stream", options.is_stream);
  app.add_option("--server-pid", options.server_pids);
  CLI11_PARSE(app, argc, argv);

  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  auto channel =
      grpc::CreateCustomChannel(options.target, grpc::InsecureChannelCredentials(), arguments);
  if (!channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(20))) {
    Fail("no server at " + options.target);
  }
  auto stub = v1::LeaseService::NewStub(channel);
  grpc::CompletionQueue queue;
  Measure measure(options.seconds, options.server_pids);
  World world{options, *stub, queue, measure};
  Run(world);
  measure.Print();
  return 0;
}

}  // namespace
}  // namespace leaseplane::bench

int main(int argc, char** argv) { return leaseplane::bench::Main(argc, argv); }
