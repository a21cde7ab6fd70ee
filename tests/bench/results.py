# SPDX-License-Identifier: Apache-2.0
"""Results of benchmarks as JSON: a list of {suite, name, params, metric, unit, values, median,
spread}. `values` has one entry for each repetition; `spread` is
[min, max]."""

import json
import pathlib
import statistics


class Results:
    def __init__(self, suite):
        self.suite = suite
        self.entries = []

    def add(self, name, params, metric, unit, values):
        values = [float(value) for value in values]
        median = statistics.median(values)
        self.entries.append({
            "suite": self.suite, "name": name, "params": params, "metric": metric, "unit": unit,
            "values": values, "median": median, "spread": [min(values), max(values)]})
        return median

    def write(self, path):
        path = pathlib.Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.entries, indent=1) + "\n")
