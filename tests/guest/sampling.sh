#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What the two lanes say is what libvirt says at the same moment, for guests that work, while
# vCPUs, interfaces and limits come and go; sessions; a fast lane that may not read /proc.
. "$(dirname "$0")/lib.sh"
need_guests

every_source 0.1 0.3 >"$tmp/conf"
export CONF=$tmp/conf
start_daemon
a=$(new_uuid)
name=$guest_prefix-sampling
dir=$mnt/metrics/vm/$name
GUEST_VCPUS=4 GUEST_VCPUS_NOW=2 GUEST_MIB=192 guest_start "$name" "$a" \
	"$(guest_disk_xml "$mnt/disk/$a.img"; guest_nic_xml 52:54:00:00:00:01)"
pid=$(cat "/run/libvirt/qemu/$name.pid")
is() { [ "$(cat "$dir/$1" 2>/dev/null)" = "$2" ]; }
wait_for 10 is net.count 1 || fail "no interface"
# the balloon, while the guest has time for it
is balloon.current 196608 || fail "balloon.current is $(cat "$dir/balloon.current")"
virsh_system setmem "$a" 163840 --live || fail "no setmem"
wait_for 20 is balloon.current 163840 || fail "balloon.current is $(cat "$dir/balloon.current")"
# two loops that work, and some traffic of the disk's
work="(while :; do :; done) & (while :; do :; done) & (while :; do dd if=/dev/vda of=/dev/null bs=64k; done) >/dev/null 2>&1 &"
guest_run "$a" "$work"

# all of it for Prometheus, too: each series once, and each by what it is of
wait_for 20 grep -q "^vhostmd_vm_block_rd_bytes_total{uuid=\"$a\",name=\"$name\",device=\"vd[a-z]*\"} [1-9]" \
	"$mnt/metrics.prom" || fail "no disk: $(grep vm_block "$mnt/metrics.prom")"
cp "$mnt/metrics.prom" "$tmp/prom"
promtool check metrics <"$tmp/prom" >"$tmp/said" 2>&1 && [ ! -s "$tmp/said" ] || fail "promtool: $(cat "$tmp/said")"
assert_eq "series that are there twice" "$(sed -n 's/ [^ ]*$//; /^[^#]/p' "$tmp/prom" | sort | uniq -d)" ""
assert_eq vCPUs "$(grep -o '^vhostmd_vm_vcpu_time_seconds_total{.*vcpu="[0-9]*"' "$tmp/prom" | grep -o '[0-9]*"$' | tr '\n' ' ')" '0" 1" '
for series in 'net_rx_bytes_total{.*,device="[^"]*"} ' 'block_info{.*,device="[^"]*",path="/.*"} 1$' \
	'info{.*,id="[0-9]*",session="[0-9]*".*} 1$' 'memory_bytes{uuid="[^"]*",name="[^"]*"} 201326592$'; do
	grep -q "^vhostmd_vm_$series" "$tmp/prom" || fail "no $series: $(cat "$tmp/prom")"
done
grep -E 'index=|[0-9]e[+]' "$tmp/prom" && fail "places, or numbers that no double holds"

