#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stands for xenstored: xenstored.py SOCKET DOMAINS

Speaks its protocol at SOCKET.  DOMAINS is a file of numbers, of the domains that there are.  Commands
come by standard input, a line each:
  error NAME   each write is refused so, from here on; "error -": not any more
  hang, go     nothing is answered, and all is again
  garbage      the next reply is nonsense
  close        all connections are closed
  dump FILE    what is stored, as JSON; FILE is whole as soon as it is there
  set PATH VALUE
Ends with its standard input.
"""
import json
import os
import socket
import struct
import sys
import threading

READ, WRITE, RM, SET_PERMS, ERROR, INTRODUCED = 2, 11, 13, 14, 16, 17
PAYLOAD_MAX = 4096
HEADER = struct.Struct("=IIII")


class Failure(Exception):
    pass


class Store:
    def __init__(self, domains):
        self.domains = domains
        self.lock = threading.Lock()
        self.nodes, self.perms = {}, {}
        self.error, self.garbage, self.asked, self.writes = None, False, 0, 0
        self.connections = []
        self.goes = threading.Event()
        self.goes.set()

    def answer(self, kind, payload):
        path, zero, value = payload.partition(b"\0")
        path = path.decode()
        if not zero:
            raise Failure("EINVAL")
        if kind == INTRODUCED:
            self.asked += 1
            with open(self.domains) as f:
                return b"T\0" if path in f.read().split() else b"F\0"
        # a guest's path is below its own: here there is one guest
        if not path.startswith("/"):
            path = "/local/domain/1/" + path
        if kind == WRITE:
            self.writes += 1
            if self.error:
                raise Failure(self.error)
            self.nodes[path] = value
            return b"OK\0"
        if path not in self.nodes:
            raise Failure("ENOENT")
        if kind == READ:
            return self.nodes[path]
        if kind == RM:
            del self.nodes[path]
            self.perms.pop(path, None)
        elif kind == SET_PERMS:
            self.perms[path] = value.decode().rstrip("\0").split("\0")
        else:
            raise Failure("ENOSYS")
        return b"OK\0"

    def serve(self, sock):
        def take(n):
            data = b""
            while len(data) < n:
                more = sock.recv(n - len(data))
                if not more:
                    raise EOFError
                data += more
            return data

        try:
            while True:
                kind, number, transaction, length = HEADER.unpack(take(HEADER.size))
                if length > PAYLOAD_MAX:
                    raise EOFError  # as xenstored does
                payload = take(length)
                self.goes.wait()
                with self.lock:
                    try:
                        reply = self.answer(kind, payload)
                    except Failure as e:
                        kind, reply = ERROR, str(e).encode() + b"\0"
                    if self.garbage:
                        self.garbage, number = False, number + 1
                message = HEADER.pack(kind, number, transaction, len(reply)) + reply
                sock.sendall(message[:7])  # in pieces
                sock.sendall(message[7:])
        except (EOFError, OSError):
            pass

    def command(self, verb, *words):
        if verb == "error":
            self.error = None if words[0] == "-" else words[0]
        elif verb == "hang":
            self.goes.clear()
        elif verb == "go":
            self.goes.set()
        elif verb == "garbage":
            self.garbage = True
        elif verb == "close":
            for sock in self.connections:
                sock.shutdown(socket.SHUT_RDWR)
            self.connections = []
        elif verb == "set":
            self.nodes[words[0]] = words[1].encode()
        elif verb == "dump":
            with open(words[0] + ".new", "w") as f:
                json.dump({"nodes": {k: v.decode() for k, v in self.nodes.items()},
                           "perms": self.perms, "asked": self.asked, "writes": self.writes}, f)
            os.rename(words[0] + ".new", words[0])


def main():
    path, domains = sys.argv[1:]
    store = Store(domains)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()

    def accept():
        while True:
            sock, _ = listener.accept()
            with store.lock:
                store.connections.append(sock)
            threading.Thread(target=store.serve, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    for line in sys.stdin:
        with store.lock:
            store.command(*line.rstrip("\n").split(" ", 2))
    os._exit(0)


main()
