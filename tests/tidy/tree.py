# SPDX-License-Identifier: Apache-2.0
"""The checkout as the rules see it: text files with their lines, findings, exceptions."""

import dataclasses
import pathlib

SKIPPED_FOLDERS = {".git", ".cache", "build", "__pycache__", "node_modules"}
CODE_SUFFIXES = {".h", ".cc", ".c", ".inl", ".py", ".sh", ".cmake", ".proto", ".js", ".ts", ".go"}
TEXT_SUFFIXES = CODE_SUFFIXES | {".md", ".txt", ".yaml", ".yml", ".json", ".in", ".sql"}
EXTENSIONLESS_CODE = {"dev", ".ci/run", "Dockerfile"}


@dataclasses.dataclass(frozen=True)
class Finding:
    path: str
    line: int
    rule: str
    message: str
    is_error: bool = True

    def __str__(self):
        kind = "error" if self.is_error else "warning"
        return f"{self.path}:{self.line}: {kind}: {self.message} [{self.rule}]"


class TextFile:
    """One file: `path` is relative to the root, with forward slashes."""

    def __init__(self, path, text):
        self.path = path
        self.text = text
        self.lines = text.splitlines()

    @property
    def name(self):
        return self.path.rsplit("/", 1)[-1]

    @property
    def suffix(self):
        return pathlib.PurePosixPath(self.path).suffix

    @property
    def is_cpp(self):
        return self.suffix in {".h", ".cc", ".c", ".inl"}

    @property
    def is_code(self):
        return (self.suffix in CODE_SUFFIXES or self.name == "CMakeLists.txt"
                or self.path in EXTENSIONLESS_CODE)


class Tree:
    """All text files below a root, and what lies in the root itself."""

    def __init__(self, files, root_entries, paths):
        self.files = {file.path: file for file in files}
        self.root_entries = sorted(root_entries)
        self.paths = set(paths)

    @staticmethod
    def read(root):
        root = pathlib.Path(root)
        files, paths, folders = [], [], [root]
        while folders:
            for entry in sorted(folders.pop().iterdir()):
                relative = entry.relative_to(root).as_posix()
                if entry.is_dir():
                    if entry.name not in SKIPPED_FOLDERS and not entry.is_symlink():
                        folders.append(entry)
                        paths.append(relative)
                    continue
                paths.append(relative)
                if entry.is_file() and is_text(relative):
                    files.append(TextFile(relative, entry.read_text("utf-8", "replace")))
        return Tree(files, (entry.name for entry in root.iterdir()), paths)


def is_text(path):
    name = path.rsplit("/", 1)[-1]
    return (pathlib.PurePosixPath(path).suffix in TEXT_SUFFIXES or path in EXTENSIONLESS_CODE
            or name in {".clang-format", ".clang-tidy", ".gitignore"})


class Exceptions:
    """Lines `RULE PATH: REASON` of exceptions.txt. One that excuses nothing is itself an error."""

    def __init__(self, text, path):
        self.path = path
        self.entries = {}
        self.findings = []
        for number, line in enumerate(text.splitlines(), 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            head, _, reason = line.partition(": ")
            words = head.split()
            if len(words) != 2 or len(reason.split()) < 3:
                self.findings.append(
                    Finding(path, number, "exceptions", "expected 'RULE PATH: REASON' in words"))
                continue
            self.entries[tuple(words)] = number
        self.used = set()

    def apply(self, findings):
        kept = []
        for finding in findings:
            key = (finding.rule, finding.path)
            if key in self.entries:
                self.used.add(key)
            else:
                kept.append(finding)
        for key, number in self.entries.items():
            if key not in self.used:
                kept.append(Finding(self.path, number, "exceptions",
                                    f"{key[1]} does not need its exception from '{key[0]}'"))
        return kept + self.findings
