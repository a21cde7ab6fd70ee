# SPDX-License-Identifier: Apache-2.0
"""Runs a suite and writes down on what machine, how quiet it was, and how long it took.

  machine.py --out build/bench/local.machine.json --cache build/bench/CMakeCache.txt [--quick] \\
    -- COMMAND...

Ends with the exit code of the command."""

import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import resource
import subprocess
import sys
import time


def cpu_model():
    text = pathlib.Path("/proc/cpuinfo").read_text()
    found = re.search(r"^model name\s*: (.*)$", text, re.M)
    return found.group(1).strip() if found else platform.machine()


def hypervisor():
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
        return "virtual" if re.search(r"^flags.*\bhypervisor\b", text, re.M) else "bare metal"
    except OSError:
        return "unknown"


def compiler(cache):
    """Name and version, and the kind of build."""
    text = pathlib.Path(cache).read_text()

    def entry(name):
        found = re.search(rf"^{name}:\w+=(.*)$", text, re.M)
        return found.group(1) if found else ""

    version = subprocess.run([entry("CMAKE_CXX_COMPILER") or "c++", "--version"], check=True,
                             stdout=subprocess.PIPE).stdout.decode().splitlines()[0]
    kind = entry("CMAKE_BUILD_TYPE")
    return f"{version}, {kind} {entry(f'CMAKE_CXX_FLAGS_{kind.upper()}')}".strip()


class CpuTimes:
    """Seconds of all cores since the start of the machine, and of this process's children."""

    def __init__(self):
        ticks = os.sysconf("SC_CLK_TCK")
        fields = pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:]
        user, nice, system, _, _, irq, softirq, steal = (int(f) / ticks for f in fields[:8])
        self.busy_s = user + nice + system + irq + softirq
        self.steal_s = steal
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.own_s = children.ru_utime + children.ru_stime
        self.at_s = time.monotonic()


def noise(begin, end, cores):
    """Shares of all cores, in percent: what others used, and what the hypervisor took."""
    available_s = max(end.at_s - begin.at_s, 1e-9) * cores
    others_s = (end.busy_s - begin.busy_s) - (end.own_s - begin.own_s)
    return {"others_percent": round(100 * max(others_s, 0) / available_s, 1),
            "steal_percent": round(100 * (end.steal_s - begin.steal_s) / available_s, 1)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    parser.add_argument("--cache", required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    begin = CpuTimes()
    status = subprocess.run(arguments.command, check=False).returncode
    end = CpuTimes()
    if status == 0:
        machine = {"is_quick": arguments.quick, "date": date, "cpu": cpu_model(), "cores": cores,
                   "kind": hypervisor(), "kernel": f"{platform.system()} {platform.release()}",
                   "compiler": compiler(arguments.cache),
                   "seconds": round(end.at_s - begin.at_s), **noise(begin, end, cores)}
        path = pathlib.Path(arguments.out)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(machine, indent=1) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
