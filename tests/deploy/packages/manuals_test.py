# SPDX-License-Identifier: Apache-2.0
"""The manual pages name everything that the programs and docs/configuration.md have."""

import os
import pathlib
import re
import subprocess
import unittest

SOURCE = pathlib.Path(os.environ["LEASEPLANE_SOURCE_DIR"])
BIN = pathlib.Path(os.environ["LEASEPLANE_BIN_DIR"])


def page(name):
    text = (SOURCE / "deploy/man" / name).read_text()
    return text.replace("\\-", "-").replace("\\fI", "").replace("\\fR", "").replace("\\&", "")


def options(*command):
    text = subprocess.run([BIN / command[0], *command[1:], "--help"], capture_output=True,
                          text=True, timeout=60, check=True).stdout
    names = re.findall(r"^  (-\S+)", text, re.M)
    return {name for group in names for name in group.split(",") if name.startswith("--")}


def commands():
    text = subprocess.run([BIN / "leasectl", "--help"], capture_output=True, text=True, timeout=60,
                          check=True).stdout
    return re.findall(r"^  ([a-z]+) ", text.split("Subcommands:")[1], re.M)


class ManualsTest(unittest.TestCase):
    def test_every_option_of_the_daemon(self):
        text = page("leaseplaned.8")
        found = options("leaseplaned")
        self.assertIn("--listen", found)
        missing = [o for o in found if not re.search(rf"^\.BR? {o}\b", text, re.M)]
        self.assertEqual(missing, [])

    def test_every_command_and_option_of_leasectl(self):
        text = page("leasectl.1")
        self.assertIn("acquire", commands())
        for command in commands():
            self.assertRegex(text, rf"(?m)^\.B {command}( |$)")
            part = re.split(rf"(?m)^\.B {command}(?: .*)?$", text)[1]
            part = part.split(".RE")[0] if part.lstrip().split("\n")[1:2] == [".RS"] else part
            for option in options("leasectl", command) - options("leasectl"):
                self.assertIn(option, part, command)
        for option in options("leasectl"):
            self.assertRegex(text, rf"(?m)^\.B .*{option}\b")

    def test_every_key_with_its_range(self):
        text = page("leaseplane.conf.5")
        rows = []
        for line in (SOURCE / "docs/configuration.md").read_text().splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if line.startswith("| `") and len(cells) > 2 and cells[0] != "`pools`":
                rows.append((cells[0].strip("`"), cells[-2].strip("`"), cells[-1].replace("`", "")))
        self.assertGreater(len(rows), 35)
        for key, default, valid in rows:
            self.assertIn(f".B {key}\n{valid}.\nDefault: {default}.\n", text)

    def test_pages_are_well_formed(self):
        for path in sorted((SOURCE / "deploy/man").iterdir()):
            text = path.read_text()
            self.assertRegex(text, r'(?m)^\.TH [A-Z.]+ [158] "" "Leaseplane @PROJECT_VERSION@"')
            for section in ("NAME", "DESCRIPTION", "SEE ALSO"):
                self.assertIn(f".SH {section}\n", text)
            self.assertEqual(text.count("\n.RS\n"), text.count("\n.RE\n"))
            known = r"^\.(TH|SH|TP|BR?|RI|IR?|PP|EX|EE|br|RS|RE|\\\")( |$)"
            for line in text.splitlines():
                self.assertFalse(line.startswith(".") and not re.match(known, line), line)


if __name__ == "__main__":
    unittest.main()
