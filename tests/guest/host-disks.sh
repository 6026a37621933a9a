#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A disk that is a device of the host: what the device did is what /proc/diskstats says, while a guest
# reads it, for each VM that has it, and also where the daemon sees another /dev than the host's.
. "$(dirname "$0")/lib.sh"
need_halting_guests
command -v losetup >/dev/null && [ -e /dev/loop-control ] || skip "needs loop devices"

# in the order of the file
figures=({rd,wr}.{reqs,merged,bytes,times} inflight busy queue.times discard.{reqs,merged,bytes,times}
	fl.{reqs,times})
cat >"$tmp/conf" <<END
<vhostmd><globals><update_period>0.2</update_period><transport>vbd</transport></globals><metrics>
$(for source in "${figures[@]}" node; do
	echo "<metric context='vm'><name>hostdisk.*.$source</name><source>hostdisk.*.$source</source></metric>"
done)
</metrics></vhostmd>
END
export CONF=$tmp/conf

# a system that reads a sector of its disk for each byte that comes over its line
as --32 -o "$tmp/reading.o" "$top/tests/bench/reading-guest.S" &&
	ld -m elf_i386 -Ttext 0x7c00 --oformat binary -o "$tmp/reading.img" "$tmp/reading.o" || fail "no boot sector"
truncate -s 1M "$tmp/reading.img" "$tmp/more.img"
chmod 755 "$tmp"
# sets $loop: attach IMAGE
attach()
{
	undo_later sh -c "losetup -n -O NAME -j $tmp/$1.img | xargs -r losetup -d"
	loop=$(losetup -f --show "$tmp/$1.img") || skip "no loop device can be had"
}
attach more
more=$loop
attach reading
# as names of LVM and others are
folder=/dev/$guest_prefix-$$
undo_later rm -rf "$folder"
mkdir "$folder" && ln -s "../${loop#/dev/}" "$folder/disk" || fail "no link in /dev"

# block_xml PATH TARGET [BUS]
block_xml()
{
	echo "<disk type='block' device='disk'><driver name='qemu' type='raw' cache='none'/>
		<source dev='$1'/><target dev='$2' bus='${3:-virtio}'/><shareable/></disk>"
}
# starts the guest that reads: its system is on the device, a file comes before that
start_reading()
{
	python3 "$top/tests/bench/sample.py" nudge "$tmp" 0.02 "$1" &
	nudge=$!
	at_exit "kill $nudge 2>/dev/null"
	wait_for 10 test -S "$tmp/$1.serial" || fail "nobody listens to the guest"
	cat >"$tmp/$1.xml" <<-END
		<domain type='qemu'><name>$guest_prefix-a</name><uuid>$1</uuid><memory unit='MiB'>8</memory>
		<vcpu>1</vcpu><os><type arch='x86_64' machine='pc'>hvm</type></os><devices>
		<emulator>/usr/bin/qemu-system-x86_64</emulator>
		<disk type='file' device='cdrom'><target dev='hda' bus='ide'/></disk>
		$(block_xml "$folder/disk" vda)
		<controller type='usb' model='none'/>
		<serial type='unix'><source mode='connect' path='$tmp/$1.serial'/></serial>
		<memballoon model='virtio'/></devices></domain>
	END
	guest_create "$1" "$tmp/$1.xml" || fail "the guest that reads does not start"
}

# told DEVICE: what the host says, with the units of ours
told()
{
	awk -v d="${1#/dev/}" '$3 == d {
		for (i = 4; i <= 20; i++) {
			times = i == 7 || i == 11 || i == 13 || i == 14 || i == 18 || i == 20
			sectors = i == 6 || i == 10 || i == 17
			print $i (times && $i ? "000000" : sectors ? " sectors" : "")
		}
	}' /proc/diskstats | while read -r n sectors; do echo $((n * (${#sectors} ? 512 : 1))); done
}
# shown FOLDER NUMBER: the same of ours
shown() { local f; for f in "${figures[@]}"; do cat "$1/hostdisk.$2.$f" || return; done; }
agrees() { [ -n "$(told "$3")" ] && [ "$(shown "$1" "$2")" = "$(told "$3")" ]; }
has_read() { [ "$(cat "$1")" -ge "$2" ]; }

dir=$mnt/metrics/vm/$guest_prefix
start_daemon
a=$(new_uuid)
start_reading "$a"
wait_for 20 has_value "$dir-a/hostdisk.1.rd.reqs" || fail "the device is not found: $(ls "$dir-a")"
assert_eq "the device" "$(cat "$dir-a/hostdisk.1.node")" "${loop#/dev/}"
# what the guest reads is seen there
before=$(cat "$dir-a/hostdisk.1.rd.reqs") bytes=$(cat "$dir-a/hostdisk.1.rd.bytes")
wait_for 20 has_read "$dir-a/hostdisk.1.rd.reqs" $((before + 50)) ||
	fail "of what a guest reads nothing is seen: $(shown "$dir-a" 1), $(told "$loop")"
