# SPDX-License-Identifier: Apache-2.0
"""The results that are kept: one JSON file a suite, condensed from what a run wrote.

A kept suite is {suite, is_quick, machine, entries}; an entry has name, params, metric, unit,
median, least, most and count (of repetitions). Errors: ValueError for what does not fit."""

import json
import pathlib
import statistics

SUITES = ("local", "wait", "remote", "limits")


def significant(value):
    """Five digits: more than any of the figures is worth, and short lines."""
    return float(f"{float(value):.5g}")


def condense_entry(entry):
    values = [float(value) for value in entry["values"]]
    if not values:
        raise ValueError(f"{entry['name']}, {entry['metric']}: no values")
    return {"name": entry["name"], "params": entry["params"], "metric": entry["metric"],
            "unit": entry["unit"], "median": significant(statistics.median(values)),
            "least": significant(min(values)), "most": significant(max(values)),
            "count": len(values)}


def condense(suite, run, machine):
    """`run`: the entries a benchmark wrote; `machine`: what machine.py wrote beside them."""
    machine = dict(machine)
    return {"suite": suite, "is_quick": machine.pop("is_quick"), "machine": machine,
            "entries": [condense_entry(entry) for entry in run]}


def text_of(kept):
    """JSON with one entry a line, so that changes can be read as such."""
    head = {key: kept[key] for key in ("suite", "is_quick", "machine")}
    lines = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in kept["entries"])
    return json.dumps(head, indent=1)[:-2] + ',\n "entries": [\n' + lines + "\n]}\n"


def publish(runs, folder):
    """Writes the kept file of each suite that `runs` has results of; their names."""
    runs, folder = pathlib.Path(runs), pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    done = []
    for suite in SUITES:
        run, machine = runs / f"{suite}.json", runs / f"{suite}.machine.json"
        if not run.exists() or not machine.exists():
            continue
        kept = condense(suite, json.loads(run.read_text()), json.loads(machine.read_text()))
        (folder / f"{suite}.json").write_text(text_of(kept))
        done.append(suite)
    return done


def read(folder):
    """suite -> kept suite, in the order of SUITES."""
    found = {}
    for suite in SUITES:
        path = pathlib.Path(folder) / f"{suite}.json"
        if path.exists():
            found[suite] = json.loads(path.read_text())
    return found
