# SPDX-License-Identifier: Apache-2.0
"""Completes command lines in bash, and in zsh if it is there, as a user's Tab does."""

import os
import pathlib
import pty
import select
import shutil
import subprocess
import tempfile
import time
import unittest

SOURCE = pathlib.Path(os.environ["LEASEPLANE_SOURCE_DIR"])
BIN = pathlib.Path(os.environ["LEASEPLANE_BIN_DIR"])
COMPLETIONS = SOURCE / "deploy/completions"
ENVIRONMENT = dict(os.environ, PATH=f"{BIN}:{os.environ['PATH']}",
                   LEASEPLANE_SERVER="unix:///nonexistent/leaseplane.sock")


def complete(*words):
    """What bash offers for the last word."""
    function = "_leasectl" if words[0] == "leasectl" else "_leaseplaned"
    script = f"""
        set -u
        source {COMPLETIONS}/leaseplane.bash
        complete -p {words[0]} >/dev/null
        COMP_WORDS=("$@")
        COMP_CWORD=$(($# - 1))
        COMPREPLY=()
        {function} "$1"
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script, "test", *words], env=ENVIRONMENT, cwd="/",
                          capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.split())


class BashTest(unittest.TestCase):
    def test_commands_are_those_of_the_program(self):
        offered = complete("leasectl", "")
        self.assertLessEqual({"pools", "acquire", "run", "health"}, offered)
        self.assertEqual(complete("leasectl", "re"), {"renew", "release", "resume", "revoke"})
        self.assertEqual(complete("leasectl", "--server", "unix:///x", "hea"), {"health"})

    def test_options_are_the_programs_and_the_commands(self):
        self.assertLessEqual({"--server", "--tls-ca", "-o", "--output"}, complete("leasectl", "-"))
        self.assertEqual(complete("leasectl", "acquire", "gpu", "--tt"), {"--ttl"})
        self.assertIn("--kill-after", complete("leasectl", "run", "gpu", "--k"))
        self.assertNotIn("--kill-after", complete("leasectl", "acquire", "gpu", "--k"))
        self.assertEqual(complete("leaseplaned", "--tls-cl"), {"--tls-client-ca"})
        self.assertLessEqual({"--listen", "--pool", "--check-config"}, complete("leaseplaned", "-"))

    def test_values(self):
        self.assertEqual(complete("leasectl", "-o", ""), {"table", "json"})
        self.assertEqual(complete("leasectl", "run", "--path", "lo"), {"local"})
        self.assertEqual(complete("leaseplaned", "--log-level", "w"), {"warning"})
        self.assertEqual(complete("leaseplaned", "--state-dir", "/et"), {"/etc"})
        self.assertEqual(complete("leasectl", "--ttl", ""), set())
        self.assertIn("true", complete("leasectl", "run", "gpu", "--", "tru"))

    def test_pools_are_asked_of_the_daemon(self):
        with tempfile.TemporaryDirectory(prefix="lp-") as root:
            daemon = subprocess.Popen(
                [BIN / "leaseplaned", "--pool", "gpu-a=1", "--pool", "gpu-b=1", "--pool", "db=1",
                 "--state-dir", f"{root}/state", "--socket", f"{root}/s.sock",
                 "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"],
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            try:
                self.assertIn(b"ready", daemon.stdout.readline())
                server = ("--server", f"unix://{root}/s.sock")
                self.assertEqual(complete("leasectl", *server, "acquire", ""),
                                 {"gpu-a", "gpu-b", "db"})
                self.assertEqual(complete("leasectl", *server, "acquire", "gpu"),
                                 {"gpu-a", "gpu-b"})
            finally:
                daemon.terminate()
                daemon.wait(60)
                daemon.stdout.close()
        self.assertEqual(complete("leasectl", "acquire", ""), set(), "no daemon, no pools")


@unittest.skipUnless(shutil.which("zsh"), "zsh is not here")
class ZshTest(unittest.TestCase):
    def complete(self, line):
        """Types `line` and Tab into a zsh, and what it makes of it: the line it would run."""
        with tempfile.TemporaryDirectory(prefix="lp-") as home:
            for program in ("leasectl", "leaseplaned"):
                shutil.copy(COMPLETIONS / "_leaseplane", f"{home}/_{program}")
            rc = (f"fpath=({home} $fpath)\nautoload -Uz compinit\ncompinit -u\n"
                  f"unsetopt beep\nPS1='READY> '\nshow() {{ print -r -- \"[[$BUFFER]]\" "
                  f"> {home}/line }}\nzle -N show\nbindkey '^X' show\n")
            pathlib.Path(f"{home}/.zshrc").write_text(rc)
            pid, terminal = pty.fork()
            if pid == 0:
                os.execvpe("zsh", ["zsh", "-i"], dict(ENVIRONMENT, ZDOTDIR=home, TERM="dumb"))
            try:
                self.read_until(terminal, b"READY> ")
                os.write(terminal, line.encode() + b"\t\x18")
                end = time.monotonic() + 60
                written = pathlib.Path(f"{home}/line")
                while not (written.exists() and written.read_text().endswith("]]\n")):
                    self.assertLess(time.monotonic(), end, "zsh did not answer")
                    if select.select([terminal], [], [], 0.05)[0]:
                        os.read(terminal, 4096)
                return written.read_text().strip()[2:-2].rstrip()
            finally:
                os.kill(pid, 9)
                os.waitpid(pid, 0)
                os.close(terminal)

    def read_until(self, terminal, text):
        got, end = b"", time.monotonic() + 60
        while text not in got:
            self.assertLess(time.monotonic(), end, got)
            if select.select([terminal], [], [], 1)[0]:
                got += os.read(terminal, 4096)

    def test_one_way_to_go_on_is_gone(self):
        self.assertEqual(self.complete("leasectl hea"), "leasectl health")
        self.assertEqual(self.complete("leasectl acquire gpu --tt"), "leasectl acquire gpu --ttl")
        self.assertEqual(self.complete("leaseplaned --tls-cl"), "leaseplaned --tls-client-ca")
        self.assertEqual(self.complete("leasectl -o j"), "leasectl -o json")


if __name__ == "__main__":
    unittest.main()
