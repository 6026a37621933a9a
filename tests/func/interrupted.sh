#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# scripts/run, scripts/test, scripts/bench and the installation of packages, interrupted: the
# machine is as it was.  Here at a few moments;
#   BUILD=... bash tests/func/interrupted.sh N SCRIPT [ARGUMENT...]
# interrupts a script at N moments of its whole run, by one signal after another.
. "$(dirname "$0")/../lib.sh"
need_fuse
mark=$$-$RANDOM
mkdir "$tmp/bin"

# What must be as it was.
facts()
{
	stat -c '%n %A %u:%g %Y' /usr/sbin/policy-rc.d
	stat -c '%n %A %u:%g' /dev/kvm /run/{libvirtd,virtlogd}.pid
	grep -E " ($scratch|/run/vhostmd|/sys/fs/fuse)" /proc/self/mounts
	ls -d /run/vhostmd "$record"/*/ "$scratch"/[0-9]* /tmp/vhostmd-"$script_pid"-* 2>/dev/null
	processes
	ls /run/libvirt/qemu/"$guest_prefix"* /var/log/libvirt/qemu/"$guest_prefix"*
	ls -d /sys/fs/cgroup/{,*/}machine/qemu-*-"$guest_prefix"*
	ls -d /var/lib/libvirt/qemu/*"$guest_prefix"* /dev/shm/vhostmd* /run/netns/*
	stat -c '%n %y' ~/.cache/libvirt/virsh/history
	grep -H . /run/libvirt/qemu/"$guest_prefix"*.pid
} 2>/dev/null

# Of the script that is interrupted.
processes() { grep -lszxF "INTERRUPTED=$mark" /proc/[0-9]*/environ; }

# start COMMAND...: as from a terminal, in a session of its own
start()
{
	rm -f "$tmp/out"
	INTERRUPTED=$mark setsid env --default-signal "$@" >"$tmp/out" 2>&1 &
	script_pid=$!
}
script_pid=none

# interrupt SIGNAL STATUS WHEN: the script or, with a minus, all that a terminal would reach
interrupt()
{
	local r=0
	kill -s "${1#-}" -- "${1%%[A-Z]*}$script_pid" || fail "$3, $1: it has ended: $(cat "$tmp/out")"
	wait_for 60 process_gone $script_pid || fail "$3, $1: it does not end: $(cat "$tmp/out")"
	wait $script_pid || r=$?
	# a shell that no trap protects yet made nothing
	[ $r = "$2" ] || [ $r = $((128 + $(kill -l "${1#-}"))) ] ||
		fail "$3, $1: status $r: $(cat "$tmp/out")"
	# whose front was killed is cleaned up after by his guard
	[ "$1" != KILL ] || wait_for 60 is_before
	as_before "$3, $1"
}
is_before()
{
	facts >"$tmp/after"
	diff "$tmp/before" "$tmp/after"
}
as_before() { is_before || fail "$1: $(cat "$tmp/out")"; }
facts >"$tmp/before"

