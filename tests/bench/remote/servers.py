# SPDX-License-Identifier: Apache-2.0
"""The servers that `bench_remote.py` measures: each in a temporary folder, on Unix sockets and
loopback ports that were free, ended by its pid."""

import os
import pathlib
import pwd
import re
import shutil
import socket
import subprocess
import time

START_S = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, what):
    end = time.monotonic() + START_S
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"gave up waiting for {what}")
        time.sleep(0.05)


def can_connect(address):
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(address) == 0


class Server:
    """A process; `pid` is what its CPU time is asked of, children included."""

    def __init__(self, folder, command, ready_line=None, ready=None, **kwargs):
        self.folder = pathlib.Path(folder)
        self.log = open(self.folder / "log", "wb")
        stdout = subprocess.PIPE if ready_line else self.log
        self.process = subprocess.Popen([str(word) for word in command], stdout=stdout,
                                        stderr=self.log, stdin=subprocess.DEVNULL, **kwargs)
        self.pid = self.process.pid
        self.found = None
        if ready_line:
            line = self.process.stdout.readline().decode()
            self.found = re.search(ready_line, line)
            if not self.found:
                self.stop()
                raise RuntimeError(f"{command[0]} said {line!r}")
        if ready:
            wait_until(lambda: self.process.poll() is not None or ready(), command[0])
        if self.process.poll() is not None:
            raise RuntimeError(f"{command[0]} ended: "
                               f"{(self.folder / 'log').read_bytes()[-500:]!r}")

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(15)
        if self.process.stdout:
            self.process.stdout.close()
        self.log.close()


def start_echo(folder, program, api, queues=0):
    path = folder / "echo.sock"
    server = Server(folder, [program, "--api", api, "--queues", queues,
                             "--listen", f"unix:{path}"], ready_line="ready")
    server.unix = f"unix:{path}"
    return server


def start_echo_tcp(folder, program, api):
    server = Server(folder, [program, "--api", api, "--listen", "127.0.0.1:0"],
                    ready_line=r"port=(\d+)")
    server.tcp = f"127.0.0.1:{server.found.group(1)}"
    return server


CONFIG = """
pools:
  - id: bench
    capacity: 16384
    durability: ASYNC
  - id: none
    capacity: 16384
    durability: NONE
"""


def start_leaseplaned(folder, program, config=CONFIG, flags=()):
    (folder / "config.yaml").write_text(config)
    path = folder / "leaseplane.sock"
    server = Server(folder, [program, "--config", folder / "config.yaml", "--state-dir",
                             folder / "state", "--socket", path, "--listen", "127.0.0.1:0",
                             "--metrics-listen", "127.0.0.1:0", *flags],
                    ready_line=r"ready grpc=(\S+) unix=(\S+) metrics=(\S+)")
    server.unix = f"unix:{path}"
    server.tcp = server.found.group(1)
    server.metrics = server.found.group(3)
    return server


def start_redis(folder):
    port = free_port()
    path = folder / "redis.sock"
    server = Server(folder, ["redis-server", "--unixsocket", path, "--bind", "127.0.0.1", "--port",
                             port, "--save", "", "--appendonly", "no", "--dir", folder],
                    ready=lambda: can_connect(str(path)))
    server.unix, server.tcp = f"unix:{path}", f"127.0.0.1:{port}"
    return server


def start_memcached(folder):
    port = free_port()
    server = Server(folder, ["memcached", "-l", "127.0.0.1", "-p", port, "-U", "0", "-t", "1", "-u",
                             pwd.getpwuid(os.geteuid()).pw_name],
                    ready=lambda: can_connect(("127.0.0.1", port)))
    server.tcp = f"127.0.0.1:{port}"
    return server


def start_etcd(folder):
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    port = int(client.rsplit(":", 1)[1])
    server = Server(folder, ["etcd", "--data-dir", folder / "data", "--name", "bench",
                             "--listen-client-urls", client, "--advertise-client-urls", client,
                             "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                             "--initial-cluster", f"bench={peer}"],
                    ready=lambda: can_connect(("127.0.0.1", port)))
    server.tcp = f"127.0.0.1:{port}"
    return server


def postgres_folder():
    folders = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        raise FileNotFoundError("no PostgreSQL server is installed")
    return folders[-1]


def start_postgres(folder):
    """As the user postgres if we are root, whom PostgreSQL does not serve."""
    programs = postgres_folder()
    as_user = {}
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
        as_user = {"user": "postgres", "group": "postgres", "extra_groups": []}
    data = folder / "data"
    subprocess.run([programs / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "-N"],
                   check=True, stdout=subprocess.DEVNULL, cwd=folder, **as_user)
    path = folder / ".s.PGSQL.5432"
    server = Server(folder, [programs / "postgres", "-D", data, "-k", folder, "-c",
                             "listen_addresses=", "-c", "max_connections=200"],
                    ready=lambda: can_connect(str(path)), cwd=folder, **as_user)
    server.options = f"host={folder} dbname=postgres user=postgres"
    return server
