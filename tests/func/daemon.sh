#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Starting, stopping, crashing, reloading; the pid file, the mount point, the link.
. "$(dirname "$0")/../lib.sh"
need_fuse
vhostmd=$build/vhostmd
uri=test:///default

# command line
"$vhostmd" --help | grep -q -- '--check-config' || fail --help
"$vhostmd" --help | grep -qF -- '--list-sources[=markdown] ' || fail "how --list-sources is written"
"$vhostmd" --version | grep -q '^vhostmd ' || fail --version
"$vhostmd" --list-sources | grep -q 'vcpu.\*.delay' || fail --list-sources
for wrong in --nonsense -f extra "--mount relative" --list-sources=x; do
	r=0
	# shellcheck disable=SC2086 # words on purpose
	"$vhostmd" $wrong 2>"$tmp/err" || r=$?
	assert_eq "$wrong" $r 2
	[ -s "$tmp/err" ] || fail "$wrong: no message"
done

# a configuration of nothing but mistakes starts nothing
printf '<vhostmd><globals><update_period>x</update_period></globals>\n<metrics><metric/>\n</metrics></vhostmd>' >"$tmp/bad"
"$vhostmd" --check-config "$tmp/bad" 2>"$tmp/err" && fail "accepted mistakes"
grep -q "^$tmp/bad:1: error: <update_period>" "$tmp/err" || fail "line 1: $(cat "$tmp/err")"
grep -q "^$tmp/bad:2: error: " "$tmp/err" || fail "line 2"
r=0
"$vhostmd" -d -f "$tmp/bad" -m "$mnt" -p "$tmp/pid" 2>/dev/null || r=$?
assert_eq "exit status" $r 1
[ -e "$tmp/pid" ] && fail "a pid file in spite of mistakes"
"$vhostmd" --check-config "$top/conf/vhostmd.conf" | grep -q 'commands run each period: 0' ||
	fail "the default configuration runs commands"
grep -q 'vcpu\.\*\.delay' "$top/conf/vhostmd.conf" && ! grep -q 'vcpu\.\*\.wait' "$top/conf/vhostmd.conf" ||
	fail "the default configuration shows contention otherwise than once"
sed 's|<disk>|&<path>/dev/shm/x</path>|' "$top/conf/vhostmd.conf" >"$tmp/shared.conf"
"$vhostmd" --check-config "$tmp/shared.conf" | grep -qE 'room on the shared disk: about [1-9][0-9]+ VMs of 4 virtual CPUs$' ||
	fail "--check-config does not say for how many VMs the shared disk is large enough"
"$vhostmd" --check-config "$top/conf/vhostmd.conf" | grep -q 'room on a private disk: about [0-9]* virtual CPUs' ||
	fail "--check-config does not say for how many CPUs a disk is large enough"
"$vhostmd" --check-config "$top/conf/vhostmd.conf" | grep -q 'shared disk: no;.*/dev/shm/vhostmd0' ||
	fail "no word on who expects the shared disk"

# nobody is waited for, and no line is made up
mkfifo "$tmp/fifo"
timeout 20 "$vhostmd" --check-config "$tmp/fifo" 2>"$tmp/err"
assert_eq "status for a FIFO" $? 1
grep -q "^$tmp/fifo: error: cannot be read" "$tmp/err" || fail "a FIFO: $(cat "$tmp/err")"

# mount points that are refused, each with its remedy
mkdir "$tmp/full" && touch "$tmp/full/x"
refused()
{
	r=0
	"$vhostmd" -d -c $uri -f "$top/conf/vhostmd.conf" -p "$tmp/pid" -m "$1" 2>"$tmp/err" || r=$?
	assert_eq "status for $1" $r 1
	grep -q -- "$2" "$tmp/err" || fail "$1: $(cat "$tmp/err")"
	[ -e "$tmp/pid" ] && fail "a pid file was left"
}
refused "$tmp/full" 'not empty'
refused "$tmp/full/x" 'Not a directory'
refused /proc 'mount point of type proc'
refused /nonexistent/a/b 'cannot be created'
refused / 'no place for a mount point'
r=0
"$vhostmd" -c $uri -f "$top/conf/vhostmd.conf" -p "$tmp/pid" -m "$mnt" -u no-such-user 2>"$tmp/err" || r=$?
assert_eq "status for an unknown user" $r 1
grep -q "no user 'no-such-user'" "$tmp/err" || fail "unknown user: $(cat "$tmp/err")"

