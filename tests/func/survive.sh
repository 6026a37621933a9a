#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The worker ends at any moment, or hangs: no reader meets an error, anything torn, or waits long.
# survive.sh --conf PERIOD LINK: prints the configuration that survive.py reads; the disk's link.
. "$(dirname "$0")/../lib.sh"

configuration()
{
	metric() { echo "<metric context='host'><name>$1</name><source>$2</source></metric>"; }
	echo "<vhostmd><globals><disk><name>x</name><path>$1</path><size unit='k'>1024</size></disk>
	<update_period>$2</update_period><transport>vbd</transport></globals><metrics>"
	metric HostName host.name
	metric Generation host.sample.generation
	for i in {1..400}; do metric "A_name_that_makes_the_document_larger_than_one_read_of_it_$i" host.name; done
	metric Generation_again host.sample.generation
	echo "</metrics></vhostmd>"
}
if [ "${1:-}" = --conf ]; then
	configuration "$3" "$2"
	exit 0
fi
need_fuse

configuration "$tmp/link" 0.3 >"$tmp/conf"
CONF=$tmp/conf start_daemon -c test:///default
wait_for 10 has_value "$mnt/metrics/host/Generation" || fail "no sample"
before=$(generation)
threads() { find "/proc/$keeper/task" -mindepth 1 -maxdepth 1 | wc -l; }
descriptors() { find "/proc/$keeper/fd" -mindepth 1 | wc -l; }
held=$(descriptors)
timeout -k 5 90 python3 "$top/tests/func/survive.py" "$mnt" "$keeper" 12 0.6 >"$tmp/readers" ||
	fail "$(cat "$tmp/readers")"
cat "$tmp/readers"
kill -0 "$keeper" || fail "the keeper has ended"
assert_eq "threads of the keeper" "$(threads)" 1
settled() { [ "$(descriptors)" -le "$held" ]; }
wait_for 10 settled || fail "the keeper has $(descriptors) descriptors, it had $held"
[ "$(generation)" -gt "$before" ] || fail "the generation fell"

# one that hangs is replaced; readers wait that long and no longer
worker=$(worker_pid)
process_hang "$worker" || fail "the worker does not stop"
begin=$SECONDS
assert_eq "read from one that hangs" "$(timeout 30 cat "$mnt/metrics/host/HostName" "$mnt/status" | sed -n 1p)" \
	"$(uname -n)"
[ $((SECONDS - begin)) -le 10 ] || fail "it took $((SECONDS - begin)) s"
logged "worker $worker answers no more" || fail "not logged"

# one that only gets no processor is given longer: the next one would get none either
worker=$(worker_pid)
cpu=$(taskset -cp $$ | sed 's/.*: \([0-9]*\).*/\1/')
taskset -acp "$cpu" "$worker" >/dev/null && chrt -a -i -p 0 "$worker" || fail "it cannot be held back"
# of a higher priority than it could have
taskset -c "$cpu" nice -n -20 bash -c 'while :; do :; done' &
hog=$!
at_exit "kill $hog 2>/dev/null"
# what it may still use up is not enough for all of them
for _ in {1..500}; do cat "$mnt/status" || exit; done >"$tmp/late" &
reader=$!
mkfifo "$tmp/never"
read -r -t 6 <>"$tmp/never" # longer than one that hangs is waited for
kill -0 $reader || fail "it is not held back"
kill $hog
wait $reader || fail "the reader of one that was held back"
assert_eq "worker that was held back" "$(sed -n 's/^pid: //p' "$tmp/late" | sort -u)" "$worker"
