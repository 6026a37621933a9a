#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vm-dump-metrics --why in a guest that is starved: of a processor by another guest, by a quota, by a
# limit of its disk, of memory by its balloon; each alone, in pairs, and not at all.  It names what it
# is, and nothing else.
. "$(dirname "$0")/lib.sh"
need_guests
[ "$(nproc)" -ge 2 ] || skip "needs two processors"

sed "s|<update_period>.*|<update_period>1</update_period><slow_period>1</slow_period>|" \
	"$top/conf/vhostmd.conf" >"$tmp/conf"
CONF=$tmp/conf start_daemon
starved=$(new_uuid) other=$(new_uuid)
truncate -s 64M "$tmp/work.img"
chmod 666 "$tmp/work.img"
work_disk="<disk type='file' device='disk'>
	<driver name='qemu' type='raw' cache='none'/>
	<source file='$tmp/work.img'/>
	<target dev='vdy' bus='virtio'/>
	<serial>work</serial>
</disk>"
guest_begin "$guest_prefix-starved" "$starved" "$(guest_disk_xml "$mnt/disk/$starved.img"; echo "$work_disk")"
guest_start "$guest_prefix-other" "$other" ""
guest_up "$starved"
metrics=$mnt/metrics/vm/$guest_prefix-starved
tell() { virsh_system "$@" >/dev/null || fail "virsh $*"; }
tell vcpupin "$starved" 0 0
guest_run "$starved" 'for d in /sys/block/vd*; do [ "$(cat $d/serial)" = work ] && work=/dev/${d##*/}; done; [ -b "$work" ]' ||
	fail "no disk to work with"

# begin CAUSE, end_of CAUSE: the causes are those of vm-dump-metrics --json
busy() { guest_run "$1" '(while :; do :; done) & loop=$!' || fail "no loop"; }
idle() { guest_run "$1" 'kill $loop'; }
balloon_is() { [ "$(cat "$metrics/balloon.current")" = "$1" ]; } # MiB
begin()
{
	case $1 in
	cpu-steal) tell vcpupin "$other" 0 0 && busy "$other" ;;
	cpu-quota) tell schedinfo "$starved" --live --set vcpu_quota=25000 ;;
	disk-limit)
		tell blkdeviotune "$starved" vdy --total-bytes-sec 1000000 --live
		guest_run "$starved" '(while :; do cat $work; echo 1 >/proc/sys/vm/drop_caches; done >/dev/null) & reader=$!'
		;;
	balloon)
		tell setmem "$starved" 96M --live
		wait_for 20 balloon_is 96 || fail "the balloon stays"
		;;
	esac
}
end_of()
{
	case $1 in
	cpu-steal) idle "$other" && tell vcpupin "$other" 0 1 ;;
	cpu-quota) tell schedinfo "$starved" --live --set vcpu_quota=-1 ;;
	disk-limit)
		guest_run "$starved" 'kill $reader'
		tell blkdeviotune "$starved" vdy --total-bytes-sec 0 --live
		;;
	balloon)
		tell setmem "$starved" 128M --live
		wait_for 20 balloon_is 128 || fail "the balloon stays"
		;;
	esac
}

# How long processors worked for others than these guests and their daemon, in ticks.
others_ticks()
{
	local pid ours=0
	for pid in $(pgrep -f "guest=$guest_prefix-") "$keeper" "$(worker_pid)"; do
		ours=$((ours + $(awk '{sub(".*\\) ", ""); print $12 + $13}' "/proc/$pid/stat")))
	done
	awk -v ours=$ours '$1 == "cpu" {print $2 + $3 + $4 + $7 + $8 - ours}' /proc/stat
}

# why CAUSE...: just these are named
why()
{
	local status before others
	for _ in 1 2 3; do
		status=0
		before=$(others_ticks)
		guest_run "$starved" "vm-dump-metrics -b --why --interval 2 --json 2>/dev/null" >"$tmp/why" || status=$?
		others=$(($(others_ticks) - before))
		# that this host waits for another is that one's affair
		python3 - "$tmp/why" "$@" <<-'EOF2' && { echo "$*: status $status others $others"; return; }
			import json, sys
			why = json.load(open(sys.argv[1]))
			named = {c["cause"].replace(" ", "-") for c in why["causes"] if c["degree"] in ("some", "much")}
			sys.exit(named - {"host-steal"} != set(sys.argv[2:]))
		EOF2
		# of the six seconds or more that two processors have meanwhile
		[ $others -ge 100 ] || fail "with '$*' it says ($status): $(cat "$tmp/why")"
		echo "$*: others worked for $others ticks: once more"
	done
	skip "needs two processors that nobody else uses"
}

tell vcpupin "$other" 0 1
busy "$starved" # it wants a processor all the time
why
causes=(balloon cpu-steal cpu-quota disk-limit)
for ((i = 0; i < ${#causes[@]}; i++)); do
	begin "${causes[i]}"
	why "${causes[i]}"
	for ((k = i + 1; k < ${#causes[@]}; k++)); do
		begin "${causes[k]}"
		why "${causes[i]}" "${causes[k]}"
		end_of "${causes[k]}"
	done
	end_of "${causes[i]}"
done
why
stop_daemon
