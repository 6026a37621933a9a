#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Ten guests whose QEMUs sleep and that read their disk now and then, beside others: no reading may
# be overlooked: sample-unseen.sh [--guests N] [--long].
bench=sample
. "$(dirname "$0")/lib/guests.sh"
guests=$(option --guests 20 "$@")
seconds=60
[[ " $* " != *" --long "* ]] || seconds=600
need_reading_guests
start_guests 1 "$guests" 1 ""

seldom=()
for _ in 1 2 3 4 5 6 7 8 9 10; do seldom+=("$(new_uuid)"); done
python3 "$top/tests/bench/sample.py" unseen "$tmp" "$mnt" 2.5 $seconds "${seldom[@]}" >"$tmp/unseen" &
unseen=$!
at_exit "kill $unseen 2>/dev/null"
listened_to "${seldom[-1]}"
for uuid in "${seldom[@]}"; do begin_reading "seldom-$uuid" "$uuid"; done
halting_up
daemon 0.5 1.5 $((guests + ${#seldom[@]}))
before=$(line slow.asleep)
wait $unseen || fail "readings: $(cat "$tmp/unseen")"
read -r readings late worst <"$tmp/unseen"
# most of those that do not read each second, each 1.5 s
[ "$(line slow.asleep)" -gt $((before + (guests / 3 + 2) * seconds)) ] || fail "nobody slept"
result seldom_readings "$readings" readings
result seldom_seen_s_worst "$worst" s
result unseen_changes "$late" readings
stop_daemon
