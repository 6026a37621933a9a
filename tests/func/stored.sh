#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The keeper is killed as well, and systemd has its descriptors: no reader meets an error.  What
# cannot go on lets them go, so that nobody waits for ever.
. "$(dirname "$0")/../lib.sh"
need_fuse
[ -e "$build/vhostmd.service" ] || skip "needs a vhostmd built with libsystemd"

bash "$top/tests/func/survive.sh" --conf 0.3 "$tmp/link" >"$tmp/conf"
# a stand-in for systemd; its service is the daemon
start_service()
{
	rm -f "$tmp/notify"
	ASAN_OPTIONS=exitcode=99 python3 "$top/tests/func/fdstore.py" "$tmp/notify" "$mnt" \
		"$build/vhostmd" --no-daemonize --verbose --config "$tmp/conf" -c "${uri:-test:///default}" \
		--pid-file "$tmp/pid" --mount "$mnt" >>"$tmp/log" 2>&1 &
	keeper=$!
	wait_for 60 has_value "$mnt/metrics/host/Generation" || fail "no sample"
}
at_exit "umount -l $mnt 2>/dev/null"
export FDSTORE_ANY=1 FDSTORE_SAYS=$tmp/stored
start_service
device=$(stat -c %d "$mnt")
timeout -k 5 90 python3 "$top/tests/func/survive.py" --keeper "$mnt" "$tmp/pid" 14 3 >"$tmp/readers" ||
	fail "$(cat "$tmp/readers")"
cat "$tmp/readers"
assert_eq "file system" "$(stat -c %d "$mnt")" "$device"
# one that has begun, after the last death, leaves nothing
has_keeper()
{
	local pid=''
	read -r pid <"$tmp/pid"
	! process_gone "$pid" && [ "$(awk '/^PPid/ {print $2}' "/proc/$(worker_pid)/status")" = "$pid" ]
} 2>/dev/null
wait_for 20 has_keeper || fail "no keeper"
stop_daemon || exit 1
[ -L "$tmp/link" ] && fail "the link stays"
grep -q " $mnt " /proc/mounts || fail "it was unmounted by who is not to do that"
umount --force --lazy "$mnt" || fail umount

# an older vhostmd's file that was removed, and that somebody has open, is written on
printf mvbd >"$tmp/link"
truncate -s 64K "$tmp/link"
start_service
exec 6<"$tmp/link"
rm "$tmp/link"
wait_for 10 test -L "$tmp/link" || fail "no link in place of the file"
news() { [ "$(md5sum </dev/fd/6)" != "$content" ]; }
for i in 1 2; do
	before=$(cat "$tmp/pid")
	kill -KILL "$before"
	there_again() { [ "$(cat "$tmp/pid")" != "$before" ] && grep -q '^disk.old_file: removed' "$mnt/status"; }
	wait_for 20 there_again || fail "death $i: $(cat "$mnt/status")"
	content=$(md5sum </dev/fd/6)
	wait_for 10 news || fail "death $i: the removed file does not live on"
done
exec 6<&-
no_file() { ! grep -q old-file "$tmp/stored"; }
grep -q old-file "$tmp/stored" || fail "it is not stored"
wait_for 10 no_file || fail "stored still: $(cat "$tmp/stored")"
stop_daemon || exit 1
umount --force --lazy "$mnt" || fail umount

# nor does who asks on a channel
mv "$tmp/conf" "$tmp/conf.away"
bash "$top/tests/func/channels.sh" --conf "$tmp"
python3 "$top/tests/func/channels.py" "$tmp/org.github.vhostmd.1" >"$tmp/asked" &
asker=$!
wait_for 30 grep -q ready "$tmp/asked" || fail "nobody listens"
uri=test://$tmp/vms.xml start_service
has_channel() { grep -q '^channels.connected: 1$' "$mnt/status"; }
wait_for 10 has_channel || fail "no channel"
another() { [ "$(cat "$tmp/pid")" != "$before" ] && has_channel; }
for i in {1..4}; do
	before=$(cat "$tmp/pid")
	kill -KILL "$before"
	wait_for 20 another || fail "no other keeper serves the channel"
	kill -0 $asker 2>/dev/null || fail "death $i: $(cat "$tmp/asked")"
done
kill -TERM $asker
wait $asker || fail "$(cat "$tmp/asked")"
cat "$tmp/asked"
# once it has ended nobody keeps what was its connection
nobody() { ! grep -q channel "$tmp/stored"; }
wait_for 10 nobody || fail "stored still: $(cat "$tmp/stored")"
stop_daemon || exit 1
umount --force --lazy "$mnt" || fail umount
mv "$tmp/conf.away" "$tmp/conf"

# systemd ends all of a service whose first process has died: a command that it ended has not failed
sed "s|</metrics>|<metric type='string' context='host'><name>Slow</name><action>echo slow; exec sleep 0.7654</action></metric>&|" \
	"$tmp/conf" >"$tmp/conf.slow"
mv "$tmp/conf.slow" "$tmp/conf"
start_service
wait_for 20 has_value "$mnt/metrics/host/Slow" || fail "no value of a slow command"
slow_runs() { pgrep -fx 'sleep 0.7654' >"$tmp/slow"; }
for i in {1..8}; do
	before=$(cat "$tmp/pid")
	wait_for 10 slow_runs || fail "no slow command"
	kill -KILL "$before"
	until process_gone "$before"; do :; done # nor is systemd slow
	xargs kill -TERM <"$tmp/slow" 2>/dev/null
	another_keeper() { has_value "$mnt/metrics/host/Slow" || return 0; [ "$(cat "$tmp/pid")" != "$before" ] && has_keeper; }
	wait_for 20 another_keeper || fail "death $i: no other keeper"
	has_value "$mnt/metrics/host/Slow" || fail "death $i: what was ended counts as failed"
done
stop_daemon || exit 1
umount --force --lazy "$mnt" || fail umount

# no worker gets to serve: the keeper gives up, and has its descriptors let go, so that who waits gets
# an error; the next one begins anew
unset FDSTORE_ANY
start_service
device=$(stat -c %d "$mnt") first=$(cat "$tmp/pid")
exec 9<"$mnt/metrics/host/HostName" 8<"$mnt/status"
# (while it ends it may have other children: a sanitizer's.)  Workers begin within milliseconds, so
# nothing is started to look for them.
mkfifo "$tmp/never"
(while [ -e "/proc/$first" ]; do
	worker=''
	read -r worker <"/proc/$first/task/$first/children"
	[ -z "$worker" ] || logged "no worker gets to serve" || kill -KILL $worker
	read -r -t 0.001 <>"$tmp/never"
done) 2>/dev/null &
killer=$!
at_exit "kill $killer 2>/dev/null"
begin=$SECONDS
timeout 20 cat <&8 >/dev/null 2>&1
[ $((SECONDS - begin)) -le 18 ] || fail "a reader waited for $((SECONDS - begin)) s"
wait_for 20 logged "no worker gets to serve" || fail "the keeper does not give up"
anew() { [ "$(timeout 1 stat -c %d "$mnt")" != "$device" ] && has_value "$mnt/metrics/host/Generation"; }
wait_for 20 anew || fail "it does not begin anew"
exec 8<&- 9<&-
stop_daemon || exit 1
umount --force --lazy "$mnt" || fail umount
exit 0
