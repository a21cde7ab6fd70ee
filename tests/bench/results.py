# SPDX-License-Identifier: Apache-2.0
"""Results of benchmarks as JSON: a list of {suite, name, params, metric, unit, values, median,
spread}. `values` has one entry for each repetition; `spread` is (max - min) / median."""

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
        spread = (max(values) - min(values)) / median if median else 0.0
        self.entries.append({
            "suite": self.suite, "name": name, "params": params, "metric": metric, "unit": unit,
            "values": values, "median": median, "spread": spread})
        return median

    def write(self, path):
        path = pathlib.Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.entries, indent=1) + "\n")
