#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Actions of files written for a daemon that runs them as root: virsh only reads, nothing is no
# value, and what lacks a right is said in the log, in status and by --check-config.
. "$(dirname "$0")/../lib.sh"
need_fuse

# a virsh that tells what it was asked, and a program that is root's alone
mkdir "$tmp/bin"
cat >"$tmp/bin/virsh" <<'EOF'
#!/bin/sh
case $* in
*--readonly*hostname) echo host1; exit ;;
*guestinfo*) echo "error: operation forbidden: read only access prevents virDomainGetGuestInfo" >&2 ;;
*show*) echo "$@"; exit ;;
*) echo "error: failed to connect to the hypervisor
error: authentication unavailable: no polkit agent available to authenticate action 'org.libvirt.unix.manage'" >&2 ;;
esac
exit 1
EOF
printf '#!/bin/sh\necho 5\n' >"$tmp/bin/private"
chmod 755 "$tmp/bin" "$tmp/bin/virsh"
chmod 700 "$tmp/bin/private"
echo secret >"$tmp/secret"
chmod 600 "$tmp/secret"
cat >"$tmp/conf" <<EOF
<vhostmd><globals><update_period>1</update_period><path>$tmp/bin:/usr/bin:/bin</path></globals><metrics>
<metric type="string" context="host"><name>HostName</name><action>virsh -c qemu:///system hostname | tr -d '[:space:]'</action></metric>
<metric type="string" context="host"><name>Piped</name><action>echo show | xargs virsh</action></metric>
<metric type="string" context="host"><name>InShell</name><action>sh -c 'timeout 5 virsh show "a  b"'</action></metric>
<metric type="string" context="host"><name>Full</name><action>$tmp/bin/virsh show all</action></metric>
<metric type="string" context="host"><name>Refused</name><action>echo "Stack 1.0, \$($tmp/bin/virsh hostname | tr -d x)"</action></metric>
<metric type="string" context="host"><name>Guest</name><action>virsh guestinfo x | tr -d x</action></metric>
<metric type="string" context="host"><name>Empty</name><action>sh -c 'echo "oops: no such thing" &gt;&amp;2; exit 1' | tr -d x</action></metric>
<metric type="string" context="host"><name>Blank</name><action>echo "  "</action></metric>
<metric type="string" context="host"><name>Private</name><action>private | tr -d x</action></metric>
<metric type="string" context="host"><name>Secret</name><action>cat $tmp/secret | wc -l</action></metric>
<metric type="string" context="host"><name>Chatty</name><action>echo said &gt;&amp;2; echo value</action></metric>
<metric type="string" context="host"><name>Env</name><action>env | grep -v '^PWD=\|^_=' | sort | tr '\n' ' '</action></metric>
<metric type="string" context="host"><name>Who</name><action>id -un</action></metric>
</metrics></vhostmd>
EOF
host=$mnt/metrics/host
CONF=$tmp/conf start_daemon -c test:///default
wait_for 10 has_value "$host/HostName" "$host/Piped" "$host/InShell" "$host/Full" "$host/Chatty" "$host/Env" "$host/Who" ||
	fail "values are missing: $(grep . "$host"/*)"
assert_eq "the stock form" "$(cat "$host/HostName")" host1
assert_eq "behind xargs" "$(cat "$host/Piped")" "--readonly show"
assert_eq "in another shell, arguments whole" "$(cat "$host/InShell")" "--readonly show a  b"
assert_eq "virsh by its path" "$(cat "$host/Full")" "show all"
assert_eq "user" "$(cat "$host/Who")" nobody
assert_eq "environment" "$(sed 's|PATH=[^:]*libexec:|PATH=libexec:|' "$host/Env")" \
	"HOME=/ LC_ALL=C LIBVIRT_DEFAULT_URI=test:///default PATH=libexec:$tmp/bin:/usr/bin:/bin VHOSTMD_URI=test:///default"
for line in "Refused .*org.libvirt.unix.manage.*asks libvirt for more than reading" \
	"Guest .*read only access prevents.*virsh in actions may only read" \
	"Empty .*printed nothing and said 'oops: no such thing'" "Blank .*printed nothing" \
	"Private .*ermission denied.*may not read or run" "Secret .*ermission denied.*may not read or run"; do
	wait_for 10 logged "metric ${line%% *} is unavailable: ${line#* }" || fail "not logged: $line"
	has_value "$host/${line%% *}" && fail "${line%% *} is '$(cat "$host/${line%% *}")'"
