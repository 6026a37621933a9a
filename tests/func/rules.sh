#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# contrib/prometheus, contrib/grafana: the rules say what they are to say, the dashboard's queries are
# some, and all is of metrics that the default configuration has.
. "$(dirname "$0")/../lib.sh"
command -v promtool >/dev/null || skip "needs promtool"
cd "$top/contrib/prometheus" || exit 1
promtool check rules vhostmd.rules.yml >"$tmp/out" 2>&1 || fail "$(cat "$tmp/out")"
promtool test rules vhostmd.test.yml >"$tmp/out" 2>&1 || fail "$(cat "$tmp/out")"
# each of them was tried
for rule in $(sed -n 's/^ *- \(alert\|record\): //p' vhostmd.rules.yml); do
	grep -q "alertname: $rule\$\|expr: .*\b$rule\b" vhostmd.test.yml || fail "$rule is not tried"
	[[ $rule == *:* ]] || [ "$(grep -c "alertname: $rule\$" vhostmd.test.yml)" -ge 2 ] ||
		fail "$rule is not tried both ways"
done

# The dashboard: its queries as rules, of which promtool says whether they are any.
python3 - ../grafana/vhostmd.json >"$tmp/dashboard.yml" <<'EOF' || fail "the dashboard"
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
assert len(rules) > 20
json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, sys.stdout)
EOF
promtool check rules "$tmp/dashboard.yml" >"$tmp/out" 2>&1 || fail "$(cat "$tmp/out")"
grep -o 'vhostmd:[a-z0-9_:]*' ../grafana/vhostmd.json | sort -u >"$tmp/recorded"
for rule in $(cat "$tmp/recorded"); do
	grep -q "record: $rule\$" vhostmd.rules.yml || fail "the dashboard has $rule, and there is no such rule"
done

# vhostmd_up is always there
{
	echo vhostmd_up
	sed -n 's|.*<source[^>]*>\(.*\)</source>.*|`\1`|p' "$top/conf/vhostmd.conf" >"$tmp/sources"
	grep -F -f "$tmp/sources" "$top/docs/sources.md" | grep -o 'vhostmd_[a-z0-9_]*'
} | sort -u >"$tmp/there"
sed 's/#.*//' vhostmd.rules.yml ../grafana/vhostmd.json | grep -o 'vhostmd_[a-z0-9_]*' | sort -u >"$tmp/used"
[ "$(wc -l <"$tmp/used")" -ge 20 ] || fail "the rules use nothing: $(cat "$tmp/used")"
comm -13 "$tmp/there" "$tmp/used" >"$tmp/lacking"
[ ! -s "$tmp/lacking" ] || fail "not in the default configuration: $(cat "$tmp/lacking")"

# what the documentation drops is there, and none of it is missed
dropped=$(sed -n 's/^ *regex: \(vhostmd_.*\)/\1/p' "$top/docs/monitoring.md")
[ "$(grep -cxE "$dropped" "$tmp/there")" -ge 10 ] || fail "docs/monitoring.md drops what is not there: $dropped"
grep -xE "$dropped" "$tmp/used" && fail "docs/monitoring.md drops what the rules or the dashboard need"

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
