#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Who keeps a file open while its value becomes longer and shorter reads whole values.
. "$(dirname "$0")/../lib.sh"
need_fuse

names=$(seq -f v%g 0 99)
# changes with each run
value="awk -v n=\$(date +%N) 'BEGIN { for (i = 0; i &lt; 100; i++) printf \"%s%d\", i ? \",\" : \"\", n % 2 ? 9 : 1234 }'"
{
	echo "<vhostmd><globals><disk><name>x</name><path>$tmp/link</path><size unit='k'>256</size></disk>
	<update_period>0.2</update_period><transport>vbd</transport></globals><metrics>"
	for group in a b c d; do
		echo "<metric type='group' context='host'><name>$group</name><action>$value</action>"
		for name in $names; do echo "<variable name='$group$name' type='uint32'/>"; done
		echo "</metric>"
	done
	echo "</metrics></vhostmd>"
} >"$tmp/conf"
CONF=$tmp/conf start_daemon -c test:///default
wait_for 10 has_value "$mnt/metrics/host/dv99" || fail "no value"
timeout 60 python3 "$top/tests/func/grown.py" 4 "$mnt"/metrics/host/?v* || fail "not whole"
