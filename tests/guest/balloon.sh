#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What a guest says of its memory is asked for at a period of its own, and what its disk did at the
# other, of a guest that says it anew each second.
. "$(dirname "$0")/lib.sh"
need_guests

# configure BALLOON_PERIOD
configure()
{
	cat >"$tmp/conf" <<-EOF
		<vhostmd><globals><update_period>0.5</update_period><slow_period>1</slow_period>
		$1</globals><metrics>
		$(for source in 'block.*.rd.reqs' balloon.unused balloon.last-update; do
			echo "<metric context='vm'><name>$source</name><source>$source</source></metric>"
		done)
		</metrics></vhostmd>
	EOF
}
configure '<balloon_period>6</balloon_period>'
"$build/vhostmd" --check-config "$tmp/conf" >"$tmp/said" 2>&1 || fail "the configuration: $(cat "$tmp/said")"
grep -qx 'balloon period: 6 s, for what guests say of their memory' "$tmp/said" || fail "not described: $(cat "$tmp/said")"
CONF=$tmp/conf start_daemon
a=$(new_uuid)
name=$guest_prefix-balloon
dir=$mnt/metrics/vm/$name
GUEST_MIB=192 guest_start "$name" "$a" "$(guest_disk_xml "$mnt/disk/$a.img")"
virsh_system dommemstat "$a" --period 1 --live || fail "no statistics of the balloon"
guest_run "$a" "(while :; do dd if=/dev/vda of=/dev/null bs=64k; sleep 0.2; done) >/dev/null 2>&1 &"
wait_for 30 has_value "$dir/block.0.rd.reqs" || fail "no figures of the disk: $(cat "$mnt/status")"
wait_for 30 has_value "$dir/balloon.unused" "$dir/balloon.last-update" || fail "no figures of the balloon"

# How many values files have within so many seconds: values SECONDS FILE...
values()
{
	python3 - "$@" <<-'EOF2'
		import sys, time
		end, seen = time.time() + float(sys.argv[1]), {f: set() for f in sys.argv[2:]}
		while time.time() < end:
		    for f in seen:
		        seen[f].add(open(f).read())
		    time.sleep(0.1)
		print(*(len(seen[f]) for f in sys.argv[2:]))
	EOF2
}
read -r reads said <<<"$(values 24 "$dir/block.0.rd.reqs" "$dir/balloon.last-update")"
[ "$reads" -ge 12 ] || fail "in 24 s the disk had $reads values"
[ "$said" -ge 3 ] && [ "$said" -le 6 ] || fail "in 24 s the balloon had $said values"

# a reload: with the rest again
configure ''
kill -HUP "$keeper"
often() { read -r said <<<"$(values 6 "$dir/balloon.last-update")" && [ "$said" -ge 4 ]; }
wait_for 40 often || fail "in 6 s the balloon had $said values without a period of its own"
guest_stop "$a"
stop_daemon || exit 1
exit 0
