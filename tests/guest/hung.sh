#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Many VMs that hang at once: stopped, which can be seen, and held by a debugger, which
# cannot.  What libvirt alone knows of other VMs stays new, as far as libvirt lets it.
. "$(dirname "$0")/lib.sh"
need_halting_guests

sed "s|<update_period>.*|<update_period>0.5</update_period><slow_period>1</slow_period>|" \
	"$top/conf/vhostmd.conf" >"$tmp/conf"
CONF=$tmp/conf start_daemon
hang_count=8
pids=() uuids=()
for i in $(seq $((hang_count + 2))); do
	uuid=$(new_uuid)
	begin_halting "$guest_prefix-hung-$i" "$uuid" ""
	uuids+=("$uuid")
done
halting_up
for i in "${!uuids[@]}"; do pids+=("$(cat "/run/libvirt/qemu/$guest_prefix-hung-$((i + 1)).pid")"); done
hang=("${pids[@]:0:hang_count}") others=("${uuids[@]:hang_count}")
at_exit "kill -CONT ${pids[*]} 2>/dev/null"
# slow_age UUID MS: its slow figures are not older
slow_age() { awk -v k="vm.$1.slow_age_ms:" -v m="$2" '$1 == k {r = $2 >= 0 && $2 <= m} END {exit !r}' "$mnt/status"; }
all_new() { for u in "${uuids[@]}"; do slow_age "$u" 2500 || return 1; done; }
silent() { [ "$(grep -c 'slow_age_ms: .* silent' "$mnt/status")" = "$1" ]; }
line() { sed -n "s/^$1: \([0-9]*\).*/\1/p" "$mnt/status"; }
# others_new SECONDS: throughout
others_new()
{
	local end=$((SECONDS + $1)) u
	while [ $SECONDS -lt $end ]; do
		for u in "${others[@]}"; do
			slow_age "$u" 4500 || fail "$2: another VM's slow figures: $(grep slow_age "$mnt/status")"
		done
		sleep 0.2
	done
}
wait_for 20 all_new || fail "no slow figures: $(cat "$mnt/status")"

process_hang "${hang[@]}"
others_new 10 "$hang_count stopped"
wait_for 5 silent $hang_count || fail "not all that are stopped are marked: $(cat "$mnt/status")"
[ "$(line slow.abandoned)" -le 4 ] || fail "calls were made that nobody could answer: $(line slow.abandoned)"
logged 'slow figures of all VMs stand still' && fail "calls for VMs that could be seen to be stopped"
# what is asked for only now cannot be had of them; which is not to say that they have none
sed -i 's|</metrics>|<metric context="vm"><name>blocks</name><source>block.count</source></metric>&|' "$tmp/conf"
kill -HUP "$keeper"
hung=$mnt/metrics/vm/$guest_prefix-hung-1
wait_for 10 has_value "$mnt/metrics/vm/$guest_prefix-hung-$((hang_count + 1))/blocks" || fail "no new metric"
wait_for 5 test -e "$hung/blocks" || fail "what cannot be had now has no file"
cat "$hung/blocks" 2>"$tmp/err" && fail "a figure of a VM that hangs"
grep -q 'No data available' "$tmp/err" || fail "not ENODATA: $(cat "$tmp/err")"
grep -qw blocks "$hung/sample.unavailable" || fail "it is not named: $(cat "$hung/sample.unavailable")"
kill -CONT "${hang[@]}"
all_well() { silent 0 && all_new; }
wait_for 10 all_well || fail "no recovery: $(cat "$mnt/status")"
wait_for 10 has_value "$hung/blocks" || fail "what could not be had is not there"

# hold N: the first ones, by a debugger
hold()
{
	: >"$tmp/held"
	python3 "$top/tests/guest/hang.py" "${hang[@]:0:$1}" >"$tmp/held" 2>&1 &
	holder=$!
	at_exit "kill $holder 2>/dev/null"
	wait_for 10 grep -q held "$tmp/held" || fail "held: $(cat "$tmp/held")"
}
release()
{
	kill $holder
	wait $holder 2>/dev/null
	wait_for 30 all_well || fail "$1: no recovery: $(cat "$mnt/status")"
}
hold 2
wait_for 30 silent 2 || fail "those that do not answer are not found: $(cat "$mnt/status")"
others_new 5 "2 held"
release "2 held"

# more than there are calls: it is said, and passes
hold $hang_count
wait_for 60 logged 'slow figures of all VMs stand still' || fail "it is not said: $(cat "$mnt/status")"
[ "$(line slow.workers)" -le 4 ] || fail "$(line slow.workers) workers"
fresh() { ! awk '/^vm.*\.age_ms:/ && $2 > 1500 {found = 1} END {exit !found}' "$mnt/status"; }
wait_for 5 fresh || fail "fast figures: $(cat "$mnt/status")"
release "$hang_count held"
stop_daemon
