# SPDX-License-Identifier: Apache-2.0
"""The soak in its short form: half a minute of it, the whole daemon killed once."""

import sys
import unittest

import soak


class ShortSoak(unittest.TestCase):
    def test_nothing_is_lost_or_doubled(self):
        soak.DAEMON_EVERY_S, soak.QUIET_EVERY_S = 12, 20
        sys.argv = ["soak.py", "--minutes=0.5", "--clients=3"]
        self.assertEqual(soak.main(), 0)


if __name__ == "__main__":
    unittest.main()
