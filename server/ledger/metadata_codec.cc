// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/metadata_codec.h"

#include <cstdint>

namespace leaseplane::ledger {
namespace {

void Append(std::string_view text, std::string* out) {
  out->push_back(static_cast<char>(text.size() & 0xFF));
  out->push_back(static_cast<char>(text.size() >> 8));
  out->append(text);
}

std::optional<std::string_view> Take(std::string_view* bytes) {
  if (bytes->size() < 2) return std::nullopt;
  const auto low = static_cast<uint8_t>((*bytes)[0]);
  const auto high = static_cast<uint8_t>((*bytes)[1]);
  const size_t count = low | (size_t{high} << 8);
  if (bytes->size() - 2 < count) return std::nullopt;
  const std::string_view text = bytes->substr(2, count);
  bytes->remove_prefix(2 + count);
  return text;
}

}  // namespace

std::string EncodeMetadata(const engine::Metadata& metadata) {
  std::string out;
  for (const auto& [key, value] : metadata) {
    Append(key, &out);
    Append(value, &out);
  }
  return out;
}

std::optional<engine::Metadata> DecodeMetadata(std::string_view bytes) {
  engine::Metadata metadata;
  while (!bytes.empty()) {
    const std::optional<std::string_view> key = Take(&bytes);
    if (!key) return std::nullopt;
    const std::optional<std::string_view> value = Take(&bytes);
    if (!value) return std::nullopt;
    if (!metadata.emplace(*key, *value).second) return std::nullopt;
  }
  return metadata;
}

}  // namespace leaseplane::ledger
