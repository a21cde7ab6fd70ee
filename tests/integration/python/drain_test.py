# SPDX-License-Identifier: Apache-2.0
"""An operator drains a pool under local and remote holders and waiters, and resumes it."""

import json
import subprocess
import threading
import unittest

import grpc

import testbed
from google.protobuf import duration_pb2
from leaseplane.v1 import admin_service_pb2 as admin_pb
from leaseplane.v1 import lease_pb2
from leaseplane.v1 import lease_service_pb2 as pb

D = duration_pb2.Duration


class Drain(unittest.TestCase):
    def setUp(self):
        self.daemon = self.enterContext(testbed.Daemon(pools=("gpu=2", "other=1")))

    def ok(self, *words):
        done = self.daemon.leasectl(*words)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def acquire(self, wait_s=0):
        return self.daemon.leases().AcquireLease(pb.AcquireLeaseRequest(
            parent="pools/gpu", max_wait_duration=D(seconds=wait_s), ttl=D(seconds=60)),
            timeout=wait_s + 20, wait_for_ready=True).lease

    def refusal(self, wait_s=0):
        with self.assertRaises(grpc.RpcError) as caught:
            self.acquire(wait_s)
        return testbed.reason_of(caught.exception)[:2]

    def start(self, *words):
        process = subprocess.Popen(
            [str(testbed.BIN / "leasectl"), "--server", f"unix:{self.daemon.socket}", *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stdin.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def hold_locally(self):
        """A process in shared memory that holds a slot until its input ends."""
        holder = self.start("run", "gpu", "--path", "local", "--", "sh", "-c",
                            "echo held; read line")
        self.assertEqual(holder.stdout.readline(), "held\n")
        return holder

    def pool(self):
        return self.daemon.admin().GetPool(admin_pb.GetPoolRequest(name="pools/gpu"))

    def waiting(self):
        counts = self.pool().counts
        return counts.waiter_count + counts.local_sleeper_count

    def expect_shut(self):
        self.assertEqual(self.refusal(), ("FAILED_PRECONDITION", "POOL_DRAINING"))
        self.assertEqual(self.refusal(wait_s=30), ("FAILED_PRECONDITION", "POOL_DRAINING"))
        local = self.daemon.leasectl("run", "gpu", "--path", "local", "--wait", "10m", "--", "true")
        self.assertEqual(local.returncode, 125)
        self.assertIn("POOL_DRAINING", local.stderr)
        pool = self.pool()
        self.assertEqual(pool.state, lease_pb2.Pool.STATE_DRAINING)
        self.assertEqual((pool.drained, pool.drain_reason), (True, "new disks"))

    def test_waiters_of_both_kinds_leave_and_holders_of_both_kinds_stay(self):
        remote, local = self.acquire(), self.hold_locally()
        refusals = []
        remote_waiter = threading.Thread(target=lambda: refusals.append(self.refusal(45)))
        remote_waiter.start()
        local_waiter = self.start("run", "gpu", "--path", "local", "--wait", "10m", "--", "true")
        testbed.wait_until(lambda: self.waiting() == 2, "two waiters")
        self.assertEqual(self.ok("drain", "gpu", "--reason", "new disks"),
                         "pool gpu is DRAINING, leases left: 2\n")
        remote_waiter.join()
        self.assertEqual(refusals, [("FAILED_PRECONDITION", "POOL_DRAINING")])
        _, errors = local_waiter.communicate(timeout=testbed.WATCHDOG_S)
        self.assertEqual(local_waiter.returncode, 125, errors)
        self.assertIn("POOL_DRAINING", errors)
        self.expect_shut()
        self.assertEqual(self.daemon.metrics()['leaseplane_pool_drained{pool="gpu"}'], 1)
        self.assertEqual(self.daemon.metrics()['leaseplane_pool_drained{pool="other"}'], 0)

        self.ok("renew", remote.name)
        until_empty = self.start("drain", "gpu", "--reason", "new disks", "--wait", "10m")
        self.ok("release", remote.name)
        local.stdin.write("\n")
        local.stdin.flush()
        self.assertEqual(local.wait(testbed.WATCHDOG_S), 0)
        output, errors = until_empty.communicate(timeout=testbed.WATCHDOG_S)
        self.assertEqual((until_empty.returncode, output),
                         (0, "pool gpu is DRAINING, leases left: 0\n"), errors)
        self.expect_shut()
        self.ok("run", "other", "--path", "local", "--", "true")

        self.assertEqual(self.ok("resume", "gpu"), "pool gpu is ACTIVE\n")
        self.ok("run", "gpu", "--path", "local", "--", "true")
        self.acquire()

    def test_restarts_leave_it_drained(self):
        remote, local = self.acquire(), self.hold_locally()
        self.ok("drain", "gpu", "--reason", "new disks")
        self.daemon.kill_worker()
        testbed.wait_until(lambda: self.daemon.leasectl("health").returncode == 0, "the worker")
        self.expect_shut()
        self.assertEqual(self.pool().counts.busy_count, 2)
        self.ok("renew", remote.name)
        self.daemon.kill()
        self.daemon.start()
        testbed.wait_until(lambda: self.daemon.leasectl("health").returncode == 0, "the daemon",
                           timeout_s=2 * testbed.WATCHDOG_S)
        self.expect_shut()
        listed = json.loads(self.ok("leases", "gpu", "-o", "json"))["leases"]
        self.assertEqual(sorted(lease["path"] for lease in listed),
                         ["LEASE_PATH_LOCAL", "LEASE_PATH_REMOTE"])
        local.stdin.write("\n")
        local.stdin.flush()
        self.assertEqual(local.wait(testbed.WATCHDOG_S), 0)
        self.ok("release", remote.name)
        self.ok("resume", "gpu")
        self.acquire()
        self.assertEqual(self.daemon.stop(), 0)
        self.daemon.start()
        testbed.wait_until(lambda: self.daemon.leasectl("health").returncode == 0, "the daemon",
                           timeout_s=2 * testbed.WATCHDOG_S)
        self.ok("run", "gpu", "--path", "local", "--", "true")


if __name__ == "__main__":
    unittest.main()
