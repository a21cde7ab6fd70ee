# SPDX-License-Identifier: Apache-2.0
"""One job of the demo: finds the smallest way to pack its files, and their hash.

usage: job.py NUMBER LOG ROUNDS FILE...

Runs below `leasectl run`, so it has a slot while it runs. It writes into LOG, one JSON object a
line, when it began and when it ended, by CLOCK_BOOTTIME: what the report builds its proof on.
"""

import bz2
import hashlib
import json
import lzma
import os
import sys
import time
import zlib

PACKERS = {
    "zlib": lambda data, level: zlib.compress(data, level),
    "bz2": lambda data, level: bz2.compress(data, level),
    "xz": lambda data, level: lzma.compress(data, preset=level),
}


def now_ns():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def note(log, **fields):
    # One write, so that a kill leaves a whole line or none.
    os.write(log, (json.dumps({"t": now_ns(), **fields}) + "\n").encode())


def work(files):
    data = b"".join(open(path, "rb").read() for path in files)
    sizes = {(name, level): len(pack(data, level))
             for name, pack in PACKERS.items() for level in (1, 6, 9)}
    best = min(sizes, key=sizes.get)
    return {"bytes": len(data), "packed": sizes[best], "by": f"{best[0]}-{best[1]}",
            "sha256": hashlib.sha256(data).hexdigest()}


def main():
    number, log_path, rounds, *files = sys.argv[1:]
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    note(log, event="begin", job=int(number), pid=os.getpid(), parent=os.getppid(),
         slot=int(os.environ["LEASEPLANE_SLOT"]), token=int(os.environ["LEASEPLANE_TOKEN"]),
         resource=os.environ["LEASEPLANE_RESOURCE"])
    result = {}
    for _ in range(int(rounds)):
        result = work(files)
    note(log, event="end", **result)


main()
