# SPDX-License-Identifier: Apache-2.0
"""TLS of the running daemon: certificates, its start, and their renewal."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import unittest

import grpc

from leaseplane.v1 import admin_service_pb2 as admin_pb
from leaseplane.v1 import lease_service_pb2 as pb
from leaseplane.v1 import lease_service_pb2_grpc
from testbed import Daemon, reason_of, wait_until
from tls_testbed import CERTS, TlsCase, acquire, admin, leases, presented, secure, tls_flags


class CertificateTest(TlsCase):
    def test_the_principal_is_the_certificates(self):
        expected = {"client-uri": "spiffe://example.org/app", "client-dns": "worker.example.org",
                    "client-cn": "Ada Lovelace"}
        with Daemon(*tls_flags(), pools=["gpu=8"]) as daemon:
            for client, principal in expected.items():
                got = acquire(leases(daemon.grpc_address, client))
                self.assertEqual(got.lease.principal, principal)
            unix = acquire(daemon.leases(unix=True))
            self.assertEqual(unix.lease.principal, f"uid:{os.getuid()}")

    def test_who_has_no_good_certificate_gets_no_connection(self):
        with Daemon(*tls_flags()) as daemon:
            for client in (None, "client-stranger", "client-expired", "server"):
                with self.subTest(client=client):
                    self.assert_no_connection(leases(daemon.grpc_address, client))
            self.assert_no_connection(leases(daemon.grpc_address, "client-uri", ca="stranger-ca"))
            self.assert_no_connection(lease_service_pb2_grpc.LeaseServiceStub(daemon.channel()))
            acquire(leases(daemon.grpc_address, "client-uri"))

    def test_a_certificate_cannot_name_a_user_of_the_host(self):
        with Daemon(*tls_flags()) as daemon:
            stub = leases(daemon.grpc_address, "client-root")
            request = pb.AcquireLeaseRequest(parent="pools/gpu")
            denied = ("UNAUTHENTICATED", "UNAUTHENTICATED")
            self.assertEqual(self.refused(stub.AcquireLease, request), denied)
            self.assertEqual(self.refused(stub.GetServerInfo, pb.GetServerInfoRequest()), denied)
            with self.assertRaises(grpc.RpcError) as raised:
                next(stub.KeepAlive(iter([pb.KeepAliveRequest()]), timeout=60))
            self.assertEqual(reason_of(raised.exception)[:2], denied)

    def test_without_a_client_ca_callers_are_anonymous(self):
        with Daemon(*tls_flags(client_ca=None)) as daemon:
            got = acquire(leases(daemon.grpc_address))
            self.assertEqual(got.lease.principal, "anonymous")

    def test_a_lease_is_its_principals_alone(self):
        with Daemon(*tls_flags()) as daemon:
            mine = leases(daemon.grpc_address, "client-uri")
            other = leases(daemon.grpc_address, "client-dns")
            lease = acquire(mine).lease
            held = {"name": lease.name, "fencing_token": lease.fencing_token}
            not_holder = ("PERMISSION_DENIED", "NOT_HOLDER")
            self.assertEqual(self.refused(other.RenewLease, pb.RenewLeaseRequest(**held)),
                             not_holder)
            self.assertEqual(self.refused(other.ReleaseLease, pb.ReleaseLeaseRequest(**held)),
                             not_holder)
            self.assertEqual(self.refused(other.GetLease, pb.GetLeaseRequest(name=lease.name)),
                             not_holder)
            everywhere = pb.ListLeasesRequest(parent="pools/-")
            self.assertEqual(len(other.ListLeases(everywhere, timeout=60).leases), 0)
            self.assertEqual(len(mine.ListLeases(everywhere, timeout=60).leases), 1)
            stream = other.KeepAlive(iter([pb.KeepAliveRequest(
                renewals=[pb.KeepAliveRequest.Renewal(**held)])]), timeout=60)
            self.assertEqual(next(stream).lost.name, lease.name)
            mine.RenewLease(pb.RenewLeaseRequest(**held), timeout=60)
            # Who may administer acts in the holder's name.
            daemon.leases(unix=True).ReleaseLease(pb.ReleaseLeaseRequest(**held), timeout=60)

    def test_administration_stays_on_the_socket_and_its_own_address(self):
        with Daemon(*tls_flags(), "--admin-listen", "127.0.0.1:0") as daemon:
            stub = admin(daemon.grpc_address, "client-uri")
            request = admin_pb.GetPoolRequest(name="pools/gpu")
            self.assertEqual(self.refused(stub.GetPool, request)[0], "PERMISSION_DENIED")
            daemon.admin().GetPool(request, timeout=60)
            self.assertNotEqual(daemon.admin_address, daemon.grpc_address)
            admin(daemon.admin_address, "client-uri").GetPool(request, timeout=60)
            self.assert_no_connection(leases(daemon.admin_address))
            # The address stays the same over restarts of the worker.
            daemon.kill_worker()
            stub = admin(daemon.admin_address, "client-uri")
            stub.GetPool(request, timeout=60, wait_for_ready=True)


class StartTest(TlsCase):
    def refuses(self, *flags, **addresses):
        with tempfile.TemporaryDirectory(prefix="lp-") as root:
            command = Daemon(*flags, root=root).command(**addresses)
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 78, done.stderr)
            checked = subprocess.run(command + ["--check-config"], capture_output=True, text=True,
                                     timeout=60)
            self.assertEqual((checked.returncode, checked.stderr), (78, done.stderr))
            return done.stderr

    def test_bad_files_are_named_by_field(self):
        self.assertIn("--tls-cert: field `tls.cert`: got", self.refuses(*tls_flags("none")))
        self.assertIn("No such file", self.refuses(*tls_flags("none")))
        self.assertIn("expired on", self.refuses(*tls_flags("server-expired")))
        mixed = ["--tls-cert", f"{CERTS}/server.pem", "--tls-key", f"{CERTS}/server-next.key"]
        self.assertIn("--tls-key: field `tls.key`", self.refuses(*mixed))
        self.assertIn("field `tls.key`: got nothing", self.refuses(*mixed[:2]))
        self.assertIn("field `tls.client_ca`", self.refuses(*tls_flags(client_ca="none")))
        self.assertIn("field `tls.cert`", self.refuses("--tls-client-ca", f"{CERTS}/ca.pem"))
        self.assertIn("field `tokens_file`", self.refuses("--tokens-file", f"{CERTS}/ca.pem"))
        self.assertIn("field `tls.cert`: got relative", self.refuses("--tls-cert", "relative"))

    def test_beyond_loopback_tls_or_insecure_is_needed(self):
        for field, text in (("listen", self.refuses(listen="0.0.0.0:0")),
                            ("admin_listen", self.refuses("--admin-listen", "0.0.0.0:0"))):
            self.assertIn(f"field `{field}`: got 0.0.0.0:0", text)
            self.assertIn("--tls-cert", text)
        daemon = Daemon(*tls_flags())
        self.addCleanup(daemon.close)
        self.assertTrue(daemon.start(listen="0.0.0.0:0"))


class ReloadTest(TlsCase):
    def setUp(self):
        temp = tempfile.TemporaryDirectory(prefix="lp-secret-")
        self.addCleanup(temp.cleanup)
        self.secret = pathlib.Path(temp.name)
        self.versions = 0
        self.turn("server")
        for suffix in ("pem", "key"):
            (self.secret / f"tls.{suffix}").symlink_to(f"..data/tls.{suffix}")

    def turn(self, cert, key=None):
        """As kubelet does: a new directory, then the link `..data` to it, in one step."""
        self.versions += 1
        version = self.secret / f"..v{self.versions}"
        version.mkdir()
        shutil.copy(CERTS / f"{cert}.pem", version / "tls.pem")
        shutil.copy(CERTS / f"{key or cert}.key", version / "tls.key")
        link = self.secret / "..next"
        link.symlink_to(version.name)
        link.rename(self.secret / "..data")

    def test_a_certificate_is_swapped_under_calls(self):
        with Daemon(*tls_flags("tls", folder=self.secret), pools=["gpu=64"]) as daemon:
            failures, counts = [], [0] * 4
            done = threading.Event()

            def keep_calling(index):
                stub = leases(daemon.grpc_address, "client-uri")  # one connection for all of it
                while not done.is_set():
                    try:
                        lease = acquire(stub).lease
                        stub.ReleaseLease(pb.ReleaseLeaseRequest(
                            name=lease.name, fencing_token=lease.fencing_token), timeout=60)
                        # And a connection of its own, whichever certificate it meets.
                        channel = secure(daemon.grpc_address, "client-dns")
                        acquire(lease_service_pb2_grpc.LeaseServiceStub(channel), "gpu",
                                ttl={"seconds": 1})
                        channel.close()
                    except grpc.RpcError as error:
                        if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
                            failures.append(error)
                    counts[index] += 1

            threads = [threading.Thread(target=keep_calling, args=(i,)) for i in range(4)]
            for thread in threads:
                thread.start()
            try:
                self.assertEqual(presented(daemon.grpc_address), "server")
                for cert in ("server-next", "server", "server-next"):
                    self.turn(cert)
                    wait_until(lambda: presented(daemon.grpc_address) == cert, cert)
                    before = list(counts)
                    wait_until(lambda: all(b < c for b, c in zip(before, counts)), "more calls")
            finally:
                done.set()
                for thread in threads:
                    thread.join()
            self.assertEqual(failures, [])
            self.assertEqual(
                daemon.metrics()['leaseplane_credential_reloads_total{result="ok"}'], 3)

    def test_a_bad_pair_keeps_the_old_one(self):
        with Daemon(*tls_flags("tls", folder=self.secret)) as daemon:
            failed = 'leaseplane_credential_reloads_total{result="failed"}'
            for count, pair in enumerate([("server-next", "server"), ("server-expired",)], 1):
                self.turn(*pair)
                wait_until(lambda: daemon.metrics()[failed] == count, "a failed reload")
                self.assertEqual(presented(daemon.grpc_address), "server")
            self.assertIn("new credentials are not used", daemon.log_text())
            self.assertIn("tls.key", daemon.log_text())
            # A worker that starts under a bad pair tries again; the daemon does not end.
            self.turn("server-next", "server")
            daemon.kill_worker()
            wait_until(lambda: "the key of another certificate" in
                       daemon.log_text().rsplit("worker ended", 1)[-1] or
                       daemon.log_text().count("cannot start") > 0, "a worker that cannot start")
            self.turn("server-next")
            wait_until(lambda: presented(daemon.grpc_address) == "server-next", "the next worker")
            ends = daemon.metrics()["leaseplane_tls_certificate_not_after_timestamp_seconds"]
            self.assertGreater(ends, 1_700_000_000)


if __name__ == "__main__":
    unittest.main()
