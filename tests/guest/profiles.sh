#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Each configuration in conf/: a guest sees exactly the set that it promises.
. "$(dirname "$0")/lib.sh"
need_guests
uuid=$(new_uuid)
mkdir "$mnt" # the guest's disk keeps its place while daemons come and go

# shellcheck disable=SC2034 # used by name
sap='HostName string host - 2
Time uint64 host - 2
VirtualizationVendor string host - 2
VirtProductInfo string host - 2
HostSystemInfo string host - 2
NumberOfPhysicalCPUs uint32 host - 2
MemoryAllocatedToVirtualServers uint64 host - 2
FreePhysicalMemory uint64 host - 2
FreeVirtualMemory uint64 host - 2
UsedVirtualMemory uint64 host - 2
PagedInMemory uint64 host - 2
PagedOutMemory uint64 host - 2
TotalCPUTime real64 host - 2
TotalCPUTime real64 vm - 4
ResourceProcessorLimit uint32 vm - 4
ResourceMemoryLimit uint64 vm - 4
PhysicalMemoryAllocatedToVirtualSystem uint64 vm - 4'

# shellcheck disable=SC2034 # used by name
kubevirt='HostName string host - 2
HostSystemInfo string host - 2
VirtualizationVendor string host - 2
VirtProductInfo string host - 2
TotalCPUTime real64 vm s 5
ResourceProcessorLimit uint64 vm - 4
PhysicalMemoryAllocatedToVirtualSystem uint64 vm KiB 5
ResourceMemoryLimit uint64 vm KiB 5
NumberOfPhysicalCPUs int64 host - 2
TotalCPUTime real64 host s 3
FreePhysicalMemory uint64 host KiB 3
FreeVirtualMemory uint64 host KiB 3
MemoryAllocatedToVirtualServers uint64 host KiB 3
UsedVirtualMemory uint64 host KiB 3
PagedInMemory uint64 host KiB 3
PagedOutMemory uint64 host KiB 3
Time int64 host s 3'

# of the default: the names that guests of the existing vhostmd know, and the neighbour's noise
upstream='HostName string host - 2
VirtualizationVendor string host - 2
VirtualizationProductInfo string host - 2
TotalPhyCPUs uint32 host - 2
NumCPUs uint32 host - 2
TotalPhyMem uint64 host MiB 3
UsedMem uint64 host - 2
FreeMem uint64 host - 2
PagedInMemory uint64 host - 2
PagedOutMemory uint64 host - 2
PageInRate uint64 host - 2
PageFaultRate uint64 host - 2
TotalCPUTime real64 host s 3
TotalCPUTime real64 vm s 5
vcpu.0.delay real64 vm s 5
host.pressure.cpu.some.avg10 real64 host % 3'

# The set that the guest saw: seen FILE; waits until there are $count metrics at least.
complete()
{
	guest_run "$uuid" "vm-dump-metrics $1" >"$tmp/doc.xml" && metric_set "$tmp/doc.xml" >"$tmp/set" &&
		[ "$(wc -l <"$tmp/set")" -ge "$2" ]
}

export CONF=$top/conf/vhostmd.conf
start_daemon
guest_start "$guest_prefix-profiles" "$uuid" "$(guest_disk_xml "$mnt/disk/$uuid.img"; guest_channel_xml)"
# rates, too, which come half a period after the rest
all_known()
{
	local line
	complete "$1" 40 || return
	while read -r line; do
		grep -qxF "$line" "$tmp/set" || { lacking=$line; return 1; }
	done <<<"$upstream"
}
for option in -b -i; do
	lacking=''
	wait_for 30 all_known $option || fail "default, $option: no '$lacking' in $(cat "$tmp/set")"
done
stop_daemon || exit 1

# The disk that the guest has open belongs to the daemon that ended; its channel does not.
for profile in sap kubevirt; do
	CONF=$top/conf/vhostmd-$profile.conf
	start_daemon
	wait_for 30 complete -i 17 || fail "$profile: $(cat "$tmp/set" "$tmp/doc.xml")"
	assert_eq "$profile on the channel" "$(sort "$tmp/set")" "$(sort <<<"${!profile}")"
	known=$(cat "$mnt/metrics/host/Time" 2>/dev/null || echo 0)
	disk_content "$mnt/disk/$uuid.img" >"$tmp/doc.xml"
	assert_eq "$profile on the disk" "$(metric_set "$tmp/doc.xml" | sort)" "$(sort <<<"${!profile}")"
	if [ "$profile" = sap ]; then
		grep -q '<!--' "$tmp/doc.xml" && fail "a comment in the SAP profile"
		shown=$(sed -n '/<name>Time</{n; s/[^0-9]//gp}' "$tmp/doc.xml")
		# a disk that is being read may stay for one period of 5 s
		[ "$known" -gt 0 ] && [ "$shown" -ge $((known - 5)) ] &&
			[ "$shown" -le "$(date +%s)" ] ||
			fail "Time is $shown on the disk, after $known"
		product=$(sed -n '/<name>VirtProductInfo</{n; s/ *<[^>]*>//gp}' "$tmp/doc.xml")
		[[ $product =~ ^QEMU\ [0-9]+\.[0-9]+\.[0-9]+$ ]] || fail "VirtProductInfo is '$product'"
	fi
	stop_daemon || exit 1
done
guest_stop "$uuid"
exit 0
