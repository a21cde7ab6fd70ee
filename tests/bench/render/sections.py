# SPDX-License-Identifier: Apache-2.0
"""The tables of a suite: which figures stand in which rows and columns."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Section:
    """Entries with one of `metrics` and the params of `where`. Rows differ in the name and in
    `rows`, columns in `column`: a param, or "metric"."""

    suite: str
    title: str
    metrics: tuple
    column: str
    rows: tuple = ()
    where: dict = dataclasses.field(default_factory=dict)

    def takes(self, entry):
        params = entry["params"]
        return (entry["metric"] in self.metrics
                and all(params.get(key) == value for key, value in self.where.items()))


PAIR, FAIL, CREW = "pair", "failing acquire", "pair of one worker"
REMOTE = ("pairs_per_s", "p50_us", "p99_us", "cpu_us_per_pair")
WAIT = ("throughput", "throughput / wake one", "p50 wait", "p99 wait", "longest wait",
        "longest wait / bound", "fairness")

SECTIONS = (
    Section("local", "One thread, pair / two CAS", (f"{PAIR} / two CAS",), "occupancy",
            ("capacity",)),
    Section("local", "One thread, time of a pair, ns", (PAIR,), "occupancy", ("capacity",)),
    Section("local", "Nothing is free, failing acquire / one CAS", (f"{FAIL} / one CAS",),
            "capacity"),
    Section("local", "Nothing is free, time of a failing acquire, ns", (FAIL,), "capacity"),
    Section("local", "More workers, throughput / 1 thread", ("throughput / 1 thread",), "crew",
            ("capacity",)),
    Section("local", "More workers, throughput / 2 threads", ("throughput / 2 threads",), "crew",
            ("capacity",)),
    Section("local", "More workers, time of a pair of one of them / alone", (f"{CREW} / 1 thread",),
            "crew", ("capacity",)),
    Section("local", "More workers, time of a pair of one of them, ns", (CREW,), "crew",
            ("capacity",), {"occupancy": 0}),
    Section("local", "Holding 32, replacing the oldest, ns", ("replace the oldest of 32",),
            "workers", ("capacity",)),
    Section("local", "Holding 32, replacing the oldest / 1 worker",
            ("replace the oldest of 32 / 1 worker",), "workers", ("capacity",)),
    Section("local", "Peers, time of a pair / leaseplane's", (f"{CREW} / leaseplane",), "crew"),
    Section("local", "Peers, time of a pair of one worker, ns", (CREW,), "crew"),
    Section("local", "Beside Node, time of a pair / leaseplane's",
            ("pair beside Node / leaseplane",), "crew"),
    Section("local", "Beside Node, time of a pair of one worker, ns", ("pair beside Node",),
            "crew"),
    Section("local", "Pools of objects, time of a pair / ObjectPool's",
            ("object pair / ObjectPool",), "crew"),
    Section("local", "Pools of objects, time of a pair of one worker, ns", ("object pair",),
            "crew"),
    *(Section("wait", f"Hold {hold} us, {slots} {'slot' if slots == 1 else 'slots'}", WAIT,
              "metric", ("waiters",), {"hold_us": hold, "slots": slots})
      for hold in (0, 2) for slots in (1, 4)),
    *(Section("remote", f"{count} in flight", REMOTE, "metric", ("transport", "durability"),
              {"in_flight": count}) for count in (1, 8, 64)),
    Section("remote", "Ratios", ("ratio of pairs_per_s", "ratio of cpu_us_per_pair"), "metric"),
)
REST = "Further figures"


def unit_of(entry):
    return "" if entry["unit"] in ("1", "ratio") else f" {entry['unit']}"


def number(value):
    """Three digits, and no more zeros than that needs."""
    if value == 0:
        return "0"
    digits = f"{value:.3g}"
    return f"{float(digits):,.0f}" if abs(value) >= 100 else f"{float(digits):g}"


def cell(entry):
    if entry["count"] == 1:
        return number(entry["median"])
    return f"{number(entry['median'])} ({number(entry['least'])}..{number(entry['most'])})"


def order(value):
    return (0, value, "") if isinstance(value, (int, float)) else (1, 0, str(value))


def in_order_of_appearance(values):
    return list(dict.fromkeys(values))


def crews(columns):
    """As they appear, or sorted if they are numbers."""
    return sorted(columns, key=order) if all(
        isinstance(value, (int, float)) for value in columns) else columns


def column_of(section, entry):
    return entry["metric"] if section.column == "metric" else entry["params"].get(section.column)


def heading(section, column, entries):
    if section.column != "metric":
        return f"{section.column} {column}" if isinstance(column, (int, float)) else str(column)
    unit = next(unit_of(entry) for entry in entries if entry["metric"] == column)
    words = column.removesuffix("_us").removesuffix("_per_s").removesuffix("_per_pair")
    words = words.removesuffix("_us").replace("_", " ")
    return f"{words},{unit}" if unit else words


def table(section, entries):
    """Lines of Markdown; none if there is nothing to show."""
    if not entries:
        return []
    keys = in_order_of_appearance(
        (entry["name"], *(entry["params"].get(row, "") for row in section.rows))
        for entry in entries)
    columns = crews(in_order_of_appearance(column_of(section, entry) for entry in entries))
    cells = {((entry["name"], *(entry["params"].get(row, "") for row in section.rows)),
              column_of(section, entry)): cell(entry) for entry in entries}
    rows = [row for index, row in enumerate(section.rows, 1) if any(key[index] for key in keys)]
    kept = [0, *(section.rows.index(row) + 1 for row in rows)]
    titles = ["", *rows, *(heading(section, column, entries) for column in columns)]
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    for key in keys:
        words = [f"{key[i]:,}" if isinstance(key[i], int) else str(key[i]) for i in kept]
        lines.append("| " + " | ".join(words + [cells.get((key, c), "") for c in columns]) + " |")
    return lines


def rest(entries):
    lines = ["| | with | figure | |", "|---|---|---|---|"]
    for entry in entries:
        params = ", ".join(f"{key} {value:,}" if isinstance(value, int) else f"{key} {value}"
                           for key, value in entry["params"].items())
        lines.append(f"| {entry['name']} | {params} | {entry['metric']} | {cell(entry)}"
                     f"{unit_of(entry)} |")
    return lines


def tables(kept):
    """(title, lines) of one suite. Every entry stands in one of them."""
    entries, found = list(kept["entries"]), []
    for section in SECTIONS:
        if section.suite != kept["suite"]:
            continue
        taken = [entry for entry in entries if section.takes(entry)]
        entries = [entry for entry in entries if not section.takes(entry)]
        if taken:
            found.append((section.title, table(section, taken)))
    if entries:
        found.append((REST if found else "Figures", rest(entries)))
    return found
