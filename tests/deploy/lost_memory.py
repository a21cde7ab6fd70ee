# SPDX-License-Identifier: Apache-2.0
"""A page of shared memory is lost: the fault that the kernel raises then, raised by hand.

A process can be sent SIGBUS by anybody, but only its debugger can make it the one of a fault at an
address. So the test is that, for a moment. x86-64 and arm64.
"""

import ctypes
import os
import pathlib
import signal
import struct

PTRACE_DETACH, PTRACE_SETSIGINFO, PTRACE_SEIZE = 17, 0x4203, 0x4206
WALL = 0x40000000
BUS_ADRERR = 2
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request, pid, data):
    if _libc.ptrace(request, pid, None, data) != 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x}")


def lose_a_page(pid, name):
    """The first page of the mapping called `name` in the process."""
    maps = pathlib.Path(f"/proc/{pid}/maps").read_text()
    (address,) = [int(line.split("-")[0], 16) for line in maps.splitlines() if f" {name} " in line]
    _ptrace(PTRACE_SEIZE, pid, None)
    os.kill(pid, signal.SIGBUS)
    while True:
        _, status = os.waitpid(pid, WALL)
        if os.WSTOPSIG(status) == signal.SIGBUS:
            break
    # struct siginfo: signo, errno, code, and the address at the next multiple of eight.
    fault = struct.pack("=iiiiQ", signal.SIGBUS, 0, BUS_ADRERR, 0, address).ljust(128, b"\0")
    _ptrace(PTRACE_SETSIGINFO, pid, ctypes.cast(fault, ctypes.c_void_p))
    _ptrace(PTRACE_DETACH, pid, ctypes.c_void_p(signal.SIGBUS))
