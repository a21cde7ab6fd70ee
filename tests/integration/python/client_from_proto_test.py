# SPDX-License-Identifier: Apache-2.0
"""A client made from proto/ alone acquires, renews, checks and releases."""

import unittest

import grpc

import testbed
from google.protobuf import duration_pb2
from leaseplane.v1 import lease_pb2, lease_service_pb2 as pb


def seconds(value):
    duration = duration_pb2.Duration()
    duration.FromNanoseconds(round(value * 1e9))
    return duration


class ClientFromProto(unittest.TestCase):
    def setUp(self):
        self.daemon = testbed.Daemon(pools=("gpu=2",)).start()
        self.addCleanup(self.daemon.close)

    def test_acquires_renews_checks_and_releases_on_both_transports(self):
        for unix in (False, True):
            with self.subTest(unix=unix):
                self.life_of_a_lease(self.daemon.leases(unix))

    def life_of_a_lease(self, stub):
        got = stub.AcquireLease(
            pb.AcquireLeaseRequest(parent="pools/gpu", ttl=seconds(30), client_id="py",
                                   metadata={"job": "17"}), timeout=10)
        lease = got.lease
        self.assertEqual(lease.state, lease_pb2.Lease.STATE_ACTIVE)
        self.assertTrue(0 < lease.fencing_token < 2**53)
        self.assertEqual(dict(lease.metadata), {"job": "17"})
        self.assertTrue(29 < got.remaining_duration.ToNanoseconds() / 1e9 <= 30)
        self.assertEqual(got.renew_interval.ToNanoseconds(), 10 * 10**9)

        renewed = stub.RenewLease(
            pb.RenewLeaseRequest(name=lease.name, fencing_token=lease.fencing_token,
                                 ttl=seconds(60)), timeout=10)
        self.assertTrue(59 < renewed.remaining_duration.ToNanoseconds() / 1e9 <= 60)
        self.assertEqual(renewed.lease.fencing_token, lease.fencing_token)

        slot = f"pools/gpu/slots/{lease.slot_index}"
        check = stub.CheckToken(
            pb.CheckTokenRequest(name=slot, fencing_token=lease.fencing_token), timeout=10)
        self.assertTrue(check.valid)

        release = pb.ReleaseLeaseRequest(name=lease.name, fencing_token=lease.fencing_token)
        stub.ReleaseLease(release, timeout=10)
        stub.ReleaseLease(release, timeout=10)  # idempotent for its holder
        check = stub.CheckToken(
            pb.CheckTokenRequest(name=slot, fencing_token=lease.fencing_token), timeout=10)
        self.assertFalse(check.valid)
        with self.assertRaises(grpc.RpcError) as caught:
            stub.RenewLease(pb.RenewLeaseRequest(name=lease.name,
                                                 fencing_token=lease.fencing_token), timeout=10)
        self.assertEqual(testbed.reason_of(caught.exception)[:2],
                         ("FAILED_PRECONDITION", "LEASE_RELEASED"))

    def test_tokens_of_a_slot_only_grow(self):
        stub, last = self.daemon.leases(), {}
        for _ in range(200):
            lease = stub.AcquireLease(pb.AcquireLeaseRequest(parent="pools/gpu"), timeout=10).lease
            self.assertGreater(lease.fencing_token, last.get(lease.slot_index, 0))
            last[lease.slot_index] = lease.fencing_token
            stub.ReleaseLease(pb.ReleaseLeaseRequest(name=lease.name,
                                                     fencing_token=lease.fencing_token), timeout=10)

    def test_a_full_pool_says_so_at_once_and_grants_in_order_when_asked_to_wait(self):
        stub = self.daemon.leases()
        held = [stub.AcquireLease(pb.AcquireLeaseRequest(parent="pools/gpu"), timeout=10).lease
                for _ in range(2)]
        with self.assertRaises(grpc.RpcError) as caught:
            stub.AcquireLease(pb.AcquireLeaseRequest(parent="pools/gpu"), timeout=10)
        self.assertEqual(testbed.reason_of(caught.exception)[:2],
                         ("RESOURCE_EXHAUSTED", "NO_FREE_SLOT"))
        with self.assertRaises(grpc.RpcError) as caught:
            stub.AcquireLease(pb.AcquireLeaseRequest(parent="pools/gpu",
                                                     max_wait_duration=seconds(0.2)), timeout=10)
        self.assertEqual(testbed.reason_of(caught.exception)[:2],
                         ("RESOURCE_EXHAUSTED", "WAIT_TIMEOUT"))
        wait = stub.AcquireLease.future(
            pb.AcquireLeaseRequest(parent="pools/gpu", max_wait_duration=seconds(30)), timeout=40)
        testbed.wait_until(
            lambda: testbed.pool_counts(self.daemon, "gpu")["counts"]["waiterCount"] == 1,
            "the waiter")
        stub.ReleaseLease(pb.ReleaseLeaseRequest(name=held[0].name,
                                                 fencing_token=held[0].fencing_token), timeout=10)
        got = wait.result(30)
        self.assertEqual(got.lease.slot_index, held[0].slot_index)
        self.assertGreater(got.lease.fencing_token, held[0].fencing_token)
        self.assertGreater(got.queued_duration.ToNanoseconds(), 0)

    def test_a_lease_that_is_not_renewed_expires_and_stays_dead(self):
        stub = self.daemon.leases()
        lease = stub.AcquireLease(pb.AcquireLeaseRequest(parent="pools/gpu", ttl=seconds(1)),
                                  timeout=10).lease

        ended = testbed.wait_until(
            lambda: (lambda l: l if l.state != lease_pb2.Lease.STATE_ACTIVE else None)(
                stub.GetLease(pb.GetLeaseRequest(name=lease.name), timeout=10)), "the expiry")
        self.assertEqual(ended.state, lease_pb2.Lease.STATE_EXPIRED)
        with self.assertRaises(grpc.RpcError) as caught:
            stub.RenewLease(pb.RenewLeaseRequest(name=lease.name,
                                                 fencing_token=lease.fencing_token), timeout=10)
        self.assertEqual(testbed.reason_of(caught.exception)[1], "LEASE_EXPIRED")

    def test_the_same_request_id_gets_the_same_lease(self):
        stub = self.daemon.leases()
        request = pb.AcquireLeaseRequest(parent="pools/gpu", ttl=seconds(20),
                                         request_id="0f0e0d0c-0b0a-4908-8706-050403020100")
        first = stub.AcquireLease(request, timeout=10).lease
        again = stub.AcquireLease(request, timeout=10).lease
        self.assertEqual((first.name, first.fencing_token), (again.name, again.fencing_token))
        request.ttl.CopyFrom(seconds(21))
        with self.assertRaises(grpc.RpcError) as caught:
            stub.AcquireLease(request, timeout=10)
        self.assertEqual(testbed.reason_of(caught.exception)[:2],
                         ("INVALID_ARGUMENT", "REQUEST_ID_CONFLICT"))

    def test_keep_alive_renews_and_tells_of_a_revocation(self):
        from leaseplane.v1 import admin_service_pb2 as admin_pb
        import queue
        stub = self.daemon.leases()
        lease = stub.AcquireLease(pb.AcquireLeaseRequest(parent="pools/gpu", ttl=seconds(30)),
                                  timeout=10).lease
        outgoing = queue.Queue()
        answers = stub.KeepAlive(iter(outgoing.get, None), timeout=60)
        outgoing.put(pb.KeepAliveRequest(renewals=[pb.KeepAliveRequest.Renewal(
            name=lease.name, fencing_token=lease.fencing_token, sequence=7)]))
        first = next(answers)
        self.assertEqual((first.renewed.name, first.renewed.sequence), (lease.name, 7))
        self.daemon.admin().RevokeLease(
            admin_pb.RevokeLeaseRequest(name=lease.name, reason="test"), timeout=10)
        second = next(answers)
        self.assertEqual(second.lost.name, lease.name)
        outgoing.put(None)


if __name__ == "__main__":
    unittest.main()
