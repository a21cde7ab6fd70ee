# SPDX-License-Identifier: Apache-2.0
"""syscall_fault beside the present worker."""

import subprocess

import testbed

KILLS = ("kill_before", "kill_after")


class Fault:
    """`options`: as syscall_fault's."""

    def __init__(self, daemon, mode, k, *options):
        self.worker = testbed.wait_until(daemon.worker_pid, "a worker", step_s=0.001)
        self.process = subprocess.Popen(
            [str(testbed.BIN / "syscall_fault"), str(self.worker), mode, str(k), *options],
            stdout=subprocess.PIPE, text=True)
        self.is_armed = self.process.stdout.readline() == "armed\n"

    def is_over(self):
        return self.process.poll() is not None

    def end(self):
        """True if the deed was done."""
        if not self.is_over():
            self.process.terminate()
        text = self.process.stdout.read()
        self.process.wait(testbed.WATCHDOG_S)
        self.process.stdout.close()
        return "hit" in text
