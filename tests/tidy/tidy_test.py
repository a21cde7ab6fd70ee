#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Plants one fault at a time and expects exactly the rule that should see it."""

import pathlib
import tempfile
import unittest

import functions
import tidy
from tree import Exceptions, TextFile, Tree

LICENSED = "// SPDX-License-Identifier: Apache-2.0\n"
HASHED = "# SPDX-License-Identifier: Apache-2.0\n"


def faults(files, exceptions="", extra_root=()):
    """Rules that report an error on a tree of {path: text}; .cc files count as built."""
    texts = dict(files)
    for path in files:
        if path.endswith(".cc"):
            folder = path.rsplit("/", 1)[0]
            name = path.rsplit("/", 1)[1]
            texts.setdefault(folder + "/CMakeLists.txt", HASHED + f"add_library(x {name})\n")
    tree = Tree([TextFile(path, text) for path, text in texts.items()],
                {path.split("/")[0] for path in texts} | set(extra_root), texts)
    found = tidy.check(tree, Exceptions(exceptions, tidy.EXCEPTIONS_PATH))
    return sorted({finding.rule for finding in found if finding.is_error})


def cpp(*lines):
    return LICENSED + "\n".join(lines) + "\n"


class LayerTest(unittest.TestCase):

    def check(self, path, include, expected):
        self.assertEqual(faults({path: cpp(f"#include {include}")}), expected, (path, include))

    def test_downward_includes_pass(self):
        for path, include in [
                ("core/shm/a.h", '"core/base/ids.h"'), ("core/pool/a.cc", '"core/shm/layout.h"'),
                ("server/engine/a.cc", '"core/pool/slot_word.h"'),
                ("server/plane/a.cc", '"server/engine/engine.h"'),
                ("server/rpc/a.cc", '"leaseplane/v1/lease_service.grpc.pb.h"'),
                ("server/rpc/a.cc", "<grpcpp/grpcpp.h>"), ("server/app/a.cc", '"server/rpc/b.h"'),
                ("clients/cpp/local/a.cc", '"core/attach/messages.h"'),
                ("clients/cli/a.cc", '"clients/cpp/client.h"'),
                ("server/store/a.cc", "<sqlite3.h>"), ("tests/unit/a_test.cc", "<gtest/gtest.h>"),
                ("server/main.cc", '"server/app/server_app.h"')]:
            self.check(path, include, [])

    def test_upward_and_sideways_includes_are_caught(self):
        for path, include in [
                ("core/base/a.h", '"core/shm/layout.h"'), ("core/shm/a.h", '"core/pool/pool.h"'),
                ("core/attach/a.h", '"core/pool/pool.h"'), ("core/pool/a.cc", '"server/obs/log.h"'),
                ("server/engine/a.cc", '"server/plane/plane.h"'),
                ("server/ledger/a.cc", '"server/store/store.h"'),
                ("server/rpc/a.cc", '"server/app/app.h"'),
                ("server/rpc/a.cc", '"clients/cpp/client.h"'),
                ("server/rpc/a.cc", '"leaseplane/client.h"'),
                ("clients/cli/a.cc", '"server/config/options.h"'),
                ("clients/cpp/local/a.cc", '"clients/cpp/remote/remote.h"'),
                ("clients/cpp/a.cc", '"tests/support/seed.h"')]:
            self.check(path, include, ["layers"])

    def test_libraries_stay_in_their_folders(self):
        for path, include in [
                ("core/pool/a.cc", "<grpcpp/grpcpp.h>"),
                ("server/engine/a.cc", "<google/protobuf/message.h>"),
                ("server/plane/a.cc", '"leaseplane/v1/lease.pb.h"'),
                ("clients/cpp/local/a.cc", '"leaseplane/v1/lease.pb.h"'),
                ("server/plane/a.cc", "<prometheus/counter.h>"),
                ("server/app/a.cc", "<spdlog/spdlog.h>"), ("server/ledger/a.cc", "<sqlite3.h>"),
                ("server/engine/a.cc", "<mutex>"), ("server/engine/a.cc", "<sys/socket.h>"),
                ("core/pool/a.cc", "<thread>"), ("server/obs/a.cc", "<gtest/gtest.h>")]:
            self.check(path, include, ["layers"])

    def test_include_that_is_not_from_the_root_is_caught(self):
        self.check("core/pool/a.cc", '"slot_word.h"', ["layers"])

    def test_cpp_outside_the_layers_is_caught(self):
        self.assertEqual(faults({"core/extra/a.h": cpp()}), ["layers"])

    def test_clock_read_in_core_and_engine_is_caught(self):
        read = cpp("long T() { return std::chrono::steady_clock::now(); }")
        self.assertEqual(faults({"core/pool/a.cc": read}), ["clock"])
        self.assertEqual(faults({"server/engine/a.cc": read}), ["clock"])
        self.assertEqual(faults({"server/app/a.cc": read}), [])
        self.assertEqual(faults({"core/pool/a.cc": cpp("// not clock_gettime()")}), [])


