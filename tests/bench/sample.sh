#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The cost of sampling: sample.sh [--guests N] [--peers] [--long].  Guests are as small as they can
# be, a boot sector that halts, so that what is measured is the sampling alone; every third reads its
# disk each second.  What QEMUs need to answer counts, for us and for others.
. "$(dirname "$0")/../guest/lib.sh"
guests=100 peers='' unseen_seconds=60
while [ $# -gt 0 ]; do
	case $1 in
	--guests) guests=$2; shift ;;
	--peers) peers=1 ;;
	--long) unseen_seconds=600 ;;
	esac
	shift
done
few=$((guests > 50 ? 50 : guests / 2))

need_halting_guests >&2
reading=$tmp/reading.img
as --32 -o "$tmp/reading.o" "$top/tests/bench/reading-guest.S" &&
	ld -m elf_i386 -Ttext 0x7c00 --oformat binary -o "$reading" "$tmp/reading.o" || fail "no boot sector"
truncate -s 1M "$reading"
chmod 755 "$tmp"
cpu() { python3 "$top/tests/bench/sample.py" cpu "$@"; }
line() { sed -n "s/^$1: \([0-9]*\).*/\1/p" "$mnt/status"; }
reached() { [ "$(line "$1")" -ge "$2" ]; }
result() { printf 'sample.%s %s %s\n' "$@"; }
# ratio A B [DIGITS]
ratio() { awk -v a="$1" -v b="$2" -v d="${3:-3}" 'BEGIN { printf "%.*f\n", d, a / b }'; }

