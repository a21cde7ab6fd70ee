# SPDX-License-Identifier: Apache-2.0
"""Alerts against what they are for, in a real daemon and a real Prometheus: a pool that is full, a
worker that dies, a daemon that is gone, a disk that is full, shared memory that is written to or
lost, a certificate at its end. Only how long a condition has to last is shortened, to 2 s."""

import mmap
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import unittest

import grpc

import scene
import testbed
import tls_testbed
from lost_memory import lose_a_page
from leaseplane.v1 import lease_service_pb2 as pb

MESSAGE_BYTES, MAGIC, K_HELLO, K_OPEN_POOL, K_POOL_OPENED = 128, 0x4C504131, 1, 2, 66
SLOTS_OFFSET = 4096  # core/shm/LAYOUT.md


def damage_a_slot(socket_path):
    """What a hostile client can do: attach, map the pool's DATA, write a word that cannot be."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.connect(str(socket_path))
        for kind, body in ((K_HELLO, struct.pack("=IHHII48s", MAGIC, 1, 0, 0, 0, b"test")),
                           (K_OPEN_POOL, struct.pack("=II", 1, 0) + b"gpu")):
            sock.send((struct.pack("=II", kind, 0) + body).ljust(MESSAGE_BYTES, b"\0"))
            _, fds, _, _ = socket.recv_fds(sock, MESSAGE_BYTES, 8)
            data = fds[0]
        with mmap.mmap(data, SLOTS_OFFSET + 8) as memory:
            memory[SLOTS_OFFSET:SLOTS_OFFSET + 8] = b"\xff" * 8
        # Until the daemon has looked: our words are swept when we hang up.
        yield


class AlertsFireTest(unittest.TestCase):
    def start(self, *flags, root=None):
        rules = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="lp-rules-")))
        for path in scene.RULES.glob("leaseplane.*.yml"):
            short = re.sub(r"for: \d+[mh]$", "for: 2s", path.read_text(), flags=re.M)
            (rules / path.name).write_text(short)
        self.daemon = testbed.Daemon(*flags, pools=("gpu=1",), root=root).start()
        self.addCleanup(self.daemon.close)
        self.prometheus = scene.Prometheus(self.daemon.metrics_address, rules)
        self.addCleanup(self.prometheus.close)
        testbed.wait_until(lambda: self.prometheus.query("up == 1"), "a scrape")
        testbed.wait_until(lambda: not self.firing(), "silence: before the first scrape none is up")

    def firing(self):
        return {s["metric"]["alertname"]
                for s in self.prometheus.query('ALERTS{alertstate="firing"}')}

    def expect(self, *alerts, meanwhile=lambda: None):
        started = time.monotonic()
        for alert in alerts:
            testbed.wait_until(lambda: (meanwhile(), alert in self.firing())[1], alert,
                               timeout_s=120, step_s=0.2)
            print(f"{alert} fires after {time.monotonic() - started:.1f} s")

    def acquire(self, ttl_s=300, **more):
        return self.daemon.leases().AcquireLease(pb.AcquireLeaseRequest(
            parent="pools/gpu", ttl=scene.seconds(ttl_s)), **(more or testbed.PATIENT)).lease

    def test_a_full_pool_a_worker_that_dies_and_a_daemon_that_is_gone(self):
        self.start()
        self.acquire()
        for _ in range(20):  # tries are no alert
            with self.assertRaises(grpc.RpcError):
                self.acquire()
        time.sleep(4)  # as long as an alert would take; the waiter below is the difference
        self.assertEqual(self.firing(), set())
        wait = self.daemon.leases().AcquireLease.future(pb.AcquireLeaseRequest(
            parent="pools/gpu", max_wait_duration=scene.seconds(50)), timeout=55)
        self.expect("LeaseplanePoolExhausted")
        wait.cancel()
        for starts in (2, 3, 4):
            self.daemon.kill_worker()
            testbed.wait_until(lambda: self.starts() == starts, f"start {starts}")
        self.expect("LeaseplaneWorkerRestarting")
        self.daemon.kill()
        self.expect("LeaseplaneDown")

    def starts(self):
        found = self.prometheus.query("leaseplane_worker_starts_total")
        return int(found[0]["value"][1]) if found else 0

    def test_damaged_shared_memory(self):
        self.start()
        for _ in damage_a_slot(self.daemon.socket.parent / "attach.sock"):
            self.expect("LeaseplaneIntegrityViolations")
            self.assertIn("shared memory was damaged", self.daemon.log_text())

    def test_lost_shared_memory(self):
        self.start()
        held = self.acquire()
        lose_a_page(self.daemon.worker_pid(), "/memfd:leaseplane-gpu-data")
        self.expect("LeaseplanePoolDamaged")
        self.assertIn("shared memory of a pool was lost", self.daemon.log_text())
        self.daemon.leases().RenewLease(pb.RenewLeaseRequest(
            name=held.name, fencing_token=held.fencing_token), **testbed.PATIENT)

    def test_a_certificate_near_its_end_and_its_renewal(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="lp-cert-")))
        self.put_certificate(folder, "server-ending")
        self.start(*tls_testbed.tls_flags("server", folder=folder))
        self.expect("LeaseplaneCertificateExpires")
        self.put_certificate(folder, "server")
        testbed.wait_until(lambda: "LeaseplaneCertificateExpires" not in self.firing(),
                           "the alert to end")

    def put_certificate(self, folder, name):
        for suffix in ("pem", "key"):
            shutil.copy(tls_testbed.CERTS / f"{name}.{suffix}", folder / f"next.{suffix}")
            (folder / f"next.{suffix}").rename(folder / f"server.{suffix}")

    def test_a_disk_that_is_full_and_has_room_again(self):
        root = tempfile.mkdtemp(prefix="lp-disk-")
        self.addCleanup(os.rmdir, root)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "none", root])
        if mounted.returncode != 0:
            self.skipTest("a small file system needs root")
        self.addCleanup(subprocess.run, ["umount", "-l", root], check=True)
        self.start(root=root)
        filler = pathlib.Path(root) / "filler"
        with open(filler, "wb", buffering=0) as file, self.assertRaises(OSError):
            while True:
                file.write(bytes(4096))
        testbed.wait_until(self.store_has_failed, "the daemon to notice")
        self.expect("LeaseplaneStoreFailing", "LeaseplaneNotServing", "LeaseplaneCallsFailing",
                    meanwhile=self.store_has_failed)
        filler.unlink()
        testbed.wait_until(lambda: not {"LeaseplaneStoreFailing", "LeaseplaneNotServing"}
                           & self.firing(), "the alerts to end")

    def store_has_failed(self):
        """Each try leaves something to write."""
        try:
            lease = self.acquire()
            self.daemon.leases().ReleaseLease(pb.ReleaseLeaseRequest(
                name=lease.name, fencing_token=lease.fencing_token), **testbed.PATIENT)
        except grpc.RpcError as error:
            return error.code() == grpc.StatusCode.INTERNAL
        return False


if __name__ == "__main__":
    unittest.main()
