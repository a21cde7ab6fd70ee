// SPDX-License-Identifier: Apache-2.0
//
// The tables of everything that can be set: one row a field, used by the file, the flags and the
// variables alike, and checked against the documentation by a test.
#pragma once

#include <string_view>

#include "absl/types/span.h"
#include "server/config/options.h"

namespace leaseplane::config {

enum class FieldKind {
  kScalar,  // one text
  kList,    // texts, applied one by one
  kMap,     // key and text, applied one by one
};

template <class Options>
struct Field {
  std::string_view key;  // dotted path; empty if the file cannot set it
  FieldKind kind;
  std::string_view default_text;
  std::string_view valid;  // range and form, for people
  // `name` is the key of a map's entry, else empty. False: not valid, `options` is unchanged.
  bool (*apply)(std::string_view name, std::string_view text, Options* options);
};

struct Setting {
  Field<DaemonOptions> field;
  std::string_view flag;      // --listen
  std::string_view variable;  // LEASEPLANE_LISTEN
  std::string_view help;
  bool is_switch;  // the flag needs no value
};

absl::Span<const Setting> Settings();
absl::Span<const Field<engine::PoolOptions>> PoolFields();
absl::Span<const Field<security::AccessRule>> AccessFields();

// NAME=CAPACITY, as the flag --pool takes it. False: not valid.
bool ParsePoolShorthand(std::string_view text, engine::PoolOptions* pool);
inline constexpr std::string_view kPoolShorthandValid =
    "NAME=CAPACITY, like gpu=8: a pool id and 1..1048576";

}  // namespace leaseplane::config
