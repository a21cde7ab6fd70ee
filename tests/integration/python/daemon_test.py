# SPDX-License-Identifier: Apache-2.0
"""Start, stop and identity of the daemon, as an operator sees them."""

import os
import pathlib
import signal
import subprocess
import tempfile
import unittest

import grpc
import health_pb2
import health_pb2_grpc
import reflection_pb2
import reflection_pb2_grpc

import testbed
from leaseplane.v1 import admin_service_pb2 as admin_pb, lease_service_pb2 as pb

EXIT_UNAVAILABLE, EXIT_IN_USE, EXIT_CONFIG = 69, 73, 78


class DaemonTest(unittest.TestCase):
    def start(self, *args, **kwargs):
        daemon = testbed.Daemon(*args, **kwargs)
        self.addCleanup(daemon.close)
        return daemon.start()

    def test_health_names_and_reflection_answer(self):
        daemon = self.start()
        for unix in (False, True):
            stub = health_pb2_grpc.HealthStub(daemon.channel(unix))
            for name in ("", "leaseplane.v1.LeaseService", "leaseplane.live"):
                answer = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
                self.assertEqual(answer.status, health_pb2.HealthCheckResponse.SERVING, name)
            with self.assertRaises(grpc.RpcError) as caught:
                stub.Check(health_pb2.HealthCheckRequest(service="no.such"), timeout=10)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)
        reflection = reflection_pb2_grpc.ServerReflectionStub(daemon.channel())
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        answer = next(reflection.ServerReflectionInfo(iter([ask]), timeout=10))
        names = {s.name for s in answer.list_services_response.service}
        self.assertLessEqual({"leaseplane.v1.LeaseService", "leaseplane.v1.AdminService",
                              "grpc.health.v1.Health"}, names)
        ask = reflection_pb2.ServerReflectionRequest(
            file_containing_symbol="leaseplane.v1.LeaseService")
        answer = next(reflection.ServerReflectionInfo(iter([ask]), timeout=10))
        self.assertTrue(answer.file_descriptor_response.file_descriptor_proto)

    def test_admin_service_answers_on_the_unix_socket_only(self):
        daemon = self.start()
        from leaseplane.v1 import admin_service_pb2_grpc
        over_tcp = admin_service_pb2_grpc.AdminServiceStub(daemon.channel())
        with self.assertRaises(grpc.RpcError) as caught:
            over_tcp.ListPools(admin_pb.ListPoolsRequest(), timeout=10)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.PERMISSION_DENIED)
        self.assertEqual([p.name for p in daemon.admin().ListPools(
            admin_pb.ListPoolsRequest(), timeout=10).pools], ["pools/gpu"])

    def test_a_second_daemon_on_the_same_state_socket_or_port_is_refused(self):
        first = self.start()
        with tempfile.TemporaryDirectory(prefix="lp-") as other:
            same_state = testbed.Daemon(root=first.root)
            same_state.socket = pathlib.Path(other) / "x.sock"
            same_socket = testbed.Daemon(root=other)
            same_socket.socket = first.socket
            same_port = testbed.Daemon()
            for name, daemon, kwargs, code in (
                    ("state", same_state, {}, EXIT_IN_USE),
                    ("socket", same_socket, {}, EXIT_IN_USE),
                    ("port", same_port, {"listen": first.grpc_address}, EXIT_UNAVAILABLE)):
                with self.subTest(name):
                    daemon.spawn(**kwargs)
                    self.assertEqual(daemon.process.wait(testbed.WATCHDOG_S), code,
                                     daemon.log_text())
                    daemon.close()
        first.leases(unix=True).AcquireLease(
            pb.AcquireLeaseRequest(parent="pools/gpu"), timeout=10)
        first.leases().AcquireLease(pb.AcquireLeaseRequest(parent="pools/gpu"), timeout=10)

    def refused(self, *args):
        done = subprocess.run([str(testbed.BIN / "leaseplaned"), *args], capture_output=True,
                              text=True, timeout=testbed.WATCHDOG_S)
        return done.returncode, done.stdout + done.stderr

    def test_bad_configuration_names_file_line_and_field(self):
        with tempfile.TemporaryDirectory(prefix="lp-") as folder:
            path = pathlib.Path(folder) / "pools.yaml"
            path.write_text("pools:\n  - id: gpu\n    capacity: 0\n  - id: Bad_Name\n"
                            "    capacity: 3\n    surprise: 1\n")
            code, text = self.refused("--config", str(path), "--check-config")
            self.assertEqual(code, EXIT_CONFIG, text)
            for expected in (f"{path}:3", "capacity", f"{path}:4", f"{path}:6", "surprise"):
                self.assertIn(expected, text)
            path.write_text("pools:\n  - id: gpu\n    capacity: 4\n")
            code, text = self.refused("--config", str(path), "--check-config")
            self.assertEqual(code, 0, text)

    def test_plain_text_beyond_loopback_needs_a_word(self):
        with tempfile.TemporaryDirectory(prefix="lp-") as folder:
            code, text = self.refused("--state-dir", folder, "--socket", folder + "/s.sock",
                                      "--listen", "0.0.0.0:0", "--pool", "gpu=1")
        self.assertEqual(code, EXIT_CONFIG, text)
        self.assertIn("--insecure", text)

    def test_sigterm_drains_and_leases_are_kept(self):
        daemon = self.start()
        stub = daemon.leases()
        lease = stub.AcquireLease(pb.AcquireLeaseRequest(parent="pools/gpu"), timeout=10).lease
        self.assertEqual(daemon.stop(), 0)
        daemon.start()
        got = daemon.leases().GetLease(pb.GetLeaseRequest(name=lease.name), timeout=10)
        self.assertEqual((got.fencing_token, got.slot_index),
                         (lease.fencing_token, lease.slot_index))

    def test_sigterm_answers_waiters(self):
        daemon = self.start(pools=("gpu=1",))
        stub = daemon.leases()
        stub.AcquireLease(pb.AcquireLeaseRequest(parent="pools/gpu"), timeout=10)
        from google.protobuf import duration_pb2
        wait = stub.AcquireLease.future(pb.AcquireLeaseRequest(
            parent="pools/gpu", max_wait_duration=duration_pb2.Duration(seconds=40)), timeout=45)
        testbed.wait_until(
            lambda: testbed.pool_counts(daemon, "gpu")["counts"]["waiterCount"] == 1, "the waiter")
        self.assertEqual(daemon.stop(), 0)
        error = wait.exception(30)
        self.assertEqual(testbed.reason_of(error)[:2], ("UNAVAILABLE", "DRAINING"))

    def test_metrics_count_what_happened_and_carry_no_identities(self):
        daemon = self.start()
        stub = daemon.leases()
        lease = stub.AcquireLease(pb.AcquireLeaseRequest(parent="pools/gpu", client_id="me"),
                                  timeout=10).lease
        key = 'leaseplane_leases_acquired_total{pool="gpu",path="remote"}'
        figures = testbed.wait_until(
            lambda: (lambda m: m if m.get(key) == 1 else None)(daemon.metrics()), key)
        names = " ".join(figures)
        for identity in (lease.name.split("/")[-1], "me\"", "slot="):
            self.assertNotIn(identity, names)

    def test_the_worker_ends_with_its_keeper(self):
        daemon = self.start()
        worker = daemon.worker_pid()
        os.kill(daemon.process.pid, signal.SIGKILL)
        testbed.wait_until(lambda: not os.path.exists(f"/proc/{worker}"), "the worker's end")

    def test_a_worker_that_crashes_is_told_of_and_fails_the_test_that_sees_it(self):
        daemon = testbed.Daemon().start()
        os.kill(daemon.worker_pid(), signal.SIGSEGV)
        testbed.wait_until(daemon.crashes, "the keeper's word of it")
        with self.assertRaises(AssertionError):
            daemon.close()


if __name__ == "__main__":
    unittest.main()
