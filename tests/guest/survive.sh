#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The worker is killed again and again, and the program replaced: who reads a VM's files sees no gap,
# its guest reads its disk and its channel without an error, no counter and no generation falls, and
# the VM is the same one; also while libvirtd hangs, which then is asked in vain.
. "$(dirname "$0")/lib.sh"
need_guests
[ -n "${libvirt_started[*]}" ] || skip "libvirtd is not ours to stop"

every_source 0.2 0.6 | sed 's|<transport>|<transport>virtio</transport>&|' >"$tmp/conf"
export CONF=$tmp/conf
start_daemon --control none # of the sockets that stay, the channel's is then the only one
a=$(new_uuid)
name=$guest_prefix-survive
dir=$mnt/metrics/vm/$name
guest_start "$name" "$a" "$(guest_disk_xml "$mnt/disk/$a.img"; guest_channel_xml)"
wait_for 20 has_value "$dir/usage.cpu" "$dir/usage.steal" "$dir/block.0.rd.reqs" "$dir/balloon.current" ||
	fail "the VM is not sampled"
has_channel() { grep -q '^channels.connected: 1$' "$mnt/status"; }
wait_for 10 has_channel || fail "no channel"
sockets() { find "/proc/$keeper/fd" -lname 'socket:*' -printf '%l\n' | sort; }
sockets >"$tmp/sockets"
session=$(cat "$dir/domain.session")
cpu() { cat "$dir/cpu.time"; }
last=$(cpu)

steady_start "$dir"

# in a shell of its own, which may end
guest_reads="(n=0; while [ \$n -lt 12 ]; do for from in -b -i; do
	vm-dump-metrics \$from >/tmp/o 2>/tmp/e && grep -q '</metrics>' /tmp/o || { echo \$n \$from; cat /tmp/e; tail -n 3 /tmp/o; exit 1; }
	done; n=\$((n+1)); done)"
guest_reads=${guest_reads//$'\n'/}
another_worker() { [ -n "$(worker_pid)" ] && [ "$(worker_pid)" != "$worker" ]; }
fresh() { [ "$(generation)" -gt $((before + 3)) ]; }
# kill_worker WHEN
kill_worker()
{
	local now
	worker=$(worker_pid)
	before=$(generation)
	kill -KILL "$worker"
	[ -e "$dir/cpu.time" ] || fail "$1: the VM is gone"
	now=$(cpu)
	[ "$now" -ge "$last" ] || fail "$1: its CPU time fell from $last to $now"
	last=$now
	[ "$(generation)" -ge "$before" ] || fail "$1: the generation fell"
	wait_for 10 another_worker || fail "$1: no other worker"
}
guest_run "$a" "$guest_reads" >"$tmp/guest" 2>&1 &
guest=$!
for i in {1..12}; do kill_worker "death $i"; done
wait_for 10 fresh || fail "nothing new after the last death"
wait "$guest" || fail "the guest: $(cat "$tmp/guest")"
# the channel's: the one to the worker is another
same_channel() { [ "$(sockets | comm -12 "$tmp/sockets" - | wc -l)" = 1 ]; }
same_channel || fail "the channel was connected anew"
assert_eq "session of the VM" "$(cat "$dir/domain.session")" "$session"

process_hang "$(cat /run/libvirtd.pid)"
at_exit "kill -CONT $(cat /run/libvirtd.pid) 2>/dev/null"
guest_run "$a" "$guest_reads" >"$tmp/guest" 2>&1 &
guest=$!
for i in {1..4}; do kill_worker "death $i with a libvirtd that hangs"; done
wait_for 10 fresh || fail "nothing new without libvirtd"
wait "$guest" || fail "the guest, without libvirtd: $(cat "$tmp/guest")"
same_channel || fail "the channel was connected anew without libvirtd"
assert_eq "session of the VM without libvirtd" "$(cat "$dir/domain.session")" "$session"
kill -CONT "$(cat /run/libvirtd.pid)"
connected() { grep -q '^libvirt.state: connected' "$mnt/status"; }
wait_for 30 connected || fail "libvirt is not found again: $(grep libvirt "$mnt/status")"
assert_eq "session of the VM after all" "$(cat "$dir/domain.session")" "$session"

guest_run "$a" "$guest_reads" >"$tmp/guest" 2>&1 &
guest=$!
upgrades() { grep -c "has taken over from" "$tmp/log"; }
another_program() { [ "$(upgrades)" -gt "$n" ] && has_channel; }
for i in {1..4}; do
	n=$(upgrades)
	kill -USR2 "$keeper"
	wait_for 20 another_program || fail "upgrade $i"
done
wait "$guest" || fail "the guest, with upgrades: $(cat "$tmp/guest")"
same_channel || fail "the channel was connected anew after upgrades"
assert_eq "session of the VM after upgrades" "$(cat "$dir/domain.session")" "$session"
steady_end

# the end of the VM is seen by a worker that did not see its beginning
guest_stop "$name"
gone() { [ ! -e "$dir" ]; }
wait_for 10 gone || fail "the VM stays"
