#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The keeper at rest: it reaps what actions leave behind, and hears once that the worker's
# end of their socket is shut.
. "$(dirname "$0")/../lib.sh"
need_fuse

cat >"$tmp/conf" <<'EOF'
<vhostmd><globals><update_period>60</update_period></globals><metrics>
<metric type="int32" context="host"><name>Orphan</name>
<action>pid=$(setsid sh -c 'sleep 1000 &gt;/dev/null 2&gt;&amp;1 &amp; echo $!'); echo $pid</action></metric>
</metrics></vhostmd>
EOF
CONF=$tmp/conf start_daemon -c test:///default
wait_for 10 has_value "$mnt/metrics/host/Orphan" || fail "the action does not run"
orphan=$(cat "$mnt/metrics/host/Orphan")
at_exit "kill $orphan 2>/dev/null"
adopted() { [ "$(awk '{print $4}' "/proc/$orphan/stat")" = "$keeper" ]; }
wait_for 10 adopted || fail "an orphan's parent is not the keeper"
kill "$orphan"
wait_for 10 test ! -e "/proc/$orphan" || fail "the keeper does not reap what it adopted"
stop_daemon || exit 1

# somebody shuts the socket under the worker: a worker gone bad could do the same
cat >"$tmp/fast" <<'EOF'
<vhostmd><globals><update_period>0.5</update_period></globals><metrics>
<metric type="string" context="host"><name>Time</name><action>date +%N</action></metric>
</metrics></vhostmd>
EOF
# with no other socket
CONF=$tmp/fast start_daemon -c test:///default --control none
cat >"$tmp/worker_socket.py" <<'EOF'
"""A process's end of what worker and keeper say to each other."""
import ctypes, os, socket, stat
libc = ctypes.CDLL(None, use_errno=True)
def of(pid):
    pidfd, found = os.pidfd_open(pid), []
    for fd in map(int, os.listdir(f"/proc/{pid}/fd")):
        mine = libc.syscall(438, pidfd, fd, 0)  # pidfd_getfd
        if mine < 0:  # closed since it was listed
            continue
        if not stat.S_ISSOCK(os.fstat(mine).st_mode):
            os.close(mine)
            continue
        s = socket.socket(fileno=mine)
        if s.family == socket.AF_UNIX and s.type == socket.SOCK_SEQPACKET:
            found.append(s)
    assert len(found) == 1, found
    return found[0]
EOF
# at_socket WORKER <PROGRAM
at_socket() { PYTHONPATH=$tmp PYTHONDONTWRITEBYTECODE=1 python3 - "$@"; }
at_socket "$(worker_pid)" <<'EOF' || fail "the socket is not found"
import socket, sys, worker_socket
worker_socket.of(int(sys.argv[1])).shutdown(socket.SHUT_RDWR)
EOF
cpu_ticks() { awk '{print $14 + $15}' "/proc/$keeper/stat"; }
has_no_socket() { ! find "/proc/$keeper/fd" -lname 'socket:*' | grep -q .; }
newer() { [ "$(generation)" -ge $((generation + 6)) ]; }
before=$(cpu_ticks)
generation=$(generation)
wait_for 20 newer || fail "the worker does not go on"
used=$(($(cpu_ticks) - before))
[ $used -le 20 ] || fail "the keeper spins: $used ticks of CPU time"
has_no_socket || fail "the keeper keeps a socket that is shut"
stop_daemon

