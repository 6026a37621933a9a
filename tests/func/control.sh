#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The control socket: what is asked for is done when the answer comes, who may not ask is told so, and
# neither deaths of workers nor whatever others do keeps root from it.
. "$(dirname "$0")/../lib.sh"
need_fuse
python=/usr/bin/python3 # that others may execute, too
clients=$top/tests/func/control.py
chmod 755 "$tmp"
# what is built may be where others do not get to
cp "$build/ctl/vhostmdctl" "$tmp/ctl"
control=$tmp/control
nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
# of a group that is not his first
member_of() { echo setpriv --reuid=65534 --regid=65534 --groups "65534,$(getent group "$1" | cut -d: -f3)"; }
read -ra member <<<"$(member_of daemon)"
ctl() { "$tmp/ctl" "$@" --mount "$mnt"; }
# says STATUS WORDS COMMAND...: it ends with that, and says WORDS, anywhere
says()
{
	local status=$1 words=$2 r=0
	"${@:3}" >"$tmp/said" 2>&1 || r=$?
	[ $r = "$status" ] || fail "${*:3}: status $r: $(cat "$tmp/said")"
	grep -q -- "$words" "$tmp/said" || fail "${*:3}: not a word of '$words': $(cat "$tmp/said")"
	! grep -q Sanitizer "$tmp/said" || fail "${*:3}: $(cat "$tmp/said")"
}
# conf NAME [METRICS [GLOBALS]]: with a metric of that name, and what else there is
conf()
{
	cat >"$tmp/conf.new" <<-END
		<vhostmd><globals><update_period>0.2</update_period><disk><name>x</name></disk>${3:-}</globals><metrics>
		<metric context="host"><name>$1</name><source>host.name</source></metric>
		${2:-}
		</metrics></vhostmd>
	END
	mv "$tmp/conf.new" "$tmp/conf"
}
start() { CONF=$tmp/conf start_daemon -c test:///default "$@"; }
another() { [ "$(worker_pid)" != "$worker" ]; }

conf First
start --control-group daemon
wait_for 10 has_value "$mnt/metrics/host/First" || fail "no sample"
assert_eq "the socket" "$(stat -c '%F %a %U' "$control")" "socket 666 root"
grep -qx "control.socket: $control" "$mnt/status" || fail "no word where it is: $(cat "$mnt/status")"
grep -qs control "/proc/$(worker_pid)/task/"*/comm || fail "no thread"

# ---- a reload is over when it is answered ----

for i in {1..4}; do
	conf "Name$i"
	who=("${member[@]}")
	[ $((i % 2)) = 1 ] || who=(env)
	says 0 "^$tmp/conf is in force\$" "${who[@]}" "$tmp/ctl" reload --mount "$mnt"
	assert_eq "reads when it is answered" "$(sed -n 's/^conf.reads: //p' "$mnt/status")" $((i + 1))
	wait_for 5 has_value "$mnt/metrics/host/Name$i" || fail "no Name$i: $(ls "$mnt/metrics/host")"
done
logged "reload: asked for by uid 65534" || fail "no word on who has asked"
conf Name '<metric context="host"><name>Bad</name><source>host.nam</source></metric>'
says 0 'without what 1 mistakes stand in' "${member[@]}" "$tmp/ctl" reload --mount "$mnt"
grep -q "^  $tmp/conf:3: .*'host.nam' is unknown" "$tmp/said" || fail "no line: $(cat "$tmp/said")"
printf '<vhostmd><globals>\n</global>\n' >"$tmp/conf"
says 1 "$tmp/conf was refused: the configuration before it is in force" "${member[@]}" "$tmp/ctl" reload --mount "$mnt"
grep -q "^  $tmp/conf:2: error: " "$tmp/said" || fail "no line: $(cat "$tmp/said")"
grep -q '^conf.refused' "$mnt/status" || fail "it is not refused: $(cat "$mnt/status")"
rm "$tmp/conf"
says 1 "^  $tmp/conf: .*No such file" ctl reload
wait_for 5 has_value "$mnt/metrics/host/Name" || fail "the one before is not in force"

# ---- who may what ----

conf Name
for verb in reload 'upgrade --program /bin/true'; do
	# shellcheck disable=SC2086 # words
	says 1 'run it as root, or as who is in the group' "${nobody[@]}" "$tmp/ctl" $verb --mount "$mnt"
done
says 0 '^vhostmd .*, up for' "${nobody[@]}" "$tmp/ctl" status --control "$control"
says 0 '"pid": ' "${nobody[@]}" "$tmp/ctl" status --json --control "$control"
says 0 '^conf.refused' "$tmp/ctl" status --all --control "$control"
says 0 'is in force' "$tmp/ctl" reload --control "$control" --mount /nowhere
says 1 "$tmp/none: No such file" ctl reload --control "$tmp/none"
says 1 "$tmp/none: No such file" ctl status --control "$tmp/none"
# files that are not for everybody are not read there, either
conf Name '' '<filesystem><mode>0440</mode><group>bin</group></filesystem>'
says 0 'is in force' ctl reload
says 1 'who may read the file status' "${nobody[@]}" "$tmp/ctl" status --control "$control"
read -ra reader <<<"$(member_of bin)"
says 0 'up for' "${reader[@]}" "$tmp/ctl" status --control "$control"
says 0 'up for' setpriv --reuid=65534 --regid="$(getent group bin | cut -d: -f3)" --clear-groups "$tmp/ctl" status --control "$control"
says 0 'up for' "${member[@]}" "$tmp/ctl" status --control "$control"
says 1 'run it as root' "${reader[@]}" "$tmp/ctl" reload --mount "$mnt"
cp "$clients" "$tmp/clients.py"
says 0 "^worker: $(worker_pid)\$" "${nobody[@]}" "$python" "$tmp/clients.py" ask "$control" 'vhostmd 1 version'
says 0 '^error protocol version 1 ' "$python" "$clients" ask "$control" 'vhostmd 9 version'
conf Name
says 0 'is in force' ctl reload

# ---- the log's level ----

log() { "$tmp/ctl" log --control "$control" "$@"; }
count() { grep -c -- "$1" "$tmp/log"; }
says 0 '^debug$' "${nobody[@]}" "$tmp/ctl" log --mount "$mnt"
says 1 'run it as root, or as who is in the group' "${nobody[@]}" "$tmp/ctl" log error --mount "$mnt"
says 2 "'all' is none of error, warning, info, debug" log all
says 0 '^debug$' log
says 0 '^info$' "${member[@]}" "$tmp/ctl" log info --mount "$mnt"
logged 'log info: asked for by uid 65534' || fail "no word on who has set the level"
kept='is kept, for a worker that finds it of no use' # the keeper says so
n=$(count "$kept")
conf Name '' '<!-- another -->'
says 0 'is in force' ctl reload
says 0 '^error$' log error
n_info=$(count 'is in force')
conf Name
says 0 'is in force' ctl reload
assert_eq "what is less than an error, and is written" "$(count 'is in force')" "$n_info"
grep -qx 'log.level: error' "$mnt/status" || fail "status: $(cat "$mnt/status")"
# it is the next worker's, and the keeper's, who has a word on each one that begins
worker=$(worker_pid)
kill -KILL "$worker"
wait_for 20 another || fail "no other worker"
says 0 '^error$' log
logged "worker $(worker_pid) serves" && fail "the keeper has another level"
assert_eq "what the keeper says with --verbose" "$(count "$kept")" "$n"
says 0 '^debug$' log debug
logged 'log debug: asked for by uid 0' || fail "no word on who has set the level"
conf Name '' '<!-- another -->'
says 0 'is in force' ctl reload
told_more() { [ "$(count "$kept")" -gt "$n" ]; }
wait_for 10 told_more || fail "the keeper has another level: $(cat "$tmp/log")"

# ---- workers die while clients wait ----

# reloads N COMMAND...: N of them, one after another, and more while $tmp/busy is there; none may fail.
# The longest is told.
reloads()
{
	local n=0 longest=0 begin took
	while [ $n -lt "$1" ] || [ -e "$tmp/busy" ]; do
		begin=${EPOCHREALTIME/./}
		"${@:2}" reload --mount "$mnt" >"$tmp/reloaded.$BASHPID" 2>&1 || { cat "$tmp/reloaded.$BASHPID"; return 1; }
		took=$(((${EPOCHREALTIME/./} - begin) / 1000))
		[ $took -le "$longest" ] || longest=$took
		n=$((n + 1))
	done
	echo "$n reloads, the longest took $longest ms"
	[ "$longest" -lt 8000 ]
}
deaths() # N: as soon as there is another worker it is killed
{
	for ((i = 0; i < $1; i++)); do
		worker=$(worker_pid)
		kill -KILL "$worker"
		wait_for 20 another || fail "no other worker"
	done
}
: >"$tmp/busy"
reloads 4 "$tmp/ctl" >"$tmp/root" &
by_root=$!
reloads 4 "${member[@]}" "$tmp/ctl" >"$tmp/member" &
by_member=$!
deaths 5
rm "$tmp/busy"
wait $by_root || fail "while workers die: $(cat "$tmp/root")"
wait $by_member || fail "while workers die, the group: $(cat "$tmp/member")"
cat "$tmp/root"
# who has been accepted by one that dies, or has not been yet, is answered by the next
worker=$(worker_pid)
kill -STOP "$worker"
ctl reload --control "$control" >"$tmp/waited" 2>&1 &
waiter=$!
wants() { ss -Hxl src "$control" | awk '$3 > 0 { n = 1 } END { exit !n }'; }
wait_for 10 wants || fail "nobody waits"
kill -KILL "$worker"
wait $waiter || fail "who waited: $(cat "$tmp/waited")"

# ---- hostile clients ----

export ASAN_OPTIONS=quarantine_size_mb=1:thread_local_quarantine_size_kb=64
stop_daemon || exit 1
: >"$tmp/log"
start --control-group daemon
rss() { sed -n 's/^RssAnon:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$worker/status"; }
opened() { find "/proc/$worker/fd" -mindepth 1 | wc -l; }
worker=$(worker_pid)
reloads 2 "$tmp/ctl" >"$tmp/root" || fail "alone: $(cat "$tmp/root")"
before=$(rss) n_opened=$(opened)
for way in flood hold users; do
	"$python" "$clients" $way "$control" 2.5 >>"$tmp/hostile" 2>&1 &
	hostile+=($!)
done
reloads 3 "$tmp/ctl" >"$tmp/root" &
by_root=$!
most=0 most_opened=0
while kill -0 $by_root 2>/dev/null; do
	now=$(rss)
	[ "$now" -le "$most" ] || most=$now
	now=$(opened)
	[ "$now" -le "$most_opened" ] || most_opened=$now
	sleep 0.1
done
wait $by_root || fail "beside hostile clients: $(cat "$tmp/root")"
wait "${hostile[@]}" || fail "hostile clients: $(cat "$tmp/hostile")"
cat "$tmp/root" "$tmp/hostile"
grep '^control' "$mnt/status"
echo "memory $before KiB, with them $most KiB; descriptors $n_opened, $most_opened"
[ "$(sed -n 's/^control.cut: //p' "$mnt/status")" -gt 100 ] || fail "nobody was in the way"
logged 'asked for by uid 65534\|asked for by uid 1[0-9]\{5\}' && fail "somebody could ask"
[ $((most - before)) -le 16384 ] || fail "they cost $((most - before)) KiB"
[ $((most_opened - n_opened)) -le 80 ] || fail "they cost $((most_opened - n_opened)) descriptors"
assert_eq "the worker" "$(worker_pid)" "$worker"
stop_daemon || exit 1
[ -e "$control" ] && fail "the socket stays"
unset ASAN_OPTIONS

# ---- the program is replaced ----

mkdir "$tmp/bin"
real=$build build=$tmp/bin
"$python" - "$real/vhostmd" "$tmp/other" <<'END' || fail "no other version"
import sys
program = open(sys.argv[1], "rb").read()
assert b"vhostmd 2.0.0" in program
open(sys.argv[2], "wb").write(program.replace(b"2.0.0", b"2.0.1"))
END
chmod 755 "$tmp/other"
install_program() { cp "$1" "$tmp/bin/new" && mv "$tmp/bin/new" "$tmp/bin/vhostmd"; }
upgrade=(upgrade --mount "$mnt" --program "$tmp/bin/vhostmd")
install_program "$real/vhostmd"
start --control-group daemon
worker=$(worker_pid) inode=$(stat -c %i "$control")
says 0 '^warning$' log warning
install_program "$tmp/other"
says 0 '^vhostmd 2.0.1 runs$' "${member[@]}" "$tmp/ctl" "${upgrade[@]}"
says 0 '^warning$' log
says 0 '^debug$' log debug
another || fail "the worker is the one before"
assert_eq "version" "$(sed -n 's/^version: //p' "$mnt/status")" 2.0.1
# to the same program; and with reloads meanwhile
: >"$tmp/busy"
reloads 4 "$tmp/ctl" >"$tmp/root" &
by_root=$!
says 0 '^vhostmd 2.0.1 runs$' ctl upgrade --program "$tmp/bin/vhostmd"
install_program "$real/vhostmd"
says 0 '^vhostmd 2.0.0 runs$' ctl upgrade --program "$tmp/bin/vhostmd"
rm "$tmp/busy"
wait $by_root || fail "while programs are replaced: $(cat "$tmp/root")"
assert_eq "the socket's inode" "$(stat -c %i "$control")" "$inode"
# what cannot take over says why
worker=$(worker_pid)
script() { cat >"$tmp/script"; chmod 755 "$tmp/script"; install_program "$tmp/script"; }
script <<<$'#!/bin/sh\necho "missing: a library" >&2; exit 3'
begin=$SECONDS
says 1 'goes on with the program that it had: it cannot take over (status 3): missing: a library' "${member[@]}" "$tmp/ctl" "${upgrade[@]}"
[ $((SECONDS - begin)) -le 5 ] || fail "it took $((SECONDS - begin)) s"
another && fail "another worker"
if [ -x "$real/tests/bad-successor" ]; then
	for way in back refuse; do
		script <<<"#!/bin/sh
exec $real/tests/bad-successor $way \"\$@\""
		n=$(grep -c 'giving way to' "$tmp/log")
		says 1 'goes on with the program that it had: version .* has failed' ctl "${upgrade[@]}"
		assert_eq "how often it gave way to one that fails ($way)" "$(grep -c 'giving way to' "$tmp/log")" $((n + 1))
	done
fi
install_program "$tmp/other"
says 0 '^vhostmd 2.0.1 runs$' ctl "${upgrade[@]}"
says 0 'is in force' "${member[@]}" "$tmp/ctl" reload --mount "$mnt"

# ---- what is left, and what is somebody else's ----

worker=$(worker_pid)
kill -KILL "$keeper" "$worker"
wait "$keeper" 2>/dev/null
keeper=''
wait_for 10 process_gone "$worker" || fail "it does not end"
# a process that is to be reaped may have threads that still have the socket
nobody_listens() { [ -z "$(ss -Hxl src "$control")" ]; }
wait_for 10 nobody_listens || fail "somebody listens still: $(ss -xlp src "$control")"
[ -S "$control" ] || fail "nothing is left"
build=$real
start
logged "somebody listens there already" && fail "what is left is taken for somebody's"
says 0 'is in force' ctl reload
says 1 'run it as root' "${member[@]}" "$tmp/ctl" reload --mount "$mnt"
stop_daemon || exit 1
echo mine >"$control"
: >"$tmp/log"
start
logged "warning: --control: unix:$control: something is there" || fail "not a word"
assert_eq "somebody's file" "$(cat "$control")" mine
grep control "$mnt/status" && fail "it has one"
# without one there are signals, as with an older daemon
says 0 'is in force' ctl reload
printf '<vhostmd>' >"$tmp/conf"
says 1 'was refused' ctl reload
conf Name
says 1 'run it as root' "${nobody[@]}" "$tmp/ctl" reload --mount "$mnt"
says 1 'no control socket' ctl log
says 0 '^vhostmd 2.0.0 runs' ctl upgrade --program "$build/vhostmd"
stop_daemon || exit 1
assert_eq "somebody's file" "$(cat "$control")" mine
rm "$control"
start --control none
[ -e "$control" ] && fail "there is one"
says 0 'is in force' ctl reload
stop_daemon || exit 1
start --control "$tmp/elsewhere"
says 0 'is in force' ctl reload
# where the socket cannot be reached, there are signals, too
mv "$tmp/elsewhere" "$tmp/away"
says 0 'is in force' ctl reload
says 1 "$tmp/elsewhere: No such file" ctl log
stop_daemon || exit 1
[ -e "$tmp/elsewhere" ] && fail "it stays"
# one that systemd holds is served in place of the one beside the pid file
if command -v systemd-socket-activate >/dev/null && [ -e "$build/vhostmd.service" ]; then
	ASAN_OPTIONS=exitcode=99 systemd-socket-activate --listen "$tmp/given" --fdname control \
		"$build/vhostmd" -d -v -f "$tmp/conf" -p "$tmp/pid" -m "$mnt" -c test:///default >>"$tmp/log" 2>&1 &
	keeper=$!
	wait_for 20 test -S "$tmp/given" || fail "nobody listens"
	says 0 'is in force' ctl reload --control "$tmp/given"
	grep -qx "control.socket: $tmp/given" "$mnt/status" || fail "no word where it is: $(cat "$mnt/status")"
	[ -e "$control" ] && fail "there are two"
	stop_daemon || exit 1
	[ -S "$tmp/given" ] || fail "somebody's socket is removed"
fi
refused() # STATUS OPTION VALUE WORDS: it does not start, and says why
{
	says "$1" "$4" timeout 20 "$build/vhostmd" -d -f "$tmp/conf" -p "$tmp/pid" -m "$mnt" -c test:///default "$2" "$3"
}
refused 2 --control-group no-such-group "there is no group 'no-such-group'"
refused 2 --control "$tmp/x/" "no absolute path of a socket"
refused 1 --control "$tmp/no-directory/x" "No such file"
echo mine >"$control"
refused 1 --control "$control" "--control: unix:$control: something is there that is no socket of ours"
assert_eq "somebody's file" "$(cat "$control")" mine
rm "$control"

# ---- the service is killed, and started again with what is stored ----

if [ -e "$build/vhostmd.service" ]; then
	at_exit "umount -l $mnt 2>/dev/null"
	export FDSTORE_ANY=1 FDSTORE_SAYS=$tmp/stored
	ASAN_OPTIONS=exitcode=99 "$python" "$top/tests/func/fdstore.py" "$tmp/notify" "$mnt" "$build/vhostmd" --no-daemonize \
		--verbose --config "$tmp/conf" -c test:///default --pid-file "$tmp/pid" --mount "$mnt" >>"$tmp/log" 2>&1 &
	keeper=$!
	wait_for 60 has_value "$mnt/metrics/host/Name" || fail "no sample"
	wait_for 10 grep -q own-control "$tmp/stored" || fail "it is not stored: $(cat "$tmp/stored")"
	inode=$(stat -c %i "$control")
	says 0 '^info$' log info
	: >"$tmp/busy"
	reloads 1 "$tmp/ctl" >"$tmp/root" &
	by_root=$!
	before=$(cat "$tmp/pid")
	kill -KILL "$before"
	again() { [ "$(cat "$tmp/pid")" != "$before" ] && grep -q ^version "$mnt/status"; }
	wait_for 20 again || fail "no other keeper serves"
	rm "$tmp/busy"
	wait $by_root || fail "while keepers die: $(cat "$tmp/root")"
	says 0 '^info$' log
	assert_eq "the socket's inode" "$(stat -c %i "$control")" "$inode"
	stop_daemon || exit 1
	umount --force --lazy "$mnt" || fail umount
fi
exit 0
