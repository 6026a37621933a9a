#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Holds a guest's console: console.py SOCKET LOG FIFO.

Listens at SOCKET, to which the guest's QEMU connects when it is started, and returns as soon as
it does: so nothing of what the guest prints is lost, however late this process gets a processor.
What the guest prints goes to LOG, what is written to FIFO, which it makes, goes to the guest.
Ends when the guest does.
"""
import os
import select
import socket
import sys


def listen(path):
    # the path may be longer than a socket address: go through its directory
    os.chdir(os.path.dirname(path))
    name = os.path.basename(path)
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(name + ".new")
    os.chmod(name + ".new", 0o666)  # QEMU is not root
    sock.listen(1)
    os.rename(name + ".new", name)
    return sock


def hold(sock, log, fifo):
    while True:
        ready, _, _ = select.select([sock, fifo], [], [])
        if sock in ready:
            data = sock.recv(65536)
            if not data:
                return
            log.write(data.replace(b"\r", b""))
        if fifo in ready:
            sock.sendall(os.read(fifo, 4096))


def main():
    path, log_path, fifo_path = sys.argv[1:]
    for old in log_path, fifo_path:
        if os.path.lexists(old):
            os.remove(old)
    log = open(log_path, "ab", buffering=0)
    os.mkfifo(fifo_path)
    fifo = os.open(fifo_path, os.O_RDWR)
    listener = listen(path)
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    try:
        sock, _ = listener.accept()
        listener.close()
        hold(sock, log, fifo)
    except OSError:
        pass


main()
