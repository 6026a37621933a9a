#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Real guests under real libvirt: what they read is what the host shows, and only that.
. "$(dirname "$0")/lib.sh"
need_guests

sed 's/<update_period>5</<update_period>0.5</' "$top/conf/vhostmd.conf" >"$tmp/conf"
CONF=$tmp/conf start_daemon
a=$(new_uuid) b=$(new_uuid)
hostile="$guest_prefix \$(touch $tmp-pwned);'\"<&"
hostile=${hostile//\//_} # the one character that libvirt forbids
devices() { guest_disk_xml "$mnt/disk/$1.img"; guest_channel_xml; }
vm_dir() { echo "$mnt/metrics/vm-by-uuid/$1"; }

# the disk of a VM that does not run is there, and shows the host alone
disk_content "$mnt/disk/$a.img" >"$tmp/before.xml" || fail "disk before the start"
grep -q "context='vm'" "$tmp/before.xml" && fail "a VM on the disk of none"

guest_begin "$guest_prefix-a" "$a" "$(devices "$a")"
guest_start "$hostile" "$b" "$(devices "$b")"
guest_up "$a"
wait_for 10 test -e "$(vm_dir "$a")/TotalCPUTime" || fail "no metrics of guest a"
wait_for 10 grep -q 'channels.connected: 2' "$mnt/status" || fail "channels: $(cat "$mnt/status")"

# both transports, compared with the host's files
for uuid in "$a" "$b"; do
	for option in -b -i; do
		guest_run "$uuid" "vm-dump-metrics $option" >"$tmp/doc.xml" ||
			fail "vm-dump-metrics $option: $(cat "$tmp/doc.xml")"
		xmllint --noout "$tmp/doc.xml" || fail "$option: not XML"
		python3 - "$tmp/doc.xml" "$mnt/metrics/host" "$(vm_dir "$uuid")" "$uuid" <<-'EOF' || fail "$option differs from the files"
			import os, sys, xml.etree.ElementTree as ET
			doc, host, vm, uuid = sys.argv[1:]
			steady = {"HostName", "TotalPhyMem", "NumCPUs", "VirtualizationVendor",
			          "VirtualizationProductInfo", "vcpu.current", "balloon.current"}
			seen = {"host": set(), "vm": set()}
			for m in ET.parse(doc).getroot():
			    name, context = m.find("name").text, m.get("context")
			    seen[context].add(name)
			    assert m.get("uuid") in (None, uuid), "another VM"
			    with open(os.path.join(host if context == "host" else vm, name)) as f:
			        value = f.read().strip()
			    if name in steady:
			        assert value == m.find("value").text, (name, value)
			    elif m.get("type") != "string":
			        assert float(value) >= 0
			def shown(folder):
			    """what guests may see and what can be had now"""
			    for name in os.listdir(folder):
			        try:
			            open(os.path.join(folder, name)).read()
			        except OSError as e:
			            assert e.errno == 61, (name, e)  # ENODATA
			            continue
			        # guest="no" in the configuration
			        if not name.startswith("vhostmd.") and name != "state.state":
			            yield name
			assert seen["host"] == set(shown(host)), seen["host"] ^ set(shown(host))
			assert seen["vm"] == set(shown(vm)), seen["vm"] ^ set(shown(vm))
			assert "vcpu.0.delay" in seen["vm"]
		EOF
	done
	guest_run "$uuid" "vm-dump-metrics | grep -c '<metric '" >/dev/null || fail "default transport"
	guest_run "$uuid" "vm-dump-metrics -d /tmp/out && grep -q '</metrics>' /tmp/out" || fail "-d"
done

# no trace of a neighbour: not its name, not its uuid, on the raw device and the channel
id_b=$(virsh_system domid "$b")
for word in "$b" "pwned" "$hostile" " id='$id_b' "; do
	word=${word//\'/.}
	guest_run "$a" "cat /dev/vd? | grep -a -c -e '$word'" | grep -qx 0 || fail "a sees '$word' on its disk"
	guest_run "$a" "vm-dump-metrics -i | grep -c -e '$word'" | grep -qx 0 || fail "a sees '$word' on its channel"
done
guest_run "$b" "cat /dev/vd? | grep -a -c -e '$a' -e '$guest_prefix-a'" | grep -qx 0 || fail "b sees a"
[ -e "$tmp-pwned" ] && fail "the VM's name was executed"
[ -d "$mnt/metrics/vm/$hostile" ] || fail "no directory for the hostile name"
promtool check metrics <"$mnt/metrics.prom" || fail "promtool with the hostile name"
# what the test itself relies on
assert_eq "output that has no newline at its end" "$(guest_run "$a" "printf one")" one

# the guest cannot change anything
guest_run "$a" "echo x >/dev/vda" && fail "the disk can be written"

# nonsense on the channel is refused and disturbs nobody
guest_run "$a" "echo HELLO >/tmp/q; echo >>/tmp/q; p=/dev/\$(ls /sys/class/virtio-ports | head -n 1); exec 3<>\$p; cat /tmp/q >&3; head -n 1 <&3; exec 3>&-" |
	grep -q 'INVALID REQUEST' || fail "nonsense was not refused"
guest_run "$a" "exec 3<>\$p; i=0; while [ \$i -lt 200 ]; do echo flood flood flood >&3; i=\$((i+1)); done; exec 3>&-" || fail flood
guest_run "$b" "vm-dump-metrics -i >/tmp/o && grep -c '<metric ' /tmp/o" >"$tmp/said" || fail "b's channel suffers: $(cat "$tmp/said")"
guest_run "$a" "vm-dump-metrics -i >/tmp/o && grep -c '<metric ' /tmp/o" >"$tmp/said" || fail "a's channel does not recover: $(cat "$tmp/said")"

# who asks and closes the port: QEMU drops what nobody fetched, and the next reads nothing of it
unfetched() { [ "$(sed -n 's/^channels.unfetched: //p' "$mnt/status")" -ge "$1" ]; }
had=$(sed -n 's/^channels.unfetched: //p' "$mnt/status")
guest_run "$a" "for i in \$(seq 40); do printf 'GET /metrics/XML\\n\\n'; done >/tmp/q; cat /tmp/q >\$p" ||
	fail "asking without reading"
wait_for 20 unfetched $((had + 1)) || fail "not taken back: $(grep channels "$mnt/status")"
logged "VM $guest_prefix-a ($a) strains its channel" || fail "the VM is not named"
wait_for 10 grep -q 'channels.connected: 2' "$mnt/status" || fail "not connected again"
guest_run "$a" "rm -f /tmp/o; (head -c 20 <\$p >/tmp/o & sleep 1; kill \$!) 2>/dev/null; cat /tmp/o" >"$tmp/o"
grep -q . "$tmp/o" && fail "the next one reads '$(cat "$tmp/o")'"
guest_run "$a" "vm-dump-metrics -i >/tmp/o && grep -c '<metric ' /tmp/o" >/dev/null || fail "a's channel after that"

# with xattr, link and status all in place
assert_eq "link by id" "$(readlink "$mnt/metrics/vm-by-id/$(virsh_system domid "$a")")" "../vm/$guest_prefix-a"
getfattr --only-values -n user.vhostmd.source "$(vm_dir "$a")/vcpu.0.delay" 2>/dev/null | grep -qx vcpu.0.delay || fail source

# a guest goes at once, by event: before the next period could have told
sed -i 's/<update_period>0.5</<update_period>60</' "$tmp/conf"
kill -HUP "$keeper"
wait_for 10 logged 'is in force' || fail reload
guest_stop "$b"
wait_for 3 test ! -e "$(vm_dir "$b")" || fail "b is still there"
[ -e "$(vm_dir "$a")/TotalCPUTime" ] || fail "a is not there any more"

# the same VM under another name: comes at once, under that name alone
guest_start "$guest_prefix-renamed" "$b" "$(devices "$b")"
wait_for 3 test -e "$mnt/metrics/vm/$guest_prefix-renamed/TotalCPUTime" || fail "the renamed VM has no metrics"
[ -e "$mnt/metrics/vm/$hostile" ] && fail "the old name is still there"
guest_run "$b" "vm-dump-metrics -i | grep -c 'uuid=.$b'" >/dev/null || fail "channel after another start"
guest_run "$b" "vm-dump-metrics -b | grep -c 'uuid=.$b'" >/dev/null || fail "disk after another start"
guest_stop "$b"

# disk and channel plugged into a running guest
truncate -s 1M "$tmp/plain.img"
guest_start "$guest_prefix-late" "$b" "$(guest_disk_xml "$tmp/plain.img" vdz)"
late=$mnt/metrics/vm/$guest_prefix-late
# device NUMBER: which disk that is
device() { getfattr --absolute-names --only-values -n user.vhostmd.device "$late/block.$1.rd.bytes" 2>/dev/null; }
is_device() { [ "$(device "$1")" = "$2" ]; }
# series DEVICE: what was read from a disk
series() { sed -n "s/^vhostmd_vm_block_rd_bytes_total{.*uuid=\"$b\".*,device=\"$1\"} //p" "$mnt/metrics.prom"; }
wait_for 10 is_device 0 vdz || fail "block.0 is $(device 0)"
guest_disk_xml "$mnt/disk/$b.img" vdb >"$tmp/disk.xml"
guest_channel_xml >"$tmp/channel.xml"
virsh_system attach-device "$b" "$tmp/disk.xml" >/dev/null || fail "attaching the disk"
virsh_system attach-device "$b" "$tmp/channel.xml" >/dev/null || fail "attaching the channel"
seen_by_b() { guest_run "$b" "vm-dump-metrics $1 | grep -c 'uuid=.$b'"; }
wait_for 20 seen_by_b -b || fail "the plugged disk shows nothing"
wait_for 20 seen_by_b -i || fail "the plugged channel says nothing"
# it stands before the other one: that has another place, and the same series as before
wait_for 10 is_device 1 vdz || fail "block.1 is $(device 1)"
assert_eq "block.0" "$(device 0)" vdb
# a sample may come between the two reads
is_series() { [ "$(series "$1")" = "$(cat "$late/block.$2.rd.bytes")" ]; }
wait_for 10 is_series vdz 1 || fail "vdz: $(series vdz) is not block.1"
wait_for 10 is_series vdb 0 || fail "vdb: $(series vdb) is not block.0"
grep -E '^vhostmd_vm_(block|net)_.*index=' "$mnt/metrics.prom" && fail "a place as a label"

# who has its disk open, through the page cache, sees it stop, and then the host's news alone
sed -i 's/<update_period>60</<update_period>0.5</' "$tmp/conf"
kill -HUP "$keeper"
python3 - "$mnt/disk/$b.img" >"$tmp/states" <<'EOF' &
import struct, sys, time
disk, end, seen = open(sys.argv[1], "rb", buffering=0), time.monotonic() + 60, []
def content():
    while True:
        disk.seek(0)
        data = disk.read(1 << 20)
        _, busy, total, length = struct.unpack(">4sIII", data[:16])
        if not busy:
            assert sum(data[16:16 + length]) % 2**32 == total, "torn"
            return data[16:16 + length]
while len(seen) < 4:
    assert time.monotonic() < end, seen
    now = content()
    state = b"context='vm'" in now or now
    if not seen or state != seen[-1]:
        seen.append(state)
        print(len(seen), state is True, flush=True)
assert seen[0] is True and True not in seen[1:], seen
EOF
reader=$!
wait_for 20 grep -q '1 True' "$tmp/states" || fail "the disk of a VM that runs"
guest_stop "$b"
wait $reader || fail "the disk of a VM that stopped: $(cat "$tmp/states")"
guest_stop "$a"
stop_daemon
