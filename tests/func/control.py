# SPDX-License-Identifier: LGPL-2.1-or-later
"""Clients of the control socket PATH.

control.py ask PATH LINE
    sends a line and prints what comes.
control.py flood|hold|users PATH SECONDS
    does what costs most, as root's child that is somebody else: with more connections than anybody
    can accept, with as many as it can keep, or as a thousand users; prints what became of them.
"""
import collections
import os
import random
import socket
import sys
import time

NOBODY = 65534
KINDS = {
    "silent": b"",
    "half": b"vhostmd 1 rel",
    "slow": b"v",
    "endless": b"x" * 65536,
    "zeros": bytes(4096),
    "nonsense": bytes(range(256)) * 40,
    "lines": b"vhostmd 1 version\n" * 1000,
    "version": b"vhostmd 1 version\n",
    "never reads": b"vhostmd 1 status\n",
    "denied": b"vhostmd 1 reload\n",
    "upgrade": b"vhostmd 1 upgrade\n",
}


def connect(path, timeout=1):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(timeout)
    s.connect(path)
    return s


def ask(path, line):
    s = connect(path, 20)
    s.sendall(line.encode() + b"\n")
    print(s.makefile().read(), end="")


def begin(path, counts):
    kind, s = random.choice(list(KINDS)), None
    try:
        s = connect(path)
        s.setblocking(False)
        counts["connections"] += 1
        s.send(KINDS[kind])
        if kind == "half":
            socket.send_fds(s, [b"o"], [0, 1, 2])
    except (BlockingIOError, TimeoutError):
        counts["waits"] += 1
    except ConnectionError:
        counts["shut"] += 1
    return kind, s


def goes_on(kind, s):
    try:
        if kind == "slow":
            s.send(b"h")
            return True
        answer = b"x" if kind == "never reads" else s.recv(4096)
        assert b"in force" not in answer and not answer.startswith(b"ok 0 /"), answer
        return answer
    except (BlockingIOError, TimeoutError):
        return True
    except ConnectionError:
        return False


def flood(path, counts, there):
    there.append(begin(path, counts))
    if len(there) > 500:
        there.popleft()


def users(path, counts, there):
    os.seteuid(0)
    os.seteuid(100000 + random.randrange(1000))
    flood(path, counts, there)


def hold(path, counts, there):
    if len(there) < 100:
        there.append(begin(path, counts))
    for _ in range(5):
        there.rotate(1)
        if not there[0][1] or not goes_on(*there[0]):
            there.popleft()
            counts["over"] += 1
            return
    time.sleep(0.001)


def hostile(way, path, seconds):
    os.setgroups([])
    if way != users:
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    counts, there = collections.Counter(), collections.deque()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        way(path, counts, there)
    assert counts["connections"] > 100, counts
    print(way.__name__, dict(counts))


if sys.argv[1] == "ask":
    ask(sys.argv[2], sys.argv[3])
else:
    hostile({"flood": flood, "hold": hold, "users": users}[sys.argv[1]], sys.argv[2], float(sys.argv[3]))
