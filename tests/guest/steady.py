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
    """The VM's own, and which VMs run; from one reading."""
    own, running = {}, set()
    with open(prom) as f:
        for line in f:
            series, _, number = line.rpartition(" ")
            name, _, labels = series.partition("{")
            if name == "vhostmd_vm_info":
                running.add(labels.split('"')[1])
            elif name.endswith("_total") and labels.startswith(f'uuid="{uuid}"'):
                own[series] = float(number)
    return own, running


def other_of(series):
    """The VM for which the series has how long this one waited; None: it is of no other."""
    return series.partition('by_uuid="')[2].partition('"')[0] or None


def note(*what):
    """Remembers when it was seen first."""
    wrong.setdefault(what, time.strftime("%T"))


uuid = str(value("domain.uuid")).strip()
names = [n for n in os.listdir(folder) if isinstance(value(n), str)]
constants = {n: value(n) for n in CONSTANT if n in names}
before, _ = counters()
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
    now, running = counters()
    for series in list(before):
        # of a pair there is one while both run
        if other_of(series) and other_of(series) not in running:
            del before[series]
        elif now.get(series, -1) < before[series]:
            note("fell", series)
    before |= now
for what in sorted(wrong):
    print(*what, "at", wrong[what])
print(f"still {longest:.1f}")
print("sweeps", sweeps)
