# SPDX-License-Identifier: Apache-2.0
"""The guard file of guard_file.h, from Python."""

import mmap
import struct

HEADER_WORDS, SLOTS_MAX = 16, 64
BYTES = (HEADER_WORDS + 2 * SLOTS_MAX) * 8


EXITING = 4  # PF_EXITING


def has_ended(pid):
    """As HasEnded of guard_file.h."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return True
    return fields[0] in "ZX" or bool(int(fields[6]) & EXITING)


class Guard:
    def __init__(self, path, holders_may_die=False):
        self.holders_may_die = holders_may_die
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
        if found and not (self.holders_may_die and has_ended(found)):
            return f"slot {slot} token {token}: {found} is still inside"
        return f"slot {slot} token {token} is not above {last}" if token <= last else None

    def leave(self, slot, who):
        inside = HEADER_WORDS + 2 * slot
        found = self.word(inside)
        self.put(inside, 0)
        return None if found == who else f"slot {slot}: {found} instead of {who}"
