#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What guest/steal says of guests that want one processor, on a host with another kernel: that of
# Debian's guests, in one of which QEMU runs its own, without libvirt and a daemon.  And what the program
# in the kernel is tested for alone.
. "$(dirname "$0")/lib.sh"
need_libvirt "$guest_qemu"
[ "$guest_arch" = x86_64 ] || skip "needs a host of x86_64"
guest_kernel
release=$(basename "$guest_cache"/modules/*)
tcg=$(find /usr/lib -path '*/qemu/accel-tcg-x86_64.so' | head -n 1)
export guest_files=$tmp/files
CC=clang build "$top/build-clang" -Dbuildtype=release -Dwerror=true
programs=("$top/build-clang/tests/count-waits")
for name in kernel quota; do programs+=("$top/build-clang/tests/test-delay-$name"); done
[ -x "${programs[0]}" ] || skip "$release: this vhostmd is built without what counts waits"
for file in "${programs[@]}"; do [ -x "$file" ] || skip "needs ${file##*/}, with cmocka"; done

guest_takes_python ctypes mmap os re struct sys time
guest_takes "${programs[@]}" "$guest_qemu" ${tcg:+"$tcg"} \
	/usr/share/qemu/kvmvapic.bin
cp "$top/tests/guest/steal.py" "$top/tests/guest/steal-inside" "$guest_files/"
# all that a guest has to do is go round in circles, from its first instruction on
{
	head -c 65520 /dev/zero
	printf '\xeb\xfe'
	head -c 14 /dev/zero
} >"$guest_files/circle"
cp "$guest_cache/vmlinuz" "$tmp/vmlinuz"
guest_initramfs "$tmp/initrd" "$static_tool"

uuid=$(new_uuid)
GUEST_MIB=640 GUEST_VCPUS=2 guest_start "$guest_prefix" "$uuid" ""
guest_run "$uuid" "[ \$(uname -r) = $release ]" || fail "not that kernel"
# step NAME [PROGRAM]
step()
{
	(GUEST_SECONDS=150 guest_run "$uuid" "PYTHON='$python' sh /steal-inside $*") >"$tmp/said" || fail "$*: $(cat "$tmp/said")"
	sed "s/^/$1: /" "$tmp/said"
}
step begin
! grep '^no: ' "$tmp/said" || skip "$(cat "$tmp/said")"
for name in "${programs[@]:1}"; do
	step unit "$name"
	! grep 'no group\|not tried' "$tmp/said" || fail "that is not tested"
done
step count "${programs[0]}"
for name in pinned pairs migrating unplug busy two quota; do step $name; done
exit 0
