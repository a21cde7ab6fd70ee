// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/target.h"

#include <stdlib.h>
#include <sys/un.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "leaseplane/status.h"

namespace leaseplane::internal {
namespace {

constexpr size_t kSocketPathBytesMax = sizeof(sockaddr_un::sun_path) - 1;

bool StartsWith(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

absl::Status BadTarget(std::string_view text, std::string_view why) {
  return MakeStatus(Reason::kInvalidArgument,
                    absl::StrCat("target '", std::string(text), "': ", std::string(why),
                                 "; valid are unix:///PATH, dns:///HOST:PORT, ipv4:ADDRESS:PORT, "
                                 "ipv6:[ADDRESS]:PORT and HOST:PORT"));
}

absl::StatusOr<Target> UnixTarget(std::string_view text) {
  std::string_view path = text.substr(std::string_view("unix:").size());
  if (StartsWith(path, "//")) path.remove_prefix(2);
  if (!StartsWith(path, "/")) return BadTarget(text, "the socket's path is not absolute");
  if (AttachSocketOf(std::string(path)).size() > kSocketPathBytesMax ||
      path.size() > kSocketPathBytesMax) {
    return BadTarget(text,
                     absl::StrCat("a socket's path has at most ", kSocketPathBytesMax, " bytes"));
  }
  Target target;
  target.socket_path = std::string(path);
  target.text = absl::StrCat("unix://", target.socket_path);
  target.grpc_target = absl::StrCat("unix:", target.socket_path);
  return target;
}

bool HasPort(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == text.size()) return false;
  const std::string_view port = text.substr(colon + 1);
  return port.size() <= 5 &&
         std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::string AttachSocketOf(const std::string& socket_path) {
  return socket_path.substr(0, socket_path.rfind('/') + 1) + "attach.sock";
}

absl::StatusOr<Target> ParseTarget(std::string_view text) {
  if (text.empty()) {
    const char* from_environment = ::getenv("LEASEPLANE_SERVER");
    if (from_environment != nullptr) text = from_environment;
  }
  if (text.empty()) return UnixTarget(absl::StrCat("unix://", kDefaultSocket));
  if (StartsWith(text, "unix:")) return UnixTarget(text);

  Target target;
  target.text = std::string(text);
  for (std::string_view scheme : {"dns:", "ipv4:", "ipv6:"}) {
    if (!StartsWith(text, scheme)) continue;
    if (!HasPort(text)) return BadTarget(text, "no port");
    target.grpc_target = target.text;
    return target;
  }
  if (text.find("://") != std::string_view::npos) return BadTarget(text, "unknown scheme");
  if (!HasPort(text)) return BadTarget(text, "no port");
  target.grpc_target = absl::StrCat("dns:///", target.text);
  return target;
}

}  // namespace leaseplane::internal
