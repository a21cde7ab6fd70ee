// SPDX-License-Identifier: Apache-2.0
#include "server/app/worker.h"

#include <signal.h>
#include <stdio.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "server/app/descriptor_limit.h"
#include "server/app/listen_address.h"
#include "server/app/log_level.h"
#include "server/app/service_manager.h"
#include "server/config/reload.h"
#include "server/keeper/keeper.h"
#include "server/obs/log.h"
#include "server/obs/metrics/daemon_metrics.h"
#include "server/obs/metrics/http_endpoint.h"
#include "server/plane/daemon_plane.h"
#include "server/rpc/call_observer.h"
#include "server/rpc/server.h"
#include "server/security/access.h"
#include "server/security/credentials_watch.h"

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
  Worker(const config::DaemonOptions& options, const ReadConfiguration& read, uint32_t sessions_max,
         keeper::Holdings& holdings, keeper::Channel& channel)
      : options_(options),
        read_(read),
        sessions_max_(sessions_max),
        shared_(*holdings.shared),
        start_(holdings.starts),
        holdings_(holdings),
        channel_(channel) {}

  int Run() {
    TakeUpAcceptedConfiguration();
    for (absl::Status (Worker::*step)() : {&Worker::ReadCredentials, &Worker::StartPlane,
                                           &Worker::StartMetrics, &Worker::StartServer}) {
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
  // The keeper's process has looked at the files at the daemon's start. If they are bad at a later
  // start of a worker, that one ends and the next tries again: what local processes hold stays.
  absl::Status ReadCredentials() {
    const config::SecurityOptions& options = options_.security;
    if (options.has_access) access_ = security::AccessPolicy(options.access);
    if (options.tls.empty() && options.tokens_file.empty()) return absl::OkStatus();
    std::vector<security::FileError> errors;
    credentials_ = security::CredentialsWatch::Start({options.tls, options.tokens_file},
                                                     options.reload_interval_ns, &errors);
    if (credentials_ != nullptr) return absl::OkStatus();
    const security::FileError& first = errors.front();
    return absl::AbortedError(
        absl::StrCat("field `", first.field, "`: got ", first.got, "; valid: ", first.valid));
  }

  absl::Status StartPlane() {
    plane::PlaneOptions options;
    options.version = LEASEPLANE_VERSION;
    options.state_dir = options_.state.dir;
    options.store.initialize = options_.state.initialize;
    options.store.token_floor = options_.state.token_floor;
    options.store.build_unix_s = LEASEPLANE_BUILD_UNIX_S;
    options.pools = options_.pools;
    options.restart_grace_ns = options_.lifecycle.restart_grace_ns;
    options.redeclare_grace_ns = options_.lifecycle.redeclare_grace_ns;
    options.sessions_max = sessions_max_;
    options.sessions_per_process_max = options_.sessions.per_process_max;
    options.sessions_per_uid_max = SessionsPerUid(options_.sessions.per_uid_max, sessions_max_);
    options.access = access_;
    auto plane = plane::DaemonPlane::Start(std::move(options), holdings_, channel_);
    if (!plane.ok()) return plane.status();
    plane_ = *std::move(plane);
    return absl::OkStatus();
  }

  absl::Status StartMetrics() {
    metrics_ =
        std::make_shared<obs::DaemonMetrics>(LEASEPLANE_VERSION, [this] { return Figures(); });
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
    if (!options_.listen.admin_address.empty()) {
      options.admin_tcp_addresses = {WithPort(options_.listen.admin_address, shared_.admin_port)};
    }
    options.access = access_;
    options.credentials = credentials_.get();
    auto server = rpc::Server::Start(options, *plane_, *reporter_);
    if (!server.ok()) return server.status();
    server_ = *std::move(server);
    if (!server_->tcp_ports().empty()) {
      shared_.grpc_port = static_cast<uint32_t>(server_->tcp_ports().front());
      if (server_->tcp_ports().size() > 1) {
        shared_.admin_port = static_cast<uint32_t>(server_->tcp_ports().back());
      }
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
              {"admin", AdminAddress()},
              {"unix", options_.listen.unix_socket_path},
              {"metrics", metrics},
              {"start", start_},
              {"sessions_max", sessions_max_}});
    TellServiceManager("READY=1");
    if (shared_.ready_line_printed.exchange(1) != 0) return;
    ::printf("leaseplaned ready grpc=%s unix=%s metrics=%s", grpc.c_str(),
             options_.listen.unix_socket_path.c_str(), metrics.c_str());
    const std::string admin = AdminAddress();
    if (!admin.empty()) ::printf(" admin=%s", admin.c_str());
    ::printf("\n");
    ::fflush(stdout);
  }

  // A worker before this one put it into force.
  void TakeUpAcceptedConfiguration() {
    std::optional<std::string> text = shared_.config.Load();
    if (!text) return;
    config::ParseResult parsed = read_(std::move(text));
    if (parsed.action != config::ParseResult::Action::kServe) {
      obs::Log(obs::Level::kError, "the reloaded configuration cannot be read; the first one holds",
               {{"error", parsed.text}});
      return;
    }
    options_ = std::move(parsed.options);
    obs::SetLogLevel(LogLevelOf(options_.log));
  }

  static void RefuseReload(const std::string& why) {
    obs::Log(obs::Level::kError, "configuration not reloaded, nothing was changed", {{"why", why}});
  }

  void Reload() {
    shared_.reload_asked.store(0);  // first: what ends a worker must not end the next one too
    config::ParseResult parsed = read_(std::nullopt);
    if (parsed.action != config::ParseResult::Action::kServe) {
      for (const config::ConfigError& error : parsed.errors) RefuseReload(error.ToString());
      return;
    }
    if (parsed.options.config_file.empty()) return RefuseReload("there is no configuration file");
    if (parsed.file_text.size() > keeper::kConfigBytesMax) {
      return RefuseReload("the file is longer than 4 MiB; start the daemon again");
    }
    const config::ReloadPlan plan = config::PlanReload(options_, parsed.options);
    for (const std::string& obstacle : plan.obstacles) RefuseReload(obstacle);
    if (!plan.obstacles.empty()) return;
    const absl::Status applied = plane_->ApplyPools(plan.added, plan.changed);
    if (!applied.ok()) return RefuseReload(applied.ToString());
    options_ = std::move(parsed.options);
    obs::SetLogLevel(LogLevelOf(options_.log));
    plane_->SetSessionLimits(options_.sessions.per_process_max,
                             SessionsPerUid(options_.sessions.per_uid_max, sessions_max_));
    shared_.config.Store(parsed.file_text);
    obs::Log(obs::Level::kInfo, "configuration reloaded",
             {{"file", options_.config_file},
              {"pools_added", plan.added.size()},
              {"pools_changed", plan.changed.size()}});
  }

  obs::DaemonFigures Figures() const {
    obs::DaemonFigures figures = plane_->Figures();
    if (credentials_ != nullptr) figures.credentials = credentials_->figures();
    return figures;
  }

  // Empty if administration has no address of its own.
  std::string AdminAddress() const {
    const std::string& address = options_.listen.admin_address;
    return address.empty() ? address : AtPort(address, shared_.admin_port);
  }

  void WaitForStop() {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
    for (;;) {
      int signal = 0;
      if (::sigwait(&set, &signal) != 0) continue;
      if (signal != SIGHUP) return;
      Reload();
    }
  }

  int Stop() {
    obs::Log(obs::Level::kInfo, "draining");
    TellServiceManager("STOPPING=1");
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

  config::DaemonOptions options_;
  const ReadConfiguration& read_;
  const uint32_t sessions_max_;
  keeper::SharedBlock& shared_;
  const uint64_t start_;
  keeper::Holdings& holdings_;
  keeper::Channel& channel_;
  security::AccessPolicy access_;
  std::unique_ptr<security::CredentialsWatch> credentials_;
  std::unique_ptr<plane::DaemonPlane> plane_;
  std::shared_ptr<obs::DaemonMetrics> metrics_;
  std::unique_ptr<CallReporter> reporter_;
  std::unique_ptr<obs::HttpEndpoint> http_;
  std::unique_ptr<rpc::Server> server_;
};

}  // namespace

int RunWorker(const config::DaemonOptions& options, const ReadConfiguration& read,
              uint32_t sessions_max, keeper::Holdings& holdings, keeper::Channel& channel) {
  return Worker(options, read, sessions_max, holdings, channel).Run();
}

}  // namespace leaseplane::app
