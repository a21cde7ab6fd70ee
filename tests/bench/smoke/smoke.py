# SPDX-License-Identifier: Apache-2.0
"""The guard of the local path: fails when it became slower.

  smoke.py --bin build/dev/bin [--only ratios|counts] [--update]

Ratios are of the best of many short windows, so that noise does not matter much, and their bounds
are wide. Instructions are counted by callgrind; they do not depend on the machine's load, and may
differ from those in counts.json by 5 %. --update writes that file from this build."""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

COUNTS = pathlib.Path(__file__).parent / "counts.json"
TOLERANCE = 0.05
TRIES = 10_000
ATTEMPTS = 3  # each takes the best of its windows; a busy machine gets more of them

# Beginning of a ratio's name -> how large it may be.
BOUNDS = {"pair / two CAS": 2.5, "pair at 99 % / at 0 %": 2.0, "failing acquire / one CAS": 12.0}


def bound_of(name):
    return next(bound for start, bound in BOUNDS.items() if name.startswith(start))


def too_large(ratios):
    return [f"{name}: {value:.2f}, at most {bound_of(name)} is allowed"
            for name, value in ratios.items() if not value <= bound_of(name)]


def check_ratios(bin_dir):
    best = {}
    for _ in range(ATTEMPTS):
        done = subprocess.run([bin_dir / "bench_smoke", "ratios"], check=True,
                              stdout=subprocess.PIPE)
        for name, value in json.loads(done.stdout).items():
            best[name] = min(value, best.get(name, value))
        if not too_large(best):
            break
    for name, value in best.items():
        print(f"{value:8.2f}  {name}")
    return too_large(best)


def count_instructions(bin_dir, target, pool, folder):
    """Instructions for each try, the loop around it included."""
    out = folder / f"{pool}.out"
    command = ["valgrind", "--tool=callgrind", "--collect-atstart=no",
               "--toggle-collect=*CountedTries*", f"--callgrind-out-file={out}",
               bin_dir / "bench_smoke", "count", "--target", target, "--pool", pool, "--tries",
               TRIES]
    done = subprocess.run([str(word) for word in command], check=False, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=120)
    if done.returncode != 0:
        raise RuntimeError(f"callgrind failed: {done.stderr.decode()[-2000:]}")
    got = int(done.stdout.split()[0])
    if got != (0 if pool.endswith("-100") else TRIES):
        raise RuntimeError(f"{pool}: {got} of {TRIES} tries got a slot")
    return int(re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.M).group(1)) / TRIES


def count_all(bin_dir):
    service = subprocess.Popen([bin_dir / "bench_smoke", "serve"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    try:
        told = json.loads(service.stdout.readline())
        with tempfile.TemporaryDirectory() as folder:
            return {pool: round(count_instructions(bin_dir, told["target"], pool,
                                                   pathlib.Path(folder)), 2)
                    for pool in told["pools"]}
    finally:
        service.stdin.close()
        service.wait(60)


def off_counts(counts, kept):
    found = [f"{pool}: {counts.get(pool)} instructions, kept are {kept.get(pool)}"
             for pool in sorted({*counts, *kept})
             if pool not in counts or pool not in kept
             or abs(counts[pool] - kept[pool]) > TOLERANCE * kept[pool]]
    return found + (["renew them by ./dev bench smoke --update if that is meant"] if found else [])


def check_counts(bin_dir, is_update):
    counts = count_all(bin_dir)
    for pool, count in counts.items():
        print(f"{count:8.2f}  instructions, pool {pool} (capacity - percent taken)")
    if is_update:
        COUNTS.write_text(json.dumps(counts, indent=1) + "\n")
        return []
    return off_counts(counts, json.loads(COUNTS.read_text()))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True, type=pathlib.Path)
    parser.add_argument("--only", choices=("ratios", "counts"))
    parser.add_argument("--update", action="store_true", help="keep the counts of this build")
    arguments = parser.parse_args()
    found = []
    if arguments.only != "counts" and not arguments.update:
        found += check_ratios(arguments.bin)
    if arguments.only != "ratios":
        found += check_counts(arguments.bin, arguments.update)
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