# agrees WHAT [NOT]: counters lie between two of libvirt's answers, gauges equal one of them
agrees()
{
	python3 - "$dir" "$a" "${2:-}" <<-'EOF2' || fail "$1"
		import glob, os, subprocess, sys, time
		folder, uuid, left_out = sys.argv[1:]
		left_out = tuple(left_out.split())
		counters = ("cpu.time", "cpu.user", "cpu.system", ".time", ".delay", ".rx.", ".tx.", ".reqs",
		            ".bytes", ".times")
		near = {"balloon.rss"}  # may move either way meanwhile
		# libvirt counts a vCPU's time in ticks and has no schedstats: its "wait" is always 0
		tick = 20_000_000

		def domstats():
		    out = subprocess.run(["virsh", "-q", "-c", "qemu:///system", "domstats", uuid],
		                         check=True, capture_output=True, text=True).stdout
		    return dict(l.strip().split("=", 1) for l in out.splitlines() if "=" in l)

		def ours(name):
		    try:
		        return open(os.path.join(folder, name)).read().rstrip("\n")
		    except OSError as e:
		        return None if e.errno == 61 else f"errno {e.errno}"

		def sampled_since(when):
		    """both lanes; the fast one samples ten times a second, and tells the other's age as it was then"""
		    path = os.path.join(folder, "sample.slow.age")
		    told = os.stat(path).st_mtime
		    age = float(ours("sample.slow.age"))
		    if os.stat(path).st_mtime != told:
		        return False
		    return time.time() > when + 0.5 and told > when and told - age > when

		before, now = domstats(), time.time()
		end = now + 10
		while not sampled_since(now):
		    assert time.time() < end, "no samples"
		    time.sleep(0.02)
		mine = {k: ours(k) for k in before}
		after = domstats()
		wrong = []
		for key, first in before.items():
		    last, value = after.get(key), mine[key]
		    if key.endswith(".wait") or last is None or key.startswith(left_out):
		        continue
		    if value is None or value.startswith("errno"):
		        wrong.append((key, first, value, last))
		    elif any(c in key for c in counters) and not key.endswith(".name"):
		        slack = tick if key.startswith(("cpu.", "vcpu.")) else 0
		        if not int(first) - slack <= int(value) <= int(last) + slack:
		            wrong.append((key, first, value, last))
		    elif key in near:
		        if abs(int(value) - int(last)) > 0.1 * int(last):
		            wrong.append((key, first, value, last))
		    elif value not in (first, last):
		        wrong.append((key, first, value, last))
		# nothing that libvirt does not know of
		numbered = {n for n in os.listdir(folder)
		            if n.startswith(("vcpu.", "net.", "block.")) and n.split(".")[1].isdigit()
		            and "iotune" not in n and ".delay." not in n}
		extra = numbered - set(before) - set(after)
		assert len(before) > 40, before
		assert not wrong and not extra, (wrong, extra)
	EOF2
}
agrees "a working guest with 2 vCPUs"
# what it does not get of a busy machine is steal
used=$(cut -d. -f1 "$dir/usage.cpu") stolen=$(cut -d. -f1 "$dir/usage.steal")
[ $((used + stolen)) -ge 20 ] && [ "$used" -le 130 ] || fail "usage.cpu is $used, usage.steal $stolen"
assert_eq "vcpu.maximum" "$(cat "$dir/vcpu.maximum")" 4
assert_eq "domain.cpu.limit" "$(cat "$dir/domain.cpu.limit")" 2.000000

# interfaces
guest_nic_xml 52:54:00:00:00:02 >"$tmp/nic.xml"
virsh_system attach-device "$a" "$tmp/nic.xml" --live || fail "no interface hot-plug"
wait_for 10 is net.count 2 || fail "the new interface is not seen"
wait_for 5 has_value "$dir/net.1.rx.bytes" || fail "no counters of the new interface"
agrees "after interface hot-plug"
virsh_system detach-device "$a" "$tmp/nic.xml" --live || fail "no interface unplug"
wait_for 30 is net.count 1 || fail "the interface that went is still there"
wait_for 5 test ! -e "$dir/net.1.rx.bytes" || fail "files of an interface that went"
agrees "after interface unplug"

# limits, as they are set
virsh_system schedinfo "$a" --live --set cpu_shares=512 >/dev/null || fail "no shares"
wait_for 10 is cputune.shares 512 || fail "cputune.shares"
virsh_system blkdeviotune "$a" vdz --live --total-iops-sec 1000 || fail "no iotune"
wait_for 10 is block.0.iotune.total_iops_sec 1000 || fail "iotune"
[ -e "$dir/memtune.hard_limit" ] && fail "a limit that is not set"
[ -e "$dir/block.0.iotune.read_bytes_sec" ] && fail "a limit of a disk's that is not set"
grep -qw memtune.hard_limit "$dir/domain.unlimited" || fail "unlimited: $(cat "$dir/domain.unlimited")"
virsh_system memtune "$a" --live --hard-limit 4194304 || fail "no memtune"
kill -HUP "$keeper" # there is no event for that one; it would be seen within minutes
wait_for 10 is memtune.hard_limit 4194304 || fail "memtune.hard_limit"
grep -qw memtune.hard_limit "$dir/domain.unlimited" && fail "unlimited: $(cat "$dir/domain.unlimited")"
virsh_system memtune "$a" --live --hard-limit -1 || fail "no end to memtune"
kill -HUP "$keeper"
wait_for 10 test ! -e "$dir/memtune.hard_limit" || fail "a limit that is set no more"
if virsh_system schedinfo "$a" --live --set vcpu_period=10000 --set vcpu_quota=2000 >/dev/null 2>&1; then
	wait_for 10 is cputune.quota 2000 || fail "cputune.quota"
	is domain.cpu.limit 0.400000 || fail "domain.cpu.limit is $(cat "$dir/domain.cpu.limit")"
	throttled() { [ "$(cat "$dir/cgroup.cpu.throttled.time")" -gt 0 ] && ! is usage.throttled 0.000000; }
	wait_for 10 throttled || fail "a vCPU beyond its quota is not throttled"
	virsh_system schedinfo "$a" --live --set vcpu_quota=-1 >/dev/null || fail "no end to the quota"
	wait_for 10 is domain.cpu.limit 2.000000 || fail "no limit, but $(cat "$dir/domain.cpu.limit")"
