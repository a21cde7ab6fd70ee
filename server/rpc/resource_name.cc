// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/resource_name.h"

#include <charconv>

namespace leaseplane::rpc {
namespace {

bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Decimal without sign or leading zeros, at most `max`.
std::optional<uint64_t> ParseDecimal(std::string_view text, uint64_t max) {
  if (text.empty() || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > max) return std::nullopt;
  return value;
}

// Sixteen lower-case hex digits.
std::optional<uint64_t> ParseHex64(std::string_view text) {
  uint64_t value = 0;
  for (const char c : text) {
    const bool is_letter = c >= 'a' && c <= 'f';
    if (!IsDigit(c) && !is_letter) return std::nullopt;
    value = value << 4 | static_cast<uint64_t>(is_letter ? c - 'a' + 10 : c - '0');
  }
  return value;
}

std::string FormatHex64(uint64_t value) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text(16, '0');
  for (size_t i = 16; i-- > 0; value >>= 4) text[i] = kDigits[value & 0xf];
  return text;
}

struct Path {
  std::string_view pool;
  std::string_view leaf;
};

// pools/{pool}/{collection}/{leaf}, the leaf without a slash.
std::optional<Path> SplitPath(std::string_view name, std::string_view collection) {
  static constexpr std::string_view kPools = "pools/";
  if (!name.starts_with(kPools)) return std::nullopt;
  name.remove_prefix(kPools.size());
  const size_t slash = name.find('/');
  if (slash == std::string_view::npos || !IsPoolId(name.substr(0, slash))) return std::nullopt;
  const std::string_view pool = name.substr(0, slash);
  name.remove_prefix(slash + 1);
  if (!name.starts_with(collection)) return std::nullopt;
  name.remove_prefix(collection.size());
  if (!name.starts_with('/')) return std::nullopt;
  return Path{pool, name.substr(1)};
}

std::optional<LeaseRef> ParseLocalLease(std::string_view pool, std::string_view leaf) {
  const size_t dash = leaf.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto slot = ParseDecimal(leaf.substr(0, dash), kCapacityMax - 1);
  const auto token = ParseDecimal(leaf.substr(dash + 1), kFencingTokenMax);
  if (!slot || !token || *token == 0) return std::nullopt;
  return LeaseRef{std::string(pool),
                  true,
                  {},
                  static_cast<SlotIndex>(*slot),
                  static_cast<FencingToken>(*token)};
}

}  // namespace

bool IsPoolId(std::string_view text) {
  if (text.empty() || text.size() > engine::kPoolIdBytesMax) return false;
  if (!IsLower(text.front()) || text.back() == '-') return false;
  for (const char c : text) {
    if (!IsLower(c) && !IsDigit(c) && c != '-') return false;
  }
  return true;
}

std::optional<std::string> ParsePoolName(std::string_view name) {
  static constexpr std::string_view kPools = "pools/";
  if (!name.starts_with(kPools) || !IsPoolId(name.substr(kPools.size()))) return std::nullopt;
  return std::string(name.substr(kPools.size()));
}

std::optional<SlotRef> ParseSlotName(std::string_view name) {
  const auto path = SplitPath(name, "slots");
  if (!path) return std::nullopt;
  const auto slot = ParseDecimal(path->leaf, kCapacityMax - 1);
  if (!slot) return std::nullopt;
  return SlotRef{std::string(path->pool), static_cast<SlotIndex>(*slot)};
}

std::optional<LeaseRef> ParseLeaseName(std::string_view name) {
  static constexpr std::string_view kLocal = "local-";
  const auto path = SplitPath(name, "leases");
  if (!path) return std::nullopt;
  if (path->leaf.starts_with(kLocal)) {
    return ParseLocalLease(path->pool, path->leaf.substr(kLocal.size()));
  }
  if (path->leaf.size() != 32) return std::nullopt;
  const auto hi = ParseHex64(path->leaf.substr(0, 16));
  const auto lo = ParseHex64(path->leaf.substr(16));
  if (!hi || !lo || (*hi == 0 && *lo == 0)) return std::nullopt;
  return LeaseRef{std::string(path->pool), false, {*hi, *lo}, 0, 0};
}

std::optional<WaiterRef> ParseWaiterName(std::string_view name) {
  const auto path = SplitPath(name, "waiters");
  if (!path) return std::nullopt;
  const auto ticket = ParseDecimal(path->leaf, UINT64_MAX);
  if (!ticket || *ticket == 0) return std::nullopt;
  return WaiterRef{std::string(path->pool), *ticket};
}

std::string PoolName(std::string_view pool) { return "pools/" + std::string(pool); }

std::string SlotName(std::string_view pool, SlotIndex slot) {
  return PoolName(pool) + "/slots/" + std::to_string(slot);
}

std::string LeaseName(std::string_view pool, const engine::LeaseInfo& lease) {
  if (!lease.id.empty()) return LeaseName(pool, lease.id);
  return PoolName(pool) + "/leases/local-" + std::to_string(lease.slot) + "-" +
         std::to_string(lease.token);
}

std::string LeaseName(std::string_view pool, const engine::LeaseId& id) {
  return PoolName(pool) + "/leases/" + FormatHex64(id.hi) + FormatHex64(id.lo);
}

std::string WaiterName(std::string_view pool, uint64_t ticket) {
  return PoolName(pool) + "/waiters/" + std::to_string(ticket);
}

}  // namespace leaseplane::rpc
