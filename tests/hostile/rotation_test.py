# SPDX-License-Identifier: Apache-2.0
"""A process zeroes the words of a pool; the pool moves away from it, and nobody loses a lease."""

import subprocess
import unittest

import grpc

import testbed
from google.protobuf import duration_pb2
from leaseplane.v1 import lease_service_pb2 as pb

SLOTS, HELD = 16, 5


class Rotation(unittest.TestCase):
    def acquire(self, stub, pool="attacked"):
        return stub.AcquireLease(pb.AcquireLeaseRequest(
            parent=f"pools/{pool}", ttl=duration_pb2.Duration(seconds=60)), timeout=60).lease

    def try_acquire(self, stub):
        try:
            return self.acquire(stub)
        except grpc.RpcError as error:
            self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE)
            return None

    def is_valid(self, stub, slot, token):
        return stub.CheckToken(pb.CheckTokenRequest(
            name=f"pools/attacked/slots/{slot}", fencing_token=token), timeout=60).valid

    def test_holders_follow_and_the_writer_does_not(self):
        with testbed.Daemon(pools=(f"attacked={SLOTS}", "quiet=2")) as daemon:
            stub = daemon.leases(unix=True)
            remote = [self.acquire(stub) for _ in range(3)]
            holder = subprocess.Popen(
                [str(testbed.BIN / "holder_client"), f"unix:{daemon.socket}", "attacked", str(HELD),
                 "quiet"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            local = [tuple(map(int, holder.stdout.readline().split())) for _ in range(HELD)]
            self.assertEqual(holder.stdout.readline(), "ready\n")
            writer = subprocess.Popen(
                [str(testbed.BIN / "hostile_writer"), str(daemon.socket), "attacked", "1", "600",
                 "zeros"], stdout=subprocess.PIPE)
            try:
                self.judge(daemon, stub, remote, local, holder)
            finally:
                writer.kill()
                writer.communicate()
                holder.stdin.close()
                last = holder.stdout.read()
                holder.wait(testbed.WATCHDOG_S)
                holder.stdout.close()
            self.assertEqual(last, f"{HELD + 1} 0\n", "released, and the other pool noticed")
            counts = testbed.pool_counts(daemon, "attacked")["counts"]
            self.assertEqual(counts["freeCount"], SLOTS - len(remote) - 1)

    def judge(self, daemon, stub, remote, local, holder):
        rotations = 'leaseplane_rotations_total{pool="attacked"}'

        def still_held():
            holder.stdin.write("?\n")
            holder.stdin.flush()
            return int(holder.stdout.readline())

        def has_rotated():
            still_held()
            return daemon.metrics()[rotations] > 0

        testbed.wait_until(has_rotated, "the pool to move", step_s=0.001)
        new = testbed.wait_until(lambda: self.try_acquire(stub), "the pool to open", step_s=0.1)
        self.assertEqual(still_held(), HELD + 1)
        taken = {slot for slot, _ in local} | {lease.slot_index for lease in remote}
        self.assertNotIn(new.slot_index, taken, "given to two holders")
        self.assertGreater(new.fencing_token, max(token for _, token in local))
        for slot, token in local:
            self.assertTrue(self.is_valid(stub, slot, token))
        for lease in remote:
            again = stub.RenewLease(pb.RenewLeaseRequest(
                name=lease.name, fencing_token=lease.fencing_token), timeout=60).lease
            self.assertEqual(again.fencing_token, lease.fencing_token)
        violations = 'leaseplane_integrity_violations_total{pool="attacked"}'
        before = daemon.metrics()
        ticks = 'leaseplane_tick_lag_seconds_count'
        testbed.wait_until(lambda: daemon.metrics()[ticks] > before[ticks] + 20, "ticks to pass")
        self.assertEqual(daemon.metrics()[violations], before[violations], "it is still heard")


if __name__ == "__main__":
    unittest.main()
