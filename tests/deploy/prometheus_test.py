# SPDX-License-Identifier: Apache-2.0
"""The real daemon under load, scraped by a real Prometheus: every rule and every query of the
dashboards finds data, and alerts fire when what they are for happens."""

import json
import pathlib
import re
import subprocess
import tempfile
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
        count = 0
        for path in files:
            made = json.loads(path.read_text())
            for chosen in CHOICES:
                dashboard = Dashboard(self.prometheus, made, chosen)
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


class AlertsFireTest(unittest.TestCase):
    """Alerts against what they are for, with their `for` shortened to 2 s."""

    def setUp(self):
        rules = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="lp-rules-")))
        for path in scene.RULES.glob("leaseplane.*.yml"):
            short = re.sub(r"for: \d+[mh]$", "for: 2s", path.read_text(), flags=re.M)
            (rules / path.name).write_text(short)
        self.daemon = testbed.Daemon(pools=("gpu=1",)).start()
        self.addCleanup(self.daemon.close)
        self.prometheus = scene.Prometheus(self.daemon.metrics_address, rules)
        self.addCleanup(self.prometheus.close)
        testbed.wait_until(lambda: self.prometheus.query("up == 1"), "a scrape")

    def firing(self):
        return {s["metric"]["alertname"]
                for s in self.prometheus.query('ALERTS{alertstate="firing"}')}

    def expect(self, alert):
        started = time.monotonic()
        testbed.wait_until(lambda: alert in self.firing(), alert, timeout_s=120, step_s=0.2)
        print(f"{alert} fires after {time.monotonic() - started:.1f} s")

    def test_a_full_pool_with_a_waiter_a_worker_that_dies_and_a_daemon_that_is_gone(self):
        testbed.wait_until(lambda: not self.firing(), "silence: before the first scrape none is up")
        stub = self.daemon.leases()
        request = scene.pb.AcquireLeaseRequest(parent="pools/gpu", ttl=scene.seconds(300))
        stub.AcquireLease(request, **testbed.PATIENT)
        for _ in range(20):  # tries are no alert
            with self.assertRaises(scene.grpc.RpcError):
                stub.AcquireLease(request, **testbed.PATIENT)
        time.sleep(4)  # as long as an alert would take; the waiter below is the difference
        self.assertEqual(self.firing(), set())
        wait = stub.AcquireLease.future(scene.pb.AcquireLeaseRequest(
            parent="pools/gpu", max_wait_duration=scene.seconds(50)), timeout=55)
        self.expect("LeaseplanePoolExhausted")
        wait.cancel()
        for starts in (2, 3, 4):
            self.daemon.kill_worker()
            testbed.wait_until(lambda: self.starts() == starts, f"start {starts}")
        self.expect("LeaseplaneWorkerRestarting")
        self.daemon.kill()
        self.expect("LeaseplaneDown")

    def starts(self):
        found = self.prometheus.query("leaseplane_worker_starts_total")
        return int(found[0]["value"][1]) if found else 0


if __name__ == "__main__":
    unittest.main()
