# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stand-ins of what existing hosts and guests do.

    old.py disks FOLDER    an old host's disks and channel as libmetrics reads them
    old.py guests DISK...  an old guest's rules on disks that a vhostmd of today makes
"""
import ctypes
import mmap
import os
import pty
import re
import struct
import subprocess
import sys
import threading
import time
import tty

UUID = "6be3fdb8-bef5-6fec-b1b7-e61bbceab708"
OTHER = "00000000-0000-0000-0000-000000000000"
SIGNATURE = 0x6d766264


def unsigned(content):
    return sum(content) % 2**32


def signed(content):
    return sum(b - 256 * (b > 127) for b in content) % 2**32


def header(content, total=unsigned, busy=0):
    return struct.pack(">IIII", SIGNATURE, busy, total(content), len(content))


def metric(kind, name, value, rest="context='host'"):
    return (f"  <metric type='{kind}' {rest}>\n    <name>{name}</name>\n"
            f"    <value>{value}</value>\n  </metric>\n")


def document(*metrics):
    return ("<metrics>\n" + "".join(metrics) + "</metrics>\n").encode()


def vm(uuid=UUID, number=2):
    return f"context='vm' id='{number}' uuid='{uuid}'"


# ---- an old host: name, content, expected, then what is unusual of the disk ----

# As the README of old shows it: reals for integers, the host's own domain among the VMs.
README = document(
    metric("real64", "TotalCPUTime", "846.600000"),
    metric("uint64", "PageInRate", "0.000000"),
    metric("uint64", "PagedOutMemory", "6885044"),
    metric("uint64", "FreeMem", "829"),
    metric("uint32", "NumCPUs", "2"),
    metric("string", "VirtualizationVendor", "SUSE LINUX Products GmbH"),
    metric("real64", "TotalCPUTime", "847.700000", vm(OTHER, 0)),
    metric("real64", "TotalCPUTime", "69.400000", vm()))
IS_README = {"TotalCPUTime": 846.6, "PageInRate": 0, "PagedOutMemory": 6885044, "FreeMem": 829,
             "NumCPUs": 2, "VirtualizationVendor": "SUSE LINUX Products GmbH",
             "vm:TotalCPUTime": 69.4}
# bytes above 0x7f, of which hosts make different sums
EIGHT_BIT = document(metric("string", "HostName", "Zoë – zürich"))
IS_EIGHT_BIT = {"HostName": "Zoë – zürich"}
CORRUPT, UNSTABLE, NO_DISK = -8, -7, -6

DISKS = [
    ("the README's content", README, IS_README),
    ("unsigned sums", EIGHT_BIT, IS_EIGHT_BIT),
    ("signed sums", EIGHT_BIT, IS_EIGHT_BIT, dict(total=signed)),
    ("neither sum", EIGHT_BIT, CORRUPT, dict(total=lambda c: signed(c) + 1)),
    ("the tail of what was longer", README, IS_README, dict(tail=README[200:] * 3)),
    ("no zeros behind it", README, IS_README, dict(tail=b"\xff" * 5000)),
    ("a disk that is just full", README, IS_README, dict(size=16 + len(README))),
    ("a disk of 1 KiB", EIGHT_BIT, IS_EIGHT_BIT, dict(size=1024)),
    ("a disk of no whole blocks", README, IS_README, dict(size=5000)),
    ("content that the disk has not", README, CORRUPT, dict(size=512)),
    ("busy for ever", README, UNSTABLE, dict(busy=1)),
    ("before the first collection", b"", UNSTABLE, dict(busy=1)),
    ("no signature", README, NO_DISK, dict(signature=b"mvbD")),
    ("values with newlines",
     document(metric("real64", "TotalCPUTime", "\n  846.600000\n"),
              metric("string", "Version", "one\ntwo"), metric("uint32", "NumCPUs", "2\n")),
     {"TotalCPUTime": 846.6, "Version": "one\ntwo", "NumCPUs": 2}),
    ("both quotes",
     document(metric("real64", "a", "1.5", 'context="host" unit=\'s\''),
              metric("uint32", "b", "7", f'context=\'vm\' id="2" uuid="{UUID}"')),
     {"a": 1.5, "vm:b": 7}),
    ("reals for integers of all kinds",
     document(*(metric(kind, kind, "12.000000") for kind in
                ("int32", "uint32", "int64", "uint64", "real32", "real64")),
              metric("int64", "less", "-3.000000")),
     dict.fromkeys(("int32", "uint32", "int64", "uint64", "real32", "real64"), 12) | {"less": -3}),
    ("nothing collected",
     b"<metrics>\n<!-- host metrics not available -->\n<!-- VM metrics not available -->\n</metrics>\n",
     {}),
    ("a VM's alone", document(metric("uint64", "UsedMemory", "524288", vm(number=9))),
     {"vm:UsedMemory": 524288}),
    ("another VM's alone", document(metric("uint64", "UsedMemory", "524288", vm(OTHER))), {}),
    ("text that was not escaped", document(metric("string", "Vendor", "AT&T <x>")), CORRUPT),
    ("text of another encoding", document(metric("string", "HostName", "x")).replace(
        b">x<", b">\xfc<"), CORRUPT),
]


def image(content, total=unsigned, busy=0, tail=b"", size=65536, signature=b"mvbd"):
    text = signature + header(content, total, busy)[4:] + content + tail
    return text[:size].ljust(size, b"\0")


def write(path, data):
    with open(path + ".new", "wb") as f:
        f.write(data)
    os.rename(path + ".new", path)


def found_in(now):
    return {("vm:" if m.context == "vm" else "") + m.name: m.value for m in now}


def read(where, timeout=0.3):
    with v.Source(where, timeout=timeout, uuid=UUID) as source:
        try:
            return found_in(source.read())
        except v.Error as e:
            return e.code


def same(what, found, expected):
    assert found == expected, f"{what}: {found}, not {expected}"


def table(folder):
    for name, content, expected, *more in DISKS:
        unusual = more[0] if more else {}
        write(folder + "/disk", image(content, **unusual))
        same(name, read(folder + "/disk"), expected)
        # whoever wants no more than the bytes has them, where only that is no document
        if expected == CORRUPT and not unusual:
            tool = [os.environ["TOOL"], "--source", folder + "/disk"]
            same(name + ", as text", subprocess.check_output(tool), content)


class Union(ctypes.Union):
    _fields_ = [("i32", ctypes.c_int32), ("ui32", ctypes.c_uint32), ("i64", ctypes.c_int64),
                ("ui64", ctypes.c_uint64), ("r32", ctypes.c_float), ("r64", ctypes.c_double),
                ("str", ctypes.c_char_p)]


class OldMetric(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("value", Union)]


def old_calls(path):
    """What old programs get of it."""
    lib = ctypes.CDLL("libmetrics.so.0")
    write(path, image(README, tail=README))
    for name, kind, field, value in (("TotalCPUTime", 5, "r64", 846.6), ("PageInRate", 3, "ui64", 0),
                                     ("NumCPUs", 1, "ui32", 2),
                                     ("VirtualizationVendor", 6, "str", b"SUSE LINUX Products GmbH")):
        m = ctypes.POINTER(OldMetric)()
        same(name, lib.get_metric(name.encode(), ctypes.byref(m), 0), 0)
        same(name, (m.contents.type, getattr(m.contents.value, field)), (kind, value))
        lib.metric_free(m)


def changes(path):
    """A change is noticed whatever the sum says."""
    with v.Source(path, timeout=5) as source:
        for value in ("12", "21", "03", "30"):
            write(path, image(document(metric("uint32", "n", value))))
            same("a value whose sum is the last one's", source.read().host["n"], int(value))


def writer(path, total, end):
    """As the format's rules are: busy, the content, not busy; what was longer stays behind."""
    fd, n = os.open(path, os.O_RDWR), 0
    while time.monotonic() < end:
        n += 1
        content = document(*(metric("string", f"{i} é", n) for i in range(5 + n % 40)))
        os.pwrite(fd, header(content, total, 1), 0)
        for at in range(0, len(content), 500):
            os.pwrite(fd, content[at:at + 500], 16 + at)
        os.pwrite(fd, header(content, total), 0)
        time.sleep(0.002)


