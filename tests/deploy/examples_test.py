# SPDX-License-Identifier: Apache-2.0
"""clients/examples, built and run by the commands of their READMEs against the real daemon.

usage: examples_test.py [LANGUAGE...]  (default: all)
"""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import testbed
from leaseplane.v1 import admin_service_pb2 as admin_pb, lease_service_pb2 as pb

SOURCE = pathlib.Path(__file__).resolve().parents[2]
LANGUAGES = ("python", "node", "go", "java", "ruby")
HELD = re.compile(r"held slot=(\d+) token=(\d+) safe_for=([\d.]+)")


def commands(readme):
    """(how to build, how to run) of a README."""
    build, run = re.findall(r"^```sh\n(.*?)^```$", readme.read_text(), re.M | re.S)
    return build, run


class Example:
    """A copy of one example, built. Its place beside proto/ is as in the source."""

    def __init__(self, language, folder):
        self.folder = folder / "clients" / "examples" / language
        shutil.copytree(SOURCE / "clients/examples" / language, self.folder)
        shutil.copytree(SOURCE / "proto", folder / "proto")
        build, self.command = commands(self.folder / "README.md")
        started = time.monotonic()
        subprocess.run(["bash", "-euc", build], cwd=self.folder, check=True,
                       stdout=subprocess.DEVNULL)
        lines = sum(1 for name in self.folder.glob("[eE]xample.*")
                    for _ in name.read_text().splitlines())
        print(f"{language}: {lines} lines, built in {time.monotonic() - started:.1f} s")

    def start(self, daemon, pool="gpu", seconds="3"):
        command = self.command.strip().replace("127.0.0.1:7070 gpu",
                                               f"{daemon.grpc_address} {pool} {seconds}")
        return subprocess.Popen(["bash", "-euc", "exec " + command if "=" not in command.split()[0]
                                 else command], cwd=self.folder, stdout=subprocess.PIPE, text=True)


class ExampleCases:
    """What every example has to do. Subclasses name the language."""

    language = None

    @classmethod
    def setUpClass(cls):
        folder = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="lp-example-"))
        cls.example = Example(cls.language, pathlib.Path(folder))

    def setUp(self):
        self.daemon = testbed.Daemon(pools=("gpu=1",)).start()
        self.addCleanup(self.daemon.close)

    def start(self, *args, **kwargs):
        process = self.example.start(self.daemon, *args, **kwargs)
        self.addCleanup(process.wait, testbed.WATCHDOG_S)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        return process

    def held(self, process):
        found = HELD.match(process.stdout.readline())
        self.assertTrue(found)
        return found

    def finish(self, process):
        rest = process.stdout.read().strip()
        return rest, process.wait(testbed.WATCHDOG_S)

    def renewals(self):
        return self.daemon.metrics()['leaseplane_lease_renewals_total{pool="gpu"}']

    def test_holds_renews_and_releases(self):
        process = self.start(seconds="8")  # renewals are due every 5 s
        _, token, safe_for = self.held(process).groups()
        # ttl 15 s, counted with the time the daemon held the call: (0 + 15) * 0.99 - 0.25.
        self.assertAlmostEqual(float(safe_for), 14.6, places=1)
        check = pb.CheckTokenRequest(name="pools/gpu/slots/0", fencing_token=int(token))
        self.assertTrue(self.daemon.leases().CheckToken(check, **testbed.PATIENT).valid)
        self.assertEqual(self.finish(process), ("released", 0))
        self.assertEqual(self.daemon.metrics()['leaseplane_pool_free_slots{pool="gpu"}'], 1)
        self.assertGreaterEqual(self.renewals(), 1)

    def test_says_why_it_got_nothing(self):
        self.daemon.leases().AcquireLease(pb.AcquireLeaseRequest(parent="pools/gpu"),
                                          **testbed.PATIENT)
        output, code = self.finish(self.start())
        self.assertEqual((self.plain(output), code), ("refused RESOURCEEXHAUSTED WAITTIMEOUT", 75))
        output, code = self.finish(self.start(pool="none"))
        self.assertEqual((self.plain(output), code), ("refused NOTFOUND NOTFOUND", 1))

    def plain(self, output):
        """Languages write RESOURCE_EXHAUSTED or ResourceExhausted."""
        first, *rest = output.replace("_", "").split()
        return " ".join([first] + [word.upper() for word in rest])

    def test_hears_that_the_lease_is_taken_away(self):
        process = self.start(seconds="60")
        self.held(process)
        name = testbed.wait_until(self.renewed_lease, "a renewal, which begins the watch")
        self.daemon.admin().RevokeLease(admin_pb.RevokeLeaseRequest(name=name, reason="test"),
                                        **testbed.PATIENT)
        self.assertEqual(self.finish(process), ("lost LEASE_REVOKED", 1))

    def renewed_lease(self):
        if self.renewals() < 1:
            return None
        leases = self.daemon.leases().ListLeases(pb.ListLeasesRequest(parent="pools/gpu"),
                                                 **testbed.PATIENT).leases
        return leases[0].name

    def test_stops_at_the_safe_deadline_when_the_daemon_does_not_answer(self):
        process = self.start(seconds="60")
        self.held(process)
        stopped = [self.daemon.worker_pid(), self.daemon.process.pid]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            self.assertEqual(self.finish(process), ("lost SAFE_DEADLINE", 1))
        finally:
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)


def suite(languages):
    loader, tests = unittest.TestLoader(), unittest.TestSuite()
    for language in languages:
        case = type(f"{language.capitalize()}Example", (ExampleCases, unittest.TestCase),
                    {"language": language, "__module__": __name__})
        tests.addTests(loader.loadTestsFromTestCase(case))
    return tests


if __name__ == "__main__":
    wanted = [a for a in sys.argv[1:] if not a.startswith("-")] or LANGUAGES
    sys.exit(not unittest.TextTestRunner(verbosity=2).run(suite(wanted)).wasSuccessful())
