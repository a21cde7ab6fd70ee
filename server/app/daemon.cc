// SPDX-License-Identifier: Apache-2.0
#include "server/app/daemon.h"

#include <stdio.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <utility>

#include "server/app/descriptor_limit.h"
#include "server/app/log_level.h"
#include "server/app/worker.h"
#include "server/config/parse.h"
#include "server/keeper/keeper.h"
#include "server/keeper/listener.h"
#include "server/obs/log.h"
#include "server/store/state_dir.h"

namespace leaseplane::app {
namespace {

void SetUpLog(const config::LogOptions& options) {
  obs::SetUpLogging(LogLevelOf(options), options.format == config::LogFormat::kJson
                                             ? obs::Format::kJson
                                             : obs::Format::kText);
}

int Refuse(const absl::Status& status) {
  obs::Log(obs::Level::kError, "cannot start", {{"error", status.ToString()}});
  ::fprintf(stderr, "leaseplaned: %s\n", std::string(status.message()).c_str());
  return status.code() == absl::StatusCode::kInvalidArgument ? keeper::kExitConfig
                                                             : keeper::kExitLocked;
}

absl::Status MakeParentOf(const std::string& path) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  std::error_code error;
  if (!parent.empty()) std::filesystem::create_directories(parent, error);
  if (!error) return absl::OkStatus();
  return absl::ErrnoToStatus(error.value(), "cannot make the directory " + parent.string());
}

// What one daemon has for itself; kept open by keeper and workers alike, so that a successor waits
// for the last of them.
struct Claims {
  store::StateDirLock state_dir;
  UniqueFd socket_lock;
  UniqueFd listener;
};

absl::StatusOr<Claims> Claim(const config::DaemonOptions& options) {
  absl::Status prepared = store::PrepareStateDir(options.state.dir);
  if (!prepared.ok()) return prepared;
  auto state_dir = store::StateDirLock::Acquire(options.state.dir);
  if (!state_dir.ok()) return state_dir.status();
  absl::Status parent = MakeParentOf(options.listen.unix_socket_path);
  if (!parent.ok()) return parent;
  auto socket_lock = keeper::LockFile(options.listen.attach_socket_path() + ".lock");
  if (!socket_lock.ok()) return socket_lock.status();
  auto listener = keeper::ListenOn(options.listen.attach_socket_path());
  if (!listener.ok()) return listener.status();
  return Claims{*std::move(state_dir), *std::move(socket_lock), *std::move(listener)};
}

int Serve(const config::DaemonOptions& options, const ReadConfiguration& read) {
  const uint64_t descriptors = RaiseDescriptorLimit();
  const uint32_t sessions_max = SessionsMax(descriptors);
  obs::Log(obs::Level::kInfo, "limits",
           {{"descriptors", descriptors}, {"sessions_max", sessions_max}});
  absl::StatusOr<Claims> claims = Claim(options);
  if (!claims.ok()) return Refuse(claims.status());
  auto holdings = keeper::Holdings::Make(std::move(claims->listener));
  if (!holdings.ok()) return Refuse(holdings.status());
  keeper::KeeperOptions keeper_options;
  keeper_options.drain_timeout_ns = options.lifecycle.drain_timeout_ns;
  keeper_options.log = [](const std::string& event) { obs::Log(obs::Level::kInfo, event); };
  const int exit_code = keeper::RunKeeper(
      *std::move(holdings), keeper_options, [&](keeper::Holdings& held, keeper::Channel& channel) {
        return RunWorker(options, read, sessions_max, held, channel);
      });
  ::unlink(options.listen.attach_socket_path().c_str());
  ::unlink(options.listen.unix_socket_path.c_str());
  return exit_code;
}

}  // namespace

int RunDaemon(int argc, char** argv) {
  config::ParseContext context;
  context.environment = config::ProcessEnvironment();
  context.version = LEASEPLANE_VERSION;
  config::ParseResult parsed = config::ParseCommandLine(argc, argv, context);
  if (parsed.action == config::ParseResult::Action::kPrintAndExit) {
    ::fputs(parsed.text.c_str(), parsed.exit_code == 0 ? stdout : stderr);
    return parsed.exit_code;
  }
  SetUpLog(parsed.options.log);
  return Serve(parsed.options, [&](std::optional<std::string> file_text) {
    config::ParseContext again = context;
    again.file_text = std::move(file_text);
    return config::ParseCommandLine(argc, argv, again);
  });
}

}  // namespace leaseplane::app
