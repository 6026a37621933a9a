#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A libvirtd that restarts, is killed or replaced, libvirtd and a QEMU that hang: nobody else may
# suffer, or see anything of it.
. "$(dirname "$0")/lib.sh"
need_guests "$top/tests/guest/watch-metrics"
[ -n "${libvirt_started[*]}" ] || skip "libvirtd is not ours to stop"

sed "s/<update_period>5</<update_period>0.5</; s/<max_channels>.*/&<expiration_time>60<\/expiration_time>/" "$top/conf/vhostmd.conf" >"$tmp/conf"
for source in domain.name domain.uuid domain.id domain.session cpu.time; do
	grep -q "<name>$source<" "$tmp/conf" || sed -i "s|</metrics>|<metric context='vm'><name>$source</name><source>$source</source></metric>&|" "$tmp/conf"
done
CONF=$tmp/conf start_daemon
a=$(new_uuid) b=$(new_uuid)
devices() { guest_disk_xml "$mnt/disk/$1.img"; guest_channel_xml; }
guest_begin "$guest_prefix-a" "$a" "$(devices "$a")"
guest_start "$guest_prefix-b" "$b" "$(devices "$b")"
guest_up "$a"
vm_a=$mnt/metrics/vm/$guest_prefix-a
wait_for 10 has_value "$vm_a/TotalCPUTime" "$vm_a/block.0.rd.bytes" || fail "no metrics"

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

# D11: who comes is logged
logged "VM '$guest_prefix-a' runs, id [0-9]" || fail "a VM that runs is not logged"

# throughout; host_goes_on() asks by the channel
steady_start "$vm_a"
guest_watch "$a" -b

# a QEMU that hangs (its monitor does not answer)
qemu_b=$(pgrep -f "guest=$guest_prefix-b,") || fail "no QEMU"
vm_b=$mnt/metrics/vm/$guest_prefix-b
wait_for 10 has_value "$vm_b/block.0.rd.bytes" || fail "no slow figures of guest b"
process_hang "$qemu_b"
at_exit "kill -CONT $qemu_b 2>/dev/null"
host_goes_on "hung QEMU"
# it is marked, for the host and for itself; what needs no monitor goes on, as does everything
# of others; nothing that was known is lost
marked() { grep -q "^vm.$b.slow_age_ms: .* silent" "$mnt/status" && [ "$(cat "$vm_b/sample.stale")" = 1 ]; }
wait_for 15 marked || fail "a VM that hangs is not marked: $(cat "$mnt/status")"
logged "VM '$guest_prefix-b' does not answer its monitor" || fail "a VM that hangs is not logged"
disk_content "$mnt/disk/$b.img" | grep -A 1 '<name>sample.stale<' | grep -q '<value>1<' || fail "the guest is not told"
# age WHICH UUID MS: that lane's last sample of the VM is not older
age() { awk -v k="vm.$2.$1:" -v m="$3" '$1 == k {r = $2 >= 0 && $2 <= m} END {exit !r}' "$mnt/status"; }
wait_for 10 age age_ms "$b" 1000 || fail "fast figures of the VM that hangs stand still"
wait_for 10 age slow_age_ms "$a" 2000 || fail "slow figures of another VM stand still"
age slow_age_ms "$b" 2000 && fail "slow figures of the VM that hangs look new"
has_value "$vm_b/block.0.rd.bytes" || fail "the last slow figures are gone"
assert_eq "another VM" "$(cat "$vm_a/sample.stale")" 0
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
well() { ! grep -q ' silent' "$mnt/status" && [ "$(cat "$vm_b/sample.stale")" = 0 ]; }
wait_for 10 well || fail "the VM stays marked: $(cat "$mnt/status")"

# libvirtd that hangs
libvirtd=$(cat /run/libvirtd.pid)
process_hang "$libvirtd"
at_exit "kill -CONT $libvirtd 2>/dev/null"
host_goes_on "hung libvirtd"
has_value "$vm_a/TotalCPUTime" || fail "hung libvirtd: the VM's last values are gone"
waiting() { grep -q 'slow.waiting_ms' "$mnt/status"; }
wait_for 5 waiting || fail "status does not tell that libvirt does not answer"
age age_ms "$a" 1000 || fail "hung libvirtd: fast figures stand still"
threads=$(find "/proc/$(worker_pid)/task" -mindepth 1 -maxdepth 1 | wc -l)
[ "$threads" -le 24 ] || fail "hung libvirtd: $threads threads"
kill -CONT "$libvirtd"
before=$(cat "$vm_a/TotalCPUTime")
guest_run "$a" "i=0; while [ \$i -lt 20000 ]; do i=\$((i+1)); done"
wait_for 15 vm_moves "$before" || fail "no recovery from a hung libvirtd"

# one that hangs is killed, and another one started
process_hang "$libvirtd"
wait_for 10 waiting || fail "status does not tell that libvirt does not answer"
kill -KILL "$libvirtd"
wait_for 15 process_gone "$libvirtd" || fail "libvirtd does not end"
host_goes_on "killed libvirtd"
rm -f /run/libvirtd.pid
libvirt_start
libvirtd=$(cat /run/libvirtd.pid)
connected() { grep -q '^libvirt.state: connected' "$mnt/status" && age slow_age_ms "$a" 2000; }
wait_for 20 connected || fail "no recovery from a killed libvirtd: $(cat "$mnt/status")"

# libvirtd restarted; VMs go on, one of them ends meanwhile
kill "$libvirtd"
wait_for 15 process_gone "$libvirtd" || fail "libvirtd does not end"
wait_for 10 logged 'libvirt: .* does not answer' || fail "the lost connection was not logged"
host_goes_on "no libvirtd"
has_value "$vm_a/TotalCPUTime" || fail "no libvirtd: the VM's last values are gone"
kill -KILL "$qemu_b"
wait_for 3 test ! -e "$vm_b" || fail "a VM that was killed is still there"
disk_content "$mnt/disk/$b.img" | grep -q "context='vm'" && fail "a VM that was killed is on its disk"
rm -f /run/libvirtd.pid
libvirt_start
b_is_gone() { logged "VM '$guest_prefix-b' is gone"; }
wait_for 20 b_is_gone || fail "a VM that ended meanwhile is still known"
[ -e "$vm_b" ] && fail "a VM that ended meanwhile is there again"
before=$(cat "$vm_a/TotalCPUTime")
guest_run "$a" "i=0; while [ \$i -lt 20000 ]; do i=\$((i+1)); done"
wait_for 20 vm_moves "$before" || fail "no recovery from libvirtd's restart"
host_goes_on "after libvirtd's restart"
assert_eq "loss logged once" "$(grep -c 'libvirt: .* does not answer' "$tmp/log")" 2
guest_watched "$a" -b "$(cat "$vm_a/domain.session")"
awk '$1 == "still" {r = $2 < 10} END {exit !r}' "$tmp/watched" || fail "figures stood still for the guest"
steady_end

# ends at once although libvirtd hangs
libvirtd=$(cat /run/libvirtd.pid)
process_hang "$libvirtd"
at_exit "kill -CONT $libvirtd 2>/dev/null"
wait_for 5 waiting
start=$SECONDS
stop_daemon || exit 1
[ $((SECONDS - start)) -le 8 ] || fail "stopping took $((SECONDS - start)) s"
logged 'libvirt does not answer: ending without waiting for it' || fail "not said why"
logged 'somebody keeps a directory' && fail "said of somebody else"
kill -CONT "$libvirtd"
exit 0
