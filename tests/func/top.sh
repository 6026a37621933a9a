#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vhostmdctl top on a terminal, and its batch mode, of the VMs of libvirt's test driver; what it makes of
# figures is test-top's.
. "$(dirname "$0")/../lib.sh"
need_fuse
python=$(PATH=/usr/bin:$PATH command -v python3) # whose modules are Debian's
"$python" -c 'import pyte' 2>/dev/null || skip "needs python3-pyte"
ctl() { "$build/ctl/vhostmdctl" top --mount "$mnt" "$@"; }
vms=40
{
	echo "<node><cpu><mhz>2000</mhz><model>x</model><active>2</active><nodes>1</nodes><sockets>1</sockets>
		<cores>2</cores><threads>1</threads></cpu><memory>16000000</memory>"
	for i in $(seq $vms); do
		echo "<domain type='test'><name>vm-$i</name><uuid>$(printf '%08x' "$i")-0000-0000-0000-000000000001</uuid>
			<memory>65536</memory><vcpu>2</vcpu><os><type>hvm</type></os></domain>"
	done
	# what a terminal would take for its own, and a field or a text for its end
	echo "<domain type='test'><name>odd,&quot;&#x9b;2J&#xe4;'</name><uuid>000000ff-0000-0000-0000-000000000001</uuid>
		<memory>65536</memory><vcpu>2</vcpu><os><type>hvm</type></os></domain></node>"
} >"$tmp/node.xml"
sed -e 's|<update_period>.*|<update_period>0.5</update_period>|' \
	-e 's|</metrics>|<metric context="vm"><name>x</name><source>state.state</source></metric></metrics>|' \
	"$top/conf/vhostmd.conf" >"$tmp/conf"
chmod 755 "$tmp"

# nobody is there, and wrong usage
mkdir "$mnt"
ctl --batch >"$tmp/out" 2>"$tmp/err" && fail "it shows a daemon that is not there"
grep -q 'systemctl start vhostmd' "$tmp/err" || fail "no remedy: $(cat "$tmp/err")"
rmdir "$mnt"
usage() { # ERROR ARGUMENT...
	ctl "${@:2}" >"$tmp/out" 2>"$tmp/err"
	assert_eq "status of ${*:2}" $? 2
	grep -q -- "$1" "$tmp/err" || fail "${*:2}: $(cat "$tmp/err")"
}
usage 'is no number of seconds' --delay 0
usage 'is no number of seconds' --delay x
usage 'is none of name, state' --sort size
usage 'is for --batch' --json

start() { CONF=$tmp/conf start_daemon -c "test://$tmp/node.xml"; }
there() { [ "$(sed -n 's/^vms: //p' "$mnt/status")" = $((vms + 1)) ] && grep -q '^vhostmd_vm_state{.*vm-7"' "$mnt/metrics.prom"; }
start
wait_for 20 there || fail "no VMs"
ctl </dev/null >"$tmp/out" 2>"$tmp/err" && fail "a screen without a terminal"
grep -q -- '--batch prints' "$tmp/err" || fail "no remedy: $(cat "$tmp/err")"

# ---- batch ----
ctl --batch --count 3 --delay 0.1 --sort name >"$tmp/csv" || fail "--batch"
ctl --batch --json --count 2 --delay 0.1 --filter 'vm-1*' >"$tmp/json" || fail "--batch --json"
"$python" - "$tmp/csv" "$tmp/json" "$vms" <<'EOF2' || fail "batch: $(head -n 3 "$tmp/csv" "$tmp/json")"
import csv, json, sys
rows = list(csv.DictReader(open(sys.argv[1], newline="")))
n = int(sys.argv[3]) + 1
assert len(rows) == 3 * n, len(rows)
times = sorted({float(r["time"]) for r in rows})
# one a sample, and not of the same one twice
assert len(times) == 3 and all(0.3 < b - a < 3 for a, b in zip(times, times[1:])), times
assert [r["name"] for r in rows[:2]] == ["odd,\"\\xc2\\x9b2Jä'", "vm-1"], rows[:2]
assert all(None not in r and None not in r.values() for r in rows)
assert {r["state"] for r in rows} == {"running"} and {r["stale"] for r in rows} == {"0"}
assert all(0 <= float(r["age_s"]) < 5 for r in rows), rows[0]
refreshes = [json.loads(line) for line in open(sys.argv[2])]
assert len(refreshes) == 2, len(refreshes)
for r in refreshes:
    assert len(r["vms"]) == 11 and all(v["name"].startswith("vm-1") for v in r["vms"]), r["vms"]
    assert 0 <= r["host"]["cpu_percent"] < 1e5, r["host"]
    assert r["vms"][0]["cpu_percent"] is None and r["vms"][0]["state"] == "running"
EOF2
# whose reader goes
timeout 20 "$build/ctl/vhostmdctl" top --mount "$mnt" --batch --delay 0.1 | head -n 5 >"$tmp/out"
assert_eq "batch, when its reader goes" "$(wc -l <"$tmp/out") ${PIPESTATUS[0]}" "5 0"

