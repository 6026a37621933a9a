#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The link to the shared disk: only our own is ever taken for ours, and none stays behind.
. "$(dirname "$0")/../lib.sh"
need_fuse
pub=$tmp/pub
mkdir -m 1777 "$pub"
disk=$mnt/disk/vhostmd0.img

# uses PATH: the configuration names it
uses()
{
	cat >"$tmp/conf.new" <<-EOF
		<vhostmd><globals><disk><path>$1</path><size unit="k">64</size></disk>
		<update_period>0.2</update_period></globals><metrics>
		<metric context="host"><name>Name</name><source>host.name</source></metric>
		</metrics></vhostmd>
	EOF
	chmod 644 "$tmp/conf.new"
	mv "$tmp/conf.new" "$tmp/conf"
}
# reloaded TO FROM: the link has moved
reloaded()
{
	uses "$1"
	kill -HUP "$keeper"
	wait_for 10 test -L "$1" || fail "no link at $1 after a reload"
	[ -L "$2" ] && fail "the link at $2 stays after a reload"
	assert_eq "$1" "$(readlink "$1")" "$disk"
}
export CONF=$tmp/conf

# a link that a reload made goes, too, whoever the worker is and however it ended
for user in '' daemon; do
	for end in stop kill; do
		uses "$pub/a"
		start_daemon -c test:///default ${user:+--user $user}
		assert_eq "link at the start" "$(readlink "$pub/a")" "$disk"
		reloaded "$pub/b" "$pub/a"
		reloaded "$pub/a" "$pub/b"
		reloaded "$pub/c" "$pub/a"
		if [ $end = stop ]; then
			stop_daemon || exit 1
		else
			kill -KILL "$(worker_pid)"
			wait "$keeper"
			keeper=''
		fi
		assert_eq "links after the end ($end, '$user')" "$(ls "$pub")" ""
	done
done

# a start that is refused touches nothing of the daemon that runs
uses "$pub/a"
start_daemon -c test:///default
"$build/vhostmd" -d -c test:///default -f "$tmp/conf" -p "$tmp/pid" -m "$mnt" 2>/dev/null &&
	fail "a second one starts"
"$build/vhostmd" -d -c test:///default -f "$tmp/conf" -p "$tmp/pid2" -m "$mnt" 2>/dev/null &&
	fail "a second one starts"
assert_eq "link of the first" "$(readlink "$pub/a")" "$disk"
stop_daemon || exit 1

# what somebody else put there, with the very text of ours, is his
nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
nobody ln -s "$disk" "$pub/a"
start_daemon -c test:///default
logged "$pub/a exists and is not this daemon's" || fail "no word on the foreign link"
nobody ln -s "$disk" "$pub/b"
uses "$pub/b"
kill -HUP "$keeper"
wait_for 10 logged "$pub/b cannot be linked" || fail "no word on the foreign link after a reload"
stop_daemon || exit 1
assert_eq "foreign links" "$(ls "$pub" | tr '\n' ' ')" "a b "
# the text of ours from a daemon that died is ours
rm "$pub"/*
ln -s "$disk" "$pub/b"
start_daemon -c test:///default
stop_daemon || exit 1
assert_eq "link of a dead daemon" "$(ls "$pub")" ""
