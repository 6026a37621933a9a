# SPDX-License-Identifier: LGPL-2.1-or-later
"""Readers that keep files open whose values become longer and shorter: each read shows all of one.

grown.py SECONDS FILE...
"""
import os
import re
import sys
import time

READERS = 4
WHOLE = re.compile(rb"\d+\n")


def read_all(files, end):
    """Return: what was read that is not whole."""
    torn = set()
    seen = set()
    while time.monotonic() < end:
        for fd in files:
            text = os.pread(fd, 64, 0)
            if not WHOLE.fullmatch(text):
                torn.add(text)
            seen.add(text)
            os.fstat(fd)
    if len(seen) < 2:
        torn.add(b"nothing else than %r" % seen)
    return torn


end = time.monotonic() + float(sys.argv[1])
files = [os.open(path, os.O_RDONLY) for path in sys.argv[2:]]
children = []
for _ in range(READERS):
    pid = os.fork()
    if not pid:
        torn = read_all(files, end)
        for text in torn:
            print("torn: %r" % text)
        sys.stdout.flush()
        os._exit(1 if torn else 0)
    children.append(pid)
sys.exit(any([os.waitpid(pid, 0)[1] for pid in children]))
