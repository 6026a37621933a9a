#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Guests that keep a processor busy wait for each other, and what is counted of that in the kernel is
# what its own sums say, while they stay on it and while they move; also when the worker ends.  And it
# is told whom they waited for: each other, a process of the host, their quota.
. "$(dirname "$0")/lib.sh"
need_halting_guests

cat >"$tmp/conf" <<END
<vhostmd><globals><update_period>0.5</update_period><transport>vbd</transport></globals><metrics>
$(for source in {'',vcpu.\*.}delay.{p50,p90,p99,max} delay.by.{vms,self,host,kernel,idle,quota,unknown} \
	vcpu.\*.delay vcpu.current; do
	echo "<metric context='vm'><name>$source</name><source>$source</source></metric>"
done)
</metrics></vhostmd>
END
export CONF=$tmp/conf
start_daemon
status() { sed -n "s/^bpf$1: //p" "$mnt/status"; }
told() { [ -n "$(status '')" ] && [[ $(status '') != @(off|unknown) ]]; }
wait_for 10 told || fail "it is not said whether waits are counted"
[ "$(status '')" = attached ] || skip "eBPF cannot be used here: $(status '')"

guest_busy_image
uuids=() tids=()
for i in 0 1 2; do
	uuids+=("$(new_uuid)")
	begin_halting "$guest_prefix-$i" "${uuids[i]}" ''
done
halting_up
for i in 0 1 2; do
	pid=$(cat "/run/libvirt/qemu/$guest_prefix-$i.pid")
	tids+=("$(grep -l '^CPU 0/' /proc/"$pid"/task/*/comm | cut -d/ -f5)")
	taskset -p -c 0 "${tids[i]}" >/dev/null || fail "the vCPU $i stays where it is"
done
dir=$mnt/metrics/vm/$guest_prefix

# figures_are_right GUEST: those of its one vCPU, and all are in order
figures_are_right()
{
	local name last=1 value
	for name in p50 p90 p99 max; do
		value=$(cat "$dir-$1/vcpu.0.delay.$name") || return
		[ "$value" -ge "$last" ] || return
		last=$value
	done
	[ "$last" -gt 1000000 ] # of three that want all, each waits for milliseconds
}
# shares_are_right GUEST: whoever else there is, it is mostly other VMs, and all of it is told
shares_are_right()
{
	cat "$dir-$1"/delay.by.* | awk '{s += $1} END {exit !(NR == 7 && s > 99.9 && s < 100.1)}' &&
		awk '{exit !($1 > 20)}' "$dir-$1/delay.by.vms"
}
is_same() { [ "$(cat "$dir-$1/delay.p99")" = "$(cat "$dir-$1/vcpu.0.delay.p99")" ]; }
for i in 0 1 2; do
	wait_for 10 figures_are_right $i || fail "guest $i: $(grep . "$dir-$i"/*)"
	wait_for 10 shares_are_right $i || fail "guest $i: $(grep . "$dir-$i"/*)"
	wait_for 5 is_same $i || fail "guest $i: of all vCPUs, which is one: $(grep . "$dir-$i"/*)"
done
counted() { [ "$(status .vcpus)" = "$1" ]; }
wait_for 5 counted 3 || fail "vCPUs are $(status .vcpus)"
is_true() { python3 "$top/tests/guest/steal.py" "$keeper" "$@"; }
is_true 1 1 pinned "${tids[@]}" || fail "pinned"
is_true 1.5 2 pairs "${tids[0]}" "${tids[1]}" "${tids[2]}" || fail "which VM"
# by name for the host, and for nobody else
named() { "$build/ctl/vhostmdctl" blame "$guest_prefix-0" --mount "$mnt" >"$tmp/blame" 2>&1 && grep -q "behind $guest_prefix-1" "$tmp/blame" && grep -q "behind $guest_prefix-2" "$tmp/blame"; }
wait_for 10 named || fail "blame: $(cat "$tmp/blame")"
# stolen BY: milliseconds
stolen()
{
	sed -n "s/^vhostmd_vm_stolen_seconds_total{uuid=\"${uuids[0]}\",name=\"$guest_prefix-0\",by=\"$guest_prefix-$1\",by_uuid=\"${uuids[$1]}\"} //p" \
		"$mnt/metrics.prom" | awk '{printf "%d", 1000 * $1}'
}
sums=("" "$(stolen 1)" "$(stolen 2)")
for i in 1 2; do
	[ "${sums[i]:-0}" -gt 500 ] || fail "guest $i took nothing: $(grep stolen "$mnt/metrics.prom")"
	! grep -qa "$guest_prefix-$i\|${uuids[i]}" "$mnt/disk/${uuids[0]}.img" || fail "a guest knows another one"
done
is_true 1.5 1 migrating "${tids[@]}" || fail "migrating"
taskset -c 0 sh -c 'while :; do :; done' &
busy=$!
at_exit "kill $busy 2>/dev/null"
is_true 1.5 2 owners "${tids[0]}" "vms:${tids[1]}" "vms:${tids[2]}" "host:$busy" || fail "owners"
kill "$busy"
guest_stop "${uuids[2]}"
wait_for 10 counted 2 || fail "vCPUs are counted that are gone: $(status .vcpus)"
is_true 1 2 owners "${tids[1]}" "vms:${tids[0]}" || fail "owners of two"

# the same histograms go on
before=$(worker_pid)
kill -KILL "$before"
next() { local pid; pid=$(worker_pid) && [ -n "$pid" ] && [ "$pid" != "$before" ] && counted 2; }
wait_for 10 next || fail "no worker that reads on: $(cat "$mnt/status")"
for i in 0 1; do
	wait_for 10 figures_are_right $i || fail "guest $i: $(grep . "$dir-$i"/*)"
done
is_true 0.5 1 pinned "${tids[@]:0:2}" || fail "after the worker's end"
goes_on() { [ "$(stolen 1)" -ge "${sums[1]}" ]; }
wait_for 10 goes_on || fail "who took what began anew: ${sums[1]}, $(stolen 1)"
assert_eq "attached" "$(grep -c 'eBPF is attached' "$tmp/log")" 1

# one alone waits for nobody; the other's place is free
guest_stop "${uuids[1]}"
wait_for 10 counted 1 || fail "vCPUs are counted that are gone: $(status .vcpus)"
has_value "$dir-0/vcpu.0.delay.p50" || fail "no figures of the one that is left"
if virsh_system schedinfo "${uuids[0]}" --live --set vcpu_quota=20000 >/dev/null 2>"$tmp/err"; then
	is_true 1 10 quota "${tids[0]}" || fail "quota"
else
	echo "no quota can be set: $(cat "$tmp/err")"
fi
stop_daemon || exit 1
exit 0
