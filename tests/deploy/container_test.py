#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The image: what is in it, how it runs confined, how it ends, and a lease served from it."""

import json
import os
import pathlib
import re
import subprocess
import unittest

from podman import BIN, IMAGE, ROOT, attempt, first_pid, inspect, podman, say, state, wait_until

CONFINED = ("--network=host", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges",
            "--memory=256m", "--pids-limit=64")
ON_ANY_PORT = ("--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0")


class Container:
    """leaseplaned in a container of the image, with anonymous volumes."""

    def __init__(self, *args, flags=()):
        self.name = f"lp-{os.getpid()}-{os.urandom(2).hex()}"
        podman("run", "-d", "--name", self.name, *CONFINED, *flags, IMAGE, *ON_ANY_PORT, *args)

    def __enter__(self):
        try:
            wait_until(lambda: self.leasectl("health").returncode == 0, "the daemon to serve")
        except AssertionError as error:
            log = attempt("logs", self.name).stderr
            self.__exit__()
            raise AssertionError(log[-2000:]) from error
        return self

    def __exit__(self, *_):
        attempt("rm", "-f", "-v", "-t", "0", self.name)

    def leasectl(self, *args):
        return attempt("exec", self.name, "leasectl", *args)

    def address(self):
        return re.search(r"ready grpc=(\S+)", attempt("logs", self.name).stdout).group(1)

    def stop(self, *how):
        podman(*how, self.name)
        podman("wait", self.name)
        return state(self.name)["ExitCode"]


class ContainerTest(unittest.TestCase):

    def test_image(self):
        image = inspect(IMAGE, "image")
        config = image["Config"]
        version = re.search(r"VERSION (\d+\.\d+\.\d+)",
                            (ROOT / "CMakeLists.txt").read_text()).group(1)
        labels = {k.rsplit(".", 1)[1]: v for k, v in config["Labels"].items()
                  if k.startswith("org.opencontainers.image.")}
        self.assertEqual(labels["version"], version)
        self.assertEqual(labels["licenses"], "Apache-2.0")
        self.assertLessEqual({"title", "description", "revision"}, labels.keys())
        self.assertEqual(config["User"], "65532:65532")
        self.assertEqual(config["StopSignal"], "SIGTERM")
        self.assertEqual(image["HealthCheck" if "HealthCheck" in image else "Healthcheck"]["Test"],
                         ["CMD", "/usr/bin/leasectl", "health"])
        self.assertEqual(set(config["Volumes"]), {"/run/leaseplane", "/var/lib/leaseplane"})
        say(f"image {IMAGE}: {image['Size'] / 1e6:.1f} MB, labels {labels}")

    def test_nothing_but_the_programs_and_their_libraries(self):
        name = f"lp-{os.getpid()}-files"
        podman("create", "--name", name, IMAGE)
        try:
            listing = subprocess.run(f"podman export {name} | tar -t", shell=True, text=True,
                                     capture_output=True, check=True).stdout.split()
            packages = subprocess.run(
                f"podman export {name} | tar -xO usr/share/doc/leaseplane/packages", shell=True,
                text=True, capture_output=True, check=True).stdout.split("\n")
        finally:
            podman("rm", name)
        programs = {p for p in listing if p.startswith("usr/bin/") and not p.endswith("/")}
        self.assertEqual(programs, {"usr/bin/leaseplaned", "usr/bin/leasectl"})
        libraries = [p for p in listing if ".so" in p]
        # Each library's package is named with its version, and its licence is there.
        self.assertGreater(len(packages), 10)
        for package in filter(None, packages):
            self.assertIn(f"usr/share/doc/{package.split()[0]}/copyright", listing)
        say(f"{len(programs)} programs, {len(libraries)} libraries of {len(packages)} packages")

    def test_serves_leases_confined(self):
        with Container("--pool", "gpu=2") as daemon:
            status = pathlib.Path(f"/proc/{first_pid(daemon.name)}/status").read_text()
            self.assertRegex(status, r"\nUid:\t65532\t65532")
            self.assertRegex(status, r"\nCapBnd:\t0+\n")
            self.assertRegex(status, r"\nSeccomp:\t2\n")
            remote = subprocess.run(
                [str(BIN / "leasectl"), "--server", f"ipv4:{daemon.address()}", "-o", "json",
                 "acquire", "gpu"], text=True, capture_output=True)
            self.assertEqual(remote.returncode, 0, remote.stderr)
            lease = json.loads(remote.stdout)["lease"]
            self.assertGreater(lease["fencing_token"], 0)
            self.assertEqual(daemon.leasectl("health", "--live").returncode, 0)
            self.assertEqual(attempt("healthcheck", "run", daemon.name).returncode, 0)
            say(f"served over TCP: slot {lease['slot_index']} token {lease['fencing_token']}")

    def test_signals_drain_and_end_with_0(self):
        for how in (("stop", "-t", "20"), ("kill", "-s", "TERM"), ("kill", "-s", "INT")):
            with self.subTest(how), Container("--pool", "gpu=2") as daemon:
                daemon.leasectl("acquire", "gpu")
                self.assertEqual(daemon.stop(*how), 0)
                self.assertIn("draining", attempt("logs", daemon.name).stderr)
                say("podman", *how, "-> drained, exit code 0")

    def test_process_1_reaps_what_is_orphaned_to_it(self):
        with Container("--pool", "gpu=1") as daemon:
            keeper = first_pid(daemon.name)
            children = pathlib.Path(f"/proc/{keeper}/task/{keeper}/children")
            before = children.read_text().split()
            # leasectl run has the only slot; its command waits for another one.
            podman("exec", "-d", daemon.name, "leasectl", "run", "gpu", "--", "leasectl", "acquire",
                   "gpu", "--wait", "10m")
            orphan = wait_until(lambda: self.process_of(keeper, b"leasectl\0acquire"),
                                "the command")
            os.kill(self.process_of(keeper, b"leasectl\0run"), 9)
            wait_until(lambda: str(orphan) in children.read_text().split(),
                       "the command to be an orphan")
            os.kill(orphan, 9)
            wait_until(lambda: children.read_text().split() == before, "the orphan to be reaped")
            say(f"orphan {orphan} was reaped by the keeper")

    def process_of(self, keeper, command):
        """A process in the keeper's PID namespace with that command line."""
        namespace = os.readlink(f"/proc/{keeper}/ns/pid")
        for entry in pathlib.Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and os.readlink(entry / "ns/pid") == namespace and \
                        (entry / "cmdline").read_bytes().split(b"/")[-1].startswith(command):
                    return int(entry.name)
            except OSError:
                continue
        return 0

    def test_second_daemon_on_the_same_state_is_refused(self):
        with Container("--pool", "gpu=2") as daemon:
            done = attempt("run", "--rm", *CONFINED, "--volumes-from", daemon.name, IMAGE,
                           *ON_ANY_PORT, "--socket", "/run/leaseplane/second.sock")
            self.assertEqual(done.returncode, 73, done.stderr)
            self.assertIn("in use by", done.stderr)
            say("second daemon on one state directory: exit code 73")


if __name__ == "__main__":
    unittest.main()
