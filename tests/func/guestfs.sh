#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vhostmd-guestfs: what the host tells is mounted as the host itself has it, also for users
# without rights; what the host says wrong changes nothing of what is there.
. "$(dirname "$0")/../lib.sh"
need_fuse
inside=$tmp/inside
export build
mkdir "$inside"
unset VHOSTMD_SOURCE
pid=''

# show DIRECTORY OPTION...: mounts there, in the foreground; its words are in $tmp/words
show()
{
	LD_LIBRARY_PATH=$build/guest "$build/guest/vhostmd-guestfs" -f -p 0.1 "${@:2}" "$1" >"$tmp/words" 2>&1 &
	pid=$!
	wait_for 20 test -e "$1/status" || fail "not mounted: $(cat "$tmp/words")"
}
# Ends it, as it should end.
ended()
{
	local r=0
	wait "$pid" || r=$?
	assert_eq "how it ended" "$r $(grep -E 'Sanitizer|runtime error' "$tmp/words")" "0 "
	mountpoint -q "$inside" && fail "it is mounted yet"
	pid=''
}
over() { [ "$pid" = "" ] || { kill "$pid"; wait "$pid"; } 2>/dev/null; umount -l "$inside" 2>/dev/null; }
at_exit over
file() { cat "$inside/metrics/$1"; }
reads() { [ "$(file "$1" 2>/dev/null)" = "$2" ]; }

# ---- the host's own tree, seen through its disk ----

sed "s|^  *<disk>|&<path>$tmp/shared</path>|" "$top/conf/vhostmd.conf" >"$tmp/conf"
CONF=$tmp/conf start_daemon
show "$inside" -s "$mnt/disk/vhostmd0.img"
find "$mnt/metrics/host" -type f ! -name 'vhostmd.*' -printf '%f\n' | sort >"$tmp/there"
ls "$inside/metrics/host" | sort >"$tmp/here"
comm -13 "$tmp/there" "$tmp/here" | grep . && fail "files that the host has not"
[ "$(wc -l <"$tmp/here")" -ge 10 ] || fail "files: $(cat "$tmp/here")"
for name in HostName VirtualizationVendor TotalPhyCPUs TotalPhyMem; do
	assert_eq $name "$(file host/$name)" "$(cat "$mnt/metrics/host/$name")"
	for attribute in user.vhostmd.unit user.vhostmd.type; do
		assert_eq "$name's $attribute" \
			"$(getfattr -n $attribute --only-values "$inside/metrics/host/$name" 2>&1 | sed 's/^.*: //')" \
			"$(getfattr -n $attribute --only-values "$mnt/metrics/host/$name" 2>&1 | sed 's/^.*: //')"
	done
done
# what moves there moves here, for who has the file open, too
exec {kept}<"$inside/metrics/host/TotalCPUTime"
read -r first <&"$kept"
moved() { [ "$(file host/TotalCPUTime)" != "$first" ]; }
wait_for 20 moved || fail "the host's CPU time stands still"
exec {kept}<&-
grep -q "^vhostmd_host_cpu_time_seconds_total [0-9]" "$inside/metrics.prom" || fail "metrics.prom: $(head "$inside/metrics.prom")"
grep -q '^vhostmd_\(up\|build_info\)' "$inside/metrics.prom" && fail "a guest speaks for vhostmd"
grep -q "<name>HostName</name>" "$inside/metrics.xml" || fail "metrics.xml"
touch "$inside/metrics/host/HostName" 2>/dev/null && fail "it can be written"
# somebody unmounts it
umount "$inside" || fail "it cannot be unmounted"
ended
stop_daemon || exit 1

# ---- any bytes ----

