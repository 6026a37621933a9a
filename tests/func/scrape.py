# SPDX-License-Identifier: LGPL-2.1-or-later
"""Clients of the HTTP export; ADDRESS is a path, or a port of this host.

scrape.py scrape ADDRESS SECONDS PAUSE
    scrapes all the time, by each way to ask; what breaks off is asked for again.  Ends with 1 if
    anything else is wrong: refused, torn, or longer than 10 s.  Prints what it did.
scrape.py flood|hold ADDRESS SECONDS
    does what costs most, with as many connections as it can make, or as it can keep, and prints
    what became of them.
scrape.py compare TEXT OPENMETRICS
    whether both say the same, by Prometheus' own parsers.
"""
import collections
import gzip
import http.client
import random
import socket
import sys
import time

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
LONGEST = 10


def connect(address, timeout=LONGEST):
    if address.isdigit():
        return socket.create_connection(("127.0.0.1", int(address)), timeout)
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(timeout)
    s.connect(address)
    return s


class Connection(http.client.HTTPConnection):
    def __init__(self, address):
        super().__init__("localhost")
        self.address = address

    def connect(self):
        self.sock = connect(self.address)


# ---- scrape ----

def check(response, body, is_open, is_packed):
    assert response.status == 200, response.status
    assert len(body) == int(response.headers["Content-Length"]), "length"
    assert response.headers["Vary"] == "Accept, Accept-Encoding", response.headers["Vary"]
    assert (response.headers["Content-Encoding"] == "gzip") == is_packed
    kind = "application/openmetrics-text; version=1.0.0" if is_open else "text/plain; version=0.0.4"
    assert response.headers["Content-Type"] == kind + "; charset=utf-8", response.headers["Content-Type"]
    text = gzip.decompress(body) if is_packed else body
    assert text.startswith(b"# HELP vhostmd_up ") and text.endswith(b"\n"), text[-80:]
    assert text.endswith(b"\n# EOF\n") == is_open


def scrape_once(address, connections):
    way = random.randrange(4)
    headers = {}
    if way & 1:
        headers["Accept"] = OPENMETRICS
    if way & 2:
        headers["Accept-Encoding"] = "gzip"
    connection = connections.setdefault(random.randrange(2), Connection(address))
    connection.request("GET", "/metrics", headers=headers)
    response = connection.getresponse()
    check(response, response.read(), bool(way & 1), bool(way & 2))


def scrape(address, seconds, pause):
    counts, worst, connections = collections.Counter(), 0, {}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begin = time.monotonic()
        while True:
            try:
                scrape_once(address, connections)
                counts["scrapes"] += 1
                break
            except (ConnectionRefusedError, FileNotFoundError):
                raise
            except BlockingIOError:
                counts["waits"] += 1  # so many want to connect that the kernel has no room
                connections.clear()
                time.sleep(0.001)
            except (http.client.BadStatusLine, http.client.IncompleteRead, ConnectionError):
                counts["again"] += 1  # the server has ended, or the connection
                connections.clear()
            assert time.monotonic() - begin < LONGEST, "no answer"
        worst = max(worst, time.monotonic() - begin)
        time.sleep(pause)
    assert worst < LONGEST, worst
    print("%d scrapes, %d begun again, %d times no room, the longest took %.0f ms" %
          (counts["scrapes"], counts["again"], counts["waits"], worst * 1000))


# ---- hostile ----

REQUEST = b"GET /metrics HTTP/1.1\r\nHost: x\r\n"
KINDS = {
    "silent": b"",
    "half": REQUEST,
    "slow": b"G",
    "never reads": (REQUEST + b"\r\n") * 200,
    "huge header": REQUEST + b"X: " + b"x" * 65536,
    "many headers": REQUEST + b"".join(b"x%d: y\r\n" % i for i in range(5000)) + b"\r\n",
    "endless body": b"POST /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 9999,
    "long body": REQUEST + b"Content-Length: 99999999999\r\n\r\n" + b"x" * 99999,
    "long path": b"GET /" + b"x" * 65536 + b" HTTP/1.1\r\n\r\n",
    "nonsense": bytes(range(256)) * 40,
    "no end": b"\r\n" * 30000,
    "accepts": REQUEST + b"Accept: " + b",;=\"" * 1500 + b"\r\n\r\n",
}


def hostile(way, address, seconds):
    sys.dont_write_bytecode = True
    from hostile import Clients
    clients = Clients(lambda: connect(address, 1), KINDS, 300)
    clients.run(clients.flood if way == "flood" else clients.hold, seconds)


# ---- what both forms say ----

def samples(families):
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}


def compare(text, openmetrics):
    from prometheus_client.parser import text_string_to_metric_families as parse_text
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
    with open(text, encoding="utf-8") as f:
        plain = list(parse_text(f.read()))
    with open(openmetrics, encoding="utf-8") as f:
        other = list(parse_open(f.read()))
    assert samples(plain) == samples(other), set(samples(plain)) ^ set(samples(other))
    kinds = collections.Counter(f.type for f in other)
    assert kinds["info"] >= 2 and kinds["counter"] > 3 and kinds["gauge"] > 3, kinds
    assert set(kinds) == {"info", "counter", "gauge"}, kinds
    for f in other:
        assert f.documentation.endswith("."), f
        assert not f.unit or f.name.endswith("_" + f.unit), f
    assert {f.unit for f in other} >= {"bytes", "seconds", "hertz"}, {f.unit for f in other}
    print("%d samples of %d families" % (len(samples(other)), len(other)))


if sys.argv[1] == "scrape":
    scrape(sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
elif sys.argv[1] in ("flood", "hold"):
    hostile(sys.argv[1], sys.argv[2], float(sys.argv[3]))
elif sys.argv[1] == "compare":
    compare(sys.argv[2], sys.argv[3])
