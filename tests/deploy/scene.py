# SPDX-License-Identifier: Apache-2.0
"""A real daemon under load and a real Prometheus that scrapes it, for tests of what is seen.

The load does everything once that a metric counts: grants by both paths, waits, tries that find
nothing, leases that expire or are revoked, holders that die, stale tokens, locked slots.
"""

import contextlib
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import tempfile
import threading
import time
import urllib.parse
import urllib.request

import grpc

import testbed
import tls_testbed
from google.protobuf import duration_pb2
from leaseplane.v1 import admin_service_pb2 as admin_pb, lease_service_pb2 as pb

SOURCE = pathlib.Path(__file__).resolve().parents[2]
RULES = SOURCE / "deploy" / "prometheus"
POOLS = ("gpu=8", "db=20", "licence=2")


def seconds(value):
    duration = duration_pb2.Duration()
    duration.FromNanoseconds(round(value * 1e9))
    return duration


class Prometheus:
    """The server of the Debian package, with the project's rules, on a free port."""

    def __init__(self, metrics_address, rules=RULES):
        self._temp = tempfile.TemporaryDirectory(prefix="lp-prom-")
        root = pathlib.Path(self._temp.name)
        config = (RULES / "prometheus.yml").read_text()
        config = config.replace("127.0.0.1:9464", metrics_address).replace("15s", "1s")
        (root / "prometheus.yml").write_text(config)
        for name in ("leaseplane.rules.yml", "leaseplane.alerts.yml"):
            (root / name).write_text((pathlib.Path(rules) / name).read_text())
        self.log_path = root / "log"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={root}/prometheus.yml",
                 f"--storage.tsdb.path={root}/data", "--web.listen-address=127.0.0.1:0",
                 "--log.level=info"], stdout=log, stderr=log)
        self.url = None
        try:
            testbed.wait_until(self._ready, "Prometheus")
        except AssertionError as error:
            raise AssertionError(self.log_path.read_text()[-2000:]) from error

    def _ready(self):
        # With port 0 only the log, or the kernel, knows the port.
        for line in pathlib.Path(f"/proc/{self.process.pid}/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and self._owns(fields[9]):
                self.url = f"http://127.0.0.1:{int(fields[1].split(':')[1], 16)}"
        if self.url is None:
            return False
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(self.url + "/-/ready", timeout=10).status == 200
        return False

    def _owns(self, inode):
        for entry in pathlib.Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(entry) == f"socket:[{inode}]":
                    return True
        return False

    def ask(self, path, **parameters):
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters, doseq=True)}"
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def query(self, expr):
        return self.ask("query", query=expr)["result"]

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(testbed.WATCHDOG_S)
        self._temp.cleanup()


