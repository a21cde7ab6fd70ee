// SPDX-License-Identifier: Apache-2.0
#include "server/config/values.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/time/time.h"

namespace leaseplane::config {
namespace {

// sun_path has 108 bytes, the last of which ends the text.
constexpr size_t kSocketPathBytesMax = 107;

bool IsLowerOrDigit(char c) {
  return absl::ascii_islower(static_cast<unsigned char>(c)) ||
         absl::ascii_isdigit(static_cast<unsigned char>(c));
}

// Length of the UTF-8 sequence at the front of `text`, 0 if it is none.
size_t Utf8SequenceBytes(std::string_view text) {
  const auto byte = [text](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  const size_t bytes = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < bytes) return 0;
  uint32_t point = first & (0xFFu >> (bytes + 1));
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
    point = point << 6 | (byte(i) & 0x3Fu);
  }
  const bool is_overlong = (bytes == 3 && point < 0x800) || (bytes == 4 && point < 0x10000);
  const bool is_surrogate = point >= 0xD800 && point <= 0xDFFF;
  return is_overlong || is_surrogate || point > 0x10FFFF ? 0 : bytes;
}

bool IsPlainText(std::string_view text) {
  while (!text.empty()) {
    const size_t bytes = Utf8SequenceBytes(text);
    if (bytes == 0 || absl::ascii_iscntrl(static_cast<unsigned char>(text[0]))) return false;
    text.remove_prefix(bytes);
  }
  return true;
}

// Splits HOST:PORT; false if it is not of that form. The brackets of an IPv6 address are dropped.
bool SplitAddress(std::string_view text, std::string* host, int* port) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return false;
  const std::string_view port_text = text.substr(colon + 1);
  int64_t number = 0;
  if (!ParseInteger(port_text, 0, 65535, &number)) return false;
  std::string_view host_text = text.substr(0, colon);
  const bool has_brackets =
      host_text.size() > 2 && host_text.front() == '[' && host_text.back() == ']';
  if (has_brackets) host_text = host_text.substr(1, host_text.size() - 2);
  *host = std::string(host_text);
  *port = static_cast<int>(number);
  in6_addr v6{};
  if (has_brackets) return ::inet_pton(AF_INET6, host->c_str(), &v6) == 1;
  return !host->empty() && std::all_of(host->begin(), host->end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-';
  });
}

}  // namespace

bool ParseBool(std::string_view text, bool* value) {
  const std::string lower = absl::AsciiStrToLower(std::string(text));
  if (lower == "true" || lower == "yes" || lower == "on" || lower == "1") {
    *value = true;
  } else if (lower == "false" || lower == "no" || lower == "off" || lower == "0") {
    *value = false;
  } else {
    return false;
  }
  return true;
}

bool ParseInteger(std::string_view text, int64_t min, int64_t max, int64_t* value) {
  const bool are_digits = std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isdigit(static_cast<unsigned char>(c));
  });
  int64_t number = 0;
  if (!are_digits || !absl::SimpleAtoi(std::string(text), &number)) return false;
  if (number < min || number > max) return false;
  *value = number;
  return true;
}

bool ParseCount(std::string_view text, uint32_t min, uint32_t max, uint32_t* value) {
  int64_t number = 0;
  if (!ParseInteger(text, min, max, &number)) return false;
  *value = static_cast<uint32_t>(number);
  return true;
}

bool ParseDurationNs(std::string_view text, int64_t min_ns, int64_t max_ns, int64_t* value_ns) {
  absl::Duration duration;
  if (!absl::ParseDuration(std::string(text), &duration)) return false;
  if (duration < absl::Nanoseconds(min_ns) || duration > absl::Nanoseconds(max_ns)) return false;
  *value_ns = absl::ToInt64Nanoseconds(duration);
  return true;
}

bool ParsePoolId(std::string_view text, std::string* value) {
  const bool is_valid =
      !text.empty() && text.size() <= engine::kPoolIdBytesMax &&
      absl::ascii_islower(static_cast<unsigned char>(text.front())) && text.back() != '-' &&
      std::all_of(text.begin(), text.end(), [](char c) { return IsLowerOrDigit(c) || c == '-'; });
  if (is_valid) *value = std::string(text);
  return is_valid;
}

bool ParseText(std::string_view text, size_t bytes_min, size_t bytes_max, std::string* value) {
  if (text.size() < bytes_min || text.size() > bytes_max || !IsPlainText(text)) return false;
  *value = std::string(text);
  return true;
}

bool ParseAddress(std::string_view text, std::string* value) {
  std::string host;
  int port = 0;
  if (!SplitAddress(text, &host, &port)) return false;
  *value = std::string(text);
  return true;
}

bool ParseAbsolutePath(std::string_view text, std::string* value) {
  if (text.size() < 2 || text.front() != '/' || text.find('\0') != std::string_view::npos) {
    return false;
  }
  *value = std::string(text);
  return true;
}

bool ParseOptionalAddress(std::string_view text, std::string* value) {
  if (!text.empty()) return ParseAddress(text, value);
  value->clear();
  return true;
}

bool ParseOptionalPath(std::string_view text, std::string* value) {
  if (!text.empty()) return ParseAbsolutePath(text, value);
  value->clear();
  return true;
}

bool ParseSocketPath(std::string_view text, std::string* value) {
  ListenOptions listen;
  if (!ParseAbsolutePath(text, &listen.unix_socket_path) || text.back() == '/' ||
      text.size() > kSocketPathBytesMax ||
      listen.attach_socket_path().size() > kSocketPathBytesMax ||
      listen.attach_socket_path() == text) {
    return false;
  }
  *value = std::string(text);
  return true;
}

bool IsLoopback(const std::string& address) {
  std::string host;
  int port = 0;
  if (!SplitAddress(address, &host, &port)) return false;
  if (host == "localhost") return true;
  in_addr v4{};
  if (::inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6{};
  return ::inet_pton(AF_INET6, host.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

std::string FormatDurationNs(int64_t ns) { return absl::FormatDuration(absl::Nanoseconds(ns)); }

}  // namespace leaseplane::config
