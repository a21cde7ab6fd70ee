// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/validate.h"

#include <optional>

namespace leaseplane::rpc {
namespace {

constexpr int64_t kNsPerSecond = engine::kSecond;

// Nullopt for what protobuf itself calls no duration, and for more than int64 nanoseconds hold.
std::optional<int64_t> ToNs(const google::protobuf::Duration& value) {
  constexpr int64_t kSecondsMax = INT64_MAX / kNsPerSecond - 1;
  const int64_t seconds = value.seconds();
  const int64_t nanos = value.nanos();
  if (seconds > kSecondsMax || seconds < -kSecondsMax) return std::nullopt;
  if (nanos >= kNsPerSecond || nanos <= -kNsPerSecond) return std::nullopt;
  if ((seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0)) return std::nullopt;
  return seconds * kNsPerSecond + nanos;
}

// 1h, 90s, 1.5s: for messages.
std::string FormatNs(int64_t ns) {
  if (ns % engine::kHour == 0 && ns != 0) return std::to_string(ns / engine::kHour) + "h";
  if (ns % engine::kSecond == 0) return std::to_string(ns / engine::kSecond) + "s";
  return std::to_string(ns / engine::kMillisecond) + "ms";
}

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// 8-4-4-4-12 hex digits, any case; not all zero.
std::optional<engine::RequestId> ParseUuid(std::string_view text) {
  if (text.size() != 36) return std::nullopt;
  engine::RequestId id;
  for (size_t i = 0; i < text.size(); ++i) {
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      if (text[i] != '-') return std::nullopt;
      continue;
    }
    const int digit = HexValue(text[i]);
    if (digit < 0) return std::nullopt;
    uint64_t& half = i < 19 ? id.hi : id.lo;
    half = half << 4 | static_cast<uint64_t>(digit);
  }
  if (id.empty()) return std::nullopt;
  return id;
}

}  // namespace

void FieldChecks::Fail(std::string_view field, std::string description) {
  violations_.push_back({std::string(field), std::move(description)});
}

void FieldChecks::PrefixSince(size_t count, std::string_view prefix) {
  for (size_t i = count; i < violations_.size(); ++i) violations_[i].field.insert(0, prefix);
}

std::string FieldChecks::PoolId(std::string_view field, const std::string& id) {
  if (IsPoolId(id)) return id;
  Fail(field,
       "must be 1 to 63 of a-z, 0-9 and -, begin with a letter and end with a letter or digit");
  return {};
}

std::string FieldChecks::Pool(std::string_view field, const std::string& name) {
  if (auto pool = ParsePoolName(name)) return *std::move(pool);
  Fail(field, "must be pools/{pool}");
  return {};
}

SlotRef FieldChecks::Slot(std::string_view field, const std::string& name) {
  if (auto slot = ParseSlotName(name)) return *std::move(slot);
  Fail(field, "must be pools/{pool}/slots/{index}");
  return {};
}

LeaseRef FieldChecks::Lease(std::string_view field, const std::string& name) {
  if (auto lease = ParseLeaseName(name)) return *std::move(lease);
  Fail(field, "must be pools/{pool}/leases/{lease}");
  return {};
}

WaiterRef FieldChecks::Waiter(std::string_view field, const std::string& name) {
  if (auto waiter = ParseWaiterName(name)) return *std::move(waiter);
  Fail(field, "must be pools/{pool}/waiters/{waiter}");
  return {};
}

int64_t FieldChecks::DurationNs(std::string_view field, const Duration& value, int64_t min_ns,
                                int64_t max_ns) {
  const auto ns = ToNs(value);
  if (ns && *ns >= min_ns && *ns <= max_ns) return *ns;
  Fail(field, "must be a duration from " + FormatNs(min_ns) + " to " + FormatNs(max_ns));
  return min_ns;
}

int64_t FieldChecks::TtlNs(std::string_view field, bool is_set, const Duration& value) {
  return is_set ? DurationNs(field, value, engine::kTtlMin, engine::kTtlMax) : 0;
}

FencingToken FieldChecks::Token(std::string_view field, int64_t token) {
  if (IsTokenInRange(token)) return token;
  Fail(field, "must be a lease's token: positive and below 2^53");
  return 0;
}

engine::RequestId FieldChecks::RequestId(std::string_view field, const std::string& uuid) {
  if (uuid.empty()) return {};
  if (const auto id = ParseUuid(uuid)) return *id;
  Fail(field, "must be a UUID (8-4-4-4-12 hex digits) other than the nil one, or empty");
  return {};
}

std::string FieldChecks::ClientId(std::string_view field, const std::string& id) {
  bool is_valid = id.size() <= engine::kClientIdBytesMax;
  for (const char c : id) is_valid = is_valid && c >= 0x20 && c < 0x7f;
  if (is_valid) return id;
  Fail(field, "must be at most 63 bytes of printable ASCII");
  return {};
}

std::string FieldChecks::Text(std::string_view field, const std::string& text, size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  Fail(field, "must be at most " + std::to_string(bytes_max) + " bytes");
  return {};
}

engine::Metadata FieldChecks::Metadata(std::string_view field,
                                       const google::protobuf::Map<std::string, std::string>& map) {
  if (map.size() > engine::kMetadataEntriesMax) {
    Fail(field, "must have at most " + std::to_string(engine::kMetadataEntriesMax) + " entries");
    return {};
  }
  engine::Metadata metadata;
  size_t bytes = 0;
  for (const auto& [key, value] : map) {
    if (key.empty()) Fail(field, "must not have an empty key");
    bytes += key.size() + value.size() + 2;
    metadata[key] = value;
  }
  if (bytes <= engine::kMetadataBytesMax) return metadata;
  Fail(field, "must be at most " + std::to_string(engine::kMetadataBytesMax) +
                  " bytes, keys and values and 2 for each entry");
  return {};
}

uint32_t FieldChecks::Count(std::string_view field, int64_t value, uint32_t min, uint32_t max) {
  if (value >= min && value <= max) return static_cast<uint32_t>(value);
  Fail(field, "must be from " + std::to_string(min) + " to " + std::to_string(max));
  return min;
}

uint32_t FieldChecks::PageSize(std::string_view field, int32_t size) {
  if (size < 0) {
    Fail(field, "must not be negative");
    return 0;
  }
  if (size == 0) return kPageSizeDefault;
  return size > static_cast<int32_t>(kPageSizeMax) ? kPageSizeMax : static_cast<uint32_t>(size);
}

}  // namespace leaseplane::rpc
