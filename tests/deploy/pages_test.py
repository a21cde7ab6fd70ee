#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every command of docs/deploy: the blocks marked `sh` of a page, in their order.

podman is real. kubectl is kubectl_stand_in.py; `docker compose` is Debian's docker-compose on the
socket of podman, with stand-ins for the images that only a registry has.
"""

import os
import pathlib
import re
import socket
import subprocess
import tempfile
import unittest

from podman import ENVIRONMENT, IMAGE, ROOT, attempt, image_of_programs, say, wait_until

HERE = pathlib.Path(__file__).resolve().parent
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = sorted((ROOT / "docs/deploy").glob("*.md")) + [ROOT / "docs/deploy.md"]
# Pages of others run in tests of their own; what these pages may hold besides commands.
OURS = {"container", "compose", "sidecar", "daemonset", "statefulset", "tls", "deploy"}
NOT_COMMANDS = {"yaml", "text"}
PROMETHEUS_IMAGE = "localhost/leaseplane-prometheus:dev"

TOOLS = {
    "kubectl": f'exec /usr/bin/python3 -B {HERE}/kubectl_stand_in.py "$@"\n',
    # podman removes no container whose network another one uses, nor one that is just started
    # again, so that `down` may need several rounds.
    "docker": '[ "$1" = compose ] || exec podman "$@"\nshift\n'
              'case "$*" in *down*) rounds="1 2 3 4 5 6 7 8 9" ;; *) rounds=1 ;; esac\n'
              'for round in $rounds; do docker-compose "$@" && exit; sleep 1; done\nexit 1\n',
}


def blocks(page, kind):
    return [text for found, text in BLOCK.findall(page.read_text()) if found == kind]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


class PagesTest(unittest.TestCase):

    def setUp(self):
        self.temp = tempfile.TemporaryDirectory(prefix="lp-pages-")
        self.folder = pathlib.Path(self.temp.name)
        self.folder.chmod(0o755)
        tools = self.folder / "tools"
        tools.mkdir()
        for name, text in TOOLS.items():
            (tools / name).write_text("#!/bin/sh\n" + text)
            (tools / name).chmod(0o755)
        self.environment = {
            **ENVIRONMENT, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(HERE),
            "LEASEPLANE_STAND_IN_DIR": str(self.folder), "LEASEPLANE_STAND_IN_ID": str(os.getpid())}

    def tearDown(self):
        self.temp.cleanup()

    def run_page(self, name, **environment):
        page = ROOT / f"docs/deploy/{name}.md"
        commands = blocks(page, "sh")
        self.assertTrue(commands)
        script = "set -eux\n" + "".join(commands)
        done = subprocess.run(["/bin/sh", "-c", script], cwd=ROOT, text=True,
                              env={**self.environment, **environment}, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=900)
        self.assertEqual(done.returncode, 0, f"{page}\n{done.stdout[-6000:]}")
        say(f"{name}.md: {sum(c.count(chr(10)) for c in commands)} lines of commands ran")
        return done.stdout

    def test_every_block_is_run_or_no_command(self):
        for page in PAGES:
            if page.stem not in OURS:
                continue
            kinds = {kind for kind, _ in BLOCK.findall(page.read_text())}
            self.assertLessEqual(kinds - {"sh"}, NOT_COMMANDS, page)
        self.assertEqual(blocks(ROOT / "docs/deploy.md", "sh"), [])

    def test_container(self):
        for name in ("leaseplane",):
            self.assertNotEqual(attempt("container", "exists", name).returncode, 0,
                                f"a container '{name}' is there already")
        self.addCleanup(attempt, "rm", "-f", "-t", "0", "leaseplane")
        out = self.run_page("container")
        self.assertIn("SERVING", out)
        self.assertIn("image leaseplane:", out)

    def test_kubernetes(self):
        for name in ("sidecar", "daemonset", "statefulset", "tls"):
            with self.subTest(name):
                out = self.run_page(name)
                self.assertIn("is ready", out)

    def test_compose(self):
        sources = [ROOT / "deploy" / path for path in
                   re.findall(r"- \./(\S+?):", (ROOT / "deploy/compose.yaml").read_text())]
        self.assertEqual(len(sources), 3)
        for source in sources:
            self.assertTrue(source.is_dir(), f"{source}, which compose.yaml mounts")
        api = self.folder / "podman.sock"
        service = subprocess.Popen(["podman", "system", "service", "--time=0", f"unix://{api}"],
                                   env=ENVIRONMENT, stderr=subprocess.DEVNULL)
        try:
            wait_until(api.exists, "podman's socket")
            environment = {
                "DOCKER_HOST": f"unix://{api}", "COMPOSE_PROJECT_NAME": f"lppage{os.getpid()}",
                "LEASEPLANE_IMAGE": IMAGE, "LEASEPLANE_PORT": free_port(),
                "LEASEPLANE_TLS_DIR": str(self.folder / "tls"),
                "PROMETHEUS_PORT": free_port(), "GRAFANA_PORT": free_port(), **self.stand_ins()}
            try:
                out = self.run_page("compose", **environment)
            except (AssertionError, subprocess.TimeoutExpired):
                for _ in range(2):
                    subprocess.run(["docker-compose", "-f", "deploy/compose.yaml", "down", "-v"],
                                   cwd=ROOT, env={**ENVIRONMENT, **environment},
                                   capture_output=True)
                raise
            self.assertIn("SERVING", out)
            for shown in (r"client.local.* BUSY .*local-", r"client.remote.* ACTIVE +REMOTE "):
                self.assertTrue(re.search(shown, out), f"{shown} in {out[-6000:]}")
        finally:
            service.terminate()
            service.wait()

    def stand_ins(self):
        """What takes the place of images that only a registry has: Debian's Prometheus, and for
        Grafana something that accepts its mounts and stays."""
        image_of_programs(PROMETHEUS_IMAGE, pathlib.Path("/usr/bin/prometheus"), entrypoint=[
            "/usr/bin/prometheus", "--config.file=/etc/prometheus/prometheus.yml",
            "--storage.tsdb.path=/prometheus"])
        return {"PROMETHEUS_IMAGE": PROMETHEUS_IMAGE, "GRAFANA_IMAGE": IMAGE}


if __name__ == "__main__":
    unittest.main()
