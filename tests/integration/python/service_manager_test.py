# SPDX-License-Identifier: Apache-2.0
"""What the daemon tells a service manager, in the protocol of sd_notify(3)."""

import os
import pathlib
import socket
import tempfile
import unittest

from testbed import Daemon


class NotifyTest(unittest.TestCase):
    def listen(self, address):
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        manager.bind(address)
        manager.settimeout(60)
        self.addCleanup(manager.close)
        return manager

    def follow(self, manager, name):
        with Daemon(env={"NOTIFY_SOCKET": name}) as daemon:
            self.assertEqual(manager.recv(100), b"READY=1")
            daemon.kill_worker()
            self.assertEqual(manager.recv(100), b"READY=1")
            self.assertEqual(daemon.stop(), 0)
            self.assertEqual(manager.recv(100), b"STOPPING=1")

    def test_ready_after_every_start_and_stopping(self):
        with tempfile.TemporaryDirectory(prefix="lp-") as folder:
            path = str(pathlib.Path(folder) / "notify")
            self.follow(self.listen(path), path)

    def test_an_abstract_name(self):
        name = f"leaseplane-notify-{os.getpid()}"
        self.follow(self.listen("\0" + name), "@" + name)

    def test_a_name_that_leads_nowhere_is_nobodys_business(self):
        for name in ("", "/nonexistent/notify", "relative", "/" + "x" * 200):
            with Daemon(env={"NOTIFY_SOCKET": name}) as daemon:
                self.assertEqual(daemon.stop(), 0)


if __name__ == "__main__":
    unittest.main()
