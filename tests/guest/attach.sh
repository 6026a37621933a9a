#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vhostmdctl attach and detach: VMs that run and VMs that are to start, which a guest then reads by.
. "$(dirname "$0")/lib.sh"
need_guests
ctl() { "$build/ctl/vhostmdctl" "$@" --mount "$mnt"; }
# says STATUS OUTPUT ARGUMENTS...: it ends with that status, and says a line like OUTPUT
says()
{
	local status=$1 output=$2 r
	shift 2
	ctl "$@" >"$tmp/out" 2>&1
	r=$?
	[ $r = "$status" ] || fail "vhostmdctl $*: status $r, should be $status: $(cat "$tmp/out")"
	grep -q -- "$output" "$tmp/out" || fail "vhostmdctl $*: no '$output': $(cat "$tmp/out")"
	! grep -q Sanitizer "$tmp/out" || fail "vhostmdctl $*: $(cat "$tmp/out")"
}
# has UUID XPATH [--inactive]: how many of these its description has
has() { virsh_system dumpxml "${@:3}" "$1" | xmllint --xpath "count($2)" -; }
disk="//disk[source/@file='$mnt/disk/UUID.img']" channel="//channel[target/@name='org.github.vhostmd.1']"
# devices UUID LIVE CONFIG: so many of each of both descriptions, "-" where there is none
devices()
{
	local is=''
	if [ "$2" != - ]; then is="$(has "$1" "${disk/UUID/$1}")$(has "$1" "$channel")"; fi
	if [ "$3" != - ]; then
		is+=" $(has "$1" "${disk/UUID/$1}" --inactive)$(has "$1" "$channel" --inactive)"
	fi
	assert_eq "disks and channels of $1" "${is# }" "$(echo "${2#-} ${3#-}" | sed 's/^ //; s/ $//')"
}

cd "$tmp" || exit 1
start_daemon
# one that runs and stays, with a name that is a program to who is careless; one that does not run
uuid=$(new_uuid) other=$(new_uuid)
name="$guest_prefix-\$(touch pwned);'\"<&"
for vm in "$uuid" "$other"; do
	guest_xml "$([ "$vm" = "$uuid" ] && echo "$name" || echo "$guest_prefix-other")" "$vm" "$tmp" guest=test '' \
		>"$tmp/$vm.xml"
	guest_define "$vm" "$tmp/$vm.xml" || fail "a VM is not defined"
done
guest_hold "$uuid"
virsh_system start "$uuid" >/dev/null || fail "a VM does not start"
guest_up "$uuid"

says 3 "libvirt knows no VM 'nobody'" attach nobody
says 1 'does not run' attach --live "$other"
says 0 "<source file='$mnt/disk/$uuid.img' startupPolicy='optional'/>" attach --dry-run "$uuid"
devices "$uuid" 00 00

# both, now and from the next start on; what is there already is well
says 0 'has its disk now and whenever it starts' attach "$name"
grep -q 'has its channel now and whenever' "$tmp/out" || fail "no channel: $(cat "$tmp/out")"
devices "$uuid" 11 11
guest_reads() { guest_run "$uuid" "vm-dump-metrics $1" >"$tmp/doc" && grep -q "uuid='$uuid'" "$tmp/doc"; }
for transport in -b -i; do
	wait_for 20 guest_reads $transport || fail "the guest reads nothing by $transport: $(cat "$tmp/doc")"
done
says 0 'has its disk already' attach "$uuid"
devices "$uuid" 11 11

# taken away, and back again, one of them at a time, one description at a time
says 0 'has no disk any more, until it stops' detach --disk --live "$uuid"
devices "$uuid" 01 11
says 0 'has its disk until it stops' attach --disk "$uuid"
devices "$uuid" 11 11
wait_for 20 guest_reads -b || fail "the guest does not read the disk that came again: $(cat "$tmp/doc")"
says 0 'has no channel any more, from its next start on' detach --channel --config "$uuid"
devices "$uuid" 11 10
says 0 'has no channel any more, until it stops' detach "$uuid"
devices "$uuid" 00 00
says 0 'has no disk' detach "$uuid"

# all that are meant, and nobody else; another bus, with a name for ever
says 0 "has its disk from its next start on" attach --all --match "$guest_prefix-*" --config --disk --bus scsi
devices "$uuid" 00 10
devices "$other" - 10
wwn() { virsh_system dumpxml --inactive "$1" | xmllint --xpath 'string(//disk/wwn)' -; }
expr "$(wwn "$other")" : '5[0-9a-f]\{15\}$' >/dev/null || fail "no wwn: $(wwn "$other")"
[ "$(wwn "$other")" != "$(wwn "$uuid")" ] || fail "two disks have one wwn"
says 0 'has no disk any more' detach --all --match "$guest_prefix-o*"
devices "$other" - 00
devices "$uuid" 00 10

# each that starts, whoever starts it, of such a name; also when libvirt was away
says 0 'has no' detach --all --match "$guest_prefix-*" --config
"$build/ctl/vhostmdctl" attach --all --follow --match "$guest_prefix-f*" --disk --mount "$mnt" >"$tmp/follow" 2>&1 &
follow=$!
follows() { [ "$(grep -c "has its disk until it stops" "$tmp/follow")" -ge "$1" ]; }
first=$(new_uuid) second=$(new_uuid)
guest_begin "$guest_prefix-f1" "$first" ''
wait_for 20 follows 1 || fail "one that starts has no disk: $(cat "$tmp/follow")"
devices "$first" 10 -
guest_begin "$guest_prefix-g" "$(new_uuid)" ''
guest_begin "$guest_prefix-f2" "$second" ''
wait_for 20 follows 2 || fail "another that starts has no disk: $(cat "$tmp/follow")"
devices "$second" 10 -
devices "$uuid" 00 00
! grep -q -- "$guest_prefix-g" "$tmp/follow" || fail "it had to do with others: $(cat "$tmp/follow")"
kill $follow

# it starts without us, and again with us
says 0 'has its disk from its next start on' attach --config --disk "$uuid"
guest_stop "$uuid"
stop_daemon || exit 1
guest_hold "$uuid"
virsh_system start "$uuid" >/dev/null || fail "the VM does not start without vhostmd"
devices "$uuid" 00 10

# who may not, and who is not there
says 1 'libvirt, test:///nothing' attach "$uuid" --connect test:///nothing
[ ! -e pwned ] && [ ! -e /pwned ] || fail "a VM's name was executed"
exit 0