def being_written(path, total):
    write(path, image(document(metric("string", "x", "0")), busy=1))
    end, seen = time.monotonic() + 1, set()
    thread = threading.Thread(target=writer, args=(path, total, end))
    thread.start()
    with v.Source(path, timeout=5) as source:
        while time.monotonic() < end:
            values = {m.value for m in source.read()}
            assert len(values) == 1, f"torn: {values}"
            seen |= values
    thread.join()
    assert len(seen) > 10, f"only {len(seen)} of what was written"


def answer(fd, replies):
    """A host's end of a port: one reply for each request."""
    for reply in replies:
        request = b""
        while not request.endswith(b"\n\n"):
            request += os.read(fd, 100)
        same("the request", request, b"GET /metrics/XML\n\n")
        os.write(fd, reply)


def channel(replies, expected):
    host, guest = pty.openpty()
    tty.setraw(host)
    tty.setraw(guest)
    thread = threading.Thread(target=answer, args=(host, replies))
    thread.start()
    same("the channel", read(os.ttyname(guest), timeout=5), expected)
    thread.join()
    os.close(host)
    os.close(guest)


def disks(folder):
    table(folder)
    old_calls(folder + "/disk")
    changes(folder + "/disk")
    for total in (unsigned, signed):
        being_written(folder + "/disk", total)
    channel([README + b"\n"], IS_README)
    channel([DISKS[16][1] + b"\n"], {})
    channel([b"INVALID REQUEST\n\n", README + b"\n"], IS_README)


