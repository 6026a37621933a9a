#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A local user who may only read does what costs most: disks of 10,000 uuids, polls, documents,
# listings of a huge directory, and one that he keeps locked.  The worker's memory stays, and
# others see values as new as before.
. "$(dirname "$0")/../lib.sh"
need_fuse
nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
python=$(PATH=/usr/bin:$PATH command -v python3)
"${nobody[@]}" "$python" -c '' || skip "needs setpriv, and python3 for nobody"

python3 "$(dirname "$0")/hostile-reader.py" conf >"$tmp/conf"
# a sanitizer keeps what is freed for a while; that is not what is measured
export ASAN_OPTIONS=quarantine_size_mb=1:thread_local_quarantine_size_kb=64
CONF=$tmp/conf start_daemon --connect test:///default
wait_for 10 has_value "$mnt/metrics/host/number.300" "$mnt/metrics/vm/test/number.3000" ||
	fail "no sample"
worker=$(worker_pid)
script=$tmp/hostile-reader.py
cp "$(dirname "$0")/hostile-reader.py" "$script"
# memory as the worker's own: files that it maps do not count
rss() { sed -n 's/^RssAnon:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$worker/status"; }
hostile() { exec "${nobody[@]}" "$python" "$script" hostile "$mnt" "$1"; }

# everything was read once
cat "$mnt"/metrics/host/* "$mnt"/metrics/vm/test/* "$mnt/metrics.xml" "$mnt/metrics.prom" >/dev/null ||
	fail "reading"
ls -lR "$mnt" >/dev/null

# a file system that hangs, whose pages he lists a directory into: another of these daemons
sed '/number/d; /^$/d' "$tmp/conf" >"$tmp/other.conf"
mkdir "$tmp/other"
"$build/vhostmd" --no-daemonize --connect test:///default --config "$tmp/other.conf" \
	--pid-file "$tmp/other.pid" --mount "$tmp/other" >"$tmp/other.log" 2>&1 &
other=$!
wait_for 20 test -s "$tmp/other/metrics/host/up" || fail "no second daemon"
other_worker=$(sed -n 's/^pid: //p' "$tmp/other/status")
at_exit "kill -CONT $other_worker 2>/dev/null; kill $other 2>/dev/null; wait $other 2>/dev/null"
cp "$(dirname "$0")/hold-directory.py" "$tmp/"
mkdir -m 777 "$tmp/his"
"${nobody[@]}" "$python" "$tmp/hold-directory.py" "$mnt/metrics/host" \
	"$tmp/other/disk/00000000-0000-4000-8000-000000000000.img" "$tmp/his/ready" &
lister=$!
wait_for 10 test -e "$tmp/his/ready" || fail "no lister"
alone=$(python3 "$script" age "$mnt/metrics/host/up" 4) || fail "reading alone"
before=$(rss)
process_hang "$other_worker" || fail "the second daemon does not stop"
: >"$tmp/his/ready.go"
hangs() { grep -q '^State:.[DS]' "/proc/$lister/status"; } # until then it runs
wait_for 10 hangs || fail "the lister does not hang"
hostile 10 &
hostile=$!
python3 "$script" age "$mnt/metrics/host/up" 8 >"$tmp/beside" &
reader=$!
most=$before
while kill -0 $hostile 2>/dev/null; do
	now=$(rss)
	[ "$now" -gt "$most" ] && most=$now
	sleep 0.1
done
wait $reader || fail "reading beside"
beside=$(<"$tmp/beside")
wait $hostile || fail "a read failed"
kill -CONT "$other_worker"
wait $lister || fail "the lister got nothing"
echo "memory $before to $most KiB; age (ms, median and p99) alone $alone, beside $beside"
limit=8192
ldd "$build/vhostmd" | grep -q asan && limit=24576 # what surrounds each block, and unused room
[ $((most - before)) -le $limit ] || fail "memory grew from $before to $most KiB"
# the exact figure is the benchmark's; here others may want the processors, too
awk -v alone="${alone% *}" -v beside="${beside% *}" 'BEGIN {exit !(beside < 3 * alone + 100)}' ||
	fail "values are old: $alone ms alone, $beside ms beside"
stop_daemon || exit 1
exit 0
