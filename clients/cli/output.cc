// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/output.h"

#include <algorithm>
#include <cstddef>
#include <ostream>

namespace leaseplane::cli {
namespace {

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

// Characters, not bytes: what a terminal shows for text of single-width letters.
size_t Width(const std::string& text) {
  return text.size() - static_cast<size_t>(std::count_if(text.begin(), text.end(), IsContinuation));
}

void PrintCell(const std::string& cell, size_t width, Table::Align align, bool is_last,
               std::ostream& out) {
  const std::string padding(width - Width(cell), ' ');
  if (align == Table::Align::kRight) {
    out << padding << cell;
  } else {
    out << cell << (is_last ? std::string() : padding);
  }
  out << (is_last ? "\n" : "  ");
}

}  // namespace

std::string Printable(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte == '\n' || byte == '\t' || byte == '\r') {
      result += ' ';
    } else if (byte < 0x20 || byte == 0x7f) {
      result += '?';
    } else if (byte == 0xc2 && i + 1 < text.size() &&
               static_cast<unsigned char>(text[i + 1]) < 0xa0) {
      result += '?';  // U+0080..U+009F: control characters too
      ++i;
    } else {
      result += text[i];
    }
  }
  return result;
}

void Table::AddRow(std::vector<std::string> cells) {
  for (std::string& cell : cells) {
    cell = Printable(cell);
    if (cell.empty()) cell.push_back('-');
  }
  rows_.push_back(std::move(cells));
}

void Table::Print(std::ostream& out) const {
  std::vector<size_t> widths;
  for (size_t i = 0; i < columns_.size(); ++i) {
    size_t width = Width(columns_[i].title);
    for (const auto& row : rows_) width = std::max(width, Width(row[i]));
    widths.push_back(width);
  }
  for (size_t i = 0; i < columns_.size(); ++i) {
    PrintCell(columns_[i].title, widths[i], columns_[i].align, i + 1 == columns_.size(), out);
  }
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      PrintCell(row[i], widths[i], columns_[i].align, i + 1 == row.size(), out);
    }
  }
}

}  // namespace leaseplane::cli
