# SPDX-License-Identifier: LGPL-2.1-or-later
"""How long after the death of a worker a file of each VM has been read again:
back.py MOUNT TIMES FILE VMS; prints milliseconds, a line for each death."""
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
for _ in range(times):
    while status(b"uptime_s") < 3:  # it has come to rest
        time.sleep(0.05)
    worker = status(b"pid")
    begin = time.monotonic()
    os.kill(worker, signal.SIGKILL)
    for path in files:
        if not read(path).endswith(b"\n"):
            raise SystemExit("%s is not whole" % path)
    print("%.2f" % (1000 * (time.monotonic() - begin)), flush=True)
    if status(b"pid") == worker:
        raise SystemExit("the worker lives")
