# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is counted of vCPUs' waits (src/bpf/delay_format.h), against the kernel's own sums:
steal.py KEEPER_PID SECONDS MOST_PERCENT pinned|migrating TID...

Reads the keeper's maps.  A time in which the kernel told nobody of a switch is measured again.
Ends well if each sum has grown as the kernel's has.  Prints the worst error.  With "migrating" the
threads move from one processor to the other meanwhile, and take whoever runs there along.
"""
import ctypes
import mmap
import os
import re
import struct
import sys
import time

BUCKET, HEAD = 8, struct.Struct("<QQQQIIII")
VCPU_BYTES, BUCKET_BYTES = 472, 128
libc = ctypes.CDLL(None, use_errno=True)


def maps_of(pid):
    """By the size of what is in them."""
    found = {}
    pidfd = os.pidfd_open(pid)
    for name in os.listdir(f"/proc/{pid}/fd"):
        if os.readlink(f"/proc/{pid}/fd/{name}") != "anon_inode:bpf-map":
            continue
        with open(f"/proc/{pid}/fdinfo/{name}", encoding="ascii") as f:
            info = dict(re.findall(r"^(\w+):\s+(\d+)$", f.read(), re.MULTILINE))
        size, n = int(info["value_size"]), int(info["max_entries"])
        fd = libc.syscall(438, pidfd, int(name), 0)  # pidfd_getfd
        assert fd >= 0, os.strerror(ctypes.get_errno())
        found[size] = mmap.mmap(fd, size * n, mmap.MAP_SHARED, mmap.PROT_READ)
    return found[VCPU_BYTES], found[BUCKET_BYTES]


def place_of(threads, tid):
    for at in range(0, len(threads) - BUCKET_BYTES, BUCKET_BYTES):
        for i in range(BUCKET):
            if struct.unpack_from("<I", threads, at + 4 * i)[0] == tid:
                return struct.unpack_from("<H", threads, at + 12 * BUCKET + 2 * i)[0]
    sys.exit(f"thread {tid} is not counted")


def look(vcpus, place, tid):
    """Sum, the kernel's sum, waits that were lost; while none ends."""
    while True:
        _, ours, _, _, _, _, lost, _ = HEAD.unpack_from(vcpus, place * VCPU_BYTES)
        with open(f"/proc/{tid}/schedstat", encoding="ascii") as f:
            kernels = int(f.read().split()[1])
        if HEAD.unpack_from(vcpus, place * VCPU_BYTES)[1] == ours:
            return ours, kernels, lost


def wait(seconds, tids, migrating):
    until, turn = time.monotonic() + seconds, 0
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 0.03))
        if migrating:
            turn += 1
            for i, tid in enumerate(tids):
                os.sched_setaffinity(tid, {(turn + (turn // 3 % 2) * i) % os.cpu_count()})
    if migrating:
        for tid in tids:
            os.sched_setaffinity(tid, {0})


def main():
    keeper, seconds, most = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    tids = [int(t) for t in sys.argv[5:]]
    vcpus, threads = maps_of(keeper)
    places = [place_of(threads, t) for t in tids]
    for _ in range(8):
        before = [look(vcpus, p, t) for p, t in zip(places, tids)]
        wait(seconds, tids, sys.argv[4] == "migrating")
        after = [look(vcpus, p, t) for p, t in zip(places, tids)]
        grown = [(a[0] - b[0], a[1] - b[1]) for a, b in zip(after, before)]
        if any(a[2] != b[2] for a, b in zip(after, before)):
            continue
        errors = [abs(100 * (ours / kernels - 1)) for ours, kernels in grown]
        print("waited, counted and by the kernel:", grown)
        print("worst", max(errors), "percent")
        assert min(kernels for _, kernels in grown) > 0.1 * seconds * 1e9, "they hardly waited"
        assert max(errors) <= most, errors
        return
    sys.exit("waits are lost all the time")


main()
