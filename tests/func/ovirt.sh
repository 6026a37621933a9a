#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# contrib/ovirt: VDSM's hook gives a domain's XML the devices that vhostmdctl attach would give it, and
# whatever is in the file, the VM starts.
. "$(dirname "$0")/../lib.sh"
hook=$top/contrib/ovirt/50_vhostmd
[ -x "$hook" ] || fail "it is not executable"
export _hook_domxml=$tmp/domain.xml
run_hook() { python3 "$hook" 2>"$tmp/err" || fail "the VM does not start: $(cat "$tmp/err")"; }
uuid=6be3fdb8-bef5-6fec-b1b7-e61bbceab708
# Prints a domain: domain [DEVICE...]
domain()
{
	echo "<?xml version='1.0' encoding='UTF-8'?>
<domain type='kvm' xmlns:ns0='http://ovirt.org/vm/tune/1.0'><name>a &lt; b é</name><uuid>$uuid</uuid>
<metadata><ns0:qos/></metadata><devices>$*</devices></domain>"
}
# devices KIND: those of the file, in one form, a line each
devices() { python3 "$tmp/devices.py" "$1" <"$_hook_domxml"; }
cat >"$tmp/devices.py" <<'EOF'
import sys, xml.etree.ElementTree as E
root = E.fromstring(sys.stdin.buffer.read())
found = [root] if root.tag == sys.argv[1] else root.findall("devices/" + sys.argv[1])
for device in found:
    for e in device.iter():
        e.text, e.tail = (e.text or "").strip(), ""
    print(E.canonicalize(E.tostring(device, "unicode")))
EOF

domain "<disk type='file'><source file='/x'/><target dev='vdz' bus='virtio'/></disk>" >"$_hook_domxml"
run_hook
[ ! -s "$tmp/err" ] || fail "$(cat "$tmp/err")"
grep -q 'a &lt; b é' "$_hook_domxml" && grep -q 'ns0:qos' "$_hook_domxml" || fail "what else was there: $(cat "$_hook_domxml")"
assert_eq "disks" "$(devices disk | wc -l)" 2
# the same as by other means
if "$build/vhostmd" --list-sources | grep -q cpu.time; then # built with libvirt
	"$build/ctl/vhostmdctl" attach test --dry-run --connect test:///default >"$tmp/attach" 2>&1 || fail "$(cat "$tmp/attach")"
	other=$(grep -o '[0-9a-f-]*\.img' "$tmp/attach" | head -n 1)
	for kind in disk channel; do
		sed -n "/<$kind /,/<\/$kind>/p" "$tmp/attach" | sed "s/${other%.img}/$uuid/; s/vdz/vdy/" >"$tmp/one"
		assert_eq "$kind" "$(devices $kind | tail -n 1)" "$(python3 "$tmp/devices.py" $kind <"$tmp/one")"
	done
fi
cp "$_hook_domxml" "$tmp/once"
run_hook
cmp -s <(devices disk; devices channel) <(_hook_domxml=$tmp/once; devices disk; devices channel) || fail "not the same twice"

# what a VM has stays; what is no domain, or a file that is not there, harms nobody
channel="<channel type='unix'><target type='virtio' name='org.github.vhostmd.1'/></channel>"
domain "<disk type='file'><source file='/run/vhostmd/disk/vhostmd0.img'/><target dev='sda'/></disk>" "$channel" >"$_hook_domxml"
run_hook
assert_eq "what is there" "$(devices disk | wc -l) $(devices channel | wc -l)" "1 1"
for text in '' 'no XML' '<domain><uuid>x</uuid><devices/></domain>' '<domain><devices/></domain>'; do
	printf %s "$text" >"$_hook_domxml"
	run_hook
	assert_eq "a bad file" "$(cat "$_hook_domxml")" "$text"
	grep -q '^vhostmd: no metrics for this VM' "$tmp/err" || fail "nothing is said of '$text'"
done
rm "$_hook_domxml"
run_hook
unset _hook_domxml
run_hook
