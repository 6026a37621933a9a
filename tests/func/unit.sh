#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# systemd's unit: how much it is exposed, and the service that it makes, which may not mount, is
# not root, lives in a mount namespace of its own, and shows everybody its figures all the same.
. "$(dirname "$0")/../lib.sh"
need_fuse
unit=$build/vhostmd.service
[ -e "$unit" ] || skip "needs a vhostmd built with libsystemd"
command -v systemd-analyze >/dev/null || skip "needs systemd-analyze"
systemd-analyze security --offline=true --threshold=20 "$unit" --no-pager >"$tmp/exposure" 2>&1 ||
	fail "too much exposure: $(grep '✗\|→' "$tmp/exposure" || cat "$tmp/exposure")"
grep -q 'Overall exposure' "$tmp/exposure" || fail "not analysed: $(cat "$tmp/exposure")"
sed "s|/[^ ]*/vhostmd --|$build/vhostmd --|; s|/[^ ]*/vhostmdctl |$build/ctl/vhostmdctl |" "$unit" >"$tmp/vhostmd.service"
systemd-analyze verify --man=no "$tmp/vhostmd.service" 2>&1 | grep "vhostmd.service" && fail "systemd-analyze verify"

# the socket, which is the service's
cp "$top/data/vhostmd-http.socket" "$tmp/"
systemd-analyze verify --man=no "$tmp/vhostmd-http.socket" "$tmp/vhostmd.service" 2>&1 | grep "vhostmd-http.socket" &&
	fail "systemd-analyze verify"

# the one that attaches VMs
attach=$build/vhostmd-attach.service
systemd-analyze security --offline=true --threshold=20 "$attach" --no-pager >"$tmp/exposure" 2>&1 ||
	fail "too much exposure: $(grep '✗\|→' "$tmp/exposure" || cat "$tmp/exposure")"
sed "s|/[^ ]*/vhostmdctl |$build/ctl/vhostmdctl |" "$attach" >"$tmp/vhostmd-attach.service"
systemd-analyze verify --man=no "$tmp/vhostmd-attach.service" 2>&1 | grep "vhostmd-attach.service" &&
	fail "systemd-analyze verify"

# what systemd would do
setting() { sed -n "s/^$1=//p" "$unit"; }
caps=$(setting AmbientCapabilities | tr '[:upper:]' '[:lower:]' | sed 's/cap_/+/g; s/ /,/g')
assert_eq "bounding set" "$(setting CapabilityBoundingSet)" "$(setting AmbientCapabilities)"
# settings that keep a service from devices keep the command that mounts from them, too: in guest/packages
setting DeviceAllow | grep -qx '/dev/fuse rw' || fail "who mounts may not open /dev/fuse"
setting ExecStartPre | grep -q '^+nsenter --target 1 --mount /.*/vhostmd --mount-only$' || fail "not mounted before"
cat >"$tmp/manager.py" <<'EOF'
"""manager.py MOUNT_PROGRAM... -- SERVICE_PROGRAM...: stores what the first sends, becomes the second."""
import array, os, socket, subprocess, sys
split = sys.argv.index("--")
path = os.environ["tmp"] + "/notify"
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(path)
s.settimeout(20)
p = subprocess.Popen(sys.argv[1:split], env=dict(os.environ, NOTIFY_SOCKET=path))
stored, said = [], []
while "BARRIER=1" not in said:
    data, control, _, _ = s.recvmsg(4096, socket.CMSG_SPACE(64))
    said += data.decode().strip().split("\n")
    for _, _, raw in control:
        fds = array.array("i", raw)
        if b"FDSTORE=1" in data:
            stored += fds
        else:
            os.close(fds[0])
assert p.wait() == 0 and len(stored) == 1, (stored, said)
assert said == ["FDSTOREREMOVE=1", "FDNAME=old-file", "FDSTOREREMOVE=1", "FDNAME=handover",
    "FDSTOREREMOVE=1", "FDNAME=fuse",
    "FDSTORE=1", "FDNAME=fuse", "BARRIER=1"], said
s.close()
if stored[0] == 3:
    os.set_inheritable(3, True)
else:
    os.dup2(stored[0], 3)
    os.close(stored[0])
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="fuse")
os.execvp(sys.argv[split + 1], sys.argv[split + 1:])
EOF
cat >"$tmp/conf" <<EOF
<vhostmd><globals><disk><name>x</name><path>$tmp/run/vhostmd0</path></disk><update_period>0.5</update_period>
<transport>vbd</transport></globals><metrics>
<metric context="host"><name>HostName</name><source>host.name</source></metric>
<metric context="vm"><name>Name</name><source>domain.name</source></metric>
<metric type="string" context="host"><name>Who</name><action>id -un</action></metric>
</metrics></vhostmd>
EOF
chmod 644 "$tmp/conf"
mount --bind "$tmp" "$tmp" && mount --make-shared "$tmp" || fail "no shared mount"
at_exit "umount -l $tmp"
mkdir "$tmp/run"
chown daemon "$tmp/run"
# what the service tells systemd, which confirms that it has heard all before
cat >"$tmp/listen.py" <<'EOF'
import array, os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o666)
while True:
    data, control, _, _ = s.recvmsg(4096, socket.CMSG_SPACE(64))
    print(" ".join(data.decode().split()), flush=True)
    for _, _, raw in control:
        for fd in array.array("i", raw):
            os.close(fd)
