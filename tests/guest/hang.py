# SPDX-License-Identifier: LGPL-2.1-or-later
"""hang.py PID...: holds all threads of processes as a debugger does, until it is killed.

To the kernel they are not stopped, nor do they wait: only who asks them learns that they
do not answer.  Prints "held" when they are.
"""
import ctypes
import os
import signal
import sys

SEIZE, INTERRUPT, WALL = 0x4206, 0x4207, 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long] * 4
for pid in sys.argv[1:]:
    for tid in map(int, os.listdir(f"/proc/{pid}/task")):
        for request in SEIZE, INTERRUPT:
            if libc.ptrace(request, tid, 0, 0) < 0:
                sys.exit(f"{tid}: {os.strerror(ctypes.get_errno())}")
        os.waitpid(tid, WALL)
print("held", flush=True)
signal.pause()
