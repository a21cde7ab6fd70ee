// SPDX-License-Identifier: Apache-2.0
//
// FieldChecks: reads the fields of one request into values of the domain and remembers everything
// that is wrong with them, so that one answer names all of it.
//
// Use: read every field, then ask ok(). What a bad field reads as is a harmless default. Strings
// are valid UTF-8 here: request_parser has seen to it. One object a request, one thread. No
// description repeats what the caller sent.
#pragma once

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/map.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "server/engine/types.h"
#include "server/rpc/resource_name.h"
#include "server/rpc/status_map.h"

namespace leaseplane::rpc {

inline constexpr uint32_t kPageSizeDefault = 100;
inline constexpr uint32_t kPageSizeMax = 1000;

class FieldChecks {
 public:
  using Duration = google::protobuf::Duration;

  void Fail(std::string_view field, std::string description);
  // Puts `prefix` before the field of each violation after the first `count`.
  void PrefixSince(size_t count, std::string_view prefix);

  std::string PoolId(std::string_view field, const std::string& id);
  std::string Pool(std::string_view field, const std::string& name);  // the pool's id
  SlotRef Slot(std::string_view field, const std::string& name);
  LeaseRef Lease(std::string_view field, const std::string& name);
  WaiterRef Waiter(std::string_view field, const std::string& name);

  // Nanoseconds within [min_ns, max_ns].
  int64_t DurationNs(std::string_view field, const Duration& value, int64_t min_ns, int64_t max_ns);
  // 0 if `is_set` is false: as the pool or the lease has it.
  int64_t TtlNs(std::string_view field, bool is_set, const Duration& value);

  FencingToken Token(std::string_view field, int64_t token);
  // Empty stays empty.
  engine::RequestId RequestId(std::string_view field, const std::string& uuid);
  std::string ClientId(std::string_view field, const std::string& id);
  std::string Text(std::string_view field, const std::string& text, size_t bytes_max);
  engine::Metadata Metadata(std::string_view field,
                            const google::protobuf::Map<std::string, std::string>& map);
  // Within [min, max].
  uint32_t Count(std::string_view field, int64_t value, uint32_t min, uint32_t max);
  // The default for 0, the maximum for more.
  uint32_t PageSize(std::string_view field, int32_t size);

  bool ok() const { return violations_.empty(); }
  // REQUIRES !ok().
  grpc::Status status() const { return InvalidArgument(violations_); }
  const std::vector<FieldViolation>& violations() const { return violations_; }

 private:
  std::vector<FieldViolation> violations_;
};

}  // namespace leaseplane::rpc
