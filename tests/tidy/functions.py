# SPDX-License-Identifier: Apache-2.0
"""Length of C++ functions, counted from the opening to the closing brace of the body."""

import re

from tree import Finding

FUNCTION_LINES_MAX = 60

# Comments, raw strings, strings and characters, so that their braces do not count.
NOT_CODE = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<tag>\w*)\(.*?\)(?P=tag)"|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9A-Fa-f])'(?:\\.|[^'\\\n])+'", re.DOTALL)
DIRECTIVE = re.compile(r"^[ \t]*#(?:\\\n|[^\n])*", re.MULTILINE)
SCOPE = re.compile(r"\b(namespace|class|struct|union|enum|extern)\b[^()]*$|\b(class|struct)\b"
                   r"[^;{}]*\balignas\s*\([^)]*\)[^();{}]*$")


def blank(match):
    return re.sub(r"[^\n]", " ", match.group(0))


def function_lengths(text):
    """Yields (first line, length) of each outermost function body."""
    code = DIRECTIVE.sub(blank, NOT_CODE.sub(blank, text))
    depth, body_depth, start, head_start = 0, None, 0, 0
    for position, character in enumerate(code):
        if character == "{":
            head = code[head_start:position]
            if body_depth is None and ")" in head and not SCOPE.search(head):
                body_depth, start = depth, code.count("\n", 0, position) + 1
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == body_depth:
                yield start, code.count("\n", 0, position) + 2 - start
                body_depth = None
        if character in "{};" and body_depth is None:
            head_start = position + 1


def check_functions(tree):
    for file in tree.files.values():
        if not file.is_cpp or file.path.startswith("tests/"):
            continue
        for line, length in function_lengths(file.text):
            if length > FUNCTION_LINES_MAX:
                yield Finding(file.path, line, "function-length",
                              f"{length} lines, {FUNCTION_LINES_MAX} at most")
