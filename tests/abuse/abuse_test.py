# SPDX-License-Identifier: Apache-2.0
"""Clients that break the rules of HTTP/2 and gRPC, or keep to them and mean harm.

A well-behaved client works throughout: every call of it is answered. Afterwards nothing is left
over: no lease, no waiter, and memory is where it was but for a bound. LEASEPLANE_ABUSE_SCALE
multiplies the numbers, LEASEPLANE_SEED changes the course.
"""

import os
import pathlib
import random
import resource
import threading
import time
import unittest
import uuid

import grpc

import h2
import ledger
import testbed
from google.protobuf import duration_pb2
from leaseplane.v1 import lease_service_pb2 as pb

SCALE = int(os.environ.get("LEASEPLANE_ABUSE_SCALE", "1"))
SEED = int(os.environ.get("LEASEPLANE_SEED", "0")) or random.randrange(2**31)
PATH = b"/leaseplane.v1.LeaseService/AcquireLease"
GROWTH_MAX_KB = 256 * 1024
OWN_CONNECTIONS_MAX = 16  # of this test's well-behaved clients
STAGE = "gRPC abuse"


class GoodClient(threading.Thread):
    """Acquires and releases in a pool of its own; remembers every call that failed."""

    def __init__(self, daemon):
        super().__init__(daemon=True)
        self.stub, self.done = daemon.leases(), threading.Event()
        self.calls, self.faults, self.slowest_s = 0, [], 0.0

    def run(self):
        while not self.done.is_set():
            began = time.monotonic()
            try:
                lease = self.stub.AcquireLease(pb.AcquireLeaseRequest(parent="pools/good"),
                                               timeout=testbed.WATCHDOG_S).lease
                self.stub.ReleaseLease(pb.ReleaseLeaseRequest(
                    name=lease.name, fencing_token=lease.fencing_token),
                    timeout=testbed.WATCHDOG_S)
            except grpc.RpcError as error:
                self.faults.append(f"{error.code()} {error.details()}")
            self.calls += 2
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            time.sleep(0.002)


