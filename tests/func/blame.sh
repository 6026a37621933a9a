#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vhostmdctl blame says in words whom VMs waited for, or why that is not known: what a daemon answers
# that counts no waits, one that does, and one that is played.
. "$(dirname "$0")/../lib.sh"
need_fuse
ctl() { "$build/ctl/vhostmdctl" "$@"; }
# says STATUS TEXT ARGUMENTS...: that status, and the text in what is printed, or in the error
says()
{
	local status=$1 text=$2 r
	shift 2
	ctl "$@" >"$tmp/out" 2>&1
	r=$?
	[ $r = "$status" ] || fail "vhostmdctl $*: status $r, should be $status: $(cat "$tmp/out")"
	grep -qF -- "$text" "$tmp/out" || fail "vhostmdctl $*: no '$text' in: $(cat "$tmp/out")"
}

says 2 'is no number of seconds from 1 to 86400' blame --for 0
says 2 'is no number of seconds' blame --for 1.5
says 2 'name a VM, or all of them' blame --all web01
says 2 "takes no --for" status --for 3
says 2 'usage: vhostmdctl blame [VM]' blame a b

# ---- a daemon that is played: an answer for each connection, the last one again and again ----

cat >"$tmp/server.py" <<'EOF'
import os, socket, sys
path, answers = sys.argv[1], sys.argv[2:]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path + ".new")
listener.listen(10)
os.rename(path + ".new", path)
while True:
    peer, _ = listener.accept()
    request = peer.makefile().readline()
    answer = open(answers[0]).read() if request == "vhostmd 1 blame\n" else "error unknown what\n"
    answers = answers[1:] or answers
    peer.sendall((answer + "\n").encode())
    peer.close()
EOF
server=
# serve FILE...
serve()
{
	[ -z "$server" ] || kill "$server"
	rm -f "$tmp/socket"
	python3 "$tmp/server.py" "$tmp/socket" "$@" &
	server=$!
	wait_for 10 test -S "$tmp/socket" || fail "nobody plays a daemon"
}
end_server() { [ -z "$server" ] || kill "$server" 2>/dev/null; }
at_exit end_server

a=00000000-0000-0000-0000-00000000000a b=00000000-0000-0000-0000-00000000000b
c=00000000-0000-0000-0000-00000000000c
# vm UUID NAME VMS SELF HOST KERNEL IDLE QUOTA UNKNOWN: milliseconds
vm()
{
	local owner
	echo "vm: $1 64000 $2"
	shift 2
	for owner in vms self host kernel idle quota unknown; do
		echo "owner: $owner ${1}000000 $((all + $1))000000"
		shift
	done
}
# behind UUID NAME MILLISECONDS
behind() { echo "behind: $1 ${3}000000 $((all + $3))000000 $2"; }
# answer SECOND ALL: where ALL milliseconds were waited before all that
answer()
{
	all=$2
	echo ok
	echo bpf: attached
	echo "now: ${1}000"
	vm $b 'db03' 5 1 1 1 1 0 0
	vm $a 'web01' 2272 0 96 640 32 160 0
	behind $b 'db03' 2240
	behind $c '%1B[2Jred' 32
	vm $c '%1B[2Jred' 0 0 0 0 0 0 0
}
answer 1000 5 >"$tmp/first"
answer 1003 7 >"$tmp/second"
serve "$tmp/first"
asks() { says "$1" "$2" blame --control "$tmp/socket" "${@:3}"; }
asks 0 'web01 waited 3.2 s of the last 64 s: 70 % behind db03, 20 % behind kernel threads, 5 % held back by its quota, 3 % behind processes of the host, 1 % behind \x1b[2Jred, 1 % for a processor to wake up'
[ "$(wc -l <"$tmp/out")" = 1 ] || fail "who hardly waited is told of: $(cat "$tmp/out")"
asks 0 'db03 waited 0.01 s of the last 64 s: 56 % behind other VMs' --all
asks 0 '\x1b[2Jred hardly waited in the last 64 s' --all
[ "$(cut -d' ' -f1 "$tmp/out" | tr '\n' ' ')" = 'web01 db03 \x1b[2Jred ' ] || fail "not by waiting: $(cat "$tmp/out")"
asks 0 'db03 waited' "$b"
asks 0 'db03 waited' db03
[ "$(wc -l <"$tmp/out")" = 1 ] || fail "one VM: $(cat "$tmp/out")"
asks 0 '"waited_seconds": 3.200000' --json
python3 - "$tmp/out" <<EOF || fail "JSON: $(cat "$tmp/out")"
import json, sys
vms = json.load(open(sys.argv[1]))
assert [vm["name"] for vm in vms] == ["web01", "db03", "\x1b[2Jred"], vms
assert vms[0]["uuid"] == "$a" and vms[0]["seconds"] == 64
assert vms[0]["by"] == dict(vms=2.272, self=0, host=.096, kernel=.64, idle=.032, quota=.16, unknown=0), vms[0]
assert vms[0]["behind"] == [dict(name="db03", uuid="$b", seconds=2.24), dict(name="\x1b[2Jred", uuid="$c", seconds=.032)]
assert vms[2]["behind"] == []
EOF
asks 0 '"name": "db03"' --json db03

