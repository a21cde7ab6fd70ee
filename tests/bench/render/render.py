# SPDX-License-Identifier: Apache-2.0
"""Writes the page of benchmarks and its plots from the results that are kept.

  render.py --root ROOT [--publish build/bench] [--check]

--publish first takes over the results of a run. --check changes nothing and fails if page or plots
are not what the results say, or if a target that is not met has no reason in notes.md; it needs
only Python."""

import argparse
import pathlib
import re
import sys
import textwrap

import kept as kept_results
import plots
import sections
import targets

HEAD = """# Benchmarks

What Leaseplane costs, each figure beside what it has to be compared with, measured in turn in one
run: windows of all subjects of an experiment follow each other, again and again, so that a slow
moment strikes all of them. A figure is the median of its windows, with the least and the most in
brackets. Ratios carry over to other machines, times do not.
"""

COMMANDS = """## How to repeat it

```sh
./dev bench all               # build/bench/SUITE.json; `all --quick` for a short look
./dev bench local             # or wait, remote, limits: one suite
./dev bench publish           # takes over what was run, writes this page and its plots
./dev bench smoke             # the guard in CI: a few ratios, and counts of instructions
```

The packages of group `bench`, and `npm` for the rows of Node, are installed when they are missing.
The results of which this page is made are in [benchmarks](benchmarks).
"""


def shown(value):
    return "" if value is None else sections.number(value)


def machine_table(kept):
    lines = ["| suite | run | CPU | cores | kernel | compiler | time | other work | stolen |",
             "|---|---|---|---|---|---|---|---|---|"]
    for suite, results in kept.items():
        m = results["machine"]
        form = f"{m['date']}, {'quick' if results['is_quick'] else 'full'}"
        lines.append(f"| {suite} | {form} | {m['cpu']}, {m['kind']} | {m['cores']} | {m['kernel']} "
                     f"| {m['compiler']} | {m['seconds']} s | {m['others_percent']} % "
                     f"| {m['steal_percent']} % |")
    return lines


def noise(kept):
    """How far the floor itself moved: two CAS on a line of its own."""
    spreads = [(entry["most"] - entry["least"]) / entry["median"]
               for entry in kept.get("local", {}).get("entries", ())
               if entry["name"] == "two CAS" and entry["metric"] == "pair" and entry["median"]]
    if not spreads:
        return ""
    spreads.sort()
    return (f"Noise: the floor loop itself, two CAS on a line that nobody else touches, differed "
            f"between\nits windows by {100 * spreads[len(spreads) // 2]:.0f} % in the median "
            f"experiment and by {100 * spreads[-1]:.0f} % in the worst.")


def outcome_row(one):
    figure = one.figure
    if figure.bound is None:
        target = ""
    else:
        target = f"{'>=' if figure.at_least else '<='} {sections.number(figure.bound)}"
    if one.median is None:
        return f"| {figure.what} | {target} | not measured | | |"
    spread = "" if one.least is None else f"{shown(one.least)} .. {shown(one.most)}"
    verdict = {None: "", True: "yes", False: "**no**"}[one.met]
    at = ", ".join(f"{key} {value}" for key, value in one.at.items()
                   if key not in ("workers", "in_flight", "names_slot", "leases", "slots"))
    what = figure.what + (f" (at {at})" if at else "")
    return f"| {what} | {target} | {shown(one.median)} | {spread} | {verdict} |"


def target_parts(kept, notes):
    """Lines, and the numbers of the targets that need a reason and have none."""
    lines, bare = [], []
    for target in targets.TARGETS:
        outcomes = [targets.outcome(figure, kept) for figure in target.figures]
        met = targets.is_met(outcomes)
        verdict = {True: "met", False: "not met", None: "not judged: no full run"}[met]
        lines += [f"### Target {target.number}: {verdict}", "",
                  *textwrap.wrap(f"{target.what}.", 100), "",
                  "| figure | target | median | least .. most | met |", "|---|---|---|---|---|",
                  *map(outcome_row, outcomes), ""]
        if met is False:
            note = notes.get(target.number)
            if not note:
                bare.append(target.number)
            lines += [note or "The reason is not written down yet.", ""]
    return lines, bare


