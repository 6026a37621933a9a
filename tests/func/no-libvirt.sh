#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A build without libvirt serves the host: its metrics, documents and disks.  Without libmicrohttpd it
# says that it serves no HTTP, and without ncurses it prints what it has no screen for.
. "$(dirname "$0")/../lib.sh"
need_fuse
build_least
build=$top/build-least

timeout 20 "$build/vhostmd" -d -f "$top/conf/vhostmd.conf" --mount "$tmp/none" --pid-file "$tmp/none.pid" \
	--http 127.0.0.1:9 2>"$tmp/err" && fail "it starts without what --http needs"
grep -q -- '--http: this vhostmd was built without libmicrohttpd' "$tmp/err" || fail "$(cat "$tmp/err")"
ldd "$build/vhostmd" | grep -q microhttpd && fail "it is linked with libmicrohttpd all the same"
ldd "$build/vhostmd" | grep -q libvirt && fail "it is linked with libvirt all the same"
start_daemon
wait_for 10 has_value "$mnt/metrics/host/TotalCPUTime" || fail "no figure of the host"
tells() { grep -q 'libvirt.state: not built in' "$mnt/status"; }
wait_for 10 tells || fail "status does not tell"
for absent in VirtualizationProductInfo host.overcommit.cpu vhostmd.slow.calls; do
	wait_for 10 test ! -e "$mnt/metrics/host/$absent" || fail "$absent, without libvirt"
done
assert_eq "VMs" "$(ls "$mnt/metrics/vm")" ""
disk_content "$mnt/disk/$(cat /proc/sys/kernel/random/uuid).img" | grep -q "context='host'" ||
	fail "a disk without the host's metrics"
before=$(generation)
kill -HUP "$(worker_pid)"
wait_for 10 logged "is in force" || fail "no reload"
grew() { [ "$(generation)" -gt "$before" ]; }
wait_for 10 grew || fail "the figures stand still"
ldd "$build/ctl/vhostmdctl" | grep -q ncurses && fail "it is linked with ncurses all the same"
"$build/ctl/vhostmdctl" top --mount "$mnt" --batch --json --count 1 --delay 0.1 >"$tmp/out" || fail "top --batch"
grep -q '^{"time": [0-9.]*, "host": {"cpus": [0-9]' "$tmp/out" || fail "top --batch: $(cat "$tmp/out")"
script -qec "'$build/ctl/vhostmdctl' top --mount '$mnt'" /dev/null >"$tmp/out" && fail "a screen without ncurses"
grep -q 'made without ncurses' "$tmp/out" || fail "top: $(cat "$tmp/out")"
