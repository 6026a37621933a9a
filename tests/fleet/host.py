# SPDX-License-Identifier: LGPL-2.1-or-later
"""A host whose VMs are stand-ins: python3 host.py HOST DIR

Run in a mount namespace and a UTS namespace of its own.  What a vhostmd there (fleet-vhostmd, libvirt.c)
sees of the kernel are files below DIR, mounted over those of /proc and /sys that it reads: each VM is a
process that does nothing, with figures that go on as the tables below say.  Prints "ready" when all is
there, and ends when its standard input does.

  DIR/node.xml    for libvirt's test driver: --connect test://DIR/node.xml
  DIR/stand-ins   what libvirt tells of the VMs: VHOSTMD_STAND_INS
"""
import math
import os
import select
import signal
import subprocess
import sys
import time

GIB = 1 << 30


class VM:
    def __init__(self, name, vcpus, memory_gib, busy, delay=0.004, throttled=None, pressure=0.0, disks=(30, 60),
                 net=(1e6, 1e6), stopped=False):
        """Of each virtual CPU, how much of the time it runs (busy) and waits for a processor (delay); of the
        VM, how much of it its quota holds it back (None: it has none) and something waits for memory; of each
        of its disks, how many requests there are in a second; bytes in a second, in and out."""
        self.name, self.vcpus, self.memory = name, vcpus, memory_gib * GIB
        self.busy, self.delay, self.throttled, self.pressure = busy, delay, throttled, pressure
        self.disks, self.net, self.stopped = disks, net, stopped


# CPUs, memory, share of the last 10 s in which something waited for processors, memory, storage
HOSTS = {
    "host1": (32, 128, (0.21, 0.02, 0.04), [
        VM("web01", 4, 8, 0.42, 0.21, net=(9e6, 31e6)),
        VM("web02", 4, 8, 0.35, 0.03, net=(7e6, 22e6)),
        VM("db01", 8, 24, 0.55, 0.01, disks=(820, 410), net=(12e6, 4e6)),
        VM("db03", 8, 24, 0.30, pressure=0.17, disks=(240, 90), net=(3e6, 1e6)),
        VM("cache01", 2, 8, 0.12, 0.006, disks=(3,), net=(3e6, 5e6)),
        VM("build01", 8, 16, 0.61, 0.07, throttled=0.9, disks=(90, 260)),
        VM("mail01", 2, 4, 0.08, disks=(12, 20), net=(2e5, 4e5)),
    ]),
    "host2": (16, 64, (0.71, 0.03, 0.06), [
        VM("web03", 4, 8, 0.38, 0.05, net=(8e6, 25e6)),
        VM("db02", 8, 24, 0.48, 0.02, disks=(610, 300), net=(9e6, 3e6)),
        VM("queue01", 4, 8, 0.19, 0.03, disks=(150, 20), net=(5e6, 5e6)),
    ]),
    "host3": (8, 32, (0.06, 0.01, 0.01), [
        VM("mail02", 2, 4, 0.08, disks=(12, 20), net=(2e5, 4e5)),
        VM("web04", 4, 8, 0.22, net=(4e6, 11e6)),
        VM("db04", 4, 12, 0.30, pressure=0.02, disks=(200, 70), net=(3e6, 1e6)),
        VM("test01", 2, 4, 0.0, 0.0, disks=(0,), net=(0, 0), stopped=True),
    ]),
}


def uuid_of(host, i):
    return "%s-0000-4000-8000-%012x" % (("%x" % int.from_bytes(host.encode()[-4:], "big")).rjust(8, "0"), i)


