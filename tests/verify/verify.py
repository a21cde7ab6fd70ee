# SPDX-License-Identifier: Apache-2.0
"""Runs the long forms of the verification, one stage after the other, until the time is over.

verify.py --root ROOT --hours H [--only TEXT] [--list]

It begins with the stage that has had the least time according to the ledger, so a verification
that was interrupted goes on where it was. A stage that fails ends it, with that stage's output.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import time

import ledger
import stages


def parse_arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=pathlib.Path, required=True)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--only", default="", help="stages whose name has this text")
    parser.add_argument("--list", action="store_true")
    return parser.parse_args()


class Runner:
    def __init__(self, root, ledger_path):
        self.root, self.ledger_path = root, ledger_path
        self.places = {"BIN": root / "build/dev/bin", "BUILD": root / "build", "ROOT": root}

    def missing(self, stage):
        return [need for need in stage.needs
                if not pathlib.Path(stages.replace(need, self.places)).exists()]

    def runs_so_far(self, stage):
        return sum(1 for entry in ledger.read(self.ledger_path)
                   if entry["stage"] == "run" and entry["metric"] == stage.name)

    def run(self, stage, seconds_max):
        """Its exit code; what it wrote to the ledger counts only if that is 0."""
        run = self.runs_so_far(stage)
        places = dict(self.places, RUN=run, SECONDS=int(seconds_max))
        part = self.ledger_path.with_suffix(".part")
        part.unlink(missing_ok=True)
        part.touch()
        bin_dir = self.places["BIN"]
        python_path = (self.root / "tests/verify", self.root / "tests/integration/python",
                       self.root / "tests/crash",
                       self.root / "build/dev/tests/integration/python/stubs")
        environment = dict(os.environ, LEASEPLANE_LEDGER=str(part),
                           LEASEPLANE_BIN_DIR=str(bin_dir), PYTHONDONTWRITEBYTECODE="1",
                           PYTHONPATH=":".join(map(str, python_path)),
                           **stage.environment(**places))
        began = time.monotonic()
        print(f"== {stage.name}: {' '.join(stage.words(**places))}", flush=True)
        try:
            code = subprocess.run(stage.words(**places), env=environment,
                                  timeout=stages.STAGE_SECONDS_MAX).returncode
        except subprocess.TimeoutExpired:
            print(f"{stage.name}: took more than {stages.STAGE_SECONDS_MAX} s", file=sys.stderr)
            code = 124
        if code == 0:
            with open(self.ledger_path, "a") as file:
                file.write(part.read_text())
            ledger.append(self.ledger_path, "run", stage.name, 1, 0)
            print(f"== {stage.name}: {time.monotonic() - began:.0f} s", flush=True)
        part.unlink()
        return code


def main():
    arguments = parse_arguments()
    chosen = [stage for stage in stages.STAGES if arguments.only in stage.name]
    if arguments.list or not chosen:
        for stage in stages.STAGES:
            print(f"{stage.name}: {stage.shown()}")
        return 0 if arguments.list else 64
    ledger_path = arguments.root / "build/verify/ledger.jsonl"
    ledger_path.parent.mkdir(parents=True, exist_ok=True)
    runner = Runner(arguments.root, ledger_path)
    possible = []
    for stage in chosen:
        missing = runner.missing(stage)
        if missing:
            print(f"== {stage.name}: left out, {', '.join(missing)} is not built")
        else:
            possible.append(stage)
    end = time.monotonic() + arguments.hours * 3600
    while possible and time.monotonic() < end:
        stage = min(possible, key=runner.runs_so_far)
        seconds = min(stages.STAGE_SECONDS_MAX / 2, max(60, end - time.monotonic()))
        code = runner.run(stage, seconds)
        if code != 0:
            print(f"verify: '{stage.name}' failed with {code}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