EOF
python3 "$tmp/listen.py" "$tmp/listen" >"$tmp/told" &
at_exit "kill $!"
wait_for 10 test -S "$tmp/listen" || fail "nobody listens"
start_service()
{
	: >"$tmp/log"
	rm -f "$tmp/notify"
	python3 "$tmp/manager.py" "$build/vhostmd" --mount-only --mount "$mnt" -- \
		unshare --mount --propagation slave \
		setpriv --reuid daemon --regid daemon --clear-groups --inh-caps "-all,$caps" \
		--ambient-caps "-all,$caps" --bounding-set "-all,$caps" --no-new-privs \
		env ASAN_OPTIONS=exitcode=99 NOTIFY_SOCKET="$tmp/listen" \
		"$build/vhostmd" --no-daemonize --verbose --config "$tmp/conf" -c test:///default \
		--pid-file "$tmp/run/pid" --mount "$mnt" "${http[@]}" >>"$tmp/log" 2>&1 &
	keeper=$!
	wait_for 20 logged "serving $mnt" || fail "the service does not start"
	wait_for 10 has_value "$mnt/metrics/host"/{HostName,Who} "$mnt/metrics/vm/test/Name" || fail "no figures: $(grep -r . "$mnt/metrics" 2>&1)"
}
http=()
ldd "$build/vhostmd" | grep -q microhttpd && http=(--http "unix:$tmp/run/http" --http-group nogroup)
start_service
if [ ${#http[@]} -gt 0 ]; then
	assert_eq "its socket" "$(stat -c '%a %U %G' "$tmp/run/http")" "660 daemon nogroup"
	curl -sS --unix-socket "$tmp/run/http" http://x/metrics | grep -q '^vhostmd_up 1' || fail "no HTTP"
fi
assert_eq "the control socket" "$(stat -c '%a %U' "$tmp/run/control")" "666 daemon"
assert_eq "a reload there" "$("$build/ctl/vhostmdctl" reload --control "$tmp/run/control")" "$tmp/conf is in force"
[ "$(readlink "/proc/$keeper/ns/mnt")" != "$(readlink /proc/self/ns/mnt)" ] || fail "no mount namespace"
assert_eq "an action" "$(cat "$mnt/metrics/host/Who")" nobody
assert_eq "link" "$(readlink "$tmp/run/vhostmd0")" "$mnt/disk/vhostmd0.img"
daemon=$(id -u daemon)
for pid in "$keeper" "$(worker_pid)"; do
	assert_eq "user of $pid" "$(awk '/^Uid/ {print $2, $3, $4, $5}' "/proc/$pid/status")" "$daemon $daemon $daemon $daemon"
done
assert_eq "the worker's capabilities" "$(awk '/^Cap(Prm|Bnd|Amb)/ {print $2}' "/proc/$(worker_pid)/status" | xargs)" \
	"0000000010000000 0000000010000000 0000000000000000"
kill -HUP "$keeper"
wait_for 10 logged "is in force" || fail "no reload"
grep -q READY=1 "$tmp/told" || fail "systemd hears nothing: $(cat "$tmp/told")"
grep -qx "FDSTORE=1 FDNAME=handover" "$tmp/told" || fail "nothing is stored: $(cat "$tmp/told")"
stop_daemon || exit 1
sed '1,/READY=1/d' "$tmp/told" | grep FDSTORE && fail "a restart finds nothing to go on with"
[ -L "$tmp/run/vhostmd0" ] && fail "the link stays"
umount --force --lazy "$mnt" || fail "the service unmounted what is not its own"

# one that fails leaves a mount that the unit's own command takes away, and starts again
start_service
worker=$(worker_pid)
kill -KILL "$keeper" "$worker"
wait "$keeper" 2>/dev/null
keeper=''
wait_for 10 process_gone "$worker" || fail "the worker outlives SIGKILL"
umount --force --lazy "$mnt" || fail "no mount is left"
start_service
# who unmounts it outside is noticed inside
umount --lazy "$mnt"
r=0
wait "$keeper" || r=$?
keeper=''
assert_eq "status after an unmount" $r 1

# outside of systemd that is said
"$build/vhostmd" --mount-only --mount "$mnt" 2>"$tmp/err" && fail "mounted for nobody"
grep -q "no systemd waits" "$tmp/err" || fail "$(cat "$tmp/err")"
grep -q " $mnt " /proc/self/mounts && fail "the mount stays"
exit 0
