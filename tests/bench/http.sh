#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What a scrape costs: http.sh [--guests N].  Compared with the file metrics.prom, and with
# prometheus-libvirt-exporter, of the same guests in the same run.
bench=http
. "$(dirname "$0")/lib/guests.sh"
guests=$(option --guests 200 "$@")
install_packages prometheus-libvirt-exporter curl >&2
need_halting_guests >&2
client() { python3 "$top/tests/bench/scrapes.py" "$@"; }
say "starting $guests guests" >&2
libvirtd=$(pgrep -xo libvirtd) || fail "no libvirtd"
for i in $(seq "$guests"); do
	begin_halting "$guest_prefix-bench-$i" "$(new_uuid)" "<interface type='ethernet'><model type='virtio'/></interface>"
done
halting_up
for i in $(seq "$guests"); do qemus+=("$(cat "/run/libvirt/qemu/$guest_prefix-bench-$i.pid")"); done
measure_idle

# what vhostmd costs with a scrape each period: over a UNIX socket, of OpenMetrics, compressed, as Prometheus asks
daemon 5 15 "$guests" --http "unix:$tmp/http"
asleep "$guests"
t=$(now_ns) c=$(cpu "$worker") l=$(others)
client every "$tmp/http" 5 12 >"$tmp/every" || fail "scrapes: $(cat "$tmp/every")"
own=$((($(cpu "$worker") - c) / 12))
theirs=$(($(beside $(($(others) - l)) "$t") / 12))
assert_eq "the worker" "$(worker_pid)" "$worker"
result guests "$guests" guests
result series "$(grep -vc '^#' "$mnt/metrics.prom")" series
stop_daemon || exit 1

# how long it takes
daemon 0.5 1.5 "$guests" --http "unix:$tmp/http"
client times "$tmp/http" "$mnt" 40 || fail "times"
stop_daemon || exit 1
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
daemon 0.5 1.5 "$guests" --http "127.0.0.1:$port"
client times "$port" "$mnt" 40 | sed 's/^http\./http.tcp_/' || fail "times"
stop_daemon || exit 1

prometheus-libvirt-exporter --libvirt.uri qemu:///system --web.listen-address 127.0.0.1:19177 >"$tmp/exporter.log" 2>&1 &
peer=$!
at_exit "kill $peer 2>/dev/null"
# compressed, as ours are and as Prometheus asks
scrape() { curl -s --compressed http://127.0.0.1:19177/metrics >"$tmp/scrape" && grep -q libvirt_domain "$tmp/scrape"; }
wait_for 30 scrape || fail "the exporter: $(tail "$tmp/exporter.log")"
assert_eq "guests of the exporter" "$(grep -c '^libvirt_domain_info_vcpus\|^libvirt_domain_info_virtual_cpus' "$tmp/scrape")" "$guests"
t=$(now_ns) c=$(cpu $peer) l=$(others)
for _ in $(seq 10); do scrape; done
peer_cpu=$((($(cpu $peer) - c + $(beside $(($(others) - l)) "$t")) / 10))
kill $peer
result scrape_cpu "$(ratio $((own + theirs)) 1000000 2)" ms
result scrape_cpu_own "$(ratio $own 1000000 2)" ms
result exporter_cpu "$(ratio $peer_cpu 1000000 2)" ms
result scrape_cpu_vs_exporter "$(ratio $((own + theirs)) $peer_cpu)" ratio
exit 0
