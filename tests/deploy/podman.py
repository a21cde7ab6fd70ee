# SPDX-License-Identifier: Apache-2.0
"""podman as the tests use it: commands, images, and waiting for conditions."""

import hashlib
import json
import os
import pathlib
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("LEASEPLANE_BIN_DIR", ROOT / "build/dev/bin"))
WORK = pathlib.Path(os.environ.get("LEASEPLANE_WORK_DIR", ROOT / "build/dev/deploy"))
WATCHDOG_S = float(os.environ.get("LEASEPLANE_WATCHDOG_S", "120"))
IMAGE = os.environ.get("LEASEPLANE_IMAGE", "localhost/leaseplane:dev")
CLIENT_IMAGE = "localhost/leaseplane-pod-client:dev"
ENVIRONMENT = {"CONTAINERS_CONF": str(ROOT / "deploy/container/containers.conf"), **os.environ}


def say(*words):
    print(*words, flush=True)


def wait_until(condition, what, timeout_s=WATCHDOG_S, step_s=0.02):
    """The first true value of condition()."""
    end = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"gave up waiting for {what}")
        time.sleep(step_s)


def attempt(*args, **kwargs):
    """Runs podman; the finished process, whatever its exit code."""
    return subprocess.run(["podman", *map(str, args)], env=ENVIRONMENT, capture_output=True,
                          text=True, timeout=600, **kwargs)


def podman(*args, **kwargs):
    """Runs podman, which has to succeed; what it printed."""
    done = attempt(*args, **kwargs)
    if done.returncode != 0:
        raise AssertionError(f"podman {' '.join(map(str, args))}: {done.returncode}\n"
                             f"{done.stdout}{done.stderr}")
    return done.stdout.strip()


def inspect(name, kind="container"):
    return json.loads(podman(kind, "inspect", name))[0]


def state(name):
    return inspect(name)["State"]


def first_pid(name):
    """The host's number of the container's process 1; 0 if it does not run."""
    return int(podman("inspect", "--format", "{{.State.Pid}}", name))


def has_image(name):
    return attempt("image", "exists", name).returncode == 0


def image_of_programs(name, *programs, entrypoint=()):
    """An image of nothing but programs of the build and their libraries."""
    digest = hashlib.sha256(b"".join(p.read_bytes() for p in programs)).hexdigest()
    label = "leaseplane.test.programs"
    if has_image(name) and inspect(name, "image")["Labels"].get(label) == digest:
        return
    root = WORK / "image-root"
    if root.exists():
        subprocess.run(["rm", "-r", str(root)], check=True)
    subprocess.run([str(ROOT / "deploy/container/make_root.sh"), str(root), *map(str, programs)],
                   check=True)
    with subprocess.Popen(["tar", "-C", str(root), "--numeric-owner", "-c", "."],
                          stdout=subprocess.PIPE) as archive:
        podman("import", "-c", f"LABEL {label}={digest}", "-c", "ENV PATH=/usr/bin",
               "-c", f"ENTRYPOINT {json.dumps(list(entrypoint))}", "-", name,
               stdin=archive.stdout)
    if archive.returncode != 0:
        raise AssertionError("tar failed")
