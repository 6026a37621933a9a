# SPDX-License-Identifier: LGPL-2.1-or-later
"""A picture of a program on a terminal:

    python3 screen.py FILE.svg COLUMNS LINES KEYS REGEX SECONDS TITLE PROGRAM ARGUMENT...

Runs it on a terminal of its own, types KEYS (as Python writes strings) once something is shown, waits for a line
with REGEX, shows it for SECONDS more, and draws what is there then.  Needs python3-pyte.
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
from xml.sax.saxutils import escape

import pyte

WIDTH, HEIGHT, SIZE = 8.4, 18, 14
BACK, FORE = "#1d2126", "#d5d9de"
COLOURS = {"black": "#1d2126", "red": "#f0716b", "green": "#7ec97e", "brown": "#e3c06a", "blue": "#76a9ea",
           "magenta": "#cf8fdd", "cyan": "#6cc7cf", "white": "#d5d9de", "default": None}


def shown(columns, lines, keys, regex, seconds, argv):
    """Return: the screen, or None if the line does not come."""
    screen = pyte.Screen(columns, lines)
    stream = pyte.ByteStream(screen)
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(TERM="linux", LC_ALL="C.UTF-8")
        os.execvp(argv[0], argv)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    os.kill(pid, signal.SIGWINCH)

    def until(limit, holds):
        end = time.monotonic() + limit
        while not holds():
            if time.monotonic() > end:
                return False
            if select.select([fd], [], [], 0.05)[0]:
                stream.feed(os.read(fd, 65536))
        return True

    found = until(20, lambda: "".join(screen.display).strip() != "")
    for key in re.findall(r"\x1b\[.|.", keys, re.S):
        until(1.2, lambda: False)
        os.write(fd, key.encode())
    found = found and until(30, lambda: any(re.search(regex, line) for line in screen.display))
    until(seconds, lambda: False)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return screen if found else None


def style(char):
    """What it is drawn with, and on."""
    fore, back = COLOURS.get(char.fg, "#" + char.fg), COLOURS.get(char.bg, "#" + char.bg)
    fore, back = fore or FORE, back or BACK
    if char.reverse:
        fore, back = back, fore
    return fore, back, char.bold


def draw(screen, title):
    # what is empty at the end is left out
    used = max(y for y, line in enumerate(screen.display) if line.strip()) + 1
    width, height = screen.columns * WIDTH + 24, used * HEIGHT + 24
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" width="%g" height="%g" role="img" '
           'font-family="DejaVu Sans Mono,Menlo,Consolas,monospace" font-size="%d" xml:space="preserve">'
           % (width, height, width, height, SIZE),
           "<title>%s</title>" % escape(title), '<rect width="100%%" height="100%%" rx="6" fill="%s"/>' % BACK]
    for y in range(used):
        x = 0
        while x < screen.columns:
            how, begin = style(screen.buffer[y][x]), x
            text = ""
            while x < screen.columns and style(screen.buffer[y][x]) == how:
                text += screen.buffer[y][x].data
                x += 1
            fore, back, bold = how
            left, top = 12 + begin * WIDTH, 12 + y * HEIGHT
            if back != BACK:
                out.append('<rect x="%.1f" y="%g" width="%.1f" height="%g" fill="%s"/>'
                           % (left, top, len(text) * WIDTH, HEIGHT, back))
            # each run of words where it belongs, whatever the font's widths are
            for word in re.finditer(r"\S+(?: \S+)*", text):
                out.append('<text x="%.1f" y="%g" textLength="%.1f" fill="%s"%s>%s</text>' % (
                    left + word.start() * WIDTH, top + 13.5, len(word.group()) * WIDTH, fore,
                    ' font-weight="bold"' if bold else "", escape(word.group())))
    return "\n".join(out + ["</svg>\n"])


def main(path, columns, lines, keys, regex, seconds, title, *argv):
    screen = shown(int(columns), int(lines), keys.encode().decode("unicode_escape"), regex, float(seconds), argv)
    if not screen:
        sys.exit("%s: no line with %s" % (path, regex))
    with open(path, "w", encoding="utf-8") as f:
        f.write(draw(screen, title))


main(*sys.argv[1:])
