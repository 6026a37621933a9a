#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# SIGUSR2: keeper and worker give way to the program that is installed by now, and no reader sees
# anything of it; to one that cannot go on they do not, or it goes back by itself.
. "$(dirname "$0")/../lib.sh"
need_fuse

real=$build
bash "$top/tests/func/survive.sh" --conf 0.3 "$tmp/link" >"$tmp/conf"
mkdir "$tmp/bin"
# by a new file, as package managers do
install_program() { cp "$1" "$tmp/bin/new" && mv "$tmp/bin/new" "$tmp/bin/vhostmd"; }
# the same with another version: the texts are of one length
other=$tmp/other
python3 - "$real/vhostmd" "$other" <<'END' || fail "no other version"
import sys
program = open(sys.argv[1], "rb").read()
assert b"vhostmd 2.0.0" in program
open(sys.argv[2], "wb").write(program.replace(b"2.0.0", b"2.0.1"))
END
chmod 755 "$other"
install_program "$real/vhostmd"
build=$tmp/bin
count() { grep -c -- "$1" "$tmp/log"; }
more_than() { [ "$(count "$2")" -gt "$1" ]; }
changed() { [ "$(worker_pid)" != "$1" ]; }
version() { sed -n 's/^version: //p' "$mnt/status"; }

# what is installed runs, and its worker serves
quiet()
{
	[ "/proc/$keeper/exe" -ef "$tmp/bin/vhostmd" ] &&
		[ "$(count 'giving way to')" = "$(count 'has taken over from\|has failed\|cannot be executed:')" ]
}

# upgrade TO
upgrade()
{
	install_program "$1"
	kill -USR2 "$keeper"
	wait_for 20 quiet || fail "no upgrade to $1"
}

CONF=$tmp/conf start_daemon -c test:///default
wait_for 10 has_value "$mnt/metrics/host/Generation" || fail "no sample"
first=$keeper worker=$(worker_pid)
descriptors() { find "/proc/$keeper/fd" -mindepth 1 | wc -l; }
held=$(descriptors) before=$(generation)
exec 9<"$mnt/metrics/host/HostName"
assert_eq "version" "$(version)" 2.0.0
upgrade "$other"
assert_eq "version after the upgrade" "$(version)" 2.0.1
[ "$(worker_pid)" != "$worker" ] || fail "the worker is the old one"
assert_eq "the keeper's process" "$(cat "$tmp/pid")" "$first"
assert_eq "the keeper's program" "$(readlink "/proc/$first/exe")" "$tmp/bin/vhostmd"
assert_eq "a file that was open" "$(cat <&9)" "$(uname -n)"
exec 9<&-
[ "$(generation)" -ge "$before" ] || fail "the generation fell"
assert_eq "link" "$(readlink "$tmp/link")" "$mnt/disk/vhostmd0.img"
"$real/vhostmd" -d -f "$tmp/conf" -p "$tmp/pid" -m "$tmp/other-mnt" -c test:///default 2>"$tmp/err" &&
	fail "the pid file is not locked any more"
grep -q "already running with pid $first" "$tmp/err" || fail "$(cat "$tmp/err")"
settled() { [ "$(descriptors)" -le "$held" ]; }
wait_for 10 settled || fail "the keeper has $(descriptors) descriptors, it had $held"
kill -HUP "$keeper"
wait_for 10 logged "is in force" || fail "no reload after an upgrade"
# a worker of the new program that dies is replaced as before
worker=$(worker_pid)
kill -KILL "$worker"
wait_for 20 changed "$worker" || fail "no other worker"

# readers, who meet it again and again
timeout -k 5 90 python3 "$top/tests/func/survive.py" --upgrade "$other" "$real/vhostmd" "$tmp/bin/vhostmd" -- \
	"$mnt" "$keeper" 12 1.5 >"$tmp/readers" || fail "$(cat "$tmp/readers")"
cat "$tmp/readers"
wait_for 20 quiet || fail "an upgrade has no end"
assert_eq "the keeper's process" "$(cat "$tmp/pid")" "$first"
wait_for 10 settled || fail "the keeper has $(descriptors) descriptors, it had $held"

