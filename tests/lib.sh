# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What the shell tests share.  A test sources this, does its checks, and ends with 0; 77
# means skipped, with the reason in the last line.  Everything a test makes is in $tmp, which
# goes at the end, as do mounts below it and the processes that the test left (scripts/guard.sh).
set -u
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"
# shellcheck source=scripts/guest-lib.sh
. "$top/scripts/guest-lib.sh"
guarded "$@"

build=${BUILD:-$top/build-dev}
tmp=$scratch/test
mkdir -m 755 "$tmp"
mnt=$tmp/mnt
export mnt tmp
keeper=''
on_exit=()

fail() { echo "FAIL: $*"; [ -e "$tmp/log" ] && sed 's/^/    log: /' "$tmp/log"; exit 1; }
skip() { echo "$*"; exit 77; }

# Adds a command to be run at the end, unless the test is interrupted; before those added earlier.
at_exit() { on_exit=("$*" "${on_exit[@]}"); }

finish()
{
	local r=$? command
	for command in "${on_exit[@]}"; do eval "$command"; done
	stop_daemon || r=1
	exit $r
}
trap finish EXIT

# An own network of nothing but the needs: root, FUSE.
need_fuse()
{
	[ "$(id -u)" = 0 ] || skip "needs root"
	[ -c /dev/fuse ] || skip "needs /dev/fuse"
}

# Starts the daemon in the foreground: start_daemon [OPTION...]; its log is $tmp/log.
start_daemon()
{
	local config=${CONF:-$top/conf/vhostmd.conf}
	ASAN_OPTIONS=exitcode=99:${ASAN_OPTIONS:-} "$build/vhostmd" --no-daemonize --verbose --config "$config" \
		--pid-file "$tmp/pid" --mount "$mnt" "$@" >>"$tmp/log" 2>&1 &
	keeper=$!
	wait_for 20 test -e "$mnt/status" || fail "the daemon does not start"
}

# Ends it; fails if it did not end well or a sanitizer spoke.
stop_daemon()
{
	[ -n "$keeper" ] || return 0
	local r=0 pid=$keeper
	keeper=''
	kill -TERM "$pid" 2>/dev/null
	wait "$pid" || r=$?
	if [ $r -ne 0 ] || grep -qE 'Sanitizer|runtime error' "$tmp/log"; then
		echo "FAIL: the daemon ended with status $r"
		sed 's/^/    log: /' "$tmp/log"
		return 1
	fi
}

# True if each of these metric files holds a value (one that is unavailable has a size too).
has_value()
{
	local f line
	for f; do { IFS= read -r line <"$f" && [ -n "$line" ]; } 2>/dev/null || return 1; done
}

# Starts a systemd as the first process of a container, without a network, for the unit that is there
# and ends with a power-off: container ROOT SECONDS UNIT.  What it leaves in ROOT/result is the test's.
# One at a time: in a container it has the same control groups as any other there.
container()
{
	local lock
	exec {lock}<"$top/tests/lib.sh" && flock "$lock"
	timeout -k 5 "$2" systemd-nspawn -q -b -D "$1" --register=no --keep-unit --private-network \
		--bind=/dev/fuse --machine="vhostmd-test-$$" --console=pipe systemd.unit="$3" \
		</dev/null >"$tmp/console" 2>&1
	exec {lock}<&-
	[ -s "$1/result" ] || skip "systemd does not start in a container here: $(tail -n 1 "$tmp/console")"
}

worker_pid() { sed -n 's/^pid: //p' "$mnt/status"; }
generation() { sed -n 's/^generation: //p' "$mnt/status"; }
logged() { grep -q -- "$1" "$tmp/log"; }

# assert_eq WHAT IS SHOULD
assert_eq() { [ "$2" = "$3" ] || fail "$1: is '$2', should be '$3'"; }

# The content of a metrics disk or image, without header and padding.
disk_content()
{
	python3 - "$1" <<-'EOF'
		import struct, sys
		data = open(sys.argv[1], "rb").read()
		sig, busy, total, length = struct.unpack(">4sIII", data[:16])
		assert sig == b"mvbd" and busy == 0, (sig, busy)
		content = data[16:16 + length]
		assert sum(content) % 2**32 == total, "checksum"
		assert not any(data[16 + length:]), "zeros behind the content"
		assert len(data) % 65536 == 0, "whole blocks"
		sys.stdout.write(content.decode("ascii"))
	EOF
}

# Writes a metrics disk, whole or not at all: image FILE DOCUMENT [BUSY]
image()
{
	python3 - "$@" <<-'EOF'
		import os, struct, sys
		path, content, busy = sys.argv[1], sys.argv[2].encode(), int((sys.argv + ["0"])[3])
		header = struct.pack(">4sIII", b"mvbd", busy, sum(content) % 2**32, len(content))
		with open(path + ".new", "wb") as f:
		    f.write((header + content).ljust(65536, b"\0"))
		os.rename(path + ".new", path)
	EOF
}

# Without what need not be there, in build-least.
build_least() { build "$top/build-least" -D{libvirt,http,top,bpf,tests}=disabled -Dwerror=true; }

# Prints a configuration of every source that there is: every_source PERIOD SLOW_PERIOD
every_source()
{
	cat <<-EOF
		<vhostmd><globals><disk><name>x</name><size unit='k'>1024</size></disk>
		<update_period>$1</update_period><slow_period>$2</slow_period>
		<transport>vbd</transport></globals><metrics>
	EOF
	"$build/vhostmd" --list-sources | awk '$2 == "host" || $2 == "vm" {
		which = $1 == "domain.metadata" ? " namespace=\"urn:vhostmd-test\" element=\"about/owner\"" : ""
		print "<metric context=\"" $2 "\"><name>" $1 "</name><source" which ">" $1 "</source></metric>"}'
	echo "</metrics></vhostmd>"
}

# Reads the whole tree as administrators do: copied_quietly NAME; what they say is in $tmp/said.
# A value that changes while a program reads it is no fault: then it may be done again.
copied_quietly()
{
	rm -rf "$tmp/copied"
	mkdir "$tmp/copied"
	: >"$tmp/said"
	case $1 in
	grep) grep -r . "$mnt/metrics" >"$tmp/copied/grep" 2>"$tmp/said" ;;
	tar) tar -C "$mnt" -cf "$tmp/copied/tar" metrics 2>"$tmp/said" ;;
	rsync) rsync -a "$mnt/metrics" "$tmp/copied/" >"$tmp/said" 2>&1 ;;
	cp) cp -a "$mnt/metrics" "$tmp/copied/" 2>"$tmp/said" ;;
	esac && [ ! -s "$tmp/said" ]
}

tree_is_quiet()
{
	local program
	wait_for 15 copied_quietly grep || fail "grep -r: $(cat "$tmp/said")"
	for program in grep tar rsync cp; do
		copied_quietly $program || copied_quietly $program || copied_quietly $program ||
			fail "$program: $(cat "$tmp/said")"
	done
}