# ---- an old guest ----

BLOCK = 65536
METRIC = re.compile(
    rb"  <metric type='(int32|uint32|int64|uint64|real32|real64|string)' context='(host|vm)'"
    rb"( id='-?\d+' uuid='[0-9a-f-]{36}')?( unit='[^']*')?>\n"
    rb"    <name>([^<]+)</name>\n    <value>([^<]*)</value>\n  </metric>\n")


class OldGuest:
    """Reads header, content, header, in whole blocks past the cache; @total: None does without."""

    def __init__(self, path, total):
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
        self.room, self.total, self.last, self.content = mmap.mmap(-1, BLOCK), total, None, b""

    def block(self, n):
        got = os.preadv(self.fd, [self.room], n * BLOCK)
        assert got == BLOCK, f"block {n} has {got} bytes"
        return self.room[:]

    def header(self):
        signature, busy, total, length = struct.unpack(">IIII", self.block(0)[:16])
        same("signature", signature, SIGNATURE)
        return busy, total, length

    def read(self):
        for _ in range(5):
            busy, total, length = self.header()
            if not busy and total == self.last:
                return self.content  # by the sum alone
            content = b"".join(self.block(n) for n in range((16 + length + BLOCK - 1) // BLOCK))
            again = self.header()
            if not busy and not again[0] and (not self.total or again[1] == total):
                self.content = content[16:16 + length]
                if self.total:
                    same("the sum", self.total(self.content), total)
                    self.last = total
                return self.content
            time.sleep(1)
        raise AssertionError("it never came to rest")


def check(content):
    text = content.rstrip(b" \t\r\n")
    assert text.startswith(b"<metrics>\n") and text.endswith(b"</metrics>"), content[-100:]
    same("what is no metric in it", METRIC.sub(b"", text), b"<metrics>\n</metrics>")
    for kind, _, _, _, name, value in METRIC.findall(text):
        assert not kind.startswith(b"real") or re.fullmatch(rb"-?\d+\.\d{6}", value), (name, value)


def generation(content):
    return re.search(rb"<name>cycles</name>\n    <value>(\d+)<", content).group(1)


def guests(paths):
    readers = [OldGuest(path, total) for path in paths for total in (unsigned, signed, None)]
    seen = [set() for _ in readers]
    end = time.monotonic() + 30
    while any(len(s) < 4 for s in seen) and time.monotonic() < end:
        for reader, s in zip(readers, seen):
            content = reader.read()
            check(content)
            s.add(generation(content))
        time.sleep(0.1)
    assert all(len(s) >= 4 for s in seen), f"changes were not seen: {seen}"


if sys.argv[1] == "guests":
    guests(sys.argv[2:])
else:
    import vhostmd_metrics as v
    disks(sys.argv[2])