done
wait_for 10 logged "metric Chatty has a value, but its action said 'said'" || fail "no word of what it said"
lacking() { [ "$(sed -n 's/^actions.lacking.\([A-Za-z]*\): .*; .*/\1/p' "$mnt/status" | xargs)" = "$1" ]; }
wait_for 5 lacking "Refused Guest Private Secret" || fail "status: $(grep ^actions "$mnt/status")"
chmod 755 "$tmp/bin/private"
wait_for 10 lacking "Refused Guest Secret" || fail "status: $(grep ^actions "$mnt/status")"
chmod 700 "$tmp/bin/private"
assert_eq "lines for one metric" "$(grep -c 'metric Empty' "$tmp/log")" 1
assert_eq "lines of what it said" "$(grep -c 'metric Chatty' "$tmp/log")" 1

# who is root needs no help
sed -i 's|<globals>|&<actions><user>root</user></actions>|' "$tmp/conf"
kill -HUP "$keeper"
is_root() { [ "$(cat "$host/Piped" 2>/dev/null)" = show ]; }
wait_for 10 is_root || fail "virsh of root: $(cat "$host/Piped")"
wait_for 10 lacking "HostName Refused Guest" || fail "status of root: $(grep ^actions "$mnt/status")"
"$build/vhostmd" --check-config "$tmp/conf" >"$tmp/check"
grep 'lacks a right' "$tmp/check" && fail "root lacks nothing"
stop_daemon || exit 1

# foretold, with the line of the file
sed -i 's|<actions>.*</actions>||' "$tmp/conf"
"$build/vhostmd" --check-config "$tmp/conf" >"$tmp/check" || fail "$(cat "$tmp/check")"
for line in "5, Full" "6, Refused" "7, Guest" "10, Private" "11, Secret"; do
	grep "^line $line: run as nobody it lacks a right: ..*; ..*" "$tmp/check" >"$tmp/found" ||
		fail "not foretold: $line: $(cat "$tmp/check")"
done
# a libvirt that runs without a bus is another's affair
[ "$(grep 'lacks a right' "$tmp/check" | grep -v system_bus_socket | cut -d: -f1 | sort -u | wc -l)" = 5 ] ||
	fail "foretold too much: $(cat "$tmp/check")"

# names that virsh would take for other VMs' ids and uuids never lead to their figures
[ -x /usr/bin/virsh ] || exit 0
: >"$tmp/log"
victim=aaaaaaaa-0000-4000-8000-000000000001 digit=bbbbbbbb-0000-4000-8000-000000000002
like=cccccccc-0000-4000-8000-000000000003
domain()
{
	echo "<domain type='test'><name>$1</name><uuid>$2</uuid><memory>$3</memory><vcpu>1</vcpu>
		<os><type arch='i686'>hvm</type></os></domain>"
}
echo "<node>$(domain victim $victim 1048576; domain 1 $digit 262144; domain $victim $like 131072)</node>" >"$tmp/names.xml"
cat >"$tmp/names.conf" <<'EOF'
<vhostmd><globals><update_period>0.5</update_period></globals><metrics>
<metric type="string" context="vm"><name>WhoAmI</name><action>virsh CONNECT domuuid NAME | tr -d '[:space:]'</action></metric>
<metric type="uint64" context="vm"><name>MaxMem</name><action>virsh CONNECT dominfo 'NAME' | awk '/Max memory/ {print $3}'</action></metric>
<metric type="string" context="vm"><name>Own</name><action>printf '%s' NAME</action></metric>
<metric type="string" context="vm"><name>Other</name><action>sh -c "virsh CONNECT domuuid NAME"</action></metric>
<metric type="string" context="vm"><name>Any</name><action names="any">/bin/echo NAME</action></metric>
</metrics></vhostmd>
EOF
CONF=$tmp/names.conf start_daemon -c "test://$tmp/names.xml"
value() { cat "$mnt/metrics/vm-by-uuid/$1/$2" 2>/dev/null; }
each() { has_value "$mnt/metrics/vm-by-uuid/"{$victim,$digit,$like}"/$1"; }
for metric in WhoAmI MaxMem Own Any; do wait_for 20 each $metric || fail "$metric is missing"; done
while read -r uuid memory name; do
	assert_eq "uuid of '$name'" "$(value "$uuid" WhoAmI)" "$uuid"
	assert_eq "memory of '$name'" "$(value "$uuid" MaxMem)" "$memory"
	assert_eq "name of '$name'" "$(value "$uuid" Own)" "$name"
	assert_eq "any name of '$name'" "$(value "$uuid" Any)" "$name"
done <<EOF
$victim 1048576 victim
$digit 262144 1
$like 131072 $victim
EOF
wait_for 10 has_value "$mnt/metrics/vm-by-uuid/$victim/Other" || fail "a plain name is refused"
assert_eq "uuid in another shell" "$(value $victim Other)" $victim
for name in 1 $victim; do
	wait_for 10 logged "metric Other of VM $name is unavailable: .*another VM's id or uuid" || fail "no word on VM $name"
done
for uuid in $digit $like; do [ -z "$(value $uuid Other)" ] || fail "VM $uuid is told of VM $(value $uuid Other)"; done
stop_daemon
