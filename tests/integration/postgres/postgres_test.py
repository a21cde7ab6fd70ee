# SPDX-License-Identifier: Apache-2.0
"""Processes share a budget of real connections: the server's own count never exceeds it."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from postgres_server import PostgresServer
from testbed import BIN, WATCHDOG_S, Daemon, pool_counts, wait_until

BUDGET = 4
CONFIG = pathlib.Path(os.environ["LEASEPLANE_POSTGRES_EXAMPLE_DIR"]) / "pools.yaml"


class Worker:
    """postgres_worker, and the last line it wrote."""

    def __init__(self, target, conninfo, threads):
        self.process = subprocess.Popen(
            [BIN / "postgres_worker", target, "postgres", conninfo, str(threads)],
            stdout=subprocess.PIPE, text=True)
        self.last = {"queries": 0}
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.last = json.loads(line)

    @property
    def pid(self):
        return self.process.pid

    def end(self, sig):
        if self.process.poll() is None:
            self.process.send_signal(sig)
        code = self.process.wait(WATCHDOG_S * 2)
        self._reader.join(WATCHDOG_S)
        self.process.stdout.close()
        return code


class Monitor:
    """Looks at pg_stat_activity again and again."""

    def __init__(self, server):
        self.server = server
        self.samples = []  # each a list of (slot, pid of the worker)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def look(self):
        rows = self.server.query(
            "SELECT application_name FROM pg_stat_activity WHERE usename = 'app'")
        # A connection that is just being made or unmade may have no name yet.
        found = [re.fullmatch(r"slot-(\d+) pid-(\d+)", row[0] if row else "") for row in rows]
        return [(int(m[1]), int(m[2])) if m else None for m in found]

    def _run(self):
        while not self._stop.is_set():
            self.samples.append(self.look())

    def stop(self):
        self._stop.set()
        self._thread.join(WATCHDOG_S)
        return self.samples


class PostgresTest(unittest.TestCase):
    def setUp(self):
        self.server = PostgresServer("app", BUDGET)
        self.addCleanup(self.server.close)
        self.daemon = Daemon("--config", str(CONFIG), pools=()).start()
        self.addCleanup(self.daemon.close)
        self.workers = []
        self.addCleanup(lambda: [worker.end(signal.SIGKILL) for worker in self.workers])

    def start_workers(self):
        targets = [f"unix://{self.daemon.socket}"] * 3 + [self.daemon.grpc_address]
        for target, threads in zip(targets, (3, 3, 3, 1)):
            self.workers.append(Worker(target, self.server.conninfo(), threads))

    def await_progress(self, workers):
        before = [worker.last["queries"] for worker in workers]
        for worker, queries in zip(workers, before):
            wait_until(lambda: worker.last["queries"] >= queries + 10, "queries of every worker",
                       WATCHDOG_S * 2)

    def test_a_budget_of_connections_is_shared_and_never_exceeded(self):
        monitor = Monitor(self.server)
        self.addCleanup(monitor.stop)
        self.start_workers()
        self.await_progress(self.workers)

        victim = self.workers[0]
        wait_until(lambda: any(c and c[1] == victim.pid for c in monitor.look()),
                   "a connection of the one that is to be killed")
        victim.end(signal.SIGKILL)
        killed_at = len(monitor.samples)
        rest = self.workers[1:]
        self.await_progress(rest)
        # All four slots are used again, by those who are left.
        slots_since = lambda: {c[0] for sample in monitor.samples[killed_at + 1:] for c in sample
                               if c and c[1] != victim.pid}
        wait_until(lambda: slots_since() == set(range(BUDGET)), "every slot in use again")

        for worker in rest:
            self.assertEqual(worker.end(signal.SIGTERM), 0)
            self.assertGreater(worker.last["queries"], 0)
            for failures in ("failed_queries", "failed_acquires", "create_failures", "lost"):
                self.assertEqual(worker.last[failures], 0, (failures, worker.last))
        samples = monitor.stop()
        self.assertGreater(len(samples), 10)
        self.assertLessEqual(max(map(len, samples)), BUDGET)
        for sample in samples:
            slots = [connection[0] for connection in sample if connection]
            self.assertEqual(len(slots), len(set(slots)), f"two connections on a slot: {sample}")
        self.assertNotIn("too many connections", self.server.log_text())

        wait_until(lambda: not monitor.look(), "the end of all connections")
        wait_until(lambda: pool_counts(self.daemon, "postgres")["counts"]["freeCount"] == BUDGET,
                   "all slots free")


if __name__ == "__main__":
    unittest.main()
