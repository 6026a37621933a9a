# SPDX-License-Identifier: LGPL-2.1-or-later
"""Scrapes, for http.sh; ADDRESS is a path, or a port of this host:

  every ADDRESS SECONDS N     scrapes as Prometheus does, N times, with SECONDS between
  times ADDRESS MOUNT N       how long a scrape takes, and a reading of the same from metrics.prom:
                              of a generation that nobody has asked for, each in turn, and again
"""
import http.client
import os
import socket
import statistics
import sys
import time

buffer = bytearray(64 << 20)


def connect(address):
    if address.isdigit():
        return socket.create_connection(("127.0.0.1", int(address)))
    s = socket.socket(socket.AF_UNIX)
    s.connect(address)
    return s


def every(address, seconds, n):
    sizes = []
    connection = http.client.HTTPConnection("localhost")
    for i in range(int(n)):
        if not connection.sock:
            connection.sock = connect(address)
        begin = time.monotonic()
        connection.request("GET", "/metrics", headers={
            "Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "Accept-Encoding": "gzip"})
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200 and response.headers["Content-Encoding"] == "gzip"
        sizes.append(len(body))
        time.sleep(max(0, begin + float(seconds) - time.monotonic()))
    print(sizes)


def by_http(address, _):
    """Return: the seconds that it took, and the body."""
    begin = time.perf_counter()
    s = connect(address)
    s.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    n, size, head = 0, None, 0
    while size is None or n < head + size:
        got = s.recv_into(memoryview(buffer)[n:])
        assert got, "cut off"
        n += got
        if size is None and (end := buffer.find(b"\r\n\r\n", 0, n)) > 0:
            head = end + 4
            fields = dict(line.split(b": ", 1) for line in bytes(buffer[:end]).split(b"\r\n")[1:])
            size = int(fields[b"Content-Length"])
    took = time.perf_counter() - begin
    s.close()
    return took, bytes(buffer[head:head + size])


def by_file(_, mnt):
    begin = time.perf_counter()
    fd = os.open(mnt + "/metrics.prom", os.O_RDONLY)
    n = 0
    while got := os.readv(fd, [memoryview(buffer)[n:]]):
        n += got
    took = time.perf_counter() - begin
    os.close(fd)
    return took, bytes(buffer[:n])


def new_generation(mnt, last):
    """What nobody has rendered is met early: there is time to measure."""
    vms = mnt + "/metrics/vm/"
    while True:
        with open(vms + os.listdir(vms)[0] + "/sample.generation", encoding="ascii") as f:
            now = int(f.read())
        if now != last:
            return now
        time.sleep(0.002)


def times(address, mnt, n):
    ways = {"scrape": by_http, "file": by_file}
    first, again, sizes, last = {w: [] for w in ways}, {w: [] for w in ways}, {}, 0
    for i in range(int(n)):
        last = new_generation(mnt, last)
        way = list(ways)[i % 2]
        took, body = ways[way](address, mnt)
        first[way].append(took)
        sizes[way] = len(body)
    same = 0
    for i in range(int(n)):
        last = new_generation(mnt, last)
        bodies = [ways[w](address, mnt)[1] for w in ways]
        same += bodies[0] == bodies[1]
        for way in ways:
            again[way] += [ways[way](address, mnt)[0] for _ in range(3)]
    assert same > int(n) // 2, same
    mid = {w: statistics.median(first[w]) for w in ways}
    warm = {w: statistics.median(again[w]) for w in ways}
    print("http.scrape_bytes %d bytes" % sizes["scrape"])
    for w in ways:
        print("http.%s_ms %.2f ms" % (w, mid[w] * 1000))
        print("http.%s_again_ms %.2f ms" % (w, warm[w] * 1000))
    print("http.scrape_vs_file %.2f ratio" % (mid["scrape"] / mid["file"]))
    print("http.scrape_again_vs_file %.2f ratio" % (warm["scrape"] / warm["file"]))


{"every": every, "times": times}[sys.argv[1]](*sys.argv[2:])
