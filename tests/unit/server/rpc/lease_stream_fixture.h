// SPDX-License-Identifier: Apache-2.0
//
// LeaseStreamTest: short words for what a client of LeaseStream sends and reads.
#pragma once

#include <algorithm>
#include <string>

#include "tests/unit/server/rpc/rpc_fixture.h"

namespace leaseplane::rpc {

class LeaseStreamTest : public RpcTest {
 protected:
  using Request = v1::LeaseStreamRequest;
  using Response = v1::LeaseStreamResponse;
  using Stream = grpc::ClientReaderWriter<Request, Response>;

  static void AddAcquire(Request* request, int64_t sequence, int wait_seconds = 0) {
    auto* operation = request->add_operations();
    operation->set_sequence(sequence);
    *operation->mutable_acquire() = AcquireRequest(wait_seconds);
  }
  static void AddRenew(Request* request, int64_t sequence, const std::string& name = kLeaseName) {
    auto* operation = request->add_operations();
    operation->set_sequence(sequence);
    operation->mutable_renew()->set_name(name);
    operation->mutable_renew()->set_fencing_token(77);
  }
  static void AddRelease(Request* request, int64_t sequence, const std::string& name = kLeaseName) {
    auto* operation = request->add_operations();
    operation->set_sequence(sequence);
    operation->mutable_release()->set_name(name);
    operation->mutable_release()->set_fencing_token(77);
  }
  static Request AcquireOf(int64_t sequence, int wait_seconds = 0) {
    Request request;
    AddAcquire(&request, sequence, wait_seconds);
    return request;
  }

  // The next result, whichever message it comes in.
  Response::Result Read(Stream* stream) {
    while (next_result_ == response_.results_size()) {
      next_result_ = 0;
      if (!stream->Read(&response_)) {
        ADD_FAILURE() << "the stream ended";
        return {};
      }
    }
    return response_.results(next_result_++);
  }
  // The status after everything that was written has been read.
  grpc::Status End(Stream* stream) {
    while (stream->Read(&response_)) result_count_ += response_.results_size();
    return stream->Finish();
  }
  bool IsQuiet() {
    return FakePlane::Await(
        [&] { return server_->open_call_count() == 0 && plane.watcher_count() == 0; });
  }
  size_t CountNotes(const std::string& text) {
    const auto notes = plane.notes();
    return static_cast<size_t>(std::count(notes.begin(), notes.end(), text));
  }

  Call call;
  Response response_;
  int next_result_ = 0;
  int result_count_ = 0;
};

}  // namespace leaseplane::rpc
