#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The xenstore transport, with a stand-in for xenstored: a domain's document is where it alone can read
# it, and whatever xenstored does or does not do, all others go on.
. "$(dirname "$0")/../lib.sh"
need_fuse

uuid=6695eb01-f6a4-8304-79aa-97f2502e193f # of the test driver's VM, whose id is 1
path=/local/domain/1/metrics
conf() # TRANSPORT [METRIC...]
{
	cat <<-EOF2
		<vhostmd><globals><disk><name>x</name></disk><update_period>0.2</update_period>
		<transport>vbd</transport>$1</globals><metrics>
		<metric context="host"><name>HostName</name><source>host.name</source></metric>
		<metric context="host"><name>Beat</name><source>vhostmd.fast.cycles</source></metric>
		<metric context="vm"><name>Name</name><source>domain.name</source></metric>
		${*:2}</metrics></vhostmd>
	EOF2
}
on='<transport>xenstore</transport>'
conf "" >"$tmp/conf"
: >"$tmp/domains"
mkfifo "$tmp/commands"
exec {commands}<>"$tmp/commands"
xenstored() { echo "$*" >&"$commands"; }
start_xenstored()
{
	rm -f "$tmp/socket"
	python3 "$top/tests/func/xenstored.py" "$tmp/socket" "$tmp/domains" <&"$commands" &
	stand_in=$!
	wait_for 10 test -S "$tmp/socket" || fail "the stand-in does not start"
}
# What is stored: stored EXPRESSION, of nodes, perms, asked and writes
stored()
{
	rm -f "$tmp/dump"
	xenstored dump "$tmp/dump"
	wait_for 10 test -e "$tmp/dump" || fail "the stand-in does not answer"
	python3 -c 'import json, sys; print(eval(sys.argv[2], json.load(open(sys.argv[1]))))' "$tmp/dump" "$1"
}
is_stored() { [ "$(stored "$1")" = "$2" ]; }
count() { grep -c -- "$1" "$tmp/log"; }
state() { sed -n "s/^xenstore.$1: //p" "$mnt/status"; }
is_state() { [ "$(state "$1")" = "$2" ]; }
beat() { stored "nodes['$path'].split('<name>Beat</name>')[1].split('<')[1]"; }
moves() { [ "$(beat)" != "$1" ]; }
host_moves() { [ "$(cat "$mnt/metrics/host/Beat")" != "$1" ]; }
goes_on() # WHAT: the rest does
{
	wait_for 3 host_moves "$(cat "$mnt/metrics/host/Beat")" || fail "$1: the host's figures stand still"
}
document_moves() { wait_for 10 moves "$(beat)" || fail "$1: what is stored stands still"; }

# ---- without the transport, and without xenstored ----

export XENSTORED_PATH=$tmp/socket
CONF=$tmp/conf start_daemon -c test:///default
threads() { cat "/proc/$(worker_pid)/task/"*/comm; }
wait_for 10 has_value "$mnt/metrics/vm/test/Name" || fail "no figures"
threads | grep -q '^notify$' || fail "threads: $(threads)"
threads | grep xenstore && fail "a thread of a transport that nobody has asked for"
grep xenstore "$mnt/status" && fail "status of a transport that nobody has asked for"
conf "$on" >"$tmp/conf"
kill -HUP "$keeper"
wait_for 10 logged "is in force" || fail "no reload"
wait_for 5 logged "no VM gets metrics by it" || fail "a reload does not enable it"
threads | grep -qx xenstore || fail "threads: $(threads)"
goes_on "no xenstored"
logged "xenstore: No such file or directory; no VM gets metrics by it" || fail "not a word"
wait_for 5 is_state connected 0 || fail "status: $(cat "$mnt/status")"
# it comes, and is found
start_xenstored
# the VM is no domain of Xen's, and gets no path
more_asked() { [ "$(stored asked)" -ge 3 ]; }
wait_for 15 more_asked || fail "xenstored is not asked"
assert_eq "what is stored for none of its domains" "$(stored nodes)" "{}"
echo 1 >"$tmp/domains"
is_written() { is_stored "'$path' in nodes" True; }
wait_for 15 is_written || fail "not written: $(stored nodes)"
assert_eq "how often it was said" "$(count 'No such file or directory; no VM')" 1

# ---- what is there ----

