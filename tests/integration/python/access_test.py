# SPDX-License-Identifier: Apache-2.0
"""Roles in pools, tokens, and that nothing shows what exists."""

import hashlib
import os
import pathlib
import subprocess
import tempfile
import unittest

from leaseplane.v1 import admin_service_pb2 as admin_pb
from leaseplane.v1 import lease_service_pb2 as pb
from testbed import BIN, Daemon, wait_until
from tls_testbed import TlsCase, acquire, admin, leases, tls_flags


def write_config(folder, text):
    path = pathlib.Path(folder) / "config.yaml"
    path.write_text(text)
    return ["--config", str(path)]


class AccessTest(TlsCase):
    RULES = """
access:
  - {principal: viewer, pools: "*", role: viewer}
  - {principal: holder, pools: gpu, role: holder}
  - {principal: admin, pools: "*", role: admin}
  - {principal: "spiffe://example.org/*", pools: gpu, role: holder}
  - {principal: "uid:65534", pools: gpu, role: holder}
"""

    def setUp(self):
        temp = tempfile.TemporaryDirectory(prefix="lp-")
        self.addCleanup(temp.cleanup)
        self.folder = temp.name
        self.write_tokens("viewer", "holder", "admin", "stranger")
        flags = write_config(temp.name, self.RULES)
        self.daemon = Daemon(*flags, *tls_flags(), "--tokens-file", f"{temp.name}/tokens.yaml",
                             pools=["gpu=4", "db=4"])
        self.daemon.start()
        self.addCleanup(self.daemon.close)

    def write_tokens(self, *names):
        text = "tokens:\n"
        for name in names:
            digest = hashlib.sha256(f"token of {name}".encode()).hexdigest()
            text += f"  - {{principal: {name}, sha256: \"{digest}\"}}\n"
        new = pathlib.Path(self.folder) / "new"
        new.write_text(text)
        new.rename(pathlib.Path(self.folder) / "tokens.yaml")

    def leases(self, name):
        return leases(self.daemon.grpc_address, token=f"token of {name}")

    def admin(self, name):
        return admin(self.daemon.grpc_address, token=f"token of {name}")

    def test_a_call_needs_a_certificate_or_a_token(self):
        request = pb.AcquireLeaseRequest(parent="pools/gpu")
        unauthenticated = ("UNAUTHENTICATED", "UNAUTHENTICATED")
        bare = leases(self.daemon.grpc_address)
        self.assertEqual(self.refused(bare.AcquireLease, request), unauthenticated)
        self.assertEqual(self.refused(self.leases("nobody").AcquireLease, request),
                         unauthenticated)
        mixed = leases(self.daemon.grpc_address, "client-uri", token="wrong")
        self.assertEqual(self.refused(mixed.AcquireLease, request), unauthenticated)
        got = acquire(leases(self.daemon.grpc_address, "client-uri"))
        self.assertEqual(got.lease.principal, "spiffe://example.org/app")
        self.assertEqual(acquire(self.leases("holder")).lease.principal, "holder")
        both = leases(self.daemon.grpc_address, "client-uri", token="token of admin")
        self.assertEqual(acquire(both, "db").lease.principal, "admin")

    def test_roles(self):
        allowed = {("viewer", "gpu"): "see", ("viewer", "db"): "see", ("holder", "gpu"): "hold",
                   ("holder", "db"): "", ("admin", "gpu"): "see hold change",
                   ("admin", "db"): "see hold change", ("stranger", "gpu"): ""}
        for (name, pool), rights in allowed.items():
            for right, call, request in (
                    ("see", self.admin(name).ListSlots,
                     admin_pb.ListSlotsRequest(parent=f"pools/{pool}")),
                    ("hold", self.leases(name).AcquireLease,
                     pb.AcquireLeaseRequest(parent=f"pools/{pool}", ttl={"seconds": 1})),
                    ("change", self.admin(name).LockSlot,
                     admin_pb.LockSlotRequest(name=f"pools/{pool}/slots/3", reason="test"))):
                with self.subTest(name=name, pool=pool, right=right):
                    if right in rights.split():
                        call(request, timeout=60)
                    else:
                        self.assertEqual(self.refused(call, request),
                                         ("PERMISSION_DENIED", "PERMISSION_DENIED"))
        listed = {name: [p.name for p in self.admin(name).ListPools(
            admin_pb.ListPoolsRequest(), timeout=60).pools] for name in ("holder", "stranger")}
        self.assertEqual(listed, {"holder": ["pools/gpu"], "stranger": []})

    def test_existence_does_not_leak(self):
        """Whatever one without a role asks: a pool that is there answers as one that is not."""
        stub, operator = self.leases("stranger"), self.admin("stranger")
        lease = "00112233445566778899aabbccddeeff"
        answers = {}
        for pool in ("db", "nix"):
            name = f"pools/{pool}"
            answers[pool] = [self.refused(call, request) for call, request in (
                (stub.AcquireLease, pb.AcquireLeaseRequest(parent=name)),
                (stub.RenewLease,
                 pb.RenewLeaseRequest(name=f"{name}/leases/{lease}", fencing_token=1)),
                (stub.ReleaseLease, pb.ReleaseLeaseRequest(
                    name=f"{name}/leases/{lease}", fencing_token=1, allow_missing=True)),
                (stub.GetLease, pb.GetLeaseRequest(name=f"{name}/leases/{lease}")),
                (stub.GetLease, pb.GetLeaseRequest(name=f"{name}/leases/local-0-1")),
                (stub.ListLeases, pb.ListLeasesRequest(parent=name)),
                (stub.CheckToken,
                 pb.CheckTokenRequest(name=f"{name}/slots/0", fencing_token=1)),
                (operator.GetPool, admin_pb.GetPoolRequest(name=name)),
                (operator.DeletePool, admin_pb.DeletePoolRequest(name=name)),
                (operator.ListSlots, admin_pb.ListSlotsRequest(parent=name)),
                (operator.ListWaiters, admin_pb.ListWaitersRequest(parent=name)),
                (operator.DrainPool, admin_pb.DrainPoolRequest(name=name)),
                (operator.ResumePool, admin_pb.ResumePoolRequest(name=name)),
                (operator.LockSlot, admin_pb.LockSlotRequest(name=f"{name}/slots/0")),
            )]
        self.assertEqual(answers["db"], answers["nix"])
        self.assertEqual(set(answers["db"]), {("PERMISSION_DENIED", "PERMISSION_DENIED")})
        everywhere = pb.ListLeasesRequest(parent="pools/-")
        self.assertEqual(len(stub.ListLeases(everywhere, timeout=60).leases), 0)

    def test_a_token_is_taken_back(self):
        stub = self.leases("holder")
        request = pb.ListLeasesRequest(parent="pools/gpu")
        stub.ListLeases(request, timeout=60)
        self.write_tokens("viewer", "admin", "late")
        wait_until(lambda: self.daemon.metrics()[
            'leaseplane_credential_reloads_total{result="ok"}'] == 1, "the new tokens")
        self.assertEqual(self.refused(stub.ListLeases, request)[0], "UNAUTHENTICATED")
        self.leases("viewer").ListLeases(request, timeout=60)
        self.assertEqual(self.refused(self.leases("late").ListLeases, request)[0],
                         "PERMISSION_DENIED")

    @unittest.skipIf(os.getuid() != 0, "becomes another user")
    def test_users_of_the_socket_and_of_shared_memory(self):
        os.chmod(self.folder, 0o755)
        os.chmod(self.daemon.root, 0o755)
        for name in ("leaseplane.sock", "attach.sock"):
            os.chmod(self.daemon.socket.parent / name, 0o666)

        def leasectl(uid, *args):
            done = subprocess.run(
                [str(BIN / "leasectl"), "--server", f"unix:{self.daemon.socket}", *args],
                user=uid, group=uid, extra_groups=[], capture_output=True, text=True, timeout=60,
                env=dict(os.environ, LEASEPLANE_SERVER_UID="0"), cwd="/")
            return done.returncode, done.stdout + done.stderr

        self.assertEqual(leasectl(65534, "acquire", "gpu")[0], 0)
        self.assertIn("uid:65534", leasectl(65534, "leases", "gpu")[1])
        code, text = leasectl(65534, "acquire", "db")
        self.assertEqual((code, "PERMISSION_DENIED" in text), (77, True))
        self.assertEqual(leasectl(65534, "acquire", "nix"), (code, text))
        # Shared memory goes by the same rules.
        local = ["run", "--path", "local"]
        self.assertEqual(leasectl(65534, *local, "gpu", "--", "true")[0], 0)
        denied = leasectl(65534, *local, "db", "--", "true")
        self.assertNotEqual(denied[0], 0)
        self.assertEqual(leasectl(65534, *local, "nix", "--", "true"), denied)
        self.assertNotEqual(leasectl(65533, *local, "gpu", "--", "true")[0], 0)
        self.assertEqual(leasectl(0, *local, "db", "--", "true")[0], 0)
        # The daemon cannot be told apart from the user on the other end by anything but the uid.
        self.assertEqual(leasectl(65533, "leases", "gpu")[0], 77)


if __name__ == "__main__":
    unittest.main()
