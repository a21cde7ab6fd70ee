// SPDX-License-Identifier: Apache-2.0
//
// How values of the API read in a table, and lists of messages as JSON on stdout.
// Pure functions but for PrintList and PrintMessage; one thread.
#pragma once

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include <cstdint>
#include <iostream>
#include <string>
#include <string_view>

#include "clients/cli/message_json.h"

namespace leaseplane::cli {

// ACTIVE of STATE_ACTIVE.
std::string EnumCell(const std::string& value_name, std::string_view prefix);
// Empty if not `present`. Milliseconds are the finest that people are shown.
std::string DurationCell(bool present, const google::protobuf::Duration& duration);
// 2026-01-31T12:00:00Z; empty if not `present`.
std::string TimeCell(bool present, const google::protobuf::Timestamp& time);
// Empty for 0, which is no token.
std::string TokenCell(int64_t token);
// principal/client_id
std::string HolderCell(const std::string& principal, const std::string& client_id);

// {"key": [...]}. Returns the exit code, 0.
template <class Messages>
int PrintList(const char* key, const Messages& messages) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const auto& message : messages) list.push_back(ToJson(message));
  nlohmann::ordered_json object;
  object[key] = std::move(list);
  std::cout << object.dump(2) << "\n";
  return 0;
}

int PrintMessage(const google::protobuf::Message& message);

}  // namespace leaseplane::cli