# in a mount namespace of its own, as hardened units have one, where nobody would see it; one
# that passes its mounts on is as good as the host's
for propagation in slave private; do
	r=0
	unshare --mount --propagation $propagation "$vhostmd" -d -c $uri -f "$top/conf/vhostmd.conf" \
		-p "$tmp/pid" -m "$mnt" 2>"$tmp/err" || r=$?
	assert_eq "status in a $propagation mount namespace" $r 1
	grep -q "mount namespace of its own.*ProtectSystem=" "$tmp/err" || fail "$propagation: $(cat "$tmp/err")"
	[ -e "$mnt" ] && fail "$propagation: the directory stays"
	[ -e "$tmp/pid" ] && fail "$propagation: the pid file stays"
done
mkdir "$tmp/passed"
mount --bind "$tmp/passed" "$tmp/passed" && mount --make-shared "$tmp/passed" || fail "no shared mount"
at_exit "umount -l $tmp/passed"
unshare --mount --propagation unchanged "$vhostmd" -d -c $uri -f "$top/conf/vhostmd.conf" -p "$tmp/pid" \
	-m "$tmp/passed/mnt" 2>>"$tmp/log" &
keeper=$!
wait_for 20 test -e "$tmp/passed/mnt/status" || fail "not seen although it is passed on"
stop_daemon || exit 1

# a URI that libvirt has no driver for is said once, with the remedy
start_daemon -c test+nosuch:///default
wait_for 10 logged "error: libvirt: nothing serves test+nosuch:///default.*--connect" || fail "no word on the URI"
wait_for 5 grep -q '^libvirt.state: hopeless' "$mnt/status" || fail "status does not tell"
stop_daemon || exit 1

# a living daemon is not disturbed by a second one
start_daemon -c $uri
r=0
"$vhostmd" -d -c $uri -f "$top/conf/vhostmd.conf" -p "$tmp/pid" -m "$tmp/mnt2" 2>"$tmp/err" || r=$?
assert_eq "second with the same pid file" $r 1
grep -q "already running with pid $keeper" "$tmp/err" || fail "$(cat "$tmp/err")"
r=0
"$vhostmd" -d -c $uri -f "$top/conf/vhostmd.conf" -p "$tmp/pid2" -m "$mnt" 2>"$tmp/err" || r=$?
assert_eq "second on the same mount point" $r 1
grep -q 'already mounted' "$tmp/err" || fail "$(cat "$tmp/err")"
assert_eq "the first goes on" "$(cat "$mnt/metrics/host/HostName")" "$(uname -n)"

# killed with its worker: the next start cleans up and takes over
worker=$(worker_pid)
kill -KILL "$keeper" "$worker"
wait "$keeper" 2>/dev/null
keeper=''
wait_for 10 process_gone "$worker" || fail "the worker outlives SIGKILL"
[ -e "$tmp/pid" ] || fail "the crash removed the pid file?"
stat -f "$mnt" >/dev/null 2>&1 && fail "the mount should be dead now"
# by another name of the same place
ln -s "$tmp" "$tmp.link"
at_exit "rm -f $tmp.link"
start_daemon -c $uri --mount "$tmp.link/mnt//"
assert_eq "after a crash" "$(cat "$mnt/metrics/host/HostName")" "$(uname -n)"

# the keeper alone killed: the worker does not stay behind
worker=$(worker_pid)
kill -KILL "$keeper"
wait "$keeper" 2>/dev/null
keeper=''
wait_for 20 process_gone "$worker" || fail "the worker outlives its keeper"

# the worker alone killed: another one serves at once (survive.sh has more)
start_daemon -c $uri
worker=$(worker_pid)
kill -KILL "$worker"
assert_eq "after the worker's death" "$(cat "$mnt/metrics/host/HostName")" "$(uname -n)"
logged 'the worker was killed by signal 9' || fail "not logged"
kill -0 "$keeper" || fail "the keeper has ended"
other_worker() { [ "$(worker_pid)" != "$worker" ]; }
wait_for 10 other_worker || fail "the same worker?"
stop_daemon || exit 1

# readiness is told to the service manager
python3 - "$tmp/notify" >"$tmp/notified" <<'EOF' &
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
s.settimeout(20)
while True:
    message = s.recv(256).decode()
    print(message, flush=True)
    if message == "STOPPING=1":
        break
EOF
notified=$!
wait_for 10 test -S "$tmp/notify" || fail "no notification socket"
NOTIFY_SOCKET=$tmp/notify start_daemon -c $uri
if grep -q 'define HAVE_SYSTEMD' "$build/config.h"; then
	wait_for 10 grep -qx READY=1 "$tmp/notified" || fail "no READY=1"
