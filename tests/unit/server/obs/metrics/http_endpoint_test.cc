// SPDX-License-Identifier: Apache-2.0
#include "server/obs/metrics/http_endpoint.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <prometheus/metric_family.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>

namespace leaseplane::obs {
namespace {

class OneGauge : public prometheus::Collectable {
 public:
  std::vector<prometheus::MetricFamily> Collect() const override {
    prometheus::MetricFamily family;
    family.name = "some_gauge";
    family.type = prometheus::MetricType::Gauge;
    family.metric.resize(1);
    family.metric[0].gauge.value = 42;
    return {family};
  }
};

std::string Ask(int port, const std::string& request_line) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const void* name = &address;
  std::string answer;
  if (connect(fd, static_cast<const sockaddr*>(name), sizeof(address)) == 0) {
    const std::string request = request_line + " HTTP/1.1\r\nHost: localhost\r\n\r\n";
    if (write(fd, request.data(), request.size()) < 0) answer = "cannot write";
    char buffer[4096];
    for (ssize_t got; (got = read(fd, buffer, sizeof(buffer))) > 0;) {
      answer.append(buffer, static_cast<size_t>(got));
    }
  }
  close(fd);
  return answer;
}

class HttpEndpointTest : public testing::Test {
 protected:
  void SetUp() override {
    auto endpoint =
        HttpEndpoint::Start("127.0.0.1:0", std::make_shared<OneGauge>(),
                            {[this] { return live_.load(); }, [this] { return ready_.load(); }});
    ASSERT_TRUE(endpoint.ok()) << endpoint.status();
    endpoint_ = *std::move(endpoint);
    ASSERT_GT(endpoint_->port(), 0);
  }
  std::string Get(const std::string& path) { return Ask(endpoint_->port(), "GET " + path); }

  std::atomic<bool> live_{true}, ready_{false};
  std::unique_ptr<HttpEndpoint> endpoint_;
};

TEST_F(HttpEndpointTest, ServesMetrics) {
  const std::string answer = Get("/metrics");
  EXPECT_EQ(answer.rfind("HTTP/1.1 200", 0), 0u) << answer;
  EXPECT_NE(answer.find("some_gauge 42"), std::string::npos);
}

TEST_F(HttpEndpointTest, ProbesFollowTheirFunctions) {
  EXPECT_EQ(Get("/-/healthy").rfind("HTTP/1.1 200", 0), 0u);
  EXPECT_EQ(Get("/-/ready").rfind("HTTP/1.1 503", 0), 0u);
  ready_ = true;
  live_ = false;
  EXPECT_EQ(Get("/-/ready").rfind("HTTP/1.1 200", 0), 0u);
  EXPECT_EQ(Get("/-/healthy").rfind("HTTP/1.1 503", 0), 0u);
}

TEST_F(HttpEndpointTest, AnswersNothingElse) {
  EXPECT_EQ(Get("/").rfind("HTTP/1.1 404", 0), 0u);
  EXPECT_EQ(Get("/../etc/passwd").rfind("HTTP/1.1 4", 0), 0u);
  EXPECT_EQ(Ask(endpoint_->port(), "POST /metrics").rfind("HTTP/1.1 405", 0), 0u);
}

TEST_F(HttpEndpointTest, PortThatIsTakenIsAnError) {
  auto second = HttpEndpoint::Start("127.0.0.1:" + std::to_string(endpoint_->port()),
                                    std::make_shared<OneGauge>(), {});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace leaseplane::obs
