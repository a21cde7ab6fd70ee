# SPDX-License-Identifier: Apache-2.0
"""Real daemon, real clients, and everything that happens to processes, for so many minutes.

soak.py [--minutes N] [--clients N] [--seed K]

Local clients are killed, stopped and continued, fork, execute themselves anew and close their
descriptors; the worker is killed every few seconds, the whole daemon every few minutes, and the
next one finds its clocks up to an hour ahead (where time namespaces may be made); remote clients
acquire, renew and release all the while. A guard array in a memory of its own, which shares
no code with Leaseplane, checks every grant: nobody alive is inside, and the token is larger than
all before. Every minute all clients leave, and every slot must be free again.
"""

import argparse
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

import ledger
import testbed
from guard import Guard
from remote_holder import RemoteHolder

SLOTS, REMOTE_THREADS = 6, 2
SHIFTED_TIME = pathlib.Path(__file__).with_name("shifted_time.py")
QUIET_EVERY_S, WORKER_EVERY_S, DAEMON_EVERY_S = 60, 3, 150


class ShiftedDaemon(testbed.Daemon):
    """Each start may have later clocks, as after a host that slept while no daemon ran."""

    ahead_s = (0, 0)  # monotonic, boottime

    def command(self, **kwargs):
        shifted = [sys.executable, str(SHIFTED_TIME), *map(str, self.ahead_s)]
        return (shifted if any(self.ahead_s) else []) + super().command(**kwargs)


def may_shift():
    return subprocess.run([sys.executable, str(SHIFTED_TIME), "1", "1", "/bin/true"],
                          stderr=subprocess.DEVNULL).returncode == 0


class Soak:
    def __init__(self, folder, arguments):
        self.seed, self.rng = arguments.seed, random.Random(arguments.seed)
        self.count = arguments.clients
        self.folder, self.guard_path = folder, folder / "guard"
        self.guard = Guard(self.guard_path)
        self.log = open(folder / "clients", "w+b")
        self.daemon = ShiftedDaemon(pools=(f"p={SLOTS}",), root=folder)
        self.may_shift = may_shift()
        self.clients, self.stopped = [], []
        self.figures = dict.fromkeys(
            ("client kills", "client stops", "worker kills", "daemon kills", "clock steps",
             "quiet points with every slot free"), 0)
        self.faults = []

    def spawn(self):
        return subprocess.Popen(
            [str(testbed.BIN / "soak_client"), f"unix:{self.daemon.socket}", "p",
             str(self.guard_path), str(self.rng.randrange(2**31))],
            stdout=self.log, stderr=self.log)

    def kill_client(self):
        index = self.rng.randrange(len(self.clients))
        victim = self.clients[index]
        victim.kill()
        victim.wait()
        self.stopped = [entry for entry in self.stopped if entry[1] is not victim]
        self.clients[index] = self.spawn()
        self.figures["client kills"] += 1

    def stop_client(self):
        victim = self.rng.choice(self.clients)
        victim.send_signal(signal.SIGSTOP)
        self.stopped.append((time.monotonic() + self.rng.random() ** 3 * 2, victim))
        self.figures["client stops"] += 1

    def continue_clients(self, now):
        for until, victim in [entry for entry in self.stopped if entry[0] <= now]:
            victim.send_signal(signal.SIGCONT)
            self.stopped.remove((until, victim))

    def kill_worker(self):
        worker = self.daemon.worker_pid()
        if worker:
            os.kill(worker, signal.SIGKILL)
            self.figures["worker kills"] += 1

    def kill_daemon(self):
        grpc_address, metrics = self.daemon.grpc_address, self.daemon.metrics_address
        self.continue_clients(float("inf"))  # nobody may be away for longer than the claims' time
        self.daemon.kill()
        self.daemon.process.stdout.close()
        self.daemon.log.close()
        if self.may_shift:
            # The host sleeps: one clock counts it, the other does not.
            step_s = self.rng.randrange(1, 3600)
            monotonic_s, boottime_s = self.daemon.ahead_s
            self.daemon.ahead_s = (monotonic_s + step_s // 60, boottime_s + step_s)
            self.figures["clock steps"] += 1
        self.daemon.start(listen=grpc_address, metrics=metrics)
        self.figures["daemon kills"] += 1

    def quiet(self):
        """Every local client leaves; what is not free then is lost."""
        self.continue_clients(float("inf"))
        for client in self.clients:
            client.send_signal(signal.SIGTERM)
        for client in self.clients:
            # The signal may come before its program has a handler.
            if client.wait(testbed.WATCHDOG_S * 2) not in (0, -signal.SIGTERM):
                self.faults.append(f"a client ended with {client.returncode}")
        self.end_remote()
        testbed.wait_until(
            lambda: testbed.pool_counts(self.daemon, "p")["counts"]["freeCount"] == SLOTS,
            "every slot to be free", step_s=0.05)
        self.figures["quiet points with every slot free"] += 1

    def begin(self):
        self.clients = [self.spawn() for _ in range(self.count)]
        self.remote = [RemoteHolder(self.daemon, Guard(self.guard_path, holders_may_die=True), i,
                                    self.rng.randrange(2**31), hold_s=0.05)
                       for i in range(REMOTE_THREADS)]
        for thread in self.remote:
            thread.start()

    def end_remote(self):
        for thread in self.remote:
            thread.done.set()
        for thread in self.remote:
            thread.join()
            self.faults += thread.faults
            self.figures["remote leases"] = self.figures.get("remote leases", 0) + thread.leases

    def run(self, seconds):
        self.daemon.start()
        began = time.monotonic()
        due = {"quiet": began + QUIET_EVERY_S, "worker": began + WORKER_EVERY_S,
               "daemon": began + DAEMON_EVERY_S}
        self.begin()
        while time.monotonic() - began < seconds and not self.faults and not self.guard.violations:
            now = time.monotonic()
            self.continue_clients(now)
            if now >= due["quiet"]:
                self.quiet()
                self.begin()
                due["quiet"] = time.monotonic() + QUIET_EVERY_S
            elif now >= due["daemon"]:
                self.kill_daemon()
                due["daemon"] = time.monotonic() + DAEMON_EVERY_S
            elif now >= due["worker"]:
                self.kill_worker()
                due["worker"] = now + WORKER_EVERY_S * 2 * self.rng.random()
            elif self.rng.random() < 0.7:
                self.kill_client()
            else:
                self.stop_client()
            time.sleep(self.rng.random() * 0.1)
        self.quiet()
        return time.monotonic() - began

    def close(self):
        for client in self.clients:
            if client.poll() is None:
                client.kill()
                client.wait()
        self.daemon.close()

    def complaints(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    arguments = parser.parse_args()
    print("seed", arguments.seed, flush=True)
    with tempfile.TemporaryDirectory(prefix="lp-") as folder:
        soak = Soak(pathlib.Path(folder), arguments)
        try:
            took = soak.run(arguments.minutes * 60)
        finally:
            soak.close()
        complaints = soak.complaints()
        if soak.faults or soak.guard.violations or complaints:
            print("\n".join(soak.faults), complaints[-4000:], file=sys.stderr)
            print(soak.daemon.log_text()[-3000:], file=sys.stderr)
            print(f"soak: failed; seed {arguments.seed}", file=sys.stderr)
            return 1
        operations = sum(soak.guard.operations(i) for i in range(12))
        ledger.record("soak", "local operations", operations, took)
        ledger.record("soak", "grants that the guard checked", soak.guard.grants)
        for name, value in soak.figures.items():
            ledger.record("soak", name, value)
        return 0


if __name__ == "__main__":
    sys.exit(main())
