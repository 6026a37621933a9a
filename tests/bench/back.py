# SPDX-License-Identifier: LGPL-2.1-or-later
"""How long after the death of a worker a file of each VM has been read, of which the kernel has nothing,
and how long that takes while the worker lives:
back.py MOUNT TIMES FILE VMS; prints both in milliseconds, a line for each death."""
import glob
import os
import re
import signal
import sys
import time

mnt, times, name, vms = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])


def read(path):
    with open(path, "rb", buffering=0) as f:
        return f.read()


def status(line):
    return int(re.search(rb"^%s: (\d+)$" % line, read(mnt + "/status"), re.M)[1])


files = glob.glob(mnt + "/metrics/vm/*/" + name)
assert len(files) == vms, len(files)


def read_all():
    """Return: how long it took, in ms."""
    begin = time.monotonic()
    for path in files:
        if not read(path).endswith(b"\n"):
            raise SystemExit("%s is not whole" % path)
    return 1000 * (time.monotonic() - begin)


def forget():
    """The kernel has no file of us then, and asks for each."""
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as f:
        f.write("2")


for _ in range(times):
    while status(b"uptime_s") < 3:  # it has come to rest
        time.sleep(0.05)
    forget()
    cold = read_all()
    worker = status(b"pid")
    forget()
    os.kill(worker, signal.SIGKILL)
    print("%.2f %.2f" % (read_all(), cold), flush=True)
    if status(b"pid") == worker:
        raise SystemExit("the worker lives")
