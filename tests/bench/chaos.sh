#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What readers, a real guest with a disk and a channel among them, meet while the worker is killed about
# eight times a second, while both processes are replaced by another build every two seconds, and while
# the keeper is killed as well and a stand-in for systemd starts it again; --long: for longer.  Then how
# long after the worker's death the files of 200 VMs can be read, also while libvirtd hangs.
. "$(dirname "$0")/../guest/lib.sh"
seconds=62 period=0.5 upgrades=30 vms=200 deaths=15
while [ $# -gt 0 ]; do
	case $1 in
	--long) seconds=602 upgrades=300 deaths=150 ;;
	--guests) vms=$2; shift ;;
	esac
	shift
done
result() { printf 'chaos.%s %s %s\n' "$@"; }
need_guests "$top/tests/guest/watch-metrics" >&2
[ -n "${libvirt_started[*]}" ] || skip "libvirtd is not ours to stop"
libvirtd=$(cat /run/libvirtd.pid)

bash "$top/tests/func/survive.sh" --conf $period "$tmp/link" |
	sed 's|<transport>|<transport>virtio</transport>&|' >"$tmp/conf"
for source in domain.name domain.uuid domain.id domain.session cpu.time; do
	sed -i "s|</metrics>|<metric context='vm'><name>$source</name><source>$source</source></metric>&|" "$tmp/conf"
done
vm_figures() { wait_for 20 has_value "$mnt/metrics/vm/$1/cpu.time" || fail "no figures of $1"; }

# A guest that reads both until it is told to stop: guest_reads NAME
guest_reads()
{
	uuid=$(new_uuid)
	guest_start "$guest_prefix-$1" "$uuid" "$(guest_disk_xml "$mnt/disk/$uuid.img"; guest_channel_xml)"
	vm_figures "$guest_prefix-$1"
	guest_watch "$uuid" -b
	guest_watch "$uuid" -i
}

# What it saw, and that it was of one session: guest_read WHAT
guest_read()
{
	local option
	for option in -b -i; do guest_seen "$uuid" $option; done >"$tmp/watched"
	sed "s/^/guest: /" "$tmp/watched" >&2
	[ "$(grep -c '^documents ' "$tmp/watched")" = 2 ] || fail "the guest does not say what it saw"
	result "$1_guest_documents" "$(awk '/^documents/ {n += $2} END {print n}' "$tmp/watched")" number
	result "$1_guest_errors" "$(awk -v fault="$guest_saw_fault" '$0 ~ fault || /^without [1-9]/ {n++}
		/^sessions/ {n += NF - 2} END {print n + 0}' "$tmp/watched")" number
	guest_stop "$uuid"
}

# What survive.py meets: others_read SECONDS ARGUMENT...
others_read()
{
	timeout -k 5 "$1" python3 "$top/tests/func/survive.py" "${@:2}" >"$tmp/figures" || fail "$(cat "$tmp/figures")"
	while read -r name value unit; do result "$name" "$value" "$unit"; done <"$tmp/figures"
}

CONF=$tmp/conf start_daemon
wait_for 10 has_value "$mnt/metrics/host/Generation" || fail "no sample"
guest_reads killed
rss() { awk '/^(RssAnon|RssFile)/ {n += $2} END {print n}' "/proc/$keeper/status"; }
descriptors() { find "/proc/$keeper/fd" -mindepth 1 | wc -l; }
timeout -k 5 20 python3 "$top/tests/func/survive.py" "$mnt" "$keeper" 5 0.2 >/dev/null
memory=$(rss) held=$(descriptors)
others_read $((seconds + 60)) "$mnt" "$keeper" $seconds 0.16 $period
result keeper_memory_growth_kib $(($(rss) - memory)) KiB
result keeper_descriptors_growth $(($(descriptors) - held)) number
guest_read kill
stop_daemon || exit 1

# two builds in turn: the texts of their versions are of one length
mkdir "$tmp/bin"
cp "$build/vhostmd" "$tmp/bin/vhostmd"
sed 's/2\.0\.0/2.0.1/g' "$build/vhostmd" >"$tmp/bin/other"
chmod 755 "$tmp/bin/other"
programs=("$tmp/bin/other" "$build/vhostmd" "$tmp/bin/vhostmd")
"$tmp/bin/other" --version | grep -q '2\.0\.1' || fail "no other build"
rm "$tmp/log"
build=$tmp/bin CONF=$tmp/conf start_daemon
wait_for 10 has_value "$mnt/metrics/host/Generation" || fail "no sample"
guest_reads upgraded
others_read $((2 * upgrades + 60)) --upgrade "${programs[@]}" -- "$mnt" "$keeper" $((2 * upgrades + 2)) 2 $period
result upgrades_done "$(grep -c 'has taken over from' "$tmp/log")" number
guest_read upgrade
stop_daemon || exit 1

# the same as a service
build=${programs[1]%/vhostmd}
rm "$tmp/log"
FDSTORE_ANY=1 python3 "$top/tests/func/fdstore.py" "$tmp/notify" "$mnt" "$build/vhostmd" \
	--no-daemonize --config "$tmp/conf" --pid-file "$tmp/pid" --mount "$mnt" >"$tmp/log" 2>&1 &
keeper=$!
wait_for 20 has_value "$mnt/metrics/host/Generation" || fail "no sample"
guest_reads kept
others_read $((seconds + 60)) --keeper "$mnt" "$tmp/pid" $seconds 1 $period
guest_read keeper
stop_daemon || exit 1
umount --force --lazy "$mnt"
rm "$tmp/log"

say "starting $vms guests" >&2
for i in $(seq "$vms"); do begin_halting "$guest_prefix-back-$i" "$(new_uuid)" ""; done
halting_up
CONF=$tmp/conf start_daemon
sampled() { [ "$(find "$mnt/metrics/vm" -name cpu.time -size +0 | wc -l)" = "$vms" ]; }
wait_for 60 sampled || fail "not all VMs are there"
# back NAME
back()
{
	python3 "$top/tests/bench/back.py" "$mnt" "$deaths" cpu.time "$vms" >"$tmp/back" ||
		fail "$1: $(cat "$tmp/back")"
	sort -n "$tmp/back" >"$tmp/sorted"
	result "$1_ms" "$(sed -n "$(((deaths + 1) / 2))s/ .*//p" "$tmp/sorted")" ms
	result "$1_worst_ms" "$(sed -n '$s/ .*//p' "$tmp/sorted")" ms
	result "$1_vs_cold" "$(awk '{back += $1; cold += $2} END {printf "%.2f", back / cold}' "$tmp/back")" ratio
}
back vms_back
process_hang "$libvirtd"
at_exit "kill -CONT $libvirtd 2>/dev/null"
back vms_back_hung
kill -CONT "$libvirtd"
stop_daemon || exit 1
exit 0
