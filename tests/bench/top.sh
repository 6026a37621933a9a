#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What a refresh of `vhostmdctl top` costs the host, beside virt-top's of the same VMs, or, where that
# is not packaged, virsh domstats': top.sh [--guests N].  Counted in for each are the program, with its
# children, and what libvirtd, all QEMUs and vhostmd use more than without it.  Guests are as small as
# they can be.  vhostmd samples each second and asks libvirt nothing meanwhile: what it samples it
# samples with or without a top.
. "$(dirname "$0")/../guest/lib.sh"
guests=100
while [ $# -gt 0 ]; do
	[ "$1" != --guests ] || { guests=$2; shift; }
	shift
done
seconds=10 rounds=3

need_halting_guests >&2
apt-cache show virt-top >/dev/null 2>&1 && install_packages virt-top >&2
result() { printf 'top.%s %s %s\n' "$@"; }
cpu() { python3 "$top/tests/bench/sample.py" cpus "$@"; }
line() { sed -n "s/^$1: \([0-9]*\).*/\1/p" "$mnt/status"; }
beat() { [ "$(cat "$mnt/metrics/host/vhostmd.fast.cycles")" -ge "$1" ]; }

say "starting $guests guests" >&2
for i in $(seq "$guests"); do
	begin_halting "$guest_prefix-top-$i" "$(new_uuid)" "<interface type='ethernet'><model type='virtio'/></interface>"
done
halting_up
libvirtd=$(cat /run/libvirtd.pid) || fail "no libvirtd"
qemus=()
for i in $(seq "$guests"); do qemus+=("$(cat "/run/libvirt/qemu/$guest_prefix-top-$i.pid")"); done

# used PID...: what these, libvirtd and the QEMUs have used; ns
used() { cpu "$libvirtd" "${qemus[@]}" "$@"; }

# Of those that are measured again and again: median FILE
median() { sort -n "$1" | sed -n "$((($(wc -l <"$1") + 1) / 2))p"; }

# middle_of N: between the beats N and N + 1 of the fast lane
middle_of()
{
	wait_for 60 beat "$1" || fail "no beats"
	sleep 0.5 # nothing is sampled then
}

# over PID...: CPU of these, the worker, libvirtd and QEMUs over $seconds beats; sets $ns
over()
{
	local at before
	at=$(($(cat "$mnt/metrics/host/vhostmd.fast.cycles") + 1))
	middle_of $at
	before=$(used "$worker" "$@")
	middle_of $((at + seconds))
	ns=$(($(used "$worker" "$@") - before))
}

# shows FILE: refreshes have come
shows() { [ "$(wc -c <"$1")" -gt "$2" ]; }
# ours NAME COMMAND...: what a refresh costs more than none; prints and sets $cost, ns
ours()
{
	local name=$1 job pid child without
	shift
	: >"$tmp/costs"
	for _ in $(seq $rounds); do
		over
		without=$ns
		"$@" >"$tmp/shown" &
		job=$!
		wait_for 10 shows "$tmp/shown" 1000 || fail "$name shows nothing"
		pid=$job
		# of the program alone, not of what gives it a terminal
		[ "$name" != screen ] || pid=$(pgrep -P "$job" -x vhostmdctl)
		child=$(pgrep -P "$pid")
		over "$pid" "$child"
		kill "$pid"
		wait "$job"
		echo $(((ns - without) / seconds)) >>"$tmp/costs"
	done
	cost=$(median "$tmp/costs")
	result "${name}_cpu" "$(awk -v n="$cost" 'BEGIN { printf "%.3f\n", n / 1e6 }')" ms
	result "${name}_cpu_rounds" "$(awk '{ printf "%s%.3f", (NR > 1 ? "," : ""), $1 / 1e6 }' "$tmp/costs")" ms
}

# theirs NAME REFRESHES COMMAND...: the same of a program that ends by itself
theirs()
{
	local name=$1 n=$2 before client
	shift 2
	: >"$tmp/costs"
	for _ in $(seq $rounds); do
		before=$(used)
		client=$( { TIMEFORMAT='%U %S'; time "$@" >"$tmp/shown"; } 2>&1)
		awk -v l=$(($(used) - before)) -v c="$client" -v n="$n" \
			'BEGIN { split(c, t, " "); printf "%d\n", (l + (t[1] + t[2]) * 1e9) / n }' >>"$tmp/costs"
	done
	cost=$(median "$tmp/costs")
	result "${name}_cpu" "$(awk -v n="$cost" 'BEGIN { printf "%.3f\n", n / 1e6 }')" ms
}

sed "s|<update_period>.*|<update_period>1</update_period><slow_period>3600</slow_period>|" \
	"$top/conf/vhostmd.conf" >"$tmp/conf"
CONF=$tmp/conf start_daemon
all_there() { [ "$(line vms)" -ge "$guests" ] && ! grep -q 'slow_age_ms: -1' "$mnt/status"; }
wait_for 120 all_there || fail "not all guests are there: $(cat "$mnt/status")"
worker=$(worker_pid)
result guests "$guests" guests
batch() { exec "$build/ctl/vhostmdctl" top --mount "$mnt" --delay 0.5 --batch; }
screen()
{
	TERM=xterm-256color exec script -qec \
		"stty cols 200 rows 60; exec '$build/ctl/vhostmdctl' top --mount '$mnt' --delay 0.5" /dev/null </dev/null
}
ours batch batch
worst=$cost
ours screen screen
[ "$cost" -le "$worst" ] || worst=$cost
stop_daemon || exit 1

domstats() { yes domstats | head -n $seconds | virsh -c qemu:///system; }
theirs virsh_domstats $seconds domstats
peer=$cost
assert_eq "VMs of domstats" "$(grep -c '^Domain:' "$tmp/shown")" $((guests * seconds))
if type virt-top >/dev/null 2>&1; then
	virt_top() { virt-top -c qemu:///system --script --csv "$tmp/virt-top" -n $seconds -d 1; }
	theirs virt_top $seconds virt_top
	peer=$cost
fi
result refresh_cpu_vs_peer "$(awk -v a="$worst" -v b="$peer" 'BEGIN { printf "%.4f\n", a / b }')" ratio
exit 0
