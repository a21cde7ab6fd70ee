# SPDX-License-Identifier: Apache-2.0
"""The worker is killed before and after its system calls while a pool moves to other memory.

One point is one move: a hostile process zeroes the words of a pool that has remote and local
holders, syscall_fault waits for the k-th call after the first that makes new memory. Remote leases
stay what they are, no slot is lost and tokens grow. A worker that dies before the move begins
leaves the zeroes to its successor: they may hide a local hold, and then the next grant's token has
to tell. Once it has begun, the holders are asked and keep what they hold. LEASEPLANE_POINTS is the
number of points.
"""

import collections
import http.client
import os
import random
import subprocess
import time
import unittest

import grpc

import ledger
import testbed
from fault import KILLS, Fault
from google.protobuf import duration_pb2
from leaseplane.v1 import lease_service_pb2 as pb

POINTS = int(os.environ.get("LEASEPLANE_POINTS", "6"))
SEED = int(os.environ.get("LEASEPLANE_SEED", "0")) or random.randrange(2**31)
SLOTS, HELD, REMOTE = 8, 3, 2
ROTATIONS = 'leaseplane_rotations_total{pool="attacked"}'


class RotationKill(unittest.TestCase):
    def setUp(self):
        self.rng = random.Random(SEED)
        print("seed", SEED, "points", POINTS)
        self.daemon = testbed.Daemon(pools=(f"attacked={SLOTS}", "quiet=2")).start()
        self.addCleanup(self.daemon.close)
        self.remote = [self.acquire() for _ in range(REMOTE)]
        self.begun = 0

    def start_holder(self):
        self.holder = subprocess.Popen(
            [str(testbed.BIN / "holder_client"), f"unix:{self.daemon.socket}", "attacked",
             str(HELD), "quiet"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.local = [tuple(map(int, self.holder.stdout.readline().split())) for _ in range(HELD)]
        self.assertEqual(self.holder.stdout.readline(), "ready\n")

    def end_holder(self):
        self.holder.stdin.close()
        self.holder.wait(testbed.WATCHDOG_S)
        self.holder.stdout.close()

    def call(self, name, request):
        """Repeated where no worker answers, or one that does not know yet who holds what."""
        end = time.monotonic() + testbed.WATCHDOG_S
        while True:
            try:
                return getattr(self.daemon.leases(unix=True), name)(request, timeout=30)
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE or time.monotonic() > end:
                    raise AssertionError(f"{name}: {error.code()} {error.details()}") from error
            time.sleep(0.02)

    def acquire(self):
        return self.call("AcquireLease", pb.AcquireLeaseRequest(
            parent="pools/attacked", ttl=duration_pb2.Duration(seconds=600))).lease

    def still_held(self):
        self.holder.stdin.write("?\n")
        self.holder.stdin.flush()
        return int(self.holder.stdout.readline())

    def attack(self, fault):
        """Until the worker is dead, or the pool has moved without it."""
        before = self.daemon.metrics()[ROTATIONS]
        writer = subprocess.Popen(
            [str(testbed.BIN / "hostile_writer"), str(self.daemon.socket), "attacked", "1", "600",
             "zeros"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def has_moved():
            if fault.is_over():
                return True
            try:
                return self.daemon.metrics()[ROTATIONS] > before
            except (OSError, http.client.HTTPException):
                return False  # the worker has just been killed

        try:
            testbed.wait_until(has_moved, "the pool to move", step_s=0.005)
        finally:
            writer.kill()
            writer.wait()

    def has_new_memory(self):
        """As the last worker that started found it."""
        started = [line for line in self.daemon.log_text().splitlines()
                   if "pool started pool=attacked" in line]
        return "segment=new" in started[-1]

    def check(self, has_begun):
        for lease in self.remote:
            again = self.call("RenewLease", pb.RenewLeaseRequest(
                name=lease.name, fencing_token=lease.fencing_token)).lease
            self.assertEqual((again.slot_index, again.fencing_token),
                             (lease.slot_index, lease.fencing_token))
        new = self.acquire()
        self.assertNotIn(new.slot_index, [lease.slot_index for lease in self.remote])
        kept = [self.call("CheckToken", pb.CheckTokenRequest(
            name=f"pools/attacked/slots/{slot}", fencing_token=token)).valid
                for slot, token in self.local]
        for (slot, token), is_valid in zip(self.local, kept):
            if slot == new.slot_index:
                self.assertFalse(is_valid, "given to two holders")
                self.assertGreater(new.fencing_token, token)
        if has_begun:
            self.assertTrue(all(kept), "a hold was lost although its holder was asked")
            self.assertEqual(self.still_held(), HELD + 1, "a local holder believes it has lost")
        self.call("ReleaseLease", pb.ReleaseLeaseRequest(
            name=new.name, fencing_token=new.fencing_token))
        self.end_holder()
        testbed.wait_until(
            lambda: testbed.pool_counts(self.daemon, "attacked")["counts"]["freeCount"] ==
            SLOTS - REMOTE, "every other slot to be free")

    def test_nobody_loses_a_lease(self):
        began, points, k = time.monotonic(), 0, collections.Counter()
        while points < POINTS:
            mode = KILLS[points % 2]
            k[mode] = k[mode] + 1 if POINTS > 100 else self.rng.randrange(1, 120)
            self.start_holder()
            fault = Fault(self.daemon, mode, k[mode], "segment")
            self.attack(fault)
            if fault.end():
                points += 1
                testbed.wait_until(lambda: self.daemon.worker_pid() not in (None, fault.worker),
                                   "the next worker", step_s=0.002)
                self.call("GetServerInfo", pb.GetServerInfoRequest())
                has_begun = self.has_new_memory()
                self.begun += has_begun
                self.check(has_begun)
                continue
            k[mode] = 0  # beyond the move's end: from the beginning again
            self.check(has_begun=True)
            self.daemon.kill_worker()  # one worker moves a pool once in ten seconds
        ledger.record("daemon killed at a system call of a rotation", "kill points", points,
                      time.monotonic() - began)
        ledger.record("daemon killed at a system call of a rotation",
                      "of them after holders were asked", self.begun)


if __name__ == "__main__":
    unittest.main()
