#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Guests that keep a processor busy wait for each other, and what is counted of that in the kernel is
# what its own sums say, while they stay on it and while they move; also when the worker ends.
. "$(dirname "$0")/lib.sh"
need_halting_guests

cat >"$tmp/conf" <<END
<vhostmd><globals><update_period>0.5</update_period><transport>vbd</transport></globals><metrics>
$(for source in {'',vcpu.\*.}delay.{p50,p90,p99,max} vcpu.\*.delay vcpu.current; do
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
for i in 0 1; do
	uuids+=("$(new_uuid)")
	begin_halting "$guest_prefix-$i" "${uuids[i]}" ''
done
halting_up
for i in 0 1; do
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
	[ "$last" -gt 1000000 ] # of two that want all, each waits for milliseconds
}
is_same() { [ "$(cat "$dir-$1/delay.p99")" = "$(cat "$dir-$1/vcpu.0.delay.p99")" ]; }
for i in 0 1; do
	wait_for 10 figures_are_right $i || fail "guest $i: $(grep . "$dir-$i"/*)"
	wait_for 5 is_same $i || fail "guest $i: of all vCPUs, which is one: $(grep . "$dir-$i"/*)"
done
both() { [ "$(status .vcpus)" = 2 ]; }
wait_for 5 both || fail "vCPUs are $(status .vcpus)"
python3 "$top/tests/guest/steal.py" "$keeper" 1.5 1 pinned "${tids[@]}" || fail "pinned"
python3 "$top/tests/guest/steal.py" "$keeper" 1.5 1 migrating "${tids[@]}" || fail "migrating"

# the same histograms go on
before=$(worker_pid)
kill -KILL "$before"
next() { local pid; pid=$(worker_pid) && [ -n "$pid" ] && [ "$pid" != "$before" ] && [ "$(status .vcpus)" = 2 ]; }
wait_for 10 next || fail "no worker that reads on: $(cat "$mnt/status")"
for i in 0 1; do
	wait_for 10 figures_are_right $i || fail "guest $i: $(grep . "$dir-$i"/*)"
done
python3 "$top/tests/guest/steal.py" "$keeper" 0.5 2 pinned "${tids[@]}" || fail "after the worker's end"
assert_eq "attached" "$(grep -c 'eBPF is attached' "$tmp/log")" 1

# one alone waits for nobody; the other's place is free
guest_stop "${uuids[1]}"
left() { [ "$(status .vcpus)" = 1 ]; }
wait_for 10 left || fail "vCPUs are counted that are gone: $(status .vcpus)"
has_value "$dir-0/vcpu.0.delay.p50" || fail "no figures of the one that is left"
stop_daemon || exit 1
exit 0
