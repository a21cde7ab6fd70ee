// SPDX-License-Identifier: Apache-2.0
//
// etcd_load: lock and unlock as fast as etcd answers, with a fixed number of callers on one
// connection. Each caller has an etcd lease from the start and keeps it, which is kind to etcd.
//
//   etcd_load --method lock|txn --address 127.0.0.1:2379 --in-flight 64 --seconds 2
//             [--server-pid N ...]
//
// lock: the v3lock service. txn: put a key under the lease if there is none; delete it if the
// value is one's own.
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "tests/bench/remote/etcd/kv.grpc.pb.h"
#include "tests/bench/remote/etcd/lock.grpc.pb.h"
#include "tests/bench/remote/measure.h"

namespace leaseplane::bench {
namespace {

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "etcd_load: %s\n", what.c_str());
  std::exit(1);
}

struct World {
  grpc::CompletionQueue queue;
  std::unique_ptr<etcdserverpb::KV::Stub> kv;
  std::unique_ptr<v3lockpb::Lock::Stub> lock;
  std::unique_ptr<etcdserverpb::Lease::Stub> lease;
};

class Caller {
 public:
  Caller(World& world, int number)
      : world_(world), name_(NameOf(number)), lease_(GrantLease(world)) {}
  virtual ~Caller() = default;

  void Send() {
    sent_ns_ = NowNs();
    context_ = std::make_unique<grpc::ClientContext>();
    holds_ ? Unlock() : Lock();
  }
  void Happened(Measure& measure) {
    if (!status_.ok()) Fail(status_.error_message());
    if (!holds_) Locked();
    measure.Operation(NowNs() - sent_ns_);
    if (holds_) measure.Pairs(1);
    holds_ = !holds_;
    Send();
  }

 protected:
  virtual void Lock() = 0;
  virtual void Locked() = 0;
  virtual void Unlock() = 0;

  // Of this run alone: the one before may have ended with locks held.
  static std::string NameOf(int number) {
    std::string name = "lock/" + std::to_string(::getpid());
    name += "/" + std::to_string(number);
    return name;
  }
  static int64_t GrantLease(World& world) {
    grpc::ClientContext context;
    etcdserverpb::LeaseGrantRequest request;
    etcdserverpb::LeaseGrantResponse response;
    request.set_ttl(60);
    const grpc::Status status = world.lease->LeaseGrant(&context, request, &response);
    if (!status.ok()) Fail(status.error_message());
    return response.id();
  }

  World& world_;
  const std::string name_;
  const int64_t lease_;
  std::unique_ptr<grpc::ClientContext> context_;
  grpc::Status status_;
  bool holds_ = false;
  int64_t sent_ns_ = 0;
};

class LockCaller final : public Caller {
 public:
  using Caller::Caller;

 private:
  void Lock() override {
    v3lockpb::LockRequest request;
    request.set_name(name_);
    request.set_lease(lease_);
    locking_ = world_.lock->AsyncLock(context_.get(), request, &world_.queue);
    locking_->Finish(&locked_, &status_, this);
  }
  void Locked() override { key_ = locked_.key(); }
  void Unlock() override {
    v3lockpb::UnlockRequest request;
    request.set_key(key_);
    unlocking_ = world_.lock->AsyncUnlock(context_.get(), request, &world_.queue);
    unlocking_->Finish(&unlocked_, &status_, this);
  }

  std::string key_;
  v3lockpb::LockResponse locked_;
  v3lockpb::UnlockResponse unlocked_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v3lockpb::LockResponse>> locking_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v3lockpb::UnlockResponse>> unlocking_;
};

class TxnCaller final : public Caller {
 public:
  using Caller::Caller;

 private:
  void Lock() override {
    etcdserverpb::TxnRequest request;
    auto* compare = request.add_compare();
    compare->set_target(etcdserverpb::Compare::CREATE);
    compare->set_key(name_);
    compare->set_create_revision(0);
    auto* put = request.add_success()->mutable_request_put();
    put->set_key(name_);
    put->set_value(name_);
    put->set_lease(lease_);
    Call(request);
  }
  void Locked() override {
    if (!done_.succeeded()) Fail("the key was there");
  }
  void Unlock() override {
    etcdserverpb::TxnRequest request;
    auto* compare = request.add_compare();
    compare->set_target(etcdserverpb::Compare::VALUE);
    compare->set_key(name_);
    compare->set_value(name_);
    request.add_success()->mutable_request_delete_range()->set_key(name_);
    Call(request);
  }
  void Call(const etcdserverpb::TxnRequest& request) {
    calling_ = world_.kv->AsyncTxn(context_.get(), request, &world_.queue);
    calling_->Finish(&done_, &status_, this);
  }

  etcdserverpb::TxnResponse done_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<etcdserverpb::TxnResponse>> calling_;
};

int Main(int argc, char** argv) {
  std::string method, address;
  int in_flight = 1;
  double seconds = 1;
  std::vector<int> server_pids;
  CLI::App app("Load on etcd");
  app.add_option("--method", method)->required()->check(CLI::IsMember({"lock", "txn"}));
  app.add_option("--address", address)->required();
  app.add_option("--in-flight", in_flight);
  app.add_option("--seconds", seconds);
  app.add_option("--server-pid", server_pids);
  CLI11_PARSE(app, argc, argv);

  const auto channel = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
  World world;
  world.kv = etcdserverpb::KV::NewStub(channel);
  world.lock = v3lockpb::Lock::NewStub(channel);
  world.lease = etcdserverpb::Lease::NewStub(channel);
  std::vector<std::unique_ptr<Caller>> callers;
  for (int i = 0; i < in_flight; ++i) {
    if (method == "lock") {
      callers.push_back(std::make_unique<LockCaller>(world, i));
    } else {
      callers.push_back(std::make_unique<TxnCaller>(world, i));
    }
  }
  Measure measure(seconds, server_pids);
  for (auto& caller : callers) caller->Send();
  void* tag = nullptr;
  bool ok = false;
  while (!measure.IsOver(NowNs()) && world.queue.Next(&tag, &ok)) {
    static_cast<Caller*>(tag)->Happened(measure);
  }
  measure.Print();
  std::fflush(stdout);
  std::_Exit(0);  // calls are still on their way
}

}  // namespace
}  // namespace leaseplane::bench

int main(int argc, char** argv) { return leaseplane::bench::Main(argc, argv); }
