// SPDX-License-Identifier: Apache-2.0
#include "server/store/sqlite.h"

#include <sqlite3.h>

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace leaseplane::store {
namespace {

absl::StatusCode CodeOf(int code) {
  switch (code & 0xFF) {
    case SQLITE_FULL:
    case SQLITE_NOMEM:
    case SQLITE_TOOBIG:
      return absl::StatusCode::kResourceExhausted;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::StatusCode::kDataLoss;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_AUTH:
      return absl::StatusCode::kPermissionDenied;
    case SQLITE_ERROR:
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
    case SQLITE_MISMATCH:
    case SQLITE_CONSTRAINT:
      return absl::StatusCode::kInternal;
    default:  // IOERR, CANTOPEN, BUSY, LOCKED, ...
      return absl::StatusCode::kUnavailable;
  }
}

absl::Status MakeError(const std::string& path, sqlite3* handle, int code) {
  const char* text = handle != nullptr ? sqlite3_errmsg(handle) : sqlite3_errstr(code);
  const int system_error = handle != nullptr ? sqlite3_system_errno(handle) : 0;
  const bool is_io = (code & 0xFF) == SQLITE_IOERR || (code & 0xFF) == SQLITE_CANTOPEN;
  return absl::Status(
      CodeOf(code),
      absl::StrCat(
          "store ", path, ": ", text, " (SQLite ", code,
          is_io && system_error != 0 ? absl::StrCat(", ", std::strerror(system_error)) : "", ")"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Database>> Database::Open(const std::string& path,
                                                         const std::string& vfs) {
  sqlite3* handle = nullptr;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                    SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_NOFOLLOW;
  const int code =
      sqlite3_open_v2(path.c_str(), &handle, flags, vfs.empty() ? nullptr : vfs.c_str());
  if (code != SQLITE_OK) {
    absl::Status status = MakeError(path, handle, code);
    sqlite3_close_v2(handle);
    return status;
  }
  return std::unique_ptr<Database>(new Database(path, handle));
}

Database::~Database() { sqlite3_close_v2(handle_); }

absl::Status Database::Error(int code) const { return MakeError(path_, handle_, code); }

absl::Status Database::Execute(const char* sql) {
  const int code = sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : Error(code);
}

absl::StatusOr<int64_t> Database::QueryInt(const char* sql) {
  Statement statement(this, sql);
  const absl::StatusOr<bool> has_row = statement.Step();
  if (!has_row.ok()) return has_row.status();
  return *has_row ? statement.Int(0) : 0;
}

Statement::Statement(Database* db, const char* sql) : db_(db) {
  Note(sqlite3_prepare_v2(db->handle(), sql, -1, &statement_, nullptr));
}

Statement::~Statement() { sqlite3_finalize(statement_); }

void Statement::Note(int code) {
  if (code != SQLITE_OK && status_.ok()) status_ = db_->Error(code);
}

Statement& Statement::Bind(int64_t value) {
  if (status_.ok()) Note(sqlite3_bind_int64(statement_, next_parameter_++, value));
  return *this;
}

Statement& Statement::Bind(std::string_view text) {
  if (status_.ok()) {
    Note(sqlite3_bind_text64(statement_, next_parameter_++, text.data() ? text.data() : "",
                             text.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
  }
  return *this;
}

Statement& Statement::BindBlob(std::string_view bytes) {
  if (status_.ok()) {
    Note(sqlite3_bind_blob64(statement_, next_parameter_++, bytes.data() ? bytes.data() : "",
                             bytes.size(), SQLITE_TRANSIENT));
  }
  return *this;
}

absl::StatusOr<bool> Statement::Step() {
  if (!status_.ok()) return status_;
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  Note(code);
  return status_;
}

absl::Status Statement::Run() {
  const absl::StatusOr<bool> stepped = Step();
  if (!stepped.ok()) return stepped.status();
  sqlite3_reset(statement_);
  next_parameter_ = 1;
  return absl::OkStatus();
}

int64_t Statement::Int(int column) const { return sqlite3_column_int64(statement_, column); }

std::string Statement::Text(int column) const { return Blob(column); }

std::string Statement::Blob(int column) const {
  const void* bytes = sqlite3_column_blob(statement_, column);
  const int count = sqlite3_column_bytes(statement_, column);
  return bytes == nullptr
             ? std::string()
             : std::string(static_cast<const char*>(bytes), static_cast<size_t>(count));
}

Transaction::Transaction(Database* db) : db_(db), begun_(db->Execute("BEGIN IMMEDIATE")) {
  is_open_ = begun_.ok();
}

Transaction::~Transaction() {
  // Some errors have rolled back already; then this one fails and that is fine.
  if (is_open_) static_cast<void>(db_->Execute("ROLLBACK").ok());
}

absl::Status Transaction::Commit() {
  const absl::Status status = db_->Execute("COMMIT");
  if (status.ok()) is_open_ = false;
  return status;
}

}  // namespace leaseplane::store
