# SPDX-License-Identifier: Apache-2.0
"""Kubernetes objects against the API's schemas and types, without a cluster; see validate.mjs."""

import json
import pathlib
import subprocess
import tempfile

from npm_folder import npm_folder


def faults(objects):
    """What the schemas and the compiler say; empty if all is well."""
    folder = npm_folder()
    script = pathlib.Path(__file__).with_name("validate.mjs").read_text()
    (folder / "validate.mjs").write_text(script)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(objects, file)
        file.flush()
        done = subprocess.run(["node", "validate.mjs", file.name], cwd=folder, text=True,
                              capture_output=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr
