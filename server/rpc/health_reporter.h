// SPDX-License-Identifier: Apache-2.0
//
// HealthReporter: keeps the answers of grpc.health.v1 true.
//
//   "", "leaseplane.v1.LeaseService"   readiness: SERVING while the daemon gives leases
//   "leaseplane.live"                  liveness: SERVING unless the engine is stuck
//
// It looks at the plane ten times a second on a timer of gRPC, not on a thread of the engine, so
// that a stuck engine cannot keep its own liveness green.
//
// Owner: Server; `service` and `plane` must outlive Stop. Threads: any.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>
#include <grpcpp/health_check_service_interface.h>

#include <memory>

#include "server/plane/plane.h"
#include "server/rpc/one_shot_timer.h"

namespace leaseplane::rpc {

inline constexpr char kHealthOverall[] = "";
inline constexpr char kHealthLeaseService[] = "leaseplane.v1.LeaseService";
inline constexpr char kHealthLive[] = "leaseplane.live";

class HealthReporter : public std::enable_shared_from_this<HealthReporter> {
 public:
  // All names are NOT_SERVING until Start.
  HealthReporter(grpc::HealthCheckServiceInterface* service, const plane::Plane& plane);

  void Start();
  // Readiness goes to NOT_SERVING for good; liveness goes on being reported.
  void Drain();
  // Waits for a look at the plane that is under way; once it has returned there is none any more.
  void Stop();

 private:
  void Tick();
  void SetReady(bool is_ready) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  grpc::HealthCheckServiceInterface* const service_;
  const plane::Plane& plane_;

  absl::Mutex mutex_;
  bool is_running_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_asking_ ABSL_GUARDED_BY(mutex_) = false;  // the plane, without the lock
  OneShotTimer timer_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace leaseplane::rpc
