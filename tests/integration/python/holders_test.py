# SPDX-License-Identifier: Apache-2.0
"""Local holders that stay too long, stand still, or use up sessions."""

import os
import signal
import subprocess
import unittest

import grpc

import testbed
from google.protobuf import duration_pb2
from leaseplane.v1 import lease_service_pb2 as pb

D = duration_pb2.Duration


class Holders(unittest.TestCase):
    def start(self, config):
        self.daemon = testbed.Daemon(pools=())
        self.addCleanup(self.daemon.close)
        file = self.daemon.root / "config.yaml"
        file.write_text(config)
        self.daemon.args += ["--config", str(file)]
        self.daemon.start()

    def hold(self):
        holder = subprocess.Popen(
            [str(testbed.BIN / "lease_holder"), f"unix:{self.daemon.socket}", "gpu"],
            stdout=subprocess.PIPE)
        self.addCleanup(holder.stdout.close)
        self.addCleanup(holder.wait)
        self.addCleanup(holder.kill)
        slot, token = map(int, holder.stdout.readline().split())
        return holder, f"pools/gpu/leases/local-{slot}-{token}"

    def ended(self, reason):
        return self.daemon.metrics()[
            f'leaseplane_leases_ended_total{{pool="gpu",reason="{reason}"}}']

    def acquire(self, wait_s):
        return self.daemon.leases().AcquireLease(pb.AcquireLeaseRequest(
            parent="pools/gpu", max_wait_duration=D(seconds=wait_s), ttl=D(seconds=60)),
            timeout=wait_s + 20, wait_for_ready=True).lease

    def test_a_local_lease_ends_after_max_hold(self):
        self.start("pools: [{id: gpu, capacity: 1, max_hold: 1s}]")
        self.hold()
        self.acquire(40)
        self.assertEqual(self.ended("held_too_long"), 1)

    def test_the_slot_of_a_stopped_process_goes_to_who_waits(self):
        self.start("pools: [{id: gpu, capacity: 1, stall_timeout: 1s}]")
        holder, _ = self.hold()
        # A process that runs answers, so nothing is taken from it.
        with self.assertRaises(grpc.RpcError) as caught:
            self.acquire(8)
        self.assertEqual(testbed.reason_of(caught.exception)[1], "WAIT_TIMEOUT")
        os.kill(holder.pid, signal.SIGSTOP)
        self.acquire(40)
        self.assertEqual(self.ended("stalled"), 1)
        os.kill(holder.pid, signal.SIGCONT)

    def test_a_process_tree_that_stands_still_keeps_its_slot(self):
        self.start("pools: [{id: gpu, capacity: 1, stall_timeout: 1s}]")
        ready = self.daemon.root / "ready"
        tree = subprocess.Popen([str(testbed.BIN / "leasectl"), "--server",
                                 f"unix:{self.daemon.socket}", "run", "gpu", "--",
                                 "sh", "-c", f"touch {ready}; exec sleep 600"],
                                start_new_session=True)

        def end_tree():
            os.killpg(tree.pid, signal.SIGKILL)
            tree.wait()

        self.addCleanup(end_tree)
        testbed.wait_until(ready.exists, "the command")
        os.kill(tree.pid, signal.SIGKILL)  # who would answer is gone; sleep keeps the connection
        with self.assertRaises(grpc.RpcError) as caught:
            self.acquire(8)
        self.assertEqual(testbed.reason_of(caught.exception)[1], "WAIT_TIMEOUT")
        self.assertEqual(self.ended("stalled"), 0)

    def test_sessions_are_counted_and_limited(self):
        self.start("max_sessions_per_uid: 2\npools: [{id: gpu, capacity: 8}]")
        self.hold()
        second, _ = self.hold()
        figures = self.daemon.metrics()
        self.assertEqual(figures["leaseplane_sessions"], 2)
        self.assertEqual(figures["leaseplane_sessions_lingering"], 0)
        self.assertGreater(figures["leaseplane_sessions_limit"], 2)
        self.assertEqual(subprocess.run(
            [str(testbed.BIN / "lease_holder"), f"unix:{self.daemon.socket}", "gpu"],
            timeout=testbed.WATCHDOG_S).returncode, 69)
        self.assertGreater(
            self.daemon.metrics()['leaseplane_attach_rejected_total{reason="uid_quota"}'], 0)
        second.kill()
        second.wait()
        testbed.wait_until(lambda: self.daemon.metrics()["leaseplane_sessions"] == 1,
                           "the end of the second")
        self.hold()


if __name__ == "__main__":
    unittest.main()
