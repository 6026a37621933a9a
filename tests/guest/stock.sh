#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A configuration of commands that root ran until now, against a real libvirt with polkit and
# D-Bus: every metric has its value, and no action runs as root.
. "$(dirname "$0")/lib.sh"
need_fuse
bus_answers() { python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect("/run/dbus/system_bus_socket")' 2>/dev/null; }
bus_answers || {
	command -v dbus-daemon >/dev/null && [ -x /usr/lib/polkit-1/polkitd ] || skip "needs D-Bus and polkit"
	# libvirt does not look for a bus again that was not there
	virsh_system list >/dev/null 2>&1 && skip "libvirt runs without D-Bus"
	mkdir -p /run/dbus
	bus=$(dbus-daemon --system --nopidfile --fork --print-pid) || skip "D-Bus does not start"
	at_exit "kill $bus; rm -f /run/dbus/system_bus_socket"
	/usr/lib/polkit-1/polkitd --no-debug >"$tmp/polkit" 2>&1 &
	at_exit "kill $!"
}
need_halting_guests

uuid=$(new_uuid) name="$guest_prefix-two words"
guest_start_halting "$name" "$uuid" "" || fail "no guest"
cat >"$tmp/conf" <<'EOF'
<?xml version="1.0" ?>
<!DOCTYPE vhostmd SYSTEM "vhostmd.dtd">
<vhostmd><globals><disk><name>x</name><size unit="k">256</size></disk><update_period>1</update_period>
<path>/usr/sbin:/sbin:/usr/bin:/bin:/usr/share/vhostmd/scripts</path><transport>vbd</transport></globals><metrics>
<metric type="string" context="host"><name>HostName</name><action>
  virsh CONNECT hostname | tr -d '[:space:]'
</action></metric>
<metric type="string" context="host"><name>Product</name><action>
  echo "Stack 1.0, $( virsh version | awk '/Running hypervisor/ {print $(NF-1),$NF}' )"
</action></metric>
<metric type="uint64" context="host"><name>Memory</name><action>
  echo "$((`virsh -c qemu:///system nodeinfo | awk '/Memory size/ {print $3}'` / 1024))"
</action></metric>
<metric type="uint32" context="host"><name>VMs</name><action>virsh CONNECT list --uuid | xargs -n 1 virsh -q CONNECT domstate | grep -c running</action></metric>
<metric type="real64" context="vm" unit="s"><name>TotalCPUTime</name><action>
  virsh CONNECT dominfo NAME | sed 's/: */:/' | \
  awk -F: '/CPU time/ {print $2;}' | sed 's/s//'
</action></metric>
<metric type="string" context="host"><name>Who</name><action>id -un</action></metric>
</metrics></vhostmd>
EOF
host=$mnt/metrics/host
for uri in "" qemu:///system; do
	: >"$tmp/log"
	CONF=$tmp/conf start_daemon ${uri:+-c "$uri"}
	wait_for 30 has_value "$host"/{HostName,Product,Memory,VMs,Who} "$mnt/metrics/vm-by-uuid/$uuid/TotalCPUTime" ||
		fail "values are missing: $(grep . "$host"/*)"
	assert_eq "user" "$(cat "$host/Who")" nobody
	assert_eq "host's name" "$(cat "$host/HostName")" "$(virsh_system hostname | tr -d '[:space:]')"
	[[ $(cat "$host/Product") == "Stack 1.0, QEMU "* ]] || fail "product: $(cat "$host/Product")"
	assert_eq "VMs" "$(cat "$host/VMs")" "$(virsh_system list --name | grep -c .)"
	stop_daemon || exit 1
	grep 'unavailable' "$tmp/log" && fail "something is unavailable"
done
"$build/vhostmd" --check-config "$tmp/conf" | grep 'lacks a right' && fail "nothing lacks a right"

# every source that there is has a value for a confined worker if it has one for root's
every_source 1 1 >"$tmp/all.conf"
sed 's|<update_period>.*</update_period>|<update_period>1</update_period><slow_period>1</slow_period>|' \
	"$top/conf/vhostmd.conf" >"$tmp/stock.conf"
chmod 644 "$tmp"/{all,stock}.conf
values() { (cd "$mnt/metrics" && grep -rl . host "vm/$name" 2>/dev/null | sort); }
settled() { [ "$(sed -n 's/^slow.calls: //p' "$mnt/status")" -ge 4 ]; }
same_values() { values >"$tmp/confined.$1" && diff "$tmp/root.$1" "$tmp/confined.$1" >"$tmp/diff"; }
for conf in "$tmp/all.conf" "$tmp/stock.conf"; do
	file=${conf##*/}
	for user in root nobody; do
		CONF=$conf start_daemon --user $user
		# rates come with the second sample, some from libvirt
		wait_for 20 settled || fail "libvirt is not asked again and again as $user"
		if [ $user = root ]; then
			values >"$tmp/root.$file"
			[ "$(wc -l <"$tmp/root.$file")" -gt 20 ] || fail "no values"
		else
			wait_for 10 same_values "$file" || fail "values that $user lacks: $(cat "$tmp/diff")"
		fi
		stop_daemon || exit 1
	done
done

grep -q process.io.read.bytes "$tmp/confined.all.conf" || fail "no I/O of a process of another user's"

# a socket that is not open to all: said beforehand, and when it happens
chmod 700 /run/libvirt/libvirt-sock-ro
at_exit chmod 777 /run/libvirt/libvirt-sock-ro
"$build/vhostmd" --check-config "$tmp/conf" | grep -q 'HostName: .*libvirt-sock-ro is not open.*unix_sock_ro_perms' ||
	fail "not foretold"
CONF=$tmp/conf start_daemon
wait_for 20 logged "metric HostName is unavailable:.*socket for readers is not open" || fail "not logged"
wait_for 5 grep -q '^actions.lacking.TotalCPUTime: .*unix_sock_ro_perms' "$mnt/status" || fail "$(cat "$mnt/status")"
has_value "$host/HostName" && fail "a value without rights"
stop_daemon