wait_for 5 has_read "$dir-a/hostdisk.1.rd.bytes" $((bytes + 50 * 512)) || fail "no bytes"
kill $nudge
wait $nudge 2>/dev/null
wait_for 10 agrees "$dir-a" 1 "$loop" || fail "$(shown "$dir-a" 1) is not $(told "$loop")"
[ -e "$dir-a/hostdisk.0.rd.reqs" ] && fail "a disk that is no device has figures"
grep -q "^vhostmd_vm_hostdisk_rd_bytes_total{uuid=\"$a\",name=\"$guest_prefix-a\",device=\"vda\"} [1-9]" \
	"$mnt/metrics.prom" || fail "metrics.prom: $(grep hostdisk "$mnt/metrics.prom")"
grep -q "^vhostmd_vm_hostdisk_info{.*device=\"vda\",node=\"${loop#/dev/}\"} 1$" "$mnt/metrics.prom" ||
	fail "metrics.prom: $(grep hostdisk_info "$mnt/metrics.prom")"

# another VM with that device, and with one that comes later
b=$(new_uuid)
guest_start_halting "$guest_prefix-b" "$b" "<controller type='scsi' model='virtio-scsi'/>
	$(block_xml "$loop" vdb)" || fail "no halting guest"
wait_for 20 agrees "$dir-b" 1 "$loop" || fail "what is shared: $(shown "$dir-b" 1), $(told "$loop")"
wait_for 5 agrees "$dir-a" 1 "$loop" || fail "of the first one: $(shown "$dir-a" 1), $(told "$loop")"
block_xml "$more" sda scsi >"$tmp/more.xml"
virsh_system attach-device "$b" "$tmp/more.xml" --live >/dev/null || fail "no hot-plug"
wait_for 20 agrees "$dir-b" 2 "$more" || fail "a disk that came: $(ls "$dir-b"), $(told "$more")"
assert_eq "the device that came" "$(cat "$dir-b/hostdisk.2.node")" "${more#/dev/}"
[ -e "$dir-b/hostdisk.0.rd.reqs" ] && fail "a file has figures of a device"
# the next worker goes on
counted=$(cat "$dir-a/hostdisk.1.rd.reqs") before=$(worker_pid)
kill -KILL "$before"
next() { local pid; pid=$(worker_pid) && [ -n "$pid" ] && [ "$pid" != "$before" ]; }
wait_for 10 next || fail "no other worker"
dd if="$more" of=/dev/null bs=64k iflag=direct status=none || fail "the device cannot be read"
wait_for 10 agrees "$dir-b" 2 "$more" || fail "another worker: $(shown "$dir-b" 2), $(told "$more")"
assert_eq "counted since" "$(cat "$dir-a/hostdisk.1.rd.reqs")" "$counted"
stop_daemon || exit 1

# in the packaged service there are no devices below /dev: what udev knows is enough
[ -d /run/udev ] || { undo_later rmdir /run/udev; mkdir /run/udev; }
mkdir -p "$tmp/passed" "$tmp/udev/data" "$tmp/dev"
cp -a /dev/fuse /dev/null /dev/urandom "$tmp/dev/" || fail "no nodes"
mount --bind "$tmp/passed" "$tmp/passed" && mount --make-shared "$tmp/passed" || fail "no shared mount"
at_exit "umount -l $tmp/passed"
printf 'I:1\nS:%s/disk\nE:DEVTYPE=disk\n' "${folder#/dev/}" \
	>"$tmp/udev/data/b$(awk -v d="${loop#/dev/}" '$3 == d {print $1 ":" $2}' /proc/diskstats)"
: >"$tmp/log"
ASAN_OPTIONS=exitcode=99 unshare --mount --propagation unchanged \
	sh -c 'for m in / /run /dev; do mount --make-private $m 2>/dev/null; done
		mount --bind "$0/udev" /run/udev && mount --bind "$0/dev" /dev && exec "$@"' "$tmp" \
	"$build/vhostmd" --no-daemonize --verbose --config "$tmp/conf" --pid-file "$tmp/pid" \
	--mount "$tmp/passed/mnt" >>"$tmp/log" 2>&1 &
keeper=$!
dir=$tmp/passed/mnt/metrics/vm/$guest_prefix
wait_for 20 agrees "$dir-a" 1 "$loop" || fail "without /dev, by udev's link: $(ls -l "$dir-a")"
wait_for 5 agrees "$dir-b" 2 "$more" || fail "without /dev, by the kernel's name: $(ls "$dir-b")"
[ -e "/proc/$keeper/root$loop" ] && fail "the daemon sees the host's devices"
virsh_system detach-device "$b" "$tmp/more.xml" --live >/dev/null || fail "no unplug"
wait_for 20 test ! -e "$dir-b/hostdisk.2.rd.reqs" || fail "a disk that went is there"
agrees "$dir-b" 1 "$loop" || fail "of the one that stays: $(shown "$dir-b" 1), $(told "$loop")"
stop_daemon || exit 1
guest_stop "$a"
guest_stop "$b"
exit 0
