# SPDX-License-Identifier: Apache-2.0
"""Writes the page of figures from a ledger: render.py LEDGER PAGE [--check]

--check changes nothing and fails if the page is not what the ledger says.
"""

import argparse
import pathlib
import sys

import ledger
import stages

HEAD = """# Verification

What has been run to find out whether Leaseplane keeps its promises ([guarantees](guarantees.md)),
and how much of it. Each row is a sum over all runs of a stage that ended without an error; a run
that fails adds nothing and is a bug. `./dev verify` runs a short form of every stage, as CI does;
`./dev verify --long --hours H` runs the long forms for so many hours and can be continued.
`./dev verify --publish` adds what they found to
[verification/results.jsonl](verification/results.jsonl), of which this page is made.
"""


def number(value):
    return f"{value:,}"


def table(sums):
    lines = ["| stage | figures | hours | last run |", "|---|---|---|---|"]
    for name, stage in sorted(sums.items(), key=lambda item: stages.order(item[0])):
        figures = "; ".join(f"{metric} {number(value)}"
                            for metric, value in stage["metrics"].items())
        hours = f"{stage['seconds'] / 3600:.2f}"
        lines.append(f"| {name} | {figures} | {hours} | {stage['last'][:10]} |")
    return lines


def commands():
    lines = ["| stage | runs | command of the long form |", "|---|---|---|"]
    for stage in stages.STAGES:
        lines.append(f"| {stage.name} | {stage.runs} | `{stage.shown()}` |")
    return lines


def render(entries):
    total_h = sum(entry["seconds"] for entry in entries) / 3600
    parts = [HEAD, "## Figures", "", *table(ledger.sums(entries)), "",
             f"{total_h:.1f} hours in all.", "", "## How to repeat a stage", "",
             "After `./dev build` (and the builds that `./dev verify --long` makes); `BIN` is",
             "`build/dev/bin`. Each of them takes at most 90 minutes. So many runs, each with a",
             "`RUN` of its own, make up what is aimed at.", "",
             *commands(), ""]
    return "\n".join(parts)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ledger")
    parser.add_argument("page")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    text = render(ledger.read(arguments.ledger))
    page = pathlib.Path(arguments.page)
    if not arguments.check:
        page.write_text(text)
        return 0
    if page.exists() and page.read_text() == text:
        return 0
    print(f"{page} is not what {arguments.ledger} says; run ./dev verify --render", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
