#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The cost of reading: read.sh [--long] [--guests N].  Everything is compared with something
# that is measured in turns with it.
. "$(dirname "$0")/../guest/lib.sh"
guests=100 rounds=100000
while [ $# -gt 0 ]; do
	case $1 in
	--guests) guests=$2; shift ;;
	--long) rounds=1000000 ;;
	esac
	shift
done
reader=$build/tests/reader
result() { printf 'read.%s %s %s\n' "$@"; }
# the median of A / B over lines "A B"
median_ratio() { awk '{print $1 / $2}' | sort -n | awk '{r[NR] = $1} END {printf "%.3f\n", r[int((NR + 1) / 2)]}'; }

need_halting_guests >&2
mkdir "$tmp/plain"
"$build/tests/plain-fuse" "$tmp/plain" &
plain=$!
at_exit "fusermount3 -u $tmp/plain; kill $plain 2>/dev/null"
wait_for 10 test -s "$tmp/plain/small" || fail "no plain FUSE server"

# one value that changes each 10 ms
cat >"$tmp/conf" <<-EOF2
	<vhostmd><globals><update_period>0.01</update_period></globals><metrics>
	<metric context="host"><name>up</name><source>host.uptime</source></metric>
	</metrics></vhostmd>
EOF2
CONF=$tmp/conf start_daemon --connect test:///default
for _ in 1 2 3 4 5; do
	echo "$("$reader" file "$mnt/metrics/host/up" 1) $("$reader" file /proc/loadavg 1) $("$reader" file "$tmp/plain/small" 1)"
done >"$tmp/files"
result file_us "$(awk '{print $1}' "$tmp/files" | sort -n | sed -n 3p)" us
result file_vs_procfs "$(median_ratio <"$tmp/files")" ratio
result file_vs_plain_fuse "$(awk '{print $1, $3}' "$tmp/files" | median_ratio)" ratio
stop_daemon || exit 1

# disks: 64 KiB past the page cache; by guests' rules at an update each millisecond
cat >"$tmp/conf" <<-EOF2
	<vhostmd><globals><disk><name>x</name><path>$tmp/shared</path><size unit="k">256</size></disk>
	<update_period>0.001</update_period><transport>vbd</transport></globals><metrics>
	<metric context="host"><name>up</name><source>host.uptime</source></metric>
	<metric context="host"><name>cycles</name><source>vhostmd.fast.cycles</source></metric>
	$(for i in $(seq 400); do
		echo "<metric context='host'><name>a metric to fill the disk, number $i</name><source>host.context.switches</source></metric>"
	done)
	</metrics></vhostmd>
EOF2
CONF=$tmp/conf start_daemon --connect test:///default
wait_for 10 test -e "$mnt/metrics/vm/test" || fail "no VM"
disk=$mnt/disk/$(ls "$mnt/metrics/vm-by-uuid").img
for _ in 1 2 3 4 5; do
	echo "$("$reader" disk "$disk" 3000 direct | cut -d' ' -f1) $("$reader" disk "$tmp/plain/disk" 3000 direct | cut -d' ' -f1)"
done >"$tmp/disks"
result disk_us "$(awk '{print $1}' "$tmp/disks" | sort -n | sed -n 3p)" us
result disk_vs_plain_fuse "$(median_ratio <"$tmp/disks")" ratio
for rules in guest blocks; do
	for image in "$disk" "$mnt/disk/vhostmd0.img"; do
		"$reader" torn "$image" $((rounds / 4)) 8 $rules >>"$tmp/torn" || fail "$image"
	done
done
result torn "$(awk '{n += $1} END {print n}' "$tmp/torn")" rounds
result retries_per_thousand "$(awk -v r="$rounds" '{n += $2} END {printf "%.3f\n", n * 1000 / r}' "$tmp/torn")" rounds
stop_daemon || exit 1

# 1,000 images, read once each, and left alone
sed 's|0.001<|1<|' "$tmp/conf" >"$tmp/conf1"
CONF=$tmp/conf1 start_daemon --connect test:///default
python3 - "$mnt/disk" "$(worker_pid)" <<'EOF2'
import mmap, os, sys, time, uuid
folder, pid = sys.argv[1:]
room = mmap.mmap(-1, 65536)
def rss():
    return next(int(l.split()[1]) for l in open(f"/proc/{pid}/status") if l.startswith("VmRSS"))
def read(n):
    for _ in range(n):
        fd = os.open(f"{folder}/{uuid.uuid4()}.img", os.O_RDONLY | os.O_DIRECT)
        os.preadv(fd, [room], 0)
        os.close(fd)
read(10)
before = rss()
read(1000)
during = rss()
end = time.monotonic() + 30
while rss() - before > 2048 and time.monotonic() < end:
    time.sleep(0.1)
print(f"read.images_1000_read_mib {(during - before) / 1024:.1f} MiB")
print(f"read.images_1000_later_mib {(rss() - before) / 1024:.1f} MiB")
EOF2
stop_daemon || exit 1

