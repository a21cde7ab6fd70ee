# SPDX-License-Identifier: Apache-2.0
"""Real daemon, real clients, and everything that happens to processes, for so many minutes.

soak.py [--minutes N] [--clients N] [--seed K]

Local clients are killed, stopped and continued, fork, execute themselves anew and close their
descriptors; the worker is killed every few seconds, the whole daemon every few minutes; remote
clients acquire, renew and release all the while. A guard array in a memory of its own, which shares
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
import threading
import time
import uuid

import grpc

import ledger
import testbed
from google.protobuf import duration_pb2
from guard import Guard
from leaseplane.v1 import lease_service_pb2 as pb

SLOTS, REMOTE_THREADS = 6, 2
RETRIED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
QUIET_EVERY_S, WORKER_EVERY_S, DAEMON_EVERY_S = 60, 3, 150


class Remote(threading.Thread):
    def __init__(self, soak, index):
        super().__init__(daemon=True)
        self.soak, self.index, self.who = soak, index, 10**9 + index
        self.guard = Guard(soak.guard_path, holders_may_die=True)
        self.done, self.faults, self.leases = threading.Event(), [], 0
        self.rng = random.Random(soak.seed + index)
        self.connect()

    def connect(self):
        self.stub = self.soak.daemon.leases(unix=True)

    def call(self, name, request):
        while True:
            try:
                return getattr(self.stub, name)(request, timeout=20)
            except grpc.RpcError as error:
                if error.code() not in RETRIED:
                    return error
            time.sleep(0.02)
            self.connect()

    def fault(self, text):
        if text:
            self.faults.append(f"remote {self.index}: {text}")

    def run(self):
        while not self.done.is_set():
            got = self.call("AcquireLease", pb.AcquireLeaseRequest(
                parent="pools/p", ttl=duration_pb2.Duration(seconds=60),
                max_wait_duration=duration_pb2.Duration(seconds=2),
                request_id=str(uuid.uuid4())))
            if isinstance(got, grpc.RpcError):
                if testbed.reason_of(got)[1] not in ("WAIT_TIMEOUT", "NO_FREE_SLOT"):
                    self.fault(f"acquire: {testbed.reason_of(got)} {got.details()}")
                continue
            lease = got.lease
            self.leases += 1
            self.fault(self.guard.enter(lease.slot_index, lease.fencing_token, self.who))
            time.sleep(self.rng.random() * 0.05)
            for verb, request in (("RenewLease", pb.RenewLeaseRequest),
                                  ("ReleaseLease", pb.ReleaseLeaseRequest)):
                if verb == "ReleaseLease":
                    self.fault(self.guard.leave(lease.slot_index, self.who))
                answer = self.call(verb, request(name=lease.name,
                                                 fencing_token=lease.fencing_token))
                if isinstance(answer, grpc.RpcError):
                    self.fault(f"{verb} of {lease.name}: {testbed.reason_of(answer)}")


class Soak:
    def __init__(self, folder, arguments):
        self.seed, self.rng = arguments.seed, random.Random(arguments.seed)
        self.count = arguments.clients
        self.folder, self.guard_path = folder, folder / "guard"
        self.guard = Guard(self.guard_path)
        self.log = open(folder / "clients", "w+b")
        self.daemon = testbed.Daemon(pools=(f"p={SLOTS}",), root=folder)
        self.clients, self.stopped = [], []
        self.figures = dict.fromkeys(
            ("client kills", "client stops", "worker kills", "daemon kills",
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
        self.remote = [Remote(self, i) for i in range(REMOTE_THREADS)]
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
