#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The shapes of deploy/kubernetes with TLS: rendered, and checked against the API and the plain
shapes."""

import subprocess
import tempfile
import unittest

import manifests
from pod_security import baseline_faults, restricted_faults
from podman import BIN, ROOT, say
from tls_testbed import CERTS
from validation import faults

MOUNT = "/etc/leaseplane-tls"


class TlsManifestsTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        """By shape: (without TLS, with it)."""
        cls.shapes = {shape: (manifests.render_shape(shape), manifests.render_with(shape, "tls"))
                      for shape in manifests.SHAPES}

    def test_schemas_and_types(self):
        objects = [o for _, secured in self.shapes.values() for o in secured]
        for overlay in manifests.TLS_SHAPES:
            objects += manifests.render_shape(overlay)
        self.assertEqual(faults(objects), "")
        say(f"{len(objects)} objects valid")

    def test_overlays_are_the_shapes_with_the_component(self):
        for overlay in manifests.TLS_SHAPES:
            shape = overlay.removeprefix("tls/")
            got = {(o["kind"], o["metadata"]["name"]): o for o in manifests.render_shape(overlay)}
            for wanted in self.shapes[shape][1]:
                self.assertEqual(got.pop((wanted["kind"], wanted["metadata"]["name"])), wanted)
            self.assertEqual(list(got), [("Service", "leaseplane-sidecar")]
                             if shape == "sidecar" else [])

    def test_the_daemon_takes_the_variables_and_would_not_without_the_files(self):
        for _, secured in self.shapes.values():
            daemon = manifests.container(manifests.pod_template(secured), "leaseplane")
            self.assertEqual(self.check(daemon, CERTS), (0, "OK\n"))
            with tempfile.TemporaryDirectory() as nothing:
                self.assertEqual(self.check(daemon, nothing), (78, ""))

    def check(self, daemon, folder):
        names = {"tls.crt": "server.pem", "tls.key": "server.key", "ca.crt": "ca.pem"}
        environment = {v["name"]: v["value"] for v in daemon["env"]}
        for name, value in environment.items():
            if value.startswith(MOUNT):
                environment[name] = f"{folder}/{names[value.removeprefix(MOUNT + '/')]}"
        self.assertEqual(environment["LEASEPLANE_LISTEN"], "0.0.0.0:7070")
        self.assertNotIn("LEASEPLANE_INSECURE", environment)
        done = subprocess.run([str(BIN / "leaseplaned"), "--check-config"], text=True,
                              env=environment, capture_output=True)
        return done.returncode, done.stdout

    def test_only_the_daemon_sees_the_key_and_it_can(self):
        for _, secured in self.shapes.values():
            template = manifests.pod_template(secured)
            (volume,) = [v for v in template["spec"]["volumes"] if "secret" in v]
            self.assertEqual(volume["secret"],
                             {"secretName": "leaseplane-tls", "defaultMode": 0o440})
            for container in manifests.containers(template):
                mounts = [m for m in container["volumeMounts"] if m["name"] == volume["name"]]
                self.assertEqual(mounts, [{"name": volume["name"], "mountPath": MOUNT,
                                           "readOnly": True}]
                                 if container["name"] == "leaseplane" else [])
            # 0440 is root's and the group's.
            self.assertIn("fsGroup", template["spec"]["securityContext"])

    def test_probes_and_security_stay_as_they_were(self):
        for plain, secured in self.shapes.values():
            before, after = (manifests.pod_template(o) for o in (plain, secured))
            self.assertEqual(len(manifests.containers(after)), len(manifests.containers(before)))
            for old in manifests.containers(before):
                new = manifests.container(after, old["name"])
                for field in ("image", "command", "startupProbe", "readinessProbe",
                              "livenessProbe", "resources", "securityContext", "restartPolicy"):
                    self.assertEqual(new.get(field), old.get(field), field)
            for level in (baseline_faults, restricted_faults):
                self.assertEqual(set(level(after["spec"])), set(level(before["spec"])))

    def test_policies_let_callers_in_by_their_label(self):
        for _, secured in self.shapes.values():
            (policy,) = manifests.of_kind(secured, "NetworkPolicy")
            rules = {rule["ports"][0]["port"]: rule["from"] for rule in policy["spec"]["ingress"]}
            self.assertEqual(set(rules), {7070, 9464})
            self.assertEqual(rules[7070][0]["podSelector"]["matchLabels"],
                             {"leaseplane.dev/client": "true"})
        for overlay in manifests.TLS_SHAPES:
            for service in manifests.of_kind(manifests.render_shape(overlay), "Service"):
                self.assertEqual(service["spec"]["ports"][0]["appProtocol"], "https")

    def test_the_page_names_the_overlays(self):
        page = (ROOT / "docs/deploy/tls.md").read_text()
        for overlay in manifests.TLS_SHAPES:
            self.assertIn(f"deploy/kubernetes/{overlay}", page)


if __name__ == "__main__":
    unittest.main()
