# SPDX-License-Identifier: LGPL-2.1-or-later
"""Readers of a tree whose worker is killed again and again:
survive.py [--upgrade PROGRAM PROGRAM INSTALLED --] MOUNT KEEPER SECONDS PAUSE [PERIOD]
survive.py --keeper MOUNT PID_FILE SECONDS PAUSE [PERIOD]

Kills after random pauses of up to PAUSE seconds.  With --upgrade it kills nobody: each PAUSE seconds
one of two programs, in turn, is put in the place of INSTALLED, and the keeper told.  With --keeper it
kills the keeper each PAUSE seconds, for somebody else to start another.  Prints what each reader met, and ends with 1 if
any of them met an error, something torn, or waited too long.  With PERIOD, in seconds, prints
figures instead, each with its name and unit.
"""
import collections
import mmap
import os
import random
import re
import select
import shutil
import signal
import struct
import sys
import threading
import time

args, upgrade = sys.argv[1:], []
if args[0] == "--upgrade":
    upgrade, args = args[1:4], args[5:]
kills_keeper = args[0] == "--keeper"
if kills_keeper:
    args = args[1:]
mnt, keeper, seconds, pause = args[0], args[1], float(args[2]), float(args[3])
if not kills_keeper:
    keeper = int(keeper)
period = float(args[4]) if len(args) > 4 else None
host = mnt + "/metrics/host"
disk = mnt + "/disk/vhostmd0.img"
names = sorted(n for n in os.listdir(host))
faults, counts = collections.Counter(), collections.Counter()
worst = collections.defaultdict(float)
times = []  # that readers waited who do not wait by themselves
oldest = 0.0
LONGEST = 20 if kills_keeper else 10  # programs are started, and one read may meet two ends


class Torn(Exception):
    pass


reading = threading.local()


def waited(call, *args):
    """One of several requests that a reader makes, each of which may wait for another worker."""
    begin = time.monotonic()
    answer = call(*args)
    reading.longest = max(reading.longest, time.monotonic() - begin)
    return answer


def read_whole(path):
    with open(path, "rb", buffering=0) as f:
        return f.read()


def read_file():
    name = random.choice(names)
    if not read_whole(host + "/" + name).endswith(b"\n"):
        raise Torn("a file without its end")


kept = os.open(host + "/Generation", os.O_RDONLY)
newest = 0


def read_kept():
    global newest, oldest
    text = os.pread(kept, 64, 0)
    oldest = max(oldest, time.time() - os.fstat(kept).st_mtime)
    if not re.fullmatch(rb"\d+\n", text):
        raise Torn("kept file: %r" % text)
    if int(text) < newest:
        raise Torn("generation %d after %d" % (int(text), newest))
    newest = int(text)


mapped_fd = os.open(host + "/HostName", os.O_RDONLY)
host_name = os.read(mapped_fd, 256)
mapped = mmap.mmap(mapped_fd, 0, prot=mmap.PROT_READ)


def read_mapped():
    if mapped[: len(host_name)] != host_name:
        raise Torn("mapped file")


def read_list():
    found = []
    with waited(os.scandir, host) as entries:
        while entry := waited(next, entries, None):
            found.append(entry.name)
    if sorted(found) != names:
        raise Torn("listing")


def read_document():
    """In small pieces, slowly: the rest of it is asked for after several deaths."""
    fd = waited(os.open, mnt + "/metrics.xml", os.O_RDONLY)
    text = b""
    while True:
        part = waited(os.read, fd, 3000)
        if not part:
            break
        text += part
        time.sleep(0.001)
    os.close(fd)
    found = re.findall(rb"<name>Generation\w*</name>\s*<value>(\d+)", text)
    if not text.rstrip().endswith(b"</metrics>") or len(found) != 2 or found[0] != found[1]:
        raise Torn("document of %d bytes with generations %r" % (len(text), found))


def check_disk(read_at):
    """As guests read: header, content, header."""
    data, at = b"", 0
    while True:
        part = waited(read_at, at)
        data += part
        at += len(part)
        if len(part) < 65536:
            break
    if read_at(0)[:16] != data[:16]:
        counts["disk moved on"] += 1
        return
    signature, busy, total, length = struct.unpack(">4sIII", data[:16])
    if signature != b"mvbd":
        raise Torn("signature %r" % signature)
    if busy:
        counts["disk busy"] += 1
    elif sum(data[16 : 16 + length]) % 2**32 != total:
        raise Torn("checksum of a disk")


def read_disk():
    fd = waited(os.open, disk, os.O_RDONLY)
    check_disk(lambda at: os.pread(fd, 65536, at))
    os.close(fd)


buffer = mmap.mmap(-1, 65536)


def read_disk_directly():
    fd = waited(os.open, disk, os.O_RDONLY | os.O_DIRECT)

    def read_at(at):
        return buffer[: os.preadv(fd, [buffer], at)]

    check_disk(read_at)
    os.close(fd)


