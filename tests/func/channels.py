# SPDX-License-Identifier: LGPL-2.1-or-later
"""What stands for QEMU and a guest's program that asks on its channel again and again:
channels.py SOCKET

Listens there as QEMU does, and on the one connection it sends requests in pieces, some of them two
at once, and reads the replies, some slowly.  SIGTERM ends it.  Prints what it met, and ends with 1 if a
connection was lost or was not the only one, a reply was torn, or was one too many, or did not come.
"""
import collections
import random
import select
import signal
import socket
import sys
import time

LONGEST = 10  # that a reply may take
REQUEST = b"GET /metrics/XML\n\n"
faults, counts = collections.Counter(), collections.Counter()
worst = 0.0
ended = False


def end(*_):
    global ended
    ended = True


signal.signal(signal.SIGTERM, end)
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(1)
listener.settimeout(20)
print("ready", flush=True)
line, _ = listener.accept()
line.setblocking(False)
pending = b""


def take(most):
    """Return: False if the connection is lost."""
    global pending
    try:
        part = line.recv(most)
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    pending += part
    return bool(part)


def check(reply):
    if not reply.startswith(b"<metrics>") or reply.count(b"</metrics>") != 1:
        faults["torn: %r...%r" % (reply[:40], reply[-40:])] += 1
    elif reply.count(b"<metric ") != reply.count(b"</metric>") or reply.count(b"<metric ") < 400:
        faults["torn within"] += 1


def hear(due, piece):
    """Reads until so many replies have come.  Return: False if the connection is lost."""
    global pending
    until = time.monotonic() + LONGEST
    while due:
        if not select.select([line], [], [], max(0, until - time.monotonic()))[0]:
            faults["no reply"] += 1
            return False
        if not take(piece):
            faults["the connection is lost"] += 1
            return False
        if piece < 65536:
            time.sleep(0.001)
        while b"\n\n" in pending:
            reply, pending = pending.split(b"\n\n", 1)
            check(reply)
            counts["replies"] += 1
            due -= 1
    return True


def ask():
    """Return: the same."""
    global worst
    n = random.choice([1, 1, 2])
    text = n * REQUEST
    begin = time.monotonic()
    while text:
        size = random.randint(1, len(text)) if random.random() < 0.5 else len(text)
        try:
            line.send(text[:size])
        except ConnectionError:
            faults["the connection is lost"] += 1
            return False
        text = text[size:]
        if text:
            time.sleep(random.random() / 100)
    there = hear(n, random.choice([65536, 65536, 3000]))
    worst = max(worst, time.monotonic() - begin)
    if there and pending:
        faults["more than was asked for: %r" % pending[:40]] += 1
    return there


while not ended and ask():
    if select.select([listener], [], [], 0)[0]:
        faults["it is connected again"] += 1
        break
# and nothing comes that nobody asked for
if not faults and select.select([line], [], [], 0.5)[0]:
    faults["more than was asked for, or the connection is lost"] += 1
print(", ".join("%s %d" % item for item in sorted(counts.items())) + ", worst %.3f s" % worst)
for fault, n in faults.items():
    print("%d x %s" % (n, fault))
sys.exit(1 if faults or not counts["replies"] else 0)
