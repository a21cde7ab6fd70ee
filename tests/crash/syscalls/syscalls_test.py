# SPDX-License-Identifier: Apache-2.0
"""The worker is killed before and after its system calls, and its store is given bad ones.

One point is one run of a script of calls against the daemon while syscall_fault waits for the k-th
system call. Whatever was answered must be true afterwards: what was granted is held under the same
token, what was released is over, nothing else is held. LEASEPLANE_POINTS is the number of points,
LEASEPLANE_SEED the course.
"""

import collections
import os
import random
import time
import unittest
import uuid

import grpc

import ledger
import testbed
from fault import KILLS, Fault
from google.protobuf import duration_pb2
from leaseplane.v1 import admin_service_pb2 as admin_pb
from leaseplane.v1 import lease_pb2
from leaseplane.v1 import lease_service_pb2 as pb

POINTS = int(os.environ.get("LEASEPLANE_POINTS", "48"))
SEED = int(os.environ.get("LEASEPLANE_SEED", "0")) or random.randrange(2**31)
SLOTS = 4
STARTS_MAX = 1500  # of workers, before the keeper rations them
FAULTS = ("eio", "enospc", "short")
RETRIED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
REFUSED_BY_STORE = ("STORE_FAILED",)


class Caller:
    """Calls with retries where no worker answered; remembers what was answered."""

    def __init__(self, daemon, test, rng, has_request_ids):
        self.daemon, self.test, self.rng = daemon, test, rng
        # With an id a lease whose answer was an error is kept for the retry; without it is not.
        self.has_request_ids = has_request_ids
        self.held, self.released, self.last_token = {}, [], collections.defaultdict(int)
        self.store_refusals = self.points_here = 0
        self.connect()

    def connect(self):
        self.stub, self.admin = self.daemon.leases(unix=True), self.daemon.admin()

    def call(self, name, request, stub="stub"):
        end = time.monotonic() + testbed.WATCHDOG_S
        while True:
            try:
                return getattr(getattr(self, stub), name)(request, timeout=30)
            except grpc.RpcError as error:
                if testbed.reason_of(error)[1] in REFUSED_BY_STORE:
                    self.store_refusals += 1
                    if name == "AcquireLease":
                        return None  # nothing was granted
                    time.sleep(0.02)  # a release or renewal is repeated until the disk has it
                    continue
                if error.code() not in RETRIED or time.monotonic() > end:
                    raise AssertionError(f"{name}: {error.code()} {error.details()}") from error
            time.sleep(0.003)
            self.connect()

    def request_id(self):
        if not self.has_request_ids:
            return ""
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    def acquire(self):
        got = self.call("AcquireLease", pb.AcquireLeaseRequest(
            parent="pools/p", ttl=duration_pb2.Duration(seconds=600),
            request_id=self.request_id()))
        if got is None:
            return
        slot, token = got.lease.slot_index, got.lease.fencing_token
        self.test.assertNotIn(slot, [lease.slot_index for lease in self.held.values()])
        self.test.assertGreater(token, self.last_token[slot])
        self.last_token[slot] = token
        self.held[got.lease.name] = got.lease

    def renew(self):
        if not self.held:
            return
        lease = self.rng.choice(list(self.held.values()))
        renewed = self.call("RenewLease", pb.RenewLeaseRequest(
            name=lease.name, fencing_token=lease.fencing_token))
        self.test.assertEqual((renewed.lease.slot_index, renewed.lease.fencing_token),
                              (lease.slot_index, lease.fencing_token))

    def release(self):
        if not self.held:
            return
        lease = self.held[self.rng.choice(list(self.held))]
        self.call("ReleaseLease", pb.ReleaseLeaseRequest(
            name=lease.name, fencing_token=lease.fencing_token))
        del self.held[lease.name]
        self.released.append(lease)

    def script(self):
        """Never more than three slots are held, so every acquire finds one; one or two stay."""
        self.acquire()
        self.acquire()
        self.renew()
        self.release()
        while len(self.held) > 2:
            self.release()
        self.acquire()
        self.renew()
        self.release()

    def leases(self):
        got = self.call("ListLeases", pb.ListLeasesRequest(parent="pools/p"))
        return {lease.name: (lease.slot_index, lease.fencing_token) for lease in got.leases
                if lease.state == lease_pb2.Lease.STATE_ACTIVE}

    def check(self):
        wanted = {lease.name: (lease.slot_index, lease.fencing_token)
                  for lease in self.held.values()}
        self.test.assertEqual(self.leases(), wanted)
        for lease in self.released[-4:]:
            with self.test.assertRaisesRegex(AssertionError, "FAILED_PRECONDITION|NOT_FOUND"):
                self.call("RenewLease", pb.RenewLeaseRequest(
                    name=lease.name, fencing_token=lease.fencing_token))
        pool = self.call("GetPool", admin_pb.GetPoolRequest(name="pools/p"), stub="admin")
        self.test.assertEqual(pool.counts.free_count, SLOTS - len(self.held))


class SystemCalls(unittest.TestCase):
    def setUp(self):
        self.rng = random.Random(SEED)
        print("seed", SEED, "points", POINTS)

    def daemon(self):
        daemon = testbed.Daemon(pools=(f"p={SLOTS}",)).start()
        self.addCleanup(daemon.close)
        return daemon

    def test_killed_before_and_after_each_system_call(self):
        began, points, k, daemon = time.monotonic(), 0, collections.Counter(), None
        while points < POINTS:
            if daemon is None or points % STARTS_MAX == 0 and caller.points_here:
                if daemon is not None:
                    daemon.close()
                daemon = self.daemon()
                caller = Caller(daemon, self, self.rng, has_request_ids=True)
            mode = KILLS[points % 2]
            k[mode] += 1 if POINTS > 1000 else self.rng.randrange(1, 12)
            fault = Fault(daemon, mode, k[mode])
            if fault.is_armed:
                caller.script()
            if fault.end():
                points += 1
                caller.points_here += 1
                testbed.wait_until(lambda: daemon.worker_pid() not in (None, fault.worker),
                                   "the next worker", step_s=0.002)
            else:
                k[mode] = 0  # beyond the script's end: from the beginning again
            caller.check()
        ledger.record("daemon killed at a system call", "kill points", points,
                      time.monotonic() - began)

    def test_bad_writes_of_the_store(self):
        daemon, began = self.daemon(), time.monotonic()
        caller = Caller(daemon, self, self.rng, has_request_ids=False)
        hits = 0
        for point in range(max(6, POINTS // 4)):
            fault = Fault(daemon, FAULTS[point % 3], self.rng.randrange(1, 10))
            for _ in range(3):
                caller.script()
            hits += fault.end()
            self.assertEqual(daemon.worker_pid(), fault.worker, "a bad write ended the worker")
            caller.check()
            # The next worker reads what the store and the ledger have.
            daemon.kill_worker()
            testbed.wait_until(lambda: daemon.worker_pid() not in (None, fault.worker),
                               "the next worker", step_s=0.002)
            caller.check()
        self.assertGreater(hits, 0)
        ledger.record("daemon and bad system calls of its store", "bad calls", hits,
                      time.monotonic() - began)
        ledger.record("daemon and bad system calls of its store", "calls refused meanwhile",
                      caller.store_refusals)


if __name__ == "__main__":
    unittest.main()
