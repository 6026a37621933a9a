# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is counted of vCPUs' waits (src/bpf/delay_format.h), against what is known; reads the
keeper's maps.

steal.py KEEPER_PID SECONDS MOST_PERCENT pinned|migrating TID...
    Each sum has grown as the kernel's own.  With "migrating" the threads move from one processor to
    the other meanwhile, and take whoever runs there along.
steal.py KEEPER_PID SECONDS MOST_PERCENT owners TID OWNER:TID...
    A thread that always wants the processor that it is pinned to waited just as long as these others
    ran, and each OWNER (vms, self, host) is charged with that.  More of the host's processes may run.
steal.py KEEPER_PID SECONDS MOST_PERCENT pairs TID TID...
    The first one's VM waited for each of the others' VMs just as long as that ran, and the pairs are
    together what is charged to other VMs.
steal.py KEEPER_PID SECONDS MOST_PERCENT quota TID
    All but so much of what it waited was the quota's.

Ends well if it is so.  Prints the worst error.
"""
import ctypes
import mmap
import os
import re
import struct
import sys
import time

OWNERS = "vms", "self", "host", "kernel", "idle", "quota", "unknown"
BUCKET, HEAD = 8, struct.Struct("<QQQ7QQQIHHIII")
VCPU_BYTES, BUCKET_BYTES, PAIRS_BYTES = 496, 128, 128
PAIRS = 8
libc = ctypes.CDLL(None, use_errno=True)


def maps_of(pid):
    """vCPUs, threads, pairs: by the size of what is in them, and of two that are alike by how many there are."""
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
        found[size, n] = mmap.mmap(fd, size * n, mmap.MAP_SHARED, mmap.PROT_READ)
    pairs, threads, vcpus = sorted(found, key=lambda of: (of[0], -of[1]))
    assert (vcpus[0], threads[0], pairs[0]) == (VCPU_BYTES, BUCKET_BYTES, PAIRS_BYTES), found.keys()
    return found[vcpus], found[threads], found[pairs]


def entry_of(threads, tid):
    """The bucket's offset, and the place in it."""
    for at in range(0, len(threads) - BUCKET_BYTES, BUCKET_BYTES):
        for i in range(BUCKET):
            if struct.unpack_from("<I", threads, at + 4 * i)[0] == tid:
                return at, i
    sys.exit(f"thread {tid} is not counted")


def place_of(threads, tid):
    at, i = entry_of(threads, tid)
    return struct.unpack_from("<H", threads, at + 12 * BUCKET + 2 * i)[0]


def use_of(threads, tid):
    """Of the process that the thread is of: the VM's."""
    with open(f"/proc/{tid}/status", encoding="ascii") as f:
        tgid = int(re.search(r"^Tgid:\s+(\d+)$", f.read(), re.MULTILINE)[1])
    at, i = entry_of(threads, tgid)
    return struct.unpack_from("<I", threads, at + 8 * BUCKET + 4 * i)[0]


def places_of(pairs, victim):
    """Where a VM's pairs stand: of the key, of the nanoseconds."""
    for at in range(0, len(pairs) - PAIRS_BYTES, PAIRS_BYTES):
        for i, key in enumerate(struct.unpack_from(f"<{PAIRS}Q", pairs, at)):
            if key >> 32 == victim:
                yield at + 8 * i, at + 8 * (PAIRS + i)


def stolen(pairs, places):
    """By the use of who had the processor: nanoseconds."""
    by = {}
    for key_at, ns_at in places:
        use = struct.unpack_from("<I", pairs, key_at)[0]
        by[use] = by.get(use, 0) + struct.unpack_from("<Q", pairs, ns_at)[0]
    return by


class Vcpu:
    """What is known of one at a moment."""

    def __init__(self, vcpus, place):
        values = HEAD.unpack_from(vcpus, place * VCPU_BYTES)
        self.waited = values[0]
        self.by = dict(zip(OWNERS, values[3:10]))
        self.sum = sum(values[3:10])
        self.lost, self.came = values[15:17]


WAITED = struct.Struct("<Q")
files = {}


def waited(vcpus, place):
    """Vcpu().waited alone, which is soon read where a machine is emulated, too."""
    return WAITED.unpack_from(vcpus, place * VCPU_BYTES)[0]


def schedstat(tid, field):
    if tid not in files:
        files[tid] = os.open(f"/proc/{tid}/schedstat", os.O_RDONLY)
    return int(os.pread(files[tid], 100, 0).split()[field])


def look(vcpus, place, tid):
    """Sum, and the kernel's sum, while no wait ends: the program counts one a moment before the kernel does, which
    shows in how many."""
    while True:
        ours = Vcpu(vcpus, place).sum
        kernels, came = schedstat(tid, 1), schedstat(tid, 2)
        v = Vcpu(vcpus, place)
        if v.sum == ours and v.came == came % 2**32:
            return ours, kernels