def resident_kb(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no resident size")


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


class Abuse(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        print("seed", SEED, "scale", SCALE)
        cls.daemon = testbed.Daemon(pools=("good=2", "prey=4", "full=1")).start()
        cls.addClassCleanup(cls.daemon.close)
        cls.worker = cls.daemon.worker_pid()
        cls.good = GoodClient(cls.daemon)
        cls.good.start()
        cls.rng = h2.rng_of(SEED)
        # What a first load makes the allocator keep is not a leak.
        cls.malformed(200)
        cls.before_kb = resident_kb(cls.worker)
        cls.before_descriptors = descriptors(cls.worker)

    @classmethod
    def tearDownClass(cls):
        cls.good.done.set()
        cls.good.join()

    def tearDown(self):
        self.assertEqual(self.daemon.worker_pid(), self.worker, self.daemon.log_text()[-3000:])
        self.assertEqual(self.good.faults, [])
        self.assertTrue(self.good.is_alive())
        testbed.wait_until(self.nothing_is_left, "what the abuse left to go away", step_s=0.05)
        grown_kb = resident_kb(self.worker) - self.before_kb
        self.assertLess(grown_kb, GROWTH_MAX_KB)
        ledger.record(STAGE, "max MiB that the daemon grew", max(0, grown_kb) // 1024)
        ledger.record(STAGE, "max ms of a good client's pair of calls", self.good.slowest_s * 1e3)

    def nothing_is_left(self):
        for pool in ("prey", "full"):
            counts = testbed.pool_counts(self.daemon, pool)["counts"]
            if counts["busyCount"] or counts["waiterCount"]:
                return False
        return descriptors(self.worker) <= self.before_descriptors + OWN_CONNECTIONS_MAX

    def request(self, **fields):
        fields.setdefault("parent", "pools/prey")
        fields.setdefault("ttl", duration_pb2.Duration(seconds=1))
        return pb.AcquireLeaseRequest(**fields)

    @classmethod
    def malformed(cls, connections):
        frames = 0
        body = pb.AcquireLeaseRequest(parent="pools/prey",
                                      ttl=duration_pb2.Duration(seconds=1)).SerializeToString()
        for _ in range(connections):
            connection = h2.Connection(cls.daemon.grpc_address, hello=cls.rng.random() < 0.95)
            try:
                for piece in h2.mutated(cls.rng, PATH, body):
                    connection.send(piece)
                    frames += 1
            except OSError:
                pass
            connection.end()
        return frames

    def test_malformed_frames(self):
        began = time.monotonic()
        frames = self.malformed(1500 * SCALE)
        ledger.record(STAGE, "malformed or odd frames", frames, time.monotonic() - began)

    def test_rapid_reset(self):
        began, resets = time.monotonic(), 0
        headers = h2.call_headers(PATH)
        for _ in range(4 * SCALE):
            connection, stream = h2.Connection(self.daemon.grpc_address), 1
            try:
                for _ in range(500):
                    connection.send(
                        h2.frame(h2.HEADERS, h2.END_HEADERS, stream, headers) +
                        h2.frame(h2.DATA, h2.END_STREAM, stream,
                                 h2.message(self.request().SerializeToString())) +
                        h2.frame(h2.RST, 0, stream, b"\0\0\0\x08"))
                    connection.drain()
                    stream, resets = stream + 2, resets + 1
            except OSError:
                pass  # it has had enough of us
            connection.end()
        self.assertGreater(resets, 0)
        ledger.record(STAGE, "streams reset at once", resets, time.monotonic() - began)

    def test_header_floods(self):
        began, sent = time.monotonic(), 0
        for _ in range(20 * SCALE):
            connection = h2.Connection(self.daemon.grpc_address)
            try:
                large = h2.call_headers(PATH, [(b"x-%d" % i, b"y" * 8000) for i in range(128)])
                connection.send(h2.frame(h2.HEADERS, 0, 1, large[:16000]))
                for start in range(16000, len(large), 16000):
                    connection.send(h2.frame(h2.CONTINUATION, 0, 1, large[start:start + 16000]))
                    sent += 16000
                for _ in range(200):  # a block of headers that never ends
                    connection.send(h2.frame(h2.CONTINUATION, 0, 1, h2.literal(b"a", b"b") * 100))
                    sent += 1000
            except OSError:
                pass
            connection.end()
        ledger.record(STAGE, "bytes of header floods", sent, time.monotonic() - began)

    def test_many_slow_and_silent_connections(self):
        began = time.monotonic()
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        room = most - 200
        count = min(10000, 300 * SCALE, room)
        headers = h2.frame(h2.HEADERS, h2.END_HEADERS, 1, h2.call_headers(PATH))
        connections = []
        for i in range(count):
            try:
                connection = h2.Connection(self.daemon.grpc_address, hello=i % 3 != 0)
            except OSError:
                break  # its own limit, and it says so by closing
            connections.append(connection)
            try:
                if i % 3 == 1:  # begins a call and never ends it
                    connection.send(headers + h2.frame(h2.DATA, 0, 1, b"\0\0\0\x10\0"))
                if i % 3 == 2:  # asks, and gives no room for the answer
                    connection.send(h2.frame(h2.SETTINGS, 0, 0, b"\0\x04\0\0\0\0") + headers[:20])
            except OSError:
                pass
        before = self.good.calls
        testbed.wait_until(lambda: self.good.calls > before + 20, "the good client to be served")
        for connection in connections:  # a byte at a time
            try:
                connection.send(b"\0")
            except OSError:
                pass
        for connection in connections:
            connection.close()
        self.assertGreater(len(connections), count // 2)
        ledger.record(STAGE, "slow, half-open and silent connections", len(connections),
                      time.monotonic() - began)

    def test_waits_cancelled_en_masse(self):
        began, cancelled = time.monotonic(), 0
        stub = self.daemon.leases()
        holder = stub.AcquireLease(pb.AcquireLeaseRequest(
            parent="pools/full", ttl=duration_pb2.Duration(seconds=3600)), timeout=60).lease
        for _ in range(70 * SCALE):
            calls = [stub.AcquireLease.future(self.request(
                parent="pools/full", max_wait_duration=duration_pb2.Duration(seconds=40)))
                for _ in range(300)]
            time.sleep(self.rng.random() * 0.02)
            for call in calls:
                call.cancel()
            cancelled += len(calls)
        stub.ReleaseLease(pb.ReleaseLeaseRequest(
            name=holder.name, fencing_token=holder.fencing_token), timeout=60)
        ledger.record(STAGE, "cancelled waits", cancelled, time.monotonic() - began)

    def test_one_request_id_many_times_at_once(self):
        began, stub, count = time.monotonic(), self.daemon.leases(), 0
        for _ in range(20 * SCALE):
            request = self.request(request_id=str(uuid.UUID(int=self.rng.getrandbits(128),
                                                            version=4)))
            calls = [stub.AcquireLease.future(request, timeout=60) for _ in range(20)]
            names = {call.result().lease.name for call in calls}
            self.assertEqual(len(names), 1, "one wish, several leases")
            got = calls[0].result().lease
            stub.ReleaseLease(pb.ReleaseLeaseRequest(
                name=got.name, fencing_token=got.fencing_token), timeout=60)
            count += len(calls)
        ledger.record(STAGE, "calls with a request id of another", count,
                      time.monotonic() - began)

    def test_no_time_at_all(self):
        began, stub, late = time.monotonic(), self.daemon.leases(), 0
        for _ in range(500 * SCALE):
            try:
                lease = stub.AcquireLease(self.request(), timeout=self.rng.choice(
                    (0, 1e-6, 1e-4, 1e-3))).lease
                stub.ReleaseLease(pb.ReleaseLeaseRequest(
                    name=lease.name, fencing_token=lease.fencing_token), timeout=60)
            except grpc.RpcError as error:
                late += error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        self.assertGreater(late, 0)
        ledger.record(STAGE, "calls without time", late, time.monotonic() - began)


if __name__ == "__main__":
    unittest.main()