# ---- another layout of what worker and keeper leave ----

upgrade "$real/vhostmd"
exec 9<"$mnt/metrics/host/HostName"
timeout -k 5 60 python3 "$top/tests/func/survive.py" --upgrade "$real/tests/other-layout" "$real/vhostmd" "$tmp/bin/vhostmd" -- \
	"$mnt" "$keeper" 8 2 >"$tmp/readers" || fail "with another layout: $(cat "$tmp/readers")"
cat "$tmp/readers"
wait_for 20 quiet || fail "an upgrade has no end"
assert_eq "a file that was open" "$(cat <&9)" "$(uname -n)"
exec 9<&-
logged "what the last worker showed is not used" && fail "what was shown is not taken over"
wait_for 10 settled || fail "the keeper has $(descriptors) descriptors, it had $held"

# ---- what cannot take over changes nothing ----

upgrade "$real/vhostmd"
wait_for 10 settled
# stays WHAT WORDS: told to give way to what is installed, they do not, and say why
stays()
{
	local worker n
	worker=$(worker_pid) n=$(count "vhostmd 2.0.0 goes on")
	kill -USR2 "$keeper"
	wait_for 25 more_than "$n" "vhostmd 2.0.0 goes on" || fail "$1: not a word"
	tail -n 3 "$tmp/log" | grep -q -- "$2" || fail "$1: the log does not say '$2'"
	assert_eq "worker after $1" "$(worker_pid)" "$worker"
	assert_eq "program after $1" "$(version)" 2.0.0
	assert_eq "a file after $1" "$(cat "$mnt/metrics/host/HostName")" "$(uname -n)"
	wait_for 10 settled || fail "$1: the keeper has $(descriptors) descriptors, it had $held"
}
script() { cat >"$tmp/script"; chmod "${1:-755}" "$tmp/script"; install_program "$tmp/script"; }
rm "$tmp/bin/vhostmd"
stays "no program" "No such file"
script 644 </dev/null
stays "a program that nobody may execute" "status 127"
printf '\177ELF nonsense' | script
stays "a program that is none" "Exec format error"
script <<<$'#!/bin/sh\necho "missing: a library" >&2; exit 3'
stays "a program that ends" "missing: a library"
logged "(status 3)" || fail "its status is not logged"
script <<<$'#!/bin/sh\nkill -SEGV $$'
stays "a program that crashes" "(signal 11)"
script <<END
#!/bin/bash
exec "$real/vhostmd" "\${@/#[0-9]:/9:}"
END
stays "a program of another state" "of version 9:"
script <<<$'#!/bin/sh\nsleep 1000 & echo $! >'"$tmp/sleeper"$'; wait'
stays "a program that hangs" "within 10 s"
wait_for 10 process_gone "$(cat "$tmp/sleeper")" || fail "what the program started stays"
# it can, and then it cannot be executed
script <<<$'#!/bin/sh\n[ "${*#*--can-take-over}" != "$*" ] && chmod 644 "$0"\nexit 0'
stays "a program that cannot be executed" "Permission denied"
install_program "$real/vhostmd"
mv "$tmp/conf" "$tmp/conf.away"
stays "a configuration that is not there" "cannot take over"
mv "$tmp/conf.away" "$tmp/conf"

# ---- what takes over and fails goes back ----

# goes_back WHAT WORDS
goes_back()
{
	local n
	n=$(count "vhostmd 2.0.0 goes on: version .* has failed")
	kill -USR2 "$keeper"
	assert_eq "a file with $1" "$(timeout 10 cat "$mnt/status" | sed -n 's/^version: //p')" 2.0.0
	wait_for 20 more_than "$n" "vhostmd 2.0.0 goes on: version .* has failed" || fail "$1: it does not go back"
	logged "$2" || fail "$1: the log does not say '$2'"
	assert_eq "program after $1" "$(timeout 10 cat "$mnt/status" | sed -n 's/^version: //p')" 2.0.0
	assert_eq "the keeper's process after $1" "$(cat "$tmp/pid")" "$first"
	assert_eq "its name after $1" "$(cat "/proc/$first/comm")" vhostmd
	wait_for 10 settled || fail "$1: the keeper has $(descriptors) descriptors, it had $held"
}
worker=$(worker_pid)
fails() { script <<<"#!/bin/sh
exec $real/tests/bad-successor $1 \"\$@\""; }
fails back
goes_back "one that does not like the state" "cannot take over: going back to version 2.0.0"
assert_eq "the worker that nobody touched" "$(worker_pid)" "$worker"
# the configuration is away just then, for whom it goes back to as well
script <<END
#!/bin/sh
case "\$*" in *--can-take-over*) exit 0 ;; esac
mv "$tmp/conf" "$tmp/conf.away"
(sleep 1; mv "$tmp/conf.away" "$tmp/conf") &
exec "$real/tests/bad-successor" back "\$@"
END
goes_back "a configuration that is away for a moment" "cannot take over: going back to version 2.0.0"
assert_eq "the worker that nobody touched" "$(worker_pid)" "$worker"
# a worker of the old program comes to serve while the new one takes over: its word is not the new
# one's.  (If it has still to ask the keeper for something it does not, and is replaced.)
kill -KILL "$(worker_pid)"
fresh() { worker=$(cat "/proc/$first/task/$first/children") && [ "${worker% }" -gt 1 ] && process_hang $worker; }
wait_for 10 fresh || fail "no other worker"
script <<END
#!/bin/sh
case "\$*" in *--can-take-over*) exit 0 ;; esac
kill -CONT $worker
timeout 2 cat "$mnt/status" >/dev/null
exec "$real/tests/bad-successor" crash "\$@"
END
goes_back "a worker that serves late" "cannot serve: going back to version 2.0.0"
fails refuse
goes_back "a worker that ends" "cannot serve: going back to version 2.0.0"
# and who reads meanwhile sees nothing of that
fails crash
cp "$tmp/script" "$tmp/crash"
fails hang
cp "$tmp/script" "$tmp/hang"
n=$(count "going back to version 2.0.0")
timeout -k 5 90 python3 "$top/tests/func/survive.py" --upgrade "$tmp/crash" "$tmp/hang" "$tmp/bin/vhostmd" -- \
	"$mnt" "$keeper" 16 5 >"$tmp/readers" || fail "$(cat "$tmp/readers")"
cat "$tmp/readers"
gone_back() { more_than $((n + 1)) "going back to version 2.0.0" && [ "$(timeout 10 cat "$mnt/status" | sed -n 's/^version: //p')" = 2.0.0 ]; }
wait_for 20 gone_back || fail "it does not go back"
assert_eq "the keeper's process after all that" "$(cat "$tmp/pid")" "$first"
upgrade "$other"
assert_eq "version of an upgrade after all" "$(version)" 2.0.1
stop_daemon || exit 1
grep -q " $mnt " /proc/mounts && fail "still mounted"
[ -e "$tmp/pid" ] && fail "the pid file stays"
[ -L "$tmp/link" ] && fail "the link stays"

# ---- in the background ----

install_program "$real/vhostmd"
(cd "$tmp" && bin/vhostmd -f conf -p pid -m "$mnt" -c test:///default) || fail "no daemon"
keeper=$(cat "$tmp/pid")
at_exit "kill $keeper 2>/dev/null"
assert_eq "version in the background" "$(version)" 2.0.0
install_program "$other"
kill -USR2 "$keeper"
is_other() { [ "$(version)" = 2.0.1 ]; }
wait_for 20 is_other || fail "no upgrade in the background"
assert_eq "the daemon's process" "$(cat "$tmp/pid")" "$keeper"
kill "$keeper"
wait_for 20 process_gone "$keeper" || fail "it does not end"
keeper=''
grep -q " $mnt " /proc/mounts && fail "still mounted"
[ -e "$tmp/pid" ] && fail "the pid file stays"
exit 0