fi

# paused, it neither works nor vanishes; what it says of itself is right
virsh_system suspend "$a" || fail "no suspend"
wait_for 3 is state.state 3 || fail "state.state is $(cat "$dir/state.state")"
idle() { [ "$(cut -d. -f1 "$dir/usage.cpu")" -lt 5 ]; }
wait_for 5 idle || fail "a paused VM works: $(cat "$dir/usage.cpu")"
virsh_system resume "$a"
wait_for 3 is state.state 1 || fail "not resumed"
[ -e "$dir/vcpu.0.wait" ] && [ ! -s /proc/sys/kernel/sched_schedstats ] &&
	fail "waits that the kernel does not count"
grep -q "vcpu.current" "$dir/sample.unavailable" && fail "what can be had is named as unavailable"
tree_is_quiet
grown=$(cat "$dir/sample.generation")
grew() { [ "$(cat "$dir/sample.generation")" -gt "$grown" ]; }
wait_for 3 grew || fail "the generation stands still"

# the session is the process': the same for another daemon, another after a restore
session=$(cat "$dir/domain.session")
stop_daemon || exit 1
start_daemon
wait_for 10 is domain.session "$session" || fail "another session without cause: $(cat "$dir/domain.session")"
kill -0 "$pid" || fail "the guest ended"

# a new file for a new vCPU, and none for one that is gone
virsh_system setvcpus "$a" 3 --live || fail "no vCPU hot-plug"
wait_for 10 is vcpu.current 3 || fail "the new vCPU is not seen"
wait_for 10 is domain.cpu.limit 3.000000 || fail "the limit does not follow"
agrees "after vCPU hot-plug"
wait_for 20 guest_run "$a" "grep -q 1 /sys/devices/system/cpu/cpu2/online || echo 1 >/sys/devices/system/cpu/cpu2/online" ||
	fail "the guest does not take the vCPU"
# a guest that is busy takes longer to give one back than libvirt waits
guest_run "$a" 'kill $(jobs -p)'
virsh_system setvcpus "$a" 2 --live
wait_for 40 is vcpu.current 2 || fail "the vCPU that went is still there"
libvirt_too() { [ "$(virsh_system vcpucount "$a" --live --active)" = 2 ]; }
# libvirt gives up after 5 s, and then goes on to list a vCPU whose thread is gone
wait_for 10 libvirt_too || left_out="vcpu.2. vcpu.current"
[ -e "$dir/vcpu.2.time" ] && fail "files of a vCPU that went"
agrees "after vCPU unplug" "${left_out:-}"
# (QEMU without KVM may crash at the next change of its devices: no more of them)
guest_stop "$a"
wait_for 5 test ! -e "$dir" || fail "the VM that ended is still there"

b=$(new_uuid)
guest_start_halting "$name" "$b" "" || fail "no halting guest"
wait_for 10 is domain.uuid "$b" || fail "the name's new VM is not seen"
session=$(cat "$dir/domain.session")
virsh_system save "$b" "$tmp/saved" || fail "no save"
wait_for 5 test ! -e "$dir" || fail "a saved VM is still there"
virsh_system restore "$tmp/saved" || fail "no restore"
wait_for 10 is domain.uuid "$b" || fail "a restored VM is not seen"
wait_for 5 has_value "$dir/vcpu.0.time" || fail "a restored VM has no figures"
is domain.session "$session" && fail "the same session after a restore"

