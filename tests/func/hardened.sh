#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What is built is hard to exploit: loaded anywhere, nothing both written and executed or
# relinked, stacks and buffers checked; by both compilers, with and without sanitizers.
. "$(dirname "$0")/../lib.sh"
CC=clang build "$top/build-clang" -Dbuildtype=release -Dwerror=true
build_least
build=${BUILD:-$top/build-dev}

# hard FILE
hard()
{
	local f=$1
	[ -f "$f" ] || fail "$f was not built"
	readelf -hW "$f" | grep -q 'Type: *DYN' || fail "$f has a fixed address"
	readelf -dW "$f" | grep -q 'TEXTREL' && fail "$f relocates its code"
	readelf -dW "$f" | grep -q 'Flags:.* NOW\|Flags: NOW' || fail "$f binds lazily"
	readelf -lW "$f" | grep -q 'GNU_RELRO' || fail "$f has no relro"
	readelf -lW "$f" | grep 'GNU_STACK' | grep -q ' RW  *0x' || fail "$f: its stack can be executed"
	readelf -lW "$f" | grep -q 'LOAD.* RWE ' && fail "$f: code can be written"
	readelf -sW "$f" | grep -q '__stack_chk_fail' || fail "$f: stacks are not checked"
}

# checks_buffers FILE: by functions of the C library that know how long a buffer is
checks_buffers()
{
	readelf -sW "$1" | grep -q '__\(v\|\)snprintf_chk' || fail "$1: buffers are not checked"
}

for dir in "$build" "$top/build-clang" "$top/build-least"; do
	for f in vhostmd guest/vm-dump-metrics guest/libmetrics.so.0.0.0; do
		hard "$dir/$f"
		[ "$dir" = "$build" ] || checks_buffers "$dir/$f"
	done
done
readelf -lW "$top/build-clang/guest/vm-dump-metrics" | grep -q INTERP &&
	fail "the guest's tool needs a loader"
"$top/build-clang/guest/vm-dump-metrics" -h >/dev/null || fail "the guest's tool does not start"
