# SPDX-License-Identifier: Apache-2.0
"""What Leaseplane wants to reach, each a ratio within one run or a bound that no machine moves, and
how the figures are found in the results."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Figure:
    """One figure. Of all entries that match, the one farthest from the target counts.

    `where`: what an entry's name, metric and params must be; a tuple means one of these.
    `bound`: at most so much, or at least if `at_least`; None: shown only.
    `derive`: "worst / best" makes the figure from the medians of all entries that match.
    `either`: figures of a target with the same word here: one of them is enough."""

    what: str
    suite: str
    where: dict
    bound: float | None
    at_least: bool = False
    derive: str = ""
    either: str = ""

    def matches(self, entry):
        for key, wanted in self.where.items():
            found = entry[key] if key in ("name", "metric") else entry["params"].get(key)
            if found not in (wanted if isinstance(wanted, tuple) else (wanted,)):
                return False
        return True


@dataclasses.dataclass(frozen=True)
class Target:
    number: int
    what: str
    figures: tuple


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A figure of the results: `met` is None where it is shown only, not measured, or from a quick
    run, which is not for judging."""

    figure: Figure
    median: float | None = None
    least: float | None = None
    most: float | None = None
    unit: str = ""
    at: dict = dataclasses.field(default_factory=dict)
    met: bool | None = None


def local(what, name, metric, bound, **more):
    where = {"name": name, "metric": metric, **more.pop("where", {})}
    return Figure(what, "local", where, bound, **more)


def remote(what, name, metric, bound, **more):
    return Figure(what, "remote", {"name": name, "metric": f"ratio of {metric}"}, bound, **more)


CPU, PAIRS = "cpu_us_per_pair", "pairs_per_s"

