# SPDX-License-Identifier: Apache-2.0
"""Applies each mutant of mutants.txt to a copy of core/ and the explorer, and sees it caught.

A mutant is one safety step removed. `expect caught`: one of its runs has to fail. `expect same`:
none may; the reason says what makes the step redundant for safety (or where else it is tested).
`long`: with --long only.
A run of all mutants that went as expected goes to the ledger of tests/verify.
Usage: run_mutants.py --source ROOT --build DIR --compiler CXX [--jobs N] [--only NAME,..]
       [--long] [--scale N]  (multiplies the length of each run)
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "verify"))
import ledger  # noqa: E402

FOLDER = "tests/model/explorer"
FLAGS = ["-std=c++20", "-O1"]
RUN = re.compile(r"--config=[a-z_,]+( --random)?( --seed=\d+)? --executions=\d+")
UNITS = ["fiber", "scheduler", "sim_memory", "oracle", "world", "faults", "client_actor",
         "daemon_actor", "configs", "explorer_main"]


class Mutant:
    def __init__(self, name):
        self.name, self.edits, self.runs, self.expect, self.reason = name, [], [], "caught", ""
        self.is_long = False


def parse(path):
    mutants, file, block, old = [], None, None, None
    for line in path.read_text().splitlines():
        if block is not None:
            if line == "===":
                old, block = block, []
            elif line == ">>>":
                mutants[-1].edits.append((file, "\n".join(old), "\n".join(block)))
                block = None
            else:
                block.append(line)
            continue
        word, _, rest = line.partition(" ")
        if word == "mutant":
            mutants.append(Mutant(rest))
        elif line == "long":
            mutants[-1].is_long = True
        elif word == "file":
            file = rest
        elif word == "run":
            if not RUN.fullmatch(rest):
                sys.exit(f"{path}: a run is of configurations as they stand in the list, which the "
                         f"code without a mutant passes: {line}")
            mutants[-1].runs.append(rest.split())
        elif word == "expect":
            mutants[-1].expect, _, mutants[-1].reason = rest.partition(": ")
        elif word == "<<<":
            block = []
        elif line and not line.startswith("#"):
            sys.exit(f"{path}: cannot read: {line}")
    return mutants


def pattern(text):
    """Matches `text` with any white space between its words, so that formatting may change."""
    return re.compile(r"\s+".join(re.escape(word) for word in text.split()))


def sources(root, *folders):
    for folder in folders:
        for path in (root / folder).rglob("*"):
            if path.suffix in (".h", ".inl", ".cc"):
                yield path


def apply(mutant, source, overlay):
    shutil.rmtree(overlay, ignore_errors=True)
    for path in sources(source, "core", "tests/support", FOLDER):
        target = overlay / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    for file, old, new in mutant.edits:
        path = overlay / file
        text, count = pattern(old).subn(lambda _: new, path.read_text())
        if count != 1:
            return f"does not apply any more: {count} matches in {file}"
        path.write_text(text)
    return None


def compile_system_headers(options):
    """Once for all mutants: it is a third of the time of a mutant's compilation."""
    names = set()
    for path in sources(options.source, "core", FOLDER):
        names.update(re.findall(r"^#include <.*>$", path.read_text(), re.M))
    options.build.mkdir(parents=True, exist_ok=True)
    header = options.build / "system.h"
    header.write_text("".join(f"{name}\n" for name in sorted(names)))
    subprocess.run([options.compiler, *FLAGS, "-x", "c++-header", str(header)], check=True)


def build(overlay, options):
    unity = overlay / "all.cc"
    unity.write_text("".join(f'#include "{FOLDER}/{unit}.cc"\n' for unit in UNITS))
    program = overlay / "explorer"
    result = subprocess.run(
        [options.compiler, *FLAGS, "-include", str(options.build / "system.h"), f"-I{overlay}",
         str(unity), "-o", str(program)], capture_output=True, text=True)
    return program, result.stderr if result.returncode else None


def judge(mutant, options):
    overlay = options.build / mutant.name
    started = time.monotonic()
    problem = apply(mutant, options.source, overlay)
    if problem is None:
        program, problem = build(overlay, options)
    if problem is not None:
        return mutant, False, problem
    found = ""
    # What a mutant passes without a failure is no figure of the algorithm's.
    environment = {k: v for k, v in os.environ.items() if k != "LEASEPLANE_LEDGER"}
    for run in mutant.runs:
        scaled = [re.sub(r"(?<=--executions=)\d+",
                         lambda m: str(int(m.group(0)) * options.scale), x) for x in run]
        result = subprocess.run([program, *scaled], capture_output=True, text=True,
                                env=environment)
        if result.returncode == 1:
            found = next(x for x in result.stdout.splitlines() if "FAIL" in x)
            break
        if result.returncode != 0:
            return mutant, False, f"the explorer ended with {result.returncode}"
    shutil.rmtree(overlay, ignore_errors=True)
    good = bool(found) == (mutant.expect == "caught")
    text = found or "not caught" + (f": {mutant.reason}" if mutant.reason else "")
    return mutant, good, f"{text} [{time.monotonic() - started:.1f} s]"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", type=pathlib.Path, required=True)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--compiler", default="c++")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--scale", type=int, default=1)
    options = parser.parse_args()
    mutants = parse(options.source / FOLDER / "mutants.txt")
    if options.only:
        mutants = [m for m in mutants if m.name in options.only.split(",")]
    elif not options.long:
        mutants = [m for m in mutants if not m.is_long]
    bad, began = 0, time.monotonic()
    compile_system_headers(options)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for mutant, good, text in pool.map(lambda m: judge(m, options), mutants):
            bad += not good
            print(f"{'ok ' if good else 'BAD'} {mutant.name:34} {text}", flush=True)
    caught = sum(m.expect == "caught" for m in mutants)
    print(f"{len(mutants)} mutants, {caught} to be caught, {len(mutants) - caught} the same, "
          f"{bad} not as expected")
    if bad or not mutants:
        return 1
    if not options.only:
        record(caught, len(mutants) - caught, time.monotonic() - began)
    return 0


def record(caught, same, seconds):
    # The same mutants again are no new ones: the largest run counts.
    stage = "mutants of the code"
    ledger.record(stage, "max mutants caught", caught, seconds)
    ledger.record(stage, "max mutants the same", same)


if __name__ == "__main__":
    sys.exit(main())
