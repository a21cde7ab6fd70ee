# SPDX-License-Identifier: Apache-2.0
"""A Debian 12 that has booted: systemd as process 1 of a container."""

import os
import subprocess
import tempfile

from podman import attempt, podman, say, wait_until

IMAGE = "localhost/leaseplane-machine:dev"
# Its package lists are renewed by each machine, so an old image of it will do.
DOCKERFILE = """
FROM docker.io/library/debian:bookworm-slim
RUN apt-get update -q && apt-get install -q -y --no-install-recommends systemd systemd-sysv dbus \\
    && rm -f /usr/sbin/policy-rc.d
STOPSIGNAL SIGRTMIN+3
CMD ["/lib/systemd/systemd"]
"""


class Machine:
    """Needs root, the base image (`./dev image` makes it), and an archive that apt can reach."""

    def __init__(self):
        podman("build", "--format=docker", "--network=host", "-t", IMAGE, "-", input=DOCKERFILE)
        self.name = f"lp-machine-{os.getpid()}"
        podman("run", "-d", "--name", self.name, "--systemd=always", "--privileged", IMAGE)
        try:
            wait_until(lambda: self.try_sh("systemctl is-system-running").stdout == "running\n",
                       "systemd to have started everything")
            say("booted:", self.sh("systemctl --version").splitlines()[0])
            self.sh("apt-get update -q")
        except BaseException:
            self.close()
            raise

    def try_sh(self, script):
        """The finished process of a shell in the machine."""
        return attempt("exec", "--workdir", "/root", "--env", "DEBIAN_FRONTEND=noninteractive",
                       "--env", "LC_ALL=C.UTF-8", self.name, "sh", "-euc", script)

    def sh(self, script):
        """What a script, which has to succeed, prints."""
        done = self.try_sh(script)
        if done.returncode != 0:
            raise AssertionError(f"{script} -> {done.returncode}\n{done.stdout}{done.stderr}\n"
                                 f"{self.try_sh('journalctl -n 40 --no-pager').stdout}")
        return done.stdout

    def put(self, path, content):
        """A file of root's."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            subprocess.run(["chmod", "0644", file.name], check=True)
            podman("cp", file.name, f"{self.name}:{path}")

    def exists(self, path):
        return self.try_sh(f"test -e '{path}' || test -L '{path}'").returncode == 0

    def close(self):
        attempt("rm", "-f", "-v", "-t", "0", self.name)
