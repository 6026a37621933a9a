#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What counts vCPUs' waits in the kernel is there while a configuration asks for it, and no longer;
# it outlives the worker, begins anew with another program, and where it may not be attached that
# is said once.
. "$(dirname "$0")/../lib.sh"
need_fuse

# conf SOURCE...
conf()
{
	local source
	{
		echo "<vhostmd><globals><update_period>0.2</update_period><transport>vbd</transport></globals><metrics>"
		for source; do echo "<metric context='vm'><name>$source</name><source>$source</source></metric>"; done
		echo "<metric context='host'><name>Generation</name><source>host.sample.generation</source></metric>"
		echo "</metrics></vhostmd>"
	} >"$tmp/conf.new"
	mv "$tmp/conf.new" "$tmp/conf"
}
status() { sed -n 's/^bpf: //p' "$mnt/status"; }
is() { [ "$(status)" = "$1" ]; }
# open PID: descriptors that have to do with it
open() { find "/proc/$1/fd" -lname 'anon_inode:bpf*' 2>/dev/null | wc -l; }
attached() { grep -c 'eBPF is attached' "$tmp/log"; }

conf domain.name
export CONF=$tmp/conf
real=$build
mkdir "$tmp/bin"
cp "$real/vhostmd" "$tmp/bin/vhostmd"
build=$tmp/bin
start_daemon -c test:///default
wait_for 10 is off || fail "bpf is '$(status)' where nobody asks for it"
assert_eq "descriptors" "$(open "$keeper")" 0

conf delay.p50 'vcpu.*.delay.max'
kill -HUP "$keeper"
settled() { [ -n "$(status 2>/dev/null)" ] && ! is off && ! is unknown; }
wait_for 10 settled || fail "nothing is attached, and nobody says why"
is attached || skip "eBPF cannot be used here: $(status)"
assert_eq "descriptors of the keeper" "$(open "$keeper")" 5
assert_eq "descriptors of the worker" "$(open "$(worker_pid)")" 0
grep -qx 'bpf.lost: 0' "$mnt/status" || fail "$(grep bpf "$mnt/status")"

# the next worker has the same
for i in 1 2; do
	before=$(worker_pid)
	kill -KILL "$before"
	next() { local pid; pid=$(worker_pid) && [ -n "$pid" ] && [ "$pid" != "$before" ] && is attached; }
	wait_for 10 next || fail "death $i: $(cat "$mnt/status")"
done
assert_eq "attached, in spite of deaths" "$(attached)" 1

# upgrade TIMES: by then it was attached so often
upgrade()
{
	before=$(worker_pid)
	kill -USR2 "$keeper"
	wait_for 20 next || fail "after an upgrade: $(cat "$mnt/status")"
	assert_eq "attached, with an upgrade" "$(attached)" "$1"
	assert_eq "descriptors of the keeper" "$(open "$keeper")" 5
	assert_eq "descriptors of the worker" "$(open "$(worker_pid)")" 0
}
# also the next program, if it counts in the same way; else it begins anew
upgrade 1
python3 - "$real/vhostmd" "$tmp/bin/new" <<'END' || fail "no other program"
import sys
program = open(sys.argv[1], "rb").read()
assert b"src/bpf/delay.bpf.c" in program
open(sys.argv[2], "wb").write(program.replace(b"src/bpf/delay.bpf.c", b"src/bpf/delay.bpf.d"))
END
chmod 755 "$tmp/bin/new"
mv "$tmp/bin/new" "$tmp/bin/vhostmd"
upgrade 2

conf domain.name
kill -HUP "$keeper"
gone() { is off && [ "$(open "$keeper")" = 0 ]; }
wait_for 10 gone || fail "it is not let go: $(status), $(open "$keeper") descriptors"
# nor by a worker that comes when nobody asks for it any more; a histogram does alone
conf delay.histogram
kill -HUP "$keeper"
wait_for 10 is attached || fail "not attached again: $(status)"
conf domain.name
kill -KILL "$(worker_pid)"
wait_for 10 gone || fail "a new worker does not let it go: $(status), $(open "$keeper") descriptors"
stop_daemon || exit 1

build=$real

# a daemon without rights: what systemd mounts for it is there, and figures do not apply
[ -e "$build/vhostmd.service" ] || exit 0
cat >"$tmp/vhostmd" <<END
#!/bin/sh
case " \$* " in *" --mount-only "*) exec "$build/vhostmd" "\$@" ;; esac
exec setpriv --reuid daemon --regid daemon --clear-groups --inh-caps=-all --ambient-caps=-all \\
	--bounding-set=-all "$build/vhostmd" "\$@"
END
chmod 755 "$tmp/vhostmd"
install -d -o daemon "$tmp/daemon"
conf delay.p50
chmod 644 "$tmp/conf"
: >"$tmp/log"
at_exit "umount -l $mnt 2>/dev/null"
ASAN_OPTIONS=exitcode=99 python3 "$top/tests/func/fdstore.py" "$tmp/notify" "$mnt" \
	"$tmp/vhostmd" --no-daemonize --verbose --config "$tmp/conf" -c test:///default \
	--pid-file "$tmp/daemon/pid" --mount "$mnt" >>"$tmp/log" 2>&1 &
keeper=$!
wait_for 20 settled || fail "bpf is '$(status)' without rights"
[[ $(status) == *"needs CAP_BPF and CAP_PERFMON"* ]] || fail "bpf is '$(status)' without rights"
before=$(worker_pid)
kill -KILL "$before"
again() { local pid; pid=$(worker_pid) && [ -n "$pid" ] && [ "$pid" != "$before" ] && settled; }
wait_for 10 again || fail "no new worker"
assert_eq "said once" "$(grep -c 'cannot be counted' "$tmp/log")" 1
exit 0
