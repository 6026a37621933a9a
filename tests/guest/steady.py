# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads all files of a folder fifty times a second until its standard input ends; prints each
that had a value at first and once had none, and how often it looked.

usage: steady.py FOLDER
"""
import errno
import os
import select
import sys

folder = sys.argv[1]


def value(name):
    try:
        with open(os.path.join(folder, name)) as f:
            return f.read() or "nothing"
    except OSError as e:
        return e.errno


names = [n for n in os.listdir(folder) if isinstance(value(n), str)]
print("ready", len(names), flush=True)
gaps, sweeps = set(), 0
while not select.select([sys.stdin], [], [], 0.02)[0]:
    sweeps += 1
    for name in names:
        seen = value(name)
        if seen == "nothing" or isinstance(seen, int):
            gaps.add((name, errno.errorcode.get(seen, seen)))
for gap in sorted(gaps):
    print("gap", *gap)
print("sweeps", sweeps)
