#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The file system on a real mount, without a hypervisor: every usual tool, every refusal.
. "$(dirname "$0")/../lib.sh"
need_fuse

cat >"$tmp/conf" <<'EOF'
<vhostmd><globals><update_period>0.2</update_period></globals><metrics>
<metric type="uint64" context="host" unit="MiB"><name>TotalPhyMem</name>
<source unit="MiB">host.mem.total</source></metric>
<metric type="string" context="host"><name>HostName</name><source>host.name</source></metric>
<metric type="uint64" context="host"><name>Time</name><source>host.time</source></metric>
<metric type="string" context="host"><name>a/b %</name><action>echo x</action></metric>
<metric type="int32" context="host"><name>Never</name><action>exit 3</action></metric>
<metric type="uint32" context="host" guest="no"><name>OpenToHost</name><action>echo 42</action></metric>
<metric type="string" context="host" guest="no"><name>Secret</name><action>echo s3cret</action></metric>
</metrics></vhostmd>
EOF
CONF=$tmp/conf start_daemon --connect test:///default
host=$mnt/metrics/host
wait_for 10 has_value "$host/Secret" && wait_for 10 has_value "$host/OpenToHost" || fail "no action result"
wait_for 10 test -e "$mnt/metrics/vm/test" || fail "the test driver's domain is missing"

# reading, with each of the usual tools
assert_eq cat "$(cat "$host/HostName")" "$(uname -n)"
assert_eq mem "$(cat "$host/TotalPhyMem")" "$(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo)"
assert_eq size "$(stat -c %s "$host/HostName")" "$(cat "$host/HostName" | wc -c)"
assert_eq tail "$(tail -n 1 "$host/HostName")" "$(uname -n)"
assert_eq dd "$(dd if="$host/HostName" bs=1 status=none)" "$(uname -n)"
assert_eq escaped "$(cat "$host/a%2Fb %25")" x
cp "$host/TotalPhyMem" "$tmp/copy" && cmp "$tmp/copy" "$host/TotalPhyMem" || fail cp
[ -n "$(grep -rs s3cret "$mnt/metrics")" ] || fail "grep -r"
[ "$(find "$mnt" -type f | wc -l)" -ge 9 ] || fail find
ls -lR "$mnt" >/dev/null || fail "ls -lR"
rsync -a "$mnt/metrics/host/HostName" "$tmp/synced" && cmp "$tmp/synced" "$host/HostName" || fail rsync
tar -C "$mnt/metrics/vm" -cf "$tmp/tar" . || fail tar
python3 - "$host/HostName" <<'EOF' || fail mmap
import mmap, os, sys
with open(sys.argv[1], "rb") as f:
    m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    assert m[:] == os.uname().nodename.encode() + b"\n"
EOF
assert_eq type "$(stat -f -c %T "$mnt")" fuseblk 2>/dev/null || assert_eq type "$(stat -f -c %T "$mnt")" fuse
assert_eq fstype "$(awk -v m="$mnt" '$2 == m {print $3}' /proc/mounts)" fuse.vhostmd

# times, attributes, links
age=$(($(date +%s) - $(stat -c %Y "$host/Time")))
[ $age -ge -1 ] && [ $age -le 3 ] || fail "mtime is $age s old"
assert_eq xattrs "$(getfattr -d --absolute-names "$host/TotalPhyMem" | grep -c '^user.vhostmd')" 3
assert_eq unit "$(getfattr --only-values -n user.vhostmd.unit --absolute-names "$host/TotalPhyMem")" MiB
getfattr -n user.vhostmd.unit --absolute-names "$host/HostName" 2>/dev/null && fail "unit of HostName"
assert_eq link "$(readlink "$mnt/metrics/vm-by-id/1")" ../vm/test
[ -d "$mnt/metrics/vm-by-id/1/" ] || fail "the link leads nowhere"
assert_eq linksize "$(stat -c %s "$mnt/metrics/vm-by-id/1")" 10

