// SPDX-License-Identifier: Apache-2.0
//
// FakeKeepAlive: the KeepAlive streams of a fake service: counts them, answers renewals, says what
// the test wants said, falls silent or breaks. Threads: any.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "leaseplane/v1/lease_service.grpc.pb.h"

namespace leaseplane {

class FakeKeepAlive {
 public:
  using Stream = grpc::ServerReaderWriter<v1::KeepAliveResponse, v1::KeepAliveRequest>;
  using Renewal = v1::KeepAliveRequest::Renewal;
  using Answer = std::function<v1::KeepAliveResponse(const Renewal&)>;

  // Without an offer streams are UNIMPLEMENTED.
  void Offer(bool offers) {
    Set([&] { offers_ = offers; });
  }
  // Reads on, and answers nothing.
  void FallSilent(bool is_silent) {
    Set([&] { is_silent_ = is_silent; });
  }
  // Ends all streams in the middle.
  void Break() {
    Set([&] {
      for (auto& [stream, context] : streams_) context->TryCancel();
    });
  }
  void Say(const v1::KeepAliveResponse& message) {
    Set([&] {
      for (auto& [stream, context] : streams_) stream->Write(message);
    });
  }

  int opened() { return Get(opened_); }
  int renewals() { return Get(renewals_); }
  bool knows(const std::string& lease) {
    const std::lock_guard<std::mutex> lock(mu_);
    return known_.count(lease) > 0;
  }
  bool hears_waiting() { return Get(hears_waiting_); }
  std::string client_id() { return Get(client_id_); }

  grpc::Status Serve(grpc::ServerContext* context, Stream* stream, const Answer& answer) {
    {
      const std::lock_guard<std::mutex> lock(mu_);
      if (!offers_) return grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "not offered");
      ++opened_;
      streams_[stream] = context;
    }
    v1::KeepAliveRequest request;
    while (stream->Read(&request)) {
      for (const Renewal& renewal : request.renewals()) {
        const v1::KeepAliveResponse reply = answer(renewal);
        const std::lock_guard<std::mutex> lock(mu_);
        if (is_silent_) continue;
        ++renewals_;
        known_[renewal.name()] = stream;
        stream->Write(reply);
      }
      const std::lock_guard<std::mutex> lock(mu_);
      if (request.hear_waiting()) hears_waiting_ = true;
      if (!request.client_id().empty()) client_id_ = request.client_id();
    }
    const std::lock_guard<std::mutex> lock(mu_);
    streams_.erase(stream);
    std::erase_if(known_, [stream](const auto& entry) { return entry.second == stream; });
    return grpc::Status::OK;
  }

 private:
  template <class Change>
  void Set(const Change& change) {
    const std::lock_guard<std::mutex> lock(mu_);
    change();
  }
  template <class T>
  T Get(const T& member) {
    const std::lock_guard<std::mutex> lock(mu_);
    return member;
  }

  std::mutex mu_;
  bool offers_ = false, is_silent_ = false, hears_waiting_ = false;
  int opened_ = 0, renewals_ = 0;
  std::string client_id_;
  std::map<Stream*, grpc::ServerContext*> streams_;
  std::map<std::string, Stream*> known_;  // leases renewed on a stream that is open
};

}  // namespace leaseplane
