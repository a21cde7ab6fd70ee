# SPDX-License-Identifier: Apache-2.0
"""What the daemon's parts cost in memory, and how long the work of many takes.

  bench_limits.py --bin build/bench/bin --out build/bench/limits.json [--quick]

Needs the Python stubs of the protos on PYTHONPATH.
"""

import argparse
import json
import os
import pathlib
import re
import resource
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import grpc
from leaseplane.v1 import lease_service_pb2 as pb, lease_service_pb2_grpc

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / name)
                for name in ("", "remote")]
import results  # noqa: E402
import servers  # noqa: E402

BATCH = 256
IN_FLIGHT = 8  # messages of a stream
WAITERS_A_STREAM = 8000


def worker_of(server):
    path = f"/proc/{server.pid}/task/{server.pid}/children"
    return int(pathlib.Path(path).read_text().split()[0])


def private_bytes(pid):
    """Anonymous memory: neither the pools' segments nor the mapped ledgers."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Anonymous: +(\d+) kB", text, re.M).group(1)) * 1024


def segment_bytes(pid):
    """The daemon's shared segments."""
    text = pathlib.Path(f"/proc/{pid}/maps").read_text()
    found = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) .*memfd:leaseplane", text, re.M)
    return sum(int(end, 16) - int(begin, 16) for begin, end in found)


def acquire_many(stub, pool, count, wait_s=0):
    """Over one stream; returns the call, still open, when `count` are granted, or sent if they
    are to wait."""
    window = threading.Semaphore(IN_FLIGHT)
    done = threading.Event()

    def requests():
        for first in range(0, count, BATCH):
            request = pb.LeaseStreamRequest()
            for sequence in range(first, min(first + BATCH, count)):
                acquire = request.operations.add(sequence=sequence).acquire
                acquire.parent = f"pools/{pool}"
                acquire.ttl.seconds = 3600
                acquire.max_wait_duration.seconds = wait_s
            if not wait_s:
                window.acquire()
            yield request
        done.wait()

    call = stub.LeaseStream(requests())
    call.end = done.set
    granted = 0
    while not wait_s and granted < count:
        message = next(call)
        for result in message.results:
            if not result.HasField("acquired"):
                raise RuntimeError(f"not granted: {result.error.message}")
            granted += 1
            if granted % BATCH == 0:
                window.release()
    return call


def metric(server, name):
    url = f"http://{server.metrics}/metrics"
    text = urllib.request.urlopen(url, timeout=60).read().decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
               if re.match(rf"{name}(\{{| )", line))


def wait_for(condition, what):
    end = time.monotonic() + 120
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"gave up waiting for {what}")
        time.sleep(0.05)


