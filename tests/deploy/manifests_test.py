#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The manifests of deploy/kubernetes: rendered, and checked against the API and our promises."""

import copy
import pathlib
import re
import subprocess
import tempfile
import unittest

import yaml

import manifests
from pod_security import baseline_faults, restricted_faults
from podman import BIN, ROOT, say
from validation import faults

PROBES = {
    "startupProbe": ["/usr/bin/leasectl", "health", "--live"],
    "livenessProbe": ["/usr/bin/leasectl", "health", "--live"],
    "readinessProbe": ["/usr/bin/leasectl", "health"],
}
QUARANTINE_MAX_S, STARTUP_MARGIN_S = 60, 30


def with_podmonitor(shape):
    """The shape with the component that needs the Prometheus Operator."""
    return manifests.render_with(shape, "podmonitor")


class ManifestsTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.shapes = {shape: manifests.render_shape(shape) for shape in manifests.SHAPES}

    def each_template(self):
        return [(s, manifests.pod_template(objects)) for s, objects in self.shapes.items()]

    def test_schemas_and_types(self):
        objects = [o for shape in manifests.SHAPES for o in with_podmonitor(shape)]
        self.assertEqual(len([o for o in objects if o["kind"] == "PodMonitor"]), 4)
        self.assertEqual(faults(objects), "")
        say(f"{len(objects)} objects valid: "
            f"{', '.join(sorted({o['kind'] for o in objects}))}")

    def test_the_checks_see_planted_faults(self):
        (workload,) = manifests.of_kind(self.shapes["daemonset"], "DaemonSet")
        plants = {
            "unknown field": lambda c: c.update(imagePullPolicyy="Never"),
            "wrong type": lambda c: c.update(image=7),
            "wrong enumeration": lambda c: c.update(imagePullPolicy="Sometimes"),
            "missing field": lambda c: c.pop("name"),
        }
        for what, plant in plants.items():
            with self.subTest(what):
                bad = copy.deepcopy(workload)
                plant(bad["spec"]["template"]["spec"]["containers"][0])
                self.assertNotEqual(faults([bad]), "")

    def test_pools_are_what_the_daemon_takes(self):
        (config_map,) = manifests.of_kind(self.shapes["sidecar"], "ConfigMap")
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(config_map["data"]["config.yaml"])
            file.flush()
            done = subprocess.run([str(BIN / "leaseplaned"), "--config", file.name,
                                   "--check-config"], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout), (0, "OK\n"), done.stderr)

    def test_variables_are_what_the_daemon_takes(self):
        for _, template in self.each_template():
            container = manifests.container(template, "leaseplane")
            environment = {v["name"]: v["value"] for v in container["env"]}
            done = subprocess.run([str(BIN / "leaseplaned"), "--check-config"], text=True,
                                  env=environment, capture_output=True)
            self.assertEqual((done.returncode, done.stdout), (0, "OK\n"), done.stderr)

    def test_pod_security_levels(self):
        levels = {}
        for shape, template in self.each_template():
            spec = template["spec"]
            levels[shape] = (sorted(set(baseline_faults(spec))),
                             sorted(set(restricted_faults(spec))))
        self.assertEqual(levels, {
            "sidecar": ([], []), "sidecar-classic": ([], []), "statefulset": ([], []),
            "daemonset": (["hostPath volumes"],
                          ["added capabilities", "runAsNonRoot", "runAsUser 0"])})
        page = (ROOT / "docs/deploy/daemonset.md").read_text()
        for fault in sum(levels["daemonset"], []):
            self.assertIn(fault.split(" volumes")[0].split(" 0")[0], page)
        say("Pod Security:", levels)

    def test_every_container_is_confined(self):
        for _, template in self.each_template():
            for container in manifests.containers(template):
                security = container["securityContext"]
                self.assertIs(security["readOnlyRootFilesystem"], True)
                self.assertEqual(security["capabilities"]["drop"], ["ALL"])
                resources = container["resources"]
                self.assertLessEqual({"cpu", "memory"}, resources["requests"].keys())
                self.assertIn("memory", resources["limits"])

    def test_memory_is_what_the_formula_says(self):
        """With each slot leased to a remote caller; the sources name the formula."""
        (daemon, a_pool, a_slot, a_lease, probes), text = manifests.memory_formula()
        (config_map,) = manifests.of_kind(self.shapes["sidecar"], "ConfigMap")
        pools = yaml.safe_load(config_map["data"]["config.yaml"])["pools"]
        slots = sum(pool["capacity"] for pool in pools)
        needed = daemon + probes + len(pools) * a_pool + slots * (a_slot + a_lease)
        for shape, template in self.each_template():
            resources = manifests.container(template, "leaseplane")["resources"]
            request, limit = (int(re.fullmatch(r"(\d+)Mi", resources[kind]["memory"]).group(1))
                              for kind in ("requests", "limits"))
            self.assertGreaterEqual(request << 20, needed, shape)
            self.assertEqual(limit, 2 * request, shape)
        sources = [path.read_text() for path in manifests.KUBERNETES.glob("*/*.yaml")
                   if "/usr/bin/leasectl" in path.read_text()]
        self.assertEqual(len(sources), 3)
        terms = text.split("\n")[0]
        for source in sources:
            self.assertIn(terms, re.sub(r"\s*\n\s*# ", " ", source))
        say(f"{needed / (1 << 20):.1f} MiB needed for {len(pools)} pools of {slots} slots")

    def test_probes(self):
        for _, template in self.each_template():
            container = manifests.container(template, "leaseplane")
            for kind, command in PROBES.items():
                self.assertEqual(container[kind]["exec"]["command"], command)
            startup = container["startupProbe"]
            self.assertGreaterEqual(startup["periodSeconds"] * startup["failureThreshold"],
                                    QUARANTINE_MAX_S + STARTUP_MARGIN_S)

    def test_sidecar_shares_sockets_only(self):
        for shape in ("sidecar", "sidecar-classic"):
            template = manifests.pod_template(self.shapes[shape])
            daemon = manifests.container(template, "leaseplane")
            application = manifests.container(template, "application")
            mounts = [{m["name"] for m in c["volumeMounts"]} for c in (daemon, application)]
            self.assertEqual(mounts[0] & mounts[1], {"leaseplane-sockets"})
            self.assertNotEqual(daemon["securityContext"]["runAsUser"],
                                application["securityContext"]["runAsUser"])
            self.assertIn("fsGroup", template["spec"]["securityContext"])
            self.assertNotIn("shareProcessNamespace", template["spec"])
            uid = {v["name"]: v["value"] for v in application["env"]}["LEASEPLANE_SERVER_UID"]
            self.assertEqual(int(uid), daemon["securityContext"]["runAsUser"])

    def test_forms_of_the_sidecar(self):
        native, classic = (manifests.pod_template(self.shapes[s])["spec"]
                           for s in ("sidecar", "sidecar-classic"))
        self.assertEqual(native["initContainers"][0]["restartPolicy"], "Always")
        self.assertNotIn("initContainers", classic)
        self.assertEqual({c["name"] for c in classic["containers"]},
                         {"leaseplane", "application"})
        moved = dict(native["initContainers"][0])
        moved.pop("restartPolicy")
        self.assertIn(moved, classic["containers"])

    def test_scopes(self):
        (service,) = manifests.of_kind(self.shapes["daemonset"], "Service")
        self.assertEqual(service["spec"]["internalTrafficPolicy"], "Local")
        (stateful,) = manifests.of_kind(self.shapes["statefulset"], "StatefulSet")
        self.assertEqual(stateful["spec"]["replicas"], 1)
        (service,) = manifests.of_kind(self.shapes["statefulset"], "Service")
        self.assertEqual(service["spec"]["clusterIP"], "None")
        self.assertEqual(service["metadata"]["name"], stateful["spec"]["serviceName"])
        (claim,) = stateful["spec"]["volumeClaimTemplates"]
        daemon = manifests.container(stateful["spec"]["template"], "leaseplane")
        self.assertIn({"name": claim["metadata"]["name"], "mountPath": "/var/lib/leaseplane"},
                      daemon["volumeMounts"])
        for objects in self.shapes.values():
            self.assertEqual(manifests.of_kind(objects, "PodDisruptionBudget"), [])

    def test_policies_and_monitors_select_the_pods(self):
        for shape in manifests.SHAPES:
            objects = with_podmonitor(shape)
            labels = manifests.pod_template(objects)["metadata"]["labels"]
            (policy,) = manifests.of_kind(objects, "NetworkPolicy")
            (monitor,) = manifests.of_kind(objects, "PodMonitor")
            for selector in (policy["spec"]["podSelector"], monitor["spec"]["selector"]):
                self.assertLessEqual(selector["matchLabels"].items(), labels.items())
            container = manifests.container(manifests.pod_template(objects), "leaseplane")
            ports = {p["name"]: p["containerPort"] for p in container["ports"]}
            metrics = monitor["spec"]["podMetricsEndpoints"][0]["port"]
            allowed = {p["port"] for rule in policy["spec"]["ingress"] for p in rule["ports"]}
            self.assertEqual(allowed, set(ports.values()))
            self.assertIn(metrics, ports)

    def test_image_tag_is_the_version(self):
        version = re.search(r"VERSION (\d+\.\d+\.\d+)",
                            (ROOT / "CMakeLists.txt").read_text()).group(1)
        for _, template in self.each_template():
            self.assertEqual(manifests.container(template, "leaseplane")["image"],
                             f"leaseplane:{version}")


if __name__ == "__main__":
    unittest.main()
