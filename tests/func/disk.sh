#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Disks under any reader, at an update each millisecond: what guests' rules accept is whole.
. "$(dirname "$0")/../lib.sh"
need_fuse

cat >"$tmp/conf" <<EOF2
<vhostmd><globals><disk><name>x</name><path>$tmp/shared</path><size unit="k">256</size></disk>
<update_period>0.001</update_period><transport>vbd</transport></globals><metrics>
<metric context="host"><name>up</name><source>host.uptime</source></metric>
$(for i in $(seq 400); do
	echo "<metric context='host'><name>number $i of many that fill the disk</name><source>vhostmd.fast.cycles</source></metric>"
done)
</metrics></vhostmd>
EOF2
CONF=$tmp/conf start_daemon --connect test:///default
wait_for 10 test -e "$mnt/metrics/vm/test" || fail "no VM"
cat >"$tmp/reader.py" <<'EOF2'
import mmap, os, random, re, struct, sys, time
path, block, direct, order, seconds = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "direct", sys.argv[4], float(sys.argv[5])
crowd, pause = len(sys.argv) > 6, float(sys.argv[6]) if len(sys.argv) > 6 else 0
fd = os.open(path, os.O_RDONLY | (os.O_DIRECT if direct else 0))
size = os.fstat(fd).st_size
room = mmap.mmap(-1, 1 << 20)

def part(offset, n):
    """aligned, as O_DIRECT wants it"""
    got = os.preadv(fd, [memoryview(room)[:n]], offset)
    assert got == min(n, size - offset), (got, n, offset)
    return room[:got]

def header():
    signature, busy, total, length = struct.unpack(">IIII", part(0, max(block, 512))[:16])
    assert signature == 0x6d766264, hex(signature)
    return busy, total, length

rounds, retries, seen, orders, end = 0, 0, set(), set(), time.monotonic() + seconds
while time.monotonic() < end:
    busy, total, length = header()
    if busy:
        time.sleep(0.001)
        continue
    offsets = list(range(0, 16 + length, block))
    if order == "random":
        # a block that covers offset 0 may move the disk on, as everywhere: it comes first
        rest = offsets[1:]
        random.shuffle(rest)
        offsets = offsets[:1] + rest
    blocks = {o: part(o, block) for o in offsets}
    again = header()
    if again[0] or again[1] != total:
        retries += 1
        continue
    content = b"".join(blocks[o] for o in sorted(blocks))[16:16 + length]
    assert sum(content) & 0xffffffff == total, "torn"
    assert content.startswith(b"<metrics>\n") and content.rstrip().endswith(b"</metrics>"), content[-50:]
    content.decode("ascii")
    numbers = set(re.findall(rb"many that fill the disk</name>\s*<value>(\d+)<", content))
    assert len(numbers) == 1, numbers  # all of one generation
    seen |= numbers
    orders.add(hash(tuple(re.findall(rb"<name>([^<]*)<", content))))
    rounds += 1
    time.sleep(random.random() * pause)
assert rounds > 5, (rounds, retries)
assert crowd or retries <= rounds / 20 + 2, (rounds, retries)
assert len(seen) > 1 or seconds < 3, "never anything new"
assert len(orders) == 1, "the order of the metrics changes"
EOF2
private=$mnt/disk/$(cat /proc/sys/kernel/random/uuid).img
own=$mnt/disk/$(ls "$mnt/metrics/vm-by-uuid").img # of a VM that runs
readers=()
for image in "$own" "$mnt/disk/vhostmd0.img"; do
	for block in 512 4096 65536 1048576; do
		python3 "$tmp/reader.py" "$image" $block direct "$([ $block = 512 ] && echo random || echo rising)" 5 &
		readers+=($!)
	done
done
for r in "${readers[@]}"; do wait "$r" || fail "a reader past the page cache found something wrong"; done
# through the page cache, which all readers of an image share; the shared disk, by its link
python3 "$tmp/reader.py" "$tmp/shared" 65536 buffered rising 4 &
readers=($!)
for block in 4096 65536; do
	python3 "$tmp/reader.py" "$private" $block buffered rising 4 &
	readers+=($!)
done
for r in "${readers[@]}"; do wait "$r" || fail "a reader through the page cache found something wrong"; done
# both ways at once: who reads past the page cache was there first
python3 "$tmp/reader.py" "$own" 65536 direct rising 5 &
readers=($!)
python3 "$tmp/reader.py" "$own" 4096 buffered rising 4 || fail "buffered beside direct"
wait "${readers[@]}" || fail "direct beside buffered"

# a crowd, some of whom come when the image moves on, beside others who look at the header
# alone, so that its page is there and the rest is not
readers=()
for pause in 0 0 0.03 0.3 0.4; do
	python3 "$tmp/reader.py" "$private" 16384 buffered rising 6 $pause &
	readers+=($!)
done
timeout 6 bash -c 'while :; do head -c 16 "$1" >/dev/null; done' _ "$private"
for r in "${readers[@]}"; do wait "$r" || fail "a reader in a crowd found something wrong"; done

# a reader that stops in the middle, as a VM does that is paused, holds nobody up for long
python3 - "$private" "$mnt/disk/vhostmd0.img" "$mnt/metrics.xml" <<'EOF2' &
import mmap, os, signal, sys
room = mmap.mmap(-1, 4096)
for path in sys.argv[1:3]:
    os.preadv(os.open(path, os.O_RDONLY | os.O_DIRECT), [room], 0)
os.read(os.open(sys.argv[3], os.O_RDONLY), 100)
os.kill(os.getpid(), signal.SIGSTOP)
EOF2
stopped=$!
at_exit "kill -KILL $stopped 2>/dev/null"
is_stopped() { grep -q '^State:.T' "/proc/$stopped/status"; }
wait_for 10 is_stopped || fail "the reader does not stop"
readers=()
for image in "$private" "$mnt/disk/vhostmd0.img"; do
	python3 "$tmp/reader.py" "$image" 65536 direct rising 4 &
	readers+=($!)
done
for r in "${readers[@]}"; do wait "$r" || fail "beside a reader that stopped"; done
timeout 5 cat "$mnt/metrics.xml" >/dev/null || fail "metrics.xml beside a reader that stopped"
kill -KILL $stopped
wait $stopped 2>/dev/null
stop_daemon || exit 1
exit 0
