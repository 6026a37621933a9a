#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# contrib/prometheus, contrib/grafana: the rules say what they are to say, the dashboards' queries are
# some, and all is of metrics that the default configuration has; or, of those about waits, one with what
# the documents add to it.
. "$(dirname "$0")/../lib.sh"
command -v promtool >/dev/null || skip "needs promtool"
cd "$top/contrib/prometheus" || exit 1

# tried NAME: its rules say what they are to say, and each of them was tried
tried()
{
	local rule
	promtool check rules "$1.rules.yml" >"$tmp/out" 2>&1 || fail "$(cat "$tmp/out")"
	promtool test rules "$1.test.yml" >"$tmp/out" 2>&1 || fail "$(cat "$tmp/out")"
	for rule in $(sed -n 's/^ *- \(alert\|record\): //p' "$1.rules.yml"); do
		grep -q "alertname: $rule\$\|expr: .*\b$rule\b" "$1.test.yml" || fail "$rule is not tried"
		[[ $rule == *:* ]] || [ "$(grep -c "alertname: $rule\$" "$1.test.yml")" -ge 2 ] ||
			fail "$rule is not tried both ways"
	done
}

# The queries of NAME's dashboard as rules, LEAST or more, of which promtool says whether they are any:
# queries NAME LEAST
queries()
{
	local rule
	python3 - "../grafana/$1.json" "$2" >"$tmp/$1.dashboard.yml" <<'EOF' || fail "the dashboard $1"
import json, sys
dashboard = json.load(open(sys.argv[1]))
names = {v["name"] for v in dashboard["templating"]["list"]}
assert names == {"datasource", "instance", "vm"}, names
rules, ids, titles = [], set(), set()
for panel in [p for row in dashboard["panels"] for p in [row] + row.get("panels", [])]:
    at = panel["gridPos"]
    assert panel["id"] not in ids and at["x"] + at["w"] <= 24, panel
    ids.add(panel["id"])
    if panel["type"] == "row":
        continue
    assert panel["title"] and panel["description"] and panel["targets"], panel["id"]
    for target in panel["targets"]:
        assert target["datasource"]["uid"] == "${datasource}", target
        expr = target["expr"].replace("$__rate_interval", "5m").replace("$instance", ".*").replace("$vm", ".*")
        assert "$" not in expr, expr
        rules.append({"record": "panel:%d:%s" % (panel["id"], target["refId"].lower()), "expr": expr})
assert len(rules) >= int(sys.argv[2]), len(rules)
json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, sys.stdout)
EOF
	promtool check rules "$tmp/$1.dashboard.yml" >"$tmp/out" 2>&1 || fail "$(cat "$tmp/out")"
	for rule in $(grep -o 'vhostmd:[a-z0-9_:]*' "../grafana/$1.json" | sort -u); do
		grep -q "record: $rule\$" "$1.rules.yml" || fail "the dashboard $1 has $rule, and there is no such rule"
	done
}

# What a configuration exports: exports FILE
exports()
{
	local sources=$tmp/sources
	sed -n 's|.*<source[^>]*>\(.*\)</source>.*|`\1`|p' "$1" >"$sources"
	# vhostmd_up is always there
	echo vhostmd_up
	grep -F -f "$sources" "$top/docs/sources.md" | grep -o 'vhostmd_[a-z0-9_]*' |
		sed 's/\(.*\)_bucket$/&\n\1_sum\n\1_count/'
	# this, while waits are counted
	! grep -q '^`\(vcpu\.\*\.\)\?delay\.' "$sources" || grep -m 1 -o 'vhostmd_vm_stolen_seconds_total' "$top/docs/steal.md"
}

# NAME's rules and dashboard need nothing else than what is exported, LEAST of it or more:
# needs NAME LEAST EXPORTED...
needs()
{
	sort -u "${@:3}" >"$tmp/$1.there"
	sed 's/#.*//' "$1.rules.yml" "../grafana/$1.json" | grep -o 'vhostmd_[a-z0-9_]*' | sort -u >"$tmp/$1.used"
	[ "$(wc -l <"$tmp/$1.used")" -ge "$2" ] || fail "$1: the rules use nothing: $(cat "$tmp/$1.used")"
	comm -13 "$tmp/$1.there" "$tmp/$1.used" >"$tmp/lacking"
	[ ! -s "$tmp/lacking" ] || fail "$1: not in its configuration: $(cat "$tmp/lacking")"
}