fi
stop_daemon || exit 1
kill $notified 2>/dev/null
wait $notified 2>/dev/null

# modes and group as configured; disks have their own, and QEMU finds the way to them
as() { setpriv --reuid 65534 --regid "$1" --clear-groups "${@:2}"; }
disk=$mnt/disk/6be3fdb8-bef5-6fec-b1b7-e61bbceab708.img
cat >"$tmp/mode.conf" <<'EOF'
<vhostmd><globals><filesystem><mode>0440</mode><group>daemon</group></filesystem></globals><metrics>
<metric context="host"><name>Name</name><source>host.name</source></metric>
</metrics></vhostmd>
EOF
CONF=$tmp/mode.conf start_daemon -c $uri
assert_eq "mode of a file" "$(stat -c '%a %G' "$mnt/metrics/host/Name")" "440 daemon"
assert_eq "mode of a directory" "$(stat -c '%a %G' "$mnt/metrics/host")" "550 daemon"
as 65534 cat "$mnt/metrics/host/Name" 2>/dev/null && fail "others can read"
as "$(getent group daemon | cut -d: -f3)" cat "$mnt/metrics/host/Name" >/dev/null ||
	fail "the group cannot read"
qemu=$("$vhostmd" --check-config "$tmp/mode.conf" | sed -n 's/^who reads disks: mode 0\([0-9]*\), group \([^ ]*\) .*/\1 \2/p')
assert_eq "mode of a disk" "$(stat -c '%a %G' "$disk")" "$qemu"
as "$(stat -c %g "$disk")" head -c 4 "$disk" >/dev/null || fail "QEMU cannot read its disk"
as 65534 ls "$mnt/disk" >/dev/null 2>&1 && fail "others can list the disks"
sed -i 's/<globals>/&<disk><mode>0440<\/mode><group>games<\/group><\/disk>/' "$tmp/mode.conf"
kill -HUP "$keeper"
has_group() { [ "$(stat -c '%a %G' "$disk")" = "440 games" ]; }
wait_for 10 has_group || fail "the disk's group after a reload: $(stat -c '%a %G' "$disk")"
as "$(stat -c %g "$disk")" head -c 4 "$disk" >/dev/null || fail "the disk's group cannot read it"
as 65534 head -c 4 "$disk" >/dev/null 2>&1 && fail "others can read a disk"
stop_daemon || exit 1

# told to stop at any moment of its start, it leaves nothing behind
for _ in 1 2 3 4 5; do
	"$vhostmd" -d -c $uri -f "$top/conf/vhostmd.conf" -p "$tmp/pid" -m "$mnt" 2>>"$tmp/log" &
	early=$!
	wait_for 10 test -e "$tmp/pid" || fail "no pid file"
	kill -TERM $early
	r=0
	wait $early || r=$?
	assert_eq "status when stopped early" $r 0
	grep -q " $mnt " /proc/mounts && fail "still mounted after an early stop"
	[ -e "$tmp/pid" ] && fail "the pid file stays after an early stop"
done

# asked twice in a hurry, as by a terminal that sends it to all, it ends in good order
cat >"$tmp/sleep.conf" <<EOF
<vhostmd><globals><disk><path>$tmp/hurried</path></disk></globals><metrics>
<metric type="string" context="host"><name>Slow</name>
<action>echo \$\$ &gt;$tmp/sleeper; exec sleep 1000</action></metric>
</metrics></vhostmd>
EOF
mkdir -m 1777 "$tmp/open"
sed -i "s|$tmp/sleeper|$tmp/open/sleeper|" "$tmp/sleep.conf"
for _ in 1 2 3; do
	rm -f "$tmp/open/sleeper"
	CONF=$tmp/sleep.conf start_daemon -c $uri
	wait_for 10 test -s "$tmp/open/sleeper" || fail "no action runs"
	kill -INT "$keeper" "$(worker_pid)"
	kill -INT "$keeper"
	kill -TERM "$keeper"
	r=0
	wait "$keeper" || r=$?
	keeper=''
	assert_eq "status when asked in a hurry" $r 0
	process_gone "$(cat "$tmp/open/sleeper")" || fail "a command outlives a hurried end"
	grep -q " $mnt " /proc/mounts && fail "still mounted after a hurried end"
	[ -e "$tmp/pid" ] && fail "the pid file stays after a hurried end"
	[ -L "$tmp/hurried" ] && fail "the link stays after a hurried end"
