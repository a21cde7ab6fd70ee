# SPDX-License-Identifier: Apache-2.0
"""Certificates, secure channels and the daemon's flags for tests of TLS and identity."""

import atexit
import os
import pathlib
import subprocess
import tempfile
import unittest

import grpc

from leaseplane.v1 import admin_service_pb2_grpc, lease_service_pb2_grpc
from leaseplane.v1 import lease_service_pb2 as pb
from testbed import reason_of

SOURCE = pathlib.Path(os.environ["LEASEPLANE_SOURCE_DIR"])
_TEMP = tempfile.TemporaryDirectory(prefix="lp-certs-")
atexit.register(_TEMP.cleanup)
CERTS = pathlib.Path(_TEMP.name)
subprocess.run([SOURCE / "tests/support/make_certificates.sh", CERTS], check=True)


def tls_flags(cert="server", client_ca="ca", folder=None):
    folder = folder or CERTS
    flags = ["--tls-cert", f"{folder}/{cert}.pem", "--tls-key", f"{folder}/{cert}.key",
             "--reload-interval", "100ms"]
    return flags + (["--tls-client-ca", f"{CERTS}/{client_ca}.pem"] if client_ca else [])


def secure(address, client=None, ca="ca", token=None, server_name=None):
    """A channel of its own: `client` names a certificate, `server_name` what the server's has to
    name if it is not the address."""
    def read(name):
        return (CERTS / name).read_bytes()
    credentials = grpc.ssl_channel_credentials(
        read(f"{ca}.pem"), read(f"{client}.key") if client else None,
        read(f"{client}.pem") if client else None)
    if token:
        credentials = grpc.composite_channel_credentials(
            credentials, grpc.access_token_call_credentials(token))
    # The minimum is also how long an attempt to connect may take, handshake included.
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", 20),
               ("grpc.min_reconnect_backoff_ms", 60_000), ("grpc.max_reconnect_backoff_ms", 100)]
    if server_name:
        options.append(("grpc.ssl_target_name_override", server_name))
    return grpc.secure_channel(address, credentials, options)


def leases(*args, **kwargs):
    return lease_service_pb2_grpc.LeaseServiceStub(secure(*args, **kwargs))


def admin(*args, **kwargs):
    return admin_service_pb2_grpc.AdminServiceStub(secure(*args, **kwargs))


def acquire(stub, pool="gpu", **fields):
    return stub.AcquireLease(pb.AcquireLeaseRequest(parent=f"pools/{pool}", **fields), timeout=60)


def presented(address):
    """Common name of the certificate that a new connection gets."""
    host, port = address.rsplit(":", 1)
    shown = subprocess.run(
        ["openssl", "s_client", "-connect", f"{host}:{port}", "-alpn", "h2", "-cert",
         CERTS / "client-uri.pem", "-key", CERTS / "client-uri.key"],
        input=b"", capture_output=True, timeout=60).stdout
    subject = subprocess.run(["openssl", "x509", "-noout", "-subject"], input=shown,
                             capture_output=True, timeout=60).stdout.decode()
    return subject.rsplit("=", 1)[-1].strip()


class TlsCase(unittest.TestCase):
    def refused(self, call, request, timeout=60):
        with self.assertRaises(grpc.RpcError) as raised:
            call(request, timeout=timeout)
        return reason_of(raised.exception)[:2]

    def assert_no_connection(self, stub):
        code = self.refused(stub.GetServerInfo, pb.GetServerInfoRequest())[0]
        self.assertEqual(code, "UNAVAILABLE")
