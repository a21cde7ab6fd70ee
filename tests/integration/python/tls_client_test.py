# SPDX-License-Identifier: Apache-2.0
"""leasectl and the C++ library over TLS, and the commands of docs/tls.md."""

import hashlib
import os
import pathlib
import socket
import subprocess
import tempfile
import unittest

from testbed import BIN, Daemon
from tls_testbed import CERTS, SOURCE, TlsCase, tls_flags


class ClientTest(TlsCase):
    """leasectl, and through it the C++ library."""

    def leasectl(self, *args, env=None):
        return subprocess.run([str(BIN / "leasectl"), *args], capture_output=True, text=True,
                              timeout=60, env=dict(os.environ, **(env or {})))

    def test_flags_and_variables(self):
        with Daemon(*tls_flags()) as daemon:
            server = ["--server", f"localhost:{daemon.grpc_address.rsplit(':', 1)[1]}"]
            ca, cert = ["--tls-ca", f"{CERTS}/ca.pem"], ["--tls-cert", f"{CERTS}/client-uri.pem"]
            key = ["--tls-key", f"{CERTS}/client-uri.key"]
            good = self.leasectl(*server, *ca, *cert, *key, "acquire", "gpu")
            self.assertEqual(good.returncode, 0, good.stderr)
            env = {"LEASEPLANE_TLS_CA": ca[1], "LEASEPLANE_TLS_CERT": cert[1],
                   "LEASEPLANE_TLS_KEY": key[1]}
            by_variables = self.leasectl(*server, "leases", env=env)
            self.assertIn("spiffe://example.org/app", by_variables.stdout)
            run = self.leasectl(*server, *ca, *cert, *key, "run", "gpu", "--", "true")
            self.assertEqual(run.returncode, 0, run.stderr)
            for flags in ([], ca, ["--tls-ca", f"{CERTS}/stranger-ca.pem", *cert, *key],
                          [*ca, "--tls-cert", f"{CERTS}/client-stranger.pem", "--tls-key",
                           f"{CERTS}/client-stranger.key"]):
                got = self.leasectl(*server, *flags, "--timeout", "5s", "leases")
                self.assertEqual(got.returncode, 69, f"{flags}: {got.stderr}")
            for flags in (cert + ca, key + ca, cert + key, ["--tls-ca", "/none"]):
                got = self.leasectl(*server, *flags, "leases")
                self.assertEqual(got.returncode, 64, f"{flags}: {got.stderr}")

    def test_a_name_that_is_not_the_servers_is_refused(self):
        with Daemon(*tls_flags(client_ca=None)) as daemon:
            port = daemon.grpc_address.rsplit(":", 1)[1]
            got = self.leasectl("--server", f"ipv4:127.0.0.2:{port}", "--tls-ca",
                                f"{CERTS}/ca.pem", "--timeout", "5s", "leases")
            self.assertEqual(got.returncode, 69)

    def test_a_token_goes_over_tls_or_the_socket_only(self):
        with tempfile.TemporaryDirectory(prefix="lp-") as folder:
            token = pathlib.Path(folder) / "token"
            token.write_text("secret\n")
            digest = hashlib.sha256(b"secret").hexdigest()
            tokens = pathlib.Path(folder) / "tokens.yaml"
            tokens.write_text(f'tokens: [{{principal: ci, sha256: "{digest}"}}]')
            flags = tls_flags(client_ca=None) + ["--tokens-file", str(tokens)]
            with Daemon(*flags) as daemon:
                port = daemon.grpc_address.rsplit(":", 1)[1]
                with_token = ["--token-file", str(token)]
                for server in (["--server", f"localhost:{port}", "--tls-ca", f"{CERTS}/ca.pem"],
                               ["--server", f"unix:{daemon.socket}"]):
                    got = self.leasectl(*server, *with_token, "acquire", "gpu", "-o", "json")
                    self.assertEqual(got.returncode, 0, got.stderr)
                    self.assertIn('"ci"', got.stdout)
                got = self.leasectl("--server", f"localhost:{port}", *with_token, "leases")
                self.assertEqual(got.returncode, 64)
                self.assertIn("TLS", got.stderr)


class DocumentTest(unittest.TestCase):
    """The commands of docs/tls.md, one block after the other in one empty directory."""

    def test_the_commands_work(self):
        with tempfile.TemporaryDirectory(prefix="lp-doc-") as folder:
            text = (SOURCE / "docs/tls.md").read_text()
            for port in ("7070", "9464"):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", 0))
                    text = text.replace(port, str(probe.getsockname()[1]))
            env = dict(os.environ, PATH=f"{BIN}:{os.environ['PATH']}")
            blocks, daemon, so_far = text.split("```sh")[1:], None, "set -eu\n"
            self.assertEqual(len(blocks), 6)
            try:
                for block in blocks:
                    kind, _, code = block.split("```")[0].partition("\n")
                    if kind.strip() == "daemon":
                        daemon = subprocess.Popen(["bash", "-c", f"exec {code}"], cwd=folder,
                                                  env=env, stdout=subprocess.PIPE,
                                                  stderr=subprocess.DEVNULL)
                        self.assertIn(b"ready", daemon.stdout.readline())
                        continue
                    # Functions and variables of earlier blocks are there, their effects are not
                    # repeated.
                    done = subprocess.run(["bash", "-c", so_far + code], cwd=folder, env=env,
                                          capture_output=True, text=True, timeout=120)
                    self.assertEqual(done.returncode, 0, f"{code}\n{done.stdout}{done.stderr}")
                    if "issue() {" in code:
                        start = code.index("issue() {")
                        so_far += code[start:code.index("\n}", start) + 3]
            finally:
                if daemon:
                    daemon.terminate()
                    self.assertEqual(daemon.wait(60), 0)
                    daemon.stdout.close()


if __name__ == "__main__":
    unittest.main()
