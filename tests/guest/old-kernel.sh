#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The worker is killed again and again on a host whose kernel does not send requests again
# (FUSE_NOTIFY_RESEND came with 6.9), for which a guest stands: what a worker had received and not
# answered is in the slots, or a reader waits for ever.  And what counts vCPUs' waits fits that kernel,
# too: the same program.
. "$(dirname "$0")/lib.sh"
need_libvirt "$guest_qemu"
guest_kernel
release=$(basename "$guest_cache"/modules/*)
printf '%s\n' 6.9 "$release" | sort -CV && skip "needs a kernel before 6.9 for guests, has $release"

# the program and those that read from it, with all that they load
export guest_files=$tmp/files guest_modules=fuse
CC=clang build "$top/build-clang" -Dbuildtype=release -Dwerror=true
guest_takes_python collections mmap os random re select shutil signal struct sys threading time
guest_takes "$top/build-clang/vhostmd"
cp "$top/tests/func/survive.py" "$guest_files/"
bash "$top/tests/func/survive.sh" --conf 0.5 /run/link |
	sed "s|<metrics>|&<metric context='vm'><name>Delay</name><source>delay.p50</source></metric>|" >"$guest_files/conf"
cp "$guest_cache/vmlinuz" "$tmp/vmlinuz"
guest_initramfs "$tmp/initrd" "$static_tool"

uuid=$(new_uuid)
GUEST_MIB=512 guest_start "$guest_prefix" "$uuid" ""
guest_run "$uuid" "[ \$(uname -r) = $release ] && mkdir -p /run /etc && mount -t tmpfs run /run" || fail "not that kernel"
guest_run "$uuid" "$top/build-clang/vhostmd --no-daemonize --verbose --config /conf -c test:///default \
	--pid-file /run/pid --mount /run/mnt >/run/log 2>&1 &" || fail "no daemon"
guest_run "$uuid" "until cat /run/mnt/metrics/host/Generation 2>/dev/null; do sleep 0.1; done" ||
	fail "no sample: $(guest_run "$uuid" "cat /run/log")"
guest_run "$uuid" "until grep '^bpf: ' /run/mnt/status | grep -v unknown; do sleep 0.1; done" >"$tmp/bpf" || fail "no status"
grep -qx 'bpf: attached\|bpf: .* built without .*' "$tmp/bpf" || fail "$(cat "$tmp/bpf")"
(guest_run "$uuid" "$python -S /survive.py /run/mnt \
	\$(cat /run/pid) 30 2") >"$tmp/readers" || fail "$(cat "$tmp/readers"; guest_run "$uuid" "cat /run/log")"
cat "$tmp/readers"
[ "$(sed -n 's/.* kills \([0-9]*\),.*/\1/p' "$tmp/readers")" -ge 10 ] || fail "too few were killed"
guest_run "$uuid" 'pid=$(cat /run/pid); kill $pid && wait $pid' || fail "it ends with $?: $(guest_run "$uuid" "cat /run/log")"
