# SPDX-License-Identifier: Apache-2.0
"""The ledger: one JSON object a line, {"stage", "metric", "value", "seconds", "date"}.

Lines are only ever appended, so a long verification may be interrupted and continued, and the sums
are those of everything that ran. A metric whose name begins with "max " is not summed: its largest
value counts. The stage RUN counts runs of the stages that its metrics name; it is not in the sums.
"""

import datetime
import json
import os
import pathlib

RUN = "run"
FIELDS = {"stage": str, "metric": str, "value": int, "seconds": (int, float), "date": str}


class BadLine(ValueError):
    pass


def parse(line, where):
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise BadLine(f"{where}: not JSON: {error}") from error
    if not isinstance(entry, dict) or set(entry) != set(FIELDS):
        raise BadLine(f"{where}: expected exactly the fields {', '.join(FIELDS)}")
    for field, kind in FIELDS.items():
        if not isinstance(entry[field], kind) or isinstance(entry[field], bool):
            raise BadLine(f"{where}: field '{field}' has the wrong type")
    return entry


def read(path):
    """All entries; none if there is no file."""
    path = pathlib.Path(path)
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    return [parse(line, f"{path}:{i}") for i, line in enumerate(lines, 1) if line.strip()]


def append(path, stage, metric, value, seconds=0.0):
    entry = {"stage": stage, "metric": metric, "value": int(value), "seconds": round(seconds, 1),
             "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")}
    with open(path, "a") as file:
        file.write(json.dumps(entry, separators=(",", ":")) + "\n")
    return entry


def record(stage, metric, value, seconds=0.0):
    """For tests: prints, and appends to the file named by LEASEPLANE_LEDGER if it is set."""
    path = os.environ.get("LEASEPLANE_LEDGER")
    print(f"{stage}: {metric}: {int(value)}", flush=True)
    if path:
        append(path, stage, metric, value, seconds)


def sums(entries):
    """{stage: {"metrics": {metric: value}, "seconds": s, "last": date}} in order of appearance."""
    stages = {}
    for entry in entries:
        if entry["stage"] == RUN:
            continue
        stage = stages.setdefault(entry["stage"], {"metrics": {}, "seconds": 0.0, "last": ""})
        before = stage["metrics"].get(entry["metric"], 0)
        largest = entry["metric"].startswith("max ")
        stage["metrics"][entry["metric"]] = (
            max(before, entry["value"]) if largest else before + entry["value"])
        stage["seconds"] += entry["seconds"]
        stage["last"] = max(stage["last"], entry["date"])
    return stages
