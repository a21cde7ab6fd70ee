// SPDX-License-Identifier: Apache-2.0
//
// postgres_load: lock and unlock as fast as PostgreSQL answers, with a fixed number of connections
// that each have one prepared statement on its way. One thread.
//
//   postgres_load --method advisory|skip-locked --connect "host=/run/pg dbname=postgres"
//                 --in-flight 64 --seconds 2 [--server-pid N ...]
//
// skip-locked takes a free row of a table: UPDATE ... WHERE id = (SELECT ... FOR UPDATE SKIP
// LOCKED). The table has four rows for each connection.
#include <libpq-fe.h>
#include <poll.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "tests/bench/remote/measure.h"

namespace leaseplane::bench {
namespace {

[[noreturn]] void Fail(const std::string& what, PGconn* connection) {
  std::fprintf(stderr, "postgres_load: %s: %s\n", what.c_str(), PQerrorMessage(connection));
  std::exit(1);
}

void Do(PGconn* connection, const std::string& sql) {
  PGresult* result = PQexec(connection, sql.c_str());
  const ExecStatusType status = PQresultStatus(result);
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) Fail(sql, connection);
  PQclear(result);
}

PGconn* Connect(const std::string& options) {
  PGconn* connection = PQconnectdb(options.c_str());
  if (PQstatus(connection) != CONNECTION_OK) Fail("connect", connection);
  return connection;
}

void MakeSlots(const std::string& options, int count) {
  PGconn* connection = Connect(options);
  Do(connection, "DROP TABLE IF EXISTS slots");
  Do(connection,
     "CREATE UNLOGGED TABLE slots (id int PRIMARY KEY, holder int, expires timestamptz)");
  Do(connection,
     "INSERT INTO slots SELECT g FROM generate_series(1, " + std::to_string(count) + ") g");
  PQfinish(connection);
}

class Caller {
 public:
  Caller(const std::string& options, bool is_advisory, int number)
      : connection_(Connect(options)), number_(std::to_string(number)) {
    Do(connection_, "SET synchronous_commit = off");
    if (is_advisory) {
      Do(connection_, "PREPARE l(int) AS SELECT pg_advisory_lock($1)");
      Do(connection_, "PREPARE u(int, int) AS SELECT pg_advisory_unlock($1)");
    } else {
      Do(connection_,
         "PREPARE l(int) AS UPDATE slots SET holder = $1, expires = now() + '30 s' WHERE id = "
         "(SELECT id FROM slots WHERE holder IS NULL LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id");
      Do(connection_,
         "PREPARE u(int, int) AS UPDATE slots SET holder = NULL WHERE holder = $1 AND id = $2 "
         "RETURNING true");
    }
    is_advisory_ = is_advisory;
  }
  ~Caller() { PQfinish(connection_); }
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;

  int fd() const { return PQsocket(connection_); }
  void Send() {
    sent_ns_ = NowNs();
    const char* values[] = {number_.c_str(), slot_.c_str()};
    const int ok = holds_ ? PQsendQueryPrepared(connection_, "u", 2, values, nullptr, nullptr, 0)
                          : PQsendQueryPrepared(connection_, "l", 1, values, nullptr, nullptr, 0);
    if (ok != 1) Fail("send", connection_);
  }
  void Readable(Measure& measure) {
    if (PQconsumeInput(connection_) != 1) Fail("read", connection_);
    if (PQisBusy(connection_) != 0) return;
    PGresult* result = PQgetResult(connection_);
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1) {
      Fail("no lock", connection_);
    }
    const std::string value = PQgetvalue(result, 0, 0);
    PQclear(result);
    while (PGresult* rest = PQgetResult(connection_)) PQclear(rest);
    if (holds_ && value != "t") Fail("no unlock", connection_);
    if (!holds_) slot_ = is_advisory_ ? number_ : value;
    measure.Operation(NowNs() - sent_ns_);
    if (holds_) measure.Pairs(1);
    holds_ = !holds_;
    Send();
  }

 private:
  PGconn* const connection_;
  const std::string number_;
  std::string slot_;
  bool is_advisory_ = false;
  bool holds_ = false;
  int64_t sent_ns_ = 0;
};

int Main(int argc, char** argv) {
  std::string method, connect;
  int in_flight = 1;
  double seconds = 1;
  std::vector<int> server_pids;
  CLI::App app("Load on PostgreSQL");
  app.add_option("--method", method)->required()->check(CLI::IsMember({"advisory", "skip-locked"}));
  app.add_option("--connect", connect)->required();
  app.add_option("--in-flight", in_flight);
  app.add_option("--seconds", seconds);
  app.add_option("--server-pid", server_pids);
  CLI11_PARSE(app, argc, argv);

  if (method == "skip-locked") MakeSlots(connect, 4 * in_flight);
  std::vector<std::unique_ptr<Caller>> callers;
  std::vector<pollfd> polls;
  for (int i = 0; i < in_flight; ++i) {
    callers.push_back(std::make_unique<Caller>(connect, method == "advisory", i + 1));
    polls.push_back({callers.back()->fd(), POLLIN, 0});
  }
  Measure measure(seconds, server_pids);
  for (auto& caller : callers) caller->Send();
  while (!measure.IsOver(NowNs())) {
    if (::poll(polls.data(), polls.size(), 20'000) <= 0) return 1;
    for (size_t i = 0; i < polls.size(); ++i) {
      if (polls[i].revents != 0) callers[i]->Readable(measure);
    }
  }
  measure.Print();
  return 0;
}

}  // namespace
}  // namespace leaseplane::bench

int main(int argc, char** argv) { return leaseplane::bench::Main(argc, argv); }
