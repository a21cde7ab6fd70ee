# SPDX-License-Identifier: Apache-2.0
"""Adds the entries of a local ledger that the published results do not have yet.

publish.py LOCAL RESULTS: entries are the same if all their fields are.
"""

import json
import pathlib
import sys

import ledger


def new_entries(local, published):
    known = {json.dumps(entry, sort_keys=True) for entry in published}
    return [entry for entry in local if json.dumps(entry, sort_keys=True) not in known]


def main(local, results):
    results = pathlib.Path(results)
    entries = new_entries(ledger.read(local), ledger.read(results))
    results.parent.mkdir(parents=True, exist_ok=True)
    with open(results, "a") as file:
        for entry in entries:
            file.write(json.dumps(entry, separators=(",", ":")) + "\n")
    print(f"{len(entries)} entries added to {results}")


if __name__ == "__main__":
    main(*sys.argv[1:])
