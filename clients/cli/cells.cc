// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/cells.h"

#include <google/protobuf/util/time_util.h>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace leaseplane::cli {

using google::protobuf::util::TimeUtil;

std::string EnumCell(const std::string& value_name, std::string_view prefix) {
  if (value_name.compare(0, prefix.size(), prefix) != 0) return value_name;
  const std::string rest = value_name.substr(prefix.size());
  return rest == "UNSPECIFIED" ? std::string() : rest;
}

std::string DurationCell(bool present, const google::protobuf::Duration& duration) {
  if (!present) return std::string();
  return absl::FormatDuration(absl::Milliseconds(TimeUtil::DurationToMilliseconds(duration)));
}

std::string TimeCell(bool present, const google::protobuf::Timestamp& time) {
  if (!present) return std::string();
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::FromUnixSeconds(time.seconds()),
                          absl::UTCTimeZone());
}

std::string TokenCell(int64_t token) { return token == 0 ? std::string() : absl::StrCat(token); }

std::string HolderCell(const std::string& principal, const std::string& client_id) {
  return client_id.empty() ? principal : absl::StrCat(principal, "/", client_id);
}

int PrintMessage(const google::protobuf::Message& message) {
  std::cout << ToJson(message).dump(2) << "\n";
  return 0;
}

}  // namespace leaseplane::cli
