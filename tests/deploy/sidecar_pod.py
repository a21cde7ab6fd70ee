# SPDX-License-Identifier: Apache-2.0
"""The sidecar of deploy/kubernetes as a running pod, with several applications under a witness."""

import json
import os
import pathlib
import subprocess
import tempfile

import yaml

import manifests
from kubelet import PodmanPod
from podman import BIN, CLIENT_IMAGE, IMAGE, image_of_programs, podman, say, wait_until
from witness import END, Witness

POOL = "gpu"
CLIENT_UID_FIRST = 10001


class SidecarPod(PodmanPod):
    """A pod of the daemon and CLIENTS applications, each a container and a user of its own."""

    def __init__(self, clients, shape="sidecar", capacity=3, hold_us=2000, image=IMAGE,
                 state_bytes=0, **pod):
        """`state_bytes`: the state gets a file system of its own of that size. `pod`: more
        arguments of PodmanPod."""
        self._temp = tempfile.TemporaryDirectory(prefix="lp-pod-")
        folder = pathlib.Path(self._temp.name)
        folder.chmod(0o755)
        (folder / "witness").mkdir()
        self.witness = Witness(folder / "witness" / "file")
        self.clients, self.capacity = range(clients), capacity
        image_of_programs(CLIENT_IMAGE, BIN / "pod_client")
        documents = manifests.render_shape(shape)
        template = manifests.pod_template(documents)
        manifests.container(template, "leaseplane")["image"] = image
        self.put_clients(template["spec"], hold_us)
        name = f"lp-{os.getpid()}-{os.urandom(2).hex()}"
        config_maps = self.own_config_maps(documents, template["spec"], name)
        super().__init__(name, template, config_maps, folder, **pod)
        self.state_mount = folder / "leaseplane-state" if state_bytes else None
        if self.state_mount:
            self.mount_state(state_bytes)

    def mount_state(self, size_bytes):
        mode = self.state_mount.stat()
        subprocess.run(["mount", "-t", "tmpfs", "-o",
                        f"size={size_bytes},mode={mode.st_mode & 0o7777:o},gid={mode.st_gid}",
                        "tmpfs", str(self.state_mount)], check=True)

    def put_clients(self, spec, hold_us):
        """The manifest's application once for each client."""
        (model,) = [c for c in spec["containers"] if c["name"] == "application"]
        spec["containers"].remove(model)
        spec["volumes"].append({"name": "witness", "hostPath": {
            "path": str(pathlib.Path(self._temp.name) / "witness"), "type": "Directory"}})
        for client in self.clients:
            copy = yaml.safe_load(yaml.safe_dump(model))
            copy.update(name=f"application-{client}", image=CLIENT_IMAGE, command=[
                "/usr/bin/pod_client", POOL, "/witness/file", str(client), str(hold_us)])
            copy["securityContext"]["runAsUser"] = CLIENT_UID_FIRST + client
            copy["volumeMounts"].append({"name": "witness", "mountPath": "/witness"})
            spec["containers"].append(copy)
            self.witness.prepare(client)

    def own_config_maps(self, documents, spec, name):
        """The pools, with the capacity of the test; to podman ConfigMap names are global."""
        config_maps = manifests.of_kind(documents, "ConfigMap")
        for config_map in config_maps:
            pools = yaml.safe_load(config_map["data"]["config.yaml"])
            for pool in pools["pools"]:
                if pool["id"] == POOL:
                    pool["capacity"] = self.capacity
            config_map["data"]["config.yaml"] = yaml.safe_dump(pools)
            config_map["metadata"]["name"] = f"{name}-pools"
        for volume in spec["volumes"]:
            if "configMap" in volume:
                volume["configMap"]["name"] = f"{name}-pools"
        return config_maps

    def __exit__(self, *exception):
        if exception[0] is not None:
            for container in ("leaseplane", *map(self.client_name, self.clients)):
                say(f"--- {container}\n{self.logs(container)[-3000:]}")
        super().__exit__(*exception)
        if self.state_mount:
            subprocess.run(["umount", str(self.state_mount)], check=True)
        self._temp.cleanup()

    @staticmethod
    def client_name(client):
        return f"application-{client}"

    def wait_live(self):
        wait_until(lambda: self.probe("leaseplane", "startupProbe"), "the startup probe")

    def wait_ready(self):
        wait_until(lambda: self.probe("leaseplane", "readinessProbe"), "the readiness probe")

    def start_client(self, client):
        self.witness.prepare(client)
        self.start(self.client_name(client))

    def kill_client(self, client):
        self.witness.doom(client)
        self.kill(self.client_name(client))

    def end_clients(self):
        for client in self.clients:
            self.witness.command(client, END)
        for client in self.clients:
            podman("wait", self.container(self.client_name(client)))

    def leasectl(self, *args):
        """What leasectl in the daemon's container says, as JSON."""
        done = self.exec("leaseplane", "/usr/bin/leasectl", "-o", "json", *args)
        if done.returncode != 0:
            raise AssertionError(f"leasectl {args}: {done.returncode} {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def free_count(self):
        pools = self.leasectl("pools")
        (pool,) = [p for p in pools["pools"] if p["name"] == f"pools/{POOL}"]
        return pool["counts"]["free_count"]

    def is_token_valid(self, slot, token):
        return self.exec("leaseplane", "/usr/bin/leasectl", "check", f"{POOL}/{slot}",
                         str(token)).returncode == 0

    def assert_every_slot_is_there(self, test):
        """Each slot can be had once, by a token above all that were ever seen there."""
        wait_until(lambda: self.free_count() == self.capacity, "every slot to be free")
        got = {}
        for _ in range(self.capacity):
            lease = self.leasectl("acquire", POOL, "--ttl", "5m")["lease"]
            got[lease["slot_index"]] = lease["fencing_token"]
        test.assertEqual(sorted(got), list(range(self.capacity)))
        for slot, token in got.items():
            test.assertGreater(token, self.witness.last_token(slot))
        test.assertEqual(self.free_count(), 0)


