// SPDX-License-Identifier: Apache-2.0
#include "server/app/worker.h"

#include <signal.h>
#include <stdio.h>

#include <memory>
#include <string>

#include "absl/time/time.h"
#include "server/app/listen_address.h"
#include "server/keeper/keeper.h"
#include "server/obs/log.h"
#include "server/obs/metrics/daemon_metrics.h"
#include "server/obs/metrics/http_endpoint.h"
#include "server/plane/daemon_plane.h"
#include "server/rpc/call_observer.h"
#include "server/rpc/server.h"

namespace leaseplane::app {
namespace {

constexpr int kExitTryAgain = 1;

// Where the rpc layer reports what became of calls.
class CallReporter final : public rpc::CallObserver {
 public:
  explicit CallReporter(obs::DaemonMetrics& metrics) : metrics_(metrics) {}
  void CallEnded(std::string_view method, std::string_view code) override {
    metrics_.CountCall(method, code);
  }
  void CallTook(std::string_view method, int64_t duration_ns) override {
    metrics_.TimeCall(method, duration_ns);
  }
  void HandlerFailed(std::string_view method, std::string_view what) override {
    obs::Log(obs::Level::kError, "a call failed inside", {{"method", method}, {"what", what}});
  }

 private:
  obs::DaemonMetrics& metrics_;
};

int ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kInvalidArgument:
      return keeper::kExitConfig;
    case absl::StatusCode::kAlreadyExists:
      return keeper::kExitUnavailable;
    default:
      return kExitTryAgain;
  }
}

class Worker {
 public:
  Worker(const config::DaemonOptions& options, uint32_t sessions_max, keeper::Holdings& holdings,
         keeper::Channel& channel)
      : options_(options),
        sessions_max_(sessions_max),
        shared_(*holdings.shared),
        start_(holdings.starts),
        holdings_(holdings),
        channel_(channel) {}

  int Run() {
    for (absl::Status (Worker::*step)() :
         {&Worker::StartPlane, &Worker::StartMetrics, &Worker::StartServer}) {
      absl::Status status = (this->*step)();
      if (status.ok()) continue;
      obs::Log(obs::Level::kError, "cannot start", {{"error", status.ToString()}});
      return absl::IsUnavailable(status) && step != &Worker::StartPlane ? keeper::kExitUnavailable
                                                                        : ExitCodeOf(status);
    }
    SayReady();
    WaitForStop();
    return Stop();
  }

 private:
  absl::Status StartPlane() {
    plane::PlaneOptions options;
    options.version = LEASEPLANE_VERSION;
    options.state_dir = options_.state.dir;
    options.store.initialize = options_.state.initialize;
    options.store.token_floor = options_.state.token_floor;
    options.store.build_unix_s = LEASEPLANE_BUILD_UNIX_S;
    options.pools = options_.pools;
    options.redeclare_grace_ns = options_.lifecycle.redeclare_grace_ns;
    options.sessions_max = sessions_max_;
    auto plane = plane::DaemonPlane::Start(std::move(options), holdings_, channel_);
    if (!plane.ok()) return plane.status();
    plane_ = *std::move(plane);
    return absl::OkStatus();
  }

  absl::Status StartMetrics() {
    metrics_ = std::make_shared<obs::DaemonMetrics>(LEASEPLANE_VERSION,
                                                    [this] { return plane_->Figures(); });
    reporter_ = std::make_unique<CallReporter>(*metrics_);
    obs::Probes probes;
    probes.is_live = [this] { return plane_->live(); };
    probes.is_ready = [this] { return plane_->readiness() == plane::Readiness::kServing; };
    auto http = obs::HttpEndpoint::Start(WithPort(options_.metrics.address, shared_.metrics_port),
                                         metrics_, std::move(probes));
    if (!http.ok()) return http.status();
    http_ = *std::move(http);
    shared_.metrics_port = static_cast<uint32_t>(http_->port());
    return absl::OkStatus();
  }

  absl::Status StartServer() {
    rpc::ServerOptions options;
    options.tcp_addresses = {WithPort(options_.listen.tcp_address, shared_.grpc_port)};
    options.unix_socket_path = options_.listen.unix_socket_path;
    auto server = rpc::Server::Start(options, *plane_, *reporter_);
    if (!server.ok()) return server.status();
    server_ = *std::move(server);
    if (!server_->tcp_ports().empty()) {
      shared_.grpc_port = static_cast<uint32_t>(server_->tcp_ports().front());
    }
    return absl::OkStatus();
  }

  // For people and tests once, on stdout; afterwards the log tells of restarts.
  void SayReady() {
    const std::string grpc = AtPort(options_.listen.tcp_address, shared_.grpc_port);
    const std::string metrics = AtPort(options_.metrics.address, shared_.metrics_port);
    shared_.ready_start.store(start_);
    obs::Log(obs::Level::kInfo, "serving",
             {{"grpc", grpc},
              {"unix", options_.listen.unix_socket_path},
              {"metrics", metrics},
              {"start", start_},
              {"sessions_max", sessions_max_}});
    if (shared_.ready_line_printed.exchange(1) != 0) return;
    ::printf("leaseplaned ready grpc=%s unix=%s metrics=%s\n", grpc.c_str(),
             options_.listen.unix_socket_path.c_str(), metrics.c_str());
    ::fflush(stdout);
  }

  static void WaitForStop() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    int signal = 0;
    while (::sigwait(&set, &signal) != 0) {
    }
  }

  int Stop() {
    obs::Log(obs::Level::kInfo, "draining");
    server_->BeginDrain();
    plane_->BeginDrain();
    // What is left of the time is for the store.
    server_->Shutdown(absl::Nanoseconds(options_.lifecycle.drain_timeout_ns * 8 / 10));
    http_.reset();
    const absl::Status stopped = plane_->Stop();
    if (!stopped.ok()) {
      obs::Log(obs::Level::kError, "not everything could be written",
               {{"error", stopped.ToString()}});
    }
    server_.reset();
    plane_.reset();
    obs::Log(obs::Level::kInfo, "stopped");
    return stopped.ok() ? 0 : keeper::kExitInternal;
  }

  const config::DaemonOptions& options_;
  const uint32_t sessions_max_;
  keeper::SharedBlock& shared_;
  const uint64_t start_;
  keeper::Holdings& holdings_;
  keeper::Channel& channel_;
  std::unique_ptr<plane::DaemonPlane> plane_;
  std::shared_ptr<obs::DaemonMetrics> metrics_;
  std::unique_ptr<CallReporter> reporter_;
  std::unique_ptr<obs::HttpEndpoint> http_;
  std::unique_ptr<rpc::Server> server_;
};

}  // namespace

int RunWorker(const config::DaemonOptions& options, uint32_t sessions_max,
              keeper::Holdings& holdings, keeper::Channel& channel) {
  return Worker(options, sessions_max, holdings, channel).Run();
}

}  // namespace leaseplane::app
