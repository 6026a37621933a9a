# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads all files of a VM's folder and its counters in metrics.prom, fifty times a second, until
there is something on its standard input; prints each file that had a value at first and once had
none, what changed that must not, which counters fell, how long the VM's CPU time stood still at
most, and how often it looked.

usage: steady.py FOLDER METRICS.PROM
"""
import errno
import os
import select
import sys
import time

folder, prom = sys.argv[1:]
CONSTANT = "domain.name", "domain.uuid", "domain.id", "domain.session"


def value(name):
    try:
        with open(os.path.join(folder, name)) as f:
            return f.read() or "nothing"
    except OSError as e:
        return e.errno


def counters():
    with open(prom) as f:
        for line in f:
            series, _, number = line.rpartition(" ")
            if uuid in series and series.partition("{")[0].endswith("_total"):
                yield series, float(number)


def note(*what):
    """Remembers when it was seen first."""
    wrong.setdefault(what, time.strftime("%T"))


uuid = str(value("domain.uuid")).strip()
names = [n for n in os.listdir(folder) if isinstance(value(n), str)]
constants = {n: value(n) for n in CONSTANT if n in names}
before = dict(counters())
print("ready", len(names), len(before), flush=True)
wrong, sweeps, longest = {}, 0, 0
cpu_time, moved = None, time.monotonic()
while not select.select([sys.stdin], [], [], 0.02)[0]:
    sweeps += 1
    for name in names:
        seen = value(name)
        if seen == "nothing" or isinstance(seen, int):
            note("gap", name, errno.errorcode.get(seen, seen))
        elif seen != constants.get(name, seen):
            note("changed", name, seen.strip())
        if name == "cpu.time" and seen != cpu_time:
            cpu_time, moved = seen, time.monotonic()
    longest = max(longest, time.monotonic() - moved)
    now = dict(counters())
    for series in before:
        if now.get(series, -1) < before[series]:
            note("fell", series)
    before |= now
for what in sorted(wrong):
    print(*what, "at", wrong[what])
print(f"still {longest:.1f}")
print("sweeps", sweeps)
