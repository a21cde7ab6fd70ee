// SPDX-License-Identifier: Apache-2.0
#include "deploy/examples/postgres/postgres_connection.h"

#include <poll.h>
#include <unistd.h>

#include <utility>

namespace {

constexpr int kGoodbyeMs = 10'000;

// Reads until the other end hangs up.
void AwaitHangUp(int fd) {
  char rest[512];
  for (;;) {
    pollfd item{fd, POLLIN, 0};
    if (::poll(&item, 1, kGoodbyeMs) <= 0) return;
    if (::read(fd, rest, sizeof(rest)) <= 0) return;
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<PostgresConnection>> PostgresConnection::Open(
    const std::string& conninfo, const leaseplane::Lease& lease) {
  const std::string name =
      "slot-" + std::to_string(lease.slot()) + " pid-" + std::to_string(::getpid());
  PGconn* const raw = ::PQconnectdb((conninfo + " application_name='" + name + "'").c_str());
  std::unique_ptr<PostgresConnection> connection(new PostgresConnection(raw));
  if (::PQstatus(raw) != CONNECTION_OK) return absl::UnavailableError(::PQerrorMessage(raw));
  return connection;
}

bool PostgresConnection::Ping() { return Query("SELECT 1").ok(); }

void PostgresConnection::Close() {
  PGconn* const connection = std::exchange(connection_, nullptr);
  if (connection == nullptr) return;
  const bool is_open = ::PQstatus(connection) == CONNECTION_OK;
  const int fd = is_open ? ::dup(::PQsocket(connection)) : -1;
  ::PQfinish(connection);
  if (fd < 0) return;
  AwaitHangUp(fd);
  ::close(fd);
}

absl::StatusOr<std::string> PostgresConnection::Query(const std::string& statement) {
  const std::unique_ptr<PGresult, decltype(&::PQclear)> result(
      ::PQexec(connection_, statement.c_str()), &::PQclear);
  if (::PQresultStatus(result.get()) != PGRES_TUPLES_OK) {
    return absl::UnavailableError(::PQerrorMessage(connection_));
  }
  if (::PQntuples(result.get()) == 0 || ::PQnfields(result.get()) == 0) return std::string();
  return std::string(::PQgetvalue(result.get(), 0, 0));
}
