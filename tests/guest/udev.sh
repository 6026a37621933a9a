#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# udev's rules in a guest: who is in the group reads the disk, which is known by its serial number
# or by its content, and asks over the channel, without root; nobody else does.
. "$(dirname "$0")/lib.sh"
need_guests

# Debian's own, in a guest that has nothing else
udev=$guest_cache/udev
if [ ! -e "$udev" ]; then
	rm -rf "$udev.new"
	mkdir -p "$udev.new"
	(cd "$udev.new" && apt-get -q -q download udev >/dev/null 2>&1 && dpkg-deb -x udev_*.deb . && rm udev_*.deb) ||
		skip "udev cannot be fetched"
	mv "$udev.new" "$udev"
fi
root=$tmp/root
mkdir -p "$root"/{bin,etc,lib,lib64,run,usr} "$root"/lib/udev/rules.d
ldd "$udev/bin/udevadm" | awk '/=> \// {print $3} /^\t\// {print $1}' | while read -r file; do
	mkdir -p "$root${file%/*}"
	cp -L "$file" "$root$file"
done
cp "$udev/bin/udevadm" "$root/bin/"
ln -s udevadm "$root/bin/systemd-udevd" # as Debian has it
cp "$udev"/lib/udev/rules.d/{50-udev-default,60-persistent-storage}.rules \
	"$top/build-clang/70-vhostmd-guest.rules" "$root/lib/udev/rules.d/"
ln -s /lib "$root/usr/lib"
# whatever prefix the build has by now: other tests give it another
program=$(sed -n 's/^PROGRAM!="\([^ ]*\) .*/\1/p' "$root/lib/udev/rules.d/70-vhostmd-guest.rules")
mkdir -p "$root${program%/*}"
ln -s /bin/vm-dump-metrics "$root${program:?}"
printf '%s\n' root:x:0:0::/:/bin/sh agent:x:1000:1000::/:/bin/sh other:x:1001:1001::/:/bin/sh >"$root/etc/passwd"
printf '%s\n' root:x:0: disk:x:6: agent:x:1000: other:x:1001: vhostmd-guest:x:998:agent >"$root/etc/group"
(cd "$root" && find . -print0 | cpio --null -o -H newc --quiet | gzip -1) >>"$tmp/initrd"

sed "s/<update_period>5/<update_period>1/" "$top/conf/vhostmd.conf" >"$tmp/conf"
CONF=$tmp/conf
start_daemon
head -c 1048576 /dev/zero >"$tmp/plain.img"
chmod 644 "$tmp/plain.img"
uuid=$(new_uuid)
GUEST_MIB=384
# one without a serial number, and one that is as small and cannot be written, but of something else
guest_start "$guest_prefix-udev" "$uuid" "$(
	guest_disk_xml "$tmp/plain.img" vdx ''
	guest_disk_xml "$mnt/disk/$uuid.img" vdy ''
	guest_channel_xml)"
settle="udevadm settle --timeout=20"
guest_run "$uuid" "systemd-udevd --daemon && udevadm trigger --action=add && $settle" || fail "udev does not start"

link() { guest_run "$uuid" "readlink /dev/vhostmd"; }
serial_of() { guest_run "$uuid" "echo \$(cat /sys/block/$1/serial)"; }
may_read() # USER OPTION
{
	guest_run "$uuid" "su -s /bin/sh -c 'vm-dump-metrics $2' $1" >"$tmp/said"
}
check_rights() # DISK
{
	assert_eq "$1" "$(guest_run "$uuid" "stat -c '%U %G %a' /dev/$1")" "root vhostmd-guest 440"
	may_read agent -b && grep -q '<metric ' "$tmp/said" || fail "no disk for its group: $(cat "$tmp/said")"
	may_read other -b && fail "others read the disk"
	may_read agent "-v -b" && grep -q "/dev/vhostmd" "$tmp/said" && fail "the link is not taken: $(cat "$tmp/said")"
}
disk=$(link) || fail "a disk that is known by its content has no link"
assert_eq "a disk that is known by its content" "$(guest_run "$uuid" "vm-dump-metrics --probe /dev/$disk; echo \$?")" 0
check_rights "$disk"
assert_eq "who may read another disk" "$(guest_run "$uuid" "stat -c %G /dev/vd? | sort | xargs")" "disk vhostmd-guest"
assert_eq "the channel" "$(guest_run "$uuid" "stat -Lc '%G %a' /dev/virtio-ports/org.github.vhostmd.1")" "vhostmd-guest 660"
may_read agent -i && grep -q '<metric ' "$tmp/said" || fail "no channel for its group: $(cat "$tmp/said")"
may_read other -i && fail "others ask over the channel"

# README's disk, plugged in: it comes before one without a serial number
guest_disk_xml "$mnt/disk/$uuid.img" vdz >"$tmp/disk.xml"
virsh_system attach-device "$uuid" "$tmp/disk.xml" --live >/dev/null || fail "no disk is plugged in"
by_serial() { [ "$(serial_of "$(link)")" = vhostmd ]; }
wait_for 20 by_serial || fail "the link is to $(link)"
check_rights "$(link)"
virsh_system detach-disk "$uuid" vdz --live >/dev/null || fail "it is not plugged out"
is_first() { [ "$(link)" = "$disk" ]; }
wait_for 20 is_first || fail "the link is to '$(link)' when that is gone"
guest_stop "$uuid"
exit 0
