# SPDX-License-Identifier: Apache-2.0
"""leasectl against a running daemon: every command, on both paths."""

import json
import os
import pathlib
import pty
import signal
import subprocess
import tempfile
import unittest

import testbed


def is_alive(pid):
    """Zombies are not."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


class Leasectl(unittest.TestCase):
    def setUp(self):
        self.daemon = self.enterContext(testbed.Daemon(pools=("gpu=2", "one=1")))
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="lp-")))

    def ok(self, *words, **kwargs):
        done = self.daemon.leasectl(*words, **kwargs)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def as_json(self, *words):
        return json.loads(self.ok(*words, "-o", "json"))

    def start(self, *words, unix=True):
        """leasectl in the background."""
        server = f"unix:{self.daemon.socket}" if unix else f"ipv4:{self.daemon.grpc_address}"
        process = subprocess.Popen([str(testbed.BIN / "leasectl"), "--server", server, *words],
                                   stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stderr.close)
        return process

    def hold(self, script, *options, pool="one", unix=True):
        """A running `leasectl run` and what COMMAND wrote: its pid, its parent's, its token."""
        path = self.folder / f"held-{len(list(self.folder.iterdir()))}"
        running = self.start("run", pool, *options, "--", "sh", "-c",
                             f"echo $$ $PPID $LEASEPLANE_TOKEN > {path}.new; "
                             f"mv {path}.new {path}; {script}", unix=unix)
        testbed.wait_until(lambda: path.exists() or running.poll() is not None, "COMMAND")
        self.assertTrue(path.exists(), running.poll())
        return running, *map(int, path.read_text().split())

    def busy(self, pool="one"):
        pools = {p["name"]: p for p in self.as_json("pools")["pools"]}
        return pools[f"pools/{pool}"]["counts"]["busy_count"]

    def wait_until_free(self, pool="one"):
        testbed.wait_until(lambda: self.busy(pool) == 0, "the slot")

    def test_a_lease_lives_and_ends_as_it_is_told(self):
        for unix in (True, False):
            acquired = json.loads(
                self.ok("acquire", "gpu", "--ttl", "20s", "-o", "json", unix=unix))
            lease, token = acquired["lease"]["name"], acquired["lease"]["fencing_token"]
            slot = f"gpu/{acquired['lease']['slot_index']}"
            self.assertIs(type(token), int)
            self.ok("renew", lease, "--token", str(token), unix=unix)
            self.assertEqual(self.daemon.leasectl("check", slot, str(token)).returncode, 0)
            self.assertIn(lease, [l["name"] for l in self.as_json("leases", "gpu")["leases"]])
            self.assertEqual(self.daemon.leasectl("renew", lease, "--token", "1").returncode, 1)
            self.ok("release", lease, unix=unix)
            self.assertEqual(self.daemon.leasectl("check", slot, str(token)).returncode, 1)
            again = self.daemon.leasectl("renew", lease)
            self.assertEqual(again.returncode, 1)
            self.assertIn("LEASE_RELEASED", again.stderr)
        self.assertEqual(self.busy("gpu"), 0)

    def test_what_is_refused_names_reason_and_field(self):
        cases = (
            (("acquire", "nowhere"), 1, "NOT_FOUND"),
            (("acquire", "gpu", "--ttl", "1ms"), 64, "ttl"),
            (("acquire", "gpu", "--request-id", "x"), 64, "request_id"),
            (("check", "gpu/99", "5"), 1, "NOT_FOUND"),
            (("release", "gpu/" + "1" * 32, "--token", "5"), 1, "NOT_FOUND"),
        )
        for words, exit_code, text in cases:
            done = self.daemon.leasectl(*words)
            self.assertEqual(done.returncode, exit_code, (words, done.stderr))
            self.assertIn(text, done.stderr)
            self.assertEqual(done.stderr.count("\n"), 1)
        self.assertEqual(self.daemon.leasectl("pools", unix=False).returncode, 77)
        self.assertEqual(self.busy("gpu"), 0)

    def test_locked_slots_are_not_given_out(self):
        self.ok("lock", "one/0", "--reason", "fan broken")
        self.assertEqual(self.as_json("slots", "one")["slots"][0]["lock_reason"], "fan broken")
        self.assertEqual(self.daemon.leasectl("acquire", "one").returncode, 75)
        self.assertEqual(self.daemon.leasectl("run", "one", "--wait", "0", "--", "true").returncode,
                         75)
        self.ok("unlock", "one/0")
        self.ok("run", "one", "--wait", "0", "--", "true")

    def test_health_follows_the_daemon(self):
        self.assertEqual(self.ok("health"), "SERVING\n")
        self.assertEqual(self.ok("health", "--live"), "SERVING\n")
        self.assertIn("instance", self.ok("version"))
        self.daemon.stop()
        self.assertEqual(self.daemon.leasectl("health").returncode, 69)
        self.assertEqual(self.daemon.leasectl("run", "one", "--", "true").returncode, 125)

    def test_run_takes_the_local_path_at_the_socket_and_grpc_elsewhere(self):
        for unix, path in ((True, "LEASE_PATH_LOCAL"), (False, "LEASE_PATH_REMOTE")):
            running, pid, _, token = self.hold("exec sleep 1000", unix=unix)
            (lease,) = self.as_json("leases", "one")["leases"]
            self.assertEqual((lease["path"], lease["fencing_token"]), (path, token))
            os.kill(pid, signal.SIGTERM)
            self.assertEqual(running.wait(testbed.WATCHDOG_S), 128 + signal.SIGTERM)
            self.wait_until_free()

    def test_the_keyboards_interrupt_reaches_the_command(self):
        for unix in (True, False):
            started = self.folder / f"started-{unix}"
            server = f"unix:{self.daemon.socket}" if unix else f"ipv4:{self.daemon.grpc_address}"
            pid, terminal = pty.fork()
            if pid == 0:
                os.execv(testbed.BIN / "leasectl", [
                    "leasectl", "--server", server, "run", "one", "--", "sh", "-c",
                    f"trap 'exit 7' INT; touch {started}; while :; do sleep 0.02; done"])
            testbed.wait_until(started.exists, "COMMAND")
            os.write(terminal, b"\x03")
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 7)
            os.close(terminal)
            self.wait_until_free()

    def test_a_waiter_is_seen_and_served(self):
        for unix in (True, False):
            holder, pid, _, _ = self.hold("exec sleep 1000")
            waiting = self.start("run", "one", "--", "sh", "-c", "exit 3", unix=unix)
            testbed.wait_until(lambda: self.as_json("waiters", "one")["waiters"], "a waiter")
            os.kill(pid, signal.SIGKILL)
            self.assertEqual(holder.wait(testbed.WATCHDOG_S), 128 + signal.SIGKILL)
            self.assertEqual(waiting.wait(testbed.WATCHDOG_S), 3)

    def test_a_revoked_lease_stops_the_command(self):
        for unix in (True, False):
            for grace in ("0", "200ms"):
                running, pid, _, _ = self.hold("trap '' TERM; while :; do sleep 0.02; done",
                                               "--ttl", "2s", "--kill-after", "100ms", unix=unix)
                (lease,) = self.as_json("leases", "one")["leases"]
                self.ok("revoke", lease["name"], "--grace", grace, "--reason", "wanted back")
                _, errors = running.communicate(timeout=testbed.WATCHDOG_S)
                self.assertEqual(running.returncode, 124, (unix, grace, errors))
                self.assertIn("LEASE_REVOKED", errors)
                self.assertFalse(is_alive(pid))
                self.wait_until_free()

    def test_a_wait_outlasts_a_daemon_that_stops_and_comes_back(self):
        held = json.loads(self.ok("acquire", "one", "--ttl", "10m", "-o", "json"))["lease"]["name"]
        patient = self.start("acquire", "one", "--wait", "10m")
        impatient = self.start("acquire", "one", "--wait", "3s")
        testbed.wait_until(lambda: len(self.as_json("waiters", "one")["waiters"]) == 2, "waiters")
        self.assertEqual(self.daemon.stop(), 0)
        _, errors = impatient.communicate(timeout=testbed.WATCHDOG_S)
        self.assertEqual(impatient.returncode, 69, errors)
        self.assertNotIn("CANCELLED", errors)
        self.assertIsNone(patient.poll())
        self.daemon.start()
        self.ok("release", held)
        _, errors = patient.communicate(timeout=testbed.WATCHDOG_S)
        self.assertEqual(patient.returncode, 0, errors)
        self.assertEqual(self.busy(), 1)

    def test_a_pipeline_keeps_its_slot_when_leasectl_is_killed(self):
        running, _, _, token = self.hold(
            f"sh -c 'while ! test -e {self.folder}/a; do sleep 0.01; done' | "
            f"sh -c 'while ! test -e {self.folder}/b; do sleep 0.01; done'")
        running.kill()
        running.wait()
        for name in ("a", "b"):
            self.assertEqual(self.daemon.leasectl("check", "one/0", str(token)).returncode, 0)
            self.assertEqual(
                self.daemon.leasectl("run", "one", "--wait", "50ms", "--", "true").returncode, 75)
            (self.folder / name).touch()
        self.ok("run", "one", "--", "true")

    def test_a_killed_leasectl_with_a_guard_gives_the_slot_back_after_the_command(self):
        running, pid, guard, _ = self.hold("exec sleep 1000", "--ttl", "2s", unix=False)
        running.kill()
        running.wait()
        self.wait_until_free()
        self.assertFalse(is_alive(pid))
        testbed.wait_until(lambda: not is_alive(guard), "the guard's end")

    def test_the_slot_of_a_killed_guard_comes_back_when_its_ttl_ends(self):
        running, pid, guard, token = self.hold("exec sleep 1000", "--ttl", "2s", unix=False)
        os.kill(guard, signal.SIGKILL)
        self.assertEqual(running.wait(testbed.WATCHDOG_S), 125)
        self.assertFalse(is_alive(pid))
        self.assertEqual(self.daemon.leasectl("check", "one/0", str(token)).returncode, 0)
        self.wait_until_free()

    def test_commands_run_on_while_the_worker_is_restarted(self):
        runs = [self.hold(f"while ! test -e {self.folder}/go; do sleep 0.02; done; exit 4",
                          "--ttl", "2s", pool="gpu", unix=unix)[0] for unix in (True, False)]
        self.daemon.kill_worker()
        testbed.wait_until(lambda: self.daemon.leasectl("health").returncode == 0, "the daemon")
        self.assertEqual(self.busy("gpu"), 2)
        (self.folder / "go").touch()
        self.assertEqual([run.wait(testbed.WATCHDOG_S) for run in runs], [4, 4])
        self.wait_until_free("gpu")


if __name__ == "__main__":
    unittest.main()
