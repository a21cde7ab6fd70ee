# SPDX-License-Identifier: Apache-2.0
"""The Debian packages: checked by lintian, installed, used and removed in a root of their own.

Needs root, and an archive of Debian 12 as the sources of apt on this machine name it.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

SOURCE = pathlib.Path(os.environ["LEASEPLANE_SOURCE_DIR"])
PACKAGES = pathlib.Path(os.environ["LEASEPLANE_PACKAGE_DIR"])
NAMES = ("leaseplane", "leaseplane-cli", "libleaseplane-dev")
# Exposure as systemd-analyze counts it, in tenths: 0 is none, 100 everything.
EXPOSURE_MAX = 19


def run(*command, **kwargs):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          timeout=900, **kwargs)
    if done.returncode != 0:
        raise AssertionError(f"{command} -> {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def wait_until(condition, what, timeout_s=60):
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"gave up waiting for {what}")
        time.sleep(0.05)


def deb(name):
    found = sorted(PACKAGES.glob(f"{name}_*.deb"))
    if len(found) != 1:
        raise AssertionError(f"{len(found)} packages {name} in {PACKAGES}; run ./dev package")
    return found[0]


def contents(name):
    lines = run("dpkg-deb", "-c", deb(name)).splitlines()
    return {line.split()[5].removeprefix(".") for line in lines if not line.startswith("d")}


def mirror():
    """The archive that this machine uses."""
    text = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)")
    for line in text.splitlines():
        if line.split()[1:] == ["bookworm", "main"]:
            return line.split()[0]
    raise AssertionError("apt has no archive of bookworm")


class Root:
    """A minimal Debian in a directory."""

    def __init__(self):
        self.temp = tempfile.TemporaryDirectory(prefix="lp-root-")
        self.path = pathlib.Path(self.temp.name)
        print(f"debootstrap of bookworm into {self.path}", flush=True)
        self.path.chmod(0o755)  # the service's user has to get in
        archive = mirror()
        run("debootstrap", "--variant=minbase", "bookworm", self.path, archive)
        (self.path / "etc/apt/sources.list").write_text(f"deb {archive} bookworm main\n")
        # A proxy, if there is one.
        shutil.copytree("/etc/apt/apt.conf.d", self.path / "etc/apt/apt.conf.d",
                        dirs_exist_ok=True)
        shutil.copy("/etc/resolv.conf", self.path / "etc/resolv.conf")
        (self.path / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
        (self.path / "usr/sbin/policy-rc.d").chmod(0o755)
        run("mount", "-t", "proc", "proc", self.path / "proc")
        self.run("apt-get", "update", "-q")

    def run(self, *command, **kwargs):
        environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive", LC_ALL="C.UTF-8",
                           PATH="/usr/sbin:/usr/bin:/sbin:/bin", **kwargs.pop("env", {}))
        return run("chroot", self.path, *command, env=environment, **kwargs)

    def exists(self, path):
        return os.path.lexists(f"{self.path}{path}")

    def close(self):
        run("umount", self.path / "proc")
        self.temp.cleanup()


class CheckTest(unittest.TestCase):
    def test_lintian_finds_nothing(self):
        """Overrides, each with its reason, are in deploy/debian/lintian-overrides."""
        done = subprocess.run(["lintian", "--allow-root", "--no-cfg", "--fail-on", "error,warning",
                               *map(deb, NAMES)], capture_output=True, text=True, timeout=600)
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)

    def test_each_file_is_in_one_package(self):
        owners = {}
        for name in NAMES:
            for path in contents(name):
                self.assertNotIn(path, owners, f"{name} and {owners.get(path)}")
                owners[path] = name
        expected = {
            "/usr/bin/leaseplaned": "leaseplane", "/etc/leaseplane/config.yaml": "leaseplane",
            "/usr/lib/systemd/system/leaseplane.service": "leaseplane",
            "/usr/lib/sysusers.d/leaseplane.conf": "leaseplane",
            "/usr/lib/tmpfiles.d/leaseplane.conf": "leaseplane",
            "/usr/share/man/man8/leaseplaned.8.gz": "leaseplane",
            "/usr/share/man/man5/leaseplane.conf.5.gz": "leaseplane",
            "/usr/bin/leasectl": "leaseplane-cli",
            "/usr/share/man/man1/leasectl.1.gz": "leaseplane-cli",
            "/usr/share/bash-completion/completions/leasectl": "leaseplane-cli",
            "/usr/share/zsh/vendor-completions/_leasectl": "leaseplane-cli",
            "/usr/include/leaseplane-0/leaseplane/client.h": "libleaseplane-dev",
        }
        for path, name in expected.items():
            self.assertEqual(owners.get(path), name, path)
        suffixes = {os.path.splitext(p)[1] for p, name in owners.items()
                    if name == "libleaseplane-dev"}
        self.assertLessEqual({".a", ".h", ".pc", ".cmake"}, suffixes)

    def test_the_bills_of_materials_name_what_the_programs_load(self):
        for name, program in (("leaseplane", "usr/bin/leaseplaned"),
                              ("leaseplane-cli", "usr/bin/leasectl")):
            with tempfile.TemporaryDirectory(prefix="lp-") as folder:
                run("dpkg-deb", "-x", deb(name), folder)
                bill = json.loads((PACKAGES / f"{name}.spdx.json").read_text())
                digest = run("sha256sum", f"{folder}/{program}").split()[0]
                self.check_bill(bill, name, f"{folder}/{program}", digest)

    def check_bill(self, bill, name, program, digest):
        self.assertEqual((bill["spdxVersion"], bill["dataLicense"]), ("SPDX-2.3", "CC0-1.0"))
        for key in ("SPDXID", "name", "documentNamespace", "creationInfo", "relationships"):
            self.assertTrue(bill[key])
        entries = {entry["name"]: entry for entry in bill["packages"]}
        self.assertIn(digest, entries[name]["comment"], "of the program that is in the package")
        ids = {entry["SPDXID"] for entry in bill["packages"]} | {"SPDXRef-DOCUMENT"}
        for relation in bill["relationships"]:
            self.assertIn(relation["spdxElementId"], ids)
            self.assertIn(relation["relatedSpdxElement"], ids)
        libraries = re.findall(r"=> (/\S+) ", run("ldd", program))
        self.assertGreater(len(libraries), 5)
        for library in libraries:
            owner = self.owner_of(library)
            version = run("dpkg-query", "-W", "-f", "${Version}", owner)
            self.assertEqual(entries[owner]["versionInfo"], version)
            purl = entries[owner]["externalRefs"][0]["referenceLocator"]
            self.assertTrue(purl.startswith(f"pkg:deb/debian/{owner}@{version}?"), purl)
        self.assertIn("libspdlog-dev" if name == "leaseplane" else "libcli11-dev", entries)

    def owner_of(self, path):
        for spelling in (path, os.path.realpath(path), os.path.realpath(path).removeprefix("/usr")):
            done = subprocess.run(["dpkg-query", "-S", spelling], capture_output=True, text=True)
            if done.returncode == 0:
                return done.stdout.split(":")[0]
        raise AssertionError(f"no package has {path}")


@unittest.skipUnless(os.getuid() == 0, "needs root")
class InstallTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = Root()
        cls.addClassCleanup(cls.root.close)
        for name in NAMES[:2]:
            shutil.copy(deb(name), cls.root.path / "root")

    def test_the_whole_life(self):
        root = self.root
        self.document = iter(self.blocks_of_document())
        self.do_next("apt-get install")
        self.assertIn("install ok installed", root.run("dpkg-query", "-s", "leaseplane"))
        self.check_user_and_folders()
        self.do_next("cat > /etc/leaseplane/config.yaml")
        self.check_unit()
        self.check_service_works()
        self.do_next("adduser")
        self.check_group()
        self.put_certificates()
        self.do_next("install -d")
        self.check_tls()
        self.do_next("apt-get remove")
        self.check_gone()

    def blocks_of_document(self):
        """The commands of docs/deploy/systemd.md; what needs a running systemd is left out."""
        text = (SOURCE / "docs/deploy/systemd.md").read_text()
        for block in text.split("```sh")[1:]:
            kind, _, code = block.split("```")[0].partition("\n")
            if kind.strip() != "systemd":
                yield code

    def do_next(self, start):
        code = next(self.document)
        self.assertTrue(code.startswith(start), code)
        if start == "adduser":
            self.root.run("apt-get", "install", "-q", "-y", "--no-install-recommends", "adduser")
        print(f"in the root: {code.strip()}", flush=True)
        self.root.run("sh", "-euc", f"cd /root\n{code}")

    def check_user_and_folders(self):
        passwd = self.root.run("getent", "passwd", "leaseplane").split(":")
        self.assertEqual(passwd[5:], ["/var/lib/leaseplane", "/usr/sbin/nologin\n"])
        form = ("stat", "-c", "%U:%G %a")
        self.assertEqual(self.root.run(*form, "/var/lib/leaseplane"), "leaseplane:leaseplane 700\n")
        self.assertEqual(self.root.run(*form, "/run/leaseplane"), "leaseplane:leaseplane 755\n")
        self.assertEqual(self.root.run(*form, "/etc/leaseplane/config.yaml"), "root:root 644\n")

    def check_unit(self):
        unit = "/usr/lib/systemd/system/leaseplane.service"
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no",
                               f"--root={self.root.path}", "leaseplane.service"],
                              capture_output=True, text=True, timeout=120)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))
        text = run("systemd-analyze", "security", "--offline=true",
                   f"--threshold={EXPOSURE_MAX}", f"{self.root.path}{unit}")
        score = re.search(r"exposure level for leaseplane.service: ([0-9.]+)", text)
        print(f"systemd-analyze security: {score.group(1)}", flush=True)
        if not self.root.exists("/usr/bin/deb-systemd-helper"):
            return
        self.assertTrue(self.root.exists(
            "/etc/systemd/system/multi-user.target.wants/leaseplane.service"), "enabled")

    @contextlib.contextmanager
    def service(self):
        """As the unit starts it: this user, no arguments. The line that says it is ready."""
        log = open(self.root.path / "root/log", "wb")
        self.addCleanup(log.close)
        environment = dict(os.environ, LEASEPLANE_LISTEN="127.0.0.1:0",
                           LEASEPLANE_METRICS_LISTEN="127.0.0.1:0")
        daemon = subprocess.Popen(
            ["chroot", "--userspec=leaseplane:leaseplane", self.root.path, "/usr/bin/leaseplaned"],
            stdout=subprocess.PIPE, stderr=log, env=environment)
        try:
            line = daemon.stdout.readline().decode()
            self.assertIn("ready", line, (self.root.path / "root/log").read_text())
            yield line
        finally:
            daemon.send_signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(60), 0)
            daemon.stdout.close()

    def check_service_works(self):
        with self.service():
            self.root.run("leasectl", "health")
            held = self.root.run("leasectl", "acquire", "gpu", "-o", "json")
            self.assertIn('"uid:0"', held)
            self.assertIn("gpu", self.root.run("leasectl", "pools"))
            ran = self.root.run("leasectl", "run", "gpu", "--", "sh", "-c", "echo $LEASEPLANE_SLOT",
                                env={"LEASEPLANE_SERVER_UID": self.uid()})
            self.assertRegex(ran, r"^\d+$")

    def put_certificates(self):
        with tempfile.TemporaryDirectory(prefix="lp-") as folder:
            run(SOURCE / "tests/support/make_certificates.sh", folder)
            for name, written in (("server.pem", "server.crt"), ("server.key", "server.key"),
                                  ("ca.pem", "ca.crt"), ("client-uri.pem", "client.crt"),
                                  ("client-uri.key", "client.key")):
                shutil.copy(f"{folder}/{name}", self.root.path / "root" / written)

    def check_tls(self):
        form = ("stat", "-c", "%U:%G %a", "/etc/leaseplane/tls/server.key")
        self.assertEqual(self.root.run(*form), "root:leaseplane 640\n")
        with self.service() as line:
            address = "127.0.0.1:" + re.search(r"grpc=\S+:(\d+)", line).group(1)
            call = ("leasectl", "--server", address, "--tls-ca", "/root/ca.crt")
            mine = ("--tls-cert", "/root/client.crt", "--tls-key", "/root/client.key")
            self.assertIn("spiffe://example.org/app",
                          self.root.run(*call, *mine, "acquire", "gpu", "-o", "json"))
            with self.assertRaises(AssertionError):
                self.root.run(*call, "health")
            self.root.run("leasectl", "health")

    def uid(self):
        return self.root.run("id", "-u", "leaseplane").strip()

    def check_group(self):
        self.assertIn("worker", self.root.run("getent", "group", "leaseplane"))

    def check_gone(self):
        """Removed and purged, as the last block of the page does."""
        for path in ("/usr/bin/leaseplaned", "/etc/leaseplane", "/var/lib/leaseplane",
                     "/run/leaseplane",
                     "/usr/lib/systemd/system/leaseplane.service"):
            self.assertFalse(self.root.exists(path), path)
        self.assertTrue(self.root.exists("/usr/bin/leasectl"), "another package")
        self.root.run("dpkg", "--purge", "leaseplane-cli")
        self.assertFalse(self.root.exists("/usr/bin/leasectl"))
        left = self.root.run("sh", "-c", "find / -xdev -name '*leaseplane*' -not -path '/root/*' "
                             "-not -path '/proc/*'")
        self.assertEqual([path for path in left.splitlines() if "/dpkg/" not in path], [])


if __name__ == "__main__":
    unittest.main()
