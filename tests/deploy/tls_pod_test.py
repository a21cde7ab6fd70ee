#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The sidecar with TLS as a real pod with a network: callers from outside of it by certificate,
applications through shared memory, and certificates that change under both."""

import os
import threading
import unittest

import grpc

from leaseplane.v1 import lease_service_pb2 as pb
from podman import IMAGE, attempt, podman, say, wait_until
from sidecar_pod import SidecarPod
from tls_testbed import CERTS, acquire, leases, presented
from witness import CHURN

SERVER_NAME = "leaseplane-sidecar"  # the Service of tls/sidecar
SECRET = "leaseplane-tls"


def secret(certificate="server", key=None):
    return {"tls.crt": (CERTS / f"{certificate}.pem").read_bytes(),
            "tls.key": (CERTS / f"{key or certificate}.key").read_bytes(),
            "ca.crt": (CERTS / "ca.pem").read_bytes()}


class TlsPodTest(unittest.TestCase):

    def setUp(self):
        self.network = f"lp-tls-{os.getpid()}"
        podman("network", "create", self.network)
        self.addCleanup(attempt, "network", "rm", "-f", self.network)

    def pod(self, clients, **more):
        return SidecarPod(clients, "tls/sidecar", secrets={SECRET: secret()},
                          network=self.network, **more)

    def assert_probes(self, pod):
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            self.assertTrue(pod.probe("leaseplane", probe), probe)

    def call(self, pod, *args, client=None):
        """leasectl in a container of its own, which finds the pod by the name of the Service."""
        identity = [f"--tls-cert=/certs/{client}.pem", f"--tls-key=/certs/{client}.key"]
        return attempt("run", "--rm", "--network", self.network, "--user", "0:0", "--read-only",
                       "--add-host", f"{SERVER_NAME}:{pod.address()}",
                       "--volume", f"{CERTS}:/certs:ro", "--entrypoint", "/usr/bin/leasectl", IMAGE,
                       "--server", f"{SERVER_NAME}:7070", *(identity if client else []), *args)

    def test_callers_from_outside_need_a_certificate(self):
        with self.pod(1) as pod:
            pod.wait_ready()
            self.assert_probes(pod)
            pod.witness.command(0, CHURN)
            ca = "--tls-ca=/certs/ca.pem"
            got = self.call(pod, ca, "acquire", "db", "--ttl", "30s", client="client-uri")
            self.assertEqual(got.returncode, 0, got.stderr)
            held = pod.leasectl("leases", "db")
            self.assertIn("spiffe://example.org/app", str(held))
            for what, refused in (
                    ("no certificate", self.call(pod, ca, "health")),
                    ("of a stranger", self.call(pod, ca, "health", client="client-stranger")),
                    ("expired", self.call(pod, ca, "health", client="client-expired")),
                    ("a daemon of a stranger", self.call(pod, "--tls-ca=/certs/stranger-ca.pem",
                                                         "health", client="client-uri")),
                    ("in the clear", self.call(pod, "health"))):
                self.assertNotEqual(refused.returncode, 0, what)
                self.assertNotIn(" SERVING", refused.stdout, what)
            self.assertEqual(self.call(pod, ca, "health", client="client-dns").returncode, 0)
            wait_until(lambda: pod.witness.grants_of(0) >= 200, "200 grants beside them")
            pod.end_clients()
            self.assertEqual((pod.witness.violations, pod.witness.losses), (0, 0))
            self.assert_probes(pod)
            say(f"a caller of another container was granted a lease as spiffe://example.org/app; "
                f"five others were not; {pod.witness.grants} grants through shared memory")

    def test_the_certificate_changes_while_calls_run(self):
        with self.pod(1, capacity=8) as pod:
            pod.wait_ready()
            pod.witness.command(0, CHURN)
            address = f"{pod.address()}:7070"
            calls = Calls(address)
            try:
                for certificate in ("server-next", "server"):
                    pod.change_secret(SECRET, secret(certificate))
                    wait_until(lambda: presented(address) == certificate, certificate)
                    self.assert_probes(pod)
                    calls.wait_for_more()
                # Half of a pair is not taken, and takes nothing down.
                pod.change_secret(SECRET, secret("server-next", key="server"))
                wait_until(lambda: "new credentials are not used" in pod.logs("leaseplane"),
                           "the log")
                self.assertEqual(presented(address), "server")
                self.assert_probes(pod)
                calls.wait_for_more()
            finally:
                calls.end()
            self.assertEqual(calls.failures, [])
            pod.end_clients()
            self.assertEqual((pod.witness.violations, pod.witness.losses), (0, 0))
            say(f"certificate changed twice: {calls.kept} calls over one connection and "
                f"{calls.fresh} over new ones, none failed; {pod.witness.grants} grants through "
                "shared memory")


class Calls:
    """Two callers from outside, until end(): one keeps its connection, one makes a new one for
    each call."""

    def __init__(self, address):
        self.address = address
        self.failures, self.kept, self.fresh = [], 0, 0
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(job,))
                        for job in (self.keep(), self.renew())]
        for thread in self.threads:
            thread.start()

    def run(self, job):
        for _ in job:
            if self.ended.wait(0.005):
                return

    def take(self, stub):
        try:
            lease = acquire(stub, "db").lease
            stub.ReleaseLease(pb.ReleaseLeaseRequest(
                name=lease.name, fencing_token=lease.fencing_token), timeout=60)
        except grpc.RpcError as error:
            self.failures.append(f"{error.code()}: {error.details()}")

    def keep(self):
        stub = leases(self.address, "client-uri", server_name=SERVER_NAME)
        while True:
            self.take(stub)
            self.kept += 1
            yield

    def renew(self):
        while True:
            self.take(leases(self.address, "client-dns", server_name=SERVER_NAME))
            self.fresh += 1
            yield

    def wait_for_more(self):
        kept, fresh = self.kept, self.fresh
        wait_until(lambda: self.kept > kept + 20 and self.fresh > fresh + 20, "more calls")

    def end(self):
        self.ended.set()
        for thread in self.threads:
            thread.join()


if __name__ == "__main__":
    unittest.main()
