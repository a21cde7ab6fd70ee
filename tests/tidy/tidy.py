#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the repository against its own rules; exits 1 when one is broken.

Rules live in layers.py, text_rules.py and functions.py; exceptions with their reasons in
exceptions.txt.
"""

import argparse
import pathlib
import sys

import functions
import layers
import text_rules
from tree import Exceptions, Tree

EXCEPTIONS_PATH = "tests/tidy/exceptions.txt"

RULES = [
    layers.check_layers,
    functions.check_functions,
    text_rules.check_root,
    text_rules.check_names,
    text_rules.check_width,
    text_rules.check_unfinished,
    text_rules.check_machine_paths,
    text_rules.check_length,
    text_rules.check_spdx,
    text_rules.check_atomics,
    text_rules.check_unbuilt_sources,
    text_rules.check_links,
]


def check(tree, exceptions):
    findings = [finding for rule in RULES for finding in rule(tree)]
    return sorted(exceptions.apply(findings), key=lambda f: (f.path, f.line, f.rule))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).parents[2])
    root = parser.parse_args().root
    exceptions_file = root / EXCEPTIONS_PATH
    exceptions = Exceptions(exceptions_file.read_text("utf-8"), EXCEPTIONS_PATH)
    tree = Tree.read(root)
    findings = check(tree, exceptions)
    for finding in findings:
        print(finding)
    errors = sum(finding.is_error for finding in findings)
    print(f"{len(tree.files)} files, {errors} errors, {len(findings) - errors} warnings")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
