// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/arguments.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "leaseplane/status.h"

namespace leaseplane::cli {
namespace {

std::vector<std::string> Parts(std::string_view text) {
  return absl::StrSplit(absl::string_view(text.data(), text.size()), '/');
}

absl::Status BadName(std::string_view what, std::string_view text, std::string_view valid) {
  return MakeStatus(
      Reason::kInvalidArgument,
      absl::StrCat(std::string(what), " '", std::string(text), "': valid is ", std::string(valid)));
}

bool HasEmptyPart(const std::vector<std::string>& parts) {
  for (const std::string& part : parts) {
    if (part.empty()) return true;
  }
  return false;
}

// POOL/ID or pools/POOL/COLLECTION/ID.
absl::StatusOr<std::string> ChildName(std::string_view text, std::string_view what,
                                      std::string_view collection, std::string_view valid) {
  const std::vector<std::string> parts = Parts(text);
  if (HasEmptyPart(parts)) return BadName(what, text, valid);
  if (parts.size() == 4 && parts[0] == "pools" && parts[2] == collection) {
    return std::string(text);
  }
  if (parts.size() != 2) return BadName(what, text, valid);
  return absl::StrCat("pools/", parts[0], "/", std::string(collection), "/", parts[1]);
}

}  // namespace

absl::StatusOr<absl::Duration> ParseDuration(std::string_view text, bool may_be_infinite) {
  absl::Duration duration;
  if (!absl::ParseDuration(absl::string_view(text.data(), text.size()), &duration)) {
    return MakeStatus(
        Reason::kInvalidArgument,
        absl::StrCat("'", std::string(text), "' is no duration; valid are 5s, 1m30s, 500ms, 0"));
  }
  if (duration < absl::ZeroDuration()) {
    return MakeStatus(Reason::kInvalidArgument,
                      absl::StrCat("'", std::string(text), "': a duration is not negative"));
  }
  if (duration == absl::InfiniteDuration() && !may_be_infinite) {
    return MakeStatus(Reason::kInvalidArgument, "'inf' is not allowed here");
  }
  return duration;
}

absl::StatusOr<std::string> PoolName(std::string_view text) {
  const std::vector<std::string> parts = Parts(text);
  if (parts.size() == 2 && parts[0] == "pools" && !parts[1].empty()) return std::string(text);
  if (parts.size() != 1 || parts[0].empty()) return BadName("pool", text, "POOL or pools/POOL");
  return absl::StrCat("pools/", parts[0]);
}

absl::StatusOr<std::string> SlotName(std::string_view text) {
  return ChildName(text, "slot", "slots", "POOL/INDEX or pools/POOL/slots/INDEX");
}

absl::StatusOr<std::string> LeaseName(std::string_view text) {
  return ChildName(text, "lease", "leases", "POOL/LEASE or pools/POOL/leases/LEASE");
}

std::string_view LastPart(std::string_view name) { return name.substr(name.rfind('/') + 1); }

std::string ShortName(std::string_view name) {
  const std::vector<std::string> parts = Parts(name);
  if (parts.size() == 2 && parts[0] == "pools") return parts[1];
  if (parts.size() == 4 && parts[0] == "pools") return absl::StrCat(parts[1], "/", parts[3]);
  return std::string(name);
}

}  // namespace leaseplane::cli
