# SPDX-License-Identifier: Apache-2.0
"""The guard file of guard_file.h, from Python."""

import mmap
import struct

HEADER_WORDS, SLOTS_MAX = 16, 64
BYTES = (HEADER_WORDS + 2 * SLOTS_MAX) * 8


class Guard:
    def __init__(self, path):
        with open(path, "a+b") as file:
            file.truncate(BYTES)
            self.map = mmap.mmap(file.fileno(), BYTES)

    def word(self, index):
        return struct.unpack_from("=Q", self.map, index * 8)[0]

    def put(self, index, value):
        struct.pack_into("=Q", self.map, index * 8, value)

    @property
    def violations(self):
        return self.word(0)

    @property
    def grants(self):
        return self.word(1)

    def operations(self, index):
        return self.word(2 + index)

    def enter(self, slot, token, who):
        """What was wrong, or None. Exclusion makes plain reads and writes enough."""
        inside = HEADER_WORDS + 2 * slot
        found, last = self.word(inside), self.word(inside + 1)
        self.put(inside, who)
        self.put(inside + 1, token)
        if found:
            return f"slot {slot} token {token}: {found} is still inside"
        return f"slot {slot} token {token} is not above {last}" if token <= last else None

    def leave(self, slot, who):
        inside = HEADER_WORDS + 2 * slot
        found = self.word(inside)
        self.put(inside, 0)
        return None if found == who else f"slot {slot}: {found} instead of {who}"
