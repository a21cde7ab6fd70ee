// SPDX-License-Identifier: Apache-2.0
#include "tests/support/raw_session.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "clients/cpp/boot_clock.h"
#include "core/shm/layout.h"

namespace leaseplane::testing {
namespace {

constexpr int64_t kPatienceNs = 60 * internal::kSecondNs;

template <class T>
T Must(absl::StatusOr<T> value, const char* what) {
  if (!value.ok()) {
    std::fprintf(stderr, "raw session: %s: %s\n", what, value.status().ToString().c_str());
    std::abort();
  }
  return *std::move(value);
}

internal::SessionConfig ConfigFor(const std::string& socket_path) {
  internal::SessionConfig config;
  config.attach_path = socket_path.substr(0, socket_path.rfind('/') + 1) + "attach.sock";
  config.client_name = "raw";
  return config;
}

}  // namespace

RawSession::RawSession(const std::string& socket_path)
    : connection_(
          Must(internal::GreetDaemon(ConfigFor(socket_path), internal::BootNowNs() + kPatienceNs),
               "no session")),
      sess_(Must(internal::MapSess(connection_.sess_fd.get()), "no session words")) {}

RawSession::Pool& RawSession::OpenPool(const std::string& name) {
  Pool& pool = pools_[name];
  if (pool.mapped != nullptr) return pool;
  attach::Message request = internal::MakeMessage(attach::Kind::kOpenPool);
  request.open_pool.tag = static_cast<uint32_t>(pools_.size());
  std::copy(name.begin(), name.end(), request.open_pool.pool);
  connection_.socket->Send(request);
  internal::Incoming answer;
  do {
    if (!connection_.socket->WaitReadable(internal::BootNowNs() + kPatienceNs) ||
        connection_.socket->Receive(answer) == internal::AttachSocket::Got::kClosed ||
        answer.message.kind == attach::Kind::kRefused) {
      std::fprintf(stderr, "raw session: pool %s is not opened\n", name.c_str());
      std::abort();
    }
  } while (answer.message.kind != attach::Kind::kPoolOpened);
  pool.mapped = Must(internal::MapPool(answer), "no pool");
  pool.data_fd = std::move(answer.fds[0]);
  pool.opened = answer.message.pool_opened;
  pool.words = WordsOf(pool.mapped->base(), sess_.base());
  return pool;
}

uint64_t RawSession::SessionWordOf(SessionIndex index) const {
  return RealMemory::Load(*(shm::At<RealMemory::U64>(sess_.base(), shm::kPageBytes) + index));
}

}  // namespace leaseplane::testing
