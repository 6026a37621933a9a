#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Three hosts and a real Prometheus with contrib/prometheus: each panel of the dashboard has something to
# show, each recording rule has results, and alerts fire for whom they are and for nobody else.
. "$(dirname "$0")/../lib.sh"
. "$top/tests/fleet/lib.sh"
need_fleet

sed 's|<update_period>.*|<update_period>0.4</update_period><slow_period>0.8</slow_period>|' "$top/conf/vhostmd.conf" >"$tmp/conf"
fleet_network
fleet_rules 2
cat >"$tmp/prometheus.yml" <<END
global: {scrape_interval: 500ms, evaluation_interval: 500ms}
rule_files: [$tmp/rules.yml]
scrape_configs:
- job_name: vhostmd
  static_configs:
$(fleet_targets)
END
fleet_prometheus
fleet_start "$tmp/conf"

wait_for 30 ask rules || fail "$(ask rules 2>&1 | tail -n 1)"
wait_for 30 ask panels db01 || fail "$(ask panels db01 2>&1 | tail -n 1)"
# fired ALERT...: these, and no other, ever
fired() { diff <(printf '%s\n' "$@" | sort) <(ask alerts | sort); }
ill=("VmStarved host1 web01" "HostOvercommitted host2" "VmNotAnswering host3 test01")
wait_for 30 fired "${ill[@]}" || fail "alerts: $(fired "${ill[@]}")"
fleet_kill host2
wait_for 30 fired "${ill[@]}" "VhostmdDown host2" || fail "alerts: $(fired "${ill[@]}" "VhostmdDown host2")"
fleet_stop
exit 0
