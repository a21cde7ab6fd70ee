# SPDX-License-Identifier: Apache-2.0
"""SIGHUP: the configuration is read again, and applied whole or not at all."""

import signal
import unittest

import testbed
from google.protobuf import duration_pb2
from leaseplane.v1 import admin_service_pb2 as admin_pb
from leaseplane.v1 import lease_service_pb2 as pb

BASE = """\
pools:
- {id: gpu, capacity: 2, ttl: {default: 20s}}
"""
MORE = """\
pools:
- {id: gpu, capacity: 2, ttl: {default: 40s}, max_waiters: 0}
- {id: db, capacity: 3}
"""


class Reload(unittest.TestCase):
    def setUp(self):
        self.daemon = testbed.Daemon(pools=())
        self.addCleanup(self.daemon.close)
        self.file = self.daemon.root / "config.yaml"
        self.file.write_text(BASE)
        self.daemon.args += ["--config", str(self.file)]
        self.daemon.start()

    def acquire(self, pool="gpu"):
        return self.daemon.leases().AcquireLease(
            pb.AcquireLeaseRequest(parent=f"pools/{pool}"), timeout=20, wait_for_ready=True)

    def reload(self, text, outcome):
        """Sends the signal and waits for what the log says of it; the new part of the log."""
        self.file.write_text(text)
        before = len(self.daemon.log_text())
        self.daemon.process.send_signal(signal.SIGHUP)
        return testbed.wait_until(
            lambda: outcome in self.daemon.log_text()[before:] and self.daemon.log_text()[before:],
            outcome)

    def pools(self):
        found = self.daemon.admin().ListPools(
            admin_pb.ListPoolsRequest(), timeout=20, wait_for_ready=True).pools
        return {pool.name: pool for pool in found}

    def test_pools_come_and_get_other_rules_and_leases_stay(self):
        lease = self.acquire().lease
        self.assertEqual(lease.ttl.seconds, 20)
        self.reload(MORE, "configuration reloaded")
        self.assertEqual(set(self.pools()), {"pools/gpu", "pools/db"})
        self.assertEqual(self.pools()["pools/gpu"].default_ttl.seconds, 40)
        self.assertFalse(self.pools()["pools/db"].api_defined)
        other = self.acquire().lease
        self.assertEqual(other.ttl.seconds, 40)
        self.acquire("db")
        self.daemon.leases().RenewLease(pb.RenewLeaseRequest(
            name=lease.name, fencing_token=lease.fencing_token), timeout=20, wait_for_ready=True)
        # The next worker goes on with it, whatever the file says by then.
        self.file.write_text("pools: [")
        old = self.daemon.kill_worker()
        testbed.wait_until(lambda: self.daemon.worker_pid() not in (None, old), "a worker")

        def served():
            try:
                return set(self.pools())
            except Exception:  # not up yet
                return None

        self.assertEqual(testbed.wait_until(served, "an answer"), {"pools/gpu", "pools/db"})
        self.assertEqual(self.pools()["pools/gpu"].default_ttl.seconds, 40)
        kept = self.daemon.leases().GetLease(
            pb.GetLeaseRequest(name=lease.name), timeout=20, wait_for_ready=True)
        self.assertEqual(kept.fencing_token, lease.fencing_token)

    def test_a_bad_file_changes_nothing_and_says_where(self):
        log = self.reload(MORE + "- {id: bad, capacity: -3}\n", "nothing was changed")
        self.assertIn("config.yaml:4: field `pools[2].capacity`: got -3; valid: 1..1048576", log)
        self.assertEqual(set(self.pools()), {"pools/gpu"})
        self.assertEqual(self.pools()["pools/gpu"].default_ttl.seconds, 20)
        self.file.unlink()
        before = len(self.daemon.log_text())
        self.daemon.process.send_signal(signal.SIGHUP)
        testbed.wait_until(lambda: "a file that can be read" in self.daemon.log_text()[before:],
                           "the complaint")
        self.assertEqual(self.acquire().lease.ttl.seconds, 20)

    def test_what_needs_a_restart_is_refused_with_all_the_rest(self):
        text = MORE.replace("capacity: 2", "capacity: 4").replace("db", "lic")
        log = self.reload("drain_timeout: 3s\n" + text, "drain_timeout")
        testbed.wait_until(lambda: "pools[gpu].capacity" in self.daemon.log_text(), "the reason")
        self.assertIn("nothing was changed", log)
        self.assertEqual(set(self.pools()), {"pools/gpu"})
        self.assertEqual(self.pools()["pools/gpu"].capacity, 2)
        self.assertEqual(self.pools()["pools/gpu"].default_ttl.seconds, 20)
        self.reload("pools: []\n", "`gpu` is not in the configuration any more")
        self.acquire()

    def test_a_pool_of_the_api_is_not_taken_over(self):
        from leaseplane.v1 import lease_pb2
        self.daemon.admin().CreatePool(admin_pb.CreatePoolRequest(
            pool_id="db", pool=lease_pb2.Pool(capacity=1)), timeout=20, wait_for_ready=True)
        self.reload(MORE, "pool db exists already")
        self.assertEqual(self.pools()["pools/db"].capacity, 1)
        self.assertEqual(self.pools()["pools/gpu"].default_ttl.seconds, 20)

    def test_nobody_waits_who_would_not_be_let_in_now(self):
        self.reload(MORE, "configuration reloaded")
        for _ in range(2):
            self.acquire()
        with self.assertRaises(Exception) as caught:
            self.daemon.leases().AcquireLease(pb.AcquireLeaseRequest(
                parent="pools/gpu", max_wait_duration=duration_pb2.Duration(seconds=5)),
                timeout=20, wait_for_ready=True)
        self.assertEqual(testbed.reason_of(caught.exception)[1], "QUEUE_FULL")


if __name__ == "__main__":
    unittest.main()
