# SPDX-License-Identifier: LGPL-2.1-or-later
"""A terminal for tests: python3 terminal.py COLUMNS LINES PROGRAM ARGUMENT...

Runs the program on a terminal of its own (TERM=linux) and keeps what that shows.  Takes commands on standard
input, a line each, and answers each with a line: "yes", or what was wrong.

  see SECONDS REGEX    the screen comes to hold it, a line of it
  lack SECONDS REGEX   the screen comes to hold no such line
  keys TEXT            types; as Python writes strings, \x1b[B is the cursor down
  size COLUMNS LINES   is another size from now on
  stop                 the user types Ctrl-Z; the program comes to be stopped
  signal NAME          to the program: TERM, CONT
  coloured 0|1         whether it uses colours, yet
  dump FILE            writes the screen there
  end SECONDS          the program ends: its status, and "raw" if the terminal is not what it was;
                       then so do we
"""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

import pyte


class Terminal:
    def __init__(self, columns, lines, argv):
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        # held open here, too: so the program finds a terminal with its modes, and we see them after it
        self.fd, self.slave = pty.openpty()
        self.set_size(columns, lines)
        self.modes = termios.tcgetattr(self.slave)
        # we are what a shell is: who has no such parent is not stopped by Ctrl-Z
        os.setsid()
        fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.pid = os.fork()
        if self.pid == 0:
            os.setpgid(0, 0)
            os.tcsetpgrp(self.slave, os.getpid())
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            for fd in range(3):
                os.dup2(self.slave, fd)
            os.closerange(3, 64)
            os.execvp(argv[0], argv)
        self.raw_bytes = b""
        self.status = None

    def set_size(self, columns, lines):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def pump(self, seconds):
        if select.select([self.fd], [], [], seconds)[0]:
            data = os.read(self.fd, 65536)
            self.raw_bytes = (self.raw_bytes + data)[-65536:]
            self.stream.feed(data)

    def until(self, seconds, holds):
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                return False
            self.pump(0.05)
        return True

    def shows(self, regex):
        return any(re.search(regex, line) for line in self.screen.display)

    def ended(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def stopped(self):
        pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
        return pid and os.WIFSTOPPED(status)

    def is_as_before(self):
        return termios.tcgetattr(self.slave)[:4] == self.modes[:4]


def text_of(screen):
    return "\n".join(line.rstrip() for line in screen.display).rstrip() + "\n"


def run(t, command, rest):
    if command in ("see", "lack"):
        seconds, regex = rest.split(" ", 1)
        wanted = command == "see"
        if t.until(float(seconds), lambda: t.shows(regex) == wanted):
            return "yes"
        return f"{command} {regex}: " + text_of(t.screen).replace("\n", " | ")
    if command == "keys":
        os.write(t.fd, rest.encode().decode("unicode_escape").encode("latin-1"))
    elif command == "size":
        columns, lines = map(int, rest.split())
        t.set_size(columns, lines)
        t.screen.resize(lines, columns)
    elif command == "stop":
        os.write(t.fd, b"\x1a")
        if not t.until(10, t.stopped) or not t.is_as_before():
            return "is not stopped, or the terminal is not what it was"
    elif command == "signal":
        os.kill(t.pid, getattr(signal, "SIG" + rest))
    elif command == "dump":
        with open(rest, "w") as f:
            f.write(text_of(t.screen))
    elif command == "coloured":
        found = re.search(rb"\x1b\[(?:[0-9]+;)*3[0-7]m", t.raw_bytes) is not None
        return "yes" if found == (rest == "1") else f"colour is {found}"
    elif command == "end":
        if not t.until(float(rest), t.ended):
            return "does not end"
        return f"{t.status} {'cooked' if t.is_as_before() else 'raw'}"
    return "yes"


def main(argv):
    t = Terminal(int(argv[1]), int(argv[2]), argv[3:])
    while True:
        # what the program writes meanwhile is taken, or it would wait for us
        ready = select.select([0, t.fd], [], [])[0]
        if 0 not in ready:
            t.pump(0)
            continue
        line = sys.stdin.buffer.raw.read(65536).decode()
        if not line:
            break
        for one in line.splitlines():
            command, _, rest = one.partition(" ")
            print(run(t, command, rest), flush=True)
            if t.ended():
                return
    if not t.ended():
        os.kill(t.pid, signal.SIGKILL)


main(sys.argv)
