#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Old hosts with guests of today, and old guests with a host of today: tests/func/old.py.
. "$(dirname "$0")/../lib.sh"
need_fuse
CC=clang build "$top/build-clang" -Dbuildtype=release -Dwerror=true
LD_LIBRARY_PATH=$top/build-clang/guest PYTHONPATH=$top/guest/python VHOSTMD_SOURCE=$tmp/disk \
	TOOL=$top/build-clang/guest/vm-dump-metrics python3 "$top/tests/func/old.py" disks "$tmp" ||
	fail "an old host"

cat >"$tmp/conf" <<EOF2
<vhostmd><globals><disk><name>x</name><path>$tmp/shared</path><size unit="k">256</size></disk>
<update_period>0.1</update_period><transport>vbd</transport></globals><metrics>
<metric type="uint64" context="host"><name>cycles</name><source>vhostmd.fast.cycles</source></metric>
<metric type="string" context="host"><name>HostName</name><source>host.name</source></metric>
<metric type="real64" context="host" unit="s"><name>up</name><source>host.uptime</source></metric>
<metric type="uint64" context="vm"><name>memory</name><source>balloon.current</source></metric>
$(for i in $(seq 400); do
	echo "<metric type='uint64' context='host'><name>number $i of many</name><source>vhostmd.fast.cycles</source></metric>"
done)
</metrics></vhostmd>
EOF2
CONF=$tmp/conf start_daemon --connect test:///default
wait_for 10 test -e "$mnt/metrics/vm/test" || fail "no VM"
python3 "$top/tests/func/old.py" guests "$tmp/shared" "$mnt/disk/$(ls "$mnt/metrics/vm-by-uuid").img" ||
	fail "an old guest"
exit 0
