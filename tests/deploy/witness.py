# SPDX-License-Identifier: Apache-2.0
"""The witness file of witness_file.h, from the test's side."""

import mmap
import os
import struct

WORDS = 512 + 16384
WAIT, CHURN, HOLD, END = range(4)
PHASES = ("none", "started", "attaching", "acquiring", "holding", "releasing")


class Witness:
    def __init__(self, path):
        with open(path, "x+b") as file:
            file.truncate(WORDS * 8)
            self.map = mmap.mmap(file.fileno(), WORDS * 8)
        os.chmod(path, 0o666)  # for users of containers
        self.incarnations = 0

    def word(self, index):
        return struct.unpack_from("=Q", self.map, index * 8)[0]

    def put(self, index, value):
        struct.pack_into("=Q", self.map, index * 8, value)

    violations = property(lambda self: self.word(0))
    grants = property(lambda self: self.word(1))
    losses = property(lambda self: self.word(2))
    refused_releases = property(lambda self: self.word(3))

    def prepare(self, client):
        """Before client starts: a new incarnation that waits to be told what to do."""
        self.incarnations += 1
        base = 16 + 8 * client
        for field, value in enumerate((self.incarnations, WAIT, 0, 0, 0, 0, 0)):
            self.put(base + field, value)

    def command(self, client, command):
        self.put(16 + 8 * client + 1, command)

    def phase(self, client):
        return PHASES[self.word(16 + 8 * client + 2)]

    def grants_of(self, client):
        return self.word(16 + 8 * client + 3)

    def held(self, client):
        """(slot, token), or None."""
        slot = self.word(16 + 8 * client + 4)
        return (slot - 1, self.word(16 + 8 * client + 5)) if slot else None

    def doom(self, client):
        """Before client is killed: it may leave cells behind from now on."""
        self.put(512 + self.word(16 + 8 * client), 1)

    def inside(self, slot):
        return self.word(128 + 2 * slot)

    def last_token(self, slot):
        return self.word(128 + 2 * slot + 1)
