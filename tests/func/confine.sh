#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What the worker may do, and what nobody who takes it over may: vhostmd(8), SECURITY.
. "$(dirname "$0")/../lib.sh"
need_fuse
CC=clang build "$top/build-clang" -Dbuildtype=release -Dwerror=true

# forbidden calls fail, in all threads
for dir in "$build" "$top/build-clang"; do
	r=0
	"$dir/tests/confined" daemon >"$tmp/confined" 2>&1 || r=$?
	[ $r = 77 ] && skip "needs seccomp, and a vhostmd built with it: $(cat "$tmp/confined")"
	[ $r = 0 ] || fail "$dir: $(cat "$tmp/confined")"
done

state() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"; }
# confined WHO UID CAPABILITIES: of each thread
confined()
{
	local task
	for task in "/proc/$(worker_pid)/task"/*; do
		task=${task#/proc/}
		assert_eq "user of $1" "$(state "$task" Uid | tr '\t' ' ')" "$2 $2 $2 $2"
		assert_eq "capabilities of $1" "$(state "$task" CapEff) $(state "$task" CapPrm) $(state "$task" CapBnd)" "$3 $3 $3"
		assert_eq "inherited by $1" "$(state "$task" CapInh) $(state "$task" CapAmb)" "$none $none"
		assert_eq "no new rights of $1" "$(state "$task" NoNewPrivs)" 1
		assert_eq "seccomp of $1" "$(state "$task" Seccomp)" 2
	done
}
none=0000000000000000 lease=0000000010000000 process_io=0000000000080004
daemon=$(id -u daemon)

# conf PATH SOURCE...: of the shared disk, "" for none; with an action that says who runs it
conf()
{
	local path=$1 source
	shift
	{
		echo "<vhostmd><globals>${path:+<disk><name>x</name><path>$path</path></disk>}<update_period>0.5</update_period>
			<transport>vbd</transport></globals><metrics>"
		for source; do echo "<metric context='vm'><name>$source</name><source>$source</source></metric>"; done
		echo "<metric type='string' context='host'><name>Who</name><action>echo \$(id -un; grep -E 'Cap(Prm|Eff)|NoNew|Seccomp:' /proc/self/status)</action></metric></metrics></vhostmd>"
	} >"$tmp/conf"
	chmod 644 "$tmp/conf"
}
runner_pid() { pgrep -P "$(worker_pid)" -f "$build/vhostmd"; }
free="CapPrm: $none CapEff: $none NoNewPrivs: 0 Seccomp: 0"

# as another user, for whom an action is unconfined all the same
conf ''
CONF=$tmp/conf start_daemon -c test:///default --user daemon
confined "the worker" "$daemon" $none
wait_for 10 has_value "$mnt/metrics/host/Who" || fail "no action"
assert_eq "an action of --user" "$(cat "$mnt/metrics/host/Who")" "daemon $free"
assert_eq "the runner of --user" "$(state "$(runner_pid)" Uid | cut -f 1) $(state "$(runner_pid)" CapPrm)" "$daemon $none"

# a command of another configuration runs; so it does after it had none
conf ''
sed -i 's/id -un;/echo again;/' "$tmp/conf"
kill -HUP "$keeper"
runs_again() { [ "$(cat "$mnt/metrics/host/Who" 2>/dev/null)" = "again $free" ]; }
wait_for 10 runs_again || fail "no action after a reload"
stop_daemon || exit 1

# with what figures and an old disk need; and nothing more is had later
conf "$tmp/vhostmd0"
CONF=$tmp/conf start_daemon -c test:///default --user daemon
confined "a worker with a shared disk" "$daemon" $lease
conf '' process.io.read.bytes
kill -HUP "$keeper"
wait_for 10 logged 'process.io.* need rights that were given up' || fail "no word on what is lacking"
stop_daemon || exit 1
CONF=$tmp/conf start_daemon -c test:///default --user daemon
confined "a worker with process.io" "$daemon" $process_io
worker=$(worker_pid) runner=$(runner_pid)
# in the middle of what it was asked for: what lies in its socket then is lost
kill -STOP "$runner"
sockets=$(for fd in "/proc/$runner/fd"/*; do readlink "$fd"; done | sed -n 's/^socket:\[\(.*\)\]$/\1/p' | tr '\n' ' ')
# a listed socket has its unread bytes in the third column, and its number in the sixth
is_asked() { ss -xHa | awk -v mine="$sockets" '$3 > 0 && index(" " mine, " " $6 " ") {r = 1} END {exit !r}'; }
wait_for 10 is_asked || fail "the runner is not asked"
kill -KILL "$runner"
wait_for 10 logged "metric Who is unavailable: Broken pipe" || fail "no word on a dead runner"
kill -KILL "$worker"
wait_for 5 process_gone "$worker" || fail "the worker outlives SIGKILL"
# another worker has another runner
wait_for 10 has_value "$mnt/metrics/host/Who" || fail "no action of another worker"
confined "another worker" "$daemon" $process_io
stop_daemon || exit 1

# what runs ends with the worker
conf ''
sed -i 's/id -un;/sleep 1234.5 \&amp; sleep 1234.5;/' "$tmp/conf"
CONF=$tmp/conf start_daemon -c test:///default
wait_for 10 pgrep -fx 'sleep 1234.5' || fail "no action runs"
mapfile -t sleepers < <(pgrep -fx 'sleep 1234.5')
kill -KILL "$(worker_pid)"
for sleeper in "${sleepers[@]}"; do
	wait_for 5 process_gone "$sleeper" || fail "actions outlive the worker"
done
stop_daemon || exit 1

# the user that packages create is the default; where there is none that is said
getent passwd vhostmd >/dev/null && skip "there is a user vhostmd: the rest is checked"
: >"$tmp/log"
conf ''
CONF=$tmp/conf start_daemon -c test:///default
logged "warning: there is no user 'vhostmd': all runs as root" || fail "not a word on root"
confined "a worker that stays root" 0 $none
stop_daemon || exit 1
: >"$tmp/log"
sed '$avhostmd:x:64777:64777::/:/usr/sbin/nologin' /etc/passwd >"$tmp/passwd"
chmod 644 "$tmp/passwd"
mkdir "$tmp/passed"
mount --bind "$tmp/passed" "$tmp/passed" && mount --make-shared "$tmp/passed" || fail "no shared mount"
at_exit "umount -l $tmp/passed"
mnt=$tmp/passed/mnt
ASAN_OPTIONS=exitcode=99 unshare --mount --propagation unchanged sh -c \
	'mount --make-private / && mount --bind "$0" /etc/passwd && exec "$@"' "$tmp/passwd" \
	"$build/vhostmd" --no-daemonize --verbose --config "$tmp/conf" --pid-file "$tmp/pid" \
	--mount "$mnt" -c test:///default >>"$tmp/log" 2>&1 &
keeper=$!
wait_for 20 test -e "$mnt/status" || fail "the daemon does not start"
confined "a worker with a user of its own" 64777 $none
wait_for 10 has_value "$mnt/metrics/host/Who" || fail "no action"
assert_eq "an action" "$(cat "$mnt/metrics/host/Who")" "nobody $free"
assert_eq "capabilities of the runner" "$(state "$(runner_pid)" CapEff)" 00000000000000e4
assert_eq "capabilities of the keeper" "$(state "$keeper" CapEff)" "$(state self CapEff)"
stop_daemon
