#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Holds a guest's console: console.py SOCKET LOG FIFO.

What the guest prints goes to LOG, what is written to FIFO goes to the guest.  Ends when the
guest does.
"""
import os
import select
import socket
import sys


def main():
    path, log_path, fifo_path = sys.argv[1:]
    sock = socket.socket(socket.AF_UNIX)
    # the path may be longer than a socket address: go through its directory
    os.chdir(os.path.dirname(path))
    sock.connect(os.path.basename(path))
    fifo = os.open(fifo_path, os.O_RDWR)
    with open(log_path, "ab", buffering=0) as log:
        while True:
            ready, _, _ = select.select([sock, fifo], [], [])
            if sock in ready:
                data = sock.recv(65536)
                if not data:
                    return
                log.write(data.replace(b"\r", b""))
            if fifo in ready:
                sock.sendall(os.read(fifo, 4096))


try:
    main()
except OSError:
    pass