class Files:
    """Written in place: who has one open sees what it holds by now."""

    def __init__(self, root):
        self.root, self.fds = root, {}

    def put(self, path, text):
        if path not in self.fds:
            full = os.path.join(self.root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            self.fds[path] = os.open(full, os.O_RDWR | os.O_CREAT, 0o644)
        # none of them becomes shorter
        os.pwrite(self.fds[path], text.encode(), 0)


def stand_in():
    pid = os.fork()
    if pid == 0:
        while True:
            signal.pause()
    return pid


def wave(seconds, i):
    """How much of it was done by then: a third more or less than always the same, of each VM in its time."""
    turn = (60 + 25 * i) / (2 * math.pi)
    return seconds + 0.3 * turn * math.sin(seconds / turn)


def now(seconds, i):
    """How much more or less than always the same it is at that time."""
    return 1 + 0.3 * math.cos(seconds * (2 * math.pi) / (60 + 25 * i))


def pressure_file(share, seconds):
    return ("some avg10=%05.2f avg60=%05.2f avg300=%05.2f total=%d\n"
            "full avg10=00.00 avg60=00.00 avg300=00.00 total=0\n" % ((share * 100,) * 3 + (share * seconds * 1e6,)))


def write_vm(files, vm, i, pid, uuid, seconds, start_ticks):
    done = 3600 + (0 if vm.stopped else seconds)
    ran, waited = vm.busy * done, vm.delay * done
    proc = "proc/%d/" % pid
    ticks = int((vm.vcpus * ran + 0.02 * done) * 100)
    files.put(proc + "cmdline", "qemu-system-x86_64\0-name\0guest=%s\0-uuid\0%s\0" % (vm.name, uuid))
    files.put(proc + "stat", "%d (qemu-system-x86) %s 1 1 1 0 -1 4194560 9000 0 40 0 %d %d 0 0 20 0 %d 0 %d %d %d 0\n"
              % (pid, "T" if vm.stopped else "S", ticks - ticks // 10, ticks // 10, vm.vcpus + 1, start_ticks,
                 vm.memory + GIB, int(vm.memory * 0.92) // 4096))
    files.put(proc + "status", "Name:\tqemu-system-x86\nHugetlbPages:\t0 kB\n")
    files.put(proc + "cgroup", "0::/machine.slice/machine-qemu-%d-%s.scope/libvirt/emulator\n" % (i, vm.name))
    for thread in range(vm.vcpus + 1):
        task = "%stask/%d/" % (proc, pid + 100000 * thread)
        files.put(task + "comm", "CPU %d/KVM\n" % (thread - 1) if thread else "qemu-system-x86\n")
        # the first of them has more to do
        share = (1.3 if thread == 1 else 1 - 0.3 / max(1, vm.vcpus - 1)) if vm.vcpus > 1 else 1
        files.put(task + "schedstat", "%d %d %d\n" % (ran * share * 1e9, waited * share * 1e9, done * 100)
                  if thread else "%d 0 %d\n" % (0.02 * done * 1e9, done))
    group = "cgroup/machine.slice/machine-qemu-%d-%s.scope/" % (i, vm.name)
    throttled = vm.throttled or 0
    usage = int(vm.vcpus * ran * 1e6)
    files.put(group + "cpu.stat", "usage_usec %d\nuser_usec %d\nsystem_usec %d\nnr_periods %d\nnr_throttled %d\n"
              "throttled_usec %d\n" % (usage, usage * 0.9, usage * 0.1, 0 if vm.throttled is None else done * 10,
                                      throttled * done * 10, throttled * done * 1e6))
    files.put(group + "memory.current", "%d\n" % (vm.memory * 0.95))
    files.put(group + "cpu.weight", "100\n")
    for what, share in ("cpu", vm.delay), ("memory", vm.pressure), ("io", 0.01):
        files.put(group + what + ".pressure", pressure_file(share, done))
    figures = {"state.state": 1, "vcpu.current": vm.vcpus, "vcpu.maximum": vm.vcpus,
               "balloon.current": vm.memory // 1024, "balloon.maximum": vm.memory // 1024,
               "balloon.swap_in": 0, "balloon.swap_out": 0,
               "net.count": 1, "net.0.name": "vnet%d" % i,
               "net.0.rx.bytes": vm.net[0] * done, "net.0.tx.bytes": vm.net[1] * done,
               "net.0.rx.pkts": vm.net[0] * done / 900, "net.0.tx.pkts": vm.net[1] * done / 900,
               "net.0.rx.drop": 0, "net.0.tx.drop": 0, "block.count": len(vm.disks)}
    for disk, rate in enumerate(vm.disks):
        reads, writes, at = rate * done, rate * done / 3, "block.%d." % disk
        figures.update({
            at + "name": "vd" + "ab"[disk], at + "rd.reqs": reads, at + "rd.bytes": reads * 16384,
            at + "rd.times": reads * (4e5 + 3e5 * i), at + "wr.reqs": writes, at + "wr.bytes": writes * 32768,
            at + "wr.times": writes * (9e5 + 4e5 * i), at + "fl.reqs": writes / 10, at + "fl.times": writes * 2e5})
    files.put("stand-ins/" + vm.name, "".join("%s %s\n" % (k, v if isinstance(v, str) else int(v))
                                              for k, v in figures.items()))


def write_host(files, cpus, memory_gib, pressure, vms, seconds):
    done = 86400 + seconds
    busy = sum(vm.vcpus * vm.busy for vm in vms if not vm.stopped) / cpus
    one = "%d 0 %d %d 0 0 0 0 %d 0\n" % tuple(done * 100 * share for share in (busy, 0.02, max(0.02, 1 - busy), busy))
    total = "cpu  %s\n" % " ".join(str(int(v) * cpus) for v in one.split())
    files.put("host/stat", total + "".join("cpu%d %s" % (c, one) for c in range(cpus)) +
              "ctxt 1000\nbtime 1700000000\nprocesses 1000\nprocs_running 1\nprocs_blocked 0\n")
    used = sum(vm.memory for vm in vms) * 0.95 / 1024 + 2e6
    total_kib = memory_gib * GIB // 1024
    files.put("host/meminfo", "".join("%-15s %10d kB\n" % (k + ":", v) for k, v in (
        ("MemTotal", total_kib), ("MemFree", total_kib - used - 4e6), ("MemAvailable", total_kib - used),
        ("Buffers", 1e6), ("Cached", 3e6), ("SwapCached", 0), ("SwapTotal", 8e6), ("SwapFree", 8e6))))
    files.put("host/loadavg", "%05.2f %05.2f %05.2f 2/999 4711\n" % ((busy * cpus * now(seconds, 2),) * 3))
    files.put("host/online", "0-%d\n" % (cpus - 1))
    for i, (what, share) in enumerate(zip(("cpu", "memory", "io"), pressure)):
        files.put("pressure/" + what, pressure_file(share * now(seconds, i + cpus // 8), done))


def domain(vm, i, uuid):
    disks = "".join("<disk type='file'><source file='/vd%d'/><target dev='vd%s'/></disk>" % (d, "ab"[d])
                    for d in range(len(vm.disks)))
    quota = "" if vm.throttled is None else "<cputune><period>100000</period><quota>60000</quota></cputune>"
    return ("<domain type='test'><name>%s</name><uuid>%s</uuid><memory unit='KiB'>%d</memory><vcpu>%d</vcpu>%s"
            "<os><type>hvm</type></os><devices>%s<interface type='bridge'><source bridge='br0'/>"
            "<target dev='vnet%d'/></interface></devices></domain>\n"
            % (vm.name, uuid, vm.memory // 1024, vm.vcpus, quota, disks, i))


def bind(source, target):
    subprocess.run(["mount", "--bind", source, target], check=True)


def main(host, directory):
    cpus, memory, pressure, vms = HOSTS[host]
    files = Files(directory)
    with open("/proc/uptime", encoding="ascii") as f:
        start_ticks = int((float(f.read().split()[0]) - 3600) * 100)
    begin = time.monotonic()
    pids = [stand_in() for _ in vms]

    def write():
        seconds = time.monotonic() - begin
        for i, vm in enumerate(vms, 1):
            write_vm(files, vm, i, pids[i - 1], uuid_of(host, i), wave(seconds, i), start_ticks)
        write_host(files, cpus, memory, pressure, vms, seconds)

    write()
    with open(directory + "/node.xml", "w", encoding="ascii") as f:
        f.write("<node>\n")
        for i, vm in enumerate(vms, 1):
            files.put("pids/%s.pid" % vm.name, "%d\n" % pids[i - 1])
            f.write(domain(vm, i, uuid_of(host, i)))
        f.write("</node>\n")
    os.makedirs("/run/libvirt/qemu", exist_ok=True)
    bind(directory + "/pids", "/run/libvirt/qemu")
    bind(directory + "/cgroup", "/sys/fs/cgroup")
    bind(directory + "/pressure", "/proc/pressure")
    bind(directory + "/host/online", "/sys/devices/system/cpu/online")
    for name in "stat", "meminfo", "loadavg":
        bind(directory + "/host/" + name, "/proc/" + name)
    for pid in pids:
        bind("%s/proc/%d" % (directory, pid), "/proc/%d" % pid)
    # where the first process of a host does not see vhostmd's mount, VMs would not either
    files.put("host/mountinfo", "")
    bind(directory + "/host/mountinfo", "/proc/1/mountinfo")
    subprocess.run(["hostname", host], check=True)
    print("ready", flush=True)
    while not select.select([0], [], [], 0.2)[0]:
        write()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


main(*sys.argv[1:])
