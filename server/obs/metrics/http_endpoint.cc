// SPDX-License-Identifier: Apache-2.0
#include "server/obs/metrics/http_endpoint.h"

#include <civetweb.h>
#include <prometheus/text_serializer.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <sstream>
#include <string_view>
#include <thread>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace leaseplane::obs {
namespace {

void InitLibraryOnce() {
  static std::once_flag once;
  std::call_once(once, [] { mg_init_library(0); });
}

int Reply(mg_connection* connection, int code, const char* phrase, const char* type,
          const std::string& body, bool with_body) {
  const std::string head =
      absl::StrCat("HTTP/1.1 ", code, " ", phrase, "\r\nContent-Type: ", type,
                   "\r\nContent-Length: ", body.size(), "\r\nConnection: close\r\n\r\n");
  mg_write(connection, head.data(), head.size());
  if (with_body) mg_write(connection, body.data(), body.size());
  return code;
}

}  // namespace

HttpEndpoint::HttpEndpoint(std::shared_ptr<const prometheus::Collectable> metrics, Probes probes)
    : metrics_(std::move(metrics)), probes_(std::move(probes)) {}

// The library looks whether it shall stop only when its accept loop wakes up, every 2 s. A drain
// should not take that long, so we wake it by connecting.
HttpEndpoint::~HttpEndpoint() {
  if (server_ == nullptr) return;
  std::atomic<bool> is_stopped{false};
  std::thread stopper([&] {
    mg_stop(server_);
    is_stopped.store(true);
  });
  while (!is_stopped.load()) {
    char error[64];
    mg_connection* poke = mg_connect_client(host_.c_str(), port_, 0, error, sizeof(error));
    if (poke != nullptr) mg_close_connection(poke);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  stopper.join();
}

absl::StatusOr<std::unique_ptr<HttpEndpoint>> HttpEndpoint::Start(
    const std::string& address, std::shared_ptr<const prometheus::Collectable> metrics,
    Probes probes) {
  InitLibraryOnce();
  std::unique_ptr<HttpEndpoint> endpoint(new HttpEndpoint(std::move(metrics), std::move(probes)));
  const char* options[] = {"listening_ports",    address.c_str(), "num_threads", "2",
                           "request_timeout_ms", "5000",          nullptr};
  mg_callbacks callbacks{};
  callbacks.log_message = [](const mg_connection*, const char*) { return 1; };
  endpoint->host_ = address.substr(0, address.rfind(':'));
  if (endpoint->host_.starts_with("[")) {
    endpoint->host_ = endpoint->host_.substr(1, endpoint->host_.size() - 2);
  }
  endpoint->server_ = mg_start(&callbacks, nullptr, options);
  if (endpoint->server_ == nullptr) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", address, " for metrics"));
  }
  mg_server_port port{};
  if (mg_get_server_ports(endpoint->server_, 1, &port) == 1) endpoint->port_ = port.port;
  mg_set_request_handler(endpoint->server_, "/", &HttpEndpoint::Handle, endpoint.get());
  return endpoint;
}

int HttpEndpoint::Handle(mg_connection* connection, void* self) {
  try {
    return static_cast<const HttpEndpoint*>(self)->Answer(connection);
  } catch (...) {
    return Reply(connection, 500, "Internal Server Error", "text/plain", "", false);
  }
}

int HttpEndpoint::Answer(mg_connection* connection) const {
  const mg_request_info* request = mg_get_request_info(connection);
  const std::string_view method = request->request_method;
  const std::string_view path = request->local_uri == nullptr ? "" : request->local_uri;
  const bool is_get = method == "GET";
  if (!is_get && method != "HEAD") {
    return Reply(connection, 405, "Method Not Allowed", "text/plain", "", false);
  }
  if (path == "/metrics") {
    std::ostringstream text;
    prometheus::TextSerializer().Serialize(text, metrics_->Collect());
    return Reply(connection, 200, "OK", "text/plain; version=0.0.4; charset=utf-8", text.str(),
                 is_get);
  }
  if (path == "/-/healthy" || path == "/-/ready") {
    const bool is_good = path == "/-/ready" ? probes_.is_ready() : probes_.is_live();
    if (is_good) return Reply(connection, 200, "OK", "text/plain", "ok\n", is_get);
    return Reply(connection, 503, "Service Unavailable", "text/plain", "not ok\n", is_get);
  }
  return Reply(connection, 404, "Not Found", "text/plain", "", false);
}

}  // namespace leaseplane::obs
