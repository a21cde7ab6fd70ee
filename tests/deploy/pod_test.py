#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The sidecar as a real pod: two containers and more, other users, separate PID namespaces."""

import contextlib
import os
import pathlib
import time
import unittest

from podman import IMAGE, first_pid, podman, say, state, wait_until
from sidecar_pod import CLIENT_UID_FIRST, SidecarPod
from witness import CHURN, HOLD

OTHER_IMAGE = "localhost/leaseplane:other"


def status_of(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def hold(pod, client):
    """(slot, token) that the client holds from now on."""
    pod.witness.command(client, HOLD)
    return wait_until(lambda: pod.witness.held(client), f"client {client} to hold a slot")


class PodTest(unittest.TestCase):

    def assert_sound(self, pod):
        self.assertEqual(pod.witness.violations, 0)
        self.assertEqual(pod.witness.losses, 0)

    def assert_confined(self, pod, name, uid):
        pid = first_pid(pod.container(name))
        status = status_of(pid)
        self.assertEqual(status["Uid"].split()[0], str(uid))
        self.assertEqual(int(status["CapBnd"], 16), 0)
        self.assertEqual(status["NoNewPrivs"], "1")
        self.assertEqual(status["Seccomp"], "2")
        self.assertEqual(status["NSpid"].split()[-1], "1")
        return os.readlink(f"/proc/{pid}/ns/pid")

    def test_fast_path_across_containers(self):
        for shape in ("sidecar", "sidecar-classic"):
            with self.subTest(shape), SidecarPod(2, shape) as pod:
                pod.wait_ready()
                namespaces = {self.assert_confined(pod, "leaseplane", 65532)}
                for client in pod.clients:
                    namespaces.add(self.assert_confined(
                        pod, pod.client_name(client), CLIENT_UID_FIRST + client))
                    pod.witness.command(client, CHURN)
                self.assertEqual(len(namespaces), 3, "each container has its own PID namespace")
                for client in pod.clients:
                    wait_until(lambda c=client: pod.witness.grants_of(c) >= 200, "200 grants")
                say(f"{shape}: {pod.witness.grants} grants through shared memory, users "
                    f"65532, {CLIENT_UID_FIRST}, {CLIENT_UID_FIRST + 1}")
                pod.end_clients()
                self.assert_sound(pod)
                pod.assert_every_slot_is_there(self)

    def test_killed_client_gives_its_slot_back(self):
        with SidecarPod(2, capacity=1) as pod:
            pod.wait_ready()
            slot, token = hold(pod, 0)
            pod.witness.command(1, HOLD)
            time.sleep(0.2)
            self.assertIsNone(pod.witness.held(1), "there is one slot only")
            killed_at = time.monotonic()
            pod.kill_client(0)
            next_slot, next_token = wait_until(lambda: pod.witness.held(1), "the slot")
            say(f"client container killed: slot {slot} held by the other client "
                f"{(time.monotonic() - killed_at) * 1e3:.0f} ms later")
            self.assertEqual(next_slot, slot)
            self.assertGreater(next_token, token)
            self.assertFalse(pod.is_token_valid(slot, token))
            self.assert_sound(pod)

    def test_killed_daemon_keeps_holders(self):
        with SidecarPod(3, capacity=3) as pod:
            pod.wait_ready()
            held = [hold(pod, client) for client in (0, 1)]
            killed_at = time.monotonic()
            pod.kill("leaseplane")
            pod.start("leaseplane")
            pod.wait_live()
            live_s = time.monotonic() - killed_at
            self.assertFalse(pod.probe("leaseplane", "readinessProbe"),
                             "nothing is granted while holders may still declare their slots")
            pod.witness.command(2, HOLD)
            pod.wait_ready()
            ready_s = time.monotonic() - killed_at
            wait_until(lambda: pod.witness.held(2), "a new grant after the grace")
            say(f"daemon container killed: live after {live_s:.1f} s, grants after "
                f"{ready_s:.1f} s, holders kept {held}")
            self.assertEqual([pod.witness.held(client) for client in (0, 1)], held)
            for slot, token in held:
                self.assertTrue(pod.is_token_valid(slot, token))
            self.assertNotIn(pod.witness.held(2)[0], [slot for slot, _ in held])
            pod.end_clients()
            self.assertEqual(pod.witness.refused_releases, 0)
            self.assert_sound(pod)
            pod.assert_every_slot_is_there(self)

    def test_upgrade_of_the_image_under_load(self):
        podman("build", "--format=docker", "--network=host", "-t", OTHER_IMAGE, "-",
               input=f"FROM {IMAGE}\nLABEL leaseplane.test.other=1\n")
        with SidecarPod(3, capacity=3) as pod:
            pod.wait_ready()
            slot, token = hold(pod, 0)
            for client in (1, 2):
                pod.witness.command(client, CHURN)
            wait_until(lambda: pod.witness.grants > 100, "some load")
            before = pod.witness.grants
            exit_code = pod.replace("leaseplane", OTHER_IMAGE)
            self.assertEqual(exit_code, 0, "a drained daemon ends with 0")
            pod.wait_ready()
            self.assertEqual(pod.witness.held(0), (slot, token))
            self.assertTrue(pod.is_token_valid(slot, token))
            after = pod.witness.grants
            for client in (1, 2):
                got = pod.witness.grants_of(client)
                wait_until(lambda c=client, g=got: pod.witness.grants_of(c) > g + 100,
                           "the load to go on")
            say(f"image changed under load: slot {slot} kept with its token, {before} grants "
                f"before, {after - before} between, {pod.witness.grants - after} after")
            pod.end_clients()
            self.assert_sound(pod)
            pod.assert_every_slot_is_there(self)

    def test_probes_turn(self):
        with SidecarPod(1) as pod:
            wait_until(lambda: pod.probe("leaseplane", "startupProbe"), "startup")
            pod.wait_ready()
            self.assertTrue(pod.probe("leaseplane", "livenessProbe"))
            worker = self.worker_of(pod)
            # A stopped engine answers nothing; a kubelet would now count failures.
            os.kill(worker, 19)
            try:
                self.assertFalse(pod.probe("leaseplane", "livenessProbe"))
                self.assertFalse(pod.probe("leaseplane", "readinessProbe"))
            finally:
                os.kill(worker, 18)
            wait_until(lambda: pod.probe("leaseplane", "livenessProbe"), "liveness to turn back")
            pod.wait_ready()
            self.assertTrue(state(pod.container("leaseplane"))["Running"])
            say("probes: startup, readiness and liveness turned to failed and back")

    def worker_of(self, pod):
        keeper = first_pid(pod.container("leaseplane"))
        path = pathlib.Path(f"/proc/{keeper}/task/{keeper}/children")
        return wait_until(lambda: [int(p) for p in path.read_text().split()], "a worker")[0]

    def test_failed_store_fails_readiness_only(self):
        with SidecarPod(1, state_bytes=64 << 20) as pod:
            pod.wait_ready()
            folder = pod.folder / "leaseplane-state"
            with open(folder / "ballast", "wb", buffering=0) as ballast:
                with contextlib.suppress(OSError):
                    while True:
                        ballast.write(bytes(4096))

            def readiness_failed():
                # Something to store.
                pod.exec("leaseplane", "/usr/bin/leasectl", "acquire", "db", "--ttl", "1s")
                return not pod.probe("leaseplane", "readinessProbe")

            wait_until(readiness_failed, "readiness to fail with the store")
            self.assertTrue(pod.probe("leaseplane", "livenessProbe"))
            self.assertTrue(pod.is_running("leaseplane"))
            (folder / "ballast").unlink()
            pod.wait_ready()
            say("full disk: readiness failed and came back with the space, liveness held")

    def test_keeper_is_process_1(self):
        with SidecarPod(1) as pod:
            pod.wait_ready()
            old = self.worker_of(pod)
            os.kill(old, 9)
            new = wait_until(lambda: (lambda w: w if w != old else 0)(self.worker_of(pod)),
                             "the next worker")
            self.assertFalse(pathlib.Path(f"/proc/{old}").exists(), "the dead one was reaped")
            pod.wait_ready()
            podman("stop", "-t", "20", pod.container("leaseplane"))
            self.assertEqual(state(pod.container("leaseplane"))["ExitCode"], 0)
            say(f"keeper: worker {old} killed, {new} took over, SIGTERM drained, exit code 0")


if __name__ == "__main__":
    unittest.main()
