// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/list_leases.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/rpc/convert.h"
#include "server/rpc/page_token.h"
#include "server/rpc/validate.h"

namespace leaseplane::rpc {
namespace {

constexpr std::string_view kAllPools = "pools/-";

// The pools to look at, from where the page begins.
std::vector<std::string> PoolsFrom(plane::Plane& plane, const std::string& only,
                                   const std::string& first) {
  if (!only.empty()) return {only};
  std::vector<std::string> ids;
  for (const plane::PoolInfo& pool : plane.ListPools()) {
    if (pool.options.id >= first) ids.push_back(pool.options.id);
  }
  return ids;
}

struct Page {
  std::vector<std::pair<std::string, engine::LeaseInfo>> leases;  // with their pools
  PageToken next;                                                 // meant if has_more
  bool has_more = false;
};

// Reads one lease more than the page has, to know where the next one begins. A pool that goes away
// between two calls is passed over, unless it is the one asked for.
std::optional<engine::Refusal> ReadPage(plane::Plane& plane, const std::string& only,
                                        const PageToken& begin, size_t page_size, Page* page) {
  for (const std::string& pool : PoolsFrom(plane, only, begin.pool)) {
    const uint64_t position = pool == begin.pool ? begin.position : 0;
    const auto first = static_cast<SlotIndex>(std::min<uint64_t>(position, kCapacityMax));
    const auto wanted = static_cast<uint32_t>(page_size + 1 - page->leases.size());
    auto result = plane.ListLeases(pool, first, wanted);
    if (auto* refusal = std::get_if<engine::Refusal>(&result)) {
      if (!only.empty()) return std::move(*refusal);
      continue;
    }
    for (auto& lease : std::get<std::vector<engine::LeaseInfo>>(result)) {
      if (page->leases.size() == page_size) {
        page->has_more = true;
        page->next = {pool, lease.slot};
        return std::nullopt;
      }
      page->leases.emplace_back(pool, std::move(lease));
    }
  }
  return std::nullopt;
}

}  // namespace

void ListLeases(plane::Plane& plane, const v1::ListLeasesRequest& request,
                const UnaryReplyPtr& reply) {
  FieldChecks checks;
  const std::string only =
      request.parent() == kAllPools ? std::string() : checks.Pool("parent", request.parent());
  const uint32_t page_size = checks.PageSize("page_size", request.page_size());
  const std::string scope = "leases " + request.parent();
  const auto begin = ParsePageToken(scope, request.page_token());
  if (!begin) checks.Fail("page_token", "must be the next_page_token of this list");
  if (!checks.ok()) return reply->Fail(checks.status());

  Page page;
  if (const auto refusal = ReadPage(plane, only, *begin, page_size, &page)) {
    return reply->Fail(ToStatus(*refusal, PoolSubject(only)));
  }
  v1::ListLeasesResponse response;
  for (const auto& [pool, lease] : page.leases) *response.add_leases() = ToLease(pool, lease);
  if (page.has_more) response.set_next_page_token(FormatPageToken(scope, page.next));
  reply->Succeed(response);
}

}  // namespace leaseplane::rpc
