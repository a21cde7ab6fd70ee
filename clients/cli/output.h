// SPDX-License-Identifier: Apache-2.0
//
// Tables for people. JSON for programs is in message_json.h.
//
// Threads: none; a Table belongs to one. Errors: those of the stream. Text that comes from the
// daemon or from other users is made printable before it reaches a terminal.
#pragma once

#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

namespace leaseplane::cli {

enum class OutputFormat { kTable, kJson };

// One line: control characters, escape sequences and line breaks become spaces or '?'.
std::string Printable(std::string_view text);

// Columns as wide as their widest cell, two spaces apart, no space at a line's end. An empty cell
// reads "-", so that every row has the same number of words.
class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kLeft;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // REQUIRES as many cells as columns.
  void AddRow(std::vector<std::string> cells);
  void Print(std::ostream& out) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace leaseplane::cli
