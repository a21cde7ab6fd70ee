#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Bill of materials, SPDX 2.3 as JSON, from what dpkg knows of this machine.

usage: sbom.py --name NAME --version VERSION [--build PACKAGE...] FILE...

FILEs are the programs of a package or an image, as built on this machine. Each shared library they
load becomes the Debian package it is from, with its version, source and digest of the file; each
--build package (a library that is compiled in: headers, archives) likewise. The document goes to
stdout. SOURCE_DATE_EPOCH sets its time.
"""

import argparse
import datetime
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def libraries_of(program):
    """Paths of the shared libraries that `program` loads; none if it is linked statically."""
    try:
        listed = run("ldd", program)
    except subprocess.CalledProcessError:
        return []
    missing = re.findall(r"^\s*(\S+) => not found", listed, re.M)
    if missing:
        raise SystemExit(f"sbom: {program} needs {', '.join(missing)}, which is not here")
    return [m for m in re.findall(r"(?:=>\s*|^\s*)(/\S+) \(0x", listed, re.M)]


def owner_of(path):
    """The package that `path` is from; both spellings of a merged /usr are tried."""
    real = os.path.realpath(path)
    for spelling in {path, real, real.removeprefix("/usr"), "/usr" + path}:
        done = subprocess.run(["dpkg-query", "-S", spelling], capture_output=True, text=True)
        if done.returncode == 0:
            return done.stdout.split(": ")[0].split(",")[0]
    raise SystemExit(f"sbom: no package has {path}")


def facts_of(package):
    form = "${Package}\\t${Version}\\t${Architecture}\\t${source:Package}\\t${source:Version}\\t" \
           "${Homepage}\\t${Maintainer}"
    keys = ("name", "version", "architecture", "source", "source_version", "homepage", "maintainer")
    return dict(zip(keys, run("dpkg-query", "-W", "-f", form, package).split("\t")))


def spdx_id(text):
    return "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]", "-", text)


def debian_entry(facts):
    return {
        "SPDXID": spdx_id(f"deb-{facts['name']}"),
        "name": facts["name"],
        "versionInfo": facts["version"],
        "supplier": "Organization: Debian",
        "originator": f"Person: {facts['maintainer']}",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "homepage": facts["homepage"] or "NOASSERTION",
        "sourceInfo": f"built from {facts['source']} {facts['source_version']}",
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": f"see /usr/share/doc/{facts['name']}/copyright",
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": f"pkg:deb/debian/{facts['name']}@{facts['version']}"
                                f"?arch={facts['architecture']}",
        }],
    }


def own_entry(name, version, files):
    digests = [hashlib.sha256(pathlib.Path(f).read_bytes()).hexdigest() for f in files]
    return {
        "SPDXID": spdx_id(name),
        "name": name,
        "versionInfo": version,
        "supplier": "Organization: Leaseplane",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "Apache-2.0",
        "licenseDeclared": "Apache-2.0",
        "copyrightText": "The Leaseplane authors",
        "comment": "\n".join(f"sha256 {digest} {pathlib.Path(f).name}"
                             for digest, f in zip(digests, files)),
    }


def document(name, version, files, build_packages):
    loaded = sorted({owner_of(path) for file in files for path in libraries_of(file)})
    entries = {package: debian_entry(facts_of(package)) for package in loaded + build_packages}
    own = own_entry(name, version, files)
    relations = [("SPDXRef-DOCUMENT", "DESCRIBES", own["SPDXID"])]
    relations += [(own["SPDXID"], "DYNAMIC_LINK", entries[p]["SPDXID"]) for p in loaded]
    relations += [(own["SPDXID"], "STATIC_LINK", entries[p]["SPDXID"]) for p in build_packages]
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH") or datetime.datetime.now().timestamp())
    created = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    digest = hashlib.sha256(own["comment"].encode()).hexdigest()
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{name}-{version}",
        "documentNamespace": f"urn:leaseplane:sbom:{name}:{version}:{digest[:32]}",
        "creationInfo": {"created": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
                         "creators": ["Tool: leaseplane-sbom"]},
        "packages": [own] + list(entries.values()),
        "relationships": [{"spdxElementId": a, "relationshipType": kind, "relatedSpdxElement": b}
                          for a, kind, b in relations],
    }


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n")[2].removeprefix("usage: "))
    parser.add_argument("--name", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--build", action="append", default=[])
    parser.add_argument("files", nargs="+")
    arguments = parser.parse_args()
    made = document(arguments.name, arguments.version, arguments.files, arguments.build)
    json.dump(made, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
