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

from podman import ENVIRONMENT, IMAGE, ROOT, attempt, podman, say, wait_until

HERE = pathlib.Path(__file__).resolve().parent
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = sorted((ROOT / "docs/deploy").glob("*.md")) + [ROOT / "docs/deploy.md"]
# Pages of others run in tests of their own; what these pages may hold besides commands.
OURS = {"container", "compose", "sidecar", "daemonset", "statefulset", "deploy"}
NOT_COMMANDS = {"yaml", "text"}

TOOLS = {
    "kubectl": f'exec /usr/bin/python3 -B {HERE}/kubectl_stand_in.py "$@"\n',
    "docker": 'if [ "$1" = compose ]; then shift; exec docker-compose "$@"; fi\n'
              'exec podman "$@"\n',
    # The page's image was built already: as `./dev image`, but nothing is new.
    "podman": 'exec /usr/bin/podman "$@"\n',
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
                              stderr=subprocess.STDOUT, timeout=1800)
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
        for name in ("sidecar", "daemonset", "statefulset"):
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
            out = self.run_page(
                "compose", DOCKER_HOST=f"unix://{api}", LEASEPLANE_IMAGE=IMAGE,
                COMPOSE_PROJECT_NAME=f"lppage{os.getpid()}", LEASEPLANE_PORT=free_port(),
                PROMETHEUS_PORT=free_port(), GRAFANA_PORT=free_port(), **self.stand_ins())
            self.assertIn("SERVING", out)
            for client in ("client-local", "client-remote"):
                self.assertRegex(out, client.replace("-", ".") + r".*BUSY")
        finally:
            service.terminate()
            service.wait()

    def stand_ins(self):
        """What takes the place of images that cannot be pulled: it accepts mounts and stays."""
        return {"PROMETHEUS_IMAGE": IMAGE, "GRAFANA_IMAGE": IMAGE}


if __name__ == "__main__":
    unittest.main()