class TextTest(unittest.TestCase):

    def test_width(self):
        self.assertEqual(faults({"core/base/a.h": cpp("x" * 100)}), [])
        self.assertEqual(faults({"core/base/a.h": cpp("x" * 101)}), ["width"])
        self.assertEqual(faults({"docs/a.md": "| " + "x" * 120}), [])

    def test_unfinished_words(self):
        for word in ("TO" + "DO", "FIX" + "ME", "XX" + "X"):
            self.assertEqual(faults({"docs/a.md": f"{word}: later\n"}), ["unfinished"])
        self.assertEqual(faults({"docs/a.md": "mastoDON\n"}), [])

    def test_file_length(self):
        self.assertEqual(faults({"core/base/a.h": cpp(*["x;"] * 399)}), [])
        self.assertEqual(faults({"core/base/a.h": cpp(*["x;"] * 400)}), ["length"])

    def test_spdx(self):
        self.assertEqual(faults({"core/base/a.h": "int x;\n"}), ["spdx"])
        self.assertEqual(faults({"deploy/a.sh": "#!/bin/sh\n" + HASHED}), [])
        self.assertEqual(faults({"dev": "#!/bin/sh\n"}), ["spdx"])

    def test_names(self):
        for name in ("utils.h", "pool_util.h", "helpers.h", "common.h", "test_helper.h"):
            self.assertEqual(faults({"core/base/" + name: cpp()}), ["names"], name)
        self.assertEqual(faults({"core/base/utility_price.h": cpp()}), [])

    def test_machine_paths(self):
        for path in ("/wor" + "k/main", "/tmp/l" + "p/x", "/ho" + "me/joe"):
            self.assertEqual(faults({"docs/a.md": f"see {path}\n"}), ["machine-path"], path)
        for path in ("/workspace", "a/work/b", "${x}/work", "/tmp/lpx", "/homes"):
            self.assertEqual(faults({"docs/a.md": f"see {path}\n"}), [], path)

    def test_root_entries(self):
        self.assertEqual(faults({"docs/a.md": "text\n"}, extra_root=["cmake"]), ["root"])

    def test_source_that_nobody_builds(self):
        self.assertEqual(faults({"core/base/a.cc": cpp(),
                                 "core/base/CMakeLists.txt": HASHED + "# aa.cc\n"}), ["unbuilt"])

    def test_broken_link(self):
        self.assertEqual(faults({"docs/a.md": "[b](b.md) [c](../README.md#x)\n",
                                 "docs/b.md": "b\n", "README.md": "r\n"}), [])
        self.assertEqual(faults({"docs/a.md": "[b](gone.md)\n"}), ["links"])


class AtomicsTest(unittest.TestCase):
    source = {"server/plane/a.h": cpp("std::atomic<int> count;")}

    def test_only_core_and_tests_have_atomics(self):
        self.assertEqual(faults(self.source), ["atomics"])
        self.assertEqual(faults({"core/pool/a.h": cpp("std::atomic<int> count;")}), [])
        self.assertEqual(faults({"tests/stress/a.h": cpp("std::atomic<int> count;")}), [])

    def test_listed_reason_excuses(self):
        self.assertEqual(faults(self.source, "atomics server/plane/a.h: read by the scrape\n"), [])

    def test_exception_without_reason_or_need_is_caught(self):
        self.assertEqual(faults(self.source, "atomics server/plane/a.h:\n"),
                         ["atomics", "exceptions"])
        self.assertEqual(faults({"docs/a.md": "x\n"}, "atomics a.h: it was needed once\n"),
                         ["exceptions"])


class FunctionTest(unittest.TestCase):

    def test_long_function_is_caught_and_long_class_is_not(self):
        body = ["  x();"] * 59
        self.assertEqual(faults({"core/base/a.h": cpp("void F() {", *body, "}")}),
                         ["function-length"])
        self.assertEqual(faults({"core/base/a.h": cpp("void F() {", *body[1:], "}")}), [])
        self.assertEqual(faults({"core/base/a.h": cpp("class C : public D {", *body * 2, "};")}),
                         [])

    def test_lengths_of_mixed_code(self):
        text = ('namespace a {\nclass alignas(64) C {\n  C() : x_{1}, y_(2) {\n    if (a) {\n'
                '      f("}");\n    }\n  }\n  int x_ = 1;\n};\n'
                'int G(int b) { return b; }\nvoid H() {\n  auto l = [&](int c) {\n    c();\n  };\n'
                "  char q = '{';\n  int n = 1'000;\n}\n}  // namespace a\n")
        self.assertEqual(list(functions.function_lengths(text))[-2:], [(10, 1), (11, 7)])


class TreeTest(unittest.TestCase):

    def test_reads_a_folder_and_skips_build_trees(self):
        with tempfile.TemporaryDirectory() as name:
            root = pathlib.Path(name)
            for path in ("core/a.h", "build/dev/b.h", "core/__pycache__/c.py", "docs/d.png"):
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text("text\n")
            tree = Tree.read(root)
            self.assertEqual(sorted(tree.files), ["core/a.h"])
            self.assertIn("docs/d.png", tree.paths)
            self.assertEqual(tree.root_entries, ["build", "core", "docs"])


if __name__ == "__main__":
    unittest.main()
