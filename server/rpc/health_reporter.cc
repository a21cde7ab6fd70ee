// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/health_reporter.h"

namespace leaseplane::rpc {
namespace {

constexpr int64_t kReportInterval = 100 * engine::kMillisecond;

}  // namespace

HealthReporter::HealthReporter(grpc::HealthCheckServiceInterface* service,
                               const plane::Plane& plane)
    : service_(service), plane_(plane) {
  absl::MutexLock lock(&mutex_);
  SetReady(false);
  service_->SetServingStatus(kHealthLive, false);
}

void HealthReporter::Start() {
  {
    absl::MutexLock lock(&mutex_);
    is_running_ = true;
  }
  Tick();
}

void HealthReporter::Drain() {
  absl::MutexLock lock(&mutex_);
  is_draining_ = true;
  SetReady(false);
}

void HealthReporter::Stop() {
  absl::MutexLock lock(&mutex_);
  is_running_ = false;
  timer_.Cancel();
  const auto is_quiet = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !is_asking_; };
  mutex_.Await(absl::Condition(&is_quiet));
}

// Asks the plane without the lock, so that Drain never waits for it.
void HealthReporter::Tick() {
  {
    absl::MutexLock lock(&mutex_);
    if (!is_running_) return;
    is_asking_ = true;
  }
  const bool is_live = plane_.live();
  const bool is_ready = is_live && plane_.readiness() == plane::Readiness::kServing;
  absl::MutexLock lock(&mutex_);
  is_asking_ = false;
  if (!is_running_) return;
  service_->SetServingStatus(kHealthLive, is_live);
  SetReady(is_ready && !is_draining_);
  timer_.Set(kReportInterval, [self = shared_from_this()] { self->Tick(); });
}

// Setting what is set already tells nobody: watchers hear of changes alone.
void HealthReporter::SetReady(bool is_ready) {
  service_->SetServingStatus(kHealthOverall, is_ready);
  service_->SetServingStatus(kHealthLeaseService, is_ready);
}

}  // namespace leaseplane::rpc