# an administrator may forbid memory that could be executed; a pid namespace has a rule of its own
if [ -e /proc/sys/vm/memfd_noexec ]; then
	unshare --pid --fork --kill-child --mount-proc sh -ec \
		'echo 2 >/proc/sys/vm/memfd_noexec; exec "$@"' sh "$build/vhostmd" --no-daemonize \
		--verbose --config "$tmp/fast" -c test:///default --pid-file "$tmp/pid" \
		--mount "$mnt" >"$tmp/strict" 2>&1 &
	strict=$!
	has_ended() { ! kill -0 $strict 2>/dev/null; }
	wait_for 20 eval "grep -q 'serving $mnt' '$tmp/strict' || has_ended"
	grep -q "serving $mnt" "$tmp/strict" || fail "without such memory: $(cat "$tmp/strict")"
	kill "$(pgrep -P $strict)" # unshare itself takes no notice of signals
	wait $strict || fail "it does not end well: $(cat "$tmp/strict")"
fi

# a worker that comes after another goes on as that did, though the file is of no use by then
# is METRIC [WHAT_ELSE]: writes a configuration
is()
{
	cat >"$tmp/new" <<-EOF2
		<vhostmd><globals><update_period>0.3</update_period>
		</globals><metrics>
		<metric context="host"><name>$1</name><source>host.name</source></metric>
		${2:-}
		</metrics></vhostmd>
	EOF2
	mv "$tmp/new" "$tmp/changing"
}
shows() { has_value "$mnt/metrics/host/$1"; }
another_worker() { [ -n "$(worker_pid)" ] && [ "$(worker_pid)" != "$worker" ]; }
kill_worker()
{
	worker=$(worker_pid)
	kill -KILL "$worker"
	wait_for 20 another_worker || fail "no other worker"
}
# it is read from the file, which is not to change before
kept() { [ "$(grep -c "$tmp/changing is kept" "$tmp/log")" -ge "$1" ]; }
is_kept() { wait_for 20 kept "$1" || fail "the keeper does not keep what is in force ($1)"; }
goes_on_with() { wait_for 20 shows "$1" || fail "$2: no $1: $(ls "$mnt/metrics/host")"; }
is A
CONF=$tmp/changing start_daemon -c test:///default
goes_on_with A start
is_kept 1
is B
kill -HUP "$keeper"
goes_on_with B reload
is_kept 2
is C '<metric>'
kill_worker
goes_on_with B "a file that is no XML"
logged "$tmp/changing:6: error" || fail "the mistake is not named"
logged "$tmp/changing is not used" || fail "no word that it is not used"
rm "$tmp/changing"
kill_worker
goes_on_with B "no file"
# mistakes cost what they stand in, and the next one does not begin with them alone
is D '<metric context="host"><name>E</name><source>no.such.source</source></metric>'
kill_worker
goes_on_with D "a file with a mistake"
is F '<metric>'
kill_worker
goes_on_with B "no XML after a file with a mistake"
is G
kill_worker
goes_on_with G "a good file"
is_kept 3
is H '<metric>'
kill_worker
goes_on_with G "no XML again"

# one that has asked for something and then is gone: its end is told, not that it gets no answer
asks_and_goes()
{
	worker=$(worker_pid)
	at_socket "$worker" "$keeper" <<'EOF' || fail "it cannot ask"
import os, select, signal, sys, worker_socket
worker, keeper = map(int, sys.argv[1:])
mine, theirs = worker_socket.of(worker), worker_socket.of(keeper)
os.kill(keeper, signal.SIGSTOP)
try:
    mine.send(b"S")
    os.kill(worker, signal.SIGKILL)
    mine.close()
    # nobody has it any more, nor a child that was just being forked
    gone = select.poll()
    gone.register(theirs, 0)
    assert gone.poll(20000), "somebody has the socket still"
    theirs.close()
finally:
    os.kill(keeper, signal.SIGCONT)
EOF
	wait_for 20 another_worker || fail "no other worker after one that has asked"
}
# seldom the keeper hears of its end first, and nobody is answered
for _ in $(seq 20); do
	asks_and_goes
	logged 'the worker is gone that wanted an answer' && break
done
logged 'the worker is gone that wanted an answer' || fail "it was answered"
logged 'answering the worker' && fail "that it was gone is an error: $(grep 'answering the worker' "$tmp/log")"
stop_daemon
