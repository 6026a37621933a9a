# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hostile clients of a socket, one loop of them: what control.py and scrape.py share."""
import collections
import random
import time


class Clients:
    """
    connect   Makes a connection, or fails as a socket does.
    kinds     What each kind of client sends at once: bytes, or a function of its socket.  "slow"
              goes on with a byte at a time, and "never reads" hardly does.
    check     Is given each answer.
    most      So many it tries to keep.
    """

    def __init__(self, connect, kinds, most, check=lambda answer: None):
        self.connect, self.kinds, self.most, self.check = connect, kinds, most, check
        self.counts, self.there = collections.Counter(), collections.deque()

    def _begin(self):
        """Return: the kind and the connection, on which something begins; None: there is none."""
        kind, s = random.choice(list(self.kinds)), None
        try:
            s = self.connect()
            s.setblocking(False)
            self.counts["connections"] += 1
            what = self.kinds[kind]
            if callable(what):
                what(s)
            else:
                s.send(what)
        except (BlockingIOError, TimeoutError):
            self.counts["waits"] += 1
        except ConnectionError:
            self.counts["shut"] += 1
        return s and (kind, s)

    def _go_on(self, kind, s):
        """Return: whether it is there still."""
        try:
            if kind == "slow":
                s.send(b"x")
                return True
            answer = s.recv(1 if kind == "never reads" else 4096)
            self.check(answer)
            return bool(answer)
        except (BlockingIOError, TimeoutError):
            return True
        except ConnectionError:
            return False

    def flood(self):
        """More connections than anybody can accept."""
        self.there.append(self._begin())
        if len(self.there) > 500:
            self.there.popleft()

    def hold(self):
        """As many as there may be, for as long as they may be there."""
        if len(self.there) < self.most:
            self.there.append(self._begin())
        for _ in range(5):
            self.there.rotate(1)
            if not self.there[0] or not self._go_on(*self.there[0]):
                self.there.popleft()
                self.counts["over"] += 1
                return
        time.sleep(0.001)

    def run(self, step, seconds):
        """Does one of them again and again.  Prints what became of the clients."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            step()
        assert self.counts["connections"] > 100, self.counts
        print(step.__name__, dict(self.counts))