def look_at_owners(vcpus, place, tids, read=lambda: None):
    """Just when a wait has ended: the vCPU, for how long others ran by then, and what else is to be read."""
    while True:
        before, since = waited(vcpus, place), time.monotonic()
        while True:
            now = time.monotonic()
            if waited(vcpus, place) != before:
                break
            since = now  # it had not yet: whoever looks may be sent away himself
        ran = [schedstat(t, 0) for t in tids]
        v, more = Vcpu(vcpus, place), read()
        # so soon nobody else has the processor, unless he wakes up
        if time.monotonic() - since < 0.001:
            return v, ran, more


def taken_away():
    """Of processor 0, ns to a tick: what interrupts took, and others on the machine below. Nobody's run time has
    that, and who waits meanwhile waits."""
    with open("/proc/stat", encoding="ascii") as f:
        fields = next(line for line in f if line.startswith("cpu0 ")).split()
    return sum(int(n) for n in fields[6:9]) * 10**9 // os.sysconf("SC_CLK_TCK")


def over(seconds, vcpus, place, tids, read=lambda: None):
    """What look_at_owners() says before and after, and for how long the processor was taken away meanwhile; if there
    is such a time, one without that, and in which no switch is not seen, as may be while others attach a program."""
    for _ in range(12):
        away = taken_away()
        before = look_at_owners(vcpus, place, tids, read)
        time.sleep(seconds)
        after = look_at_owners(vcpus, place, tids, read)
        away = taken_away() - away
        if not away and after[0].by["unknown"] == before[0].by["unknown"]:
            break
    return before, after, away


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


def sums(vcpus, threads, _, seconds, how, tids):
    places = [place_of(threads, t) for t in tids]
    before = [look(vcpus, p, t) for p, t in zip(places, tids)]
    wait(seconds, tids, how == "migrating")
    after = [look(vcpus, p, t) for p, t in zip(places, tids)]
    grown = [(a[0] - b[0], a[1] - b[1]) for a, b in zip(after, before)]
    print("waited, counted and by the kernel:", grown)
    assert min(kernels for _, kernels in grown) > 0.1 * seconds * 1e9, "they hardly waited"
    return max(abs(100 * (ours / kernels - 1)) for ours, kernels in grown)


def owners(vcpus, threads, _, seconds, tid, others):
    others = [o.split(":") for o in others]
    place, tids = place_of(threads, tid), [int(t) for _, t in others]
    (before, ran_before, _), (after, ran_after, _), away = over(seconds, vcpus, place, tids)
    known = dict.fromkeys(OWNERS, 0)
    for (owner, _), now, then in zip(others, ran_after, ran_before):
        known[owner] += now - then
    charged = {o: after.by[o] - before.by[o] for o in OWNERS}
    print("ran:", known, "charged:", charged, "taken away:", away)
    assert min(known[o] for o, _ in others) > 0.1 * seconds * 1e9, "they hardly ran"
    # whoever else there is belongs to the host
    beside = max(charged["host"] - known["host"], 0)
    known["host"] += beside
    known["kernel"], known["idle"] = charged["kernel"], charged["idle"]
    return max(100 * max(abs(charged[o] - known[o]) - away, 0) / (sum(charged.values()) - beside) for o in OWNERS)


def matrix(vcpus, threads, pairs, seconds, tid, others):
    place, places = place_of(threads, tid), list(places_of(pairs, use_of(threads, tid)))
    uses = [use_of(threads, t) for t in others]
    (before, ran_before, stolen_before), (after, ran_after, stolen_after), away = over(
        seconds, vcpus, place, others, lambda: stolen(pairs, places))
    ran = [now - then for now, then in zip(ran_after, ran_before)]
    by = {use: ns - stolen_before[use] for use, ns in stolen_after.items()}
    charged = {o: after.by[o] - before.by[o] for o in OWNERS}
    print("ran:", ran, "stolen:", by, "charged:", charged, "taken away:", away)
    assert min(ran) > 0.1 * seconds * 1e9, "they hardly ran"
    assert sum(by.values()) == charged["vms"], "of other VMs it is not told which"
    return max(100 * max(abs(by.get(u, 0) - r) - away, 0) / charged["vms"] for u, r in zip(uses, ran))


def quota(vcpus, threads, _, seconds, tid):
    place = place_of(threads, tid)
    before, _, _ = look_at_owners(vcpus, place, [])
    time.sleep(seconds)
    after, _, _ = look_at_owners(vcpus, place, [])
    charged = {o: after.by[o] - before.by[o] for o in OWNERS}
    print("charged:", charged)
    assert sum(charged.values()) > 0.3 * seconds * 1e9, "it was not held back"
    # the host may have other processes
    return 100 - 100 * charged["quota"] / (sum(charged.values()) - charged["host"])


def main():
    keeper, seconds, most, how = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
    maps = maps_of(keeper)
    if how == "owners":
        error = owners(*maps, seconds, int(sys.argv[5]), sys.argv[6:])
    elif how == "pairs":
        error = matrix(*maps, seconds, int(sys.argv[5]), [int(t) for t in sys.argv[6:]])
    elif how == "quota":
        error = quota(*maps, seconds, int(sys.argv[5]))
    else:
        error = sums(*maps, seconds, how, [int(t) for t in sys.argv[5:]])
    print("worst", error, "percent")
    assert error <= most, error


main()