class Limits:
    def __init__(self, bin_dir, folder, out, is_quick):
        self.bin, self.folder, self.out = pathlib.Path(bin_dir), pathlib.Path(folder), out
        self.is_quick = is_quick

    def daemon(self, name, config, *flags):
        folder = self.folder / name
        folder.mkdir()
        return servers.start_leaseplaned(folder, self.bin / "leaseplaned", config, flags)

    def add(self, name, params, metric_name, unit, values):
        median = self.out.add(name, params, metric_name, unit, values)
        print(f"{name:24} {metric_name:28} {median:14.2f} {unit}", flush=True)

    def leases(self):
        count = 100_000 if self.is_quick else 1_000_000
        capacity = 1_048_576
        server = self.daemon("leases", f"pools:\n  - id: big\n    capacity: {capacity}\n"
                                       f"    durability: NONE\n")
        try:
            worker = worker_of(server)
            shared = segment_bytes(worker)
            self.add("memory per lease", {"capacity": capacity}, "shared memory per slot", "B",
                     [shared / capacity])
            before = private_bytes(worker)
            stub = lease_service_pb2_grpc.LeaseServiceStub(grpc.insecure_channel(server.unix))
            started = time.monotonic()
            call = acquire_many(stub, "big", count)
            took = time.monotonic() - started
            self.add("memory per lease", {"leases": count}, "private memory per lease", "B",
                     [(private_bytes(worker) - before) / count])
            ledger = sum(path.stat().st_blocks * 512
                         for path in (self.folder / "leases" / "state").rglob("*.ledger"))
            self.add("memory per lease", {"capacity": capacity}, "ledger file per slot", "B",
                     [ledger / capacity])
            self.add("memory per lease", {"leases": count}, "granted over one stream", "1/s",
                     [count / took])
            call.end()
        finally:
            server.stop()

    def waiters(self):
        count = 2 * WAITERS_A_STREAM if self.is_quick else 6 * WAITERS_A_STREAM
        server = self.daemon("waiters", "pools:\n  - id: one\n    capacity: 1\n"
                                        "    max_waiters: 1000000\n")
        try:
            worker = worker_of(server)
            stub = lease_service_pb2_grpc.LeaseServiceStub(grpc.insecure_channel(server.unix))
            calls = [acquire_many(stub, "one", 1)]
            before = private_bytes(worker)
            calls += [acquire_many(stub, "one", WAITERS_A_STREAM, wait_s=3600)
                      for _ in range(count // WAITERS_A_STREAM)]
            wait_for(lambda: metric(server, "leaseplane_pool_waiters") >= count, "the waiters")
            self.add("memory per waiter", {"waiters": count}, "private memory per waiter", "B",
                     [(private_bytes(worker) - before) / count])
            for call in calls:
                call.cancel()
                call.end()
        finally:
            server.stop()

    def sessions(self):
        count = 1_000 if self.is_quick else 10_000
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        count = min(count, (hard - 500) // 4)
        server = self.daemon("sessions", "pools:\n  - id: one\n    capacity: 1\n",
                             "--max-sessions-per-process", str(count))
        sockets = []
        try:
            worker = worker_of(server)
            before = private_bytes(worker)
            path = str(self.folder / "sessions" / "attach.sock")
            hello = struct.pack("=IIIHHII48s", 1, 0, 0x4C504131, 1, 0, 0, 0, b"bench")
            for _ in range(count):
                sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                sockets.append(sock)
                sock.connect(path)
                sock.send(hello.ljust(128, b"\0"))
                _, fds, _, _ = socket.recv_fds(sock, 128, 8)
                for fd in fds:
                    os.close(fd)
            attached = metric(server, "leaseplane_sessions")
            if attached < count:
                raise RuntimeError(f"only {attached} of {count} sessions are attached")
            self.add("memory per session", {"sessions": count}, "private memory per session", "B",
                     [(private_bytes(worker) - before) / count])
        finally:
            for sock in sockets:
                sock.close()
            server.stop()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    def pools(self):
        count = 1_000
        text = "pools:\n" + "".join(f"  - id: p{i}\n    capacity: 16\n" for i in range(count))
        server = self.daemon("pools", text)
        try:
            def ticks():
                return [metric(server, f"leaseplane_tick_lag_seconds_{part}")
                        for part in ("sum", "count")]

            lags = []  # each the mean of the ticks since the one before
            seconds, count_of_ticks = ticks()
            while len(lags) < (10 if self.is_quick else 40):
                time.sleep(0.25)
                seconds_now, ticks_now = ticks()
                if ticks_now == count_of_ticks:
                    continue
                lags.append((seconds_now - seconds) / (ticks_now - count_of_ticks) * 1e3)
                seconds, count_of_ticks = seconds_now, ticks_now
            self.add("tick lag", {"pools": count}, "tick lag", "ms", lags)
        finally:
            server.stop()

    def engine(self):
        repetitions = 3 if self.is_quick else 9
        done = subprocess.run(
            [self.bin / "engine_bench", "--benchmark_format=json", "--benchmark_min_time=0.1",
             f"--benchmark_repetitions={repetitions}",
             "--benchmark_enable_random_interleaving=true"],
            check=True, stdout=subprocess.PIPE)
        times = {}
        to_ns = {"ns": 1, "us": 1e3, "ms": 1e6}
        for run in json.loads(done.stdout)["benchmarks"]:
            if run["run_type"] == "iteration":
                times.setdefault(run["run_name"], []).append(
                    run["cpu_time"] * to_ns[run["time_unit"]])
        for name, values in times.items():
            self.add("engine", {"benchmark": name}, "time", "ns", values)
        sweep, floor = times["SweepDeadlines"], times["SumDeadlines"]
        self.add("expiry sweep", {"leases": 1_000_000}, "sweep", "us", [v / 1e3 for v in sweep])
        self.add("expiry sweep", {"leases": 1_000_000}, "ratio to a plain sum", "1",
                 [a / b for a, b in zip(sweep, floor)])
        self.add("recovery", {"slots": 100_000}, "slots of a dead client", "ms",
                 [v / 1e6 for v in times["RecoverDeadClient/100000"]])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="lpb-")
    out = results.Results("limits")
    try:
        limits = Limits(arguments.bin, folder, out, arguments.quick)
        for part in (limits.engine, limits.pools, limits.sessions, limits.waiters, limits.leases):
            part()
        out.write(arguments.out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
