#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What others cost for the same guests: sample-peers.sh [--guests N].  All have a period of 5 s, of
# monitors, too, and QEMUs' and libvirtd's share counts for each; every third guest reads
# its disk within each period.
bench=sample
. "$(dirname "$0")/lib/guests.sh"
guests=$(option --guests 100 "$@")
install_packages collectd-core prometheus-libvirt-exporter curl >&2
need_reading_guests
say "starting $guests guests" >&2
start_guests 1 "$guests" 4 "<interface type='ethernet'><model type='virtio'/></interface>"

# those that sleep are asked for all each fifth of their pulses, of which there is one in four periods
daemon 5 5 "$guests"
asleep $((guests - guests / 3))
cycles 20
whole=$((own + theirs))
result whole_cpu_own "$(ratio "$own" 1000000 2)" ms
result whole_cpu "$(ratio "$whole" 1000000 2)" ms
stop_daemon || exit 1

cat >"$tmp/collectd.conf" <<-EOF
	BaseDir "$tmp"
	PIDFile "$tmp/collectd.pid"
	TypesDB "/usr/share/collectd/types.db"
	Interval 5
	LoadPlugin virt
	LoadPlugin csv
	<Plugin csv>
	  DataDir "$tmp/csv"
	</Plugin>
	<Plugin virt>
	  Connection "qemu:///system"
	  RefreshInterval 60
	  Instances 1
	</Plugin>
EOF
collectd -f -C "$tmp/collectd.conf" >"$tmp/collectd.log" 2>&1 &
peer=$!
at_exit "kill $peer 2>/dev/null"
gauged() { [ "$(find "$tmp/csv" -name 'virt_cpu_total*' 2>/dev/null | wc -l)" -ge "$guests" ]; }
wait_for 60 gauged || fail "collectd: $(tail "$tmp/collectd.log")"
p0=$(cpu $peer) t0=$(now_ns) o0=$(others)
sleep 30 # six of its intervals
peer_cpu=$((($(cpu $peer) - p0 + $(beside $(($(others) - o0)) "$t0")) / 6))
kill $peer
wait $peer 2>/dev/null
result collectd_cpu "$(ratio $peer_cpu 1000000 2)" ms
result whole_vs_collectd "$(ratio $peer_cpu "$whole" 1)" ratio

prometheus-libvirt-exporter --libvirt.uri qemu:///system --web.listen-address 127.0.0.1:19177 >"$tmp/exporter.log" 2>&1 &
peer=$!
at_exit "kill $peer 2>/dev/null"
scrape() { curl -s http://127.0.0.1:19177/metrics >"$tmp/scrape" && grep -q libvirt_domain "$tmp/scrape"; }
wait_for 30 scrape || fail "the exporter: $(tail "$tmp/exporter.log")"
p0=$(cpu $peer) t0=$(now_ns) o0=$(others)
for _ in $(seq 10); do scrape; done
peer_cpu=$((($(cpu $peer) - p0 + $(beside $(($(others) - o0)) "$t0")) / 10))
kill $peer
result exporter_cpu "$(ratio $peer_cpu 1000000 2)" ms
result whole_vs_exporter "$(ratio $peer_cpu "$whole" 1)" ratio
exit 0
