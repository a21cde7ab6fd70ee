// SPDX-License-Identifier: Apache-2.0
//
// WarmLeases: the leases of one connection that are kept although nobody uses them
// (ClientOptions::prefetch), by pool. They are renewed like any other, but the application hears
// nothing of their end.
//
// Ownership: a part of its connection. Threads: any. Errors: none. Cost: one lock; giving back is a
// call in the background.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "clients/cpp/mutex.h"
#include "clients/cpp/remote/grpc_lease.h"
#include "clients/cpp/renewal/warm_shelf.h"

namespace leaseplane::internal {

class WarmLeases {
 public:
  using Key = WarmShelf::Key;
  // A lease with less than this left is not handed out again.
  static constexpr int64_t kRemainingMinNs = 100'000'000;

  explicit WarmLeases(GrpcConnection& connection) : connection_(connection) {}
  WarmLeases(const WarmLeases&) = delete;
  WarmLeases& operator=(const WarmLeases&) = delete;

  // From now on leases of the pool are kept.
  void Open(const std::string& pool, uint32_t count_max, int64_t idle_ns);
  // Takes the lease that its holder has released. False: it is not kept.
  bool Keep(const std::shared_ptr<GrpcLease>& lease);
  // A lease that was asked for with that ttl; null if none is kept. Others are given back at once,
  // and waited for: the caller is about to ask the daemon.
  std::shared_ptr<GrpcLease> Take(const std::string& pool, int64_t ttl_ns);
  void GiveBackAll(const std::string& pool);

  // Somebody waits for a slot of the pool.
  void OnWaiting(const std::string& pool);
  bool IsWaitedFor(const std::string& pool) const;
  // The lease has ended, or is wanted back. False: it is not kept, but in use.
  bool Remove(const GrpcLease& lease);
  void OnAlarm();
  // Gives everything back; keeps nothing any more.
  void Close();

 private:
  void GiveBack(const std::vector<Key>& keys);
  void SetAlarm() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  GrpcConnection& connection_;

  // Taken before the renewer's lock, never while the connection's is needed.
  mutable Mutex mu_;
  std::map<std::string, WarmShelf, std::less<>> shelves_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, int64_t, std::less<>> waited_for_until_ns_ ABSL_GUARDED_BY(mu_);
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace leaseplane::internal
