# SPDX-License-Identifier: Apache-2.0
"""The packages and the service in a Debian that has booted with systemd: installed, used, killed,
restarted and removed by the commands of docs/deploy/systemd.md, every one of them."""

import json
import pathlib
import re
import subprocess
import tempfile
import unittest

from machine import Machine
from package_test import NAMES, SOURCE, deb
from podman import podman, say, wait_until

PAGE = SOURCE / "docs/deploy/systemd.md"
# Exposure as systemd-analyze counts it, in tenths: 0 is none, 100 everything.
EXPOSURE_MAX = 19
UNIT = "leaseplane.service"


class ServiceTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.machine = Machine()
        cls.addClassCleanup(cls.machine.close)
        for name in NAMES[:2]:
            podman("cp", deb(name), f"{cls.machine.name}:/root/")

    def test_the_whole_life(self):
        self.blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
        self.do_next("apt-get install")
        self.check_user_and_folders()
        self.check_unit()
        self.do_next("cat > /etc/leaseplane/config.yaml")
        self.do_next("systemctl restart")
        self.check_confinement()
        self.do_next("adduser")
        self.check_what_holders_notice()
        self.check_what_is_not_started_again()
        self.put_certificates()
        self.do_next("install -d")
        self.do_next("systemctl restart")
        self.check_tls()
        self.do_next("apt-get remove")
        self.check_gone()
        self.assertEqual(self.blocks, [], "commands of the page that did not run")

    def sh(self, script):
        return self.machine.sh(script)

    def do_next(self, start):
        block = self.blocks.pop(0)
        self.assertTrue(block.startswith(start), block)
        if start == "adduser":
            self.sh("apt-get install -q -y --no-install-recommends adduser")
        say(f"in the machine: {block.strip()}")
        say(self.sh(block)[-600:])

    def property(self, name):
        return self.sh(f"systemctl show {UNIT} --property={name} --value").strip()

    def check_user_and_folders(self):
        passwd = self.sh("getent passwd leaseplane").split(":")
        self.assertEqual(passwd[5:], ["/var/lib/leaseplane", "/usr/sbin/nologin\n"])
        for path, wanted in (("/var/lib/leaseplane", "leaseplane:leaseplane 700"),
                             ("/run/leaseplane", "leaseplane:leaseplane 755"),
                             ("/etc/leaseplane/config.yaml", "root:root 644")):
            self.assertEqual(self.sh(f"stat -c '%U:%G %a' {path}").strip(), wanted, path)

    def check_unit(self):
        """Started and enabled by the package; nothing about it that systemd would complain of."""
        self.assertEqual(self.property("ActiveState"), "active")
        self.assertEqual(self.sh(f"systemctl is-enabled {UNIT}"), "enabled\n")
        # verify names what it does not know, and ends with 0 all the same.
        done = self.machine.try_sh(f"systemd-analyze verify --man=no {UNIT}")
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))
        security = self.sh(f"systemd-analyze security --no-pager --threshold={EXPOSURE_MAX} {UNIT}")
        score = re.search(r"exposure level for leaseplane.service: ([0-9.]+)", security).group(1)
        say(f"systemd-analyze: verify has nothing to say, security {score}")

    def check_confinement(self):
        keeper = int(self.property("MainPID"))
        worker = int(self.worker())
        uid = self.sh("id -u leaseplane").strip()
        for pid in (keeper, worker):
            status = self.sh(f"cat /proc/{pid}/status")
            for line in (rf"Uid:\t{uid}\t", r"CapBnd:\t0+\n", r"NoNewPrivs:\t1\n",
                         r"Seccomp:\t2\n"):
                self.assertRegex(status, rf"\n{line}")
        say(f"keeper {keeper}, worker {worker}: user {uid}, no capability, system calls filtered")

    def worker(self):
        return self.sh(f"cat /proc/{self.property('MainPID')}/task/*/children").split()[0]

    def hold(self):
        """(slot, token) that a process of the user `worker` has from now on."""
        self.sh("rm -f /tmp/held; systemd-run --quiet --unit=holder --uid=worker "
                "--setenv=LEASEPLANE_SERVER_UID=$(id -u leaseplane) leasectl run gpu --path local "
                "--wait 1m -- sh -c 'echo $LEASEPLANE_SLOT $LEASEPLANE_TOKEN >/tmp/held; "
                "exec sleep 3600'")
        return tuple(map(int, wait_until(
            lambda: self.machine.try_sh("cat /tmp/held").stdout.split(), "a slot", step_s=0.2)))

    def check_what_holders_notice(self):
        slot, token = self.hold()
        for what, act, restarts, is_same_keeper in (
                ("worker killed", lambda: self.sh(f"kill -9 {self.worker()}"), 0, True),
                ("service killed", lambda: self.sh(f"systemctl kill -s KILL {UNIT}"), 1, False),
                ("service restarted", lambda: self.sh(f"systemctl restart {UNIT}"), 0, False)):
            with self.subTest(what):
                keeper, worker = self.property("MainPID"), self.worker()
                act()
                wait_until(lambda: self.is_serving_after(worker), f"{what}: a new worker",
                           step_s=0.2)
                self.assertEqual(self.property("MainPID") == keeper, is_same_keeper)
                self.assertEqual(int(self.property("NRestarts")), restarts)
                self.sh(f"leasectl check gpu/{slot} {token}")
                self.assertEqual(self.sh("systemctl is-active holder"), "active\n")
                say(f"{what}: slot {slot} stays held with token {token}, restarts by systemd: "
                    f"{restarts}")
        self.sh("systemctl stop holder")
        self.assertNotEqual(self.machine.try_sh(f"leasectl check gpu/{slot} {token}").returncode, 0)

    def is_serving_after(self, worker):
        return self.machine.try_sh("leasectl health").returncode == 0 and self.worker() != worker

    def check_what_is_not_started_again(self):
        """A wrong configuration ends with 78, once; a stop is no failure."""
        self.sh("cp /etc/leaseplane/config.yaml /root/; "
                "echo 'wrong: 1' >>/etc/leaseplane/config.yaml")
        self.assertNotEqual(self.machine.try_sh(f"systemctl restart {UNIT}").returncode, 0)
        self.assertEqual((self.property("ExecMainStatus"), self.property("NRestarts")), ("78", "0"))
        self.sh(f"cp /root/config.yaml /etc/leaseplane/; systemctl start {UNIT}; "
                f"systemctl stop {UNIT}")
        self.assertEqual((self.property("ExecMainStatus"), self.property("Result")),
                         ("0", "success"))
        self.sh(f"systemctl start {UNIT}")

    def put_certificates(self):
        with tempfile.TemporaryDirectory(prefix="lp-") as name:
            folder = pathlib.Path(name)
            subprocess.run([SOURCE / "tests/support/make_certificates.sh", folder], check=True)
            for name, written in (("server.pem", "server.crt"), ("server.key", "server.key"),
                                  ("ca.pem", "ca.crt"), ("client-uri.pem", "client.crt"),
                                  ("client-uri.key", "client.key")):
                self.machine.put(f"/root/{written}", (folder / name).read_bytes())

    def check_tls(self):
        self.assertEqual(self.sh("stat -c '%U:%G %a' /etc/leaseplane/tls/server.key"),
                         "root:leaseplane 640\n")
        call = "leasectl --server localhost:7070 --tls-ca ca.crt"
        lease = json.loads(self.sh(f"{call} --tls-cert client.crt --tls-key client.key -o json "
                                   "acquire gpu --wait 1m"))["lease"]
        self.assertIn("spiffe://example.org/app", json.dumps(lease))
        self.assertNotEqual(self.machine.try_sh(f"{call} health").returncode, 0)
        self.sh("leasectl health")

    def check_gone(self):
        """Removed and purged, as the last block of the page does."""
        for path in ("/usr/bin/leaseplaned", "/etc/leaseplane", "/var/lib/leaseplane",
                     "/run/leaseplane", f"/usr/lib/systemd/system/{UNIT}"):
            self.assertFalse(self.machine.exists(path), path)
        self.assertTrue(self.machine.exists("/usr/bin/leasectl"), "another package")
        self.sh("dpkg --purge leaseplane-cli")
        left = self.sh("find / -xdev -name '*leaseplane*' -not -path '/root/*' -not -path '/proc/*'"
                       " -not -path '*/dpkg/*' -not -path '/tmp/*'")
        self.assertEqual(left, "")
        self.assertEqual(self.machine.try_sh(f"systemctl cat {UNIT}").returncode, 1)


if __name__ == "__main__":
    unittest.main()
