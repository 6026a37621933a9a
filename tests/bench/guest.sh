#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The cost of reading inside a guest: guest.sh [--long].  libmetrics and the tool beside the
# least that would do: a read of as many bytes of the same disk, an echo over the same port.
. "$(dirname "$0")/../guest/lib.sh"
rounds=300
while [ $# -gt 0 ]; do
	case $1 in
	--guests) shift ;;
	--long) rounds=3000 ;;
	esac
	shift
done
cost=$build/tests/guest-cost
result() { printf 'guest.%s %s %s\n' "$@"; }
# figure NAME FILE: the median of the lines "NAME X"
figure() { awk -v n="$1" '$1 == n {print $2}' "$2" | sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }

result tool_mib "$(stat -c %s "$build/guest/vm-dump-metrics" | awk '{printf "%.2f\n", $1 / 1048576}')" MiB

# Every source that there is; an image changes five times a second, and is read hundreds of times
# meanwhile.
need_guests "$cost"
every_source 1 1 >"$tmp/conf"
CONF=$tmp/conf
start_daemon
uuid=$(new_uuid)
guest_start "$guest_prefix-cost" "$uuid" "$(guest_disk_xml "$mnt/disk/$uuid.img"; guest_channel_xml)"
sees_itself() { guest_run "$uuid" "vm-dump-metrics -b" | grep -q "context='vm'"; }
wait_for 20 sees_itself || fail "no metrics in the guest"
socket=$(virsh_system dumpxml "$uuid" | sed -n "s/.*<source mode='bind' path='\([^']*\)'.*/\1/p" | tail -n 1)

disk_figures()
{
	result "get_metric_vs_header$2" "$(figure get_metric "$1")" ratio
	result "snapshot_60_vs_read$2" "$(figure snapshot "$1")" ratio
	result "memory_vs_document$2" "$(figure held "$1")" ratio
	result "memory_peak_vs_document$2" "$(figure peak "$1")" ratio
}

# the same image as a file, on a file system that reads past its cache
cp --sparse=never "$mnt/disk/$uuid.img" "$tmp/image"
for _ in 1 2 3; do "$cost" disk "$tmp/image" $rounds && "$cost" memory "$tmp/image"; done >"$tmp/file" ||
	fail "a file"
disk_figures "$tmp/file" _file

device='/dev/$(basename $(dirname $(grep -lx 1 /sys/block/vd*/ro)))'
for _ in 1 2 3; do
	guest_run "$uuid" "guest-cost disk $device $rounds; guest-cost memory $device" || fail "a disk"
done >"$tmp/guest"
grep -h "us:" "$tmp/guest" >&2
disk_figures "$tmp/guest" ""

# the channel, then the same port with an end that only answers
for _ in 1 2 3; do guest_run "$uuid" "guest-cost channel $rounds" || fail "the channel"; done >"$tmp/channel"
bytes=$(awk '$1 == "channel" {n = $3} END {print n}' "$tmp/channel")
stop_daemon || exit 1
"$cost" answer "$socket" "$bytes" &
for _ in 1 2 3; do guest_run "$uuid" "guest-cost echo $bytes $rounds" || fail "the echo"; done >"$tmp/echo"
result channel_us "$(figure channel "$tmp/channel")" us
result channel_vs_echo "$(echo "$(figure channel "$tmp/channel") $(figure echo "$tmp/echo")" | awk '{printf "%.3f\n", $1 / $2}')" ratio
guest_stop "$uuid"
exit 0