# ---- the screen ----
# terminal COLUMNS LINES ARGUMENT...
terminal()
{
	coproc SCREEN {
		TERM=linux LC_ALL=C.UTF-8 exec "$python" "$top/tests/func/terminal.py" "$1" "$2" \
			"$build/ctl/vhostmdctl" top --mount "$mnt" --delay 0.2 "${@:3}" 2>"$tmp/terminal"
	}
	to=${SCREEN[1]} from=${SCREEN[0]}
}
# say COMMAND...: of terminal.py
say()
{
	local answer=
	printf '%s\n' "$*" >&"$to"
	read -r -t 60 answer <&"$from"
	[ "$answer" = yes ] || fail "$*: $answer $(cat "$tmp/terminal")"
}
ends() # STATUS
{
	local answer=
	echo 'end 10' >&"$to"
	read -r -t 60 answer <&"$from"
	assert_eq "status and terminal" "$answer" "$1 cooked"
	wait "$SCREEN_PID"
}

terminal 120 24
say see 20 '^41 VMs, sampled'
say see 20 '^host: [0-9]+ CPUs +[0-9]'
say see 20 '^NAME +STATE +VCPU +CPU%.*AGE/s *$'
say see 20 '^vm-1  *running .* -  '
say see 20 '^h help  q quit  lacking: VCPU \(vcpu.current\)'
# the manual's picture has these columns, its table all, with their keys
say dump "$tmp/screen"
manual=$top/docs/man/vhostmdctl.1.scd
for title in $(grep '^NAME .*AGE/s$' "$manual"); do
	sed -n 3p "$tmp/screen" | grep -q -w -- "$title" || fail "the manual's column $title is none"
done
for column in $(sed -n 3p "$tmp/screen"); do
	grep -q "^|  .*$column" "$manual" || fail "$column is not in the manual's table"
done
# sorted, and the other way round
say keys N
say see 20 "^odd,\"\\\\xc2\\\\x9b2Jä' "
say keys r
say see 20 '^vm-40 '
say lack 20 '^vm-1 '
say keys r
say see 20 '^vm-1 '
# moved: a page, the end, back
say lack 20 '^vm-40 '
say keys '\x1b[6~'
say see 20 '^vm-20 '
say keys '\x1b[4~'
say see 20 '^vm-40 '
say keys '\x1b[1~'
say see 20 '^odd'
# filtered, by text and by pattern; a letter is a letter then
say keys '/m-3'
say see 20 '^/m-3_'
say keys '\r'
say see 20 '^41 VMs, 11 shown'
say see 20 '^vm-39 '
say lack 20 '^vm-4 '
say keys '/\x7f\x7f\x7f*-?\r'
say see 20 '^41 VMs, 9 shown'
say see 20 '^vm-9 '
say keys '/\x1b'
say see 20 '^odd'
# a VM with all that it has, help, and back
say keys '\x1b[B\x1b[B\r'
say see 20 '^vm-[12]  0000000[12]-0000'
say see 20 '^running, id [0-9]+, sampled [0-9.]+ s ago'
say see 20 '^  CPU % .*\|.*\| of 10.0'
say keys h
say see 20 '^Columns, and the key'
say keys '\x1b[4~'
say see 20 'state.state|balloon.swap_in'
say keys q
say see 20 '^vm-1 '
# another size, however small
say size 20 5
say see 20 '^NAME +CPU% *$'
say lack 20 'AGE/s'
say see 20 '^vm-'
say size 3 2
say size 200 50
say see 20 '^vm-40 .*running'
# stopped and gone on
say stop
say signal CONT
say see 20 '^vm-40 .*running'

kill_daemon()
{
	kill -KILL "$keeper" "$(worker_pid)"
	wait "$keeper" 2>/dev/null
	keeper=''
}

# the worker, then all of the daemon, is killed in the middle: the screen stays, and goes on by itself
worker=$(worker_pid)
kill -KILL "$worker"
wait_for 10 process_gone "$worker"
wait_for 20 there || fail "no other worker"
say see 20 '^41 VMs, sampled [0-9]'
kill_daemon
say see 20 '^STALE, since [0-9]+ s: '
say coloured 1
say see 20 '^vm-40 .*running'
say keys r
say keys r
umount -l "$mnt"
start
wait_for 20 there || fail "no VMs again"
say see 20 '^41 VMs, sampled [0-9]'

# one that hangs
kill -STOP "$keeper" "$(worker_pid)"
say see 20 '^STALE, since [0-9]+ s: vhostmd does not answer'
say keys h
say see 20 '^Columns'
say keys q
pkill -CONT -P "$keeper"
kill -CONT "$keeper"
say see 20 '^41 VMs, sampled [0-9]'
say keys q
ends 0

# what ends it otherwise gives the terminal back, too
for how in 'keys \x03' 'signal TERM' 'signal HUP'; do
	terminal 80 24 --filter vm-4 --sort name --color never
	say see 20 '^41 VMs, 2 shown'
	say see 20 '^vm-40 '
	say "$how"
	ends 0
done
terminal 80 24 --count 2
ends 0

# no colours for who wants none, where there would be some
NO_COLOR=1 terminal 80 24
say see 20 '^vm-'
kill_daemon
say see 20 '^STALE, since [0-9]+ s: '
say coloured 0
say keys q
ends 0
umount -l "$mnt"
exit 0
