#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# libmetrics.so.0 in a guest: over the private disk, over the channel alone, and over the
# shared disk, where the guest must find itself among others.
. "$(dirname "$0")/lib.sh"
need_guests

cc -Wall -Werror -I"$top/guest" -o "$tmp/use-libmetrics" "$top/tests/guest/use-libmetrics.c" \
	-L"$top/build-clang/guest" -lmetrics || fail "compiling against the library"
lib=$top/build-clang/guest/libmetrics.so.0
assert_eq soname "$(objdump -p "$lib" | awk '/SONAME/ {print $2}')" libmetrics.so.0

# the guest gets the program, the library, and what they need
extra="$tmp/lib.cpio"
root=$(mktemp -d "$tmp/root.XXXX")
LD_LIBRARY_PATH=$top/build-clang/guest ldd "$tmp/use-libmetrics" |
	awk '/=> \// {print $3} /^\t\// {print $1}' | while read -r file; do
	mkdir -p "$root$(dirname "$file")"
	cp -L "$file" "$root$file"
done
mkdir -p "$root/bin" "$root/lib" "$root/usr/lib"
cp -L "$lib" "$root/lib/libmetrics.so.0"
cp "$tmp/use-libmetrics" "$root/bin/"
(cd "$root" && find . -print0 | cpio --null -o -H newc --quiet | gzip -1) >"$extra"
cat "$extra" >>"$tmp/initrd"

sed "s|<size unit=\"k\">|<path>$tmp/vhostmd0</path>&|; s/<update_period>5</<update_period>1</" \
	"$top/conf/vhostmd.conf" >"$tmp/conf"
export CONF=$tmp/conf
start_daemon
a=$(new_uuid) b=$(new_uuid) c=$(new_uuid)
export GUEST_MIB=384
guest_begin "$guest_prefix-disk" "$a" "$(guest_disk_xml "$mnt/disk/$a.img")"
guest_begin "$guest_prefix-channel" "$b" "$(guest_channel_xml)"
guest_begin "$guest_prefix-shared" "$c" "$(guest_disk_xml "$tmp/vhostmd0")"
for uuid in "$a" "$b" "$c"; do guest_up "$uuid"; done

check_guest()
{
	local uuid=$1 dump=$2 out
	vm_there() { has_value "$mnt/metrics/vm-by-uuid/$uuid/TotalCPUTime"; }
	wait_for 10 vm_there
	# a disk moves on shortly after the daemon knows the VM
	sees_itself() { guest_run "$uuid" use-libmetrics | grep -q '^vm.vcpu.current 1'; }
	wait_for 20 sees_itself || fail "$uuid: $(guest_run "$uuid" use-libmetrics)"
	out=$(guest_run "$uuid" use-libmetrics)
	value() { sed -n "s/^$1 //p" <<<"$out"; }
	assert_eq "host name" "$(value host.HostName)" "$(uname -n)"
	assert_eq "host memory" "$(value host.TotalPhyMem)" "$(cat "$mnt/metrics/host/TotalPhyMem")"
	assert_eq "memory_metrics" "$(value mem.total)" "$(cat "$mnt/metrics/host/TotalPhyMem")"
	assert_eq "cpu_metrics" "$(value cpu.total)" "$(cat "$mnt/metrics/host/TotalPhyCPUs")"
	assert_eq "totalPhyCPUs" "$(value cpus)" "$(cat "$mnt/metrics/host/TotalPhyCPUs")"
	assert_eq "no such metric" "$(value vm.nothing)" "errno 42"
	assert_eq "no memory metrics of a VM" "$(value vmmem)" "errno 42"
	python3 - "$(value vm.TotalCPUTime)" "$(value vmcpu.time)" "$(cat "$mnt/metrics/vm-by-uuid/$uuid/TotalCPUTime")" <<-'EOF' || fail "CPU time of $uuid"
		import sys
		seen, struct, file = map(float, sys.argv[1:])
		assert 0 < seen <= file + 5 and abs(seen - struct) < 5, sys.argv
	EOF
	assert_eq "dump functions" "$(value dump)" "$dump"
}
check_guest "$a" "0 virtio -1 xenstore -1"
check_guest "$b" "-1 virtio 0 xenstore -1"
check_guest "$c" "0 virtio -1 xenstore -1"
for uuid in "$a" "$b" "$c"; do guest_stop "$uuid"; done
exit 0
