# SPDX-License-Identifier: Apache-2.0
"""Runs the long forms of the verification until the time is over; what runs then still ends.

verify.py --root ROOT --hours H [--jobs N] [--only TEXT] [--list]

Next is always the stage that has had the smallest part of its runs according to the ledger and the
published results, so a verification that was interrupted goes on where it was. A stage that fails
ends it, with that stage's output. With --jobs 2 two stages run at a time, but for those that want
the machine to themselves.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import threading
import time

import ledger
import publish
import stages


def parse_arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=pathlib.Path, required=True)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", default="", help="stages whose name has this text")
    parser.add_argument("--list", action="store_true")
    return parser.parse_args()


class Runner:
    """Runs one stage. Threads: any, each with another stage."""

    def __init__(self, root, ledger_path, published_path):
        self.root, self.ledger_path, self.published_path = root, ledger_path, published_path
        self.places = {"BIN": root / "build/dev/bin", "BUILD": root / "build", "ROOT": root}
        self.lock = threading.Lock()

    def missing(self, stage):
        return [need for need in stage.needs
                if not pathlib.Path(stages.replace(need, self.places)).exists()]

    def runs_so_far(self, stage):
        with self.lock:
            published = ledger.read(self.published_path)
            entries = published + publish.new_entries(ledger.read(self.ledger_path), published)
        return sum(1 for entry in entries
                   if entry["stage"] == ledger.RUN and entry["metric"] == stage.name)

    def progress(self, stage):
        return self.runs_so_far(stage) / stage.runs

    def environment(self, stage, places, part):
        python_path = (self.root / "tests/verify", self.root / "tests/integration/python",
                       self.root / "tests/support",
                       self.root / "build/dev/tests/integration/python/stubs")
        return dict(os.environ, LEASEPLANE_LEDGER=str(part),
                    LEASEPLANE_BIN_DIR=str(self.places["BIN"]), PYTHONDONTWRITEBYTECODE="1",
                    PYTHONPATH=":".join(map(str, python_path)), **stage.environment(**places))

    def run(self, stage):
        """Its exit code; what it wrote to the ledger counts only if that is 0."""
        places = dict(self.places, RUN=self.runs_so_far(stage))
        words = stage.words(**places)
        part = self.ledger_path.with_name(f"part-{os.getpid()}-{threading.get_ident()}.jsonl")
        part.write_text("")
        began = time.monotonic()
        print(f"== {stage.name}: {' '.join(words)}", flush=True)
        try:
            code = subprocess.run(words, env=self.environment(stage, places, part),
                                  timeout=stages.STAGE_SECONDS_MAX).returncode
        except subprocess.TimeoutExpired:
            print(f"{stage.name}: took more than {stages.STAGE_SECONDS_MAX} s", file=sys.stderr)
            code = 124
        if code == 0:
            with self.lock:
                with open(self.ledger_path, "a") as file:
                    file.write(part.read_text())
                ledger.append(self.ledger_path, ledger.RUN, stage.name, 1, 0)
            print(f"== {stage.name}: {time.monotonic() - began:.0f} s", flush=True)
        part.unlink()
        return code


class Schedule:
    """Which stage is next, for `jobs` threads, until `end` or the first failure."""

    def __init__(self, runner, possible, end):
        self.runner, self.possible, self.end = runner, possible, end
        self.running, self.failed = [], []
        self.changed = threading.Condition()

    def next_stage(self):
        """The least complete one; None while it, or what runs, wants to be alone."""
        idle = [stage for stage in self.possible if stage not in self.running]
        if not idle:
            return None
        stage = min(idle, key=self.runner.progress)
        wants_alone = stage.alone or any(other.alone for other in self.running)
        return None if self.running and wants_alone else stage

    def take(self):
        with self.changed:
            while not self.failed and time.monotonic() < self.end:
                stage = self.next_stage()
                if stage:
                    self.running.append(stage)
                    return stage
                self.changed.wait()
        return None

    def give_back(self, stage, code):
        with self.changed:
            self.running.remove(stage)
            if code != 0:
                print(f"verify: '{stage.name}' failed with {code}", file=sys.stderr)
                self.failed.append(stage)
            self.changed.notify_all()

    def work(self):
        while stage := self.take():
            code = 1
            try:
                code = self.runner.run(stage)
            finally:
                self.give_back(stage, code)

    def run(self, jobs):
        threads = [threading.Thread(target=self.work) for _ in range(jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return 1 if self.failed else 0


def main():
    arguments = parse_arguments()
    chosen = [stage for stage in stages.STAGES if arguments.only in stage.name]
    if arguments.list or not chosen:
        for stage in stages.STAGES:
            print(f"{stage.name}: {stage.shown()}")
        return 0 if arguments.list else 64
    ledger_path = arguments.root / "build/verify/ledger.jsonl"
    ledger_path.parent.mkdir(parents=True, exist_ok=True)
    runner = Runner(arguments.root, ledger_path,
                    arguments.root / "docs/verification/results.jsonl")
    possible = []
    for stage in chosen:
        missing = runner.missing(stage)
        if missing:
            print(f"== {stage.name}: left out, {', '.join(missing)} is not built")
        else:
            possible.append(stage)
    end = time.monotonic() + arguments.hours * 3600
    return Schedule(runner, possible, end).run(arguments.jobs) if possible else 0


if __name__ == "__main__":
    sys.exit(main())
