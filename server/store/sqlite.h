// SPDX-License-Identifier: Apache-2.0
//
// Just enough of SQLite as C++ values: a connection, a statement, a transaction. Private to this
// folder; no other file includes <sqlite3.h>.
//
// Threads: a Database and its statements belong to one thread at a time.
// Errors: absl::Status with the file, SQLite's text and its extended code (StateStore lists the
// codes). A statement that failed once stays failed: calls after it return the same error.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

struct sqlite3;
struct sqlite3_stmt;

namespace leaseplane::store {

class Database {
 public:
  // Opens or creates. `vfs` empty = the system's.
  static absl::StatusOr<std::unique_ptr<Database>> Open(const std::string& path,
                                                        const std::string& vfs);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // Runs statements without parameters, separated by semicolons; rows are dropped.
  absl::Status Execute(const char* sql);
  absl::StatusOr<int64_t> QueryInt(const char* sql);

  absl::Status Error(int code) const;
  sqlite3* handle() const { return handle_; }

 private:
  Database(std::string path, sqlite3* handle) : path_(std::move(path)), handle_(handle) {}

  const std::string path_;
  sqlite3* const handle_;
};

// One prepared statement. Bind parameters from left to right, then Step or Run; Run resets, so the
// statement can be used again.
class Statement {
 public:
  // A mistake in `sql` shows at the first Step or Run.
  Statement(Database* db, const char* sql);
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& Bind(int64_t value);
  Statement& BindUnsigned(uint64_t value) { return Bind(static_cast<int64_t>(value)); }
  Statement& Bind(std::string_view text);
  Statement& BindBlob(std::string_view bytes);

  // True: a row is there. False: no more rows.
  absl::StatusOr<bool> Step();
  // For statements without rows.
  absl::Status Run();

  // Columns of the row, from 0. Texts are copied. A NULL is 0 or "".
  int64_t Int(int column) const;
  uint64_t Unsigned(int column) const { return static_cast<uint64_t>(Int(column)); }
  std::string Text(int column) const;
  std::string Blob(int column) const;

 private:
  void Note(int code);

  Database* const db_;
  sqlite3_stmt* statement_ = nullptr;
  int next_parameter_ = 1;
  absl::Status status_;
};

// Begins at once, rolls back unless Commit succeeded.
class Transaction {
 public:
  explicit Transaction(Database* db);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  absl::Status begun() const { return begun_; }
  absl::Status Commit();

 private:
  Database* const db_;
  absl::Status begun_;
  bool is_open_ = false;
};

}  // namespace leaseplane::store