TARGETS = (
    Target(1, "An acquire and its release through the public C++ API cost little more than the two "
              "compare-and-swaps they cannot do without, whatever the size and the occupancy", (
        local("pair / two CAS, one thread, worst of all capacities and occupancies", "leaseplane",
              "pair / two CAS", 1.25),)),
    Target(2, "Workers do not disturb each other, and more of them than cores do no harm", (
        local("throughput of 2 threads / 1 thread, capacity 16 and more", "leaseplane",
              "throughput / 1 thread", 1.9, at_least=True, where={"crew": "2 threads"}),
        local("throughput of 2 processes / 1 thread, capacity 16 and more", "leaseplane",
              "throughput / 1 thread", 1.9, at_least=True, where={"crew": "2 processes"}),
        local("throughput of 64 threads / 2 threads", "leaseplane", "throughput / 2 threads", 0.9,
              at_least=True, where={"crew": "64 threads"}))),
    Target(3, "Two processes get more pairs than with the algorithm this project grew out of, and "
              "than with anything else that names a slot and works across processes", (
        local("seed in C++ / leaseplane, time of a pair, 2 processes", "seed in C++",
              "pair of one worker / leaseplane", 20, at_least=True,
              where={"crew": "2 processes"}),
        local("next best / leaseplane, time of a pair, 2 processes",
              ("robust mutex + list", "flock"), "pair of one worker / leaseplane", 10,
              at_least=True, where={"crew": "2 processes"}))),
    Target(4, "The same beside the seed as it was, in Node", (
        local("seed in Node / leaseplane, time of a pair, 1 worker", "seed in Node",
              "pair beside Node / leaseplane", 10, at_least=True, where={"crew": "1 worker"}),
        local("seed in Node / leaseplane, time of a pair, 2 workers", "seed in Node",
              "pair beside Node / leaseplane", 100, at_least=True, where={"crew": "2 workers"}))),
    Target(5, "Finding that nothing is free costs little and does not depend on the size", (
        local("failing acquire / one CAS, worst of all capacities", "leaseplane",
              "failing acquire / one CAS", 4),
        local("failing acquire, slowest capacity / fastest capacity", "leaseplane",
              "failing acquire", 2, derive="worst / best"))),
    Target(6, "A bound on overtaking costs little throughput, and it is a bound", (
        Figure("throughput BOUNDED / barging, hold 2 us, worst of all slots and waiters", "wait",
               {"name": "leaseplane BOUNDED", "metric": "throughput / wake one", "hold_us": 2},
               0.8, at_least=True),
        Figure("longest wait at 256 waiters / (max_overtake + 2 hand-overs of strict FIFO for "
               "each waiter)", "wait",
               {"name": "leaseplane BOUNDED", "metric": "longest wait / bound", "waiters": 256},
               1))),
    Target(7, "The service adds nothing to a gRPC call that one could see", (
        remote("unary throughput / bare echo, durability NONE, 64 in flight",
               "unary NONE / echo callback", PAIRS, 0.97, at_least=True),
        remote("unary server CPU / bare echo, durability NONE", "unary NONE / echo callback", CPU,
               1.03),
        remote("unary throughput / bare echo, durability ASYNC, 64 in flight",
               "unary ASYNC / echo callback", PAIRS, 0.97, at_least=True),
        remote("unary server CPU / bare echo, durability ASYNC", "unary ASYNC / echo callback", CPU,
               1.03))),
    Target(8, "A stream does more with a core than single calls", (
        remote("operations for each CPU second, stream / unary", "unary / stream", CPU, 1.45,
               at_least=True),
        remote("operations for each CPU second, stream of batches of 16 / unary",
               "unary / stream of 16", CPU, 6, at_least=True))),
    Target(9, "A lease costs the server less CPU than a lock elsewhere", (
        remote("stream / Redis on a Unix socket", "stream / redis unix", CPU, 1.0),
        remote("unary / Redis on TCP", "unary / redis tcp", CPU, 0.8),
        remote("unary on TCP / Redis on TCP", "unary tcp / redis tcp", CPU, None),
        remote("unary / etcd lock", "unary / etcd lock", CPU, 0.1),
        remote("unary / PostgreSQL SKIP LOCKED", "unary / postgres skip-locked", CPU, 0.15))),
    Target(10, "A lease is small, and many of them are quickly gone through", (
        Figure("shared memory for each slot of a large pool, bytes", "limits",
               {"metric": "shared memory per slot"}, 20),
        Figure("expiry sweep of 1,000,000 deadlines, us", "limits",
               {"name": "expiry sweep", "metric": "sweep"}, 100, either="sweep"),
        Figure("the same / adding them up", "limits",
               {"name": "expiry sweep", "metric": "ratio to a plain sum"}, 1.2, either="sweep"),
        Figure("recovery of 100,000 slots of a dead client, ms", "limits",
               {"name": "recovery", "metric": "slots of a dead client"}, 10))),
)


def outcome(figure, kept):
    """The figure as the kept results have it."""
    entries = [entry for entry in kept.get(figure.suite, {}).get("entries", ())
               if figure.matches(entry)]
    if not entries:
        return Outcome(figure)
    is_judged = figure.bound is not None and not kept[figure.suite]["is_quick"]
    medians = [entry["median"] for entry in entries]
    if figure.derive == "worst / best":
        value = max(medians) / min(medians)
        return Outcome(figure, value, None, None, "ratio", {},
                       value <= figure.bound if is_judged else None)
    pick = min if figure.at_least else max
    entry = pick(entries, key=lambda one: one["median"])
    met = None
    if is_judged:
        met = (entry["median"] >= figure.bound if figure.at_least
               else entry["median"] <= figure.bound)
    at = {key: value for key, value in entry["params"].items() if key not in figure.where}
    return Outcome(figure, entry["median"], entry["least"], entry["most"], entry["unit"], at, met)


def is_met(outcomes):
    """Whether a target is met: True, False, or None where a figure that counts is missing."""
    verdicts, groups = [], {}
    for one in outcomes:
        if one.figure.either:
            groups.setdefault(one.figure.either, []).append(one.met)
        elif one.figure.bound is not None:
            verdicts.append(one.met)
    for mets in groups.values():
        verdicts.append(True if True in mets else (None if None in mets else False))
    if False in verdicts:
        return False
    return None if None in verdicts else True
