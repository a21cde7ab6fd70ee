#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Any container of the pod is killed at any time; no slot is lost, none is held twice.

Half of the kills and more are aimed at attach and grant: a client that has just been told to begin
is killed within the time that attaching and the first grants take. The others hit clients in the
middle of their load, and the daemon, also while it recovers and while clients attach to it.
LEASEPLANE_KILLS (500) is their number, LEASEPLANE_SEED their course, LEASEPLANE_DAEMON_SHARE (0.06)
how many of them hit the daemon: few, because each is followed by the grace.
"""

import collections
import os
import random
import time
import unittest

from podman import first_pid, say, wait_until
from sidecar_pod import SidecarPod
from witness import CHURN

KILLS = int(os.environ.get("LEASEPLANE_KILLS", "500"))
SEED = int(os.environ.get("LEASEPLANE_SEED", "0")) or random.randrange(2**31)
CLIENTS, CAPACITY = 4, 2
DAEMON_SHARE = float(os.environ.get("LEASEPLANE_DAEMON_SHARE", "0.06"))
ENTRY_PHASES = ("attaching", "acquiring")


class Killer:
    """Kills and restarts the containers of a pod, as a cruel node with a faithful kubelet."""

    def __init__(self, pod):
        self.pod, self.witness = pod, pod.witness
        self.rng = random.Random(SEED)
        self.killed_in = collections.Counter()
        self.daemon_kills = self.daemon_kills_in_entry = 0
        self.entry_s = [0.005]  # how long clients took from their order to their first grant

    def entries(self):
        return sum(self.killed_in[p] for p in ENTRY_PHASES) + self.daemon_kills_in_entry

    def kills(self):
        return sum(self.killed_in.values()) + self.daemon_kills

    def phases(self):
        return [self.witness.phase(c) for c in self.pod.clients]

    def begin(self, client):
        """The client, which has started, is told to attach."""
        wait_until(lambda: self.witness.phase(client) == "started", "a client to start",
                   step_s=0.001)
        self.witness.command(client, CHURN)

    def kill_at_entry(self, client):
        """A client that has just begun to attach: before, in, or soon after its first grants."""
        pid = self.restart(client)
        self.begin(client)
        # Mostly early: attaching takes a small part of what the first grant may have to wait.
        end = time.monotonic() + self.rng.random() ** 4 * self.typical_entry_s()
        while time.monotonic() < end:
            pass
        self.kill_client(client, pid)
        self.restart(client)
        self.begin(client)

    def restart(self, client):
        """Kills the client if it runs. The process number of the new one, which awaits orders."""
        if self.pod.is_running(self.pod.client_name(client)):
            self.kill_client(client)
        self.pod.start_client(client)
        return first_pid(self.pod.container(self.pod.client_name(client)))

    def typical_entry_s(self):
        recent = sorted(self.entry_s[-9:])
        return recent[len(recent) // 2]

    def kill_in_load(self, client):
        time.sleep(self.rng.random() * 0.05)
        self.restart(client)
        begun_at = time.monotonic()
        self.begin(client)
        # A sample of how long entering takes; none while the daemon recovers.
        while time.monotonic() - begun_at < 0.5:
            if self.witness.grants_of(client):
                self.entry_s.append(time.monotonic() - begun_at)
                return
            time.sleep(0.0005)

    def kill_client(self, client, pid=None):
        name = self.pod.client_name(client)
        pid = pid or first_pid(self.pod.container(name))
        self.witness.doom(client)
        os.kill(pid, 9)
        self.pod.wait_for_end(name)
        self.killed_in[self.witness.phase(client)] += 1

    def kill_daemon(self):
        """In every other case at the moment in which a client attaches."""
        pid = first_pid(self.pod.container("leaseplane"))
        client = self.rng.choice(self.pod.clients)
        if self.rng.random() < 0.5:
            self.restart(client)
            self.begin(client)
            time.sleep(self.rng.random() * self.typical_entry_s())
        else:
            time.sleep(self.rng.random() * 0.1)
        self.daemon_kills_in_entry += any(p in ENTRY_PHASES for p in self.phases())
        os.kill(pid, 9)
        self.daemon_kills += 1
        self.pod.wait_for_end("leaseplane")
        self.pod.start("leaseplane")
        # Half of the time more kills follow while it recovers.
        if self.rng.random() < 0.5:
            self.wait_for_progress()

    def wait_for_progress(self):
        before = self.witness.grants
        wait_until(lambda: self.witness.grants > before + 10, "grants after the recovery")

    def step(self):
        if self.rng.random() < DAEMON_SHARE:
            self.kill_daemon()
        elif self.rng.random() < 0.75:
            self.kill_at_entry(self.rng.choice(self.pod.clients))
        else:
            self.kill_in_load(self.rng.choice(self.pod.clients))


class PodKillTest(unittest.TestCase):

    def test_no_kill_loses_or_doubles_a_slot(self):
        say(f"\nseed {SEED}, {KILLS} kills, {CLIENTS} client containers, {CAPACITY} slots")
        with SidecarPod(CLIENTS, capacity=CAPACITY, hold_us=20_000) as pod:
            pod.wait_ready()
            killer = Killer(pod)
            for client in pod.clients:
                killer.begin(client)
            killer.wait_for_progress()
            said_at = started_at = time.monotonic()
            while killer.kills() < KILLS or killer.entries() < KILLS / 2:
                killer.step()
                self.assertEqual(pod.witness.violations, 0)
                if time.monotonic() > said_at + 30:
                    said_at = time.monotonic()
                    say(f"  {killer.kills()} kills, {pod.witness.grants} grants")
            killer.wait_for_progress()
            pod.end_clients()
            say(f"{killer.kills()} kills in {time.monotonic() - started_at:.0f} s: clients while "
                f"{dict(killer.killed_in)}, daemon {killer.daemon_kills}; "
                f"{killer.entries()} during attach and grant; {pod.witness.grants} grants, "
                f"{pod.witness.violations} violations, {pod.witness.losses} leases lost, "
                f"{pod.witness.refused_releases} releases refused; a client enters in "
                f"{killer.typical_entry_s() * 1e3:.1f} ms")
            self.assertEqual(pod.witness.violations, 0)
            self.assertEqual(pod.witness.losses, 0)
            self.assertEqual(pod.witness.refused_releases, 0)
            self.assertGreaterEqual(killer.entries(), KILLS / 2)
            pod.wait_ready()
            pod.assert_every_slot_is_there(self)


if __name__ == "__main__":
    unittest.main()
