# SPDX-License-Identifier: Apache-2.0
"""The worker is killed at random instants while slots are leased from both sides.

No answered lease is missing or doubled, tokens strictly increase per slot, and the fast path goes
on while no worker is there.
"""

import os
import pathlib
import random
import signal
import subprocess
import tempfile
import threading
import time
import unittest
import uuid

import grpc

import testbed
from google.protobuf import duration_pb2
from guard import Guard
from leaseplane.v1 import lease_service_pb2 as pb

KILLS = int(os.environ.get("LEASEPLANE_KILLS", "1000"))
SEED = int(os.environ.get("LEASEPLANE_SEED", "0")) or random.randrange(2**31)
SLOTS, REMOTE_THREADS, LOCAL_PROCESSES = 6, 4, 2
RETRIED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class RemoteHolder(threading.Thread):
    """Acquires, renews and releases with retries; every answer must stay true."""

    def __init__(self, daemon, guard, index):
        super().__init__()
        self.daemon, self.guard, self.index = daemon, guard, index
        self.connect()
        self.rng = random.Random(SEED + index)
        self.done = threading.Event()
        self.leases, self.faults = 0, []

    def connect(self):
        # A new channel: an old one would wait for seconds before it tries the address again.
        self.stub = self.daemon.leases(unix=self.index % 2 == 0)

    def call(self, name, request):
        """The answer, or the error that is one; repeats what failed because no worker was there."""
        while True:
            try:
                return getattr(self.stub, name)(request, timeout=5)
            except grpc.RpcError as error:
                if error.code() not in RETRIED:
                    return error
            time.sleep(0.005)
            self.connect()

    def fault(self, text):
        if text:
            self.faults.append(f"remote {self.index}: {text}")

    def run(self):
        while not self.done.is_set():
            got = self.call("AcquireLease", pb.AcquireLeaseRequest(
                parent="pools/p", ttl=duration_pb2.Duration(seconds=60),
                max_wait_duration=duration_pb2.Duration(seconds=2),
                request_id=str(uuid.UUID(int=self.rng.getrandbits(128), version=4))))
            if isinstance(got, grpc.RpcError):
                reason = testbed.reason_of(got)
                if reason[1] not in ("WAIT_TIMEOUT", "NO_FREE_SLOT"):
                    self.fault(f"acquire: {reason} {got.details()}")
                continue
            lease, who = got.lease, 10**9 + self.index
            self.leases += 1
            self.fault(self.guard.enter(lease.slot_index, lease.fencing_token, who))
            time.sleep(self.rng.random() * 0.02)
            renewed = self.call("RenewLease", pb.RenewLeaseRequest(
                name=lease.name, fencing_token=lease.fencing_token))
            if isinstance(renewed, grpc.RpcError):
                self.fault(f"renew of {lease.name}: {testbed.reason_of(renewed)}")
            elif renewed.lease.slot_index != lease.slot_index:
                self.fault(f"{lease.name} moved to slot {renewed.lease.slot_index}")
            self.fault(self.guard.leave(lease.slot_index, who))
            released = self.call("ReleaseLease", pb.ReleaseLeaseRequest(
                name=lease.name, fencing_token=lease.fencing_token))
            if isinstance(released, grpc.RpcError):
                self.fault(f"release of {lease.name}: {testbed.reason_of(released)}")


class WorkerKill(unittest.TestCase):
    def test_nothing_answered_is_lost_or_doubled(self):
        print("seed", SEED, "kills", KILLS)
        rng = random.Random(SEED)
        with tempfile.TemporaryDirectory(prefix="lp-") as folder, \
                testbed.Daemon(pools=(f"p={SLOTS}",)) as daemon:
            guard = Guard(pathlib.Path(folder) / "guard")
            load_log = open(pathlib.Path(folder) / "load", "w+")
            local = [subprocess.Popen(
                [str(testbed.BIN / "local_load"), f"unix:{daemon.socket}", "p",
                 str(pathlib.Path(folder) / "guard"), str(i), "300"],
                stdout=subprocess.PIPE, stderr=load_log) for i in range(LOCAL_PROCESSES)]
            for process in local:
                self.assertEqual(process.stdout.readline(), b"ready\n")
            remote = [RemoteHolder(daemon, guard, i) for i in range(REMOTE_THREADS)]
            for thread in remote:
                thread.start()
            try:
                went_on, away_s = self.kill_repeatedly(daemon, guard, rng)
            finally:
                for thread in remote:
                    thread.done.set()
                for thread in remote:
                    thread.join()
                for process in local:
                    process.send_signal(signal.SIGTERM)
                codes = [process.wait(testbed.WATCHDOG_S) for process in local]
                for process in local:
                    process.stdout.close()
            load_log.seek(0)
            complaints = load_log.read()
            load_log.close()
            away_s.sort()
            print(f"kills {KILLS}, remote leases {sum(t.leases for t in remote)}, local "
                  f"operations {[guard.operations(i) for i in range(LOCAL_PROCESSES)]}, "
                  f"worker away p50 {away_s[len(away_s) // 2] * 1e3:.0f} ms "
                  f"p99 {away_s[len(away_s) * 99 // 100] * 1e3:.0f} ms, "
                  f"fast path went on in {went_on} of {KILLS}")
            self.assertEqual([f for t in remote for f in t.faults], [])
            self.assertEqual(complaints, "")
            self.assertEqual(codes, [0] * LOCAL_PROCESSES)
            self.assertEqual(guard.violations, 0)
            self.assertGreater(went_on, KILLS * 0.9)
            self.assertEqual(self.settled(daemon)["freeCount"], SLOTS)

    def settled(self, daemon):
        return testbed.wait_until(
            lambda: (lambda c: c if c["freeCount"] == SLOTS else None)(
                testbed.pool_counts(daemon, "p")["counts"]), "every slot to come back")

    def kill_repeatedly(self, daemon, guard, rng):
        """(kills during which local operations went on, seconds until a worker was back)"""
        went_on, away_s = 0, []
        operations = lambda: sum(guard.operations(i) for i in range(LOCAL_PROCESSES))
        for _ in range(KILLS):
            time.sleep(rng.random() * 0.06)
            old = daemon.kill_worker()
            killed_at, before = time.monotonic(), operations()

            def answers():
                if daemon.worker_pid() in (None, old):
                    return False
                try:
                    return daemon.leases(unix=True).GetServerInfo(
                        pb.GetServerInfoRequest(), timeout=5)
                except grpc.RpcError:
                    return False

            testbed.wait_until(answers, "a new worker", step_s=0.002)
            away_s.append(time.monotonic() - killed_at)
            went_on += operations() > before
        return went_on, away_s


if __name__ == "__main__":
    unittest.main()
