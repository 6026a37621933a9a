#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The cost of reading inside a guest: guest.sh [--long].  libmetrics and the tool beside the
# least that would do: a read of as many bytes of the same disk, an echo over the same port.
. "$(dirname "$0")/../guest/lib.sh"
rounds=100
while [ $# -gt 0 ]; do
	case $1 in
	--guests) shift ;;
	--long) rounds=1000 ;;
	esac
	shift
done
cost=$build/tests/guest-cost
result() { printf 'guest.%s %s %s\n' "$@"; }
# figure NAME FILE: the median of the lines "NAME X"
figure() { awk -v n="$1" '$1 == n {print $2}' "$2" | sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }

result tool_mib "$(stat -c %s "$build/guest/vm-dump-metrics" | awk '{printf "%.2f\n", $1 / 1048576}')" MiB

need_guests "$cost"
# the default configuration, and so many more that there are 60 metrics in any guest
more=$(for i in $(seq 40); do
	printf '<metric context="vm"><name>metric.%d</name><source>sample.generation</source></metric>' "$i"
done)
requests='<max_requests>1000</max_requests>' # or it would wait for its turn
sed "s/<update_period>5/<update_period>1/; s|</metrics>|$more&|; s|</max_channels>|&$requests|" \
	"$top/conf/vhostmd.conf" >"$tmp/conf"
export CONF=$tmp/conf
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
	result "first_60_vs_read$2" "$(figure first "$1")" ratio
	result "memory_vs_document$2" "$(figure held "$1")" ratio
	result "memory_peak_vs_document$2" "$(figure peak "$1")" ratio
}

# three_times COMMAND: in the guest
three_times() { for _ in 1 2 3; do guest_run "$uuid" "$1" || return; done; }

# the same image as a file, on a file system that reads past its cache
cp --sparse=never "$mnt/disk/$uuid.img" "$tmp/image"
for _ in 1 2 3; do "$cost" disk "$tmp/image" $rounds && "$cost" memory "$tmp/image"; done >"$tmp/file" ||
	fail "a file"
disk_figures "$tmp/file" _file

device='/dev/$(basename $(dirname $(grep -lx 1 /sys/block/vd*/ro)))'
three_times "guest-cost disk $device $rounds && guest-cost memory $device" >"$tmp/guest" ||
	fail "a disk: $(cat "$tmp/guest")"
grep -h "us:" "$tmp/guest" >&2
disk_figures "$tmp/guest" ""

# the channel, then the same port with an end that only answers; without udev it has no name
guest_run "$uuid" "mkdir -p /dev/virtio-ports && ln -s /dev/\$(ls /sys/class/virtio-ports) \
	/dev/virtio-ports/org.github.vhostmd.1" || fail "no port"
three_times "guest-cost channel $rounds" >"$tmp/channel" || fail "the channel: $(cat "$tmp/channel")"
bytes=$(awk '$1 == "channel" {n = $3} END {print n}' "$tmp/channel")
stop_daemon || exit 1
"$cost" answer "$socket" "$bytes" &
three_times "guest-cost echo $bytes $rounds" >"$tmp/echo" || fail "the echo: $(cat "$tmp/echo")"
result channel_us "$(figure channel "$tmp/channel")" us
for what in echo kept; do
	result channel_vs_$what "$(echo "$(figure channel "$tmp/channel") $(figure $what "$tmp/echo")" | awk '{printf "%.3f\n", $1 / $2}')" ratio
done
guest_stop "$uuid"
exit 0
