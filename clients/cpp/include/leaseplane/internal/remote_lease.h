// SPDX-License-Identifier: Apache-2.0
//
// What a Lease needs to know of a lease that was granted over gRPC. Not for users: see lease.h.
//
// Ownership: reference-counted; a Lease has one reference, which Release and Drop give up.
// Threads: any. The members are fixed once the lease is made.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "core/base/ids.h"

namespace leaseplane::internal {

class RemoteLease {
 public:
  RemoteLease(const RemoteLease&) = delete;
  RemoteLease& operator=(const RemoteLease&) = delete;

  SlotIndex slot() const noexcept { return slot_; }
  FencingToken token() const noexcept { return token_; }
  const std::string& name() const noexcept { return name_; }
  const std::string& pool() const noexcept { return pool_; }
  const std::string& resource() const noexcept { return resource_; }

  // Never block.
  virtual bool StillHeld() const noexcept = 0;
  virtual int64_t RemainingNs() const noexcept = 0;

  // Gives the slot back and waits for the answer. Ends the caller's reference.
  virtual absl::Status Release() noexcept = 0;
  // Gives the slot back in the background. Ends the caller's reference.
  virtual void Drop() noexcept = 0;

 protected:
  RemoteLease(std::string name, std::string pool, std::string resource, SlotIndex slot,
              FencingToken token)
      : name_(std::move(name)),
        pool_(std::move(pool)),
        resource_(std::move(resource)),
        slot_(slot),
        token_(token) {}
  virtual ~RemoteLease() = default;

 private:
  const std::string name_, pool_, resource_;
  const SlotIndex slot_;
  const FencingToken token_;
};

}  // namespace leaseplane::internal
