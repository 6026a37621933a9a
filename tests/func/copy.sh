#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Documents that change all the time can be copied: programs that call stat(2) before open(2)
# find the same file again.  The tree of metrics is read and copied without a complaint: what
# does not apply here is not in it.
. "$(dirname "$0")/../lib.sh"
need_fuse

cat >"$tmp/conf" <<-EOF2
	<vhostmd><globals><update_period>0.005</update_period></globals><metrics>
	<metric context="host"><name>up</name><source>host.uptime</source></metric>
	<metric context="host"><name>cycles</name><source>vhostmd.fast.cycles</source></metric>
	</metrics></vhostmd>
EOF2
CONF=$tmp/conf start_daemon --connect test:///default
wait_for 10 has_value "$mnt/metrics/host/cycles" || fail "no sample"
mkdir "$tmp/copies"
# A rendering is held for 100 ms: what took longer, on a busy machine, proves nothing and is
# done again; of all else nothing may fail.
python3 - "$mnt" "$tmp/copies" <<'EOF2' || fail "documents cannot be copied"
import os, subprocess, sys, time
mnt, copies = sys.argv[1:]
documents = [f"{mnt}/{name}" for name in ("status", "metrics.xml", "metrics.prom")]

def ms(since):
    return (time.monotonic() - since) * 1000

# programs, each a process of its own
for document in documents:
    for command in ["cp"], ["install", "-m", "600"]:
        n, end = 0, time.monotonic() + 30
        while n < 15:
            assert time.monotonic() < end, "too busy for anything"
            start = time.monotonic()
            r = subprocess.run(command + [document, copies], capture_output=True, text=True)
            assert r.returncode == 0 or ms(start) > 90, (document, command, r.stderr)
            n += r.returncode == 0
    with open(f"{copies}/{os.path.basename(document)}", "rb") as f:
        text = f.read()
    assert text.endswith(b"\n") and (b"</metrics>" in text or "xml" not in document), text[-50:]

# and one that copies on, with the shortest pauses that show where a copy begins
end, n, seen = time.monotonic() + 8, 0, {d: set() for d in documents}
while time.monotonic() < end or n < 100:
    for d in documents:
        start = time.monotonic()
        before = os.stat(d)
        fd = os.open(d, os.O_RDONLY)
        took, after = ms(start), os.fstat(fd)
        time.sleep(0.025)
        same = (before.st_ino, before.st_size) == (after.st_ino, after.st_size)
        assert same or took > 15, (d, took)
        seen[d].add(os.read(fd, 65536))
        os.close(fd)
        n += same
assert all(len(s) > 3 for s in seen.values()), [len(s) for s in seen.values()]
EOF2
stop_daemon || exit 1

every_source 0.5 0.5 >"$tmp/conf"
CONF=$tmp/conf start_daemon --connect test:///default
vm=$mnt/metrics/vm/test
wait_for 10 has_value "$vm/state.state" || fail "no figures of libvirt's"
tree_is_quiet
# a VM without a process, limits and disks, whose driver has no statistics
for absent in process.threads memtune.hard_limit vcpu.0.time usage.cpu usage.throttled balloon.unused \
	pressure.cpu.some.avg10 cputune.quota block.count; do
	[ -e "$vm/$absent" ] && fail "$absent exists"
done
assert_eq "unavailable of the VM" "$(cat "$vm/sample.unavailable")" ""
assert_eq "unavailable of the host" "$(cat "$mnt/metrics/host/host.sample.unavailable")" ""
grep -qw "memtune.hard_limit" "$vm/domain.unlimited" || fail "unlimited: $(cat "$vm/domain.unlimited")"
grep -q "memtune.hard_limit</name>" "$mnt/metrics.xml" && fail "a limit that is not set is in the document"
stop_daemon || exit 1
exit 0