def wait_for_change():
    fd = os.open(host + "/Generation", os.O_RDONLY)
    poll = select.poll()
    poll.register(fd, select.POLLPRI | select.POLLERR)
    poll.poll(0)
    before = os.pread(fd, 64, 0)
    until = time.monotonic() + LONGEST
    while os.pread(fd, 64, 0) == before:
        if not poll.poll(int(1000 * max(0, until - time.monotonic()))):
            still = read_whole(host + "/Generation") == before
            raise Torn("the value stands still" if still else "nobody was woken")
    os.close(fd)


BREATH = 0.01  # without it those who never wait leave the others no processor


def loop(read):
    name = read.__name__
    while time.monotonic() < end:
        time.sleep(BREATH)
        begin = time.monotonic()
        reading.longest = 0
        try:
            read()
        except Torn as e:
            faults["torn: %s: %s" % (name, e)] += 1
        except Exception as e:  # pylint: disable=broad-except
            faults["%s: %s" % (name, e)] += 1
        counts[name] += 1
        worst[name] = max(worst[name], reading.longest or time.monotonic() - begin)
        if read in (read_file, read_list, read_disk, read_disk_directly):
            times.append(time.monotonic() - begin)


def workers():
    """None if the keeper has given up; what its children are then is not ours to kill."""
    with open("/proc/%d/task/%d/children" % (keeper, keeper), encoding="ascii") as f:
        pids = [int(pid) for pid in f.read().split()]
    with open("/proc/self/mounts", encoding="utf-8") as f:
        return pids if " %s " % mnt in f.read() else None


def served():
    """By one that lives: how long one takes to begin depends on what else the machine does."""
    until = time.monotonic() + LONGEST
    while time.monotonic() < until:
        status = read_whole(mnt + "/status")
        pid = int(re.search(rb"^pid: (\d+)$", status, re.M)[1])
        # where none gets to sample nothing changes, and nobody can be woken for a change
        if pid in (workers() or []) and re.search(rb"^fast.cycles: [1-9]", status, re.M):
            return
        time.sleep(0.001)
    faults["no worker gets to serve, and to sample"] += 1


deaths = 0
SERVED_EACH = 3  # deaths: some die before they serve or sample; if none serves, the keeper ends


def kill_worker():
    global deaths
    pids = workers()
    if pids is None:
        faults["the keeper has given up"] = 1
        return
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        counts["kills"] += 1
    deaths += 1
    if deaths % SERVED_EACH == 0:
        served()


def upgrade_both():
    program = upgrade[counts["upgrades"] % 2]
    shutil.copy(program, upgrade[2] + ".new")
    os.rename(upgrade[2] + ".new", upgrade[2])
    os.kill(keeper, signal.SIGUSR2)
    counts["upgrades"] += 1


def kill_keeper():
    read_whole(mnt + "/status")  # the last one's successor serves
    with open(keeper, encoding="ascii") as f:
        os.kill(int(f.read()), signal.SIGKILL)
    counts["kills"] += 1


readers = [read_file, read_kept, read_mapped, read_list, read_document, read_disk,
           read_disk_directly, wait_for_change]
threads = [threading.Thread(target=loop, args=(r,)) for r in readers]
end = time.monotonic() + seconds
for t in threads:
    t.start()
while time.monotonic() < end - 1:
    time.sleep(pause if upgrade or kills_keeper else random.uniform(0, pause))
    try:
        if upgrade:
            upgrade_both()
        elif kills_keeper:
            kill_keeper()
        else:
            kill_worker()
    except (ProcessLookupError, FileNotFoundError, ValueError):
        pass
for t in threads:
    t.join(2 * LONGEST)
    if t.is_alive():
        faults["a reader is stuck"] += 1
if period:
    if kills_keeper:
        print("keeper_kills %d number" % counts["kills"])
        print("keeper_errors %d number" % sum(faults.values()))
        print("keeper_worst_ms %.1f ms" % (1000 * max(times)))
        for fault, n in faults.items():
            print("%d x %s" % (n, fault), file=sys.stderr)
        sys.stdout.flush()
        os._exit(0)
    torn = sum(n for what, n in faults.items() if what.startswith("torn"))
    stuck = faults["a reader is stuck"]
    times.sort()
    if upgrade:
        print("upgrades %d number" % counts["upgrades"])
        print("upgrade_errors %d number" % sum(faults.values()))
        print("upgrade_worst_ms %.1f ms" % (1000 * max(times)))
        for fault, n in faults.items():
            print("%d x %s" % (n, fault), file=sys.stderr)
        sys.stdout.flush()
        os._exit(0)
    print("kills %d number" % counts["kills"])
    print("kill_errors %d number" % (sum(faults.values()) - torn - stuck))
    print("kill_torn %d number" % torn)
    print("kill_stuck %d number" % stuck)
    print("kill_p999_ms %.1f ms" % (1000 * times[len(times) * 999 // 1000]))
    print("kill_worst_ms %.1f ms" % (1000 * times[-1]))
    print("kill_age_periods %.2f periods" % (oldest / period))
    sys.stdout.flush()
    os._exit(0)
print(", ".join("%s %d" % item for item in sorted(counts.items())))
print("worst: " + ", ".join("%s %.3f s" % item for item in sorted(worst.items())))
for fault, n in faults.items():
    print("%d x %s" % (n, fault))
sys.stdout.flush()
os._exit(1 if faults or max(worst.values()) > LONGEST else 0)
