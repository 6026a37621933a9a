# SPDX-License-Identifier: LGPL-2.1-or-later
"""What sample.sh measures with: python3 sample.py COMMAND ARGUMENT...

Guests of reading-guest.S connect their serial lines to DIR/UUID.serial.

  cpu PID [NAME...]       CPU time of a process' threads in ns; of those with a NAME, or,
                          after "-", of those without
  cpus PID...             that of these processes together, without vCPUs, which answer no monitor
  watch STATUS END SKIP   reads the status file for END seconds, or until the file END is
                          there, and prints the worst age of VMs' fast figures in ms, the
                          uuid SKIP left out
  nudge DIR SECONDS UUID...
                          each of these guests reads its disk so often, until it is killed
  unseen DIR MOUNT PERIOD SECONDS UUID...
                          each reads its disk now and then; prints how many reads there were, how
                          many of them were not shown PERIOD later, and after how many seconds the
                          last one was.  Begins when all of them are there, ends after SECONDS
"""
import glob
import os
import random
import selectors
import socket
import sys
import time


def threads(pid):
    """Yield: each thread's name and CPU time, ns."""
    for task in glob.glob(f"/proc/{pid}/task/*"):
        try:
            yield open(task + "/comm").read().strip(), int(open(task + "/schedstat").read().split()[0])
        except OSError:
            pass  # it ended just now


def cpu(pid, *names):
    without = names[:1] == ("-",)
    return sum(ns for comm, ns in threads(pid) if not names or (comm in names) != without)


def cpus(*pids):
    return sum(ns for pid in pids for comm, ns in threads(pid) if not comm.startswith("CPU "))


def watch(status, end, skip):
    start = time.monotonic()
    worst = 0
    while not (os.path.exists(end) if end.startswith("/") else time.monotonic() - start > float(end)):
        for line in open(status):
            if line.startswith("vm.") and ".age_ms: " in line and skip not in line:
                worst = max(worst, int(line.split()[1]))
        time.sleep(0.02)
    return worst


def serial_lines(folder, uuids):
    """Return: the connection of each guest."""
    selector, lines = selectors.DefaultSelector(), {}
    for uuid in uuids:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{folder}/{uuid}.serial")
        os.chmod(f"{folder}/{uuid}.serial", 0o666)
        listener.listen()
        selector.register(listener, selectors.EVENT_READ, uuid)
    while len(lines) < len(uuids):
        for key, _ in selector.select():
            lines[key.data] = key.fileobj.accept()[0]
            selector.unregister(key.fileobj)
    return lines


def nudge(folder, seconds, *uuids):
    lines = serial_lines(folder, uuids)
    while True:
        for line in lines.values():
            time.sleep(float(seconds) / len(lines))
            line.send(b"x")


class Reader:
    """A guest that reads seldom, so that its QEMU sleeps in between."""

    def __init__(self, line, path, period):
        self.line, self.path, self.period = line, path, period
        self.shown = self.count()
        self.sent, self.worst, self.reads, self.late = None, 0, 0, 0
        self.due = time.monotonic() + random.expovariate(1 / (3 * period))

    def count(self):
        with open(self.path, encoding="ascii") as f:
            return int(f.read())

    def look(self, now):
        if self.sent is not None:
            if self.count() > self.shown:
                took = now - self.sent
                self.worst = max(self.worst, took)
                self.late += took > self.period
                self.shown, self.sent = self.count(), None
                self.due = now + random.expovariate(1 / (3 * self.period))
        elif now >= self.due:
            self.line.send(b"x")
            self.reads += 1
            self.sent = now


def unseen(folder, mnt, period, seconds, *uuids):
    lines = serial_lines(folder, uuids)
    paths = {u: f"{mnt}/metrics/vm-by-uuid/{u}/block.0.rd.reqs" for u in uuids}
    while not all(os.path.exists(p) for p in paths.values()):
        time.sleep(0.1)
    readers = [Reader(lines[u], paths[u], float(period)) for u in uuids]
    end = time.monotonic() + float(seconds)
    # those that are under way are waited for, though not for ever
    while time.monotonic() < end or any(r.sent for r in readers):
        now = time.monotonic()
        if now > end + 20 * float(period):
            break
        for r in readers:
            if now < end or r.sent is not None:
                r.look(now)
        time.sleep(0.02)
    late = sum(r.late + (r.sent is not None) for r in readers)
    return f"{sum(r.reads for r in readers)} {late} {max(r.worst for r in readers):.2f}"


if __name__ == "__main__":
    commands = {"cpu": cpu, "cpus": cpus, "watch": watch, "nudge": nudge, "unseen": unseen}
    print(commands[sys.argv[1]](*sys.argv[2:]))
