# SPDX-License-Identifier: Apache-2.0
"""Bad input gets the status, the reason and the field, and loses nothing."""

import pathlib
import random
import unittest

import grpc

import testbed
from google.protobuf import duration_pb2
from leaseplane.v1 import admin_service_pb2 as admin_pb, lease_service_pb2 as pb

D = duration_pb2.Duration
UUID = "0f0e0d0c-0b0a-4908-8706-05040302010%d"


def acquire(**fields):
    return pb.AcquireLeaseRequest(**{"parent": "pools/gpu", **fields})


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = testbed.Daemon(pools=("gpu=3", "db=2")).start()
        cls.stub = cls.daemon.leases()

    @classmethod
    def tearDownClass(cls):
        cls.daemon.close()

    def tearDown(self):
        counts = testbed.wait_until(
            lambda: (lambda c: c if c["freeCount"] == 3 and c["waiterCount"] == 0 else None)(
                testbed.pool_counts(self.daemon, "gpu")["counts"]),
            "every slot to be free and nobody waiting")
        self.assertEqual(counts["busyCount"], 0)

    def refused(self, call, request, timeout=10):
        with self.assertRaises(grpc.RpcError) as caught:
            call(request, timeout=timeout)
        return testbed.reason_of(caught.exception)

    def test_fields_of_acquire(self):
        cases = [
            (acquire(parent="pools/nope"), "NOT_FOUND", None),
            (acquire(parent="gpu"), "INVALID_ARGUMENT", "parent"),
            (acquire(parent=""), "INVALID_ARGUMENT", "parent"),
            (acquire(parent="pools/GPU!"), "INVALID_ARGUMENT", "parent"),
            (acquire(slot_count=2), "INVALID_ARGUMENT", "slot_count"),
            (acquire(slot_count=-1), "INVALID_ARGUMENT", "slot_count"),
            (acquire(ttl=D(seconds=-5)), "INVALID_ARGUMENT", "ttl"),
            (acquire(ttl=D(nanos=1)), "INVALID_ARGUMENT", "ttl"),
            (acquire(ttl=D(seconds=10**11)), "INVALID_ARGUMENT", "ttl"),
            (acquire(ttl=D(seconds=5, nanos=-1)), "INVALID_ARGUMENT", "ttl"),
            (acquire(max_wait_duration=D(seconds=-1)), "INVALID_ARGUMENT", "max_wait_duration"),
            (acquire(max_wait_duration=D(seconds=3601)), "INVALID_ARGUMENT", "max_wait_duration"),
            (acquire(request_id="not-a-uuid"), "INVALID_ARGUMENT", "request_id"),
            (acquire(client_id="x" * 64), "INVALID_ARGUMENT", "client_id"),
            (acquire(client_id="a\nb"), "INVALID_ARGUMENT", "client_id"),
            (acquire(metadata={"k": "v" * 600}), "INVALID_ARGUMENT", "metadata"),
            (acquire(metadata={str(i): "" for i in range(40)}), "INVALID_ARGUMENT", "metadata"),
        ]
        for request, code, field in cases:
            with self.subTest(request=str(request)):
                got, _, fields = self.refused(self.stub.AcquireLease, request)
                self.assertEqual(got, code)
                if field:
                    self.assertIn(field, " ".join(fields))
                    self.assertTrue(all(fields.values()), "says what is valid")

    def test_invalid_utf8_is_refused(self):
        raw = self.daemon.channel().unary_unary("/leaseplane.v1.LeaseService/AcquireLease")
        body = acquire().SerializeToString() + b"\x2a\x02\xc3\x28"  # client_id
        got = self.refused(raw, body)[0]
        self.assertIn(got, ("INVALID_ARGUMENT", "INTERNAL"))
        garbage = self.refused(raw, b"\xff" * 40)[0]
        self.assertIn(garbage, ("INVALID_ARGUMENT", "INTERNAL"))

    def test_other_holders_leases_and_other_slots_tokens(self):
        mine = self.stub.AcquireLease(acquire(client_id="mine"), timeout=10).lease
        other = self.stub.AcquireLease(acquire(client_id="other"), timeout=10).lease
        renew = pb.RenewLeaseRequest(name=mine.name, fencing_token=mine.fencing_token,
                                     client_id="other")
        self.assertEqual(self.refused(self.stub.RenewLease, renew)[:2],
                         ("PERMISSION_DENIED", "NOT_HOLDER"))
        wrong = mine.fencing_token + 1
        for call, request in (
                (self.stub.RenewLease, pb.RenewLeaseRequest(name=mine.name, fencing_token=wrong)),
                (self.stub.ReleaseLease,
                 pb.ReleaseLeaseRequest(name=mine.name, fencing_token=wrong))):
            self.assertEqual(self.refused(call, request)[:2], ("ABORTED", "STALE_TOKEN"))
        for token in (0, -1, 2**53):
            request = pb.ReleaseLeaseRequest(name=mine.name, fencing_token=token)
            self.assertEqual(self.refused(self.stub.ReleaseLease, request)[0], "INVALID_ARGUMENT")
        for lease in (mine, other):
            self.stub.ReleaseLease(pb.ReleaseLeaseRequest(
                name=lease.name, fencing_token=lease.fencing_token), timeout=10)

    def test_names_that_do_not_exist(self):
        for name in ("pools/gpu/leases/" + "0" * 31 + "1", "pools/nope/leases/" + "0" * 32):
            self.assertIn(self.refused(self.stub.GetLease, pb.GetLeaseRequest(name=name))[0],
                          ("NOT_FOUND", "INVALID_ARGUMENT"))
        for name in ("", "pools/gpu", "pools/gpu/leases/xyz", "pools/gpu/leases/local-9-1"):
            code = self.refused(self.stub.GetLease, pb.GetLeaseRequest(name=name))[0]
            self.assertIn(code, ("INVALID_ARGUMENT", "NOT_FOUND"), name)
        admin = self.daemon.admin()
        lock = admin_pb.LockSlotRequest(name="pools/gpu/slots/77", reason="x")
        self.assertEqual(self.refused(admin.LockSlot, lock)[0], "NOT_FOUND")
        unlock = admin_pb.UnlockSlotRequest(name="pools/gpu/slots/0")
        self.assertEqual(self.refused(admin.UnlockSlot, unlock)[:2],
                         ("FAILED_PRECONDITION", "FAILED_PRECONDITION"))
        check = pb.CheckTokenRequest(name="pools/gpu/slots/99", fencing_token=1)
        self.assertEqual(self.refused(self.stub.CheckToken, check)[0], "NOT_FOUND")

    def test_deadlines_that_are_over_and_cancelled_waits_leave_nothing(self):
        held = [self.stub.AcquireLease(acquire(), timeout=10).lease for _ in range(3)]
        for timeout in (0.0, 0.000001, 0.05):
            with self.assertRaises(grpc.RpcError):
                self.stub.AcquireLease(acquire(max_wait_duration=D(seconds=5)), timeout=timeout)
        for _ in range(50):
            call = self.stub.AcquireLease.future(acquire(max_wait_duration=D(seconds=5)),
                                                 timeout=10)
            call.cancel()
        stream = self.stub.StreamAcquireLease(pb.StreamAcquireLeaseRequest(
            acquire=acquire(max_wait_duration=D(seconds=50))), timeout=60)
        self.assertTrue(next(stream).HasField("queued"))
        stream.cancel()
        for lease in held:
            self.stub.ReleaseLease(pb.ReleaseLeaseRequest(
                name=lease.name, fencing_token=lease.fencing_token), timeout=10)

    def test_pools_that_cannot_be(self):
        admin = self.daemon.admin()
        from leaseplane.v1 import lease_pb2
        cases = [("gpu", 3, "ALREADY_EXISTS"), ("Bad", 3, "INVALID_ARGUMENT"),
                 ("x" * 64, 3, "INVALID_ARGUMENT"), ("big", 2**20 + 1, "INVALID_ARGUMENT"),
                 ("none", 0, "INVALID_ARGUMENT"), ("neg", -4, "INVALID_ARGUMENT")]
        for pool_id, capacity, code in cases:
            with self.subTest(pool_id=pool_id[:10]):
                request = admin_pb.CreatePoolRequest(pool_id=pool_id,
                                                     pool=lease_pb2.Pool(capacity=capacity))
                self.assertEqual(self.refused(admin.CreatePool, request)[0], code)

    def test_ten_thousand_bad_requests_do_not_grow_the_daemon(self):
        seed = 20240101
        print("seed", seed)
        rng = random.Random(seed)

        def resident_kib():
            text = pathlib.Path(f"/proc/{self.daemon.worker_pid()}/status").read_text()
            return int(next(line.split()[1] for line in text.splitlines() if "VmRSS" in line))

        raw = self.daemon.channel().unary_unary("/leaseplane.v1.LeaseService/AcquireLease")

        def burst(count):
            for _ in range(count):
                body = bytearray(acquire(client_id="x" * 30, request_id=UUID % 1,
                                         slot_count=3).SerializeToString())
                for _ in range(rng.randrange(4)):
                    body[rng.randrange(len(body))] = rng.randrange(256)
                try:
                    lease = pb.AcquireLeaseResponse.FromString(raw(bytes(body), timeout=10)).lease
                    self.stub.ReleaseLease(pb.ReleaseLeaseRequest(
                        name=lease.name, fencing_token=lease.fencing_token), timeout=10)
                except grpc.RpcError:
                    pass

        burst(2000)
        before = resident_kib()
        burst(8000)
        self.assertLess(resident_kib() - before, 8 * 1024)


if __name__ == "__main__":
    unittest.main()
