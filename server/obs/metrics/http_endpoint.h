// SPDX-License-Identifier: Apache-2.0
//
// HttpEndpoint: `/metrics` for scrapers, `/-/healthy` (is the process worth keeping) and `/-/ready`
// (does it serve) for probes, on one small HTTP listener. Answers GET and HEAD; anything else is
// 404 or 405. Plain text, no TLS: bind it where only those may come that should.
//
// Owner: the composition root. Threads: two of its own call the collectable and the probes.
#pragma once

#include <prometheus/collectable.h>

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

struct mg_context;
struct mg_connection;

namespace leaseplane::obs {

struct Probes {
  std::function<bool()> is_live;
  std::function<bool()> is_ready;
};

class HttpEndpoint {
 public:
  // `address` is HOST:PORT; port 0 picks a free one. UNAVAILABLE if it cannot be bound.
  static absl::StatusOr<std::unique_ptr<HttpEndpoint>> Start(
      const std::string& address, std::shared_ptr<const prometheus::Collectable> metrics,
      Probes probes);
  ~HttpEndpoint();  // waits for answers under way
  HttpEndpoint(const HttpEndpoint&) = delete;
  HttpEndpoint& operator=(const HttpEndpoint&) = delete;

  int port() const { return port_; }

 private:
  HttpEndpoint(std::shared_ptr<const prometheus::Collectable> metrics, Probes probes);
  static int Handle(mg_connection* connection, void* self);
  int Answer(mg_connection* connection) const;

  const std::shared_ptr<const prometheus::Collectable> metrics_;
  const Probes probes_;
  mg_context* server_ = nullptr;
  std::string host_;
  int port_ = 0;
};

}  // namespace leaseplane::obs
