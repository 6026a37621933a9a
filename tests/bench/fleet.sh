#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What a fleet costs its Prometheus: fleet.sh [--hosts N] [--minutes N] [--interval SECONDS] [--at-once].
# Three real vhostmds, whose VMs are stand-ins (tests/fleet), and N hosts of 100 VMs that fleet.py makes of what
# one of these exports.  They come in three lots, so that what each further one costs is seen; each has told of
# the last minutes, a scrape a minute, and is scraped at that interval then.
. "$(dirname "$0")/../lib.sh"
. "$top/tests/fleet/lib.sh"
hosts=60 minutes=30 vms=100 interval=15 parts=(4 2 1) rules=$top/contrib/prometheus/vhostmd.rules.yml
while [ $# -gt 0 ]; do
	case $1 in
	--hosts) hosts=$2; shift ;;
	--minutes) minutes=$2; shift ;;
	--interval) interval=$2; shift ;;
	--at-once) parts=(1) ;;
	esac
	shift
done
install_packages prometheus curl iproute2 >&2
need_fleet
result() { printf 'fleet.%s %s %s\n' "$@"; }
# calculate FORMAT EXPRESSION
calculate() { awk "BEGIN { printf \"$1\\n\", $2 }"; }
# cpu PID: what it has used, ms
cpu() { awk -v tick="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); printf "%d\n", ($12 + $13) * 1000 / tick }' "/proc/$1/stat"; }
rss() { awk '/^VmRSS/ { print $2 * 1024 }' "/proc/$1/status"; }
# of Prometheus itself, without labels all of that name: own METRIC
own()
{
	hub curl -sS http://127.0.0.1:9090/metrics |
		awk -v m="$1" '{ name = $1; if (m !~ /{/) sub(/{.*/, "", name) } name == m { n += $2 } END { printf "%.6f\n", n }'
}
# one number: value QUERY
value() { ask value "$1"; }

# ---- the hosts ----

cp "$top/conf/vhostmd.conf" "$tmp/conf"
fleet_network
fleet_start "$tmp/conf"
# one of these is the model, as it is before and after some of its periods
export_of()
{
	hub curl -sS -H 'Accept: application/openmetrics-text;version=1.0.0' "http://10.77.0.3:9178/metrics" >"$tmp/$1"
}
cycles() { export_of now && [ "$(awk '$1 == "vhostmd_fast_cycles_total" { print $2 }' "$tmp/now")" -ge "$1" ]; }
say "watching a host" >&2
wait_for 60 cycles 4 || fail "no cycles"
export_of first
wait_for 60 cycles 10 || fail "no cycles"
export_of second
nsenter -t "$fleet_hub" -n python3 "$top/tests/bench/fleet.py" 9179 $vms "$minutes" 60 "$tmp/first" "$tmp/second" >"$tmp/generator" 2>&1 {fleet_end}>&- &
generator=$!
wait_for 20 grep -q series "$tmp/generator" || fail "$(cat "$tmp/generator")"
read -r series _ bytes _ <"$tmp/generator"
result host_series "$series" series
result host_bytes "$bytes" bytes

# ---- Prometheus ----

# lot NAME FIRST LAST: hosts that are there from now on
lot()
{
	local i
	for i in $(seq "$2" "$3"); do
		printf '%s{"targets": ["127.0.0.1:9179"], "labels": {"job": "made", "instance": "made%d", "__metrics_path__": "/metrics/%d"}}' \
			"$([ "$i" = "$2" ] && echo '[' || echo ',')" "$i" "$i"
	done >"$tmp/$1.json"
	echo ']' >>"$tmp/$1.json"
}
# config RULES LOT...: the last of them tell of what was before
config()
{
	cat >"$tmp/prometheus.yml" <<-END
		global: {scrape_interval: 15s, scrape_timeout: 15s, evaluation_interval: 15s}
		rule_files: [$1]
		scrape_configs:
		- job_name: vhostmd
		  static_configs:
		$(fleet_targets)
	END
	shift
	while [ $# -gt 0 ]; do
		echo "- {job_name: $1, scrape_interval: ${interval}s, file_sd_configs: [{files: [$tmp/$1.json]}]}"
		shift
	done >>"$tmp/prometheus.yml"
}
# hurry LOT N: so many hosts, which are asked about as often as they can all answer
hurry() { sed -i "s/\(job_name: $1, scrape_interval:\) [0-9]*s/\1 $((1 + $2 / 50))s/" "$tmp/prometheus.yml"; }
reload() { hub curl -sS -X POST http://127.0.0.1:9090/-/reload >"$tmp/said" && [ ! -s "$tmp/said" ] || fail "$(cat "$tmp/said")"; }
all_know() # N: the hosts have told what was before
{
	[ "$(hub curl -sS http://127.0.0.1:9179/state)" = "0 $1" ]
}

config ''
fleet_prometheus --web.enable-lifecycle --web.enable-admin-api
lots=() n=0
for part in "${parts[@]}"; do
	lots+=("lot$part")
	more=$((hosts / part - n))
	lot "lot$part" $n $((n + more - 1))
	n=$((n + more))
	say "$n hosts of $vms VMs tell of $minutes minutes" >&2
	config '' "${lots[@]}"
	hurry "lot$part" $more
	reload
	wait_for 500 all_know $n || fail "they do not: $(hub curl -sS http://127.0.0.1:9179/state) of $n, $(tail -n 3 "$tmp/prometheus.log")"
	config '' "${lots[@]}"
	reload
	sleep $((interval + 1)) # all are scraped at that pace
	t=$(date +%s%N) c=$(cpu "$fleet_prometheus") g=$(cpu $generator) s=$(own prometheus_tsdb_head_samples_appended_total)
	sleep $((interval < 30 ? 30 : interval))
	t=$((($(date +%s%N) - t) / 1000000)) c=$(($(cpu "$fleet_prometheus") - c)) g=$(($(cpu $generator) - g))
	s=$(calculate %d "$(own prometheus_tsdb_head_samples_appended_total) - $s")
	head=$(own prometheus_tsdb_head_series)
	result "hosts_$n.series" "$(calculate %d "$head")" series
	result "hosts_$n.samples_per_s" "$(calculate %.0f "$s * 1000 / $t")" samples/s
	used=$(calculate %.4f "$c / $t") # processors
	result "hosts_$n.cpu" "$used" processors
	result "hosts_$n.cpu_per_million_samples" "$(calculate %.2f "$c * 1000 / $s")" s
	result "hosts_$n.memory" "$(calculate %.0f "$(rss "$fleet_prometheus") / 1048576")" MiB
	result "hosts_$n.memory_per_series" "$(calculate %.0f "$(rss "$fleet_prometheus") / $head")" bytes
	result "hosts_$n.heap_per_series" "$(calculate %.0f "$(own go_memstats_heap_inuse_bytes) / $head")" bytes
	result "hosts_$n.scrape_ms" "$(calculate %.1f "1000 * $(value 'avg(scrape_duration_seconds{job="made"})')")" ms
	result "hosts_$n.scrape_max_ms" "$(calculate %.1f "1000 * $(value 'max(scrape_duration_seconds{job="made"})')")" ms
	result "hosts_$n.generator_cpu" "$(calculate %.3f "$g / $t")" processors
done
[ "$(value 'min(up)')" = 1 ] || fail "scrapes fail: $(ask value 'up == 0')"
result live_scrape_ms "$(calculate %.1f "1000 * $(value 'avg(scrape_duration_seconds{job="vhostmd"})')")" ms

# ---- on disk ----

say "writing a block" >&2
hub curl -sS -X POST http://127.0.0.1:9090/api/v1/admin/tsdb/snapshot | grep -q success || fail "no block"
block=$(dirname "$tmp"/tsdb/snapshots/*/*/meta.json)
samples=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["stats"]["numSamples"])' "$block/meta.json")
result disk_per_sample "$(calculate %.2f "$(du -sb "$block/chunks" | cut -f 1) / $samples")" bytes
# once in each block, which is of two hours at first and of more later
result disk_index_per_series "$(calculate %.0f "$(stat -c %s "$block/index") / $(own prometheus_tsdb_head_series)")" bytes
rm -rf "$tmp/tsdb/snapshots"

# ---- rules ----

say "recording" >&2
# as they are, for there is a past; but alerts need not wait
sed 's/^\( *for:\) .*/\1 5s/' "$rules" >"$tmp/rules.yml"
config "$tmp/rules.yml" "${lots[@]}"
reload
evaluated() { [ "$(own 'prometheus_rule_group_iterations_total{rule_group="'"$tmp/rules.yml;$1"'"}' | cut -d . -f 1)" -ge 3 ]; }
for group in vhostmd vhostmd-alerts; do
	wait_for 120 evaluated $group || fail "$group is not evaluated"
	result "rules_${group#vhostmd-}_s" "$(calculate %.3f "$(own 'prometheus_rule_group_last_duration_seconds{rule_group="'"$tmp/rules.yml;$group"'"}')")" s
done
ask rules || fail "rules"
t=$(date +%s%N) b=$(cpu "$fleet_prometheus")
sleep 30
t=$((($(date +%s%N) - t) / 1000000)) b=$(($(cpu "$fleet_prometheus") - b))
# less what scrapes use, as measured above
result rules_cpu_s "$(calculate %.2f "($b / $t - $used) * 15")" s
ask flat "$tmp/flat.yml"
config '' "${lots[@]}"
reload # nothing is recorded twice, and nobody is in the way
end=$(date +%s)
hub promtool tsdb create-blocks-from rules --start $((end - minutes * 60)) --end "$end" --eval-interval 60s \
	--url http://127.0.0.1:9090 --output-dir "$tmp/tsdb" "$tmp/flat.yml" >"$tmp/backfill" 2>&1 || fail "$(tail "$tmp/backfill")"
config "$tmp/rules.yml" "${lots[@]}"
reload
earlier() { [ -n "$(ask value "count(vhostmd:vms:count offset $((minutes / 2))m)")" ]; }
wait_for 120 earlier || fail "no recorded history: $(cat "$tmp/backfill")"
result recorded_series "$(value 'count({__name__=~"vhostmd:.*"})')" series

# ---- panels ----

say "asking as the dashboard does" >&2
ask panels "$(value 'name:topk(1, vhostmd:vm_cpu:topk_rate5m)')" || fail "a panel is empty"
# while nothing is evaluated besides
sed -i 's/evaluation_interval: 15s/evaluation_interval: 1h/' "$tmp/prometheus.yml"
reload
ask times "$minutes" >"$tmp/times" || fail "no times"
sed 's/^[a-z]/fleet.&/' "$tmp/times"
# the slowest with recorded series, and without
for worst in panel_worst_ms panel_plain_worst_ms; do
	grep -q "^$worst " "$tmp/times" || fail "no $worst"
done
config "$tmp/rules.yml" "${lots[@]}"
reload

# ---- alerts ----

expected=("VmStarved made0 vm-0000-000" "VmStarved host1 web01" "HostOvercommitted host2" "VmNotAnswering host3 test01")
fired() { diff <(printf '%s\n' "$@" | sort) <(ask alerts | sort); }
wait_for 60 fired "${expected[@]}" || fail "alerts: $(fired "${expected[@]}")"
fleet_kill host2
expected+=("VhostmdDown host2")
wait_for 60 fired "${expected[@]}" || fail "alerts: $(fired "${expected[@]}")"
fleet_stop
exit 0
