# SPDX-License-Identifier: Apache-2.0
"""The commands of the pages on Prometheus, Grafana and clients, and of the runbooks, as written:
in a copy of the folders they speak of, with the addresses of a daemon of the test's own.

Not run here: `./dev` and `ctest` (this is run by them), and commands on the host's own state
(`dmesg`, `ss`); the commands of the examples' READMEs are run by examples_test.py.
"""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import testbed
import tls_testbed
from leaseplane.v1 import lease_service_pb2 as pb

SOURCE = pathlib.Path(__file__).resolve().parents[2]
SKIPPED = ("./dev", "ctest", "LEASEPLANE_PICTURES_DIR", "dmesg", "ss ")
SERVERS = ("prometheus ", "leaseplaned ")


def blocks(page):
    """The ```sh blocks of a page, each a list of whole commands."""
    for text in re.findall(r"^```sh\n(.*?)^```$", page.read_text(), re.M | re.S):
        yield text.replace("\\\n", "").strip().splitlines()


class DocsTest(unittest.TestCase):
    def setUp(self):
        self.daemon = testbed.Daemon(*tls_testbed.tls_flags(), pools=("gpu=2",)).start()
        self.addCleanup(self.daemon.close)
        self.lease = self.daemon.leases(unix=True).AcquireLease(
            pb.AcquireLeaseRequest(parent="pools/gpu"), **testbed.PATIENT).lease
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="lp-doc-")))
        for name in ("deploy", "tests/deploy"):
            shutil.copytree(SOURCE / name, self.folder / name)
        self.env = dict(os.environ, GRAFANA_ROOT=str(self.folder / "root"),
                        LEASEPLANE_SERVER=f"unix:{self.daemon.socket}",
                        PATH=f"{testbed.BIN}:{os.environ['PATH']}")

    def fill(self, command):
        for written, real in (("127.0.0.1:9464", self.daemon.metrics_address),
                              ("/var/lib/leaseplane", str(self.daemon.root)),
                              ("POOL/SLOT", "gpu/1"), ("POOL", "gpu"), ("LEASE ", self.lease.name)):
            command = command.replace(written, real)
        return command

    def run_block(self, commands):
        kept, served = [], None
        for command in commands:
            if command.startswith(SERVERS):
                served = command
            elif not command.startswith(SKIPPED):
                kept.append(self.fill(command))
        if kept:
            done = subprocess.run(["bash", "-euc", "\n".join(kept)], cwd=self.folder, env=self.env,
                                  capture_output=True, text=True, timeout=300)
            self.assertEqual(done.returncode, 0, f"{kept}\n{done.stdout}{done.stderr}")
        if served:
            self.check_server(served)
        print(f"  {len(kept) + bool(served)} of {len(commands)} commands")

    def check_server(self, command):
        """A command that serves until it is stopped: it says that it does."""
        root = self.folder / "served"
        root.mkdir()
        if command.startswith("leaseplaned"):
            command += f" --state-dir {root} --socket {root}/s.sock --listen 127.0.0.1:0" \
                       " --metrics-listen 127.0.0.1:0"
            said = "leaseplaned ready"
        else:
            command = re.sub(r":9090", ":0", command) + f" --storage.tsdb.path={root}"
            said = "Server is ready to receive web requests"
        process = subprocess.Popen(["bash", "-euc", "exec " + command], env=self.env,
                                   cwd=self.folder / "deploy" / "prometheus", text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            lines = []
            for line in process.stdout:
                lines.append(line)
                if said in line:
                    return
            self.fail("".join(lines))
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
            process.stdout.close()

    def check(self, page):
        print(page.relative_to(SOURCE))
        for block in blocks(page):
            with self.subTest(f"{page.name}: {block[0]}"):
                self.run_block(block)

    def test_prometheus(self):
        self.check(SOURCE / "docs/prometheus.md")

    def test_grafana(self):
        self.check(SOURCE / "docs/grafana.md")
        loaded = self.folder / "root/var/lib/grafana/dashboards/leaseplane"
        self.assertEqual(len(list(loaded.glob("*.json"))), 4)

    def test_clients(self):
        self.check(SOURCE / "docs/clients.md")

    def test_runbooks(self):
        pages = sorted((SOURCE / "docs/runbooks").glob("*.md"))
        self.assertGreaterEqual(len(pages), 14)
        for page in pages:
            self.check(page)


if __name__ == "__main__":
    unittest.main()