if [ $# -gt 0 ]; then
	moments=$1
	shift
	start=$(date +%s%N)
	start "$@"
	wait_for 1200 process_gone $script_pid || fail "it does not end"
	whole=$(($(date +%s%N) - start))
	as_before "the end"
	signals=(INT TERM HUP -INT -TERM -HUP KILL)
	for i in $(seq 0 $((moments - 1))); do
		signal=${signals[i % ${#signals[@]}]}
		start "$@"
		sleep "$(awk -v w=$whole -v i="$i" -v m="$moments" 'BEGIN {print w * i / m / 1e9}')"
		if process_gone $script_pid; then
			wait $script_pid || fail "moment $i: status $?: $(cat "$tmp/out")"
			as_before "moment $i"
			echo "moment $i of $moments: it had ended"
			continue
		fi
		interrupt "$signal" $((128 + $(kill -l "${signal#-}"))) "moment $i"
		echo "moment $i of $moments: $signal"
	done
	exit 0
fi

# at MOMENT SIGNAL COMMAND...: interrupted when that command succeeds
at()
{
	start "${@:3}"
	# shellcheck disable=SC2086 # a command
	wait_for 120 $1 || fail "not '$1': $(cat "$tmp/out")"
	interrupt "$2" $((128 + $(kill -l "${2#-}"))) "at '$1'"
}
says() { grep -q "$*" "$tmp/out"; }
mounted() { grep -q " $scratch/[0-9].*fuse.vhostmd" /proc/self/mounts; }
runs() # WORD: a process has it among its arguments
{
	local process
	for process in $(processes); do
		! grep -qszF -- "$1" "${process%/*}/cmdline" || return 0
	done
	return 1
}
has_guest() { pgrep -f "guest=$guest_prefix-$1,"; }

# who has forgotten whose it is ends, too, and leaves nothing: lintian writes its title over its environment
cat >"$tmp/forgetful" <<EOF2
	. "$top/scripts/lib.sh"
	guarded
	(env -i sh -c 'echo \$\$ >"\$2"; cd "\$1" && while [ \${n:=0} -lt 20000 ] && mkdir "made-\$((n += 1))"; do :; done' sh "\$TMPDIR" "$tmp/forgotten" &)
	until [ -e "\$TMPDIR/made-20" ]; do sleep 0.05; done
	exit 3
EOF2
start bash "$tmp/forgetful"
wait_for 20 process_gone $script_pid || fail "it does not end: $(cat "$tmp/out")"
wait $script_pid
assert_eq "status of who leaves a process behind" $? 3
process_gone "$(cat "$tmp/forgotten")" || fail "what it left runs on"
as_before "who leaves a process behind"

at 'says building' TERM scripts/run --no-guest
at 'says starting vhostmd' -INT scripts/run --no-guest
at 'says Ctrl-C ends' HUP scripts/run --no-guest
at 'says building' -HUP scripts/bench hostile-reader
at 'runs hostile.py' TERM env BUILD="$build" bash tests/bench/hostile-reader.sh
# a test of a daemon and one of units, in the middle
tests_are_built() { [ -e build-tsan/build.ninja ] && [ -e build-clang/build.ninja ]; }
if tests_are_built; then
	at mounted -TERM scripts/test func/locked
	at 'runs tests/test-armed' INT scripts/test unit/armed
fi
if [ -x /usr/bin/qemu-system-x86_64 ] && ! virsh_system list >/dev/null 2>&1; then
	guest_kernel
	at 'says starting libvirtd' -INT scripts/run
	at 'has_guest sample-bench-2' INT env BUILD="$build" bash tests/bench/sample.sh --guests 4
	# who else has a VM keeps it
	libvirt_start
	guest_start_halting "$guest_prefix-other" "$(cat /proc/sys/kernel/random/uuid)" "" || fail "no guest"
	facts >"$tmp/before"
	grep -q "$guest_prefix-other" "$tmp/before" || fail "no VM of somebody else"
	at 'says starting the guest' TERM scripts/run
	! tests_are_built || at 'has_guest readers-readers' -HUP scripts/test guest/readers

	# all of it killed at once: the next run takes away what is left, and comes to its end.  What it
	# says fits on a page, and is no noise.  (Not as a part of this test, whose end would see to it.)
	alone=(env -u VHOSTMD_RECORD -u TMPDIR scripts/run)
	start "${alone[@]}"
	killed=$script_pid
	# when it is up: one that is about to open its disk goes with the daemon
	wait_for 120 says 'Ctrl-C ends the guest' || fail "no guest: $(cat "$tmp/out")"
	# stopped first: none sees another's end; twice for who was just being started
	for signal in STOP STOP KILL KILL; do
		processes | sed 's|^/proc/||; s|/.*||' | xargs -r kill -$signal 2>/dev/null
	done
	wait $script_pid
	has_guest demo || fail "the guest went with them"
	start "${alone[@]}" --once
	wait_for 180 process_gone $script_pid || fail "it does not end: $(cat "$tmp/out")"
	wait $script_pid || fail "status $? after one that was killed: $(cat "$tmp/out")"
	as_before "a run to its end"
	ls -d /tmp/vhostmd-"$killed"-* 2>/dev/null && fail "left"
	[ "$(wc -l <"$tmp/out")" -le 60 ] || fail "more than a page: $(cat "$tmp/out")"
	! grep -qiE 'error|warning|polkit|no data|no such' "$tmp/out" || fail "noise: $(cat "$tmp/out")"
	says "the guest saw its host and itself on both transports" || fail "$(cat "$tmp/out")"
fi

# a package that is being installed is installed; its services do not start
mkdir -p "$tmp/deb/DEBIAN"
cat >"$tmp/deb/DEBIAN/control" <<-EOF2
	Package: vhostmd-test-slow
	Version: 1
	Architecture: all
	Maintainer: nobody
	Description: a package that takes its time
EOF2
cat >"$tmp/deb/DEBIAN/postinst" <<-EOF2
	#!/bin/sh
	for c in invoke-rc.d deb-systemd-invoke; do command -v \$c >>$tmp/would-start; done
	mv $tmp/would-start $tmp/installing
	while [ ! -e $tmp/go ] && [ -d $tmp ]; do sleep 0.1; done
EOF2
chmod 755 "$tmp/deb/DEBIAN/postinst"
dpkg-deb -b "$tmp/deb" "$tmp/slow.deb" >/dev/null || fail "no package"
# no network is needed
cat >"$tmp/bin/apt-get" <<-'EOF2'
	#!/bin/sh
	[ "$*" = "-q -q update" ] || exec /usr/bin/apt-get "$@"
EOF2
chmod 755 "$tmp/bin/apt-get"
cat >"$tmp/install" <<-EOF2
	. "$top/scripts/lib.sh"
	guarded
	install_packages "$tmp/slow.deb"
EOF2
undo_later dpkg --purge vhostmd-test-slow
PATH=$tmp/bin:$PATH start bash "$tmp/install"
wait_for 60 test -e "$tmp/installing" || fail "the package is not installed: $(cat "$tmp/out")"
stat -c '%n %A %u:%g %Y' /usr/sbin/policy-rc.d >"$tmp/policy" 2>/dev/null
grep -F 'policy-rc.d' "$tmp/before" | diff - "$tmp/policy" || fail "policy-rc.d was touched"
assert_eq "what would start services" "$(cat "$tmp/installing")" \
	"$top/scripts/no-services/invoke-rc.d
$top/scripts/no-services/deb-systemd-invoke"
kill -INT -$script_pid
wait_for 10 grep -q 'waiting for packages' "$tmp/out" || fail "not said: $(cat "$tmp/out")"
: >"$tmp/go"
interrupt INT 130 "while a package is installed"
assert_eq package "$(dpkg-query -W -f '${Status}' vhostmd-test-slow)" "install ok installed"
exit 0
