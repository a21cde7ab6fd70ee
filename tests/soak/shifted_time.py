# SPDX-License-Identifier: Apache-2.0
"""Executes a program whose clocks are ahead of everybody else's.

shifted_time.py MONOTONIC_S BOOTTIME_S PROGRAM ARGUMENT...

It runs in a time namespace of its own, as the same process. Needs the right to make one
(CAP_SYS_ADMIN); without it, it ends with 77.
"""

import ctypes
import os
import sys

CLONE_NEWTIME = 0x80


def shift(monotonic_s, boottime_s):
    """Moves this process. OSError if that is not permitted."""
    libc = ctypes.CDLL(None, use_errno=True)

    def must(result):
        if result != 0:
            raise OSError(ctypes.get_errno(), "time namespace")

    must(libc.unshare(CLONE_NEWTIME))
    with open("/proc/self/timens_offsets", "w") as file:
        file.write(f"monotonic {monotonic_s} 0\nboottime {boottime_s} 0\n")
    namespace = os.open("/proc/self/ns/time_for_children", os.O_RDONLY | os.O_CLOEXEC)
    must(libc.setns(namespace, CLONE_NEWTIME))


def main():
    try:
        shift(int(sys.argv[1]), int(sys.argv[2]))
    except OSError as error:
        print(error, file=sys.stderr)
        return 77
    os.execv(sys.argv[3], sys.argv[3:])


if __name__ == "__main__":
    sys.exit(main())
