# SPDX-License-Identifier: LGPL-2.1-or-later
"""
hostile-reader.py conf                    a configuration with as much as there may be
hostile-reader.py hostile MOUNT SECONDS [VM]  everything that costs, as fast as it goes
hostile-reader.py age FILE SECONDS        reads a host metric that holds the time since boot;
                                          prints the median and the 99th percentile of its
                                          age in milliseconds
"""
import errno, mmap, multiprocessing, os, random, select, sys, time, uuid

def disks(mount, end, vm):
    """Disks of any uuid, past the page cache and through it."""
    room, n = mmap.mmap(-1, 65536), 0
    while n < 10000 or time.monotonic() < end:
        path = f"{mount}/disk/{uuid.UUID(int=random.getrandbits(128))}.img"
        fd = os.open(path, os.O_RDONLY | (os.O_DIRECT if n % 2 else 0))
        assert os.preadv(fd, [room], 0) == 65536
        assert room[:4] == b"mvbd", path
        os.close(fd)
        n += 1

def polls(mount, end, vm):
    """Many files, watched, again and again."""
    folder = f"{mount}/metrics/vm/{vm}"
    while time.monotonic() < end:
        names = os.listdir(folder)
        names = random.sample(names, min(300, len(names)))
        files = [os.open(f"{folder}/{name}", os.O_RDONLY) for name in names]
        poll = select.poll()
        for fd in files:
            poll.register(fd, select.POLLPRI)
        for _ in range(20):
            poll.poll(1)
        for fd in files:
            os.close(fd)

def documents(mount, end, vm):
    """New renderings, and old ones that are kept open, too many to be kept."""
    kept = []
    while time.monotonic() < end:
        for name in "status", "metrics.xml", "metrics.prom":
            kept.append(os.open(f"{mount}/{name}", os.O_RDONLY))
            assert os.read(kept[-1], 1 << 20)
        for fd in kept[-20:]:
            try:
                os.fstat(fd)
                os.pread(fd, 100, 0)
            except OSError as e:
                assert e.errno == errno.ESTALE, e
        if len(kept) > 500:
            os.close(kept.pop(0))

def directories(mount, end, vm):
    """Listings from the start, and names that are not there."""
    while time.monotonic() < end:
        for name in f"metrics/vm/{vm}", "metrics/vm", "metrics/vm-by-uuid", "disk":
            fd = os.open(f"{mount}/{name}", os.O_RDONLY)
            for _ in range(10):
                os.lseek(fd, 0, os.SEEK_SET)
                os.listdir(fd)
            os.close(fd)
        for i in range(100):
            os.path.exists(f"{mount}/metrics/vm/{i}")

def hostile(mount, seconds, vm="test"):
    end = time.monotonic() + float(seconds)
    jobs = [multiprocessing.Process(target=job, args=(mount, end, vm))
        for job in (disks, polls, documents, directories)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    return max(job.exitcode != 0 for job in jobs)

def age(path, seconds):
    end, ages = time.monotonic() + float(seconds), []
    fd = os.open(path, os.O_RDONLY)
    while time.monotonic() < end:
        value = float(os.pread(fd, 100, 0))
        ages.append((time.clock_gettime(time.CLOCK_BOOTTIME) - value) * 1000)
        time.sleep(0.003)
    ages.sort()
    print(f"{ages[len(ages) // 2]:.2f} {ages[len(ages) * 99 // 100]:.2f}")
    return 0

def conf():
    print('<vhostmd><globals><disk><mode>0444</mode></disk><update_period>0.05</update_period>'
        '<filesystem><mode>0444</mode></filesystem></globals><metrics>\n'
        '<metric context="host"><name>up</name><source>host.uptime</source></metric>')
    for context, source, n in ("host", "host.context.switches", 300), ("vm", "domain.id", 3000):
        for i in range(1, n + 1):
            print(f'<metric context="{context}"><name>number.{i}</name>'
                f'<source>{source}</source></metric>')
    print('</metrics></vhostmd>')
    return 0

sys.exit({"conf": conf, "hostile": hostile, "age": age}[sys.argv[1]](*sys.argv[2:]))
