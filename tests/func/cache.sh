#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Files at page-cache speed: nothing is asked twice, and yet nothing old is ever seen.
. "$(dirname "$0")/../lib.sh"
need_fuse

conf()
{
	cat >"$tmp/conf" <<-EOF2
		<vhostmd><globals><update_period>$1</update_period></globals><metrics>
		<metric context="host"><name>name</name><source>host.name</source></metric>
		<metric context="host"><name>up</name><source>host.uptime</source></metric>
		<metric context="host"><name>cycles</name><source>vhostmd.fast.cycles</source></metric>
		<metric context="host"><name>duration</name><source>vhostmd.fast.duration</source></metric>
		<metric context="vm"><name>state</name><source>state.state</source></metric>
		<metric context="vm"><name>id</name><source>domain.id</source></metric>
		<metric type="uint32" context="vm"><name>none</name><action>cat '$tmp/late'</action></metric>
		</metrics></vhostmd>
	EOF2
}
host=$mnt/metrics/host

# between two updates: how often a thread that answers requests had to run
conf 3600
CONF=$tmp/conf start_daemon --connect test:///default
wait_for 10 has_value "$mnt/metrics/vm/test/state" || fail "no VM"
worker=$(worker_pid)
answers()
{
	local t sum=0 n
	for t in /proc/"$worker"/task/*; do
		[ "$(cat "$t/comm")" = serve ] || continue
		n=$(sed -n 's/^voluntary_ctxt_switches:\t//p' "$t/status")
		sum=$((sum + n))
	done
	echo $sum
}
walk()
{
	cat "$host/name" "$host/up" "$mnt/metrics/vm-by-id/1/state" >/dev/null
	stat "$host/name" "$mnt/metrics/vm/test" "$mnt/metrics/vm-by-id/1" >/dev/null
	readlink "$mnt/metrics/vm-by-id/1" >/dev/null
	find "$mnt/metrics" -type f -printf '%s %t\n' >/dev/null
	grep -rs . "$mnt/metrics/host" >/dev/null
	ls "$mnt/metrics/vm/test" >/dev/null
}
walk
walk # once more: the kernel asks for what it did not need at first
before=$(answers)
for _ in {1..20}; do walk; done
after=$(answers)
# find and grep ask what file system it is (statfs), which is never remembered
[ $((after - before)) -le 60 ] || fail "$((after - before)) answers to what was known"
before=$(answers)
for _ in {1..200}; do mapfile <"$host/name"; mapfile <"$host/up"; done
after=$(answers)
[ $((after - before)) -le 4 ] || fail "$((after - before)) answers for 400 reads of known values"
stop_daemon || exit 1

# with an update each millisecond: whole, new, and never backwards, for all readers
conf 0.001
CONF=$tmp/conf start_daemon --connect test:///default
wait_for 10 has_value "$host/duration" || fail "no sample"
cat >"$tmp/reader.py" <<'EOF2'
import os, re, sys, time
path, seconds = sys.argv[1], float(sys.argv[2])
shape = re.compile(rb"\d+\.\d{6}\n")
last, n, end = 0, 0, time.monotonic() + seconds
kept = os.open(path, os.O_RDONLY)
while time.monotonic() < end:
    uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
    with open(path, "rb", buffering=0) as f:
        text = f.read(4096)
    assert shape.fullmatch(text), text
    value = float(text)
    assert value >= last, (value, last)
    # an update each millisecond, on a machine that is busy with readers
    assert value > uptime - 2, (value, uptime)
    last = value
    again = os.pread(kept, 4096, 0)
    assert shape.fullmatch(again) and float(again) >= last, (again, last)
    last = float(again)
    assert os.fstat(kept).st_size == len(again)
    n += 1
assert n > 100, n
EOF2
# who waits between two reads finds no tail of a longer value
cat >"$tmp/slow-reader.py" <<'EOF2'
import os, random, sys, time
path, lengths, end, n = sys.argv[1], set(), time.monotonic() + 5, 0
while time.monotonic() < end:
    start = time.monotonic()
    fd = os.open(path, os.O_RDONLY)
    text = os.read(fd, 4096)
    time.sleep(random.random() * 0.03)
    rest = os.read(fd, 4096)
    os.close(fd)
    assert text.endswith(b"\n") and text.count(b"\n") == 1, text
    # the old file stays for 250 ms; whom a busy machine kept for longer saw another
    if time.monotonic() - start < 0.25:
        assert not rest, (text, rest)
        n += 1
    lengths.add(len(text))
assert len(lengths) > 1 and n > 20, (lengths, n)
EOF2
readers=()
for _ in {1..4}; do
	python3 "$tmp/slow-reader.py" "$host/duration" &
	readers+=($!)
done
for _ in {1..8}; do
	python3 "$tmp/reader.py" "$host/up" 5 &
	readers+=($!)
done
for r in "${readers[@]}"; do wait "$r" || fail "a reader saw something wrong"; done
find "$mnt" -type f >/dev/null || fail find

# an answer that reaches the kernel when its value has changed already is not kept: readers
# who wait for a processor, asking for what the kernel has just thrown away
cat >"$tmp/late-reader.py" <<'EOF2'
import os, sys, time
path, end, n = sys.argv[1], time.monotonic() + 6, 0
while time.monotonic() < end:
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("2")
    first, until = os.stat(path).st_mtime_ns, time.monotonic() + 3
    while os.stat(path).st_mtime_ns == first:
        assert time.monotonic() < until, "an old answer stays"
    n += 1
assert n > 10, n
EOF2
readers=()
for _ in {1..3}; do timeout 6 sh -c 'while :; do :; done' & done
for _ in {1..6}; do
	nice -n 5 python3 "$tmp/late-reader.py" "$host/up" &
	readers+=($!)
done
for r in "${readers[@]}"; do wait "$r" || fail "a late answer"; done
stop_daemon || exit 1

conf 0.2
CONF=$tmp/conf start_daemon --connect test:///default
# what stays the same keeps its time; what changes does not
then=$(stat -c %y "$host/name")
first=$(stat -c %y "$host/up")
moved() { [ "$(stat -c %y "$host/up")" != "$first" ]; }
wait_for 5 moved || fail "the time of a value that changes stands still"
assert_eq "the time of a value that stays" "$(stat -c %y "$host/name")" "$then"

# watching: poll wakes for a change, and for nothing else; a mapping shows it
timeout 20 python3 - "$host/cycles" "$host/name" <<'EOF2' || fail poll
import mmap, os, select, sys, time
changing, steady = (os.open(p, os.O_RDONLY) for p in sys.argv[1:])
def wait(fd, ms):
    p = select.poll()
    p.register(fd, select.POLLPRI)
    return p.poll(ms)
assert not wait(steady, 0)
for _ in range(5):
    before = os.pread(changing, 64, 0)
    start = time.monotonic()
    while os.pread(changing, 64, 0) == before:
        assert wait(changing, 5000), "not woken"
    assert time.monotonic() - start < 5
assert not wait(steady, 700), "woken without a change"
e = select.epoll()
e.register(changing, select.EPOLLPRI)
assert e.poll(5), "epoll"
m = mmap.mmap(changing, 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
first, end = bytes(m), time.monotonic() + 5
while bytes(m[:len(first)]) == first:
    assert time.monotonic() < end, "the mapping stands still"
    time.sleep(0.05)
EOF2

# the manual's way to see a live value
sed -n "/python3 -c '/,/FILE\$/p" "$top/docs/man/vhostmd.8.scd" >"$tmp/watch.sh"
sed -i "s|FILE\$|$host/cycles|" "$tmp/watch.sh"
PYTHONUNBUFFERED=1 timeout 30 bash "$tmp/watch.sh" >"$tmp/live" &
watcher=$!
at_exit 'kill $watcher 2>/dev/null'
five_values() { [ "$(sort -n "$tmp/live" | uniq | wc -l)" -ge 5 ]; }
wait_for 20 five_values || fail "watching: $(cat "$tmp/live")"
kill $watcher

# what cannot be had: each time anew, and it is no stale value when it can
cat "$mnt/metrics/vm/test/none" 2>"$tmp/err" && fail "what an action did not print"
grep -q 'No data available' "$tmp/err" || fail "$(cat "$tmp/err")"
echo 7 >"$tmp/late"
wait_for 10 grep -qsx 7 "$mnt/metrics/vm/test/none" || fail "what can be had now"

# a reload changes what is there at once, also for who has looked
[ -e "$host/cycles" ] || fail cycles
conf 0.2
sed -i '/name>cycles</d; s/>up</>uptime</' "$tmp/conf"
kill -HUP "$keeper"
wait_for 10 test ! -e "$host/cycles" || fail "a metric that is not configured any more"
wait_for 5 has_value "$host/uptime" || fail "a new metric is missing"
find "$host" -name uptime | grep -q . || fail "the directory is old"
[ -e "$host/up" ] && fail "the old name is still there"
sed -i 's|<globals>|<globals><filesystem><mode>0400</mode></filesystem>|' "$tmp/conf"
kill -HUP "$keeper"
mode() { [ "$(stat -c %a "$host/name")" = 400 ]; }
wait_for 5 mode || fail "the mode is old: $(stat -c %a "$host/name")"
stop_daemon || exit 1

# whoever watches many files, and one file many times, is woken for each of them
conf 0.5
for i in {1..400}; do
	echo "<metric context='host'><name>many $i</name><source>vhostmd.fast.cycles</source></metric>"
done >"$tmp/many"
sed -i "/<metrics>/r $tmp/many" "$tmp/conf"
CONF=$tmp/conf start_daemon --connect test:///default
wait_for 10 has_value "$host/many 400" || fail "no sample"
cat >"$tmp/many.py" <<'EOF2'
import os, resource, select, sys, time
host, n = sys.argv[1], int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (n + 100, n + 100))
p, asleep = select.poll(), set()
for i in range(n):
    fd = os.open(f"{host}/many {1 + i % 400}", os.O_RDONLY)
    p.register(fd, select.POLLPRI)
    asleep.add(fd)
p.poll(0)
end = time.monotonic() + 20
while asleep:
    assert time.monotonic() < end, f"{len(asleep)} of {n} not woken"
    for fd, _ in p.poll(1000):
        asleep.discard(fd)
EOF2
python3 "$tmp/many.py" "$host" 400 || fail "400 watched files"
python3 "$tmp/many.py" "$host" 10000 || fail "10000 watched files"
stop_daemon || exit 1
exit 0
