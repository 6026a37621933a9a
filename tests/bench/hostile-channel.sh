#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What 256 guests that flood, babble, drip, hang up and never read their channels cost 16 that
# ask five times a second: the 99th percentile of their times with them and without, in turns;
# and the daemon: memory.  The VMs are those of libvirt's test driver, their QEMUs one program.
. "$(dirname "$0")/../lib.sh"
need_fuse
honest=16 hostile=256 rounds=5 alone=3 beside=6
result() { printf 'chaos.hostile_%s %s %s\n' "$@"; }

{
	echo "<node>"
	for i in $(seq 0 $((honest + hostile - 1))); do
		cat <<-EOF2
			<domain type='test'><name>vm$i</name><uuid>$(printf '%08x' "$i")-0000-4000-8000-000000000000</uuid>
			<memory>8192</memory><os><type>hvm</type></os><devices><channel type='unix'>
			<source mode='bind' path='$tmp/ports/$i/org.github.vhostmd.1'/>
			<target type='virtio' name='org.github.vhostmd.1'/></channel></devices></domain>
		EOF2
	done
	echo "</node>"
} >"$tmp/node.xml"
mkdir "$tmp/ports"
mkfifo "$tmp/go"
"$build/tests/hostile-channel" "$tmp/ports" $honest $hostile $rounds $alone $beside <"$tmp/go" >"$tmp/times" &
guests=$!
exec {go}>"$tmp/go"
sed 's|<update_period>.*|<update_period>1</update_period>|' "$top/conf/vhostmd.conf" >"$tmp/conf"
CONF=$tmp/conf start_daemon --connect "test://$tmp/node.xml"
wait_for 30 grep -q ready "$tmp/times" || fail "not all are connected: $(cat "$mnt/status")"
worker=$(worker_pid)
rss() { sed -n 's/^RssAnon:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$worker/status"; }
before=$(rss) most=0
echo go >&$go
while kill -0 $guests 2>/dev/null; do
	now=$(rss)
	[ "$now" -gt "$most" ] && most=$now
	sleep 0.1
done
wait $guests || fail "the honest guests: $(cat "$tmp/times")"
sed 1d "$tmp/times" >&2
grep channels "$mnt/status" >&2
result p99_ratio "$(awk 'NR > 1 {print $2 / $1}' "$tmp/times" | sort -n | sed -n $(((rounds + 1) / 2))p)" ratio
result memory_mib "$(awk -v a="$before" -v b="$most" 'BEGIN {printf "%.1f", (b - a) / 1024}')" MiB
stop_daemon || exit 1
exit 0
