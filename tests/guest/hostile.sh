#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# VMs with the worst names that libvirt allows, and actions that mention them in every kind of
# quotes: the text comes out as it is, or not at all, and is never executed.
. "$(dirname "$0")/lib.sh"
need_halting_guests

cat >"$tmp/conf" <<'EOF'
<vhostmd><globals><update_period>3</update_period><transport>virtio</transport><transport>vbd</transport>
<actions><timeout>2</timeout></actions></globals><metrics>
<metric type="string" context="vm"><name>unquoted</name><action>printf %s NAME</action></metric>
<metric type="string" context="vm"><name>double</name><action>printf %s "NAME"</action></metric>
<metric type="string" context="vm"><name>nested</name><action>printf %s "$(printf %s "NAME")"</action></metric>
<metric type="string" context="vm"><name>variable</name><action>x=NAME; printf %s "$x"</action></metric>
<metric type="string" context="vm"><name>single</name><action>printf %s 'NAME'</action></metric>
<metric type="string" context="vm"><name>shell</name><action>sh -c "printf %s NAME"</action></metric>
<metric type="string" context="vm"><name>awk</name><action>awk 'BEGIN {printf "%s", "NAME"}'</action></metric>
<metric type="string" context="vm"><name>python</name><action>python3 -c "print('NAME')"</action></metric>
<metric type="string" context="vm"><name>piped</name><action>echo "echo NAME" | sh</action></metric>
<metric type="string" context="vm"><name>expanded</name><action>v=NAME; $v; echo "$v"</action></metric>
<metric type="string" context="vm"><name>uuid</name><action>sh -c 'echo UUID'</action></metric>
<metric type="string" context="vm"><name>slow</name><action>sleep 1000</action></metric>
<metric type="string" context="vm"><name>own</name><source>domain.name</source></metric>
</metrics></vhostmd>
EOF
export CONF=$tmp/conf
start_daemon

names=("plain" "two words" "\$(touch $tmp.pwned);'\"<&" "\`touch $tmp.pwned\`" "'; touch $tmp.pwned; '"
	"..x" "uni-é€" "%41" "star*" 'back\slash' "#x" "~" "{a,b}")
uuids=()
for name in "${names[@]}"; do
	uuid=$(cat /proc/sys/kernel/random/uuid)
	uuids+=("$uuid")
	# libvirt forbids the slash, and nothing else
	begin_halting "$guest_prefix-${name//\//_}" "$uuid" "$(guest_channel_xml)"
done
halting_up

value() { cat "$mnt/metrics/vm-by-uuid/$1/$2" 2>/dev/null; }
has() { [ -n "$(value "$1" "$2")" ]; }
for i in "${!names[@]}"; do
	uuid=${uuids[i]} name="$guest_prefix-${names[i]//\//_}"
	for metric in unquoted double nested variable own; do
		wait_for 20 has "$uuid" $metric || fail "no $metric for '$name'"
		assert_eq "$metric of '$name'" "$(value "$uuid" $metric)" "$name"
	done
	wait_for 20 has "$uuid" uuid || fail "no uuid for '$name'"
	assert_eq "uuid of '$name'" "$(value "$uuid" uuid)" "$uuid"
	for metric in single shell awk python piped expanded; do
		if [[ ! $name =~ [^A-Za-z0-9_.-] ]]; then
			wait_for 20 has "$uuid" $metric || fail "no $metric for a plain name"
			assert_eq "$metric of '$name'" "$(value "$uuid" $metric)" "$name"
		else
			has "$uuid" $metric && fail "$metric of '$name' is '$(value "$uuid" $metric)'"
		fi
	done
	[ -d "$mnt/metrics/vm/${name//%/%25}" ] || fail "no directory for '$name'"
done
ls "$tmp.pwned" 2>/dev/null && fail "a VM's name was executed"
for i in 1 2 3; do
	n=$(grep -c "metric awk of VM $guest_prefix-two words" "$tmp/log")
	assert_eq "lines in the log, look $i" "$n" 1
done
xmllint --noout "$mnt/metrics.xml" || fail "metrics.xml"
promtool check metrics <"$mnt/metrics.prom" || fail "metrics.prom"
connected() { grep -q "channels.connected: ${#names[@]}\$" "$mnt/status"; }
wait_for 20 connected || fail "$(grep connected "$mnt/status") of ${#names[@]}"
stop_daemon
