# SPDX-License-Identifier: Apache-2.0
"""The real daemon under load, scraped by a real Prometheus: every rule and every query of the
dashboards finds data, and a run without trouble raises no alert."""

import json
import subprocess
import time
import unittest
import urllib.request

import yaml

import scene
import testbed
from dashboard_data import Dashboard, has_data
from leaseplane.v1 import admin_service_pb2 as admin_pb, lease_pb2

# Alerts that the load raises, or a slow machine; the rest must be silent.
EXPECTED = {"LeaseplanePoolExhausted", "LeaseplaneLeasesExpiring", "LeaseplaneTickLag"}
# Pool `licence` is where waits are long enough to be seen.
CHOICES = ({"pool": "licence", "path": "remote"}, {"pool": "licence", "path": "local"})


class PrometheusTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scene = scene.Scene()
        cls.addClassCleanup(cls.scene.close)
        cls.prometheus = cls.scene.prometheus
        cls.scene.run(30)
        testbed.wait_until(lambda: cls.scene.scrapes() > 20, "20 scrapes")
        cls.end = time.time()

    def rules(self, kind):
        groups = self.prometheus.ask("rules", type=kind)["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def test_metrics_page_is_clean(self):
        url = f"http://{self.scene.daemon.metrics_address}/metrics"
        page = urllib.request.urlopen(url, timeout=60).read()
        checked = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True)
        print(f"{len(page.splitlines())} lines checked")
        self.assertEqual((checked.returncode, checked.stderr), (0, b""))

    def test_every_recording_rule_gives_numbers(self):
        rules = self.rules("record")
        self.assertTrue(rules)
        for rule in rules:
            with self.subTest(rule["name"]):
                found = testbed.wait_until(
                    lambda: [s for s in self.prometheus.query(rule["name"])
                             if s["value"][1] != "NaN"], rule["name"])
                print(f"{rule['name']}: {len(found)} series")
                self.assertEqual(self.health(rule["name"]), "ok")

    def health(self, name):
        return {r["name"]: r.get("lastError") or r["health"]
                for kind in ("record", "alert") for r in self.rules(kind)}[name]

    def test_every_alert_is_evaluated_on_series_that_exist(self):
        text = (scene.RULES / "leaseplane.alerts.yml").read_text()
        alerts = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
        self.assertGreaterEqual(len(alerts), 14)
        for alert in alerts:
            with self.subTest(alert["alert"]):
                names = scene.metric_names(alert["expr"]) or {"up"}
                for name in names:
                    self.assertTrue(self.prometheus.query(name), name)
                self.assertEqual(self.health(alert["alert"]), "ok")
                print(f"{alert['alert']}: {', '.join(sorted(names))}")

    def test_a_run_without_trouble_raises_no_other_alert(self):
        raised = {s["metric"]["alertname"] for s in self.prometheus.query("ALERTS")}
        self.assertLessEqual(raised, EXPECTED)

    def test_every_query_of_every_dashboard_finds_data(self):
        files = sorted((scene.SOURCE / "deploy/grafana/dashboards").glob("*.json"))
        self.assertEqual(len(files), 4)
        count, seconds = 0, int(self.end - self.scene.started)
        for path in files:
            made = json.loads(path.read_text())
            for chosen in CHOICES:
                dashboard = Dashboard(self.prometheus, made, chosen, range_s=seconds, end=self.end)
                for name, options in dashboard.options.items():
                    self.assertTrue(options, f"{path.name}: ${name}")
                for panel, answers in dashboard.panels():
                    for answer in answers:
                        with self.subTest(f"{path.name}: {panel['title']}"):
                            self.assertTrue(has_data(answer), answer["expr"])
                        count += 1
        print(f"{count} queries of {len(files)} dashboards found data")

    def test_series_of_a_deleted_pool_end(self):
        admin = self.scene.daemon.admin()
        admin.CreatePool(admin_pb.CreatePoolRequest(
            pool_id="passing", pool=lease_pb2.Pool(capacity=1)), **testbed.PATIENT)
        self.assertIn('leaseplane_pool_slots{pool="passing"}', self.scene.daemon.metrics())
        admin.DeletePool(admin_pb.DeletePoolRequest(name="pools/passing"), **testbed.PATIENT)
        self.assertFalse([k for k in self.scene.daemon.metrics() if "passing" in k])


if __name__ == "__main__":
    unittest.main()