done

# whatever signal ends it and its worker, as a terminal does it, nothing stays
sed -i '/<metric /,/<\/metric>/d' "$tmp/sleep.conf"
for signal in QUIT USR1 ALRM; do
	CONF=$tmp/sleep.conf start_daemon -c $uri
	kill -$signal "$keeper" "$(worker_pid)"
	wait_for 20 process_gone "$keeper" || fail "SIG$signal does not end it"
	r=0
	wait "$keeper" || r=$?
	keeper=''
	assert_eq "status after SIG$signal" $r 0
	grep -q " $mnt " /proc/mounts && fail "still mounted after SIG$signal"
	[ -e "$tmp/pid" ] && fail "the pid file stays after SIG$signal"
	[ -L "$tmp/hurried" ] && fail "the link stays after SIG$signal"
done

# nobody reads what it logs
"$vhostmd" -d -v -c $uri -f "$tmp/sleep.conf" -p "$tmp/pid" -m "$mnt" 2> >(:) &
keeper=$!
wait_for 20 test -e "$mnt/status" || fail "the daemon does not start"
kill -HUP "$keeper"
stop_daemon || exit 1
grep -q " $mnt " /proc/mounts && fail "still mounted where nobody reads the log"
[ -e "$tmp/pid" ] && fail "the pid file stays where nobody reads the log"

# a worker that does not react has a while, and no more
start_daemon -c $uri
process_hang "$(worker_pid)"
kill -TERM "$keeper"
wait_for 20 process_gone "$keeper" || fail "a worker that hangs is waited for"
r=0
wait "$keeper" || r=$?
keeper=''
assert_eq "status after a forced end" $r 1
grep -q " $mnt " /proc/mounts && fail "still mounted after a forced end"

# in the background: up when the command returns
(cd "$tmp" && cp "$top/conf/vhostmd.conf" rel.conf &&
	"$vhostmd" -c $uri -f rel.conf -p "$tmp/pid" -m "$mnt") || fail "does not start in the background"
at_exit "kill \$(cat $tmp/pid 2>/dev/null) 2>/dev/null"
assert_eq "in the background" "$(cat "$mnt/metrics/host/HostName")" "$(uname -n)"
pid=$(cat "$tmp/pid")
kill "$pid"
wait_for 10 process_gone "$pid" || fail "does not end"
[ -e "$tmp/pid" ] && fail "the pid file stays"

# a pid file without a directory is removed, too; a reload follows a link to another file
(cd "$tmp" && ln -s rel.conf current.conf &&
	"$vhostmd" -c $uri -f current.conf -p rel.pid -m "$mnt") || fail "does not start with a relative pid file"
pid=$(cat "$tmp/rel.pid")
at_exit "kill $pid 2>/dev/null"
cat >"$tmp/switched.conf" <<'EOF'
<vhostmd><globals/><metrics>
<metric context="host"><name>Switched</name><source>host.name</source></metric>
</metrics></vhostmd>
EOF
ln -sfn switched.conf "$tmp/current.conf"
kill -HUP "$pid"
wait_for 10 has_value "$mnt/metrics/host/Switched" || fail "a reload reads what the link led to before"
kill "$pid"
wait_for 10 process_gone "$pid" || fail "does not end"
[ -e "$tmp/rel.pid" ] && fail "the relative pid file stays"

# the shared disk and its link; a foreign file is never replaced
cat >"$tmp/shared.conf" <<EOF
<vhostmd><globals><disk><path>$tmp/vhostmd0</path><size unit="k">64</size></disk>
<update_period>0.2</update_period></globals><metrics>
<metric type="string" context="host"><name>First</name><action>echo first</action></metric>
</metrics></vhostmd>
EOF
CONF=$tmp/shared.conf start_daemon -c $uri
assert_eq link "$(readlink "$tmp/vhostmd0")" "$mnt/disk/vhostmd0.img"
wait_for 10 grep -q first "$mnt/metrics.xml"
assert_eq "size of the disk" "$(stat -L -c %s "$tmp/vhostmd0")" 65536
wait_for 10 grep -qa '<value>first</value>' "$tmp/vhostmd0" || fail "not on the shared disk"
disk_content "$tmp/vhostmd0" | xmllint --noout - || fail "content of the shared disk"

