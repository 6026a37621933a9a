#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Everything at once, for six minutes, or with --long for an hour: VMs that come, go and hang, a libvirtd
# that hangs, reloads, a hostile local user, a real guest that reads its disk and its channel; and of a
# second daemon readers, whose workers are killed all the time and both of whose processes are replaced.
# Memory, descriptors and threads: by what the last sixth of the time has more than the second.
. "$(dirname "$0")/../guest/lib.sh"
minutes=6
while [ $# -gt 0 ]; do
	case $1 in
	--guests) shift ;;
	--long) minutes=60 ;;
	esac
	shift
done
end=$((SECONDS + 60 * minutes))
result() { printf 'chaos.hour_%s %s %s\n' "$@"; }
need_guests "$top/tests/guest/watch-metrics" >&2
[ -n "${libvirt_started[*]}" ] || skip "libvirtd is not ours to stop"
libvirtd=$(cat /run/libvirtd.pid)

every_source 0.5 1.5 | sed 's|<transport>|<transport>virtio</transport>&|; s|<disk>|&<mode>0444</mode>|' >"$tmp/conf"
CONF=$tmp/conf start_daemon
uuid=$(new_uuid)
guest_start "$guest_prefix-stays" "$uuid" "$(guest_disk_xml "$mnt/disk/$uuid.img"; guest_channel_xml)"
wait_for 20 has_value "$mnt/metrics/vm/$guest_prefix-stays/cpu.time" || fail "no figures of the guest"
guest_watch "$uuid" -b
guest_watch "$uuid" -i

# the second
bash "$top/tests/func/survive.sh" --conf 0.5 "$tmp/link" >"$tmp/other.conf"
"$build/vhostmd" --no-daemonize --verbose --config "$tmp/other.conf" --pid-file "$tmp/other.pid" \
	--mount "$tmp/other" >"$tmp/other.log" 2>&1 &
other=$!
wait_for 20 has_value "$tmp/other/metrics/host/Generation" || fail "no second daemon"
timeout -k 5 $((60 * minutes + 60)) python3 "$top/tests/func/survive.py" \
	"$tmp/other" $other $((60 * minutes)) 2 0.5 >"$tmp/figures" &
readers=$!

goes_on() { [ $SECONDS -lt $end ]; }
churn()
{
	while goes_on; do
		for i in 1 2 3; do begin_halting "$guest_prefix-churn-$i" "$(new_uuid)" "$(guest_channel_xml)"; done
		halting_up
		for i in 1 2 3; do guest_stop "$guest_prefix-churn-$i"; done
	done
}
# One that is there hangs for a while, then libvirtd.
hang()
{
	local pid
	while goes_on; do
		for pid in "$(pgrep -f "guest=$guest_prefix-churn-2,")" "$libvirtd"; do
			process_hang "$pid" 2>/dev/null
			read -r -t 4 <>"$tmp/never"
			kill -CONT "$pid" 2>/dev/null
			read -r -t 8 <>"$tmp/never"
		done
	done
}
change()
{
	while goes_on; do
		kill -HUP "$keeper"
		read -r -t 7 <>"$tmp/never"
		kill -USR2 $other
		read -r -t 7 <>"$tmp/never"
	done
}
# Files of nobody's are opened, kept, listed and watched.
hostile()
{
	cp "$top/tests/func/hostile-reader.py" "$tmp/"
	while goes_on; do
		setpriv --reuid=65534 --regid=65534 --clear-groups \
			/usr/bin/python3 "$tmp/hostile-reader.py" hostile "$mnt" 20 "$guest_prefix-stays" || break
		read -r -t 10 <>"$tmp/never"
	done
}
mkfifo "$tmp/never" # nobody writes
at_exit "kill -CONT $libvirtd 2>/dev/null"
jobs=()
for job in churn hang change hostile; do
	$job >"$tmp/$job.log" 2>&1 &
	jobs+=($!)
done

# NAME PID: a line of what it has now
measure()
{
	[ -n "$2" ] || return 0
	echo "$1 $SECONDS $(awk '/^Rss(Anon|Shmem)/ {n += $2} END {print n}' "/proc/$2/status") \
		$(find "/proc/$2/fd" -mindepth 1 | wc -l) $(find "/proc/$2/task" -mindepth 1 -maxdepth 1 | wc -l)"
} 2>/dev/null
begin=$SECONDS
while goes_on; do
	measure worker "$(worker_pid)"
	measure keeper "$keeper"
	measure other_keeper $other
	read -r -t 2 <>"$tmp/never"
done >"$tmp/measured"
wait "${jobs[@]}"
kill -CONT "$libvirtd"
wait $readers || fail "the readers: $(cat "$tmp/figures")"

for who in worker keeper other_keeper; do
	python3 - "$tmp/measured" $who "$begin" $end <<-'EOF' | while read -r line; do result $line; done
		import statistics, sys
		path, who, begin, end = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
		rows = [l.split() for l in open(path)]
		rows = [list(map(int, r[1:])) for r in rows if r[0] == who and len(r) == 5]
		sixth = (end - begin) / 6
		early = [r for r in rows if sixth <= r[0] - begin < 2 * sixth]
		late = [r for r in rows if r[0] - begin >= 5 * sixth]
		for i, what, unit in (1, "memory", "KiB"), (2, "descriptors", "number"), (3, "threads", "number"):
		    a, b = (statistics.median(r[i] for r in part) for part in (early, late))
		    print(f"growth_{who}_{what} {b - a:.0f} {unit}")
		    print(f"{who}_{what} {b:.0f} {unit}")
	EOF
done
while read -r name value unit; do result "$name" "$value" "$unit"; done <"$tmp/figures"
for option in -b -i; do guest_seen "$uuid" $option; done >"$tmp/watched"
sed "s/^/guest: /" "$tmp/watched" >&2
result guest_documents "$(awk '/^documents/ {n += $2} END {print n}' "$tmp/watched")" number
result guest_errors "$(grep -cE "$guest_saw_fault" "$tmp/watched")" number
grep -q . "$tmp/hostile.log" && fail "the hostile user met an error: $(tail -n 5 "$tmp/hostile.log")"
kill $other
wait $other || fail "the second daemon: $(tail -n 20 "$tmp/other.log")"
stop_daemon || exit 1
exit 0