# many interfaces make libvirt slow at starting guests: the long run goes without
nic="<interface type='ethernet'><model type='virtio'/></interface>"
[ "$guests" -le 100 ] || nic=
qemus=()
start_guests()
{
	local i uuids=()
	for i in $(seq "$1" "$2"); do uuids[i]=$(new_uuid); done
	local readers=()
	for ((i = $1; i <= $2; i++)); do [ $((i % 3)) != 0 ] || readers+=("${uuids[i]}"); done
	if [ ${#readers[@]} -gt 0 ]; then
		python3 "$top/tests/bench/sample.py" nudge "$tmp" 1 "${readers[@]}" &
		at_exit "kill $! 2>/dev/null"
		listening() { [ -S "$tmp/${readers[-1]}.serial" ]; }
		wait_for 10 listening || fail "nobody listens to the guests"
	fi
	for ((i = $1; i <= $2; i++)); do
		if [ $((i % 3)) = 0 ]; then start_reading "bench-$i" "${uuids[i]}" "$nic"
		else guest_start_halting "$guest_prefix-bench-$i" "${uuids[i]}" "$nic"; fi ||
			fail "guest $i does not start"
		qemus+=("$(cat "/run/libvirt/qemu/$guest_prefix-bench-$i.pid")")
	done
	measure_idle
}
# start_reading NAME UUID DEVICES
start_reading()
{
	guest_start_halting "$guest_prefix-$1" "$2" \
		"${3:-}<serial type='unix'><source mode='connect' path='$tmp/$2.serial'/></serial>" "$reading"
}
now_ns() { date +%s%N; }
# CPU time of libvirtd and all QEMUs, ns
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

# Starts the daemon: daemon UPDATE_PERIOD SLOW_PERIOD GUESTS; waits until all were sampled.
daemon()
{
	sed "s|<update_period>.*|<update_period>$1</update_period><slow_period>$2</slow_period>|" \
		"$top/conf/vhostmd.conf" >"$tmp/conf"
	CONF=$tmp/conf start_daemon
	all_there() { reached vms "$1" && ! grep -q 'slow_age_ms: -1' "$mnt/status"; }
	wait_for 120 all_there "$3" || fail "not all guests are there: $(cat "$mnt/status")"
	worker=$(worker_pid)
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
}

# One plain bulk call: bulk GUESTS.  Sets $bulk, ns, the client's own time included.
bulk()
{
	local rounds=10 o0 t0 client groups=$((1 | 2 | 4 | 8 | 16 | 32)) # state to block
	t0=$(now_ns) o0=$(others)
	client=$( { TIMEFORMAT='%U %S'; time "$build/tests/bulk" qemu:///system $groups $rounds >"$tmp/n"; } 2>&1)
	assert_eq "guests in a bulk call" "$(cat "$tmp/n")" "$1"
	bulk=$(awk -v l="$(beside $(($(others) - o0)) "$t0")" -v c="$client" -v n=$rounds \
		'BEGIN { split(c, t, " "); printf "%.0f\n", (l + (t[1] + t[2]) * 1e9) / n }')
}

# Memory with 60 metrics of each VM, a second long cycles: what is ours alone and what the keeper
# holds, without the code, of which more or less is resident.  Where the heap's holes lie differs
# from run to run, so the median of seven: resident GUESTS; sets $rss, KiB.
python3 - "$top/conf/vhostmd.conf" "$nic" >"$tmp/conf60" <<-'EOF2'
	import re, sys
	text = open(sys.argv[1]).read()
	more = ["vcpu.maximum", "process.threads", "process.faults.minor", "process.faults.major",
	        "process.io.read.bytes", "process.io.write.bytes", "cgroup.memory.current",
	        "state.state", "state.reason", "cpu.user", "cpu.system", "balloon.maximum",
	        "block.*.rd.reqs", "block.*.wr.reqs", "block.*.capacity", "block.*.physical",
	        "net.*.rx.pkts", "net.*.tx.pkts", "net.*.rx.errs", "net.*.tx.errs", "net.*.tx.drop",
	        "domain.name", "domain.uuid", "domain.id", "domain.memory", "net.count", "block.count",
	        "block.*.fl.reqs", "block.*.fl.times", "block.*.allocation", "block.*.name", "block.*.path"]
	if not sys.argv[2]: # no interfaces
	    more += ["vcpu.*.state", "vcpu.*.halted", "domain.cpu.limit.frequency", "process.io.read.calls",
	             "balloon.available", "balloon.unused", "balloon.usable", "balloon.last-update"]
	lines = [f'<metric context="vm"><name>{m}</name><source>{m}</source></metric>'
	         for m in more if f"<name>{m}</name>" not in text]
	text = re.sub("<update_period>.*", "<update_period>1</update_period>", text)
	print(text.replace("</metrics>", "\n".join(lines) + "</metrics>"))
EOF2
resident_once()
{
	CONF=$tmp/conf60 start_daemon
	# status is not read, whose renderings are kept for half a minute
	all_there()
	{
		cat "$mnt"/metrics/vm/*/state.state >"$tmp/there" 2>/dev/null
		[ "$(wc -l <"$tmp/there")" -ge "$1" ]
	}
	wait_for 120 all_there "$1" || fail "not all guests are there"
	local cycles=$mnt/metrics/host/vhostmd.fast.cycles
	local end=$(($(cat "$cycles") + 10))
	cycled() { [ "$(cat "$cycles")" -ge $end ]; }
	wait_for 60 cycled || fail "no cycles"
	awk '/^Rss(Anon|Shmem)/ {n += $2} END {print n}' "/proc/$(worker_pid)/status" >>"$tmp/rss"
	metrics=$(find "$mnt/metrics/vm/$guest_prefix-bench-1" -type f | wc -l)
	stop_daemon || exit 1
}
resident()
{
	: >"$tmp/rss"
	for _ in 1 2 3 4 5 6 7; do resident_once "$1"; done
	rss=$(sort -n "$tmp/rss" | sed -n 4p)
}

# A whole cycle with the usual periods, slow samples weighed in: whole GUESTS; sets $whole.
whole()
{
	daemon 1 3 "$1"
	cycles 12
	whole=$((own + theirs))
	stop_daemon || exit 1
}

say "starting $few guests" >&2
libvirtd=$(pgrep -xo libvirtd) || fail "no libvirtd"
start_guests 1 "$few"
whole "$few"
few_whole=$whole
resident "$few"
few_rss=$rss
say "starting $((guests - few)) more" >&2
start_guests $((few + 1)) "$guests"
whole "$guests"
resident "$guests"
result guests "$guests" guests
result cycle_cpu "$(ratio "$whole" 1000000 2)" ms
if [ "$guests" -ge 400 ]; then
	result growth_400_vs_50 "$(ratio $((whole / guests)) $((few_whole / few)) 2)" ratio
fi
result metrics_a_vm "$metrics" metrics
# by what more VMs add
result memory_per_vm_kib "$(ratio $((rss - few_rss)) $((guests - few)) 1)" KiB

bulk "$guests"
daemon 0.1 3600 "$guests"
cycles 100
theirs=$libvirts # QEMUs are not asked
result bulk_cpu "$(ratio "$bulk" 1000000 2)" ms
result fast_cpu "$(ratio $((own + theirs)) 1000000 2)" ms
result fast_cpu_a_vm "$(ratio $((own + theirs)) $((guests * 1000)) 1)" us
result fast_cpu_vs_bulk "$(ratio $((own + theirs)) "$bulk")" ratio
stop_daemon || exit 1

daemon 1 1 "$guests"
cycles 15
result slow_daemon_vs_libvirtd "$(ratio $((own - fast)) "$libvirts")" ratio
stop_daemon || exit 1

# guests whose QEMUs sleep and read their disk now and then: no reading may be overlooked
seldom=()
for _ in 1 2 3 4 5 6 7 8 9 10; do seldom+=("$(new_uuid)"); done
python3 "$top/tests/bench/sample.py" unseen "$tmp" "$mnt" 2.5 $unseen_seconds "${seldom[@]}" >"$tmp/unseen" &
unseen=$!
at_exit "kill $unseen 2>/dev/null"
listening() { [ -S "$tmp/${seldom[-1]}.serial" ]; }
wait_for 10 listening || fail "nobody listens to the guests"
for uuid in "${seldom[@]}"; do
	start_reading "seldom-$uuid" "$uuid" || fail "a guest does not start"
done
daemon 0.5 1.5 $((guests + ${#seldom[@]}))
asleep=$(line slow.asleep)
wait $unseen || fail "readings: $(cat "$tmp/unseen")"
read -r readings late worst <"$tmp/unseen"
[ "$(line slow.asleep)" -gt $((asleep + 10 * unseen_seconds)) ] || fail "nobody slept"
result seldom_readings "$readings" readings
result seldom_seen_s_worst "$worst" s
result unseen_changes "$late" readings
stop_daemon || exit 1
for uuid in "${seldom[@]}"; do virsh_system destroy "$uuid" >/dev/null; done

# one QEMU that hangs, then libvirtd itself: nobody else's figures may grow old
period_ms=500
daemon 0.5 1 "$guests"
name=$guest_prefix-bench-1
victim=$(cat "/run/libvirt/qemu/$name.pid") uuid=$(virsh_system domuuid "$name")
at_exit "kill -CONT $victim $libvirtd 2>/dev/null"
watch() { python3 "$top/tests/bench/sample.py" watch "$mnt/status" $((20 * period_ms / 1000)) "$uuid"; }
silent() { grep -q "vm.$uuid.slow_age_ms: .*silent" "$mnt/status"; }
now_ms() { date +%s%3N; }
process_hang "$victim"
worst_qemu=$(watch)
threads=$(find "/proc/$worker/task" -mindepth 1 -maxdepth 1 | wc -l)
silent || wait_for 10 silent || fail "the VM that hangs is not marked: $(cat "$mnt/status")"
t0=$(now_ms)
kill -CONT "$victim"
well() { ! silent; }
wait_for 20 well || fail "the VM that hung does not recover"
recovery_qemu=$(($(now_ms) - t0))
process_hang "$libvirtd"
worst_libvirtd=$(watch)
more=$(find "/proc/$worker/task" -mindepth 1 -maxdepth 1 | wc -l)
calls=$(line slow.calls)
t0=$(now_ms)
kill -CONT "$libvirtd"
wait_for 30 reached slow.calls $((calls + 1)) || fail "no recovery from libvirtd's hang"
recovery_libvirtd=$(($(now_ms) - t0))
worst=$((worst_qemu > worst_libvirtd ? worst_qemu : worst_libvirtd))
result stall_age_periods "$(ratio "$worst" $period_ms 2)" periods
result stall_threads $((threads > more ? threads : more)) threads
result stall_recovery_qemu_periods "$(ratio "$recovery_qemu" $period_ms 2)" periods
result stall_recovery_libvirtd_periods "$(ratio "$recovery_libvirtd" $period_ms 2)" periods
stop_daemon || exit 1

# from libvirt's event to the first value
daemon 5 15 "$guests"
"$build/tests/start-latency" qemu:///system "$mnt" TotalCPUTime 20 >"$tmp/latency" &
latency=$!
wait_for 10 grep -q ready "$tmp/latency" || fail "no events"
for i in $(seq 20); do
	guest_start_halting "$guest_prefix-late-$i" "$(new_uuid)" "$(guest_channel_xml)" || fail "no guest"
done
wait $latency || fail "start-latency: $(cat "$tmp/latency")"
stop_daemon || exit 1
for what in 1: 2:channel_; do
	sed 1d "$tmp/latency" | awk -v f="${what%:*}" '{print $f}' | sort -n >"$tmp/sorted"
	result "start_${what#*:}latency_ms_median" "$(sed -n 10p "$tmp/sorted")" ms
	result "start_${what#*:}latency_ms_worst" "$(tail -n 1 "$tmp/sorted")" ms
done

# a burst of starts: those that run must not suffer
daemon 0.5 1.5 $((guests + 20))
overruns=$(line fast.overruns)
starting=$((guests < 100 ? guests : 100))
rm -f "$tmp/over"
python3 "$top/tests/bench/sample.py" watch "$mnt/status" "$tmp/over" none >"$tmp/worst" &
watcher=$!
burst=()
for i in $(seq $starting); do
	guest_start_halting "$guest_prefix-burst-$i" "$(new_uuid)" "" &
	burst+=($!)
done
wait "${burst[@]}"
wait_for 60 reached vms $((guests + 20 + starting)) || fail "not all of the burst are there"
: >"$tmp/over"
wait $watcher || fail "no ages"
worst=$(cat "$tmp/worst")
result burst $starting guests
result burst_age_periods "$(ratio "$worst" 500 2)" periods
result burst_overruns $(($(line fast.overruns) - overruns)) periods
stop_daemon || exit 1

[ -n "$peers" ] || exit 0
install_packages collectd-core prometheus-libvirt-exporter curl >&2
guests=$((guests + 20 + starting))
for name in $(virsh_system list --name | grep "^$guest_prefix-\(late\|burst\)-"); do
	qemus+=("$(cat "/run/libvirt/qemu/$name.pid")")
done
measure_idle
# as often as they do, and of monitors, too
daemon 5 5 "$guests"
cycles 12
whole=$((own + theirs))
stop_daemon || exit 1

cat >"$tmp/collectd.conf" <<-EOF2
	BaseDir "$tmp"
	PIDFile "$tmp/collectd.pid"
	TypesDB "/usr/share/collectd/types.db"
	Interval 5
	LoadPlugin virt
	LoadPlugin csv
	<Plugin csv>
	  DataDir "$tmp/csv"
	</Plugin>
	<Plugin virt>
	  Connection "qemu:///system"
	  RefreshInterval 60
	  Instances 1
	</Plugin>
EOF2
collectd -f -C "$tmp/collectd.conf" >"$tmp/collectd.log" 2>&1 &
peer=$!
at_exit "kill $peer 2>/dev/null"
gauged() { [ "$(find "$tmp/csv" -name 'virt_cpu_total*' 2>/dev/null | wc -l)" -ge "$guests" ]; }
wait_for 60 gauged || fail "collectd: $(tail "$tmp/collectd.log")"
p0=$(cpu $peer) t0=$(now_ns) o0=$(others)
sleep 30 # six of its intervals
peer_cpu=$((($(cpu $peer) - p0 + $(beside $(($(others) - o0)) "$t0")) / 6))
kill $peer
wait $peer 2>/dev/null
result whole_cpu "$(ratio "$whole" 1000000 2)" ms
result collectd_cpu "$(ratio $peer_cpu 1000000 2)" ms
result whole_vs_collectd "$(ratio $peer_cpu "$whole" 1)" ratio

prometheus-libvirt-exporter --libvirt.uri qemu:///system --web.listen-address 127.0.0.1:19177 >"$tmp/exporter.log" 2>&1 &
peer=$!
at_exit "kill $peer 2>/dev/null"
scrape() { curl -s http://127.0.0.1:19177/metrics >"$tmp/scrape" && grep -q libvirt_domain "$tmp/scrape"; }
wait_for 30 scrape || fail "the exporter: $(tail "$tmp/exporter.log")"
p0=$(cpu $peer) t0=$(now_ns) o0=$(others)
for _ in $(seq 10); do scrape; done
peer_cpu=$((($(cpu $peer) - p0 + $(beside $(($(others) - o0)) "$t0")) / 10))
kill $peer
result exporter_cpu "$(ratio $peer_cpu 1000000 2)" ms
result whole_vs_exporter "$(ratio $peer_cpu "$whole" 1)" ratio
exit 0
