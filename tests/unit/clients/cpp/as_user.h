// SPDX-License-Identifier: Apache-2.0
//
// AsUser: this process is another user for a scope. Sockets that start to listen meanwhile are that
// user's for whoever asks the kernel. Needs root.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

namespace leaseplane {

inline constexpr uid_t kOtherUid = 65534;

inline bool CanBeAnotherUser() { return ::geteuid() == 0; }

class AsUser {
 public:
  explicit AsUser(uid_t uid) { EXPECT_EQ(::seteuid(uid), 0); }
  ~AsUser() { EXPECT_EQ(::seteuid(0), 0); }
  AsUser(const AsUser&) = delete;
  AsUser& operator=(const AsUser&) = delete;
};

}  // namespace leaseplane
