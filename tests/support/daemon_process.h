// SPDX-License-Identifier: Apache-2.0
//
// DaemonProcess: a real leaseplaned in a folder of its own, on ports the kernel chooses. For tests;
// what cannot be set up aborts with a reason.
//
// Destruction asks it to stop and then kills it; it is only ever ended by its pid. Threads: one.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace leaseplane::testing {

struct DaemonProcessOptions {
  std::string program;             // path of leaseplaned
  std::string config;              // YAML; the paths and addresses are given by flags
  std::vector<std::string> flags;  // more of them
};

class DaemonProcess {
 public:
  explicit DaemonProcess(DaemonProcessOptions options);
  ~DaemonProcess();
  DaemonProcess(const DaemonProcess&) = delete;
  DaemonProcess& operator=(const DaemonProcess&) = delete;

  // Starts it and waits until it serves. REQUIRES that it does not run. A later start uses the same
  // folder and the same ports.
  void Start();
  // SIGTERM; gives its exit code.
  int Stop();
  // SIGKILL to the keeper, with which the worker dies.
  void Kill();
  // SIGKILL to the worker only. False if there was none at that instant.
  bool KillWorker();
  pid_t worker_pid() const;  // 0 if there is none at this instant

  std::string unix_target() const { return "unix://" + socket_path(); }
  const std::string& tcp_target() const { return grpc_address_; }
  const std::string& metrics_address() const { return metrics_address_; }
  std::string socket_path() const { return folder_ + "/leaseplane.sock"; }
  const std::string& folder() const { return folder_; }
  std::string log() const;
  pid_t pid() const { return pid_; }

 private:
  void ReadReadyLine(int fd);

  const DaemonProcessOptions options_;
  std::string folder_;
  std::string grpc_address_ = "127.0.0.1:0", metrics_address_ = "127.0.0.1:0";
  pid_t pid_ = 0;
};

}  // namespace leaseplane::testing
