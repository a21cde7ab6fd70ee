// SPDX-License-Identifier: Apache-2.0
//
// One connection to PostgreSQL as an object of a leaseplane::ObjectPool: it is gone at the server,
// not only here, when Close has returned. One thread at a time.
#pragma once

#include <libpq-fe.h>

#include <memory>
#include <string>

#include "leaseplane/object_pool.h"

class PostgresConnection {
 public:
  // For ObjectPoolOptions::create. The server shows the slot as the connection's application_name.
  static absl::StatusOr<std::unique_ptr<PostgresConnection>> Open(const std::string& conninfo,
                                                                  const leaseplane::Lease& lease);
  ~PostgresConnection() { Close(); }
  PostgresConnection(const PostgresConnection&) = delete;
  PostgresConnection& operator=(const PostgresConnection&) = delete;

  // Whether the server still answers.
  bool Ping();
  // Says goodbye and waits until the server's process for this connection has ended: only then is
  // the server's own count one less, and the slot may be somebody else's.
  void Close();
  // Runs one statement and gives the first field of the first row; empty if there is none.
  absl::StatusOr<std::string> Query(const std::string& statement);

 private:
  explicit PostgresConnection(PGconn* connection) : connection_(connection) {}

  PGconn* connection_;
};
