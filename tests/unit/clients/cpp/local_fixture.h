// SPDX-License-Identifier: Apache-2.0
//
// A fresh folder and a fake daemon in it, and what the callbacks said.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "leaseplane/client.h"
#include "tests/support/fake_daemon.h"
#include "tests/unit/clients/cpp/eventually.h"

namespace leaseplane {

// What the callbacks said.
class Heard {
 public:
  ClientOptions Options() {
    ClientOptions options;
    options.on_lost = [this](const LostLease& lease) {
      const std::lock_guard<std::mutex> lock(mu_);
      lost_.push_back(lease);
    };
    options.on_revoke = [this](const RevokeRequest& request) {
      const std::lock_guard<std::mutex> lock(mu_);
      revokes_.push_back(request);
    };
    options.on_draining = [this] {
      const std::lock_guard<std::mutex> lock(mu_);
      ++drainings_;
    };
    return options;
  }
  std::vector<LostLease> lost() {
    const std::lock_guard<std::mutex> lock(mu_);
    return lost_;
  }
  std::vector<RevokeRequest> revokes() {
    const std::lock_guard<std::mutex> lock(mu_);
    return revokes_;
  }
  int drainings() {
    const std::lock_guard<std::mutex> lock(mu_);
    return drainings_;
  }

 private:
  std::mutex mu_;
  std::vector<LostLease> lost_;
  std::vector<RevokeRequest> revokes_;
  int drainings_ = 0;
};

class LocalTest : public ::testing::Test {
 protected:
  LocalTest() {
    std::string pattern = ::testing::TempDir() + "leaseplane-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    daemon_options_.folder = folder_;
    daemon_options_.pools = {{"gpu", 2}, {"line", 1, /*fifo=*/true}};
  }

  void StartDaemon() { daemon_ = std::make_unique<testing::FakeDaemon>(daemon_options_); }
  void KillDaemon() { daemon_.reset(); }
  // A new daemon on the same state directory, as after the replacement of the whole.
  void ReplaceDaemon() {
    KillDaemon();
    ++daemon_options_.epoch;
    daemon_options_.recovering = true;
    StartDaemon();
  }

  std::string target() const { return "unix://" + folder_ + "/leaseplane.sock"; }
  Client Connect(ClientOptions options = {}) {
    auto client = Client::Connect(target(), std::move(options));
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }
  static Pool Open(const Client& client, const std::string& name = "gpu") {
    auto pool = client.OpenPool(name);
    EXPECT_TRUE(pool.ok()) << pool.status();
    return *std::move(pool);
  }

  std::string folder_;
  testing::FakeDaemonOptions daemon_options_;
  std::unique_ptr<testing::FakeDaemon> daemon_;
};

}  // namespace leaseplane
