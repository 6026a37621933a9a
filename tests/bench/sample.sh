#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The cost of sampling: sample.sh [--guests N].  Guests are as small as they can be, a boot sector
# that halts, so that what is measured is the sampling alone; every third reads its disk each second.
bench=sample
. "$(dirname "$0")/lib/guests.sh"
guests=$(option --guests 100 "$@")
few=$((guests > 50 ? 50 : guests / 2))
need_reading_guests

# many interfaces make libvirt slow at starting guests: the long run goes without
nic="<interface type='ethernet'><model type='virtio'/></interface>"
[ "$guests" -le 100 ] || nic=

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
start_guests 1 "$few" 1 "$nic"
whole "$few"
few_whole=$whole
resident "$few"
few_rss=$rss
say "starting $((guests - few)) more" >&2
start_guests $((few + 1)) "$guests" 1 "$nic"
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

exit 0
