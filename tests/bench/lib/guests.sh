# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Many small guests that are measured, and the daemon beside them: for tests/bench/*.sh, which give
# their name in $bench.  What QEMUs and libvirtd need to answer counts, for us and for others.
. "$(dirname "${BASH_SOURCE[0]}")/../../guest/lib.sh"

# What --NAME says among the options, or a default: option NAME DEFAULT OPTION...
option()
{
	local name=$1 value=$2
	shift 2
	while [ $# -gt 0 ]; do
		[ "$1" != "$name" ] || value=$2
		shift
	done
	echo "$value"
}

result() { printf "$bench.%s %s %s\n" "$@"; }
# ratio A B [DIGITS]
ratio() { awk -v a="$1" -v b="$2" -v d="${3:-3}" 'BEGIN { printf "%.*f\n", d, a / b }'; }
now_ns() { date +%s%N; }
# CPU time of a process' threads, ns: cpu PID [NAME... | - NAME...]
cpu() { python3 "$top/tests/bench/sample.py" cpu "$@"; }

# A boot sector that reads its disk when its serial line is written to, as $reading.
need_reading_guests()
{
	need_halting_guests >&2
	reading=$tmp/reading.img
	as --32 -o "$tmp/reading.o" "$top/tests/bench/reading-guest.S" &&
		ld -m elf_i386 -Ttext 0x7c00 --oformat binary -o "$reading" "$tmp/reading.o" || fail "no boot sector"
	truncate -s 1M "$reading"
	chmod 755 "$tmp"
}

# begin_reading NAME UUID DEVICES; somebody must listen to $tmp/UUID.serial
begin_reading()
{
	begin_halting "$guest_prefix-$1" "$2" \
		"${3:-}<serial type='unix'><source mode='connect' path='$tmp/$2.serial'/></serial>" "$reading"
}

# Waits until somebody listens to the guest UUID and to those before it: listened_to UUID
listened_to()
{
	listening() { [ -S "$tmp/$1.serial" ]; }
	wait_for 10 listening "$1" || fail "nobody listens to the guests"
}

# Starts guests FIRST to LAST, of whom every third reads its disk each so many SECONDS, and the others
# sleep: start_guests FIRST LAST SECONDS DEVICES.  Sets $libvirtd and adds to $qemus.
qemus=()
start_guests()
{
	local i uuids=() readers=()
	libvirtd=$(pgrep -xo libvirtd) || fail "no libvirtd"
	for ((i = $1; i <= $2; i++)); do
		uuids[i]=$(new_uuid)
		[ $((i % 3)) != 0 ] || readers+=("${uuids[i]}")
	done
	if [ ${#readers[@]} -gt 0 ]; then
		python3 "$top/tests/bench/sample.py" nudge "$tmp" "$3" "${readers[@]}" &
		at_exit "kill $! 2>/dev/null"
		listened_to "${readers[-1]}"
	fi
	for ((i = $1; i <= $2; i++)); do
		if [ $((i % 3)) = 0 ]; then begin_reading "bench-$i" "${uuids[i]}" "$4"
		else begin_halting "$guest_prefix-bench-$i" "${uuids[i]}" "$4"; fi
	done
	halting_up
	for ((i = $1; i <= $2; i++)); do qemus+=("$(cat "/run/libvirt/qemu/$guest_prefix-bench-$i.pid")"); done
	measure_idle
}

# CPU time of libvirtd and all QEMUs without their vCPUs, ns
others() { python3 "$top/tests/bench/sample.py" cpus "$libvirtd" "${qemus[@]}"; }
# What of it they would have used anyway is taken off: beside CPU_NS SINCE_NS
beside()
{
	local more=$(($1 - idle * (($(now_ns) - $2) / 1000000) / 1000))
	echo $((more > 0 ? more : 0))
}
# Sets $idle, ns a second, when those that have just started have come to rest.
measure_idle()
{
	local t c
	at_rest()
	{
		c=$(others)
		sleep 1
		[ $(($(others) - c)) -lt $((${#qemus[@]} * 1000000)) ]
	}
	wait_for 60 at_rest || fail "guests and libvirtd do not come to rest"
	t=$(now_ns) c=$(others)
	sleep 20
	idle=$((($(others) - c) * 1000000 / (($(now_ns) - t) / 1000)))
}

# A figure of the status file.
line() { sed -n "s/^$1: \([0-9]*\).*/\1/p" "$mnt/status"; }
reached() { [ "$(line "$1")" -ge "$2" ]; }

# Starts the daemon with the default configuration, or $conf: daemon UPDATE_PERIOD SLOW_PERIOD GUESTS
# [OPTION...]; waits until all were sampled.  Sets $worker.
daemon()
{
	sed "s|<update_period>[^/]*</update_period>|<update_period>$1</update_period><slow_period>$2</slow_period>|" \
		"${conf:-$top/conf/vhostmd.conf}" >"$tmp/conf"
	CONF=$tmp/conf start_daemon "${@:4}"
	all_there() { reached vms "$1" && ! grep -q 'slow_age_ms: -1' "$mnt/status"; }
	wait_for 120 all_there "$3" || fail "not all guests are there: $(cat "$mnt/status")"
	worker=$(worker_pid)
}

# Waits until so many VMs are seen asleep: who has just been found is asked twice.
asleep()
{
	all_asleep() { [ "$(grep -c ' asleep$' "$mnt/status")" -ge "$1" ]; }
	wait_for 120 all_asleep "$1" || fail "not all of them sleep: $(cat "$mnt/status")"
}

# Measures over so many fast cycles: cycles N.  Sets ns a cycle of $own (less the threads that
# serve files: reading status is ours), $fast (its thread), $libvirts, and $theirs, which has the
# QEMUs' share, too.
cycles()
{
	local c0 d0 f0 l0 c1 n o0 t0
	c0=$(line fast.cycles)
	wait_for 60 reached fast.cycles $((c0 + 1))
	c0=$(line fast.cycles) d0=$(cpu "$worker" - serve) f0=$(cpu "$worker" fast) l0=$(cpu "$libvirtd")
	t0=$(now_ns) o0=$(others)
	wait_for 300 reached fast.cycles $((c0 + $1)) || fail "no cycles"
	c1=$(line fast.cycles)
	n=$((c1 - c0))
	own=$((($(cpu "$worker" - serve) - d0) / n)) fast=$((($(cpu "$worker" fast) - f0) / n))
	libvirts=$((($(cpu "$libvirtd") - l0) / n))
	theirs=$(($(beside $(($(others) - o0)) "$t0") / n))
	assert_eq "the worker" "$(worker_pid)" "$worker"
}
