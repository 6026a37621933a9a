#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# contrib/prometheus: the rules say what they are to say, of metrics that the default configuration has.
. "$(dirname "$0")/../lib.sh"
command -v promtool >/dev/null || skip "needs promtool"
cd "$top/contrib/prometheus" || exit 1
promtool check rules vhostmd.rules.yml >"$tmp/out" 2>&1 || fail "$(cat "$tmp/out")"
promtool test rules vhostmd.test.yml >"$tmp/out" 2>&1 || fail "$(cat "$tmp/out")"
# each of them was tried
for rule in $(sed -n 's/^ *- \(alert\|record\): //p' vhostmd.rules.yml); do
	grep -q "alertname: $rule\$\|expr: $rule\$\|exp_samples" vhostmd.test.yml || fail "$rule is not tried"
	[[ $rule == *:* ]] || [ "$(grep -c "alertname: $rule\$" vhostmd.test.yml)" -ge 2 ] ||
		fail "$rule is not tried both ways"
done
# vhostmd_up is always there
{
	echo vhostmd_up
	sed -n 's|.*<source[^>]*>\(.*\)</source>.*|`\1`|p' "$top/conf/vhostmd.conf" >"$tmp/sources"
	grep -F -f "$tmp/sources" "$top/docs/sources.md" | grep -o 'vhostmd_[a-z0-9_]*'
} | sort -u >"$tmp/there"
sed 's/#.*//' vhostmd.rules.yml | grep -o 'vhostmd_[a-z0-9_]*' | sort -u >"$tmp/used"
[ "$(wc -l <"$tmp/used")" -ge 8 ] || fail "the rules use nothing: $(cat "$tmp/used")"
comm -13 "$tmp/there" "$tmp/used" >"$tmp/lacking"
[ ! -s "$tmp/lacking" ] || fail "not in the default configuration: $(cat "$tmp/lacking")"
exit 0
