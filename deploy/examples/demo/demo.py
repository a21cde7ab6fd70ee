# SPDX-License-Identifier: Apache-2.0
"""Runs the demo: a daemon, 24 jobs through a pool of 3, two killed holders, and the report."""

import argparse
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import report

JOBS = 24
POOL = "demo"
REMOTE_TTL = "2s"
LOCAL_VICTIM, REMOTE_VICTIM = 5, 6  # odd jobs are local, even ones remote
ROUNDS, VICTIM_ROUNDS = 2, 10_000   # a victim's work outlasts it in any case
WAIT_SECONDS_MAX = 120
HERE = pathlib.Path(__file__).resolve().parent
SOURCES = ("core", "server", "clients", "proto", "tests", "docs")
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("LEASEPLANE_")}


class DemoError(Exception):
    pass


def wait_until(what, condition):
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise DemoError(f"waited {WAIT_SECONDS_MAX} s in vain for {what}")
        time.sleep(0.005)


class Demo:
    def __init__(self, programs, config, sources):
        self.programs = programs
        self.config = config
        self.sources = sources
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="leaseplane-demo-"))
        self.daemon = None
        self.jobs = {}  # number -> Popen of its leasectl
        self.kills = []
        self.watchers = []

    # -- the daemon

    def start_daemon(self):
        socket = self.folder / "run" / "leaseplane.sock"
        socket.parent.mkdir()
        self.log = open(self.folder / "daemon.log", "wb")
        self.daemon = subprocess.Popen(
            [self.programs / "leaseplaned", "--config", self.config,
             "--state-dir", self.folder / "state", "--socket", socket,
             "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE, stderr=self.log, env=ENVIRONMENT, start_new_session=True)
        line = self.daemon.stdout.readline().decode()
        ready = dict(re.findall(r"(\w+)=(\S+)", line))
        if not line.startswith("leaseplaned ready") or "grpc" not in ready:
            self.daemon.wait()
            raise DemoError("the daemon did not start:\n" +
                            (self.folder / "daemon.log").read_text(errors="replace"))
        self.unix = f"unix://{socket}"
        self.tcp = ready["grpc"]
        self.metrics = ready["metrics"]

    def leasectl(self, *words):
        return subprocess.run([self.programs / "leasectl", "--server", self.unix, *words],
                              env=ENVIRONMENT, capture_output=True, text=True)

    def read_metrics(self):
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=10) as answer:
            return answer.read().decode()

    # -- the jobs

    def job_log(self, number):
        return self.folder / f"job-{number:02}.log"

    def files_of(self, number):
        paths = sorted(path for folder in SOURCES for path in (self.sources / folder).rglob("*")
                       if path.is_file() and "__pycache__" not in path.parts)
        return paths[number - 1::JOBS]

    def start_jobs(self):
        for number in range(1, JOBS + 1):
            is_local = number % 2 == 1
            lease = ["--server", self.unix] if is_local else ["--server", self.tcp]
            options = ["--path", "local"] if is_local else ["--ttl", REMOTE_TTL]
            is_victim = number in (LOCAL_VICTIM, REMOTE_VICTIM)
            self.jobs[number] = subprocess.Popen(
                [self.programs / "leasectl", *lease, "run", POOL, *options, "--",
                 sys.executable, "-S", HERE / "job.py", str(number), self.job_log(number),
                 str(VICTIM_ROUNDS if is_victim else ROUNDS), *self.files_of(number)],
                env=ENVIRONMENT, start_new_session=True)

    def begin_of(self, number):
        return wait_until(f"job {number} to begin", lambda: self.events_of(number).get("begin"))

    def events_of(self, number):
        return report.read_events(self.job_log(number))

    def kill_local_holder(self):
        begin = self.begin_of(LOCAL_VICTIM)
        time.sleep(0.3)
        self.jobs[LOCAL_VICTIM].kill()
        self.jobs[LOCAL_VICTIM].wait()
        time.sleep(0.3)
        # leasectl is gone, the job has the session's descriptor: the lease is as good as before.
        is_kept = self.is_held(begin)
        killed_at = report.now_ns()
        os.kill(begin["pid"], signal.SIGKILL)
        self.add_kill(begin, killed_at, "leasectl, then the job", is_kept)

    def kill_remote_holder(self):
        begin = self.begin_of(REMOTE_VICTIM)
        time.sleep(0.3)
        # The guard first: it is the one that could still release the lease. The kernel ends the
        # job with it.
        killed_at = report.now_ns()
        os.kill(begin["parent"], signal.SIGKILL)
        self.jobs[REMOTE_VICTIM].kill()
        self.add_kill(begin, killed_at, "leasectl, its guard, the job", None)

    def is_held(self, begin):
        check = self.leasectl("check", f"{POOL}/{begin['slot']}", str(begin["token"]))
        if check.returncode not in (0, 1):
            raise DemoError(check.stderr)
        return check.returncode == 0

    def add_kill(self, begin, killed_at_ns, what, kept_by_job):
        kill = report.Kill(job=begin["job"], slot=begin["slot"], token=begin["token"],
                           at_ns=killed_at_ns, what=what, kept_by_job=kept_by_job)
        self.kills.append(kill)

        def watch():
            wait_until("a killed holder's slot", lambda: not self.is_held(begin))
            kill.back_ns = report.now_ns()

        self.watchers.append(threading.Thread(target=watch, daemon=True))
        self.watchers[-1].start()

    def wait_for_slots(self):
        for watcher in self.watchers:
            watcher.join()

    def wait_for_jobs(self):
        exit_codes = {}
        for number, job in self.jobs.items():
            try:
                exit_codes[number] = job.wait(timeout=WAIT_SECONDS_MAX)
            except subprocess.TimeoutExpired as error:
                raise DemoError(f"job {number} did not end") from error
        return exit_codes

    # -- the end

    def stop(self):
        for job in self.jobs.values():
            if job.poll() is None:
                job.terminate()
        for job in self.jobs.values():
            job.wait()
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.terminate()
            try:
                self.daemon.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.daemon.kill()
                self.daemon.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def run(demo, once):
    demo.start_daemon()
    print(f"daemon: {demo.unix}  {demo.tcp}  http://{demo.metrics}/metrics")
    print(f"{JOBS} jobs, half of them local, half remote (ttl {REMOTE_TTL}), "
          f"through the 3 slots of pool '{POOL}' ...", flush=True)
    demo.start_jobs()
    demo.kill_local_holder()
    demo.kill_remote_holder()
    exit_codes = demo.wait_for_jobs()
    demo.wait_for_slots()
    logs = {number: demo.events_of(number) for number in demo.jobs}
    proved = report.print_report(POOL, logs, exit_codes, demo.kills, demo.read_metrics())
    if once:
        return 0 if proved else 1
    print(f"\nServing until Ctrl-C. Try:\n  export LEASEPLANE_SERVER={demo.unix}\n"
          f"  {demo.programs}/leasectl pools\n"
          f"  {demo.programs}/leasectl run gpu -- env | grep LEASEPLANE_", flush=True)
    demo.daemon.wait()
    raise DemoError("the daemon ended")


def main():
    parser = argparse.ArgumentParser(prog="./dev run")
    parser.add_argument("--once", action="store_true", help="end after the example")
    for name in ("--programs", "--config", "--sources"):
        parser.add_argument(name, required=True, type=pathlib.Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    demo = Demo(options.programs.resolve(), options.config.resolve(), options.sources.resolve())
    try:
        return run(demo, options.once)
    except KeyboardInterrupt:
        print()
        return 0
    except DemoError as error:
        print(f"./dev run: {error}", file=sys.stderr)
        return 70
    finally:
        demo.stop()


sys.exit(main())
