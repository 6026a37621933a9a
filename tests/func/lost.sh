#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Somebody else takes the file system away: the daemon says so, cleans up and ends with 1.
. "$(dirname "$0")/../lib.sh"
need_fuse
connections=/sys/fs/fuse/connections
if ! mountpoint -q $connections; then
	undo_later umount $connections
	mount -t fusectl none $connections 2>/dev/null || connections=''
fi

cat >"$tmp/conf" <<EOF
<vhostmd><globals><disk><path>$tmp/vhostmd0</path></disk></globals><metrics>
<metric context="host"><name>Name</name><source>host.name</source></metric>
</metrics></vhostmd>
EOF
export CONF=$tmp/conf

# ends WHAT WORDS: it does, by itself, with 1, in good order
ends()
{
	local r=0
	wait_for 20 process_gone "$keeper" || fail "$1: it lives on"
	wait "$keeper" || r=$?
	keeper=''
	assert_eq "status after $1" $r 1
	logged "$2" || fail "$1: not a word"
	grep -qE 'Sanitizer|runtime error' "$tmp/log" && fail "$1: a sanitizer spoke"
	grep -q " $mnt " /proc/mounts && fail "$1: still mounted"
	[ -e "$tmp/pid" ] && fail "$1: the pid file stays"
	[ -L "$tmp/vhostmd0" ] && fail "$1: the link stays"
	[ -d "$mnt" ] && fail "$1: the directory stays"
	rm "$tmp/log"
}

start_daemon -c test:///default
umount "$mnt" || fail "umount"
ends umount "$mnt was unmounted"

start_daemon -c test:///default
exec 9<"$mnt/metrics/host/Name"
umount -l "$mnt" || fail "umount -l"
ends "umount -l with an open file" "$mnt was unmounted"
exec 9<&-

if [ -n "$connections" ]; then
	start_daemon -c test:///default
	id=$(mountpoint -d "$mnt") && echo 1 >"$connections/${id#*:}/abort" || fail "abort"
	ends abort "its connection aborted"
fi

# what was mounted there instead stays
mkdir "$mnt"
start_daemon -c test:///default
umount "$mnt" && mount -t tmpfs none "$mnt" || fail "another file system"
r=0
wait "$keeper" || r=$?
keeper=''
assert_eq "status when replaced" $r 1
assert_eq "what replaced us" "$(stat -f -c %T "$mnt")" tmpfs
umount "$mnt" && rmdir "$mnt"

# another vhostmd that has taken the place meanwhile keeps its mount and its link
start_daemon -c test:///default
first=$keeper worker=$(worker_pid)
process_hang "$worker"
at_exit "kill -CONT $worker 2>/dev/null"
umount -l "$mnt" || fail "umount -l"
wait_for 10 logged "$mnt was unmounted" || fail "not a word"
start_daemon -c test:///default --pid-file "$tmp/pid2"
kill -CONT "$worker"
r=0
wait "$first" || r=$?
assert_eq "status of the first" $r 1
assert_eq "link of the second" "$(readlink "$tmp/vhostmd0")" "$mnt/disk/vhostmd0.img"
assert_eq "mount of the second" "$(cat "$mnt/metrics/host/Name")" "$(uname -n)"
stop_daemon || exit 1
[ -L "$tmp/vhostmd0" ] && fail "the link stays"
rm -f "$tmp/log"

# other mounts that come and go are nobody's end
start_daemon -c test:///default
mkdir "$tmp/other"
for _ in 1 2 3; do
	mount -t tmpfs none "$tmp/other" && umount "$tmp/other" || fail "mounting something else"
done
assert_eq "after other mounts" "$(cat "$mnt/metrics/host/Name")" "$(uname -n)"
stop_daemon
