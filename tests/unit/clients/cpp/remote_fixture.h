// SPDX-License-Identifier: Apache-2.0
//
// A remote client, the fake service it talks to, and what its callbacks said.
#pragma once

#include <gtest/gtest.h>

#include <mutex>
#include <utility>
#include <vector>

#include "leaseplane/client.h"
#include "tests/unit/clients/cpp/eventually.h"
#include "tests/unit/clients/cpp/fake_lease_service.h"

namespace leaseplane {

class RemoteTest : public ::testing::Test {
 protected:
  RemoteTest() { service_.Start(); }

  Client Connect(ClientOptions options = {}) {
    options.forbid_local = true;
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
    auto client = Client::Connect(service_.target(), std::move(options));
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }
  static Pool Open(const Client& client) {
    auto pool = client.OpenPool("gpu");
    EXPECT_TRUE(pool.ok()) << pool.status();
    return *std::move(pool);
  }

  std::vector<LostLease> lost() { return Get(lost_); }
  std::vector<RevokeRequest> revokes() { return Get(revokes_); }
  int drainings() { return Get(drainings_); }

  FakeLeaseService service_{2};

 private:
  template <class T>
  T Get(const T& member) {
    const std::lock_guard<std::mutex> lock(mu_);
    return member;
  }

  std::mutex mu_;
  std::vector<LostLease> lost_;
  std::vector<RevokeRequest> revokes_;
  int drainings_ = 0;
};

}  // namespace leaseplane