# a real guest, its own tool, its own disk
if [ -x "$guest_qemu" ]; then
	need_guests >&2
	sed -i 's|</metrics>|<metric context="vm"><name>time</name><source>cpu.time</source></metric>&|' "$tmp/conf"
	CONF=$tmp/conf start_daemon
	uuid=$(new_uuid)
	guest_start "$guest_prefix-read" "$uuid" "$(guest_disk_xml "$mnt/disk/$uuid.img")"
	# three requests: header, all of it, header again; a retry is two more
	loop='reads() { set -- $(cat /sys/block/vd?/stat); echo $1; }; i=0; while [ $i -lt 100 ]; do a=$(reads); vm-dump-metrics -b >/tmp/m || echo BAD; echo READS $(($(reads) - a)) $(md5sum </tmp/m); i=$((i + 1)); done'
	for _ in $(seq 10); do
		guest_run "$uuid" "$loop" || fail "guest"
	done >"$tmp/out"
	grep -q BAD "$tmp/out" && fail "vm-dump-metrics failed"
	result guest_reads "$(grep -c '^READS' "$tmp/out")" reads
	result guest_images "$(awk '/^READS/ {print $3}' "$tmp/out" | sort -u | wc -l)" images
	result guest_retries "$(awk '/^READS/ {n += ($2 - 3) / 2} END {print n}' "$tmp/out")" rounds
	guest_stop "$uuid"
	stop_daemon || exit 1
fi

# the whole tree
say "starting $guests guests" >&2
for i in $(seq "$guests"); do
	guest_start_halting "$guest_prefix-bench-$i" "$(new_uuid)" "" || fail "guest $i does not start"
done
{
	echo "<vhostmd><globals><update_period>1</update_period></globals><metrics>"
	# each of them changes in each period; the generation does with anything that is sampled
	echo "<metric context='vm'><name>metric.60</name><source>cpu.time</source></metric>"
	for i in $(seq 59); do
		echo "<metric context='vm' type='real64'><name>metric.$i</name><source>sample.generation</source></metric>"
	done
	echo "</metrics></vhostmd>"
} >"$tmp/conf"
CONF=$tmp/conf start_daemon
all_there() { [ "$(find "$mnt/metrics/vm" -type f | wc -l)" -ge $((60 * guests)) ]; }
wait_for 60 all_there || fail "not all guests are there"
mkdir "$tmp/copy"
mount -t tmpfs tmpfs "$tmp/copy"
at_exit "umount $tmp/copy"
cp -r "$mnt/metrics" "$tmp/copy/"
generation() { cat "$mnt/metrics/vm/$guest_prefix-bench-1/metric.1"; }
next_generation() { local g; g=$(generation); past() { [ "$(generation)" != "$g" ]; }; wait_for 10 past; }
walk_ms()
{
	python3 - "$1" <<-'EOF2'
		import subprocess, sys, time
		start = time.monotonic()
		subprocess.run(["grep", "-rs", ".", sys.argv[1]], stdout=subprocess.DEVNULL)
		print(f"{(time.monotonic() - start) * 1000:.2f}")
	EOF2
}
walk_ms "$mnt/metrics" >/dev/null
walk_ms "$tmp/copy/metrics" >/dev/null
# both walks before the next publication, else once more
walks()
{
	local cold warm now
	for _ in $(seq 20); do
		next_generation
		now=$(generation)
		cold=$(walk_ms "$mnt/metrics")
		warm=$(walk_ms "$mnt/metrics")
		[ "$(generation)" = "$now" ] || continue
		echo "$cold $warm $(walk_ms "$tmp/copy/metrics")"
		return
	done
	fail "the tree changes faster than it is walked"
}
for _ in 1 2 3 4 5 6 7; do walks; done >"$tmp/walks"
result tree_files "$(find "$mnt/metrics" -type f | wc -l)" files
result tree_cold_ms "$(awk '{print $1}' "$tmp/walks" | sort -n | sed -n 4p)" ms
result tree_cold_vs_tmpfs "$(awk '{print $1, $3}' "$tmp/walks" | median_ratio)" ratio
result tree_warm_vs_tmpfs "$(awk '{print $2, $3}' "$tmp/walks" | median_ratio)" ratio

# a guest's reads while others walk
disk=$mnt/disk/$(find "$mnt/metrics/vm-by-uuid" -type l -printf '%f\n' | head -n 1).img
p99() { "$reader" disk "$disk" 100000 direct | cut -d' ' -f2; }
# p99_under COMMAND...: while these loop, one beside the other
walkers=()
at_exit 'kill "${walkers[@]}" 2>/dev/null'
p99_under()
{
	local command
	walkers=()
	for command; do
		(while :; do eval "$command" >/dev/null; done) &
		walkers+=($!)
	done
	p99
	kill "${walkers[@]}"
	wait "${walkers[@]}" 2>/dev/null
}
# Two walkers keep two processors busy, wherever they walk: so they do it elsewhere, too.
find="find $mnt -type f" grep="grep -rs . $mnt/metrics"
for _ in 1 2 3 4 5; do
	p99 >"$tmp/alone"
	p99_under "$find; $grep" >"$tmp/one"
	p99_under "$find" "$grep" >"$tmp/two"
	p99_under "find $tmp/copy -type f" "grep -rs . $tmp/copy/metrics" >"$tmp/elsewhere"
	paste "$tmp/alone" "$tmp/one" "$tmp/two" "$tmp/elsewhere"
done >"$tmp/p99"
result disk_p99_us "$(awk '{print $1}' "$tmp/p99" | sort -n | sed -n 3p)" us
result disk_p99_under_find "$(awk '{print $3, $1}' "$tmp/p99" | median_ratio)" ratio
result disk_p99_under_one_walker "$(awk '{print $2, $1}' "$tmp/p99" | median_ratio)" ratio
result disk_p99_under_find_vs_tmpfs "$(awk '{print $3, $4}' "$tmp/p99" | median_ratio)" ratio
stop_daemon || exit 1
exit 0
