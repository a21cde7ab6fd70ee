# SPDX-License-Identifier: Apache-2.0
"""A hostile process in one pool: the daemon stands, remote leases stand, the other pool too.

LEASEPLANE_HOSTILE_SECONDS and LEASEPLANE_SEED change length and course; LEASEPLANE_DAEMON and
LEASEPLANE_HONEST_CLIENT name other builds of the two programs (AddressSanitizer).
"""

import os
import pathlib
import random
import re
import signal
import subprocess
import tempfile
import threading
import time
import unittest

import grpc

import ledger
import testbed
from google.protobuf import duration_pb2
from guard import Guard
from leaseplane.v1 import lease_service_pb2 as pb

SECONDS = float(os.environ.get("LEASEPLANE_HOSTILE_SECONDS", "15"))
SEED = int(os.environ.get("LEASEPLANE_SEED", "0")) or random.randrange(2**31)
HONEST = os.environ.get("LEASEPLANE_HONEST_CLIENT", str(testbed.BIN / "honest_client"))
WRITERS, SLOTS, KEPT = 2, 64, 12


def slowest_tick_s(before, after):
    """Upper bound of the bucket of the slowest tick between two readings of the metrics."""
    name = re.compile(r'leaseplane_tick_lag_seconds_bucket\{le="(.+)"\}')
    ticks = {float(found[1]): after[key] - before[key]
             for key in after if (found := name.fullmatch(key))}
    return min(bound for bound, count in ticks.items() if count == max(ticks.values()))


class Keeper:
    """Remote leases that must stay what they are, whatever the words of their slots say."""

    def __init__(self, daemon, pool):
        self.stub, self.pool = daemon.leases(unix=True), pool
        self.leases = [self.acquire() for _ in range(KEPT)]
        self.renewals = 0

    def acquire(self):
        return self.stub.AcquireLease(pb.AcquireLeaseRequest(
            parent=f"pools/{self.pool}", ttl=duration_pb2.Duration(seconds=60),
            max_wait_duration=duration_pb2.Duration(seconds=20)), timeout=60).lease

    def check(self, test):
        for lease in self.leases:
            renewed = self.stub.RenewLease(pb.RenewLeaseRequest(
                name=lease.name, fencing_token=lease.fencing_token), timeout=60).lease
            test.assertEqual((renewed.slot_index, renewed.fencing_token),
                             (lease.slot_index, lease.fencing_token))
            self.renewals += 1


class Churn(threading.Thread):
    """Acquires and releases over gRPC in the attacked pool: tokens grow, no slot twice."""

    def __init__(self, daemon, held):
        super().__init__()
        self.stub, self.held = daemon.leases(), held
        self.done, self.faults, self.leases, self.refused = threading.Event(), [], 0, 0
        self.moving = 0
        self.last_token = {}

    def run(self):
        while not self.done.is_set():
            try:
                lease = self.stub.AcquireLease(pb.AcquireLeaseRequest(
                    parent="pools/attacked", ttl=duration_pb2.Duration(seconds=60),
                    max_wait_duration=duration_pb2.Duration(seconds=1)), timeout=60).lease
            except grpc.RpcError as error:
                self.refused += 1
                is_moving = error.code() == grpc.StatusCode.UNAVAILABLE
                if is_moving:  # the pool asks its holders, and grants nothing until they answered
                    self.moving += 1
                    time.sleep(0.1)
                elif error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
                    self.faults.append(f"acquire: {error.code()} {error.details()}")
                continue
            self.leases += 1
            slot, token = lease.slot_index, lease.fencing_token
            if slot in self.held:
                self.faults.append(f"slot {slot} is held by a lease that is alive")
            if token <= self.last_token.get(slot, 0):
                self.faults.append(f"slot {slot}: token {token} after {self.last_token[slot]}")
            self.last_token[slot] = token
            try:
                self.stub.ReleaseLease(pb.ReleaseLeaseRequest(name=lease.name,
                                                              fencing_token=token), timeout=60)
            except grpc.RpcError as error:
                self.faults.append(f"release: {error.code()} {error.details()}")


