#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Somebody who may only read keeps a directory locked, by listing it into memory that a
# file system which hangs should fill.  Values, disks and other directories stay new.
. "$(dirname "$0")/../lib.sh"
need_fuse

cat >"$tmp/conf" <<-EOF2
	<vhostmd><globals><update_period>0.02</update_period></globals><metrics>
	<metric context="host"><name>up</name><source>host.uptime</source></metric>
	<metric context="host"><name>cycles</name><source>vhostmd.fast.cycles</source></metric>
	<metric context="host"><name>duration</name><source>vhostmd.fast.duration</source></metric>
	<metric context="host"><name>gone0</name><source>host.name</source></metric>
	<metric context="host"><name>gone1</name><source>host.name</source></metric>
	</metrics></vhostmd>
EOF2
CONF=$tmp/conf start_daemon --connect test:///default
host=$mnt/metrics/host
wait_for 10 has_value "$host/duration" || fail "no sample"

# the file system that hangs: another of these daemons, stopped
mkdir "$tmp/other"
"$build/vhostmd" --no-daemonize --connect test:///default --config "$tmp/conf" \
	--pid-file "$tmp/other.pid" --mount "$tmp/other" >"$tmp/other.log" 2>&1 &
other=$!
wait_for 20 test -s "$tmp/other/metrics/host/up" || fail "no second daemon"
at_exit "go_on; kill $other 2>/dev/null; wait $other 2>/dev/null"
# its keeper too, which would replace a worker that hangs
go_on() { kill -CONT $other "$other_worker" 2>/dev/null; }
hangs() { grep -q '^State:.[DS]' "/proc/$lister/status"; } # until then it runs
in_kernel() { grep -qs '^State:.D' "/proc/$worker/task/"*/status; }
# hold N: locks the directory, with the Nth disk's pages, and takes a name there away
hold()
{
	worker=$(worker_pid)
	rm -f "$tmp/ready" "$tmp/ready.go"
	other_worker=$(sed -n 's/^pid: //p' "$tmp/other/status")
	python3 "$(dirname "$0")/hold-directory.py" "$host" \
		"$tmp/other/disk/00000000-0000-4000-8000-00000000000$1.img" "$tmp/ready" &
	lister=$!
	wait_for 10 test -e "$tmp/ready" || fail "no lister"
	process_hang $other "$other_worker" || fail "the second daemon does not stop"
	cat "$host"/* >/dev/null
	: >"$tmp/ready.go"
	wait_for 10 hangs || fail "the lister does not hang"
	sed -i "/gone$1/d" "$tmp/conf"
	kill -HUP "$keeper"
	wait_for 10 in_kernel || fail "no thread waits for the directory"
}
hold 0

# for longer than the kernel is told to keep anything back when a name moves
fresh()
{
	timeout 20 python3 - "$host/up" "$host/cycles" <<-'EOF2'
		import os, sys, time
		end, last = time.monotonic() + 4, 0
		fds = [os.open(p, os.O_RDONLY) for p in sys.argv[1:]]
		while time.monotonic() < end:
		    up = float(os.pread(fds[0], 100, 0))
		    assert time.clock_gettime(time.CLOCK_BOOTTIME) - up < 1.5, "old"
		    cycles = int(os.pread(fds[1], 100, 0))
		    assert cycles >= last
		    last = cycles
		    time.sleep(0.01)
	EOF2
}
fresh || fail "values are old while a directory is locked"
before=$(generation)
newer() { [ "$(generation)" -gt "$before" ]; }
wait_for 5 newer || fail "no new generation"
timeout 5 find "$mnt/metrics/vm" "$mnt/disk" >/dev/null || fail "other directories"
disk_content "$mnt/disk/vhostmd0.img" >/dev/null 2>&1 || disk_content \
	"$mnt/disk/$(cat /proc/sys/kernel/random/uuid).img" | grep -q '<name>up</name>' || fail "a disk"

# and all is well once he lets go
go_on
wait $lister || fail "the lister got nothing"
fresh || fail "values are old after a directory was locked"
[ "$(find "$host" -type f | wc -l)" = 4 ] || fail "the directory"

# one that is asked to end while the kernel keeps a thread of it there ends well
hold 1
stop_daemon || exit 1
logged "worker $worker is dead" || fail "nothing was in its way"
go_on
wait $lister
exit 0
