# SPDX-License-Identifier: Apache-2.0
"""Checks the models of this folder, and that each safety step they can do without is caught.

Usage: run_spin.py --build DIR [--models FOLDER] [--long] [--model NAME] [--only TEXT] [--jobs N]
       [--minutes M]

The lines of configs.txt say what is run:
  config MODEL NAME DEFINITION...      searched in full: no error may be found
  long MODEL NAME DEFINITION...        the same, with --long only
  large MODEL NAME DEFINITION...       with --long only, states kept as bits of a hash (it may take
                                       two for one), M minutes at most
  mutant MODEL STEP DEFINITION...      with the model's switch MUT_STEP an error has to be found
  same MODEL STEP DEFINITION... : WHY  no error: the step is redundant here, for this reason
Prints the states of each search, writes the sums to the ledger (tests/verify), and ends with 1
after an error, a mutant not caught, or a search that was cut off.
"""

import argparse
import concurrent.futures
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "verify"))
import ledger  # noqa: E402  pylint: disable=wrong-import-position

KINDS = ("config", "long", "large", "mutant", "same")
DEPTH_MAX = 4_000_000
MEMORY_MIB = 8000
BITS_LOG2 = 33  # of the hash of a large search: 1 GiB


@dataclasses.dataclass(frozen=True)
class Search:
    kind: str
    model: str
    name: str
    definitions: tuple
    reason: str = ""

    @property
    def expects_error(self):
        return self.kind == "mutant"

    @property
    def is_mutant(self):
        return self.kind in ("mutant", "same")

    def shown(self):
        return f"{self.kind:6} {self.model:10} {self.name}"


@dataclasses.dataclass(frozen=True)
class Outcome:
    search: Search
    good: bool
    states: int
    seconds: float
    text: str


class BadLine(ValueError):
    pass


def parse(text):
    searches = []
    for number, line in enumerate(text.splitlines(), 1):
        line, _, reason = line.partition(" : ")
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) < 3 or words[0] not in KINDS:
            raise BadLine(f"configs.txt:{number}: expected '{'|'.join(KINDS)} MODEL NAME ...'")
        if (words[0] == "same") != bool(reason.strip()):
            raise BadLine(f"configs.txt:{number}: 'same', and nothing else, has a reason")
        searches.append(Search(words[0], words[1], words[2], tuple(words[3:]), reason.strip()))
    return searches


def build(search, models, folder):
    """Makes the verifier `pan` in `folder`. Its complaint, or None."""
    for path in models.glob("*.pml"):
        shutil.copyfile(path, folder / path.name)
    definitions = [f"-D{word}" for word in search.definitions]
    if search.is_mutant:
        switch = f"MUT_{search.name}"
        parts = models.glob(f"{search.model}*.pml")
        if not any(switch in part.read_text() for part in parts):
            return f"the model does not know {switch}"
        definitions.append(f"-D{switch}")
    made = subprocess.run(["spin", "-a", *definitions, f"{search.model}.pml"], cwd=folder,
                          capture_output=True, text=True)
    if made.returncode != 0 or re.search(r"^(spin: .*)?error", made.stdout, re.I | re.M):
        return made.stdout.strip()
    # What is found or searched soon: to optimise it would take longer than the search.
    level = "-O2" if search.kind in ("long", "large") else "-O0"
    flags = [level, "-DSAFETY", "-DVECTORSZ=2048", "-w",
             f"-DMEMLIM={MEMORY_MIB}",
             "-DBITSTATE" if search.kind == "large" else "-DCOLLAPSE"]
    made = subprocess.run(["gcc", *flags, "-o", "pan", "pan.c"], cwd=folder, capture_output=True,
                          text=True)
    return made.stderr.strip() or None if made.returncode else None


def search_states(search, folder, minutes):
    """What pan says, and whether it was stopped by its time limit."""
    options = [f"-m{DEPTH_MAX if search.kind in ('long', 'large') else DEPTH_MAX // 4}"]
    if search.kind == "large":
        options += [f"-w{BITS_LOG2}", f"-Q{minutes}"]
    else:
        options.append("-w22")
    result = subprocess.run([str(folder / "pan"), *options], cwd=folder, capture_output=True,
                            text=True)
    return result.stdout + result.stderr


def judge(search, said, seconds):
    found = re.search(r"errors: (\d+)", said)
    states = re.search(r"(\d[\d.e+]*) states, stored", said)
    count = int(float(states.group(1))) if states else 0
    error = re.search(r"^pan:\d+: (.*)", said, re.M)
    if found is None or states is None:
        return Outcome(search, False, count, seconds, "no result: " + said.strip()[-200:])
    was_cut = ("max search depth too small" in said or "out of memory" in said or
               ("Search not completed" in said and error is None and search.kind != "large"))
    text = error.group(1) if error else "cut off" if was_cut else "no error"
    has_error = int(found.group(1)) > 0
    good = has_error == search.expects_error and not (was_cut and not has_error)
    return Outcome(search, good, count, seconds, text)


def run(search, options):
    folder = options.build / f"{search.kind}-{search.model}-{search.name}-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    began = time.monotonic()
    try:
        problem = build(search, options.models, folder)
        if problem is not None:
            return Outcome(search, False, 0, time.monotonic() - began, problem)
        said = search_states(search, folder, options.minutes)
        return judge(search, said, time.monotonic() - began)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def show(outcome):
    search = outcome.search
    reason = f": {search.reason}" if search.reason else ""
    print(f"{'ok ' if outcome.good else 'BAD'} {search.shown():48} {outcome.states:>12,} states "
          f"{outcome.seconds:6.1f} s  {outcome.text}{reason}", flush=True)


def record(outcomes, options):
    stage = f"model, {options.model}" if options.model else "model"
    stage += ", long form" if options.long else ""
    plain = [x for x in outcomes if not x.search.is_mutant]
    mutants = [x for x in outcomes if x.search.is_mutant]
    # The same states again are no new ones: the largest sum of one run counts.
    ledger.record(stage, "max configurations without an error", len(plain),
                  sum(x.seconds for x in outcomes))
    ledger.record(stage, "max states", sum(x.states for x in plain))
    ledger.record(stage, "max mutants caught", sum(x.search.expects_error for x in mutants))
    ledger.record(stage, "max mutants the same", sum(not x.search.expects_error for x in mutants))


def main():
    parser = argparse.ArgumentParser()
    here = pathlib.Path(__file__).resolve().parent
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--models", type=pathlib.Path, default=here)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--model", default="", help="this model alone")
    parser.add_argument("--only", default="", help="searches whose name has this text")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--minutes", type=int, default=20, help="for each large search")
    options = parser.parse_args()
    options.build = options.build.resolve()
    kinds = KINDS if options.long else ("config", "mutant", "same")
    searches = [x for x in parse((options.models / "configs.txt").read_text())
                if x.kind in kinds and options.model in ("", x.model) and options.only in x.name]
    outcomes = []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for outcome in pool.map(lambda search: run(search, options), searches):
            show(outcome)
            outcomes.append(outcome)
    bad = sum(not x.good for x in outcomes)
    print(f"{len(outcomes)} searches, {sum(x.states for x in outcomes):,} states, {bad} not as "
          "expected")
    if bad or not outcomes:
        return 1
    if not options.only:
        record(outcomes, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
