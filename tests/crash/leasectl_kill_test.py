# SPDX-License-Identifier: Apache-2.0
"""leasectl is killed while its COMMAND, a pipeline, runs: nobody else gets the slot meanwhile."""

import os
import pathlib
import random
import subprocess
import tempfile
import time
import unittest

import testbed
from guard import Guard

KILLS = int(os.environ.get("LEASEPLANE_KILLS", "1000"))
SEED = int(os.environ.get("LEASEPLANE_SEED", "0")) or random.randrange(2**31)


class LeasectlKill(unittest.TestCase):
    def test_a_pipeline_keeps_the_slot_when_leasectl_is_killed(self):
        print("seed", SEED, "kills", KILLS)
        rng = random.Random(SEED)
        with tempfile.TemporaryDirectory(prefix="lp-") as folder, \
                testbed.Daemon(pools=("one=1",)) as daemon:
            path = pathlib.Path(folder) / "guard"
            guard, killed = Guard(path), 0
            log = open(pathlib.Path(folder) / "log", "w+b")
            for _ in range(KILLS):
                work_ms = rng.randrange(5, 30)
                before = guard.grants
                leasectl = subprocess.Popen(
                    [str(testbed.BIN / "leasectl"), "--server", f"unix:{daemon.socket}", "run",
                     "one", "--wait", "60s", "--", "sh", "-c",
                     f"{testbed.BIN / 'guard_job'} {path} {work_ms} | cat"],
                    stdout=log, stderr=log)
                if rng.random() < 0.8:  # in the middle of the work
                    testbed.wait_until(
                        lambda: guard.grants > before or leasectl.poll() is not None,
                        "the job's start", step_s=0.001)
                time.sleep(rng.random() * work_ms / 1e3)
                if leasectl.poll() is None:
                    leasectl.kill()
                    killed += 1
                leasectl.wait()
            # The slot is free once the last job has ended.
            done = daemon.leasectl("run", "one", "--wait", "60s", "--", "true")
            self.assertEqual(done.returncode, 0, done.stderr)
            log.seek(0)
            text = log.read().decode(errors="replace")
            log.close()
            print(f"leasectl killed {killed} times, {guard.grants} jobs got the slot")
            self.assertEqual(guard.violations, 0, text[-2000:])
            self.assertNotIn("VIOLATION", text)
            self.assertGreater(killed, KILLS // 2)


if __name__ == "__main__":
    unittest.main()
