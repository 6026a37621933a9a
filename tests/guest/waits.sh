#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The histogram of guests' waits: Prometheus' own parsers read it in both forms, its quantiles are those
# that vhostmd has, no guest sees it, and it never falls: not when a worker ends, another program takes
# over, or the configuration changes.
. "$(dirname "$0")/lib.sh"
need_halting_guests
for needed in curl promtool; do command -v $needed >/dev/null || skip "needs $needed"; done
ldd "$build/vhostmd" | grep -q microhttpd || skip "needs a vhostmd built with libmicrohttpd"
python=/usr/bin/python3 # which has what Debian installs
"$python" -c 'import prometheus_client' || skip "needs python3-prometheus-client"
http=$tmp/http

# conf NAME [SOURCE]: the histogram under that name
conf()
{
	local source
	{
		echo "<vhostmd><globals><update_period>0.5</update_period><transport>vbd</transport></globals><metrics>"
		for source in delay.p99 sample.generation ${2:-}; do
			echo "<metric context='vm'><name>$source</name><source>$source</source></metric>"
		done
		[ -z "$1" ] || echo "<metric type='histogram' context='vm'><name>$1</name><source>delay.histogram</source></metric>"
		echo "</metrics></vhostmd>"
	} >"$tmp/conf.new"
	mv "$tmp/conf.new" "$tmp/conf"
}
conf Waits
export CONF=$tmp/conf
mkdir "$tmp/bin"
real=$build build=$tmp/bin
cp "$real/vhostmd" "$tmp/bin/vhostmd"
start_daemon --http "unix:$http"
status() { sed -n "s/^bpf$1: //p" "$mnt/status"; }
told() { [ -n "$(status '')" ] && [[ $(status '') != @(off|unknown) ]]; }
wait_for 10 told || fail "it is not said whether waits are counted"
[ "$(status '')" = attached ] || skip "eBPF cannot be used here: $(status '')"

guest_busy_image
uuids=() vms=()
for i in 0 1; do
	uuids+=("$(new_uuid)") vms+=("$guest_prefix-$i")
	begin_halting "${vms[i]}" "${uuids[i]}" ''
done
halting_up
for vm in "${vms[@]}"; do
	pid=$(cat "/run/libvirt/qemu/$vm.pid")
	taskset -p -c 0 "$(grep -l '^CPU 0/' /proc/"$pid"/task/*/comm | cut -d/ -f5)" >/dev/null || fail "$vm stays where it is"
done
# right WHEN VM...
right() { "$python" "$top/tests/guest/waits.py" "$tmp" "$mnt/metrics.prom" "${@:2}" >"$tmp/said" 2>&1 || fail "$1: $(cat "$tmp/said")"; }
right "at first" "${vms[@]}"
cat "$tmp/said"

# both forms, at one generation; on the wire there is the percentile alone
alike()
{
	curl -sS --unix-socket "$http" -o "$tmp/text" http://x/metrics &&
		curl -sS --unix-socket "$http" -H 'Accept: application/openmetrics-text;version=1.0.0' -o "$tmp/open" http://x/metrics &&
		curl -sS --unix-socket "$http" -o "$tmp/again" http://x/metrics && cmp -s "$tmp/text" "$tmp/again"
}
wait_for 10 alike || fail "no two scrapes of a generation"
promtool check metrics <"$tmp/text" >"$tmp/said" 2>&1 && [ ! -s "$tmp/said" ] || fail "promtool: $(cat "$tmp/said")"
"$python" - "$tmp/text" "$tmp/open" <<'END' || fail "the two forms"
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_text
families = [{f.name: f for f in parse(open(file, encoding="utf-8").read())}["vhostmd_vm_delay_seconds"]
            for parse, file in ((parse_text, sys.argv[1]), (parse_open, sys.argv[2]))]
samples = [sorted((s.name, sorted(s.labels.items()), float(s.value)) for s in f.samples) for f in families]
assert samples[0] == samples[1] and len(samples[0]) == 2 * 17, samples
assert families[0].type == families[1].type == "histogram" and families[1].unit == "seconds", families
END
for file in "$mnt"/metrics/vm/"${vms[0]}"/* "$mnt/metrics.xml"; do
	case ${file##*/} in *[wW]aits* | *istogram*) fail "there is $file" ;; esac
done
grep -qi 'waits\|histogram' "$mnt/metrics.xml" && fail "it is on the wire: $(cat "$mnt/metrics.xml")"
grep -q delay.p99 "$mnt/metrics.xml" || fail "the percentile is not: $(cat "$mnt/metrics.xml")"

# two deaths, an upgrade, another name, another configuration
for i in 1 2; do
	before=$(worker_pid)
	kill -KILL "$before"
	next() { local pid; pid=$(worker_pid) && [ -n "$pid" ] && [ "$pid" != "$before" ]; }
	wait_for 10 next || fail "death $i: $(cat "$mnt/status")"
	right "after death $i" "${vms[@]}"
done
before=$(worker_pid)
cp "$real/vhostmd" "$tmp/bin/new"
mv "$tmp/bin/new" "$tmp/bin/vhostmd"
kill -USR2 "$keeper"
wait_for 20 next || fail "after an upgrade: $(cat "$mnt/status")"
right "after an upgrade" "${vms[@]}"
conf Another
kill -HUP "$keeper"
right "under another name" "${vms[@]}"
conf ''
kill -HUP "$keeper"
gone() { ! grep -q vhostmd_vm_delay_seconds "$mnt/metrics.prom"; }
wait_for 10 gone || fail "it is exported where nobody asks for it"
conf Again vcpu.current
kill -HUP "$keeper"
right "asked for again" "${vms[@]}"
stop_daemon || exit 1
exit 0
