# SPDX-License-Identifier: Apache-2.0
"""The Debian packages: what lintian says of them, what is in them, what their programs load."""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ["LEASEPLANE_SOURCE_DIR"])
PACKAGES = pathlib.Path(os.environ["LEASEPLANE_PACKAGE_DIR"])
NAMES = ("leaseplane", "leaseplane-cli", "libleaseplane-dev")


def run(*command, **kwargs):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          timeout=900, **kwargs)
    if done.returncode != 0:
        raise AssertionError(f"{command} -> {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def deb(name):
    found = sorted(PACKAGES.glob(f"{name}_*.deb"))
    if len(found) != 1:
        raise AssertionError(f"{len(found)} packages {name} in {PACKAGES}; run ./dev package")
    return found[0]


def contents(name):
    lines = run("dpkg-deb", "-c", deb(name)).splitlines()
    return {line.split()[5].removeprefix(".") for line in lines if not line.startswith("d")}


class CheckTest(unittest.TestCase):
    def test_lintian_finds_nothing(self):
        """Overrides, each with its reason, are in deploy/debian/lintian-overrides."""
        done = subprocess.run(["lintian", "--allow-root", "--no-cfg", "--fail-on", "error,warning",
                               *map(deb, NAMES)], capture_output=True, text=True, timeout=600)
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)

    def test_each_file_is_in_one_package(self):
        owners = {}
        for name in NAMES:
            for path in contents(name):
                self.assertNotIn(path, owners, f"{name} and {owners.get(path)}")
                owners[path] = name
        expected = {
            "/usr/bin/leaseplaned": "leaseplane", "/etc/leaseplane/config.yaml": "leaseplane",
            "/usr/lib/systemd/system/leaseplane.service": "leaseplane",
            "/usr/lib/sysusers.d/leaseplane.conf": "leaseplane",
            "/usr/lib/tmpfiles.d/leaseplane.conf": "leaseplane",
            "/usr/share/man/man8/leaseplaned.8.gz": "leaseplane",
            "/usr/share/man/man5/leaseplane.conf.5.gz": "leaseplane",
            "/usr/bin/leasectl": "leaseplane-cli",
            "/usr/share/man/man1/leasectl.1.gz": "leaseplane-cli",
            "/usr/share/bash-completion/completions/leasectl": "leaseplane-cli",
            "/usr/share/zsh/vendor-completions/_leasectl": "leaseplane-cli",
            "/usr/include/leaseplane-0/leaseplane/client.h": "libleaseplane-dev",
        }
        for path, name in expected.items():
            self.assertEqual(owners.get(path), name, path)
        suffixes = {os.path.splitext(p)[1] for p, name in owners.items()
                    if name == "libleaseplane-dev"}
        self.assertLessEqual({".a", ".h", ".pc", ".cmake"}, suffixes)

    def test_the_bills_of_materials_name_what_the_programs_load(self):
        for name, program in (("leaseplane", "usr/bin/leaseplaned"),
                              ("leaseplane-cli", "usr/bin/leasectl")):
            with tempfile.TemporaryDirectory(prefix="lp-") as folder:
                run("dpkg-deb", "-x", deb(name), folder)
                bill = json.loads((PACKAGES / f"{name}.spdx.json").read_text())
                digest = run("sha256sum", f"{folder}/{program}").split()[0]
                self.check_bill(bill, name, f"{folder}/{program}", digest)

    def check_bill(self, bill, name, program, digest):
        self.assertEqual((bill["spdxVersion"], bill["dataLicense"]), ("SPDX-2.3", "CC0-1.0"))
        for key in ("SPDXID", "name", "documentNamespace", "creationInfo", "relationships"):
            self.assertTrue(bill[key])
        entries = {entry["name"]: entry for entry in bill["packages"]}
        self.assertIn(digest, entries[name]["comment"], "of the program that is in the package")
        ids = {entry["SPDXID"] for entry in bill["packages"]} | {"SPDXRef-DOCUMENT"}
        for relation in bill["relationships"]:
            self.assertIn(relation["spdxElementId"], ids)
            self.assertIn(relation["relatedSpdxElement"], ids)
        libraries = re.findall(r"=> (/\S+) ", run("ldd", program))
        self.assertGreater(len(libraries), 5)
        for library in libraries:
            owner = self.owner_of(library)
            version = run("dpkg-query", "-W", "-f", "${Version}", owner)
            self.assertEqual(entries[owner]["versionInfo"], version)
            purl = entries[owner]["externalRefs"][0]["referenceLocator"]
            self.assertTrue(purl.startswith(f"pkg:deb/debian/{owner}@{version}?"), purl)
        self.assertIn("libspdlog-dev" if name == "leaseplane" else "libcli11-dev", entries)

    def owner_of(self, path):
        for spelling in (path, os.path.realpath(path), os.path.realpath(path).removeprefix("/usr")):
            done = subprocess.run(["dpkg-query", "-S", spelling], capture_output=True, text=True)
            if done.returncode == 0:
                return done.stdout.split(":")[0]
        raise AssertionError(f"no package has {path}")


if __name__ == "__main__":
    unittest.main()
