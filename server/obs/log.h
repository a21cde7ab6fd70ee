// SPDX-License-Identifier: Apache-2.0
//
// Structured log lines on stderr, as text or as one JSON object a line:
//   obs::Log(obs::Level::kInfo, "lease expired", {{"pool", id}, {"slot", 3}, {"token", token}});
//
// State: spdlog's default logger and nothing else. Threads: any, lines do not mix.
// Errors: none; a line that cannot be written is dropped. Cost: formats and writes in the caller's
// thread; below the level in force one comparison (plus building the fields).
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

namespace leaseplane::obs {

enum class Level { kDebug, kInfo, kWarning, kError };
enum class Format { kText, kJson };

// One key with its value, valid as long as the texts it was made from.
class Field {
 public:
  using Value = std::variant<std::string_view, bool, int64_t, uint64_t, double>;

  Field(std::string_view key, std::string_view value) : key_(key), value_(value) {}
  Field(std::string_view key, const std::string& value) : key_(key), value_(value) {}
  Field(std::string_view key, const char* value) : key_(key), value_(std::string_view(value)) {}
  Field(std::string_view key, bool value) : key_(key), value_(value) {}
  Field(std::string_view key, double value) : key_(key), value_(value) {}
  template <class Int, class = std::enable_if_t<std::is_integral_v<Int>>>
  Field(std::string_view key, Int value) : key_(key), value_(Widen(value)) {}

  std::string_view key() const { return key_; }
  const Value& value() const { return value_; }

 private:
  template <class Int>
  static Value Widen(Int value) {
    if constexpr (std::is_signed_v<Int>) {
      return static_cast<int64_t>(value);
    } else {
      return static_cast<uint64_t>(value);
    }
  }

  std::string_view key_;
  Value value_;
};

using Fields = std::initializer_list<Field>;

// Call once at start, before other threads log.
void SetUpLogging(Level level, Format format);
// At any time, from any thread.
void SetLogLevel(Level level);
bool IsLogged(Level level);
void Log(Level level, std::string_view message, Fields fields = {});

// The line that Log writes, without the line end. For tests.
std::string FormatLine(Format format, Level level, int64_t unix_ns, std::string_view message,
                       Fields fields);

// Lets one of many equal warnings through: at most one in `interval_ns` of the caller's clock.
// Threads: guarded by whoever owns it. Says how many were held back since the last one.
class RateLimit {
 public:
  explicit RateLimit(int64_t interval_ns) : interval_ns_(interval_ns) {}
  // True: log now, `held_back()` lines were dropped since the last true.
  bool Allow(int64_t now_ns);
  uint64_t held_back() const { return held_back_; }

 private:
  const int64_t interval_ns_;
  bool has_logged_ = false;
  int64_t last_ns_ = 0;
  uint64_t dropped_ = 0;    // since the last line
  uint64_t held_back_ = 0;  // before the last line
};

}  // namespace leaseplane::obs
