#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What a local user who does what costs most costs others: memory, and the age of what they
# read, with him and without, in turns.
. "$(dirname "$0")/../lib.sh"
need_fuse
hostile=$(dirname "$0")/../func/hostile-reader.py
nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
python=$(PATH=/usr/bin:$PATH command -v python3)
result() { printf 'hostile_reader.%s %s %s\n' "$@"; }

python3 "$hostile" conf >"$tmp/conf"
CONF=$tmp/conf start_daemon --connect test:///default
wait_for 10 has_value "$mnt/metrics/host/number.300" "$mnt/metrics/vm/test/number.3000" ||
	fail "no sample"
cp "$hostile" "$tmp/hostile.py"
ls -lR "$mnt" >/dev/null
cat "$mnt"/metrics/host/* "$mnt"/metrics/vm/test/* "$mnt/metrics.xml" "$mnt/metrics.prom" >/dev/null
worker=$(worker_pid)
rss() { sed -n 's/^RssAnon:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$worker/status"; }
age() { python3 "$tmp/hostile.py" age "$mnt/metrics/host/up" 8; }
before=$(rss)
most=$before
for _ in 1 2 3; do
	alone=$(age)
	"${nobody[@]}" "$python" "$tmp/hostile.py" hostile "$mnt" 10 &
	other=$!
	age >"$tmp/beside" &
	reader=$!
	while kill -0 $other 2>/dev/null; do
		now=$(rss)
		[ "$now" -gt "$most" ] && most=$now
		sleep 0.1
	done
	wait $other || fail "a read failed"
	wait $reader || fail "reading beside"
	beside=$(<"$tmp/beside")
	echo "$alone $beside"
done >"$tmp/ages"
result memory_mib "$(awk -v a="$before" -v b="$most" 'BEGIN {printf "%.1f", (b - a) / 1024}')" MiB
result age_ratio "$(awk '{print $3 / $1}' "$tmp/ages" | sort -n | sed -n 2p)" ratio
result age_p99_ratio "$(awk '{print $4 / $2}' "$tmp/ages" | sort -n | sed -n 2p)" ratio
stop_daemon || exit 1
exit 0