class Hostile(unittest.TestCase):
    def test_a_hostile_writer_ruins_its_own_pool_at_most(self):
        print("seed", SEED)
        with tempfile.TemporaryDirectory(prefix="lp-") as folder, \
                testbed.Daemon(pools=(f"attacked={SLOTS}", f"quiet={SLOTS}")) as daemon:
            self.attack(daemon, pathlib.Path(folder))

    def attack(self, daemon, folder):
        guard = Guard(folder / "guard")
        kept = [Keeper(daemon, "attacked"), Keeper(daemon, "quiet")]
        quiet_log = open(folder / "quiet", "w+")
        quiet = subprocess.Popen(
            [str(testbed.BIN / "local_load"), f"unix:{daemon.socket}", "quiet",
             str(folder / "guard"), "0", "100"], stdout=subprocess.PIPE, stderr=quiet_log)
        self.addCleanup(self.end, quiet)
        self.assertEqual(quiet.stdout.readline(), b"ready\n")
        worker = daemon.worker_pid()

        churn = Churn(daemon, {lease.slot_index for lease in kept[0].leases})
        writers = [subprocess.Popen(
            [str(testbed.BIN / "hostile_writer"), str(daemon.socket), "attacked", str(SEED + i),
             str(SECONDS)], stdout=subprocess.PIPE) for i in range(WRITERS)]
        honest = subprocess.Popen([HONEST, f"unix:{daemon.socket}", "attacked", str(SECONDS)],
                                  stdout=subprocess.PIPE)
        churn.start()
        figures_before, before, began = daemon.metrics(), guard.grants, time.monotonic()
        try:
            while any(writer.poll() is None for writer in writers):
                for keeper in kept:
                    keeper.check(self)
                time.sleep(0.2)
        finally:
            churn.done.set()
            churn.join()
            outputs = [p.communicate(timeout=testbed.WATCHDOG_S)[0] for p in (*writers, honest)]
        took = time.monotonic() - began
        operations_under_attack = guard.grants - before

        self.assertEqual([p.returncode for p in (*writers, honest)], [0] * (WRITERS + 1))
        self.assertEqual(daemon.worker_pid(), worker, daemon.log_text()[-3000:])
        self.assertEqual(churn.faults, [])
        for keeper in kept:
            keeper.check(self)
        self.end(quiet)
        quiet_log.seek(0)
        self.assertEqual(quiet_log.read(), "", "the other pool noticed")
        quiet_log.close()
        self.assertEqual(quiet.returncode, 0)
        self.assertEqual(guard.violations, 0)
        metrics = daemon.metrics()
        lag_max = slowest_tick_s(figures_before, metrics)
        violations = metrics['leaseplane_integrity_violations_total{pool="attacked"}']
        self.assertGreater(violations, 0)
        self.assertEqual(metrics['leaseplane_integrity_violations_total{pool="quiet"}'], 0)
        rotations = metrics['leaseplane_rotations_total{pool="attacked"}']
        self.assertGreater(rotations, 0, "nothing was done against the writers")
        self.assertEqual(metrics['leaseplane_rotations_total{pool="quiet"}'], 0)
        self.pool_recovers(daemon)

        granted, none, stale, slowest_ms = map(int, outputs[-1].split())
        build = os.environ.get("LEASEPLANE_HOSTILE_BUILD", "g++ -O2")
        for metric, value in {
                "hostile writes": sum(int(text) for text in outputs[:-1]),
                "violations counted": violations, "rotations": rotations,
                "renewals of leases that stood":
                sum(keeper.renewals for keeper in kept), "remote leases meanwhile": churn.leases,
                "operations of the other pool, no error": operations_under_attack,
                "calls of an honest neighbour": granted + none,
                "max ms of one of its calls": slowest_ms,
                "tick lag ms, at most": lag_max * 1e3}.items():
            ledger.record(f"hostile neighbour, {build}", metric, value,
                          took if metric == "hostile writes" else 0)

    def pool_recovers(self, daemon):
        """Once nobody writes rubbish, every slot that no lease holds is free again."""
        testbed.wait_until(
            lambda: testbed.pool_counts(daemon, "attacked")["counts"]["freeCount"] == SLOTS - KEPT,
            "the attacked pool to recover", step_s=0.1)

    def end(self, process):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(testbed.WATCHDOG_S)
        if process.stdout:
            process.stdout.close()


if __name__ == "__main__":
    unittest.main()
