// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/server/rpc/rpc_fixture.h"

namespace leaseplane::rpc {
namespace {

using engine::Reason;
using testing::ElementsAre;
using testing::UnorderedElementsAre;

class LeaseServiceTest : public RpcTest {
 protected:
  template <class Request>
  static Request ForLease(int64_t token = 77) {
    Request request;
    request.set_name(kLeaseName);
    request.set_fencing_token(token);
    return request;
  }

  grpc::Status Acquire(const v1::AcquireLeaseRequest& request) {
    Call call;
    v1::AcquireLeaseResponse response;
    return leases->AcquireLease(&call, request, &response);
  }
  grpc::Status Renew(const v1::RenewLeaseRequest& request) {
    Call call;
    return leases->RenewLease(&call, request, &renewed);
  }
  grpc::Status Release(const v1::ReleaseLeaseRequest& request) {
    Call call;
    v1::ReleaseLeaseResponse response;
    return leases->ReleaseLease(&call, request, &response);
  }
  grpc::Status Get(const std::string& name) {
    Call call;
    v1::GetLeaseRequest request;
    request.set_name(name);
    return leases->GetLease(&call, request, &lease);
  }
  grpc::Status List(const v1::ListLeasesRequest& request) {
    Call call;
    listed.Clear();
    return leases->ListLeases(&call, request, &listed);
  }