metric() { printf "<metric type='%s' context='%s'%s><name>%s</name><value>%s</value></metric>\n" "$@"; }
uuid=6be3fdb8-bef5-6fec-b1b7-e61bbceab708
vm=" id='2' uuid='$uuid'"
own() { printf '<metrics>%s</metrics>' "$(metric string vm "$vm" domain.name 'web/01') $(metric uint64 vm "$vm" figure "$1")${2:-}"; }
image "$tmp/disk.img" "$(own 7)"
show "$inside" -s "$tmp/disk.img" -u $uuid
dir=$(find "$inside/metrics/vm" -mindepth 1 -maxdepth 1 ! -name 'by-*' -printf '%f\n')
assert_eq "the VM's folder" "$dir" web%2F01
assert_eq "a figure" "$(file "vm/$dir/figure")" 7
since=$(stat -c %y "$inside/metrics/vm/$dir/figure")
# another figure comes; what stays is as old as it was
image "$tmp/disk.img" "$(own 7 "$(metric string vm "$vm" other new)")"
wait_for 10 reads "vm/$dir/other" new || fail "no new file: $(ls "$inside/metrics/vm/$dir")"
image "$tmp/disk.img" "$(own 8 "$(metric string vm "$vm" other new)")"
wait_for 10 reads "vm/$dir/figure" 8 || fail "no new value"
[ "$(stat -c %y "$inside/metrics/vm/$dir/figure")" != "$since" ] || fail "the new value is as old as the other"
# what is wrong is said, and changes nothing
image "$tmp/disk.img" "<metrics><metric>"
says() { grep -q "$1" "$inside/status"; }
wait_for 10 says '^problem: [^n]' || fail "nothing said: $(cat "$inside/status")"
assert_eq "a figure" "$(file "vm/$dir/figure")" 8
# names for which there are no files, and one twice
image "$tmp/disk.img" "$(own 9 "$(
	for name in ../up a/b . .. 'tab	tab' "$(printf 'n%.0s' {1..400})" figure; do
		metric uint64 vm "$vm" "$name" 1
	done)")"
wait_for 10 reads "vm/$dir/figure" 9 || fail "not mended: $(cat "$inside/status")"
wait_for 10 says '^problem: none' || fail "the problem stays: $(cat "$inside/status")"
find "$inside" -type f -exec cat {} + >"$tmp/all" 2>"$tmp/said"
[ ! -s "$tmp/said" ] || fail "files that cannot be read: $(cat "$tmp/said")"
assert_eq "files called figure" "$(find "$inside/metrics/vm/$dir" -name figure -printf x)" x
[ ! -e "$inside/metrics/vm/up" ] || fail "a name leads out of its folder"
# asked to end
kill -TERM "$pid"
ended

# ---- without rights ----

[ -u "$(command -v fusermount3)" ] || fail "fusermount3 has no rights of its own"
mkdir "$tmp/nobody"
chown nobody "$tmp/nobody"
# a device for everybody, as distributions have it
mknod -m 666 "$tmp/fuse" c 10 229
dir=$dir uuid=$uuid unshare -m --propagation private bash -eu >"$tmp/words" 2>&1 <<-'EOF2' || fail "nobody: $(cat "$tmp/words")"
	mount --bind "$tmp/fuse" /dev/fuse
	as_nobody() { setpriv --reuid nobody --regid nogroup --clear-groups "$@"; }
	as_nobody env LD_LIBRARY_PATH="$build/guest" "$build/guest/vhostmd-guestfs" \
		-s "$tmp/disk.img" -u "$uuid" "$tmp/nobody"
	[ "$(as_nobody cat "$tmp/nobody/metrics/vm/$dir/figure")" = 9 ]
	as_nobody fusermount3 -u "$tmp/nobody"
EOF2

# ---- mistakes ----

refused()
{
	local r=0
	LD_LIBRARY_PATH=$build/guest timeout 20 "$build/guest/vhostmd-guestfs" "${@:2}" >"$tmp/words" 2>&1 || r=$?
	assert_eq "${*:2}" "$r" "$1"
	[ -s "$tmp/words" ] || fail "${*:2}: nothing said"
}
refused 2
refused 2 a b
refused 2 -p 0 "$inside"
refused 2 --nonsense "$inside"
refused 0 --help
refused 1 -s /nonexistent/disk "$inside"
refused 1 -s "$tmp/disk.img" -u $uuid /nonexistent/directory
refused 1 -s "$tmp/disk.img" -u nonsense "$inside"
