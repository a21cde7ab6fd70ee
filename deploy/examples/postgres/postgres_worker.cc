// SPDX-License-Identifier: Apache-2.0
//
// One of several processes that share a budget of PostgreSQL connections: its threads run short
// queries on connections that are bound to slots of a Leaseplane pool.
//
//   postgres_worker TARGET POOL CONNINFO THREADS
//
// Writes a line of JSON a second, and one at the end, which is SIGTERM or SIGINT.
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include <atomic>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "deploy/examples/postgres/postgres_connection.h"
#include "leaseplane/client.h"
#include "leaseplane/object_pool.h"

namespace {

using Connections = leaseplane::ObjectPool<PostgresConnection>;

struct Counts {
  std::atomic<bool> stop{false};
  std::atomic<unsigned long> queries{0}, failed_queries{0}, failed_acquires{0};
};

void Work(Connections& connections, Counts& counts) {
  while (!counts.stop) {
    auto connection = connections.Acquire({.max_wait = absl::Seconds(60)});
    if (!connection.ok()) {
      ++counts.failed_acquires;
      std::fprintf(stderr, "%s\n", connection.status().ToString().c_str());
      continue;
    }
    // Here a worker would hand connection->lease().token() along with what it writes.
    const auto answer = (*connection)->Query("SELECT pg_sleep(0.002)");
    ++(answer.ok() ? counts.queries : counts.failed_queries);
    if (!answer.ok()) std::move(*connection).Discard();
  }
}

void Report(const Counts& counts, const leaseplane::ObjectPoolStats& stats) {
  std::printf(
      "{\"queries\": %lu, \"failed_queries\": %lu, \"failed_acquires\": %lu, "
      "\"created\": %llu, \"create_failures\": %llu, \"reused\": %llu, "
      "\"yielded\": %llu, \"lost\": %llu}\n",
      counts.queries.load(), counts.failed_queries.load(), counts.failed_acquires.load(),
      static_cast<unsigned long long>(stats.created),
      static_cast<unsigned long long>(stats.create_failures),
      static_cast<unsigned long long>(stats.reused), static_cast<unsigned long long>(stats.yielded),
      static_cast<unsigned long long>(stats.lost));
  std::fflush(stdout);
}

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "postgres_worker: %s\n", status.ToString().c_str());
  return 69;
}

int Run(const char* target, const char* pool_name, const std::string& conninfo, int threads) {
  sigset_t ends;
  ::sigemptyset(&ends);
  ::sigaddset(&ends, SIGTERM);
  ::sigaddset(&ends, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &ends, nullptr);

  const auto client = leaseplane::Client::Connect(target);
  if (!client.ok()) return Fail(client.status());
  const auto pool = client->OpenPool(pool_name);
  if (!pool.ok()) return Fail(pool.status());

  Connections connections(
      *pool, {.create =
                  [&](const leaseplane::Lease& lease) {
                    return PostgresConnection::Open(conninfo, lease);
                  },
              .validate = [](PostgresConnection& connection) { return connection.Ping(); },
              .destroy = [](PostgresConnection& connection) { connection.Close(); },
              .idle_timeout = absl::Seconds(1),
              .max_lifetime = absl::Minutes(30),
              .validate_after = absl::Milliseconds(500),
              .yield_after = absl::Milliseconds(200)});
  Counts counts;
  std::vector<std::thread> workers;
  for (int i = 0; i < threads; ++i) {
    workers.emplace_back([&] { Work(connections, counts); });
  }
  const timespec second{1, 0};
  while (::sigtimedwait(&ends, nullptr, &second) < 0) Report(counts, connections.stats());
  counts.stop = true;
  for (std::thread& worker : workers) worker.join();
  connections.Close();
  Report(counts, connections.stats());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc == 5 ? ::atoi(argv[4]) : 0;
  if (threads < 1) {
    std::fprintf(stderr, "usage: postgres_worker TARGET POOL CONNINFO THREADS\n");
    return 64;
  }
  return Run(argv[1], argv[2], argv[3], threads);
}