  v1::RenewLeaseResponse renewed;
  v1::Lease lease;
  v1::ListLeasesResponse listed;
};

TEST_F(LeaseServiceTest, EveryBadFieldOfAnAcquireIsNamedAndThePlaneIsNotAsked) {
  v1::AcquireLeaseRequest request;
  request.set_parent("gpu");
  request.mutable_ttl()->set_seconds(-1);
  request.mutable_max_wait_duration()->set_seconds(51);
  request.set_slot_count(2);
  request.set_client_id(std::string(64, 'c'));
  (*request.mutable_metadata())["k"] = std::string(600, 'v');
  request.set_request_id("not a uuid");
  const grpc::Status status = Acquire(request);
  EXPECT_REFUSED(status, INVALID_ARGUMENT, "INVALID_ARGUMENT");
  EXPECT_THAT(BadFieldsOf(status), ElementsAre("parent", "ttl", "max_wait_duration", "slot_count",
                                               "client_id", "metadata", "request_id"));
  EXPECT_THAT(plane.acquired(), testing::IsEmpty());
}

TEST_F(LeaseServiceTest, DurationsThatAreTooLongOrIllFormedAreNamed) {
  for (const int64_t seconds : {int64_t{0}, int64_t{86'401}, INT64_MAX, INT64_MIN}) {
    auto request = AcquireRequest();
    request.mutable_ttl()->set_seconds(seconds);
    const grpc::Status status = Acquire(request);
    EXPECT_REFUSED(status, INVALID_ARGUMENT, "INVALID_ARGUMENT");
    EXPECT_THAT(BadFieldsOf(status), ElementsAre("ttl"));
  }
  auto request = AcquireRequest();
  request.mutable_max_wait_duration()->set_seconds(-1);
  EXPECT_THAT(BadFieldsOf(Acquire(request)), ElementsAre("max_wait_duration"));
}

TEST_F(LeaseServiceTest, TextThatIsNotUtf8IsNamed) {
  auto request = AcquireRequest();
  (*request.mutable_metadata())["k"] = "\xff";
  const grpc::Status status = Acquire(request);
  EXPECT_REFUSED(status, INVALID_ARGUMENT, "INVALID_ARGUMENT");
  EXPECT_THAT(BadFieldsOf(status), ElementsAre("metadata"));

  const grpc::Status get = Get("pools/\xff/leases/x");
  EXPECT_REFUSED(get, INVALID_ARGUMENT, "INVALID_ARGUMENT");
  EXPECT_THAT(BadFieldsOf(get), ElementsAre("name"));
}

TEST_F(LeaseServiceTest, RefusalsOfThePlaneReachTheCallerWithTheirDetails) {
  plane.refusal = Refuse(Reason::kQueueFull);
  grpc::Status status = Acquire(AcquireRequest());
  EXPECT_REFUSED(status, RESOURCE_EXHAUSTED, "QUEUE_FULL");
  EXPECT_TRUE(DetailOf<google::rpc::RetryInfo>(status));

  plane.refusal = Refuse(Reason::kNotFound, "no such pool", "parent");
  status = Acquire(AcquireRequest());
  EXPECT_REFUSED(status, NOT_FOUND, "NOT_FOUND");
  EXPECT_EQ(DetailOf<google::rpc::ResourceInfo>(status)->resource_name(), "pools/gpu");

  plane.refusal = Refuse(Reason::kClientQuota);
  auto request = AcquireRequest();
  request.set_client_id("worker");
  status = Acquire(request);
  EXPECT_REFUSED(status, RESOURCE_EXHAUSTED, "CLIENT_QUOTA");
  EXPECT_EQ(DetailOf<google::rpc::QuotaFailure>(status)->violations(0).subject(),
            "client:anonymous/worker");

  plane.refusal = Refuse(Reason::kInvalidArgument, "must be at most 60s", "ttl");
  status = Acquire(AcquireRequest());
  EXPECT_REFUSED(status, INVALID_ARGUMENT, "INVALID_ARGUMENT");
  EXPECT_THAT(BadFieldsOf(status), ElementsAre("ttl"));

  plane.refusal = Refuse(Reason::kRequestIdConflict);
  EXPECT_REFUSED(Acquire(AcquireRequest()), INVALID_ARGUMENT, "REQUEST_ID_CONFLICT");
  plane.refusal = Refuse(Reason::kRecovering);
  EXPECT_REFUSED(Acquire(AcquireRequest()), UNAVAILABLE, "RECOVERING");
  plane.refusal = Refuse(Reason::kStoreFailed);
  EXPECT_REFUSED(Acquire(AcquireRequest()), INTERNAL, "STORE_FAILED");
}

TEST_F(LeaseServiceTest, ARenewalCarriesItsDurations) {
  auto request = ForLease<v1::RenewLeaseRequest>();
  request.set_client_id("worker");
  request.mutable_ttl()->set_seconds(20);
  ASSERT_TRUE(Renew(request).ok());
  EXPECT_EQ(renewed.lease().name(), kLeaseName);
  EXPECT_EQ(renewed.remaining_duration().seconds(), 9);
  EXPECT_TRUE(renewed.has_queued_duration());
  EXPECT_EQ(renewed.renew_interval().seconds(), 3);
  const auto calls = plane.renewals();
  ASSERT_EQ(calls.size(), 1u);
  EXPECT_EQ(calls[0].pool, "gpu");
  EXPECT_EQ(calls[0].ttl_ns, 20 * engine::kSecond);
  EXPECT_EQ(calls[0].holder.principal, "anonymous");
  EXPECT_EQ(calls[0].holder.client_id, "worker");
  EXPECT_EQ(calls[0].holder.token, 77);
  EXPECT_EQ(calls[0].holder.id.hi, 0x1122334455667788u);
}

TEST_F(LeaseServiceTest, ARenewalOrReleaseThatIsRefusedSaysWhy) {
  for (const auto& [reason, code, name] :
       {std::tuple(Reason::kLeaseExpired, grpc::FAILED_PRECONDITION, "LEASE_EXPIRED"),
        std::tuple(Reason::kLeaseRevoked, grpc::FAILED_PRECONDITION, "LEASE_REVOKED"),
        std::tuple(Reason::kLeaseReleased, grpc::FAILED_PRECONDITION, "LEASE_RELEASED"),
        std::tuple(Reason::kStaleToken, grpc::ABORTED, "STALE_TOKEN"),
        std::tuple(Reason::kNotHolder, grpc::PERMISSION_DENIED, "NOT_HOLDER"),
        std::tuple(Reason::kNotFound, grpc::NOT_FOUND, "NOT_FOUND")}) {
    plane.refusal = Refuse(reason);
    const auto renew = Renew(ForLease<v1::RenewLeaseRequest>());
    EXPECT_EQ(renew.error_code(), code);
    EXPECT_EQ(ReasonOf(renew), name);
    const auto release = Release(ForLease<v1::ReleaseLeaseRequest>());
    EXPECT_EQ(release.error_code(), code);
    EXPECT_EQ(ReasonOf(release), name);
  }
}

TEST_F(LeaseServiceTest, BadFieldsOfARenewalOrReleaseAreNamed) {
  v1::RenewLeaseRequest renew;
  renew.set_client_id("\n");
  renew.mutable_ttl()->set_nanos(5);
  const auto renew_status = Renew(renew);
  EXPECT_REFUSED(renew_status, INVALID_ARGUMENT, "INVALID_ARGUMENT");
  EXPECT_THAT(BadFieldsOf(renew_status),
              UnorderedElementsAre("name", "fencing_token", "client_id", "ttl"));
  const auto release_status = Release(v1::ReleaseLeaseRequest());
  EXPECT_THAT(BadFieldsOf(release_status), UnorderedElementsAre("name", "fencing_token"));
  EXPECT_THAT(plane.renewals(), testing::IsEmpty());
  EXPECT_THAT(plane.notes(), testing::IsEmpty());
}

TEST_F(LeaseServiceTest, ALocalLeaseIsNotRenewedOrReleasedOverGrpc) {
  auto renew = ForLease<v1::RenewLeaseRequest>();
  renew.set_name("pools/gpu/leases/local-3-77");
  EXPECT_REFUSED(Renew(renew), PERMISSION_DENIED, "NOT_HOLDER");
  auto release = ForLease<v1::ReleaseLeaseRequest>();
  release.set_name("pools/gpu/leases/local-3-77");
  EXPECT_REFUSED(Release(release), PERMISSION_DENIED, "NOT_HOLDER");
}

TEST_F(LeaseServiceTest, AReleaseTellsThePlaneWhoseItIs) {
  auto request = ForLease<v1::ReleaseLeaseRequest>();
  request.set_allow_missing(true);
  request.set_client_id("worker");
  EXPECT_TRUE(Release(request).ok());
  EXPECT_THAT(plane.notes(), ElementsAre("Release gpu worker 77 allow_missing"));
}

TEST_F(LeaseServiceTest, LeasesAreFoundByEitherKindOfName) {
  ASSERT_TRUE(Get(kLeaseName).ok());
  EXPECT_EQ(lease.name(), kLeaseName);
  EXPECT_EQ(lease.slot_index(), 3);
  EXPECT_EQ(lease.path(), v1::LEASE_PATH_REMOTE);
  ASSERT_TRUE(Get("pools/gpu/leases/local-5-9").ok());
  EXPECT_EQ(lease.name(), "pools/gpu/leases/local-5-9");
  EXPECT_EQ(lease.path(), v1::LEASE_PATH_LOCAL);
  plane.refusal = Refuse(Reason::kNotFound);
  const auto status = Get(kLeaseName);
  EXPECT_REFUSED(status, NOT_FOUND, "NOT_FOUND");
  EXPECT_EQ(DetailOf<google::rpc::ResourceInfo>(status)->resource_name(), kLeaseName);
}

TEST_F(LeaseServiceTest, APageAfterTheOtherListsEveryLeaseOfEveryPoolOnce) {
  for (const char* id : {"a", "b", "c"}) {
    plane.pools.emplace_back().options.id = id;
    for (SlotIndex slot = 0; slot < 5; ++slot) {
      engine::LeaseInfo info = SomeLease();
      info.slot = 2 * slot;
      info.id.lo = slot + 1;
      plane.leases[id].push_back(info);
    }
  }
  plane.leases["b"].clear();
  for (const int page_size : {1, 3, 5, 10, 1000}) {
    v1::ListLeasesRequest request;
    request.set_parent("pools/-");
    request.set_page_size(page_size);
    std::vector<std::string> names;
    do {
      ASSERT_TRUE(List(request).ok());
      ASSERT_LE(listed.leases_size(), page_size);
      for (const auto& each : listed.leases()) {
        names.push_back(each.pool() + "/" + std::to_string(each.slot_index()));
      }
      request.set_page_token(listed.next_page_token());
    } while (!listed.next_page_token().empty());
    EXPECT_THAT(names,
                ElementsAre("pools/a/0", "pools/a/2", "pools/a/4", "pools/a/6", "pools/a/8",
                            "pools/c/0", "pools/c/2", "pools/c/4", "pools/c/6", "pools/c/8"));
  }
}

TEST_F(LeaseServiceTest, AListOfOnePoolRefusesWhatItDoesNotKnow) {
  v1::ListLeasesRequest request;
  request.set_parent("pools/gpu");
  request.set_page_token("bm9uc2Vuc2U");
  EXPECT_THAT(BadFieldsOf(List(request)), ElementsAre("page_token"));
  request.clear_page_token();
  request.set_page_size(-1);
  EXPECT_THAT(BadFieldsOf(List(request)), ElementsAre("page_size"));
  request.set_parent("gpu");
  EXPECT_THAT(BadFieldsOf(List(request)), ElementsAre("parent", "page_size"));
  request.set_parent("pools/gpu");
  request.set_page_size(0);
  plane.refusal = Refuse(Reason::kNotFound);
  EXPECT_REFUSED(List(request), NOT_FOUND, "NOT_FOUND");
}

TEST_F(LeaseServiceTest, ATokenIsCheckedAgainstItsSlot) {
  Call call;
  v1::CheckTokenRequest request;
  request.set_name("pools/gpu/slots/3");
  request.set_fencing_token(76);
  v1::CheckTokenResponse response;
  ASSERT_TRUE(leases->CheckToken(&call, request, &response).ok());
  EXPECT_FALSE(response.valid());
  EXPECT_EQ(response.current_fencing_token(), 77);
  EXPECT_EQ(response.state(), v1::Slot::STATE_BUSY);

  Call bad_call;
  const auto status = leases->CheckToken(&bad_call, v1::CheckTokenRequest(), &response);
  EXPECT_THAT(BadFieldsOf(status), ElementsAre("name", "fencing_token"));
}

TEST_F(LeaseServiceTest, TheServerSaysWhatItIsAndWhyItDoesNotServe) {
  Call call;
  v1::GetServerInfoResponse info;
  ASSERT_TRUE(leases->GetServerInfo(&call, v1::GetServerInfoRequest(), &info).ok());
  EXPECT_EQ(info.version(), "1.2.3");
  EXPECT_EQ(info.instance_id(), "instance");
  EXPECT_EQ(info.boot_id(), "boot");
  EXPECT_EQ(info.pool_defaults().default_ttl().seconds(), 15);
  EXPECT_EQ(info.not_serving_reason(), v1::ERROR_REASON_UNSPECIFIED);
  plane.readiness_now = plane::Readiness::kRecovering;
  Call again;
  ASSERT_TRUE(leases->GetServerInfo(&again, v1::GetServerInfoRequest(), &info).ok());
  EXPECT_EQ(info.not_serving_reason(), v1::RECOVERING);
}

TEST_F(LeaseServiceTest, TheServerSaysWhatAPoolIsButNotWhoUsesIt) {
  Call call, bad_call;
  v1::GetServerInfoResponse info;
  v1::GetServerInfoRequest request;
  ASSERT_TRUE(leases->GetServerInfo(&call, request, &info).ok());
  EXPECT_FALSE(info.has_pool());
  request.set_pool("pools/gpu");
  Call again;
  ASSERT_TRUE(leases->GetServerInfo(&again, request, &info).ok());
  EXPECT_EQ(info.instance_id(), "instance");
  EXPECT_EQ(info.pool().name(), "pools/gpu");
  EXPECT_EQ(info.pool().capacity(), 4);
  EXPECT_FALSE(info.pool().has_counts());
  request.set_pool("gpu");
  EXPECT_THAT(BadFieldsOf(leases->GetServerInfo(&bad_call, request, &info)), ElementsAre("pool"));
}

TEST_F(LeaseServiceTest, AnExceptionIsAnInternalErrorNotASilentOne) {
  plane.is_throwing = true;
  EXPECT_REFUSED(Get(kLeaseName), INTERNAL, "INTERNAL");
  EXPECT_EQ(observer.failure_count, 1);
  EXPECT_EQ(observer.count("GetLease INTERNAL"), 1);
}

TEST_F(LeaseServiceTest, AReplyThatThePlaneLosesIsAnInternalErrorNotAnOpenCall) {
  plane.is_renew_dropped = true;
  EXPECT_REFUSED(Renew(ForLease<v1::RenewLeaseRequest>()), INTERNAL, "INTERNAL");
}

TEST_F(LeaseServiceTest, CallsAreCountedByMethodAndCode) {
  Get(kLeaseName);
  Get("nonsense");
  EXPECT_TRUE(FakePlane::Await([&] { return observer.count("GetLease OK") == 1; }));
  EXPECT_EQ(observer.count("GetLease INVALID_ARGUMENT"), 1);
}

}  // namespace
}  // namespace leaseplane::rpc
