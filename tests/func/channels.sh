#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The worker ends at any moment, the program is replaced, also by one of another layout or one that
# fails: who asks on a channel meets no end of the connection, and each request is answered once.
# channels.sh --conf DIR: writes DIR/conf and DIR/vms.xml, of a VM with a channel at DIR's
# org.github.vhostmd.1, for libvirt's test driver.
. "$(dirname "$0")/../lib.sh"

configuration()
{
	# a document that takes several writes to send
	bash "$top/tests/func/survive.sh" --conf 0.3 "$1/link" | sed "s|<transport>vbd|<transport>virtio</transport>\
		<virtio><max_requests>1000</max_requests><expiration_time>1000</expiration_time></virtio>&|" >"$1/conf"
	cat >"$1/vms.xml" <<-EOF
		<node><domain type='test'><name>one</name><uuid>6695eb01-f6a4-8304-79aa-97f2502e193f</uuid>
		<memory>1024</memory><vcpu>1</vcpu><os><type>hvm</type></os><devices>
		<channel type='unix'><source mode='bind' path='$1/org.github.vhostmd.1'/>
		<target type='virtio' name='org.github.vhostmd.1'/></channel>
		</devices></domain></node>
	EOF
}
if [ "${1:-}" = --conf ]; then
	configuration "$2"
	exit 0
fi
need_fuse
"$build/vhostmd" --list-sources | grep -q cpu.time || skip "needs a vhostmd built with libvirt"

real=$build
mkdir "$tmp/bin"
install_program() { cp "$1" "$tmp/bin/new" && mv "$tmp/bin/new" "$tmp/bin/vhostmd"; }
install_program "$real/vhostmd"
build=$tmp/bin
configuration "$tmp"
python3 "$top/tests/func/channels.py" "$tmp/org.github.vhostmd.1" >"$tmp/asked" &
asker=$!
wait_for 30 grep -q ready "$tmp/asked" || fail "nobody listens"
CONF=$tmp/conf start_daemon -c "test://$tmp/vms.xml"
count() { grep -c -- "$1" "$tmp/log"; }
more_than() { [ "$(count "$2")" -gt "$1" ]; }
has_channel() { grep -q '^channels.connected: 1$' "$mnt/status"; }
wait_for 10 has_channel || fail "no channel"
held=$(find "/proc/$keeper/fd" -mindepth 1 | wc -l)
goes_on() { kill -0 $asker 2>/dev/null || fail "$1: $(cat "$tmp/asked")"; }
another_worker() { [ -n "$(worker_pid)" ] && [ "$(worker_pid)" != "$worker" ]; }

# each as soon as another one serves, or at some moment after that
for i in {1..25}; do
	worker=$(worker_pid)
	kill -KILL "$worker"
	wait_for 20 another_worker || fail "no other worker"
	[ $((i % 2)) = 0 ] && sleep 0.$((RANDOM % 300 + 100))
	goes_on "death $i"
done
wait_for 10 has_channel || fail "the channel is not served after deaths"

# also while libvirt cannot say that there is a VM
mv "$tmp/vms.xml" "$tmp/vms.away"
for i in {1..3}; do
	worker=$(worker_pid)
	kill -KILL "$worker"
	wait_for 20 another_worker || fail "no other worker"
	wait_for 10 has_channel || fail "without libvirt, death $i: the channel is not served"
	grep -q '^libvirt.state: connected' "$mnt/status" && fail "libvirt is there"
	goes_on "without libvirt, death $i"
done
mv "$tmp/vms.away" "$tmp/vms.xml"

# changed WHAT PROGRAM WORDS [TIMES]: told to give way, it does what the log says in these words
changed()
{
	local n i
	for ((i = 0; i < ${4:-1}; i++)); do
		n=$(count "$3")
		install_program "$2"
		kill -USR2 "$keeper"
		wait_for 20 more_than "$n" "$3" || fail "$1: the log does not say '$3'"
		wait_for 20 has_channel || fail "$1: the channel is not served"
		goes_on "$1"
	done
}
for i in {1..4}; do
	changed "upgrade $i" "$real/vhostmd" "has taken over from"
	changed "another layout $i" "$real/tests/other-layout" "has taken over from"
done
for what in back refuse crash; do
	# bash: dash, where all descriptors below 10 are taken, leaves its script's open for who follows
	cat >"$tmp/script" <<-EOF
		#!/bin/bash
		exec $real/tests/bad-successor $what "\$@"
	EOF
	chmod 755 "$tmp/script"
	changed "a successor that is to $what" "$tmp/script" "goes on: version .* has failed"
done
worker=$(worker_pid)
kill -KILL "$worker"
wait_for 20 another_worker || fail "no other worker"
wait_for 20 has_channel || fail "the channel is not served after all"
settled() { [ "$(find "/proc/$keeper/fd" -mindepth 1 | wc -l)" -le "$held" ]; }
wait_for 10 settled || fail "the keeper has other descriptors than before: $(ls -l "/proc/$keeper/fd")"

# more replies after all that
goes_on "after all"
kill -TERM $asker
wait $asker || fail "$(cat "$tmp/asked")"
tail -n +2 "$tmp/asked"
stop_daemon || exit 1
exit 0