# what cannot be had, what does not exist
cat "$host/Never" 2>"$tmp/err" && fail "a metric that failed was read"
grep -q 'No data available' "$tmp/err" || fail "not ENODATA: $(cat "$tmp/err")"
logged 'metric Never is unavailable: the action ended with status 3' || fail "not logged"
assert_eq "logged once" "$(grep -c 'metric Never is unavailable' "$tmp/log")" 1
for absent in nothing metrics/host/nothing metrics/vm/nothing metrics/vm-by-id/99 \
	metrics/vm-by-id/x metrics/vm-by-uuid/x disk/x.img disk/nothing; do
	[ -e "$mnt/$absent" ] && fail "$absent exists"
done

# nothing can be changed, and nothing breaks
for command in "touch $mnt/x" "mkdir $mnt/x" "rm $host/Time" "mv $host/Time $host/T" \
	"ln -s a $mnt/x" "ln $host/Time $host/T" "chown 1 $host/Time" "chmod 777 $host/Time" \
	"truncate -s 0 $host/Time" "setfattr -n user.a -v b $host/Time" "rmdir $mnt/disk" \
	"mknod $mnt/p p" "dd if=/dev/zero of=$host/Time count=1"; do
	$command 2>"$tmp/err" && fail "$command worked"
	grep -qE 'Read-only file system|Operation not' "$tmp/err" || fail "$command: $(cat "$tmp/err")"
done
flock -n "$host/Time" true || fail flock
setpriv --reuid 65534 --clear-groups cat "$host/Time" >/dev/null || fail "others cannot read"

# documents
xmllint --noout "$mnt/metrics.xml" || fail "metrics.xml is not XML"
grep -q 's3cret\|OpenToHost' "$mnt/metrics.xml" && fail "a metric with guest=no is shown to guests"
grep -qx 'vhostmd_host_custom_open_to_host 42' "$mnt/metrics.prom" || fail "the host does not see it in metrics.prom"
grep -q s3cret "$mnt/metrics.prom" && fail "the text of an action is in metrics.prom"
promtool check metrics <"$mnt/metrics.prom" || fail "promtool"
grep -q '^vhostmd_host_mem_total_bytes [0-9]*$' "$mnt/metrics.prom" || fail "TotalPhyMem's source: $(cat "$mnt/metrics.prom")"
grep -q '^vhostmd_host_info{name="'"$(uname -n)"'"} 1$' "$mnt/metrics.prom" || fail "HostName as a label"
wait_for 5 grep -q '^libvirt.state: connected' "$mnt/status" || fail status

# a value is whole, however fast it changes: time never goes back, never lacks its newline
python3 - "$host/Time" <<'EOF' || fail "torn or old value"
import sys, time
last, end = 0, time.monotonic() + 2
while time.monotonic() < end:
    with open(sys.argv[1]) as f:
        text = f.read()
    assert text.endswith("\n"), text
    assert int(text) >= last, (text, last)
    last = int(text)
assert last >= time.time() - 2
EOF

# a program in Go reads with several threads, and looks for the end more than once, when there is a
# newer rendering of another length, too
sed -i 's/<update_period>0.2</<update_period>0.01</
	s|<metrics>|&<metric type="uint64" context="host"><name>Length</name><action>echo 1$(printf %0$(date +%1N)d 0)</action></metric>|' "$tmp/conf"
kill -HUP "$keeper"
wait_for 10 logged 'is in force' || fail reload
python3 - "$mnt/metrics.prom" <<'EOF' || fail "a document read as by a program in Go"
import concurrent.futures, itertools, os, random, sys, time
threads = itertools.cycle([concurrent.futures.ThreadPoolExecutor(1) for _ in range(3)])
def read(fd):
    return next(threads).submit(os.read, fd, random.randint(512, 16384)).result()
def look(fd):
    more = read(fd)
    assert not more, f"behind the end: {more[:80]}"
