#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The migration from an older vhostmd, with guests that run all the time: their disk is the
# old daemon's file, and stays it.  README, "Replacing the existing vhostmd".
. "$(dirname "$0")/lib.sh"
need_guests
mkdir "$tmp/shm"
path=$tmp/shm/vhostmd0

# What matters of the old daemon: it writes its file by the old protocol, and leaves it.
cat >"$tmp/old-daemon.py" <<'EOF'
import signal, struct, sys, time
ended = False
def end(*_):
    global ended
    ended = True
signal.signal(signal.SIGTERM, end)
with open(sys.argv[1], "wb", buffering=0) as f:
    f.truncate(256 << 10)
    beat = 0
    while not ended:
        beat += 1
        content = f"""<metrics>
  <metric type='string' context='host'>
    <name>Daemon</name>
    <value>old</value>
  </metric>
  <metric type='uint64' context='host'>
    <name>Beat</name>
    <value>{beat}</value>
  </metric>
</metrics>
""".encode()
        def put(offset, data):
            f.seek(offset)
            f.write(data)
        put(0, struct.pack(">4sI", b"mvbd", 1))
        put(16, content)
        put(8, struct.pack(">II", sum(content) % 2**32, len(content)))
        put(4, struct.pack(">I", 0))
        time.sleep(0.5)
EOF
python3 "$tmp/old-daemon.py" "$path" &
old=$!
at_exit "kill $old 2>/dev/null"
wait_for 10 test -s "$path" || fail "the stand-in of the old daemon does not start"

# disk ELEMENTS: as domains have it that were made for the old daemon
disk()
{
	echo "<disk type='file' device='disk'><driver name='qemu' type='raw'/>
		<source file='$path'/><target dev='vdz' bus='virtio'/>$1</disk>"
}
# value UUID METRIC: as the guest reads it from its disk
value()
{
	guest_run "$1" 'vm-dump-metrics -b' >"$tmp/doc.xml" || fail "no document in $1: $(cat "$tmp/doc.xml")"
	xmllint --xpath "string(//metric[@context='host'][name='$2']/value)" "$tmp/doc.xml"
}
# fresh UUID DAEMON WHEN: it sees that daemon's news
fresh()
{
	local before
	before=$(value "$1" Beat)
	news() { [ "$(value "$1" Daemon)" = "$2" ] && [ "$(value "$1" Beat)" != "$before" ]; }
	wait_for 10 news "$1" "$2" || fail "$3: a guest sees no news of the $2 daemon: $(cat "$tmp/doc.xml")"
	[ "$2" = old ] || grep -q "uuid='$1'" "$tmp/doc.xml" || fail "$3: a guest does not see itself"
}

# one that may write: the old daemon's file lets it start
a=$(new_uuid) b=$(new_uuid) c=$(new_uuid)
guest_start "$guest_prefix-a" "$a" "$(disk '<shareable/>')"
fresh "$a" old "before"
kill "$old"
wait "$old"

cat >"$tmp/conf" <<EOF
<vhostmd><globals><disk><path>$path</path><size unit="k">256</size></disk>
<update_period>0.5</update_period></globals><metrics>
<metric type="string" context="host"><name>Daemon</name><action>echo new</action></metric>
<metric context="host"><name>Beat</name><source>vhostmd.fast.cycles</source></metric>
<metric context="vm"><name>TotalCPUTime</name><source>cpu.time</source></metric>
</metrics></vhostmd>
EOF
CONF=$tmp/conf start_daemon
logged "$path is of an older vhostmd: it is written on" || fail "not a word on the old file"
fresh "$a" new "after the change"

# a guest that is started meanwhile, as long as the file is there, and another daemon
guest_start "$guest_prefix-b" "$b" "$(disk '<readonly/><shareable/>')"
fresh "$b" new "started meanwhile"
stop_daemon || exit 1
CONF=$tmp/conf start_daemon
fresh "$a" new "after a restart"
fresh "$b" new "after a restart"

# removed at last: who runs goes on, who starts has the new disk
rm "$path"
wait_for 5 test -L "$path" || fail "no link in place of the file"
guest_start "$guest_prefix-c" "$c" "$(disk '<readonly/><shareable/>')"
fresh "$a" new "after the file was removed"
fresh "$b" new "after the file was removed"
fresh "$c" new "by the link"
# whoever goes on in the daemon's place
for signal in KILL USR2; do
	worker=$(worker_pid)
	if [ $signal = KILL ]; then kill -KILL "$worker"; else kill -USR2 "$keeper"; fi
	wait_for 10 process_gone "$worker" || fail "no other worker"
	for uuid in "$a" "$b" "$c"; do fresh "$uuid" new "after SIG$signal"; done
done
qemu=$(pgrep -f "guest=$guest_prefix-c,") || fail "no QEMU"
find "/proc/$qemu/fd" -lname "*/vhostmd0.img" | grep -q . || fail "the new guest does not have the shared disk"
guest_stop "$a"
guest_stop "$b"
nobody() { grep -q '^disk.old_file: nobody has it open' "$mnt/status"; }
wait_for 10 nobody || fail "the old file is kept: $(cat "$mnt/status")"
fresh "$c" new "alone"
guest_stop "$c"
# README: a domain that may write does not start with the link
guest_xml "$guest_prefix-d" "$b" "$tmp" guest=test "$(disk '<shareable/>')" >"$tmp/$b.xml"
guest_hold "$b"
guest_create "$b" "$tmp/$b.xml" 2>"$tmp/refused" && fail "a disk that may be written"
grep -q 'Read-only file system' "$tmp/refused" || fail "refused otherwise: $(cat "$tmp/refused")"
stop_daemon || exit 1

# with the disk as README has it a VM starts without us, and without the disk
guest_xml "$guest_prefix-c" "$c" "$tmp" guest=test "$(guest_disk_xml "$mnt/disk/$c.img")" >"$tmp/$c.xml"
guest_hold "$c"
virsh_system create "$tmp/$c.xml" >/dev/null || fail "a VM does not start without vhostmd"
virsh_system domblklist "$c" | grep -q vdz && fail "a disk of nobody"
guest_stop "$c"
exit 0
