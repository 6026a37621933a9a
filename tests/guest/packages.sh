#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The Debian package where systemd is the first process of a machine, and not of a container as in
# func/packages: under Debian's own kernel the unit's sandbox is in force, its control group and its
# devices too.  Installed in the place of an existing vhostmd, killed, replaced and restarted under a
# reader, there again after a reboot, stopped.
. "$(dirname "$0")/lib.sh"
need_fuse
[ -x "$guest_qemu" ] || skip "needs $guest_qemu"
command -v mke2fs >/dev/null && command -v depmod >/dev/null || skip "needs e2fsprogs and kmod"
. "$top/tests/debian.sh"
debian_system
guest_kernel

# the existing one runs there, and its site has changed what it asks for; of ours there is libvirt's own VM
old_package "$root/old.deb" unit
chroot "$root" dpkg -i /old.deb >"$tmp/out" 2>&1 || fail "$(cat "$tmp/out")"
sed -i 's/of the package/of the site/; s|<update_period>1<|<update_period>0.5<|' "$root/etc/vhostmd/vhostmd.conf"
echo 'VHOSTMD_OPTIONS="--connect test:///default"' >"$root/etc/default/vhostmd"

# what a system on a disk has besides
release=$(basename "$guest_cache"/modules/*)
mkdir -p "$root/lib/modules/$release"
cp "$guest_cache/modules/$release"/modules.{builtin,order}* "$root/lib/modules/$release/"
find "$guest_cache/modules" -name 'fuse.ko*' -exec cp {} "$root/lib/modules/$release/" \;
depmod -b "$root" "$release"
tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
cp "$top/tests/guest/packages-inside" "$root/inside"
cat >"$root/etc/systemd/system/packages-test.service" <<'END'
[Service]
Type=exec
ExecStart=/bin/bash /inside
[Install]
WantedBy=multi-user.target
END
systemctl --quiet --root="$root" enable packages-test.service
# they wait for devices, of which nobody tells without udev
systemctl --quiet --root="$root" mask getty.target serial-getty@.service e2scrub_reap.service
disk=$tmp/disk
mkdir "$disk" && mount -t tmpfs tmpfs "$disk" || fail "no memory"
at_exit "umount -l $disk"
disk+=/image
mke2fs -q -t ext4 -d "$root" "$disk" 600M >"$tmp/out" 2>&1 || fail "no disk: $(cat "$tmp/out")"
export guest_modules="crc16 crc32c_generic mbcache jbd2 ext4"
guest_initramfs "$tmp/initrd"

# From one start to the next, or to the end of all; what is said goes to $tmp/said.N: run_machine N
run_machine()
{
	local cpu=()
	[ "$guest_arch" = x86_64 ] || cpu=(-cpu max) # its first one knows no 64 bits
	timeout -k 5 290 "$guest_qemu" -machine "$guest_machine" "${cpu[@]}" -accel tcg -smp 2 -m 512 \
		-nodefaults -display none -no-reboot \
		-kernel "$guest_cache/vmlinuz" -initrd "$tmp/initrd" -append "$guest_cmdline guest=system" \
		-drive "file=$disk,format=raw,if=virtio,cache=unsafe" -serial "file:$tmp/console" \
		-chardev "file,id=said,path=$tmp/said.$1" -device virtio-serial -device virtserialport,chardev=said ||
		fail "the machine ends with $?: $(cat "$tmp/said.$1"; tail -n 20 "$tmp/console")"
	sed -n 's/^# //p' "$tmp/said.$1"
	grep -v '^#' "$tmp/said.$1" >>"$tmp/said"
}
run_machine 1
run_machine 2
keeper_has=000000c0100001e2 worker_has=0000000010000000 # what the unit names, CAP_LEASE
diff "$tmp/said" - <<END || fail "that was said: $(cat "$tmp"/said.*)"
the existing one: active simple
in its place: active notify 0 enabled
its configuration is the site's: of the site
user: vhostmd vhostmd
capabilities: $keeper_has $keeper_has, of the worker $worker_has $worker_has
confined: 1 2 1 2
devices: null shm
in its control group: /dev/vda: Operation not permitted
Read-only file system
another worker: active 0 of the same keeper
another keeper: active 1 has the descriptors
another program: active 1
restarted: active
it is the same file system
who polls and reads has seen nothing
after a reboot: active 0 of the site /run/vhostmd/disk/vhostmd0.img
what counts waits is attached
left: 0 0
END
exit 0
