# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL server of the test's own: in a temporary folder, on a Unix socket alone."""

import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile

from testbed import WATCHDOG_S, wait_until

BIN = pathlib.Path(os.environ["LEASEPLANE_POSTGRES_BIN_DIR"])


def server_user():
    """The server refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class PostgresServer:
    """`role` may have `connection_limit` connections, which the server itself enforces."""

    def __init__(self, role, connection_limit):
        self.user = server_user()
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        if self.user:
            os.chown(self.root, self.user["user"], self.user["group"])
        self.root.chmod(0o755)
        self._run("initdb", "-D", self.root / "data", "-A", "trust", "-U", "owner", "-N",
                  "--no-instructions")
        self.log = open(self.root / "log", "ab")
        self.process = subprocess.Popen(
            [BIN / "postgres", "-D", self.root / "data", "-k", self.root, "-c",
             "listen_addresses=", "-c", "fsync=off", "-c", "client_connection_check_interval=50ms"],
            stdout=self.log, stderr=self.log, cwd=self.root, **self.user)
        wait_until(self._answers, "the database server")
        self.query(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT {connection_limit}")
        self.role = role

    def _run(self, program, *args):
        subprocess.run([BIN / program, *args], check=True, cwd=self.root, timeout=WATCHDOG_S * 3,
                       stdout=subprocess.DEVNULL, **self.user)

    def _answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the database server ended: {self.log_text()}")
        return self.query("SELECT 1", check=False) == [["1"]]

    def log_text(self):
        return (self.root / "log").read_text(errors="replace")

    def conninfo(self):
        return f"host={self.root} user={self.role} dbname=postgres"

    def query(self, statement, check=True):
        """Rows of strings, asked as the owner."""
        done = subprocess.run(
            [BIN / "psql", "-X", "-At", "-h", self.root, "-U", "owner", "-d", "postgres", "-c",
             statement], capture_output=True, text=True, timeout=WATCHDOG_S * 3, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"{statement}: {done.stderr}")
        return [line.split("|") for line in done.stdout.splitlines()]

    def close(self):
        self.process.send_signal(signal.SIGINT)  # disconnects everybody
        try:
            self.process.wait(WATCHDOG_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.root, ignore_errors=True)
