#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Two thousand readers of a VM that ends and starts anew, under one name, as another VM and
# as the same: nothing of the old one is seen, and nothing that exists is missed.
. "$(dirname "$0")/lib.sh"
need_halting_guests
readers=2000

cat >"$tmp/conf" <<-EOF2
	<vhostmd><globals><disk><name>x</name><size unit="k">256</size></disk>
	<update_period>0.1</update_period><transport>vbd</transport></globals><metrics>
	<metric context="vm"><name>uuid</name><source>domain.uuid</source></metric>
	<metric context="vm"><name>time</name><source>cpu.time</source></metric>
	</metrics></vhostmd>
EOF2
CONF=$tmp/conf start_daemon
name=$guest_prefix-readers
file=$mnt/metrics/vm/$name/uuid
mkfifo "$tmp/truth"
# a VM that comes has the processors before them
nice -n 5 "$build/tests/many-readers" "$mnt" "$name" $readers <"$tmp/truth" >"$tmp/answers" 2>&1 &
many=$!
exec 9>"$tmp/truth"
gone() { [ ! -e "$mnt/metrics/vm/$name" ]; }
runs() { [ "$(cat "$file" 2>/dev/null)" = "$uuid" ]; }

uuid=$(new_uuid)
for round in 1 2 3 4 5 6 7 8; do
	# every third time the same VM again
	[ $((round % 3)) = 0 ] || uuid=$(new_uuid)
	guest_start_halting "$name" "$uuid" "" || fail "round $round: no guest"
	wait_for 10 runs || fail "round $round: $(cat "$file")"
	echo "in $uuid" >&9
	sleep 2
	kill -0 $many 2>/dev/null || fail "the readers ended: $(cat "$tmp/answers")"
	echo unknown >&9
	guest_stop "$uuid" || fail "round $round: the guest does not end"
	[ $((round % 2)) = 0 ] || continue # at once the next one
	wait_for 10 gone || fail "round $round: it is still there"
	echo gone >&9
	sleep 1
	echo unknown >&9
done
exec 9>&-
wait $many || fail "$(cat "$tmp/answers")"
cat "$tmp/answers"
stop_daemon
