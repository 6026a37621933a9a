#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Whatever makes a VM be looked at again, who reads its files sees no gap; and a guest that
# moves its balloon again and again does not have its description read as often.  Prints
# the figures as scripts/bench does, which runs this, too.
. "$(dirname "$0")/lib.sh"
need_guests >&2

every_source 0.2 0.6 >"$tmp/conf"
export CONF=$tmp/conf
start_daemon
a=$(new_uuid)
name=$guest_prefix-rediscover
dir=$mnt/metrics/vm/$name
is() { [ "$(cat "$dir/$1" 2>/dev/null)" = "$2" ]; }
GUEST_VCPUS=4 GUEST_VCPUS_NOW=2 GUEST_MIB=192 guest_start "$name" "$a" \
	"$(guest_disk_xml "$mnt/disk/$a.img"; guest_nic_xml 52:54:00:00:00:01)"
wait_for 20 has_value "$dir/usage.cpu" "$dir/usage.steal" "$dir/net.0.rx.bytes" \
	"$dir/block.0.rd.reqs" "$dir/balloon.current" "$dir/domain.cpu.limit" ||
	fail "the VM is not sampled"

steady_start "$dir"

reloads() { grep -c "is in force" "$tmp/log"; }
reloaded() { [ "$(reloads)" -gt "$before" ]; }
reload()
{
	before=$(reloads)
	kill -HUP "$keeper"
	wait_for 10 reloaded || fail "no reload"
}
reload
reload
reload
virsh_system suspend "$a" >/dev/null || fail "no suspend"
wait_for 10 is state.state 3 || fail "not paused: $(cat "$dir/state.state")"
virsh_system resume "$a" >/dev/null || fail "no resume"
wait_for 10 is state.state 1 || fail "not running: $(cat "$dir/state.state")"
virsh_system setmem "$a" 163840 --live || fail "no setmem"
wait_for 20 is balloon.current 163840 || fail "balloon.current is $(cat "$dir/balloon.current")"
virsh_system schedinfo "$a" --live --set cpu_shares=512 >/dev/null || fail "no shares"
wait_for 10 is cputune.shares 512 || fail "cputune.shares"
virsh_system metadata "$a" --uri urn:vhostmd-test --key t --set '<about><owner>you &amp; me</owner></about>' \
	--live >/dev/null || fail "no metadata"
wait_for 10 is domain.metadata "you & me" || fail "domain.metadata"
guest_nic_xml 52:54:00:00:00:02 >"$tmp/nic.xml"
virsh_system attach-device "$a" "$tmp/nic.xml" --live >/dev/null || fail "no interface hot-plug"
wait_for 10 has_value "$dir/net.1.rx.bytes" || fail "the new interface is not seen"
guest_disk_xml "$mnt/disk/$(new_uuid).img" vdy >"$tmp/disk.xml"
virsh_system attach-device "$a" "$tmp/disk.xml" --live >/dev/null || fail "no disk hot-plug"
wait_for 10 is block.count 2 || fail "the new disk is not seen"
virsh_system setvcpus "$a" 3 --live || fail "no vCPU hot-plug"
wait_for 20 is vcpu.current 3 || fail "the new vCPU is not seen"
wait_for 10 is domain.cpu.limit 3.000000 || fail "domain.cpu.limit"
steady_end
echo "rediscover.gaps $(grep -c '^gap' "$tmp/seen") files"

# a balloon that moves all the time, at a period that QEMU's own limit does not hide behind
every_source 3 3 >"$tmp/conf"
reload
python3 - "$a" "$mnt/status" 12 3 <<-'EOF' >"$tmp/balloon" || fail "balloon"
	import subprocess, sys, time
	uuid, status, seconds, period = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
	def count():
	    return next(int(l.split()[1]) for l in open(status) if l.startswith("libvirt.descriptions"))
	virsh = subprocess.Popen(["env", "XDG_CACHE_HOME=/dev/null", "virsh", "-q", "-c", "qemu:///system"],
	                         stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
	first, start, n = count(), time.monotonic(), 0
	while time.monotonic() - start < seconds:
	    n += 1
	    virsh.stdin.write(f"setmem {uuid} {163840 + n % 2 * 16384} --live\n")
	    virsh.stdin.flush()
	    time.sleep(0.1)
	described, elapsed = count() - first, time.monotonic() - start
	virsh.stdin.close()
	virsh.wait()
	# n of them span n - 1 periods
	print(f"rediscover.descriptions_per_period {max(described - 1, 0) * period / elapsed:.2f} ratio")
	assert described >= 1, "the balloon's events are not heard"
	assert (described - 1) * period <= elapsed, f"{described} descriptions in {elapsed} s"
EOF
cat "$tmp/balloon"
