// SPDX-License-Identifier: Apache-2.0
//
// The conformance suite: what a lease means, whichever way it was taken. Every test runs against a
// real daemon once for each path; a difference that shows up here is an error of one of them.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "leaseplane/client.h"
#include "tests/support/daemon_process.h"

namespace leaseplane {

enum class Way { kLocal, kTcp, kUnixSocket };

inline std::string NameOf(Way way) {
  switch (way) {
    case Way::kLocal:
      return "SharedMemory";
    case Way::kTcp:
      return "GrpcOverTcp";
    case Way::kUnixSocket:
      return "GrpcOverUnixSocket";
  }
  return "";
}

class LeaseSuite : public ::testing::TestWithParam<Way> {
 protected:
  static constexpr absl::Duration kLong = absl::Seconds(60);
  static constexpr char kConfig[] = R"(
pools:
  - id: pair
    capacity: 2
    resources: [left, right]
  - id: single
    capacity: 1
  - id: line
    capacity: 1
    fairness: FIFO
  - id: short
    capacity: 1
    max_waiters: 1
    fairness: FIFO
)";

  LeaseSuite() : daemon_({LEASEPLANED, kConfig, {}}) { daemon_.Start(); }

  bool is_local() const { return GetParam() == Way::kLocal; }

  Client Connect(ClientOptions options = {}) {
    options.require_local = is_local();
    options.forbid_local = !is_local();
    options.on_lost = [this](const LostLease& lease) {
      const std::lock_guard<std::mutex> lock(mu_);
      lost_.push_back(lease);
    };
    const bool by_socket = GetParam() != Way::kTcp;
    auto client = Client::Connect(by_socket ? daemon_.unix_target() : daemon_.tcp_target(),
                                  std::move(options));
    EXPECT_TRUE(client.ok()) << client.status() << "\n" << daemon_.log();
    return *std::move(client);
  }

  static Pool Open(const Client& client, const std::string& name) {
    auto pool = client.OpenPool(name);
    EXPECT_TRUE(pool.ok()) << pool.status();
    return *std::move(pool);
  }

  std::vector<LostLease> lost() {
    const std::lock_guard<std::mutex> lock(mu_);
    return lost_;
  }

  template <class Condition>
  [[nodiscard]] static bool Eventually(const Condition& holds) {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (std::chrono::steady_clock::now() < give_up) {
      if (holds()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }

  testing::DaemonProcess daemon_;

 private:
  std::mutex mu_;
  std::vector<LostLease> lost_;
};

// A thread that waits in Acquire.
class Waiting {
 public:
  Waiting(const Pool& pool, absl::Duration max_wait)
      : thread_([this, &pool, max_wait] { result_ = pool.Acquire({.max_wait = max_wait}); }) {}
  ~Waiting() {
    if (thread_.joinable()) thread_.join();
  }
  absl::StatusOr<Lease>& Result() {
    if (thread_.joinable()) thread_.join();
    return result_;
  }

 private:
  absl::StatusOr<Lease> result_;
  std::thread thread_;
};

}  // namespace leaseplane
