# SPDX-License-Identifier: Apache-2.0
"""Metrics, rules, dashboards and runbooks name the same things. Quick; promtool's own checks run
where promtool is installed (./dev deps deploy)."""

import pathlib
import re
import shutil
import subprocess
import sys
import unittest
import urllib.request

import testbed
from leaseplane.v1 import lease_service_pb2 as pb

SOURCE = pathlib.Path(__file__).resolve().parents[2]
RULES = SOURCE / "deploy" / "prometheus"
DASHBOARDS = SOURCE / "deploy" / "grafana" / "dashboards"
UNIT_TESTS = pathlib.Path(__file__).resolve().parent / "prometheus"
RUNBOOKS = SOURCE / "docs" / "runbooks"
METRIC = re.compile(r"(?<![:\w/])leaseplane_[a-z_]+\b(?!:)")
PARTS = re.compile(r"_(bucket|sum|count)$")

has_promtool = unittest.skipUnless(shutil.which("promtool"), "promtool is not installed")


def alerts():
    return re.findall(r"- alert: (\w+)", (RULES / "leaseplane.alerts.yml").read_text())


def promtool(*args, page=None):
    return subprocess.run(["promtool", *args], input=page, capture_output=True)


class RulesTest(unittest.TestCase):
    def test_every_alert_has_its_runbook_and_a_unit_test(self):
        text = (RULES / "leaseplane.alerts.yml").read_text()
        self.assertEqual(re.findall(r"runbook_url: docs/runbooks/(\w+)\.md", text), alerts())
        self.assertEqual({path.stem for path in RUNBOOKS.glob("*.md")}, set(alerts()))
        tested = "".join(path.read_text() for path in UNIT_TESTS.glob("*_alerts_test.yml"))
        for alert in alerts():
            fires = re.findall(rf"runbook_url: docs/runbooks/{alert}\.md", tested)
            silent = re.findall(rf"alertname: {alert}\b[^a-z]*eval_time: \w+,?\s+exp_alerts: \[\]",
                                tested)
            self.assertTrue(fires and silent, f"{alert}: fires {len(fires)}, silent {len(silent)}")

    def test_no_alert_counts_tries(self):
        for name in ("leaseplane.alerts.yml", "leaseplane.rules.yml"):
            text = re.sub(r"#.*", "", (RULES / name).read_text())
            self.assertNotIn("no_free_slot", text)
            self.assertNotIn("RESOURCE_EXHAUSTED", text)

    def test_every_metric_that_is_asked_for_exists(self):
        source = SOURCE / "server" / "obs" / "metrics"
        made = {name for path in source.glob("*.cc")
                for name in re.findall(r'"(leaseplane_[a-z_]+)"', path.read_text())}
        asked = set()
        for path in [*RULES.glob("*.yml"), *DASHBOARDS.glob("*.json")]:
            asked |= {PARTS.sub("", name) for name in METRIC.findall(path.read_text())}
        self.assertEqual(asked - made, set())
        self.assertGreater(len(asked), 20)

    def test_recorded_series_that_are_asked_for_are_recorded(self):
        recorded = set(re.findall(r"record: (\S+)", (RULES / "leaseplane.rules.yml").read_text()))
        for path in [*RULES.glob("*.yml"), *DASHBOARDS.glob("*.json")]:
            asked = set(re.findall(r"\b[a-z_]+:leaseplane_\w+:\w+", path.read_text()))
            self.assertEqual(asked - recorded, set(), path.name)

    def test_dashboards_are_what_their_source_makes(self):
        sys.path.insert(0, str(DASHBOARDS.parent))
        import dashboards
        self.assertEqual({path.name: path.read_text() for path in DASHBOARDS.glob("*.json")},
                         dashboards.files(), "run deploy/grafana/dashboards.py")

    @has_promtool
    def test_rules_are_valid_and_alerts_do_what_their_tests_say(self):
        for args in (("check", "config", RULES / "prometheus.yml"),
                     ("check", "rules", "--lint-fatal", *RULES.glob("leaseplane.*.yml")),
                     ("test", "rules", *UNIT_TESTS.glob("*_test.yml"))):
            done = promtool(*map(str, args))
            self.assertEqual(done.returncode, 0, (done.stdout + done.stderr).decode())

    @has_promtool
    def test_metrics_page_is_clean_and_bad_pages_are_not(self):
        with testbed.Daemon() as daemon:
            daemon.leases().AcquireLease(pb.AcquireLeaseRequest(parent="pools/gpu"),
                                         **testbed.PATIENT)
            url = f"http://{daemon.metrics_address}/metrics"
            page = urllib.request.urlopen(url, timeout=60).read()
        done = promtool("check", "metrics", page=page)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        for right, wrong in ((b"_total", b"_count"), (b"_seconds", b"_milliseconds")):
            self.assertNotEqual(promtool("check", "metrics",
                                         page=page.replace(right, wrong)).returncode, 0, wrong)


if __name__ == "__main__":
    unittest.main()
