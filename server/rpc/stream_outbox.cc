// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/stream_outbox.h"

#include <iterator>
#include <utility>

#include "google/rpc/error_details.pb.h"
#include "server/rpc/convert.h"
#include "server/rpc/request_parser.h"
#include "server/rpc/resource_name.h"

namespace leaseplane::rpc {
namespace {

constexpr size_t kResultBytes = 64;  // about, without text

v1::ErrorReason ReasonIn(const v1::LeaseStreamResponse::Error& error) {
  google::rpc::ErrorInfo info;
  v1::ErrorReason reason = v1::ERROR_REASON_UNSPECIFIED;
  for (const auto& detail : error.details()) {
    if (detail.UnpackTo(&info)) v1::ErrorReason_Parse(info.reason(), &reason);
  }
  return reason;
}

}  // namespace

StreamOutbox::Batch& StreamOutbox::Back() {
  if (batches_.empty() || batches_.back()->message->results_size() == kResultsMax) {
    batches_.push_back(std::make_unique<Batch>());
  }
  return *batches_.back();
}

v1::LeaseStreamResponse::Result* StreamOutbox::Add(int64_t sequence, size_t bytes) {
  Batch& batch = Back();
  ++result_count_;
  bytes_ += bytes;
  batch.bytes += bytes;
  auto* result = batch.message->add_results();
  result->set_sequence(sequence);
  return result;
}

void StreamOutbox::AddAcquired(int64_t sequence, const std::string& pool,
                               const engine::Grant& grant) {
  const engine::LeaseInfo& lease = grant.lease;
  std::string name = LeaseName(pool, lease.id);
  const size_t bytes = kResultBytes + name.size() + lease.resource.size();
  auto* acquired = Add(sequence, bytes)->mutable_acquired();
  acquired->set_name(std::move(name));
  acquired->set_slot_index(static_cast<int32_t>(lease.slot));
  acquired->set_fencing_token(lease.token);
  acquired->set_resource(lease.resource);
  SetDuration(lease.remaining_ns, acquired->mutable_remaining_duration());
  SetDuration(grant.queued_ns, acquired->mutable_queued_duration());
  SetDuration(grant.renew_interval_ns, acquired->mutable_renew_interval());
  batches_.back()->granted.push_back({pool, lease.id, lease.token});
}

void StreamOutbox::AddRenewed(int64_t sequence, const engine::RenewResult& result) {
  auto* renewed = Add(sequence, kResultBytes)->mutable_renewed();
  SetDuration(result.lease.remaining_ns, renewed->mutable_remaining_duration());
  SetDuration(result.queued_ns, renewed->mutable_queued_duration());
  SetDuration(result.renew_interval_ns, renewed->mutable_renew_interval());
}

void StreamOutbox::AddReleased(int64_t sequence) {
  Add(sequence, kResultBytes)->mutable_released();
}

void StreamOutbox::AddError(int64_t sequence, const grpc::Status& status) {
  const std::string details = status.error_details();
  auto* error = Add(sequence, kResultBytes + details.size())->mutable_error();
  // The details are a google.rpc.Status, whose fields an Error begins with.
  error->ParseFromString(details);
  error->set_code(status.error_code());
  error->set_message(status.error_message());
  error->set_reason(ReasonIn(*error));
}

void StreamOutbox::AddDraining() {
  if (batches_.empty()) batches_.push_back(std::make_unique<Batch>());
  batches_.front()->message->mutable_draining();
}

grpc::ByteBuffer StreamOutbox::TakeFirst() {
  const std::unique_ptr<Batch> batch = std::move(batches_.front());
  batches_.pop_front();
  result_count_ -= static_cast<size_t>(batch->message->results_size());
  bytes_ -= batch->bytes;
  return SerializeReply(*batch->message);
}

std::vector<HeldLease> StreamOutbox::Clear() {
  std::vector<HeldLease> granted;
  for (const auto& batch : batches_) {
    std::move(batch->granted.begin(), batch->granted.end(), std::back_inserter(granted));
  }
  batches_.clear();
  result_count_ = bytes_ = 0;
  return granted;
}

}  // namespace leaseplane::rpc
