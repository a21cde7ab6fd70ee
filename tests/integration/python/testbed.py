# SPDX-License-Identifier: Apache-2.0
"""A daemon under test: started on a directory of its own, ended by pid.

Every test makes a Daemon with temporary paths and port 0, so tests run side by side. Waiting is
always for a condition, under a generous watchdog.
"""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time
import urllib.request

import grpc

from leaseplane.v1 import admin_service_pb2_grpc, lease_service_pb2_grpc

BIN = pathlib.Path(os.environ["LEASEPLANE_BIN_DIR"])
DAEMON = os.environ.get("LEASEPLANE_DAEMON", str(BIN / "leaseplaned"))
WATCHDOG_S = float(os.environ.get("LEASEPLANE_WATCHDOG_S", "60"))
PATIENT = {"timeout": WATCHDOG_S, "wait_for_ready": True}  # for calls on a slow machine


def wait_until(condition, what, timeout_s=WATCHDOG_S, step_s=0.01):
    """The first true value of condition()."""
    end = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"gave up waiting for {what}")
        time.sleep(step_s)


class Daemon:
    """leaseplaned with its state in `root`; the same root can be started again."""

    def __init__(self, *args, root=None, pools=("gpu=3",), env=None):
        self._temp = None
        if root is None:
            self._temp = tempfile.TemporaryDirectory(prefix="lp-")
            root = self._temp.name
        self.root = pathlib.Path(root)
        self.socket = self.root / "run" / "leaseplane.sock"
        self.socket.parent.mkdir(exist_ok=True)
        self.args = list(args)
        for pool in pools:
            self.args += ["--pool", pool]
        self.env = dict(os.environ, **(env or {}))
        self.process = None
        self.grpc_address = self.metrics_address = self.admin_address = None

    def command(self, listen="127.0.0.1:0", metrics="127.0.0.1:0"):
        return [DAEMON, "--state-dir", str(self.root / "state"),
                "--socket", str(self.socket), "--listen", listen, "--metrics-listen", metrics,
                *self.args]

    def spawn(self, **kwargs):
        self.log = open(self.root / "log", "ab")
        self.process = subprocess.Popen(self.command(**kwargs), stdout=subprocess.PIPE,
                                        stderr=self.log, env=self.env)
        return self

    def start(self, **kwargs):
        """Starts it and waits for the line that says it serves."""
        self.spawn(**kwargs)
        line = self.process.stdout.readline().decode()
        found = re.search(r"ready grpc=(\S+) unix=(\S+) metrics=(\S+)", line)
        if not found:
            self.process.wait(10)
            raise AssertionError(f"no ready line but {line!r}; log: {self.log_text()[-2000:]}")
        self.grpc_address, _, self.metrics_address = found.groups()
        admin = re.search(r" admin=(\S+)", line)
        self.admin_address = admin.group(1) if admin else None
        return self

    def log_text(self):
        return (self.root / "log").read_text(errors="replace")

    def worker_pid(self):
        """The keeper's child."""
        keeper = self.process.pid
        path = f"/proc/{keeper}/task/{keeper}/children"
        with contextlib.suppress(FileNotFoundError):
            children = pathlib.Path(path).read_text().split()
            return int(children[0]) if children else None
        return None

    def kill_worker(self):
        pid = wait_until(self.worker_pid, "a worker")
        os.kill(pid, signal.SIGKILL)
        return pid

    def kill(self):
        """kill -9 of the keeper; the worker follows by itself."""
        worker = self.worker_pid()
        self.process.kill()
        self.process.wait(WATCHDOG_S)
        if worker:
            wait_until(lambda: not os.path.exists(f"/proc/{worker}"), "the worker's end")

    def stop(self):
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WATCHDOG_S)

    def crashes(self):
        """What the keeper says of workers that ended by a fault of their own."""
        text = self.log_text() if (self.root / "log").exists() else ""
        return re.findall(r".*killed by signal (?:4|6|7|8|11)\b.*", text)

    def close(self):
        if self.process and self.process.poll() is None:
            self.kill()
        crashes = self.crashes()
        if self.process and self.process.stdout:
            self.process.stdout.close()
        if hasattr(self, "log"):
            self.log.close()
        if self._temp:
            self._temp.cleanup()
        assert not crashes, crashes

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    def channel(self, unix=False):
        # Each its own connection: channels of one process share subchannels otherwise.
        options = [("grpc.use_local_subchannel_pool", 1),
                   ("grpc.initial_reconnect_backoff_ms", 20),
                   ("grpc.min_reconnect_backoff_ms", 20),
                   ("grpc.max_reconnect_backoff_ms", 100)]
        target = f"unix:{self.socket}" if unix else self.grpc_address
        return grpc.insecure_channel(target, options)

    def leases(self, unix=False):
        return lease_service_pb2_grpc.LeaseServiceStub(self.channel(unix))

    def admin(self):
        return admin_service_pb2_grpc.AdminServiceStub(self.channel(unix=True))

    def metrics(self):
        """{'name{labels}': value}"""
        url = f"http://{self.metrics_address}/metrics"
        text = urllib.request.urlopen(url, timeout=10).read().decode()
        pairs = (line.rsplit(" ", 1) for line in text.splitlines() if line[:1] not in ("#", ""))
        return {name: float(value) for name, value in pairs}

    def leasectl(self, *args, unix=True, **kwargs):
        target = f"unix:{self.socket}" if unix else f"ipv4:{self.grpc_address}"
        return subprocess.run([str(BIN / "leasectl"), "--server", target, *args],
                              capture_output=True, text=True, timeout=WATCHDOG_S, **kwargs)


def reason_of(error):
    """(status code name, ErrorInfo reason, {field: description}) of an RpcError."""
    from google.rpc import error_details_pb2, status_pb2
    reason, fields = "", {}
    for key, value in error.trailing_metadata() or ():
        if key != "grpc-status-details-bin":
            continue
        status = status_pb2.Status.FromString(value)
        for detail in status.details:
            info = error_details_pb2.ErrorInfo()
            bad = error_details_pb2.BadRequest()
            if detail.Unpack(info):
                reason = info.reason
            elif detail.Unpack(bad):
                fields.update({v.field: v.description for v in bad.field_violations})
    return error.code().name, reason, fields


def pool_counts(daemon, pool):
    """The daemon's own view of a pool, for leak checks."""
    from leaseplane.v1 import admin_service_pb2
    got = daemon.admin().GetPool(admin_service_pb2.GetPoolRequest(name=f"pools/{pool}"))
    from google.protobuf import json_format
    return json.loads(json_format.MessageToJson(got, including_default_value_fields=True))
