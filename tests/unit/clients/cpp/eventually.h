// SPDX-License-Identifier: Apache-2.0
//
// Waiting for a condition under a watchdog that is generous: a test never asserts how soon.
#pragma once

#include <chrono>
#include <thread>

namespace leaseplane {

template <class Condition>
[[nodiscard]] bool Eventually(const Condition& holds) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (std::chrono::steady_clock::now() < give_up) {
    if (holds()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return false;
}

}  // namespace leaseplane
