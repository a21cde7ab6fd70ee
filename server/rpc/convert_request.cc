// SPDX-License-Identifier: Apache-2.0
//
// Messages to domain: the requests with more than a few fields.
#include <algorithm>
#include <string_view>

#include "server/rpc/convert.h"

namespace leaseplane::rpc {
namespace {

// FNV-1a over fields with their lengths. Kept with leases on disk: it must give the same numbers
// in every version of the daemon.
class BodyHash {
 public:
  void Add(std::string_view text) {
    Add(static_cast<uint64_t>(text.size()));
    for (const char c : text) AddByte(static_cast<unsigned char>(c));
  }
  void Add(uint64_t number) {
    for (int i = 0; i < 8; ++i, number >>= 8) AddByte(static_cast<unsigned char>(number));
  }
  uint64_t value() const { return value_; }

 private:
  void AddByte(unsigned char byte) { value_ = (value_ ^ byte) * 0x100000001b3; }

  uint64_t value_ = 0xcbf29ce484222325;
};

// Not of max_wait_duration: a caller that waits in several calls asks for less each time.
uint64_t HashBody(const AcquireCommand& command) {
  BodyHash hash;
  hash.Add(command.pool);
  hash.Add(static_cast<uint64_t>(command.request.ttl_ns));
  hash.Add(command.request.client_id);
  hash.Add(static_cast<uint64_t>(command.request.metadata.size()));
  for (const auto& [key, value] : command.request.metadata) {
    hash.Add(key);
    hash.Add(value);
  }
  return hash.value();
}

void ReadFairness(const v1::Pool& pool, engine::PoolOptions* options, FieldChecks* checks) {
  switch (pool.fairness()) {
    case v1::Pool::FAIRNESS_UNSPECIFIED:
      return;
    case v1::Pool::FAIRNESS_BOUNDED:
      options->fairness = engine::Fairness::kBounded;
      return;
    case v1::Pool::FAIRNESS_FIFO:
      options->fairness = engine::Fairness::kFifo;
      return;
    default:
      checks->Fail("pool.fairness", "must be FAIRNESS_BOUNDED or FAIRNESS_FIFO");
  }
}

void ReadDurability(const v1::Pool& pool, engine::PoolOptions* options, FieldChecks* checks) {
  switch (pool.durability()) {
    case v1::Pool::DURABILITY_UNSPECIFIED:
      return;
    case v1::Pool::DURABILITY_NONE:
      options->durability = engine::Durability::kNone;
      return;
    case v1::Pool::DURABILITY_ASYNC:
      options->durability = engine::Durability::kAsync;
      return;
    case v1::Pool::DURABILITY_SYNC:
      options->durability = engine::Durability::kSync;
      return;
    default:
      checks->Fail("pool.durability",
                   "must be DURABILITY_NONE, DURABILITY_ASYNC or DURABILITY_SYNC");
  }
}

void ReadTimes(const v1::Pool& pool, engine::PoolOptions* options, FieldChecks* checks) {
  using engine::kTtlMax;
  using engine::kTtlMin;
  constexpr int64_t kYear = 365 * (24 * engine::kHour);
  const auto read = [&](bool is_set, std::string_view field, const FieldChecks::Duration& value,
                        int64_t min_ns, int64_t max_ns, int64_t* out) {
    if (is_set) *out = checks->DurationNs(field, value, min_ns, max_ns);
  };
  read(pool.has_min_ttl(), "pool.min_ttl", pool.min_ttl(), kTtlMin, kTtlMax, &options->min_ttl_ns);
  read(pool.has_max_ttl(), "pool.max_ttl", pool.max_ttl(), kTtlMin, kTtlMax, &options->max_ttl_ns);
  read(pool.has_default_ttl(), "pool.default_ttl", pool.default_ttl(), kTtlMin, kTtlMax,
       &options->default_ttl_ns);
  read(pool.has_max_duration(), "pool.max_duration", pool.max_duration(), 0, kYear,
       &options->max_duration_ns);
  read(pool.has_max_overtake(), "pool.max_overtake", pool.max_overtake(), engine::kMillisecond,
       engine::kHour, &options->max_overtake_ns);
  read(pool.has_reuse_delay(), "pool.reuse_delay", pool.reuse_delay(), 0, kTtlMax,
       &options->reuse_delay_ns);
  read(pool.has_lock_delay(), "pool.lock_delay", pool.lock_delay(), 0, kTtlMax,
       &options->lock_delay_ns);
  read(pool.has_max_hold(), "pool.max_hold", pool.max_hold(), 0, kYear, &options->max_hold_ns);
  read(pool.has_stall_timeout(), "pool.stall_timeout", pool.stall_timeout(), 0, engine::kHour,
       &options->stall_timeout_ns);
  if (options->min_ttl_ns > options->max_ttl_ns) {
    checks->Fail("pool.min_ttl", "must not be above max_ttl");
    return;
  }
  // The default of a default gives way to bounds that somebody chose.
  const int64_t clamped =
      std::clamp(options->default_ttl_ns, options->min_ttl_ns, options->max_ttl_ns);
  if (pool.has_default_ttl() && clamped != options->default_ttl_ns) {
    checks->Fail("pool.default_ttl", "must be from min_ttl to max_ttl");
  }
  options->default_ttl_ns = clamped;
}

void ReadCapacity(const v1::Pool& pool, engine::PoolOptions* options, FieldChecks* checks) {
  options->capacity = checks->Count("pool.capacity", pool.capacity(), 1, kCapacityMax);
  if (pool.max_capacity() != 0) {
    options->max_capacity =
        checks->Count("pool.max_capacity", pool.max_capacity(), options->capacity, kCapacityMax);
  }
  if (static_cast<uint32_t>(pool.resources_size()) > options->capacity) {
    checks->Fail("pool.resources", "must not be more than capacity");
    return;
  }
  for (int i = 0; i < pool.resources_size(); ++i) {
    options->resources.push_back(checks->Text("pool.resources[" + std::to_string(i) + "]",
                                              pool.resources(i), engine::kResourceBytesMax));
  }
}

void ReadBounds(const v1::Pool& pool, engine::PoolOptions* options, FieldChecks* checks) {
  constexpr uint32_t kWaitersMax = 10'000'000;
  if (pool.max_waiters() != 0) {
    options->max_waiters = checks->Count("pool.max_waiters", pool.max_waiters(), 1, kWaitersMax);
  }
  options->max_waiters_per_client =
      checks->Count("pool.max_waiters_per_client", pool.max_waiters_per_client(), 0, kWaitersMax);
  options->max_leases_per_client =
      checks->Count("pool.max_leases_per_client", pool.max_leases_per_client(), 0, kCapacityMax);
}

}  // namespace

AcquireCommand ReadAcquire(const v1::AcquireLeaseRequest& request, std::string principal,
                           std::string_view prefix, int64_t wait_max_ns, FieldChecks* checks) {
  const size_t checked_before = checks->violations().size();
  AcquireCommand command;
  command.pool = checks->Pool("parent", request.parent());
  engine::AcquireRequest& out = command.request;
  out.principal = std::move(principal);
  out.ttl_ns = checks->TtlNs("ttl", request.has_ttl(), request.ttl());
  out.max_wait_ns =
      checks->DurationNs("max_wait_duration", request.max_wait_duration(), 0, wait_max_ns);
  checks->Count("slot_count", request.slot_count(), 0, 1);
  out.client_id = checks->ClientId("client_id", request.client_id());
  out.metadata = checks->Metadata("metadata", request.metadata());
  out.request_id = checks->RequestId("request_id", request.request_id());
  checks->PrefixSince(checked_before, prefix);
  out.body_hash = HashBody(command);
  return command;
}

engine::PoolOptions ReadPool(const v1::CreatePoolRequest& request, FieldChecks* checks) {
  engine::PoolOptions options;
  options.from_api = true;
  options.id = checks->PoolId("pool_id", request.pool_id());
  ReadCapacity(request.pool(), &options, checks);
  ReadFairness(request.pool(), &options, checks);
  ReadDurability(request.pool(), &options, checks);
  ReadTimes(request.pool(), &options, checks);
  ReadBounds(request.pool(), &options, checks);
  options.labels = checks->Metadata("pool.labels", request.pool().labels());
  return options;
}

std::string HolderName(const std::string& principal, const std::string& client_id) {
  return client_id.empty() ? principal : principal + "/" + client_id;
}

}  // namespace leaseplane::rpc
