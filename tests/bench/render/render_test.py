# SPDX-License-Identifier: Apache-2.0
"""The renderer on results made up here: what it keeps, judges, shows and notices."""

import json
import pathlib
import tempfile
import unittest

import kept as kept_results
import plots
import render
import sections
import targets

MACHINE = {"is_quick": False, "date": "2000-01-01", "cpu": "A CPU", "cores": 2, "kind": "virtual",
           "kernel": "Linux 1", "compiler": "c++ 1, Release", "seconds": 5,
           "others_percent": 1.5, "steal_percent": 0.0}


def entry(name, metric, params, *values):
    return {"suite": "local", "name": name, "params": params, "metric": metric, "unit": "ratio",
            "values": list(values)}


def results(*entries):
    return {"local": kept_results.condense("local", entries, MACHINE)}


def pairs(*medians):
    return results(*(entry("leaseplane", "pair / two CAS", {"capacity": 16, "occupancy": 10 * i},
                           median, median * 1.1, median * 0.9)
                     for i, median in enumerate(medians)))


class Kept(unittest.TestCase):
    def test_median_and_bounds_of_the_values_are_kept(self):
        one = kept_results.condense_entry(entry("a", "b", {}, 3, 1, 2.000004))
        self.assertEqual((one["median"], one["least"], one["most"], one["count"]), (2, 1, 3, 3))

    def test_what_is_published_reads_back(self):
        with tempfile.TemporaryDirectory() as folder:
            runs = pathlib.Path(folder) / "runs"
            runs.mkdir()
            (runs / "local.json").write_text(json.dumps([entry("a", "b", {"capacity": 1}, 1)]))
            (runs / "local.machine.json").write_text(json.dumps(MACHINE))
            self.assertEqual(kept_results.publish(runs, pathlib.Path(folder) / "kept"), ["local"])
            self.assertEqual(kept_results.read(pathlib.Path(folder) / "kept"),
                             results(entry("a", "b", {"capacity": 1}, 1)))


class Targets(unittest.TestCase):
    def outcome(self, kept, number=1, index=0):
        return targets.outcome(targets.TARGETS[number - 1].figures[index], kept)

    def test_the_worst_of_all_places_counts(self):
        one = self.outcome(pairs(1.1, 1.3, 1.2))
        self.assertEqual((one.median, one.met, one.at["occupancy"]), (1.3, False, 10))
        self.assertTrue(self.outcome(pairs(1.1, 1.25)).met)

    def test_what_has_to_be_large_is_worst_when_small(self):
        kept = results(*(entry("leaseplane", "throughput / 1 thread",
                               {"capacity": n, "crew": "2 threads"}, value)
                         for n, value in ((16, 1.8), (100, 1.95))))
        one = self.outcome(kept, 2)
        self.assertEqual((one.median, one.met), (1.8, False))

    def test_worst_over_best(self):
        kept = results(*(entry("leaseplane", "failing acquire", {"capacity": n}, ns)
                         for n, ns in ((1, 4), (16, 6))))
        self.assertEqual(self.outcome(kept, 5, 1).median, 1.5)

    def test_what_is_missing_is_neither_met_nor_not(self):
        self.assertIsNone(self.outcome({}).met)
        self.assertIsNone(targets.is_met([self.outcome({})]))

    def test_one_of_several_ways_is_enough(self):
        figures = targets.TARGETS[9].figures[1:3]
        for first, second, wanted in ((False, True, True), (False, False, False),
                                      (None, False, None)):
            outcomes = [targets.Outcome(figures[0], met=first),
                        targets.Outcome(figures[1], met=second)]
            self.assertIs(targets.is_met(outcomes), wanted)


class Page(unittest.TestCase):
    def test_every_entry_stands_in_a_table(self):
        kept = results(entry("leaseplane", "pair / two CAS", {"capacity": 16, "occupancy": 0},
                             1.25),
                       entry("something", "unheard of", {"a": 1}, 7.5))
        text, _ = render.page(kept, {})
        self.assertIn("| leaseplane | 16 | 1.25 |", text)
        self.assertIn("| something | a 1 | unheard of | 7.5 |", text)

    def test_a_target_that_is_not_met_needs_a_reason(self):
        self.assertEqual(render.page(pairs(1.3), {})[1], [1])
        quick = pairs(1.3)
        quick["local"]["is_quick"] = True
        self.assertEqual(render.page(quick, {})[1], [])
        self.assertNotIn(": not met", render.page(quick, {})[0])
        text, bare = render.page(pairs(1.3), {1: "Because."})
        self.assertEqual(bare, [])
        self.assertIn("Because.", text)
        self.assertNotIn("Because.", render.page(pairs(1.2), {1: "Because."})[0])

    def test_notes_are_read_by_number(self):
        self.assertEqual(render.read_notes("Head\n\n## 3\n\nOne\n\ntwo\n\n## 10\nTen\n"),
                         {3: "One\n\ntwo", 10: "Ten"})

    def test_numbers(self):
        for value, text in ((0, "0"), (1.2345, "1.23"), (99.96, "100"), (123456, "123,000"),
                            (0.00123, "0.00123")):
            self.assertEqual(sections.number(value), text)


class Check(unittest.TestCase):
    """Pictures are written by hand here: drawing is not part of the check."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.kept = pairs(1.1)
        pictures = self.root / "docs" / "images" / "bench"
        pictures.mkdir(parents=True)
        for name, plot in plots.shown(self.kept).items():
            (pictures / f"{name}.svg").write_text(f"<!-- shows {plots.digest(plot)} -->")
        (self.root / "docs" / "benchmarks.md").write_text(render.page(self.kept, {})[0])

    def problems(self, kept, notes=None):
        return " ".join(render.problems(self.root, kept, notes or {}))

    def test_what_was_rendered_passes(self):
        self.assertEqual(self.problems(self.kept), "")

    def test_page_and_pictures_of_other_results_are_noticed(self):
        found = self.problems(pairs(1.2))
        self.assertIn("benchmarks.md is not", found)
        self.assertIn("pair.svg is not", found)

    def test_a_picture_of_nothing_is_noticed(self):
        (self.root / "docs" / "images" / "bench" / "old.svg").write_text("")
        self.assertIn("old.svg", self.problems(self.kept))

    def test_a_missing_reason_is_noticed(self):
        self.assertIn("target 1", self.problems(pairs(1.3)))


class Drawing(unittest.TestCase):
    def test_the_same_plot_gives_the_same_picture(self):
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            self.skipTest("matplotlib is not installed; the check of the page does without")
        for plot in plots.shown(pairs(1.1, 1.2)).values():
            svg = plots.draw(plot)
            self.assertEqual(svg, plots.draw(plot))
            self.assertTrue(plots.is_current(svg, plot))


if __name__ == "__main__":
    unittest.main()
