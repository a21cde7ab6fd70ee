# SPDX-License-Identifier: Apache-2.0
"""The plots: what they show, as plain values, and the drawing of them.

What is shown is made without any library, so a check that a picture is up to date needs none: a
picture carries the digest of what it shows. Drawing needs matplotlib."""

import hashlib
import json
import re

DIGEST = re.compile(r"<!-- shows ([0-9a-f]{64}) -->")
COLOURS = ("#1b6ca8", "#d1495b", "#edae49", "#66a182", "#7d5ba6", "#8d99ae", "#2e4057")


def find(kept, suite, **where):
    for entry in kept.get(suite, {}).get("entries", ()):
        if all((entry[key] if key in ("name", "metric") else entry["params"].get(key)) == value
               for key, value in where.items()):
            yield entry


def bars(title, label, entries, name_of, line=None):
    """Horizontal bars with spread; None if there is nothing to show."""
    rows = [[name_of(entry), entry["median"], entry["least"], entry["most"]] for entry in entries]
    return {"kind": "bars", "title": title, "label": label, "line": line,
            "rows": rows} if rows else None


def curves(title, x_label, y_label, entries, x, series, line=None):
    found = {}
    for entry in entries:
        found.setdefault(series(entry), []).append(
            [entry["params"][x], entry["median"], entry["least"], entry["most"]])
    return {"kind": "curves", "title": title, "x": x_label, "y": y_label, "line": line,
            "series": {name: sorted(points) for name, points in found.items()}} if found else None


def local_plots(kept):
    one = [entry for entry in find(kept, "local", metric="pair / two CAS")
           if entry["params"]["occupancy"] in (0, 99)]
    yield "pair", curves("Acquire and release, one thread", "capacity", "time / two CAS", one,
                         "capacity", lambda e: f"{e['name']}, {e['params']['occupancy']} % taken",
                         1.25)
    yield "failing", curves("Acquire when nothing is free", "capacity", "time / one CAS",
                            find(kept, "local", metric="failing acquire / one CAS"), "capacity",
                            lambda e: e["name"], 4)
    yield "peers", bars("Two processes or, where a peer cannot, two threads",
                        "time of a pair / leaseplane's",
                        [*find(kept, "local", metric="pair of one worker / leaseplane",
                               crew="2 processes"),
                         *(entry for entry in find(kept, "local", crew="2 threads",
                                                   metric="pair of one worker / leaseplane")
                           if "2 processes" not in {
                               other["params"]["crew"] for other in find(
                                   kept, "local", name=entry["name"],
                                   metric="pair of one worker / leaseplane")})],
                        lambda e: e["name"] + ("" if e["params"].get("names_slot", True) else " *"),
                        10)
    yield "node", bars("Beside pools in Node", "time of a pair / leaseplane's",
                       find(kept, "local", metric="pair beside Node / leaseplane"),
                       lambda e: f"{e['name']}, {e['params']['crew']}")


def wait_plots(kept):
    for metric, name, label in (("throughput", "wait-throughput", "pairs a second"),
                                ("longest wait", "wait-longest", "longest wait, ms")):
        yield name, curves(f"Waiting for one slot, held 2 us: {metric}", "waiters", label,
                           find(kept, "wait", metric=metric, hold_us=2, slots=1), "waiters",
                           lambda e: e["name"])


def remote_plots(kept):
    def label(entry):
        params = entry["params"]
        words = [entry["name"], params["transport"], params.get("durability", "")]
        return " ".join(word for word in words if word)

    entries = [entry for entry in find(kept, "remote", metric="cpu_us_per_pair")
               if entry["params"]["in_flight"] == (8 if "batch" in entry["params"] else 64)
               and "echo async" not in entry["name"]]
    yield "remote-cpu", bars("Server CPU of an acquire and its release", "us", entries, label)


def shown(kept):
    """name -> what the picture shows."""
    return {name: plot for plots in (local_plots, wait_plots, remote_plots)
            for name, plot in plots(kept) if plot}


def digest(plot):
    return hashlib.sha256(json.dumps(plot, sort_keys=True).encode()).hexdigest()


def is_current(svg, plot):
    found = DIGEST.search(svg)
    return bool(found) and found.group(1) == digest(plot)


def draw(plot):
    """SVG, the same for the same plot."""
    import io

    import matplotlib
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "leaseplane", "svg.fonttype": "none",
                                "font.size": 9, "axes.spines.top": False,
                                "axes.spines.right": False})
    from matplotlib import pyplot
    rows = plot.get("rows", ())
    figure, axes = pyplot.subplots(figsize=(7, max(3.2, 0.26 * len(rows) + 0.9)))
    (draw_bars if plot["kind"] == "bars" else draw_curves)(axes, plot)
    axes.set_title(plot["title"], loc="left")
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    figure.tight_layout()
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    text = "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
    return text.replace("</svg>", f"<!-- shows {digest(plot)} -->\n</svg>")


def draw_bars(axes, plot):
    names, medians, leasts, mosts = zip(*plot["rows"])
    errors = [[m - low for m, low in zip(medians, leasts)],
              [high - m for m, high in zip(medians, mosts)]]
    axes.barh(range(len(names)), medians, xerr=errors, color=COLOURS[0], ecolor="#555555",
              error_kw={"linewidth": 0.8})
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel(plot["label"])
    if plot["line"]:
        axes.axvline(plot["line"], color=COLOURS[1], linestyle="--", linewidth=1)


def draw_curves(axes, plot):
    for colour, (name, points) in zip(COLOURS * 2, plot["series"].items()):
        xs, medians, leasts, mosts = zip(*points)
        axes.plot(xs, medians, marker="o", markersize=3, color=colour, label=name)
        axes.fill_between(xs, leasts, mosts, color=colour, alpha=0.15, linewidth=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(plot["x"])
    axes.set_ylabel(plot["y"])
    if plot["line"]:
        axes.axhline(plot["line"], color=COLOURS[1], linestyle="--", linewidth=1)
    axes.legend(fontsize=8, frameon=False)
