# SPDX-License-Identifier: Apache-2.0
"""Dashboards: generated from their source, of the types Grafana wants, with links that lead
somewhere, and drawn from real data. Grafana itself is not run.

LEASEPLANE_PICTURES_DIR: where the pictures go (docs/images for those of the documentation);
the build folder by default.
LEASEPLANE_SCENE_S: how long the daemon is under load for them.
"""

import json
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import time
import unittest

import yaml

import scene
from dashboard_data import Dashboard
from npm_folder import npm_folder

GRAFANA = scene.SOURCE / "deploy" / "grafana"
HERE = pathlib.Path(__file__).resolve().parent
FILES = sorted((GRAFANA / "dashboards").glob("*.json"))
sys.path.insert(0, str(GRAFANA))


class DashboardFilesTest(unittest.TestCase):
    def test_files_are_what_their_source_makes(self):
        import dashboards
        made = dashboards.files()
        self.assertEqual({path.name: path.read_text() for path in FILES}, made,
                         "run deploy/grafana/dashboards.py")

    def test_links_lead_to_runbooks_and_dashboards_that_exist(self):
        uids = {json.loads(path.read_text())["uid"] for path in FILES}
        self.assertEqual(len(uids), len(FILES))
        linked = set()
        for path in FILES:
            for panel in json.loads(path.read_text())["panels"]:
                for link in panel["links"]:
                    name = link["url"].removeprefix("${runbooks}/")
                    self.assertTrue((scene.SOURCE / "docs/runbooks" / name).is_file(), link)
                    linked.add(name.removesuffix(".md"))
        self.assertIn("LeaseplanePoolExhausted", linked)

    def test_provisioning_names_the_data_source_and_a_folder(self):
        provisioning = GRAFANA / "provisioning"
        source = yaml.safe_load((provisioning / "datasources/leaseplane.yml").read_text())
        self.assertEqual(source["datasources"][0]["type"], "prometheus")
        provider = yaml.safe_load((provisioning / "dashboards/leaseplane.yml").read_text())
        self.assertEqual(provider["providers"][0]["type"], "file")

    def check_types(self, files):
        folder = npm_folder()
        script = folder / "typecheck.mjs"  # next to node_modules, which it imports from
        script.write_text((HERE / "dashboards/typecheck.mjs").read_text())
        return subprocess.run(["node", str(script), str(folder), *map(str, files)], cwd=folder,
                              capture_output=True, text=True)

    def test_types_are_grafanas(self):
        done = self.check_types(FILES)
        print(done.stdout)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_wrong_types_are_found(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "bad.json"
            text = FILES[0].read_text()
            for right, wrong in (('"gridPos"', '"gridPoss"'), ('"multi"', '"several"'),
                                 ('"placement": "bottom"', '"placement": "botom"')):
                text = text.replace(right, wrong)
            path.write_text(text)
            done = self.check_types([path])
        self.assertNotEqual(done.returncode, 0)
        for wrong in ("gridPoss", "several", "botom"):
            self.assertIn(wrong, done.stdout)


class PicturesTest(unittest.TestCase):
    """Each dashboard from real data: pool `licence` is the one where it presses."""

    CHOSEN = {"pool": {"pool": "licence"}, "group": {"pool": "licence", "path": "remote"}}

    @classmethod
    def setUpClass(cls):
        cls.duration_s = float(os.environ.get("LEASEPLANE_SCENE_S", "45"))
        cls.scene = scene.Scene()
        cls.addClassCleanup(cls.scene.close)
        cls.scene.run(cls.duration_s)
        cls.end = time.time()

    def page(self, path):
        made = json.loads(path.read_text())
        chosen = self.CHOSEN.get(path.stem, {})
        data = Dashboard(self.scene.prometheus, made, chosen, range_s=int(self.duration_s) - 5,
                         end=self.end)
        drawn = {"dashboard": {"title": made["title"]},
                 "variables": [(v["label"], chosen.get(v["name"], "All" if v["includeAll"] else
                                                       data.values[v["name"]]))
                               for v in made["templating"]["list"] if v["type"] == "query"],
                 "panels": [{"panel": panel, "answers": answers}
                            for panel, answers in data.panels()]}
        uplot = npm_folder() / "node_modules/uplot/dist"
        height = 70 + 30 * max(panel["gridPos"]["y"] + panel["gridPos"]["h"]
                               for panel in made["panels"])
        text = json.dumps(drawn).replace("</", "<\\/")
        return height, (f"<!doctype html><meta charset=utf-8><style>"
                        f"{(uplot / 'uPlot.min.css').read_text()}"
                        f"{(HERE / 'dashboards/page.css').read_text()}</style><body>"
                        f"<script>{(uplot / 'uPlot.iife.min.js').read_text()}</script>"
                        f"<script>const page = {text};</script>"
                        f"<script>{(HERE / 'dashboards/page.js').read_text()}</script>")

    def chromium(self, *args):
        return subprocess.run(["chromium", "--headless=new", "--no-sandbox", "--disable-gpu",
                               "--hide-scrollbars", *args], capture_output=True, text=True,
                              check=True, timeout=300).stdout

    def test_pictures(self):
        out = pathlib.Path(os.environ.get("LEASEPLANE_PICTURES_DIR", npm_folder() / "pictures"))
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            for path in FILES:
                with self.subTest(path.stem):
                    page = pathlib.Path(folder) / f"{path.stem}.html"
                    height, text = self.page(path)
                    page.write_text(text)
                    dom = self.chromium("--dump-dom", page.as_uri())
                    self.assertIn("<title>drawn</title>", dom)
                    shown = re.sub(r"<script>.*?</script>", "", dom, flags=re.S)
                    self.assertNotIn("No data", shown)
                    picture = out / f"dashboard-{path.stem}.png"
                    self.chromium(f"--window-size=1408,{height}", f"--screenshot={picture}",
                                  page.as_uri())
                    bytes_ = picture.read_bytes()
                    width, tall = struct.unpack(">II", bytes_[16:24])
                    self.assertEqual((width, tall), (1408, height))
                    print(f"{picture.name}: {width} x {tall}, {len(bytes_) // 1024} KiB")

    def test_pictures_of_the_documentation_are_there(self):
        for path in FILES:
            picture = scene.SOURCE / "docs/images" / f"dashboard-{path.stem}.png"
            self.assertTrue(picture.is_file(), picture)
            self.assertLess(picture.stat().st_size, 400_000, picture)


if __name__ == "__main__":
    unittest.main()