# reload: a bad file leaves the old one in force, a good one is used at once
cp "$tmp/shared.conf" "$tmp/good.conf"
echo '<vhostmd>' >"$tmp/shared.conf"
kill -HUP "$keeper"
wait_for 10 logged 'the configuration in force stays' || fail "reload of a bad file"
logged "$tmp/shared.conf:2: error" || fail "no line number"
assert_eq "old configuration" "$(cat "$mnt/metrics/host/First")" first
sed 's/First/Second/; s/echo first/echo second/; s/k">64/k">128/' "$tmp/good.conf" >"$tmp/shared.conf"
kill -HUP "$keeper"
wait_for 10 has_value "$mnt/metrics/host/Second" || fail "reload of a good file"
[ -e "$mnt/metrics/host/First" ] && fail "the old metric stays"
assert_eq "new size" "$(stat -c %s "$mnt/disk/vhostmd0.img")" 131072

# more than the disk has room for: a whole document all the same, which says so
fill='<metric type="string" context="host"><name>Fill</name><action>printf %050000d 0</action></metric>'
sed "s|</metrics>|${fill/Fill/Fill1}${fill/Fill/Fill2}&|" "$tmp/good.conf" >"$tmp/shared.conf"
kill -HUP "$keeper"
left_out() { disk_content "$tmp/vhostmd0" | xmllint --xpath 'string(//metric[name="MetricsLeftOut"]/value)' -; }
leaves_out_one() { [ "$(left_out)" = 1 ]; }
wait_for 10 leaves_out_one || fail "a disk that is too small does not say so"
disk_content "$tmp/vhostmd0" | grep -q '<name>Fill1<' || fail "more is left out than needed"
wait_for 10 grep -qx 'disk.left_out: 1' "$mnt/status" || fail "status does not say so"
logged 'the disk of all VMs is too small' || fail "the log does not say so"
sed 's/First/Second/; s/echo first/echo second/; s/k">64/k">128/' "$tmp/good.conf" >"$tmp/shared.conf"
kill -HUP "$keeper"
wait_for 10 has_value "$mnt/metrics/host/Second" || fail "reload of a smaller one"

# one with mistakes, at a reload and at the start, costs what they stand in
sed 's/<metrics>/&<metric type="float" context="host"><name>Bad<\/name><action>echo 1<\/action><\/metric>/
	s/Second/Third/; s/>128</>big</; s/echo second/date +%s%N/' \
	"$tmp/shared.conf" >"$tmp/mistakes.conf"
"$vhostmd" --check-config "$tmp/mistakes.conf" 2>"$tmp/err" && fail "mistakes pass the check"
assert_eq "mistakes" "$(grep -c '^.*:[0-9]*: error: ' "$tmp/err")" 2
cp "$tmp/mistakes.conf" "$tmp/shared.conf"
kill -HUP "$keeper"
wait_for 10 has_value "$mnt/metrics/host/Third" || fail "a mistake costs the other metrics"
logged "$tmp/shared.conf:2: warning: type must be .*'float'" || fail "no word on the mistake"
logged "metric 'Bad' is left out" || fail "no word on what becomes of it"
assert_eq "size that is in force" "$(stat -c %s "$mnt/disk/vhostmd0.img")" 131072
before=$(cat "$mnt/metrics/host/Third")
later() { [ "$(cat "$mnt/metrics/host/Third")" -gt "$before" ]; }
wait_for 10 later || fail "the others stand still"
stop_daemon || exit 1
[ -L "$tmp/vhostmd0" ] && fail "the link stays"
echo foreign >"$tmp/vhostmd0"
CONF=$tmp/shared.conf start_daemon -c $uri
wait_for 10 has_value "$mnt/metrics/host/Third" || fail "no start with a mistake"
assert_eq "words on the mistake" "$(grep -c "metric 'Bad' is left out" "$tmp/log")" 2
logged "$tmp/vhostmd0 exists and is not this daemon's" || fail "no word on the foreign file"
stop_daemon || exit 1
assert_eq "foreign file" "$(cat "$tmp/vhostmd0")" foreign

