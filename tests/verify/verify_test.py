# SPDX-License-Identifier: Apache-2.0
"""The ledger, its sums, its page and the runner, on ledgers of their own."""

import json
import math
import pathlib
import sys
import tempfile
import threading
import time
import unittest

import ledger
import publish
import render
import stages
import verify


def entry(stage, metric, value, seconds=0.0, date="2026-01-02T03:04:05Z"):
    return {"stage": stage, "metric": metric, "value": value, "seconds": seconds, "date": date}


class Ledger(unittest.TestCase):
    def test_sums_add_and_maxima_do_not(self):
        sums = ledger.sums([entry("a", "points", 3, 1.0), entry("a", "points", 4, 2.0),
                            entry("a", "max ms", 9), entry("a", "max ms", 5)])
        self.assertEqual(sums["a"]["metrics"], {"points": 7, "max ms": 9})
        self.assertEqual(sums["a"]["seconds"], 3.0)

    def test_bad_lines_are_named(self):
        for line in ("{", "[]", '{"stage":"a"}', json.dumps(entry("a", "m", "7")),
                     json.dumps(entry("a", "m", True)), json.dumps(entry("a", "m", 1.5))):
            with self.subTest(line), self.assertRaisesRegex(ledger.BadLine, "f:1"):
                ledger.parse(line, "f:1")

    def test_what_is_appended_can_be_read(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "l"
            self.assertEqual(ledger.read(path), [])
            ledger.append(path, "a", "m", 5, 1.26)
            self.assertEqual([(e["value"], e["seconds"]) for e in ledger.read(path)], [(5, 1.3)])


class Page(unittest.TestCase):
    def test_figures_and_hours_are_on_it(self):
        text = render.render([entry("kill x", "kill points", 1234567, 5400.0)])
        self.assertIn("| kill x | kill points 1,234,567 | 1.50 | 2026-01-02 |", text)

    def test_only_new_entries_are_published(self):
        old = entry("a", "m", 1)
        local = [old, entry("a", "m", 2), entry("run", "a", 1)]
        self.assertEqual(publish.new_entries(local, [old]), local[1:])

    def test_runs_are_counted_but_not_shown(self):
        self.assertEqual(ledger.sums([entry("run", "a", 1)]), {})


class Runner(unittest.TestCase):
    def run_stage(self, program):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "ledger.jsonl"
            runner = verify.Runner(pathlib.Path(folder), path, pathlib.Path(folder) / "published")
            stage = stages.Stage("s", (sys.executable, "-c", program), env=(("N", "RUN"),))
            codes = [runner.run(stage), runner.run(stage)]
            return codes, ledger.read(path)

    RECORD = ("import json, os, sys; open(os.environ['LEASEPLANE_LEDGER'], 'a').write(json.dumps("
              "dict(stage='s', metric='n' + os.environ['N'], value=1, seconds=1, date='d')))")

    def test_a_good_run_counts_and_the_next_one_is_another(self):
        program = self.RECORD + "; open(os.environ['LEASEPLANE_LEDGER'], 'a').write(chr(10))"
        codes, entries = self.run_stage(program)
        self.assertEqual(codes, [0, 0])
        self.assertEqual([e["metric"] for e in entries if e["stage"] == "s"], ["n0", "n1"])

    def test_a_failed_run_adds_nothing(self):
        codes, entries = self.run_stage(self.RECORD + "; sys.exit(3)")
        self.assertEqual(codes, [3, 3])
        self.assertEqual(entries, [])

    def test_every_stage_of_the_list_fits_its_places(self):
        places = {"BIN": "/b", "BUILD": "/u", "ROOT": "/r", "RUN": 3}
        for stage in stages.STAGES:
            for word in stage.words(**places):
                self.assertNotRegex(word, r"\b(BIN|BUILD|ROOT|RUN)\b")

    def test_runs_that_were_published_elsewhere_count_once(self):
        with tempfile.TemporaryDirectory() as folder:
            paths = [pathlib.Path(folder) / name for name in ("local", "published")]
            both, here, there = (entry("run", "s", 1, date=date) for date in "abc")
            paths[0].write_text("".join(json.dumps(e) + "\n" for e in (both, here)))
            paths[1].write_text("".join(json.dumps(e) + "\n" for e in (both, there)))
            runner = verify.Runner(pathlib.Path(folder), *paths)
            self.assertEqual(runner.runs_so_far(stages.Stage("s", ())), 3)


class CountingRunner:
    """In place of Runner: takes no time, knows how many ran at once and in which order."""

    def __init__(self, schedule_end_after, **runs):
        self.runs, self.left, self.order = runs, schedule_end_after, []
        self.now, self.together, self.lock = set(), set(), threading.Lock()

    def progress(self, stage):
        return self.runs[stage.name] / stage.runs

    def run(self, stage):
        with self.lock:
            self.now.add(stage.name)
        time.sleep(0.02)
        with self.lock:
            self.together.add(frozenset(self.now))
            self.now.remove(stage.name)
            self.runs[stage.name] += 1
            self.order.append(stage.name)
            self.left -= 1
            return 0 if self.left > 0 else 1


class Schedule(unittest.TestCase):
    STAGES = [stages.Stage("a", (), runs=2), stages.Stage("b", (), runs=4),
              stages.Stage("c", (), alone=True)]

    def test_the_least_complete_stage_is_next(self):
        runner = CountingRunner(5, a=1, b=0, c=1)
        self.assertEqual(verify.Schedule(runner, self.STAGES, math.inf).run(1), 1)
        self.assertEqual(runner.order, ["b", "b", "a", "b", "b"])

    def test_two_run_at_a_time_but_for_those_that_are_alone(self):
        runner = CountingRunner(12, a=0, b=0, c=0)
        verify.Schedule(runner, self.STAGES, math.inf).run(2)
        self.assertIn({"a", "b"}, runner.together)
        self.assertNotIn("c", set().union(*(group for group in runner.together if len(group) > 1)))

    def test_nothing_begins_after_the_end(self):
        runner = CountingRunner(9, a=0, b=0, c=0)
        self.assertEqual(verify.Schedule(runner, self.STAGES, 0).run(2), 0)
        self.assertEqual(runner.order, [])


if __name__ == "__main__":
    unittest.main()
