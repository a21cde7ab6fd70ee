# SPDX-License-Identifier: Apache-2.0
"""Rules on single files and on the shape of the tree."""

import posixpath
import re

from tree import Finding

LINE_WIDTH_MAX = 100
FILE_LINES_MAX = 400
FILE_LINES_WARN = 250

ROOT_ENTRIES = {
    "CMakeLists.txt", "CMakePresets.json", "Dockerfile", "README.md", "LICENSE", "CHANGELOG.md",
    "CONTRIBUTING.md", "SECURITY.md", "dev", "proto", "server", "core", "clients", "deploy",
    "tests", "docs", ".ci", ".clang-format", ".clang-tidy", ".gitignore", ".gitattributes",
    ".editorconfig", ".dockerignore",
    # Not part of the repository, but where its tools put things.
    ".git", ".cache", "build", "CMakeUserPresets.json", "compile_commands.json",
}
VAGUE_NAMES = re.compile(r"(^|.*_)(utils?|common|helpers?|misc)$")
# Spelt in pieces, so that this file passes its own rules.
UNFINISHED = re.compile(r"\b(" + "FIX" + "ME|TO" + "DO|XX" + r"X)\b")
MACHINE_PATH = re.compile(r"(?<![\w.}/])/(wor" + r"k|tmp/l" + r"p|home/\w+)(/|\b(?![\w-]))")
ATOMIC = re.compile(r"\bstd::atomic|\b__atomic_|\b__sync_|#\s*include\s*<atomic>")
SPDX = "SPDX-License-Identifier: Apache-2.0"
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def check_root(tree):
    for name in tree.root_entries:
        if name not in ROOT_ENTRIES:
            yield Finding(name, 1, "root", "the root holds only the entries listed in tests/tidy")


def check_names(tree):
    for path in sorted(tree.paths):
        last = path.rsplit("/", 1)[-1]
        if VAGUE_NAMES.match(last.split(".")[0]):
            yield Finding(path, 1, "names", "name the concept, not 'util', 'common' or 'helpers'")


def check_width(tree):
    for file in tree.files.values():
        if file.suffix == ".json" or file.name == "LICENSE":
            continue
        for number, line in enumerate(file.lines, 1):
            if len(line) <= LINE_WIDTH_MAX or "://" in line:
                continue
            if file.suffix == ".md" and line.lstrip().startswith("|"):
                continue
            yield Finding(file.path, number, "width", f"{len(line)} columns, {LINE_WIDTH_MAX} fit")


def check_unfinished(tree):
    for file, number, line in all_lines(tree):
        if UNFINISHED.search(line):
            yield Finding(file.path, number, "unfinished", "finish it or write down why not")


def check_machine_paths(tree):
    for file, number, line in all_lines(tree):
        if MACHINE_PATH.search(line):
            yield Finding(file.path, number, "machine-path", "a path of one machine")


def all_lines(tree):
    for file in tree.files.values():
        for number, line in enumerate(file.lines, 1):
            yield file, number, line


def check_length(tree):
    for file in tree.files.values():
        count = len(file.lines)
        if file.is_code and count > FILE_LINES_WARN:
            yield Finding(file.path, count, "length",
                          f"{count} lines; aim at {FILE_LINES_WARN}, {FILE_LINES_MAX} at most",
                          is_error=count > FILE_LINES_MAX)


def check_spdx(tree):
    for file in tree.files.values():
        wanted = file.is_code or file.suffix in {".yaml", ".yml", ".sql"}
        if wanted and not any(SPDX in line for line in file.lines[:3]):
            yield Finding(file.path, 1, "spdx", f"'{SPDX}' belongs into the first three lines")


def check_atomics(tree):
    for file in tree.files.values():
        if not file.is_cpp or file.path.startswith(("core/", "tests/")):
            continue
        for number, line in enumerate(file.lines, 1):
            if ATOMIC.search(line.split("//")[0]):
                yield Finding(file.path, number, "atomics",
                              "atomics belong into core; elsewhere list the reason")
                break


def check_unbuilt_sources(tree):
    for file in tree.files.values():
        if file.suffix not in {".cc", ".c"} or file.path.startswith("deploy/"):
            continue
        folder = posixpath.dirname(file.path)
        lists = []
        while folder:
            build_file = tree.files.get(folder + "/CMakeLists.txt")
            lists.append(build_file.text if build_file else "")
            folder = posixpath.dirname(folder)
        if not any(re.search(r"(^|[\s/(])" + re.escape(file.name), text) for text in lists):
            yield Finding(file.path, 1, "unbuilt", "no CMakeLists.txt above names this file")


def check_links(tree):
    for file in tree.files.values():
        if file.suffix != ".md":
            continue
        for number, line in enumerate(file.lines, 1):
            for target in LINK.findall(line):
                path = target.split("#")[0]
                if "://" in target or target.startswith("mailto:") or not path:
                    continue
                full = posixpath.normpath(posixpath.join(posixpath.dirname(file.path), path))
                if full not in tree.paths and full != ".":
                    yield Finding(file.path, number, "links", f"'{target}' does not exist")
