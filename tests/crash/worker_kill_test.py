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
import time
import unittest

import grpc

import testbed
from guard import Guard
from leaseplane.v1 import lease_service_pb2 as pb
from remote_holder import RemoteHolder

KILLS = int(os.environ.get("LEASEPLANE_KILLS", "1000"))
SEED = int(os.environ.get("LEASEPLANE_SEED", "0")) or random.randrange(2**31)
SLOTS, REMOTE_THREADS, LOCAL_PROCESSES = 6, 4, 2


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
            remote = [RemoteHolder(daemon, guard, i, SEED) for i in range(REMOTE_THREADS)]
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