def read_notes(text):
    """Number of a target -> text."""
    pieces = re.split(r"^## (\d+)\n", text, flags=re.M)
    return {int(number): body.strip() for number, body in zip(pieces[1::2], pieces[2::2])}


def suite_parts(kept, pictures):
    of_suite = {"local": ("pair", "failing", "peers", "node"),
                "wait": ("wait-throughput", "wait-longest"), "remote": ("remote-cpu",)}
    captions = {"peers": "\\* gives out permits and does not say which unit."}
    lines = []
    for suite, results in kept.items():
        lines += [f"## Suite {suite}", ""]
        for name in of_suite.get(suite, ()):
            if name in pictures:
                lines += [f"![{pictures[name]['title']}](images/bench/{name}.svg)", ""]
                lines += [captions[name], ""] if name in captions else []
        for title, table in sections.tables(results):
            lines += [f"### {title}", "", *table, ""]
    return lines


def page(kept, notes):
    goals, bare = target_parts(kept, notes)
    quick = [suite for suite, results in kept.items() if results["is_quick"]]
    parts = [HEAD]
    if quick:
        parts += [f"From quick runs: {', '.join(quick)}. They show that all works; their figures",
                  "are not to be relied on, and say nothing about targets met or missed.", ""]
    parts += ["## Machine", "", *machine_table(kept), ""]
    parts += [noise(kept), ""] if noise(kept) else []
    parts += ["## Targets", "", "Where a figure was taken at several sizes the worst stands here.",
              "", *goals, *suite_parts(kept, plots.shown(kept)), COMMANDS]
    return "\n".join(parts), bare


def problems(root, kept, notes):
    docs = root / "docs"
    text, bare = page(kept, notes)
    path = docs / "benchmarks.md"
    if not path.exists() or path.read_text() != text:
        yield f"{path.name} is not what the results say"
    wanted = plots.shown(kept)
    for name, plot in wanted.items():
        svg = docs / "images" / "bench" / f"{name}.svg"
        if not svg.exists() or not plots.is_current(svg.read_text(), plot):
            yield f"{svg.name} is not what the results say"
    for svg in (docs / "images" / "bench").glob("*.svg"):
        if svg.stem not in wanted:
            yield f"{svg.name} shows what there are no results of"
    for number in bare:
        yield f"target {number} is not met, and notes.md gives no reason"


def write(root, kept, notes):
    folder = root / "docs" / "images" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = plots.shown(kept)
    for svg in folder.glob("*.svg"):
        if svg.stem not in wanted:
            svg.unlink()
    for name, plot in wanted.items():
        (folder / f"{name}.svg").write_text(plots.draw(plot))
    text, _ = page(kept, notes)
    (root / "docs" / "benchmarks.md").write_text(text)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", required=True)
    parser.add_argument("--publish", help="folder with the results of a run")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    root = pathlib.Path(arguments.root)
    results = root / "docs" / "benchmarks"
    if arguments.publish:
        done = kept_results.publish(arguments.publish, results)
        if not done:
            print(f"no results in {arguments.publish}; run ./dev bench first", file=sys.stderr)
            return 1
        print(f"took over: {', '.join(done)}")
    kept = kept_results.read(results)
    notes = read_notes((pathlib.Path(__file__).parent / "notes.md").read_text())
    if not arguments.check:
        write(root, kept, notes)
    found = list(problems(root, kept, notes))
    for problem in found:
        print(problem, file=sys.stderr)
    if found and arguments.check:
        print("run ./dev bench publish, or write the reason", file=sys.stderr)
    return 1 if found and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
