#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A libvirt driver that lives in the daemon's process reads its own XML files, before and after
# the daemon read its configuration.
. "$(dirname "$0")/../lib.sh"
need_fuse

cat >"$tmp/vm.xml" <<'EOT'
<domain type='test'><name>elsewhere</name><uuid>6695eb01-f6a4-8304-79aa-97f2502e1930</uuid>
<memory>8388608</memory><vcpu>2</vcpu><os><type>hvm</type></os></domain>
EOT
cat >"$tmp/node.xml" <<'EOT'
<node>
<domain type='test'><name>here</name><uuid>6695eb01-f6a4-8304-79aa-97f2502e1931</uuid>
<memory>8388608</memory><vcpu>2</vcpu><os><type>hvm</type></os></domain>
<domain file='vm.xml'/>
</node>
EOT
cat >"$tmp/conf" <<'EOT'
<!DOCTYPE vhostmd SYSTEM "vhostmd.dtd">
<vhostmd><globals><update_period>0.2</update_period></globals><metrics>
<metric context="vm"><name>Name</name><source>domain.name</source></metric>
</metrics></vhostmd>
EOT
chmod 644 "$tmp"/*.xml "$tmp/conf"
CONF=$tmp/conf start_daemon -c "test://$tmp/node.xml"
for name in here elsewhere; do
	wait_for 10 has_value "$mnt/metrics/vm/$name/Name" || fail "no VM '$name'"
done
kill -HUP "$keeper"
wait_for 10 logged 'is in force' || fail "no reload"
stop_daemon || exit 1
CONF=$tmp/conf start_daemon -c "test://$tmp/node.xml" --user daemon
wait_for 10 has_value "$mnt/metrics/vm/here/Name" || fail "no VM as another user"
