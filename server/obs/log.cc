// SPDX-License-Identifier: Apache-2.0
#include "server/obs/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <cmath>
#include <ctime>
#include <memory>

namespace leaseplane::obs {
namespace {

// Kept beside the logger because its pattern cannot be asked for; set once before threads start.
Format format_in_force = Format::kText;

spdlog::level::level_enum SpdlogLevel(Level level) {
  switch (level) {
    case Level::kDebug:
      return spdlog::level::debug;
    case Level::kInfo:
      return spdlog::level::info;
    case Level::kWarning:
      return spdlog::level::warn;
    case Level::kError:
      break;
  }
  return spdlog::level::err;
}

const char* Name(Level level) {
  switch (level) {
    case Level::kDebug:
      return "debug";
    case Level::kInfo:
      return "info";
    case Level::kWarning:
      return "warning";
    case Level::kError:
      break;
  }
  return "error";
}

// 2026-06-01T12:00:00.123456Z
void AppendTime(int64_t unix_ns, std::string* out) {
  const std::time_t seconds = static_cast<std::time_t>(unix_ns / 1'000'000'000);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  fmt::format_to(std::back_inserter(*out), "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
                 parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min,
                 parts.tm_sec, unix_ns % 1'000'000'000 / 1000);
}

// Bytes of the UTF-8 sequence that begins `text`, 0 if it is broken.
size_t SequenceBytes(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return 1;
  const size_t bytes = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < bytes) return 0;
  const auto second = static_cast<unsigned char>(text[1]);
  // Overlong forms, surrogates, and what lies beyond U+10FFFF show in the second byte.
  if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) ||
      (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F)) {
    return 0;
  }
  for (size_t i = 1; i < bytes; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) return 0;
  }
  return bytes;
}

// The inside of a quoted text, valid as JSON and free of line ends. A broken byte becomes U+FFFD.
void AppendEscaped(std::string_view text, std::string* out) {
  while (!text.empty()) {
    const char c = text[0];
    const size_t bytes = SequenceBytes(text);
    if (bytes == 0) {
      out->append("\xEF\xBF\xBD");
    } else if (c == '"' || c == '\\') {
      out->push_back('\\');
      out->push_back(c);
    } else if (c == '\n') {
      out->append("\\n");
    } else if (c == '\t') {
      out->append("\\t");
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      fmt::format_to(std::back_inserter(*out), "\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out->append(text.substr(0, bytes));
    }
    text.remove_prefix(bytes == 0 ? 1 : bytes);
  }
}

void AppendQuoted(std::string_view text, std::string* out) {
  out->push_back('"');
  AppendEscaped(text, out);
  out->push_back('"');
}

// A text value without quotes where nobody can misread it.
bool IsPlainWord(std::string_view text) {
  if (text.empty()) return false;
  for (const char c : text) {
    if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c >= 0x7F) return false;
  }
  return true;
}

void AppendValue(const Field::Value& value, Format format, std::string* out) {
  if (const auto* text = std::get_if<std::string_view>(&value)) {
    if (format == Format::kText && IsPlainWord(*text)) {
      out->append(*text);
    } else {
      AppendQuoted(*text, out);
    }
  } else if (const auto* flag = std::get_if<bool>(&value)) {
    out->append(*flag ? "true" : "false");
  } else if (const auto* number = std::get_if<double>(&value)) {
    // JSON has no infinity and no NaN.
    if (format == Format::kJson && !std::isfinite(*number)) {
      out->append("null");
    } else {
      fmt::format_to(std::back_inserter(*out), "{}", *number);
    }
  } else if (const auto* whole = std::get_if<int64_t>(&value)) {
    fmt::format_to(std::back_inserter(*out), "{}", *whole);
  } else {
    fmt::format_to(std::back_inserter(*out), "{}", std::get<uint64_t>(value));
  }
}

std::string TextLine(Level level, int64_t unix_ns, std::string_view message, Fields fields) {
  std::string line;
  AppendTime(unix_ns, &line);
  line.push_back(' ');
  line.append(Name(level));
  line.push_back(' ');
  AppendEscaped(message, &line);
  for (const Field& field : fields) {
    line.push_back(' ');
    line.append(field.key());
    line.push_back('=');
    AppendValue(field.value(), Format::kText, &line);
  }
  return line;
}

std::string JsonLine(Level level, int64_t unix_ns, std::string_view message, Fields fields) {
  std::string line = "{\"time\":\"";
  AppendTime(unix_ns, &line);
  line.append("\",\"level\":\"");
  line.append(Name(level));
  line.append("\",\"message\":");
  AppendQuoted(message, &line);
  for (const Field& field : fields) {
    line.push_back(',');
    AppendQuoted(field.key(), &line);
    line.push_back(':');
    AppendValue(field.value(), Format::kJson, &line);
  }
  line.push_back('}');
  return line;
}

}  // namespace

std::string FormatLine(Format format, Level level, int64_t unix_ns, std::string_view message,
                       Fields fields) {
  return format == Format::kJson ? JsonLine(level, unix_ns, message, fields)
                                 : TextLine(level, unix_ns, message, fields);
}

void SetUpLogging(Level level, Format format) {
  auto logger =
      std::make_shared<spdlog::logger>("", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern("%v");
  logger->set_level(SpdlogLevel(level));
  logger->flush_on(spdlog::level::debug);
  logger->set_error_handler([](const std::string&) {});  // nowhere is left to tell it
  format_in_force = format;
  spdlog::set_default_logger(std::move(logger));
}

void SetLogLevel(Level level) { spdlog::set_level(SpdlogLevel(level)); }

bool IsLogged(Level level) { return spdlog::should_log(SpdlogLevel(level)); }

void Log(Level level, std::string_view message, Fields fields) {
  if (!IsLogged(level)) return;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const int64_t unix_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
  spdlog::default_logger_raw()->log(SpdlogLevel(level),
                                    FormatLine(format_in_force, level, unix_ns, message, fields));
}

bool RateLimit::Allow(int64_t now_ns) {
  if (has_logged_ && now_ns - last_ns_ < interval_ns_) {
    ++dropped_;
    return false;
  }
  has_logged_ = true;
  last_ns_ = now_ns;
  held_back_ = dropped_;
  dropped_ = 0;
  return true;
}

}  // namespace leaseplane::obs
