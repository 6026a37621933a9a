#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A guest moves to another host and back while it reads its disk and its channel: it never misses
# an answer, learns of each host by its session, and nobody else notices.  The other host is a
# libvirtd and a vhostmd in namespaces of their own: another hostname, other processes, another
# /run/libvirt, and another file system at the same place.
. "$(dirname "$0")/lib.sh"
need_guests "$top/tests/guest/watch-metrics"
for tool in unshare nsenter; do command -v $tool >/dev/null || skip "needs $tool"; done

every_source 0.3 0.6 | sed 's|<transport>vbd|<transport>virtio</transport>&|' >"$tmp/conf"
CONF=$tmp/conf start_daemon

# ---- the other host ----

other=$tmp/other
mkdir -p "$other"/{run,lib,log,cache,etc,guests} "$tmp/guests"
mv "$tmp/vmlinuz" "$tmp/initrd" "$tmp/guests"
cp "$tmp/guests"/* "$other/guests"
cp -r /var/cache/libvirt/. "$other/cache" # what it found out about QEMU
cat >"$other/etc/libvirtd.conf" <<EOF2
host_uuid = "$(new_uuid)"
auth_unix_ro = "none"
auth_unix_rw = "none"
EOF2
# no virtlogd, and the cgroups are the first host's
printf 'stdio_handler = "file"\ncgroup_controllers = [ ]\n' >"$other/etc/qemu.conf"
cat >"$other/init" <<EOF2
hostname other
set -e
umount -l "$mnt"
for dir in run lib log cache; do
	case \$dir in run) at=/run/libvirt ;; *) at=/var/\$dir/libvirt ;; esac
	mount --bind "$other/\$dir" \$at
done
mount --bind "$other/etc" /etc/libvirt
mount --bind "$other/guests" "$tmp/guests" # where consoles are
libvirtd -p "$other/libvirtd.pid" </dev/null >"$other/libvirtd.log" 2>&1 &
"$build/vhostmd" --no-daemonize --verbose --config "$tmp/conf" --pid-file "$other/pid" \
	--mount "$mnt" >"$other/vhostmd.log" 2>&1 &
set +e
wait \$!
echo \$? >"$other/status"
EOF2
ASAN_OPTIONS=exitcode=99 unshare --mount --pid --uts --ipc --fork --kill-child --mount-proc \
	bash "$other/init" >"$other/init.log" 2>&1 &
outside=$!
at_exit "kill -KILL $outside 2>/dev/null"
there() { nsenter --target "$inside" --mount --pid --uts "$@"; }
is_up()
{
	inside=$(pgrep -P $outside) && there grep -q '^libvirt.state: connected' "$mnt/status"
}
wait_for 30 is_up || fail "no other host: $(cat "$other"/*.log)"
there_uri="qemu+unix:///system?socket=$other/run/libvirt-sock"

# ---- guests ----

a=$(new_uuid) b=$(new_uuid)
guest_xml "$guest_prefix-moving" "$a" "$tmp/guests" guest=test \
	"$(guest_disk_xml "$mnt/disk/$a.img"; guest_channel_xml)" >"$tmp/$a.xml"
guest_hold "$a" "$tmp/guests"
guest_create "$a" "$tmp/$a.xml" || fail "the guest does not start"
guest_start_halting "$guest_prefix-staying" "$b" "$(guest_channel_xml)" || fail "no other guest"
guest_up "$a"
vm=$mnt/metrics/vm/$guest_prefix-moving
staying=$mnt/metrics/vm/$guest_prefix-staying
wait_for 20 has_value "$vm/usage.cpu" "$vm/block.0.rd.reqs" "$staying/usage.cpu" ||
	fail "they are not sampled"
steady_start "$staying"
guest_watch "$a" -b
guest_watch "$a" -i

# ---- moving ----

here() { "$@"; }
# Each takes a host, here or there.
session_on() { "$1" cat "$vm/domain.session" 2>/dev/null; }
channels_on() { "$1" sed -n 's/^channels.connected: //p' "$mnt/status"; }
has_channels() { [ "$(channels_on "$1")" = "$2" ]; }
disk_of() { "$1" cat "$mnt/disk/$a.img" >"$tmp/disk" && disk_content "$tmp/disk"; }
disk_shows() { [ "$(disk_of "$1" | grep -c "context='vm'.*uuid='$a'")" -gt 0 ]; }
disk_shows_no_vm() { disk_of "$1" >"$tmp/disk.xml" && ! grep -q "context='vm'" "$tmp/disk.xml"; }
is_gone() { "$1" test ! -e "$vm" && "$1" test ! -e "$mnt/metrics/vm-by-uuid/$a"; }
guest_is_at() { guest_run "$a" "grep -qx $1 /tmp/at$2"; }
# has_moved FROM TO CHANNELS_OF_FROM CHANNELS_OF_TO
has_moved()
{
	local before=$session option
	wait_for 3 is_gone "$1" || fail "$1 still shows a VM that has left"
	wait_for 3 disk_shows_no_vm "$1" || fail "the disk $1 still has the figures of a VM that has left"
	grep -q "context='host'" "$tmp/disk.xml" || fail "the disk $1 has nothing of the host"
	wait_for 3 has_channels "$1" "$3" || fail "$1 has $(channels_on "$1") channels"
	wait_for 5 disk_shows "$2" || fail "the disk $2 does not show the VM"
	wait_for 5 has_channels "$2" "$4" || fail "$2 has $(channels_on "$2") channels"
	session=$(session_on "$2")
	[ -n "$session" ] && [ "$session" != "$before" ] || fail "$2 has the session of $1, $before"
	for option in -b -i; do
		wait_for 15 guest_is_at "$session" $option || fail "$option does not tell the session $2"
	done
}

sessions=()
session=$(session_on here)
sessions+=("$session")
for option in -b -i; do
	wait_for 15 guest_is_at "$session" $option || fail "the guest does not watch"
done
wait_for 5 has_channels here 2 || fail "channels: $(channels_on here)"
left=$(cat "$vm/cpu.time")
guest_hold "$a" "$other/guests"
# what the guest asks for now nobody answers: it has to ask the other host; but a worker that answers
# nobody for four seconds is replaced, which others notice, and a migration may take longer
stopped=$(worker_pid)
kill -STOP "$stopped"
virsh_system migrate --live --p2p "$a" "$there_uri" tcp://127.0.0.1 &
migration=$!
wait_for 3 process_gone $migration
kill -CONT "$stopped"
wait $migration || fail "no migration"
assert_eq "the worker" "$(worker_pid)" "$stopped"
has_moved here there 1 1
sessions+=("$session")
guest_hold "$a" "$tmp/guests"
timeout 60 virsh -q -c "$there_uri" migrate --live "$a" qemu:///system tcp://127.0.0.1 || fail "no way back"
has_moved there here 0 2
sessions+=("$session")

# ---- what was seen ----

for option in -b -i; do
	guest_watched "$a" $option "${sessions[@]}"
	awk -v left="$left" '$1 == "began" {r = $3 < left} END {exit !r}' "$tmp/watched" ||
		fail "$option: counters do not begin anew: $left here"
done
steady_end

there sh -c 'kill -TERM "$(cat "$1/pid")"' - "$other"
wait_for 10 test -s "$other/status" || fail "the other vhostmd does not end"
assert_eq "the other vhostmd" "$(cat "$other/status")" 0
grep -E 'Sanitizer|runtime error' "$other/vhostmd.log" && fail "the other vhostmd: $(cat "$other/vhostmd.log")"
stop_daemon
