#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kubectl for the pages of docs/deploy, where there is no cluster.

`kustomize` renders, `apply -k` validates the objects and runs their pod with podman, `rollout
status` waits for the readiness probe, `exec` runs in the pod's container, `delete -k` removes it;
`create secret generic` keeps files for the pods that are started later, or prints the Secret, and
`apply -f -` of it changes what is mounted. Everything else is an error. Volumes that podman does
not have become folders: claims and folders of the node. LEASEPLANE_STAND_IN_DIR keeps what is
running.
"""

import base64
import json
import os
import pathlib
import shutil
import sys

import yaml

import manifests
from kubelet import PodmanPod, SecretFolder
from podman import IMAGE, attempt, podman, say, wait_until
from validation import faults

RUNNING = pathlib.Path(os.environ["LEASEPLANE_STAND_IN_DIR"])


def local_pod(objects, name):
    """The workload of a kustomization as a pod of this machine."""
    template = manifests.pod_template(objects)
    folder = RUNNING / name
    folder.mkdir()
    folder.chmod(0o755)
    claims = [c["metadata"]["name"] for o in objects
              for c in o.get("spec", {}).get("volumeClaimTemplates", [])]
    spec = template["spec"]
    spec["volumes"] += [{"name": claim, "emptyDir": {}} for claim in claims]
    for volume in spec["volumes"]:
        if "hostPath" in volume:
            path = folder / ("node-" + volume["name"])
            path.mkdir()
            volume["hostPath"] = {"path": str(path), "type": "Directory"}
    for container in manifests.containers(template):
        if container["name"] == "leaseplane":
            container["image"] = IMAGE
        if container["name"] == "application":
            container["image"] = IMAGE
            container["command"] = ["/usr/bin/leasectl", "run", "gpu", "--", "leasectl", "slots",
                                    "gpu"]
    for volume in spec["volumes"]:
        if "configMap" in volume:
            config_map, = [o for o in manifests.of_kind(objects, "ConfigMap")
                           if o["metadata"]["name"] == volume["configMap"]["name"]]
            config_map["metadata"]["name"] = volume["configMap"]["name"] = f"{name}-pools"
    return PodmanPod(name, template, manifests.of_kind(objects, "ConfigMap"), folder, secrets())


def secrets():
    return {path.stem.removeprefix("secret-"): {
        name: base64.b64decode(content)
        for name, content in json.loads(path.read_text())["data"].items()}
            for path in RUNNING.glob("secret-*.json")}


def keep_secret(made):
    wrong = faults([made])
    if wrong:
        sys.exit(wrong)
    name = made["metadata"]["name"]
    (RUNNING / f"secret-{name}.json").write_text(json.dumps(made))
    for folder in RUNNING.glob(f"*/{name}"):
        mounted = (folder / "..data" / next(iter(made["data"]))).stat()
        SecretFolder(folder, mounted.st_mode & 0o777, mounted.st_gid).put(secrets()[name])


def create_secret(name, *flags):
    files = dict(flag.removeprefix("--from-file=").split("=", 1) for flag in flags
                 if flag.startswith("--from-file="))
    made = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": {"name": name},
            "data": {key: base64.b64encode(pathlib.Path(path).read_bytes()).decode()
                     for key, path in files.items()}}
    match flags[len(files):]:
        case ():
            keep_secret(made)
            say(f"secret/{name} created")
        case ("--dry-run=client", "-o", "yaml"):
            print(yaml.safe_dump(made))
        case _:
            sys.exit(f"create secret generic {flags}")


def pod_name(workload):
    kind, name = workload["kind"].lower(), workload["metadata"]["name"]
    return f"lp-page-{os.environ['LEASEPLANE_STAND_IN_ID']}-{kind}-{name}"


def workload_of(objects):
    (workload,) = [o for o in objects if "template" in o.get("spec", {})]
    return workload


def apply(folder):
    objects = manifests.render(folder)
    wrong = faults(objects)
    if wrong:
        sys.exit(wrong)
    name = pod_name(workload_of(objects))
    pod = local_pod(objects, name)
    probes = pod.probes["leaseplane"]["readinessProbe"]
    (RUNNING / f"{name}.json").write_text(json.dumps(probes))
    pod.__enter__()
    for o in objects:
        say(f"{o['kind'].lower()}/{o['metadata']['name']} created")


def running(target):
    """The name of the pod of KIND/NAME."""
    kind, name = target.split("/")
    return f"lp-page-{os.environ['LEASEPLANE_STAND_IN_ID']}-{kind}-{name}"


def rollout_status(target):
    name = running(target)
    command = json.loads((RUNNING / f"{name}.json").read_text())["exec"]["command"]
    wait_until(lambda: attempt("exec", f"{name}-leaseplane", *command).returncode == 0,
               f"{target} to be ready")
    say(f"{target} is ready")


def execute(target, flag, container, dashes, *command):
    if (flag, dashes) != ("-c", "--"):
        sys.exit("exec KIND/NAME -c CONTAINER -- COMMAND")
    done = attempt("exec", f"{running(target)}-{container}", *command)
    print(done.stdout, end="")
    print(done.stderr, end="", file=sys.stderr)
    sys.exit(done.returncode)


def delete(folder):
    name = pod_name(workload_of(manifests.render(folder)))
    podman("pod", "rm", "-f", "-t", "20", name)
    attempt("volume", "rm", f"{name}-pools")
    shutil.rmtree(RUNNING / name)
    (RUNNING / f"{name}.json").unlink()


def main(arguments):
    match arguments:
        case ["kustomize", folder]:
            print(yaml.safe_dump_all(manifests.render(folder)))
        case ["create", "secret", "generic", name, *flags]:
            create_secret(name, *flags)
        case ["apply", "-f", "-"]:
            keep_secret(yaml.safe_load(sys.stdin))
        case ["delete", "secret", name]:
            (RUNNING / f"secret-{name}.json").unlink()
        case ["apply", "-k", folder]:
            apply(folder)
        case ["rollout", "status", target]:
            rollout_status(target)
        case ["exec", *rest]:
            execute(*rest)
        case ["delete", "-k", folder]:
            delete(folder)
        case _:
            sys.exit(f"kubectl stand-in: {arguments} is not known here")


if __name__ == "__main__":
    main(sys.argv[1:])
