// SPDX-License-Identifier: Apache-2.0
//
// OneShotTimer: runs a function once, later, on a gRPC thread. No thread of its own.
//
// Owner: anybody. Threads: one at a time; from inside the function too. Set again replaces what was
// set; what was replaced or cancelled either runs or does not, so the function must look whether it
// is still wanted, and it must own what it touches. Not promised: exact times.
#pragma once

#include <grpcpp/alarm.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

namespace leaseplane::rpc {

class OneShotTimer {
 public:
  void Set(int64_t delay_ns, std::function<void()> function) {
    // A new alarm each time: one whose function is running must not be set again.
    alarm_ = std::make_unique<grpc::Alarm>();
    alarm_->Set(std::chrono::system_clock::now() + std::chrono::nanoseconds(delay_ns),
                [function = std::move(function)](bool has_fired) {
                  if (has_fired) function();
                });
  }
  void Cancel() { alarm_.reset(); }

 private:
  std::unique_ptr<grpc::Alarm> alarm_;
};

}  // namespace leaseplane::rpc
