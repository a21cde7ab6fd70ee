# SPDX-License-Identifier: Apache-2.0
"""What Grafana would ask Prometheus for a dashboard, with its variables filled in."""

import re
import time

LABEL_VALUES = re.compile(r"label_values\((?:(.*),\s*)?(\w+)\)$")


class Dashboard:
    """`chosen` are values of variables; one that is missing becomes All, or the first there is.
    The time shown ends at `end` (default: now) and is `range_s` long."""

    def __init__(self, prometheus, made, chosen=None, range_s=60, end=None):
        self.prometheus, self.made, self.range_s = prometheus, made, range_s
        self.end = end or time.time()
        self.values = {"__rate_interval": "10s", "__interval": "1s", "__range": f"{range_s}s"}
        self.options = {}
        for variable in made["templating"]["list"]:
            name = variable["name"]
            if variable["type"] == "query":
                self.options[name] = self._options(variable["query"]["query"])
                default = ".*" if variable["includeAll"] else (self.options[name] or [""])[0]
                self.values[name] = (chosen or {}).get(name, default)
            else:
                self.values[name] = variable["query"]

    def _options(self, query):
        selector, label = LABEL_VALUES.match(self.fill(query)).groups()
        return self.prometheus.ask(f"label/{label}/values", **{"match[]": selector})

    def fill(self, text):
        def value(found):
            name = found.group(1) or found.group(2)
            if name not in self.values:
                raise AssertionError(f"${name} is not a variable of {self.made['uid']}: {text}")
            return self.values[name]
        return re.sub(r"\$(?:\{(\w+)[^}]*\}|(\w+))", value, text)

    def panels(self):
        """(panel, [answer of each target])."""
        for panel in self.made["panels"]:
            yield panel, [self._answer(target) for target in panel["targets"]]

    def _answer(self, target):
        expr = self.fill(target["expr"])
        if target.get("instant"):
            data = self.prometheus.ask("query", query=expr, time=self.end)
        else:
            data = self.prometheus.ask("query_range", query=expr, start=self.end - self.range_s,
                                       end=self.end, step=1)
        return {"expr": expr, "legend": self.fill(target["legendFormat"])
                if "{{" not in target["legendFormat"] else target["legendFormat"],
                "result": data["result"]}


def has_data(answer):
    """A number somewhere: neither nothing nor NaN alone."""
    samples = (sample for series in answer["result"]
               for sample in series.get("values", [series.get("value")]))
    return any(value not in ("NaN", "+Inf", "-Inf") for _, value in samples)