seen = set()
for _ in range(6):
    open_files = []
    for _ in range(20):
        fd, text = os.open(sys.argv[1], os.O_RDONLY), b""
        while part := read(fd):
            text += part
        assert text.endswith(b"\n"), text[-80:]
        look(fd)
        open_files.append(fd)
        seen.add(text)
        time.sleep(random.random() / 50)
    for fd in open_files: # from some 500 ms to none ago
        look(fd)
        os.close(fd)
    time.sleep(0.3) # until there is another
lengths = len(set(map(len, seen)))
assert len(seen) > 6 and lengths > 1, f"{len(seen)} renderings of {lengths} lengths"
EOF
for i in {1..12}; do
	promtool check metrics <"$mnt/metrics.prom" >"$tmp/out" 2>&1 ||
		fail "promtool, fast updates, try $i: $(cat "$tmp/out")"
done

stop_daemon || exit 1
mountpoint -q "$mnt" && fail "still mounted"
[ -e "$mnt" ] && fail "the mount point that it made is still there"
[ -e "$tmp/pid" ] && fail "the pid file is still there"

# ---- names for Prometheus, whatever is configured ----

checked() # FILE: promtool has nothing to say
{
	promtool check metrics <"$1" >"$tmp/out" 2>&1 && [ ! -s "$tmp/out" ] ||
		fail "promtool, $2: $(cat "$tmp/out")"
}
# each name that there may be
"$build/vhostmd" --list-sources=markdown | awk -F' [|] ' '$7 ~ /^`/ {
	gsub(/[`{}|]/, " ", $7)
	split($7, word, " ")
	if (seen[word[1]]++)
		next
	if (sub(/_bucket$/, "", word[1]))
		printf "# HELP %s %s.\n# TYPE %s histogram\n%s_bucket{le=\"+Inf\"} 1\n%s_sum 1\n%s_count 1\n",
			word[1], $6, word[1], word[1], word[1], word[1]
	else
		printf "# HELP %s %s.\n# TYPE %s %s\n%s 1\n", word[1], $6, word[1],
			word[1] ~ /_total$/ ? "counter" : "gauge", word[1]}' >"$tmp/names"
[ "$(grep -c '^# TYPE' "$tmp/names")" -ge 200 ] || fail "names: $(cat "$tmp/names")"
checked "$tmp/names" "every name"

every_source 0.2 0.5 >"$tmp/every"
for conf in "$top/conf/vhostmd.conf" "$tmp/every"; do
	CONF=$conf start_daemon --connect test:///default
	all_there() { grep -q '^vhostmd_vm_info{.*name="test",id="1"' "$mnt/metrics.prom" &&
		grep -q '^vhostmd_host_cpu_time_seconds_total ' "$mnt/metrics.prom"; }
	wait_for 20 all_there || fail "$conf: $(cat "$mnt/metrics.prom")"
	cp "$mnt/metrics.prom" "$tmp/prom"
	checked "$tmp/prom" "$conf"
	assert_eq "vhostmd_up" "$(grep '^vhostmd_up' "$tmp/prom")" "vhostmd_up 1"
	assert_eq "its version" "$(grep '^vhostmd_build_info' "$tmp/prom")" \
		"vhostmd_build_info{version=\"$("$build/vhostmd" --version | cut -d' ' -f2)\"} 1"
	assert_eq "series that are there twice" "$(sed -n 's/ [^ ]*$//; /^[^#]/p' "$tmp/prom" | sort | uniq -d)" ""
	# all of them are the list's, but vhostmd's own two
	comm -23 <(sed -n 's/^# TYPE \([^ ]*\) .*/\1/p' "$tmp/prom" | sort) \
		<(sed -n 's/^# TYPE \([^ ]*\) .*/\1/p' "$tmp/names" | sort) >"$tmp/others"
	assert_eq "names of no source" "$(tr '\n' ' ' <"$tmp/others")" "vhostmd_build_info vhostmd_up "
	stop_daemon || exit 1
done
exit 0
