#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The cost of collecting: sample.sh [--guests N].  Guests are as small as they can be: a
# boot sector that halts, so what is measured is the collection alone.
. "$(dirname "$0")/../guest/lib.sh"
guests=50
[ "${1:-}" = --guests ] && guests=$2
rounds=20

need_halting_guests

say "starting $guests guests" >&2
for i in $(seq "$guests"); do
	guest_start_halting "$guest_prefix-bench-$i" "$(cat /proc/sys/kernel/random/uuid)" "" ||
		fail "guest $i does not start"
done

# CPU time of a process and its threads so far, in clock ticks
ticks() { awk '{sub(/.*\) /, ""); print $12 + $13}' "/proc/$1/stat"; }
libvirtd=$(pgrep -xo libvirtd) || fail "no libvirtd"

# the groups that the default configuration asks for: state cpu balloon vcpu interface block
groups=$((1 | 2 | 4 | 8 | 16 | 32))

# our cycles, counted by the daemon itself
sed 's/<update_period>5</<update_period>1</' "$top/conf/vhostmd.conf" >"$tmp/conf"
CONF=$tmp/conf
start_daemon
all_there() { [ "$(sed -n 's/^vms: //p' "$mnt/status")" = "$guests" ]; }
cycles() { sed -n 's/^libvirt.cycles: //p' "$mnt/status"; }
wait_for 60 all_there || fail "not all guests are there"
reached() { [ "$(cycles)" -ge "$1" ]; }
wait_for 60 reached 5 || fail "no cycles"
worker=$(worker_pid)
c0=$(cycles) d0=$(ticks "$worker") k0=$(ticks "$keeper") l0=$(ticks "$libvirtd")
wait_for 120 reached $((c0 + rounds)) || fail "no cycles"
c1=$(cycles) d1=$(ticks "$worker") k1=$(ticks "$keeper") l1=$(ticks "$libvirtd")
rss=$(awk '/VmRSS/ {print $2}' "/proc/$worker/status")
forks_worker=$(pgrep -cP "$worker")
stop_daemon || exit 1

# plain bulk calls, the client's own time included
b0=$(ticks "$libvirtd")
client=$( { TIMEFORMAT='%U %S'; time "$build/tests/bulk" qemu:///system $groups $rounds >"$tmp/n"; } 2>&1)
b1=$(ticks "$libvirtd")
assert_eq "guests in a bulk call" "$(cat "$tmp/n")" "$guests"

python3 - <<EOF
hz = $(getconf CLK_TCK)
ours = ($d1 - $d0 + $k1 - $k0 + $l1 - $l0) / hz / ($c1 - $c0)
own = ($d1 - $d0 + $k1 - $k0) / hz / ($c1 - $c0)
user, system = map(float, "$client".split())
bulk = (($b1 - $b0) / hz + user + system) / $rounds
print(f"sample.guests $guests guests")
print(f"sample.cycle_cpu {ours * 1000:.2f} ms")
print(f"sample.cycle_cpu_daemon {own * 1000:.2f} ms")
print(f"sample.bulk_cpu {bulk * 1000:.2f} ms")
print(f"sample.cycle_cpu_vs_bulk {ours / bulk:.2f} ratio")
print(f"sample.daemon_rss $rss KiB")
print(f"sample.children $forks_worker processes")
EOF
