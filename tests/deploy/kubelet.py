# SPDX-License-Identifier: Apache-2.0
"""The parts of a kubelet that podman leaves out, so that a rendered pod can run without a cluster.

`podman play kube` runs the pod. Before, a manifest is changed in the places where podman 4.3 knows
less than Kubernetes; PodmanPod.adapt lists them. Probes, restarts and image changes are done here
as a kubelet does them: by exec, by starting the same container, by a new container in the pod.
"""

import os
import pathlib
import subprocess
import time

import yaml

from podman import attempt, first_pid, inspect, podman, say, state, wait_until

START_ATTEMPTS = 3


class SecretFolder:
    """A Secret as a kubelet mounts it: links through `..data`, which turns in one step."""

    def __init__(self, path, mode, group):
        self.path, self.mode, self.group = path, mode, group
        path.mkdir(exist_ok=True)

    def put(self, files):
        version = self.path / f"..version-{len(list(self.path.glob('..version-*'))) + 1}"
        version.mkdir()
        for name, content in files.items():
            (version / name).write_bytes(content)
            (version / name).chmod(self.mode)
            os.chown(version / name, 0, self.group)
            link = self.path / name
            if not link.is_symlink():
                link.symlink_to(f"..data/{name}")
        turned = self.path / "..turned"
        turned.symlink_to(version.name)
        turned.rename(self.path / "..data")


class PodmanPod:
    """A pod made of a rendered template and the folder its volumes live in."""

    def __init__(self, name, template, config_maps, folder, secrets=None, network="none"):
        """`secrets`: {name: {file: bytes}}, for volumes made of them."""
        self.name = name
        self.folder = pathlib.Path(folder)
        self.config_maps = config_maps
        self.secrets, self.network = secrets or {}, network
        self.spec = self.adapt(template["spec"])

    def adapt(self, spec):
        spec = yaml.safe_load(yaml.safe_dump(spec))
        security = spec["securityContext"]
        # Native sidecars: to podman, an init container is one that ends.
        sidecars = [c for c in spec.get("initContainers", []) if c.pop("restartPolicy", None)]
        spec["initContainers"] = [c for c in spec.get("initContainers", []) if c not in sidecars]
        spec["containers"] = sidecars + spec["containers"]
        # fsGroup: a kubelet gives emptyDir volumes to that group, and the group to all containers.
        group = security.pop("fsGroup", None)
        for container in spec["containers"]:
            container["imagePullPolicy"] = "Never"
            # To podman they are ports of the host, which a pod without a network does not have.
            container.pop("ports", None)
            if group is not None:
                container["securityContext"]["runAsGroup"] = group
            # podman would run them through a shell, and only by hand; see probe().
            self.probes = getattr(self, "probes", {})
            self.probes[container["name"]] = {
                kind: container.pop(kind) for kind in
                ("startupProbe", "livenessProbe", "readinessProbe") if kind in container}
        for volume in spec["volumes"]:
            if "emptyDir" in volume:
                volume.pop("emptyDir")
                path = self.folder / volume["name"]
                path.mkdir()
                os.chown(path, 0, group or 0)
                path.chmod(0o2777)
                volume["hostPath"] = {"path": str(path), "type": "Directory"}
            if "secret" in volume:
                secret = volume.pop("secret")
                mounted = SecretFolder(self.folder / volume["name"], secret["defaultMode"],
                                       group or 0)
                mounted.put(self.secrets[secret["secretName"]])
                volume["hostPath"] = {"path": str(mounted.path), "type": "Directory"}
                self.mounted = {**getattr(self, "mounted", {}), secret["secretName"]: mounted}
        spec["restartPolicy"] = "Never"
        return spec

    def document(self):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": self.name},
               "spec": self.spec}
        return yaml.safe_dump_all([*self.config_maps, pod])

    def __enter__(self):
        self.file = self.folder / "pod.yaml"
        self.file.write_text(self.document())
        podman("play", "kube", f"--network={self.network}", self.file)
        return self

    def __exit__(self, *_):
        attempt("pod", "rm", "-f", "-t", "0", self.name)
        for config_map in self.config_maps:
            attempt("volume", "rm", config_map["metadata"]["name"])

    def address(self):
        """Of the pod in its network."""
        infra = podman("pod", "inspect", "--format", "{{.InfraContainerID}}", self.name)
        return inspect(infra)["NetworkSettings"]["Networks"][self.network]["IPAddress"]

    def change_secret(self, name, files):
        """A kubelet does it some time after the Secret has changed."""
        self.mounted[name].put(files)

    def container(self, name):
        return f"{self.name}-{name}"

    def exec(self, name, *command):
        return attempt("exec", self.container(name), *command)

    def logs(self, name):
        done = attempt("logs", self.container(name))
        return done.stdout + done.stderr

    def is_running(self, name):
        return state(self.container(name))["Running"]

    def probe(self, name, kind):
        """One round of a probe: whether it succeeded."""
        command = self.probes[name][kind]["exec"]["command"]
        return self.exec(name, *command).returncode == 0

    def kill(self, name):
        """SIGKILL to the container's process 1, from outside; ends when the container has."""
        os.kill(first_pid(self.container(name)), 9)
        self.wait_for_end(name)

    def wait_for_end(self, name):
        podman("wait", self.container(name))

    def start(self, name):
        """What a kubelet does after its back-off."""
        for rest in reversed(range(START_ATTEMPTS)):
            done = attempt("start", self.container(name))
            if done.returncode == 0:
                return
            if rest == 0:
                raise AssertionError(f"podman start {name}: {done.stderr}")
            say("  start failed, again:", done.stderr.strip()[-200:])
            time.sleep(0.2)

    def replace(self, name, image):
        """A change of the image: the container is stopped, and a new one takes its place."""
        podman("stop", "-t", "20", self.container(name))
        exit_code = state(self.container(name))["ExitCode"]
        podman("rm", self.container(name))
        (container,) = [c for c in self.spec["containers"] if c["name"] == name]
        podman("run", "-d", "--pod", self.name, "--name", self.container(name),
               *self.flags(container), image)
        return exit_code

    def flags(self, container):
        """The container's part of the manifest, as flags of `podman run`."""
        security = container["securityContext"]
        yield from ("--user", f"{security['runAsUser']}:{security['runAsGroup']}", "--read-only",
                    "--cap-drop=ALL", "--security-opt=no-new-privileges", "--restart=no",
                    "--memory", str(container["resources"]["limits"]["memory"]).lower()[:-1])
        for variable in container.get("env", []):
            yield from ("--env", f"{variable['name']}={variable['value']}")
        volumes = {v["name"]: v for v in self.spec["volumes"]}
        for mount in container["volumeMounts"]:
            volume = volumes[mount["name"]]
            source = volume["hostPath"]["path"] if "hostPath" in volume else \
                volume["configMap"]["name"]
            option = ":ro" if mount.get("readOnly") else ""
            yield from ("--volume", f"{source}:{mount['mountPath']}{option}")
