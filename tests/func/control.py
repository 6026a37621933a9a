# SPDX-License-Identifier: LGPL-2.1-or-later
"""Clients of the control socket PATH.

control.py ask PATH LINE
    sends a line and prints what comes.
control.py flood|hold|users PATH SECONDS
    does what costs most, as root's child that is somebody else: with more connections than anybody
    can accept, with as many as it can keep, or as a thousand users; prints what became of them.
"""
import os
import random
import socket
import sys

NOBODY = 65534


def half_with_descriptors(s):
    s.send(b"vhostmd 1 rel")
    socket.send_fds(s, [b"o"], [0, 1, 2])


KINDS = {
    "silent": b"",
    "half": half_with_descriptors,
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


def check(answer):
    assert b"in force" not in answer and not answer.startswith(b"ok 0 /"), answer


def hostile(way, path, seconds):
    sys.dont_write_bytecode = True
    from hostile import Clients
    clients = Clients(lambda: connect(path), KINDS, 100, check)

    def users():
        os.seteuid(0)
        os.seteuid(100000 + random.randrange(1000))
        clients.flood()

    os.setgroups([])
    if way != "users":
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    clients.run({"flood": clients.flood, "hold": clients.hold, "users": users}[way], seconds)


if sys.argv[1] == "ask":
    ask(sys.argv[2], sys.argv[3])
else:
    hostile(sys.argv[1], sys.argv[2], float(sys.argv[3]))