class Load:
    """Threads and processes that use the pools until they are stopped."""

    def __init__(self, daemon, seed=1):
        self.daemon, self.random = daemon, random.Random(seed)
        self.stopping = threading.Event()
        self.surge = threading.Event()
        self.stub = tls_testbed.leases(daemon.grpc_address, "client-uri")
        jobs = [self.remote] * 6 + [self.local] * 4 + [self.odd, self.keep_alive]
        self.threads = [threading.Thread(target=job, args=(i,)) for i, job in enumerate(jobs)]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def hold(self, mean_s):
        self.stopping.wait(self.random.expovariate(1 / mean_s))

    def acquire(self, pool, wait_s=0.0, ttl_s=10.0, client="load"):
        return self.stub.AcquireLease(pb.AcquireLeaseRequest(
            parent=f"pools/{pool}", ttl=seconds(ttl_s), client_id=client,
            max_wait_duration=seconds(wait_s)), **testbed.PATIENT).lease

    def release(self, lease, token=None):
        self.stub.ReleaseLease(pb.ReleaseLeaseRequest(
            name=lease.name, fencing_token=token or lease.fencing_token), **testbed.PATIENT)

    def renew(self, lease):
        self.stub.RenewLease(pb.RenewLeaseRequest(
            name=lease.name, fencing_token=lease.fencing_token), **testbed.PATIENT)

    def remote(self, number):
        """Calm: db, seldom anything else. In a surge everybody wants a licence."""
        while not self.stopping.is_set():
            pool = "licence" if self.surge.is_set() or number == 0 else ("db", "gpu")[number % 2]
            with contextlib.suppress(grpc.RpcError):
                lease = self.acquire(pool, wait_s=3)
                self.hold(0.2)
                self.renew(lease)
                self.hold(0.1)
                self.release(lease)
            self.hold(0.05)

    def local(self, number):
        """leasectl, attached: shared memory. Waits for a licence end in the daemon's queue."""
        while not self.stopping.is_set():
            pool = "licence" if self.surge.is_set() else ("gpu", "db")[number % 2]
            self.daemon.leasectl("run", pool, "--path", "local", "--wait", "3s", "--",
                                 "sleep", f"{self.random.uniform(0.1, 0.6):.2f}")

    def odd(self, _):
        """What seldom happens."""
        while not self.stopping.is_set():
            for step in (self.try_in_vain, self.forget, self.be_revoked, self.be_stale,
                         self.die_holding):
                with contextlib.suppress(grpc.RpcError):
                    step()
                self.hold(0.1)

    def try_in_vain(self):
        for _ in range(5):
            with contextlib.suppress(grpc.RpcError):
                self.release(self.acquire("licence"))

    def forget(self):
        self.acquire("db", ttl_s=1)

    def be_revoked(self):
        """And not notice it."""
        lease = self.acquire("licence", wait_s=3)
        self.daemon.admin().RevokeLease(
            admin_pb.RevokeLeaseRequest(name=lease.name, reason="test"), **testbed.PATIENT)
        self.release(lease)

    def be_stale(self):
        lease = self.acquire("db")
        with contextlib.suppress(grpc.RpcError):
            self.release(lease, token=lease.fencing_token - 1)
        self.release(lease)

    def die_holding(self):
        holder = subprocess.Popen(
            [str(testbed.BIN / "leasectl"), "--server", f"unix:{self.daemon.socket}", "run", "gpu",
             "--path", "local", "--wait", "3s", "--", "sh", "-c", "echo held; exec sleep 60"],
            stdout=subprocess.PIPE, start_new_session=True)
        holder.stdout.readline()
        os.killpg(holder.pid, signal.SIGKILL)
        holder.wait()
        holder.stdout.close()

    def keep_alive(self, _):
        """One lease of gpu, renewed over a stream and by calls."""
        while not self.stopping.is_set():
            with contextlib.suppress(grpc.RpcError):
                lease = self.acquire("gpu", wait_s=3, ttl_s=5)
                for _ in range(10):
                    self.renew(lease)
                    self.stub.GetLease(pb.GetLeaseRequest(name=lease.name), **testbed.PATIENT)
                    ask = pb.KeepAliveRequest(renewals=[pb.KeepAliveRequest.Renewal(
                        name=lease.name, fencing_token=lease.fencing_token, sequence=1)])
                    list(self.stub.KeepAlive(iter([ask]), **testbed.PATIENT))
                    self.hold(0.2)
                self.release(lease)


class Scene:
    """Daemon, load and Prometheus. `run` lets time go by, with a surge in the middle."""

    def __init__(self):
        with contextlib.ExitStack() as stack:
            self.daemon = testbed.Daemon(*tls_testbed.tls_flags(), pools=POOLS).start()
            stack.callback(self.daemon.close)
            self.daemon.admin().LockSlot(
                admin_pb.LockSlotRequest(name="pools/db/slots/3", reason="test"), **testbed.PATIENT)
            self.prometheus = Prometheus(self.daemon.metrics_address)
            stack.callback(self.prometheus.close)
            self.load = Load(self.daemon)
            stack.callback(self.load.stop)
            self._stack = stack.pop_all()
        self.started = time.time()

    def run(self, duration_s):
        for part, is_surge in ((0.4, False), (0.3, True), (0.3, False)):
            (self.load.surge.set if is_surge else self.load.surge.clear)()
            time.sleep(duration_s * part)

    def scrapes(self):
        result = self.prometheus.query("count_over_time(leaseplane_pools[1h])")
        return int(result[0]["value"][1]) if result else 0

    def close(self):
        self._stack.close()


def metric_names(expr):
    return set(re.findall(r"\bleaseplane_[a-z_]+|\b[a-z]+(?:_[a-z]+)*:leaseplane_\w+:\w+", expr))
