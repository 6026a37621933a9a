#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A libvirtd that restarts, libvirtd and a QEMU that hang: nobody else may suffer.
. "$(dirname "$0")/lib.sh"
need_guests
[ -n "${libvirt_started[*]}" ] || skip "libvirtd is not ours to stop"

sed "s/<update_period>5</<update_period>0.5</; s/<max_channels>.*/&<expiration_time>60<\/expiration_time>/" "$top/conf/vhostmd.conf" >"$tmp/conf"
CONF=$tmp/conf start_daemon
a=$(new_uuid) b=$(new_uuid)
devices() { guest_disk_xml "$mnt/disk/$1.img"; guest_channel_xml; }
guest_start "$guest_prefix-a" "$a" "$(devices "$a")"
guest_start "$guest_prefix-b" "$b" "$(devices "$b")"
vm_a=$mnt/metrics/vm/$guest_prefix-a
wait_for 10 test -s "$vm_a/TotalCPUTime" || fail "no metrics"

host_goes_on()
{
	local before
	before=$(stat -c %Y.%y "$mnt/metrics/host/TotalCPUTime")
	host_moved() { [ "$(stat -c %Y.%y "$mnt/metrics/host/TotalCPUTime")" != "$before" ]; }
	wait_for 3 host_moved || fail "$1: the host's metrics stand still"
	guest_run "$a" "vm-dump-metrics -b >/tmp/o && grep -c '<metric ' /tmp/o" >/dev/null || fail "$1: disk"
	guest_run "$a" "vm-dump-metrics -i >/tmp/o && grep -c '<metric ' /tmp/o" >/dev/null || fail "$1: channel"
}
vm_moves()
{
	local before=$1
	[ "$(cat "$mnt/metrics/vm/$guest_prefix-a/TotalCPUTime" 2>/dev/null)" != "$before" ]
}

# a QEMU that hangs (its monitor does not answer)
qemu_b=$(pgrep -f "guest=$guest_prefix-b,") || fail "no QEMU"
kill -STOP "$qemu_b"
at_exit "kill -CONT $qemu_b 2>/dev/null"
host_goes_on "hung QEMU"
for round in 1 2 3; do
	before=$(cat "$vm_a/TotalCPUTime")
	guest_run "$a" "i=0; while [ \$i -lt 20000 ]; do i=\$((i+1)); done"
	wait_for 15 vm_moves "$before" || fail "hung QEMU: another VM's figures stand still, round $round"
done
grep -q "^vm.$a.age_ms: .*stale" "$mnt/status" && fail "hung QEMU: another VM is stale"
kill -CONT "$qemu_b"
before=$(cat "$vm_a/TotalCPUTime")
guest_run "$a" "i=0; while [ \$i -lt 20000 ]; do i=\$((i+1)); done"
wait_for 15 vm_moves "$before" || fail "no recovery from a hung QEMU"

# libvirtd that hangs
libvirtd=$(cat /run/libvirtd.pid)
kill -STOP "$libvirtd"
at_exit "kill -CONT $libvirtd 2>/dev/null"
host_goes_on "hung libvirtd"
[ -s "$vm_a/TotalCPUTime" ] || fail "hung libvirtd: the VM's last values are gone"
waiting() { grep -q 'slow.waiting_ms' "$mnt/status"; }
wait_for 5 waiting || fail "status does not tell that libvirt does not answer"
kill -CONT "$libvirtd"
before=$(cat "$vm_a/TotalCPUTime")
guest_run "$a" "i=0; while [ \$i -lt 20000 ]; do i=\$((i+1)); done"
wait_for 15 vm_moves "$before" || fail "no recovery from a hung libvirtd"

# libvirtd restarted; VMs go on, one of them ends meanwhile
kill "$libvirtd"
wait_for 15 process_gone "$libvirtd" || fail "libvirtd does not end"
wait_for 10 logged 'does not answer' || fail "the lost connection was not logged"
host_goes_on "no libvirtd"
[ -s "$vm_a/TotalCPUTime" ] || fail "no libvirtd: the VM's last values are gone"
kill -KILL "$qemu_b"
rm -f /run/libvirtd.pid
libvirt_start
wait_for 20 test ! -e "$mnt/metrics/vm/$guest_prefix-b" || fail "a VM that ended meanwhile is still there"
before=$(cat "$vm_a/TotalCPUTime")
guest_run "$a" "i=0; while [ \$i -lt 20000 ]; do i=\$((i+1)); done"
wait_for 20 vm_moves "$before" || fail "no recovery from libvirtd's restart"
host_goes_on "after libvirtd's restart"
assert_eq "loss logged once" "$(grep -c 'does not answer' "$tmp/log")" 1

# ends at once although libvirtd hangs
libvirtd=$(cat /run/libvirtd.pid)
kill -STOP "$libvirtd"
at_exit "kill -CONT $libvirtd 2>/dev/null"
wait_for 5 waiting
start=$SECONDS
stop_daemon || exit 1
[ $((SECONDS - start)) -le 8 ] || fail "stopping took $((SECONDS - start)) s"
kill -CONT "$libvirtd"
exit 0
