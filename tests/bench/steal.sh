#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What it costs others that vCPUs' waits are counted (docs/steal.md), what memory it takes, how far the
# sum of the counted waits is from the kernel's own, and their owners from what is known.
. "$(dirname "$0")/../guest/lib.sh"
need_halting_guests >&2
result() { printf 'steal.%s %s %s\n' "$@"; }
rounds=15

conf()
{
	echo "<vhostmd><globals><update_period>1</update_period><transport>vbd</transport></globals><metrics>
		<metric context='vm'><name>a</name><source>$1</source></metric></metrics></vhostmd>" >"$tmp/conf.new"
	mv "$tmp/conf.new" "$tmp/conf"
}
is() { [ "$(sed -n 's/^bpf: //p' "$mnt/status")" = "$1" ]; }
# switch_to SOURCE STATE
switch_to()
{
	conf "$1"
	kill -HUP "$keeper"
	wait_for 20 is "$2" || fail "bpf is not $2: $(grep bpf "$mnt/status")"
}
# Of those that are measured again and again: median FILE
median() { sort -g "$1" | sed -n "$((($(wc -l <"$1") + 1) / 2))p"; }

conf domain.name
# of a program of its own, as if there were 5,000 switches a second, each from a VM's vCPU to another's
"$build/tests/switches" --vcpus 200 >"$tmp/vcpus" || fail "no vCPUs"
result switch_of_vcpus_ns "$(cat "$tmp/vcpus")" ns
result machine_share_percent "$(awk -v n="$(nproc)" '{print 100 * 5000 * $1 / 1e9 / n}' "$tmp/vcpus")" %
export CONF=$tmp/conf
start_daemon
for _ in $(seq $rounds); do
	switch_to domain.name off
	"$build/tests/switches" 200 >>"$tmp/without"
	switch_to delay.p99 attached
	"$build/tests/switches" 200 >>"$tmp/with"
done
paste "$tmp/with" "$tmp/without" | awk '{print $1 / $2}' >"$tmp/ratios"
result switch_without_ns "$(median "$tmp/without")" ns
result switch_with_ns "$(median "$tmp/with")" ns
result switch_ratio "$(median "$tmp/ratios")" 1
result memory_per_vcpu_kib "$("$build/tests/switches" --memory | awk '{print $1 / 1024}')" KiB
result memory_per_pair_bytes "$("$build/tests/switches" --pairs)" B
result pairs_beat_us "$("$build/tests/switches" --beat)" us
result pairs_beat_asked_us "$("$build/tests/switches" --beat-asked)" us

# two that want the same processor
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
	taskset -p -c 0 "${tids[i]}" >/dev/null
done
counted() { grep -qx 'bpf.vcpus: 2' "$mnt/status"; }
wait_for 20 counted || fail "they are not counted: $(grep bpf "$mnt/status")"
# measured HOW TID...: the worst error
measured() { python3 "$top/tests/guest/steal.py" "$keeper" 5 100 "$@" | awk '$1 == "worst" {print $2}'; }
result sum_error_percent "$(measured pinned "${tids[@]}")" %
taskset -c 0 sh -c 'while :; do :; done' &
busy=$!
at_exit "kill $busy 2>/dev/null"
result pair_error_percent "$(measured pairs "${tids[0]}" "${tids[1]}")" %
result owner_error_percent "$(measured owners "${tids[0]}" "vms:${tids[1]}" "host:$busy")" %
kill "$busy"
result sum_error_migrating_percent "$(measured migrating "${tids[@]}")" %
stop_daemon
