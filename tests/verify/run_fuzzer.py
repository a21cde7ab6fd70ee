# SPDX-License-Identifier: Apache-2.0
"""Runs one libFuzzer target for so many seconds: run_fuzzer.py PROGRAM CORPUS WORK SECONDS

New inputs go to the folder WORK/TARGET; the kept corpus is not touched. The number of executions
goes to the ledger.
"""

import pathlib
import re
import subprocess
import sys
import time

import ledger


def main(program, corpus, work, seconds):
    name = pathlib.Path(program).name
    folder = pathlib.Path(work) / name
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    result = subprocess.run(
        [program, str(folder), corpus, f"-max_total_time={seconds}", "-print_final_stats=1",
         f"-artifact_prefix={folder}-", "-timeout=60", "-rss_limit_mb=4096"],
        stderr=subprocess.PIPE, text=True, errors="replace")
    if result.returncode != 0:
        sys.stderr.write(result.stderr[-6000:])
        return 1
    found = re.search(r"stat::number_of_executed_units:\s*(\d+)", result.stderr)
    if not found:
        sys.stderr.write(result.stderr[-2000:])
        return 1
    ledger.record(f"{name.replace('_', ' ', 1).replace('fuzz ', 'fuzzing: ')}", "executions",
                  int(found.group(1)), time.monotonic() - began)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