is_permitted() { is_stored "perms" "{'$path': ['n0', 'r1']}"; }
wait_for 5 is_permitted || fail "who may read it: $(stored perms)"
stored "nodes['$path']" >"$tmp/stored.xml"
xmllint --noout "$tmp/stored.xml" || fail "not XML"
for what in "type='string' context='host'" "<value>$(uname -n)<" "context='vm' id='1' uuid='$uuid'" "<value>test<"; do
	grep -qF "$what" "$tmp/stored.xml" || fail "no $what in $(cat "$tmp/stored.xml")"
done
document_moves "from beat to beat"
wait_for 5 is_state written 1 || fail "status: $(grep xenstore "$mnt/status")"
assert_eq "all that is stored" "$(stored "list(nodes)")" "['$path']"

# a guest's programs find it
"$build/guest/vm-dump-metrics" -x >"$tmp/dumped.xml" || fail "vm-dump-metrics -x"
grep -q "uuid='$uuid'" "$tmp/dumped.xml" || fail "vm-dump-metrics -x prints $(cat "$tmp/dumped.xml")"
"$build/guest/vm-dump-metrics" -x -d "$tmp/to-file.xml" && xmllint --noout "$tmp/to-file.xml" || fail "-x -d"

# ---- xenstored's troubles ----

xenstored error EQUOTA
refused() { logged "VM 'test' ($uuid): xenstored refuses its metrics: EQUOTA"; }
wait_for 5 refused || fail "not named"
wait_for 5 is_state refused 1 || fail "status: $(grep xenstore "$mnt/status")"
goes_on "refused"
before=$(stored writes)
more_writes() { [ "$(stored writes)" -gt $before ]; }
wait_for 10 more_writes || fail "it is not tried again"
assert_eq "how often it was said" "$(count EQUOTA)" 1
xenstored error -
document_moves "not refused any more"

xenstored hang
timeout 20 "$build/guest/vm-dump-metrics" -x >"$tmp/out" 2>&1 &
guest=$!
silent() { is_state connected "1 silent"; }
wait_for 10 silent || fail "one that hangs is not marked"
goes_on "hangs"
# a configuration is taken meanwhile
kill -HUP "$keeper"
wait_for 10 logged "is in force" || fail "no reload"
assert_eq "how often it was said" "$(count 'does not answer')" 1
r=0
wait $guest || r=$?
assert_eq "vm-dump-metrics, of one that hangs" $r 1
xenstored go
wait_for 10 logged "xenstored answers again" || fail "one that goes on is not heard"
document_moves "it goes on"

xenstored garbage
wait_for 10 logged "sends what is no answer" || fail "garbage is taken"
goes_on "garbage"
document_moves "after garbage"
xenstored close
wait_for 10 logged "Connection reset by peer; no VM" || fail "its end is not seen"
document_moves "connected again"
# another one, with nothing in it, and nobody there: who was there before is written again
xenstored set /other value
kill "$stand_in"
wait "$stand_in"
start_xenstored
wait_for 20 is_written || fail "another xenstored has nothing"
wait_for 5 is_permitted || fail "who may read it of another: $(stored perms)"

# ---- too long ----

conf "$on" "<metric type='string' context='vm'><name>Long</name><action>printf %05000d 0</action></metric>" >"$tmp/conf"
kill -HUP "$keeper"
cut() { logged "VM 'test' ($uuid): [0-9]* metrics are left out"; }
wait_for 10 cut || fail "what is too long is not named"
wait_for 5 is_state cut 1 || fail "status: $(grep xenstore "$mnt/status")"
stored "nodes['$path']" >"$tmp/stored.xml"
xmllint --noout "$tmp/stored.xml" && grep -q MetricsLeftOut "$tmp/stored.xml" || fail "cut: $(cat "$tmp/stored.xml")"
[ "$(stat -c %s "$tmp/stored.xml")" -le 4096 ] || fail "longer than a message"

# ---- another worker, and the end ----

worker=$(worker_pid)
kill -KILL "$worker"
another() { [ "$(worker_pid)" != "$worker" ]; }
wait_for 10 another || fail "no other worker"
document_moves "another worker"
conf "" >"$tmp/conf"
kill -HUP "$keeper"
is_gone() { is_stored "'$path' in nodes" False; }
wait_for 10 is_gone || fail "what is not configured any more stays"
stop_daemon || exit 1
kill "$stand_in"
exit 0