# a name that goes from one VM to another at once
for _ in 1 2 3; do
	c=$(new_uuid)
	guest_stop "$b"
	guest_start_halting "$name" "$c" "" || fail "no halting guest"
	wait_for 5 is domain.uuid "$c" || fail "the name shows another VM"
	assert_eq "links by uuid" "$(ls "$mnt/metrics/vm-by-uuid")" "$c"
	b=$c
done

# where the process cannot be found libvirt serves, which is said once
guest_start_halting "$name-2" "$(new_uuid)" "" || fail "no halting guest"
stop_daemon || exit 1
undo_later rm -f /run/libvirt/qemu/"$name"{,-2}.away
for n in "$name" "$name-2"; do mv "/run/libvirt/qemu/$n.pid" "/run/libvirt/qemu/$n.away"; done
start_daemon
wait_for 10 has_value "$dir/vcpu.0.delay" || fail "no figures without a process"
has_value "$dir/cpu.time" "$dir/block.0.rd.bytes" || fail "libvirt does not serve"
has_value "$dir/process.threads" && fail "a process that cannot be found has threads"
wait_for 15 logged "libvirt's figures are used" || fail "it is not said"
wait_for 5 has_value "$dir/usage.cpu" || fail "no usage from libvirt's figures"
tree_is_quiet
assert_eq "said once" "$(grep -c "libvirt's figures are used" "$tmp/log")" 1
stop_daemon || exit 1
for n in "$name" "$name-2"; do mv "/run/libvirt/qemu/$n.away" "/run/libvirt/qemu/$n.pid"; done

# as another user, with a /proc that hides processes: the same
if [ -n "${libvirt_started[*]}" ]; then
	kill "$(cat /run/libvirtd.pid)"
	wait_for 15 process_gone "$(cat /run/libvirtd.pid)" || fail "libvirtd does not end"
	cat /etc/libvirt/libvirtd.conf >"$tmp/libvirtd.conf"
	echo 'auth_unix_ro = "none"' >>"$tmp/libvirtd.conf"
	rm -f /run/libvirtd.pid
	libvirtd -d -f "$tmp/libvirtd.conf" </dev/null >/dev/null 2>&1 || fail "libvirtd does not start"
	wait_for 30 virsh_system list || fail "libvirtd does not answer"
	: >"$tmp/log"
	start_daemon --user nobody
	wait_for 10 has_value "$dir/vcpu.0.delay" || fail "no figures as nobody"
	grep -q "libvirt's figures are used" "$tmp/log" && fail "nobody can read no process"
	wait_for 10 has_value "$dir/process.io.read.bytes" || fail "no I/O as nobody, where the configuration asks for it"
	tree_is_quiet
	has_value "$dir/process.threads" || fail "nobody may read a process' stat"
	stop_daemon || exit 1

	# with another /proc than the host has, but a mount that the host sees; and without the
	# right to look at all processes, which comes with metrics of their I/O
	sed -i '/process\.io\./d' "$tmp/conf"
	: >"$tmp/log"
	mkdir "$tmp/passed"
	mount --bind "$tmp/passed" "$tmp/passed" && mount --make-shared "$tmp/passed" || fail "no shared mount"
	at_exit "umount -l $tmp/passed"
	ASAN_OPTIONS=exitcode=99 unshare --mount --propagation unchanged \
		sh -c 'mount --make-private /proc && mount -t proc -o hidepid=2 proc /proc && exec "$@"' - \
		"$build/vhostmd" --no-daemonize --verbose --config "$tmp/conf" --pid-file "$tmp/pid" \
		--mount "$tmp/passed/mnt" --user nobody >>"$tmp/log" 2>&1 &
	keeper=$!
	inside=$tmp/passed/mnt/metrics/vm/$name
	wait_for 20 has_value "$inside/vcpu.0.delay" || fail "no figures with hidepid"
	has_value "$inside/cpu.time" || fail "no CPU time with hidepid"
	wait_for 15 logged "libvirt's figures are used" || fail "hidepid is not said"
	stop_daemon || exit 1
fi
exit 0