# from now on: by the sums, between two looks of the daemon's
serve "$tmp/first" "$tmp/first" "$tmp/second"
asks 0 'web01 waited 0.01 s of the last 3 s: 14 % behind db03' web01 --for 1
serve "$tmp/first" "$tmp/second"
asks 0 'no VM waited noticeably for a processor in the last 3 s' --for 1
serve "$tmp/second" "$tmp/off"
printf 'ok\nbpf: attached\nnow: 1005000\nvm: %s 64000 web01\nowner: vms 1 1\n' "$a" >"$tmp/off"
says 4 'begun to count anew' blame --control "$tmp/socket" --for 1 --json

printf 'ok\nbpf: off\n' >"$tmp/off"
serve "$tmp/off"
asks 4 'vhostmdctl reload'
printf 'ok\nbpf: loading it into the kernel: no\n' >"$tmp/refused"
serve "$tmp/refused"
asks 4 'cannot be counted: loading it into the kernel: no'
printf 'ok\nbpf: attached\n' >"$tmp/soon"
serve "$tmp/soon"
asks 4 'ask again after a period'
printf 'error unknown there are the verbs version status\n' >"$tmp/old"
serve "$tmp/old"
asks 1 'vhostmdctl upgrade'
says 1 "does not know 'log debug'" log debug --control "$tmp/socket"
printf 'error denied who may read the file status may ask for that\n' >"$tmp/denied"
serve "$tmp/denied"
asks 1 'who may read the file status'
says 1 'no-such' blame --control "$tmp/no-such"
says 1 'systemctl start vhostmd' blame --mount "$tmp"

# ---- a real one ----

conf()
{
	echo "<vhostmd><globals><update_period>0.2</update_period><transport>vbd</transport></globals><metrics>
		<metric context='vm'><name>x</name><source>$1</source></metric></metrics></vhostmd>" >"$tmp/conf.new"
	mv "$tmp/conf.new" "$tmp/conf"
}
conf domain.name
CONF=$tmp/conf start_daemon -c test:///default
named() { [ -d "$mnt/metrics/vm/test" ]; }
wait_for 20 named || fail "no VM is found"
says 4 'not counted: no metric asks for it' blame --mount "$mnt"
conf delay.p99
ctl reload --mount "$mnt" >/dev/null 2>&1 || fail "no reload"
settled() { grep -q '^bpf: ' "$mnt/status" && ! grep -qx 'bpf: \(off\|unknown\)' "$mnt/status"; }
wait_for 10 settled || fail "nothing is attached, and nobody says why"
if grep -qx 'bpf: attached' "$mnt/status"; then
	counted() { ctl blame --mount "$mnt" >"$tmp/out" 2>&1; }
	wait_for 10 counted || fail "blame: $(cat "$tmp/out")"
	# test:///default's VM has no process, so nothing is counted of it
	says 0 'of no VM that runs here' blame --mount "$mnt"
	says 4 'is not counted yet' blame test --mount "$mnt"
	says 4 'is not counted yet' blame 1 --mount "$mnt"
	says 3 "no VM 'nobody' runs here" blame nobody --mount "$mnt"
	says 0 '[]' blame --json --mount "$mnt"
else
	says 4 'cannot be counted' blame --mount "$mnt"
fi
stop_daemon || exit 1
exit 0