tried vhostmd
queries vhostmd 21
exports "$top/conf/vhostmd.conf" >"$tmp/default"
needs vhostmd 20 "$tmp/default"

# Those about waits add to the default configuration what the documents say, and are of no use without.
tried vhostmd-waits
queries vhostmd-waits 10
awk '/^```xml$/ {block = ""} {block = block $0 "\n"} /^```$/ {if (block ~ /delay\.histogram/) printf "%s", block; block = ""}' \
	"$top/docs/steal.md" >"$tmp/waits.conf"
assert_eq "what docs/steal.md asks for" "$(sed -n 's|.*<source>\(.*\)</source>.*|\1|p' "$tmp/waits.conf")" delay.histogram
exports "$tmp/waits.conf" >"$tmp/waits"
needs vhostmd-waits 3 "$tmp/default" "$tmp/waits"
sort -u "$tmp/default" | comm -13 - "$tmp/vhostmd-waits.used" >"$tmp/more"
assert_eq "what they need of it" "$(xargs <"$tmp/more")" \
	"vhostmd_vm_delay_seconds_bucket vhostmd_vm_delay_seconds_count vhostmd_vm_stolen_seconds_total"
# what its test tells of VMs, each panel has something to show of
python3 - "$tmp/vhostmd-waits.dashboard.yml" <<'EOF' >"$tmp/panels.yml" || fail "no test of panels"
import json, sys
rules = [r["record"] for r in json.load(open(sys.argv[1]))["groups"][0]["rules"]]
lines = open("vhostmd-waits.test.yml").read().split("\n")
first = lines.index("    input_series:")
series = lines[first + 1:next(i for i in range(first + 1, len(lines)) if not lines[i].startswith("      "))]
print("rule_files: [vhostmd-waits.rules.yml, vhostmd-waits.dashboard.yml]\nevaluation_interval: 1m\ntests:\n- interval: 1m")
print("  input_series:", *series, "  promql_expr_test:", sep="\n")
for rule in rules:
    # no number is equal to itself that is none
    print("  - {expr: 'count(%s == %s) > bool 0', eval_time: 30m, exp_samples: [{labels: '{}', value: 1}]}" % (rule, rule))
EOF
cp vhostmd-waits.rules.yml "$tmp/"
promtool test rules "$tmp/panels.yml" >"$tmp/out" 2>&1 || fail "a panel shows nothing: $(cat "$tmp/out")"

# what the documentation drops is there, and none of it is missed
dropped=$(sed -n 's/^ *regex: \(vhostmd_.*\)/\1/p' "$top/docs/monitoring.md")
[ "$(grep -cxE "$dropped" "$tmp/vhostmd.there")" -ge 10 ] || fail "docs/monitoring.md drops what is not there: $dropped"
cat "$tmp"/*.used | grep -xE "$dropped" && fail "docs/monitoring.md drops what the rules or the dashboard need"

# how many series the default configuration has, as the documents say
python3 - "$top/conf/vhostmd.conf" "$top/docs/sources.md" >"$tmp/formula" <<'END' || fail "no formula"
import collections, re, sys
import xml.etree.ElementTree as xml
called = dict(re.findall(r"^\| `([^`]+)` .* `(vhostmd_[^`{]+)(?:{[^`]*)?` \|$", open(sys.argv[2]).read(), re.M))
sets = collections.defaultdict(set)
for metric in xml.parse(sys.argv[1]).iter("metric"):
    source = metric.findtext("source")
    if source in called: # else it stands in a label
        scope = source.split(".*")[0] if "*" in source else ""
        sets[metric.get("context"), scope].add(called[source])
n = {key: len(names) for key, names in sets.items()}
assert n.pop(("vm", "iothread"), 0) == 0
# the daemon's two, and what each VM has by itself
n["host", ""] += 2
sets["vm", ""].add("vhostmd_vm_info")
print("%d + VMs x (%d + %d x vCPUs + %d x disks + %d x interfaces)" % (n.pop(("host", "")), len(sets["vm", ""]),
      n.pop(("vm", "vcpu")), n.pop(("vm", "block")), n.pop(("vm", "net"))))
n.pop(("vm", ""))
assert not n, n
END
for file in docs/monitoring.md docs/man/vhostmd.8.scd; do
	tr -s '\n\t ' ' ' <"$top/$file" | grep -qF "$(cat "$tmp/formula")" || fail "$file does not say $(cat "$tmp/formula")"
done
exit 0
