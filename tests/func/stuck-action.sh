#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Actions that sleep where no signal reaches them cost their own metrics, and nothing else.
. "$(dirname "$0")/../lib.sh"
need_fuse

mkdir "$tmp/stuck"
"$build/tests/stuck-fuse" "$tmp/stuck" &
server=$!
at_exit "kill -USR1 $server; kill $server; wait $server; umount -l $tmp/stuck 2>/dev/null"
wait_for 10 test -e "$tmp/stuck/stuck" || fail "no file that is stuck"

# two that hang: the shell itself, and a child of a shell that can be killed
cat >"$tmp/conf" <<EOF
<vhostmd><globals><update_period>0.5</update_period>
<actions><timeout>1</timeout><max_parallel>1</max_parallel></actions></globals><metrics>
<metric type="int32" context="host"><name>Stuck</name><action>exec cat $tmp/stuck/stuck</action></metric>
<metric type="int32" context="host"><name>StuckChild</name><action>cat $tmp/stuck/stuck; true</action></metric>
<metric type="int32" context="vm"><name>StuckVm</name><action>exec cat $tmp/stuck/stuck</action></metric>
<metric type="string" context="host"><name>Time</name><action>date +%s.%N</action></metric>
<metric type="string" context="host"><name>Files</name><action>ulimit -Sn</action></metric>
</metrics></vhostmd>
EOF
readers() { pgrep -fcx "cat $tmp/stuck/stuck"; }
has_readers() { [ "$(readers)" = "$1" ]; }
time_moves()
{
	local from
	from=$(cat "$mnt/metrics/host/Time" 2>/dev/null)
	moved() { has_value "$mnt/metrics/host/Time" && [ "$(cat "$mnt/metrics/host/Time")" != "$from" ]; }
	for _ in 1 2 3; do
		wait_for 10 moved || fail "another action stands still"
		from=$(cat "$mnt/metrics/host/Time")
	done
}

ulimit -Sn 512
CONF=$tmp/conf start_daemon -c test:///default
ulimit -Sn "$(ulimit -Hn)"
for metric in Stuck StuckChild "StuckVm of VM"; do
	wait_for 20 logged "metric $metric.* does not end although it was killed" ||
		fail "no word on $metric"
done
has_value "$mnt/metrics/host/Stuck" && fail "a value of an action that is stuck"
time_moves
assert_eq "processes of three stuck actions" "$(readers)" 3
wait_for 5 grep -qx 'actions.stuck: 3' "$mnt/status" || fail "status: $(grep actions "$mnt/status")"
assert_eq "open files that an action may have" "$(cat "$mnt/metrics/host/Files")" 512

# a reload does not start them again, nor say so again
sed -i 's|</metrics>|<metric type="int32" context="host"><name>New</name><action>echo 5</action></metric>&|' "$tmp/conf"
kill -HUP "$keeper"
wait_for 10 has_value "$mnt/metrics/host/New" || fail "no reload"
time_moves
assert_eq "processes after a reload" "$(readers)" 3
assert_eq "words on Stuck" "$(grep -c 'metric Stuck: process' "$tmp/log")" 1
assert_eq "words on it being unavailable" "$(grep -c 'metric Stuck is unavailable' "$tmp/log")" 2

# stopping does not wait for them
start=$SECONDS
stop_daemon || exit 1
[ $((SECONDS - start)) -le 4 ] || fail "stopping took $((SECONDS - start)) s"
assert_eq "processes that nobody can kill" "$(readers)" 3

# they come back when what they wait for does
CONF=$tmp/conf start_daemon -c test:///default
wait_for 20 has_readers 6 || fail "they do not run again after a start"
time_moves
kill -USR1 $server
wait_for 20 has_value "$mnt/metrics/host/Stuck" "$mnt/metrics/host/StuckChild" "$mnt/metrics/vm/test/StuckVm" ||
	fail "they do not recover"
wait_for 10 logged 'metric Stuck is available again' || fail "not said"
wait_for 10 has_readers 0 || fail "readers stay"
wait_for 5 grep -qx 'actions.stuck: 0' "$mnt/status" || fail "status: $(grep actions "$mnt/status")"
stop_daemon
