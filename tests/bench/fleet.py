# SPDX-License-Identifier: LGPL-2.1-or-later
"""Many hosts for fleet.sh: python3 fleet.py PORT VMS MINUTES STEP FIRST SECOND

FIRST and SECOND are what a real vhostmd exported, as OpenMetrics, at two times.  Host N, at /metrics/N, exports
the same of as many VMs, with other names and uuids: counters go on as fast as they did, of each VM between half
and one and a half times that, and what moved between the two times moves.  What happened in the MINUTES before a
host is scraped first it tells in steps of STEP seconds, one a scrape, with the time of each; from then on it is
always now.  One VM of host 0 waits for processors a hundred times as long.

/state has how many hosts have still to tell of what was before, and how many were asked for anything.
"""
import http.server
import re
import sys
import threading
import time
import zlib

LINE = re.compile(r'([a-z0-9_]+)(?:\{(.*)\})? (\S+)$')
HOST, TIME = b"@HOST@", b"@TIME@"
STARVED = "vhostmd_vm_vcpu_delay_seconds_total"


def parse(path):
    """Return: a list of families, each the lines of its head and of its samples, and the value of each sample."""
    families, values = [], {}
    with open(path, encoding="utf-8") as f:
        for line in f.read().splitlines():
            if line == "# EOF":
                continue
            if line.startswith("#"):
                if not families or families[-1][1]:
                    families.append(([], []))
                families[-1][0].append(line)
            else:
                name, labels, value = LINE.match(line).groups()
                families[-1][1].append((name, labels or ""))
                values[name, labels or ""] = float(value)
    return families, values


class Export:
    """What a host exports, but for its number, as a format and what goes into it: the value at the first time, and
    how much it grows in a second."""

    def __init__(self, first, second, vms):
        families, values = parse(first)
        _, later = parse(second)
        cycles = ("vhostmd_fast_cycles_total", "")
        seconds = 5 * (later[cycles] - values[cycles]) # the default period
        assert seconds > 0
        # those that answer, so that the families have the same
        skipped = {'name="%s"' % re.search(r'name="([^"]*)"', labels).group(1)
                   for (name, labels), value in values.items() if name == "vhostmd_vm_sample_stale" and value}
        self.lines, self.numbers, self.n = [], [], 0
        for head, samples in families:
            self.lines += [line.encode().replace(b"%", b"%%") for line in head]
            counter = any(line.startswith("# TYPE") and line.endswith(" counter") for line in head)
            models = {}
            for name, labels in samples:
                if any(vm in labels for vm in skipped):
                    continue
                vm = re.search(r'name="([^"]*)"', labels) if name.startswith("vhostmd_vm_") else None
                models.setdefault(vm and vm.group(1), []).append((name, labels))
            own = models.pop(None, [])
            for name, labels in own:
                self.add(name, labels, values[name, labels], later.get((name, labels)), seconds, counter)
            for i in range(vms if models else 0):
                for name, labels in list(models.values())[i % len(models)]:
                    of = re.sub(r'name="[^"]*"', 'name="vm-@HOST@-%03d"' % i, labels, count=1)
                    of = re.sub(r'uuid="[^"]*"', 'uuid="0000%04x-@HOST@-4000-8000-0123456789ab"' % i, of, count=1)
                    factor = 0.5 + i * 37 % 100 / 100
                    self.add(name, of, values[name, labels], later.get((name, labels)), seconds, counter, factor,
                             name == STARVED and i == 0)
        self.plain = b"\n".join(self.lines) + b"\n# EOF\n"

    def add(self, name, labels, value, then, seconds, counter, factor=1.0, starved=False):
        key = ("%s{%s}" % (name, labels) if labels else name).encode().replace(b"%", b"%%")
        growth = (then - value) / seconds if then is not None else 0
        self.n += 1
        if growth == 0:
            self.lines.append(key + b" %.12g" % value + TIME)
            return
        whole = value == int(value) and then == int(then)
        self.lines.append(key + (b" %d" if whole else b" %.6f") + TIME)
        self.numbers.append((value * factor, growth * factor, counter, starved))

    def at(self, host, seconds, when):
        """What HOST exports so many seconds after the first time; with the time WHEN, or None."""
        gauge = (seconds / 15 + host) % 10 / 2
        values = tuple(value + growth * (seconds if counter else gauge) * (100 if starved and host == 0 else 1)
                       for value, growth, counter, starved in self.numbers)
        text = self.plain % values
        return text.replace(HOST, b"%04x" % host).replace(TIME, b"" if when is None else b" %d" % when)


def main(port, vms, minutes, step, first, second):
    export = Export(first, second, int(vms))
    begin, known, lock = time.time() - 60 * int(minutes) - 1e5, {}, threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, body, kind, *headers):
            self.send_response(200)
            for header in (("Content-Type", kind), ("Content-Length", str(len(body)))) + headers:
                self.send_header(*header)
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            if self.path == "/state":
                with lock:
                    behind = sum(1 for at in known.values() if at is not None)
                    self.answer(b"%d %d\n" % (behind, len(known)), "text/plain")
                return
            host, now = int(self.path.rsplit("/", 1)[1]), time.time()
            with lock:
                when = known.get(host, now - 60 * int(minutes))
                if when is not None and when > now - int(step):
                    when = None
                known[host] = None if when is None else when + int(step)
            text = export.at(host, (now if when is None else when) - begin, when)
            packer = zlib.compressobj(1, wbits=31)
            body = packer.compress(text) + packer.flush()
            self.answer(body, "application/openmetrics-text; version=1.0.0; charset=utf-8",
                        ("Content-Encoding", "gzip"))

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 1024
        daemon_threads = True

    text = export.at(1, 0, None)
    print("%d series, %d bytes" % (export.n, len(text)), flush=True)
    Server(("127.0.0.1", int(port)), Handler).serve_forever()


main(*sys.argv[1:])
