# SPDX-License-Identifier: LGPL-2.1-or-later
"""What sample.sh measures with: python3 sample.py COMMAND ARGUMENT...

  cpu PID [NAME...]       CPU time of a process' threads in ns; of those with a NAME, or,
                          after "-", of those without
  cpus PID...             that of these processes, all threads, together
  watch STATUS END SKIP   reads the status file for END seconds, or until the file END is
                          there, and prints the worst age of VMs' fast figures in ms, the
                          uuid SKIP left out
"""
import glob
import os
import sys
import time


def cpu(pid, *names):
    without = names[:1] == ("-",)
    total = 0
    for task in glob.glob(f"/proc/{pid}/task/*"):
        try:
            comm = open(task + "/comm").read().strip()
            ns = int(open(task + "/schedstat").read().split()[0])
        except OSError:
            continue  # it ended just now
        if not names or (comm in names) != without:
            total += ns
    return total


def cpus(*pids):
    return sum(cpu(pid) for pid in pids)


def watch(status, end, skip):
    start = time.monotonic()
    worst = 0
    while not (os.path.exists(end) if end.startswith("/") else time.monotonic() - start > float(end)):
        for line in open(status):
            if line.startswith("vm.") and ".age_ms: " in line and skip not in line:
                worst = max(worst, int(line.split()[1]))
        time.sleep(0.02)
    return worst


if __name__ == "__main__":
    print({"cpu": cpu, "cpus": cpus, "watch": watch}[sys.argv[1]](*sys.argv[2:]))
