// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/remote/keep_alive_stream.h"

#include <utility>

#include "clients/cpp/remote/grpc_connection.h"

namespace leaseplane::internal {

std::shared_ptr<KeepAliveStream> KeepAliveStream::Open(std::shared_ptr<GrpcConnection> connection) {
  auto stream = std::make_shared<KeepAliveStream>(std::move(connection));
  if (!stream->connection_->Begin(&stream->context_, false)) return nullptr;
  stream->self_ = stream;
  stream->Start();
  return stream;
}

void KeepAliveStream::Start() {
  connection_->leases().async()->KeepAlive(&context_, this);
  AddHold();  // writes are started by other threads; ends with the last read
  {
    const MutexLock lock(&mu_);
    in_flight_.set_client_id(connection_->options().client_id);
    is_writing_ = true;
    StartWrite(&in_flight_);
  }
  StartRead(&incoming_);
  StartCall();
}

void KeepAliveStream::Send(std::vector<Renewal> renewals) {
  const MutexLock lock(&mu_);
  if (is_over_) return;
  for (Renewal& renewal : renewals) outgoing_.push_back(std::move(renewal));
  if (!is_writing_ && !outgoing_.empty()) WriteNext();
}

void KeepAliveStream::HearWaiting() {
  const MutexLock lock(&mu_);
  if (is_over_) return;
  must_hear_waiting_ = true;
  if (!is_writing_) WriteNext();
}

void KeepAliveStream::WriteNext() {
  in_flight_.Clear();
  in_flight_.set_hear_waiting(std::exchange(must_hear_waiting_, false));
  while (!outgoing_.empty() && in_flight_.renewals_size() < kRenewalsOfOneMessageMax) {
    *in_flight_.add_renewals() = std::move(outgoing_.front());
    outgoing_.pop_front();
  }
  is_writing_ = true;
  StartWrite(&in_flight_);
}

void KeepAliveStream::OnWriteDone(bool ok) {
  const MutexLock lock(&mu_);
  is_writing_ = false;
  if (!ok) is_over_ = true;  // the read that is under way says so too
  if (!is_over_ && (must_hear_waiting_ || !outgoing_.empty())) WriteNext();
}

void KeepAliveStream::OnReadDone(bool ok) {
  if (ok) {
    connection_->keep_alive().OnAnswer(incoming_);
    incoming_.Clear();
    StartRead(&incoming_);
    return;
  }
  {
    const MutexLock lock(&mu_);
    is_over_ = true;
    outgoing_.clear();
  }
  RemoveHold();
}

void KeepAliveStream::OnDone(const grpc::Status& status) {
  const std::shared_ptr<KeepAliveStream> self = std::move(self_);
  connection_->keep_alive().OnEnded(*this, status);
  connection_->Finished(&context_);
}

}  // namespace leaseplane::internal