# as another user, with actions
cat >"$tmp/user.conf" <<'EOF'
<vhostmd><globals><update_period>1</update_period></globals><metrics>
<metric type="string" context="host"><name>Who</name><action>id -un</action></metric>
<metric type="string" context="host"><name>Uri</name><action>printf '[%s]' CONNECT $LIBVIRT_DEFAULT_URI</action></metric>
</metrics></vhostmd>
EOF
chmod 644 "$tmp/user.conf"
CONF=$tmp/user.conf start_daemon -c $uri
wait_for 10 has_value "$mnt/metrics/host/Who"
assert_eq "actions of a root daemon" "$(cat "$mnt/metrics/host/Who")" nobody
wait_for 10 has_value "$mnt/metrics/host/Uri"
assert_eq CONNECT "$(cat "$mnt/metrics/host/Uri")" "[--connect][$uri][$uri]"
stop_daemon || exit 1
CONF=$tmp/user.conf start_daemon
wait_for 10 has_value "$mnt/metrics/host/Uri"
assert_eq "CONNECT without a URI" "$(cat "$mnt/metrics/host/Uri")" "[qemu:///system]"
stop_daemon || exit 1
CONF=$tmp/user.conf start_daemon -c $uri --user daemon
wait_for 10 has_value "$mnt/metrics/host/Who"
assert_eq "actions of --user" "$(cat "$mnt/metrics/host/Who")" daemon
assert_eq "worker of --user" "$(stat -c %U "/proc/$(worker_pid)")" daemon
kill -HUP "$keeper"
wait_for 10 logged 'is in force' || fail "reload as another user"
stop_daemon || exit 1
sed -i 's/<globals>/<globals><actions><user>root<\/user><\/actions>/' "$tmp/user.conf"
CONF=$tmp/user.conf start_daemon -c $uri
wait_for 10 has_value "$mnt/metrics/host/Who"
assert_eq "actions as root where asked for" "$(cat "$mnt/metrics/host/Who")" root
stop_daemon || exit 1

# what guests see of the host is what is granted, from a reload on; the key is root's alone
cat >"$tmp/grants.conf" <<EOF
<vhostmd><globals><update_period>0.2</update_period></globals>
<grants>
<host_key>$tmp/key/host-key</host_key>
<set name="hashed" host_name="per-vm"><metric>Host*</metric></set>
<vm name="te?t" set="hashed"/>
</grants><metrics>
<metric context="host"><name>HostName</name><source>host.name</source></metric>
<metric context="host"><name>Uptime</name><source>host.uptime</source></metric>
<metric context="vm"><name>Id</name><source>domain.id</source></metric>
</metrics></vhostmd>
EOF
"$vhostmd" --check-config "$tmp/grants.conf" | grep -q "^host key: $tmp/key/host-key, which will be made" ||
	fail "--check-config says nothing of the key"
[ -e "$tmp/key" ] && fail "--check-config makes a key"
CONF=$tmp/grants.conf start_daemon -c $uri --user daemon
wait_for 10 test -e "$mnt/metrics/vm/test" || fail "no VM"
image=$mnt/disk/$(ls "$mnt/metrics/vm-by-uuid").img
granted() { disk_content "$image" | xmllint --xpath 'string(//metric[name="HostName"]/value)' - 2>&1; }
is_hashed() { [[ $(granted) =~ ^[0-9a-f]{16}$ ]]; }
is_gone() { disk_content "$image" >"$tmp/content" && ! grep -q "context='host'" "$tmp/content"; }
wait_for 10 is_hashed || fail "the host's name is not hashed: $(disk_content "$image")"
hash=$(granted)
disk_content "$image" | grep -q Uptime && fail "more than the set is granted"
assert_eq "the host's own file" "$(cat "$mnt/metrics/host/HostName")" "$(uname -n)"
assert_eq "the key" "$(stat -c '%a %U %s' "$tmp/key/host-key")" "600 root 16"
sed -i 's/set="hashed"/set="hushed"/' "$tmp/grants.conf"
kill -HUP "$keeper"
wait_for 10 is_gone || fail "a set that is not known opens: $(cat "$tmp/content")"
grep -q '<name>Id<' "$tmp/content" || fail "the VM's own are gone, too"
logged "$tmp/grants.conf:5: warning: there is no set 'hushed'" || fail "no word on the set"
sed -i 's/set="hushed"/set="hashed"/' "$tmp/grants.conf"
kill -HUP "$keeper"
wait_for 10 is_hashed || fail "the key is lost: $(disk_content "$image")"
assert_eq "the hash after reloads" "$(granted)" "$hash"
stop_daemon || exit 1
truncate -s 15 "$tmp/key/host-key"
CONF=$tmp/grants.conf start_daemon -c $uri
wait_for 10 test -e "$mnt/metrics/vm/test" || fail "no VM"
wait_for 10 is_gone || fail "without a key the name is shown"
logged "$tmp/grants.conf:3: error: host key $tmp/key/host-key: it is not of 16 bytes" || fail "no word on the key"
stop_daemon
