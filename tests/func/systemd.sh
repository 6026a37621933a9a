#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The installed unit under a systemd that is the first process: of a container that is a copy of
# this system, with nothing in it but the unit, and no network.
. "$(dirname "$0")/../lib.sh"
need_fuse
command -v systemd-nspawn >/dev/null || skip "needs systemd-nspawn"
# sanitizers make calls that the unit does not allow
CC=clang build "$top/build-clang" -Dbuildtype=release -Dwerror=true
[ -e "$top/build-clang/vhostmd.service" ] || skip "needs libsystemd"

root=$tmp/root
mkdir "$tmp/layers" "$root"
mount -t tmpfs tmpfs "$tmp/layers" && mkdir "$tmp/layers"/{upper,work} || fail "no tmpfs"
at_exit "umount -l $root $tmp/layers"
mount -t overlay overlay -o "lowerdir=/,upperdir=$tmp/layers/upper,workdir=$tmp/layers/work" "$root" ||
	skip "needs overlayfs"
DESTDIR=$root meson install -C "$top/build-clang" --no-rebuild >"$tmp/out" 2>&1 || fail "$(tail -n 5 "$tmp/out")"
rm -f "$root"/etc/{fstab,machine-id,systemd/system/*.wants/*}
rm -rf "$root"/var/lib/vhostmd
# the first start of a system enables what its presets say; Debian's say all
mkdir -p "$root/etc/systemd/system-preset"
echo 'disable *' >"$root/etc/systemd/system-preset/00-test.preset"
conf=$root$("$top/build-clang/vhostmd" --help | sed -n 's/.*configuration (\(.*\))$/\1/p')
# for the journal: a VM, a metric that fails, and a mistake
sed -i 's|</globals>|&<grants><set name="hashed" host_name="per-host"><metric>*</metric></set><default set="hashed"/></grants>|
	s|<metrics>|&<metric type="string" context="host"><name>Broken</name><action>false</action></metric><metric context="host"><name>Mistaken</name><source>host.nam</source></metric>|' "$conf" || fail "no configuration"
rm -f "$root/etc/sysconfig/vhostmd"
echo 'VHOSTMD_OPTIONS="--verbose --connect test:///default"' >"$root/etc/default/vhostmd"
cat >"$root/etc/systemd/system/vhostmd-test.target" <<'EOF'
[Unit]
Wants=vhostmd.service vhostmd-test.service
EOF
cat >"$root/etc/systemd/system/vhostmd-test.service" <<'EOF'
[Unit]
After=vhostmd.service
[Service]
Type=oneshot
ExecStart=/bin/bash /vhostmd-test
EOF
cat >"$root/vhostmd-test" <<'EOF'
exec >/result 2>&1
show() { systemctl show -P "$1" vhostmd; }
status() { sed -n "s/^$1: //p" /run/vhostmd/status; }
host() { cat "/run/vhostmd/metrics/host/$1"; }
echo "started: $(show ActiveState) $(show NRestarts)"
echo "seen by all: $(cat /run/vhostmd/metrics/host/HostName)"
echo "user: $(stat -c %U "/proc/$(status pid)" "/proc/$(show MainPID)" | xargs)"
echo "options: $(tr '\0' ' ' <"/proc/$(show MainPID)/cmdline" | sed "s/.*daemon.pid //; s/ $//")"
systemctl reload vhostmd && echo "reloaded"
conf=$(status conf.file)
cp "$conf" /good && echo '<vhostmd>' >"$conf"
systemctl reload vhostmd 2>/dev/null || echo "not reloaded: $(show ActiveState) $(host HostName | wc -w)"
journalctl --no-pager -o cat -u vhostmd _COMM=vhostmdctl | grep -m 1 refused
cp /good "$conf" && systemctl reload vhostmd && echo "reloaded again"
control=/run/vhostmd-daemon/control
echo "control: $(stat -c '%a %U' $control) $(vhostmdctl reload 2>/dev/null)"
setpriv --reuid=65534 --regid=65534 --clear-groups vhostmdctl status --control $control | grep -q ' up for ' && echo "for everybody"
socket=$(stat -c %i $control)
cat >/fields <<'END'
import json, sys
for line in sys.stdin:
    entry = json.loads(line)
    if entry["_TRANSPORT"] == "journal":
        print("journal:", *(entry.get(f, "-") for f in ("PRIORITY", "VM_NAME", "VM_UUID", "METRIC", "MESSAGE")))
END
journal() { journalctl -o json --no-pager _SYSTEMD_UNIT=vhostmd.service "$1" | python3 /fields | sort -u; }
for field in VM_NAME=test METRIC=Broken; do
	for _ in $(seq 100); do journal $field | grep -q journal && break; sleep 0.1; done
	journal $field
done
journal PRIORITY=4 | grep "1 mistake"
echo "key: $(stat -c '%a %U %s' /var/lib/vhostmd/host-key)"
# readers, of whom none may meet an error until it is stopped
device=$(stat -c %d /run/vhostmd)
cat >/reader <<'END'
import os
name, reads = "/run/vhostmd/metrics/host/HostName", 0
kept = os.open(name, os.O_RDONLY)
text = os.pread(kept, 100, 0)
while not os.path.exists("/enough"):
    try:
        new = [open(path, "rb").read() for path in (name, "/run/vhostmd/status")]
        assert os.pread(kept, 100, 0) == new[0] == text and new[1], "torn"
    except Exception as e:
        print("error:", e, flush=True)
    reads += 1
print("readers' errors:" if reads > 10 else "too few reads")
END
python3 /reader >/reader-says 2>&1 &
systemctl kill -s KILL vhostmd
for _ in $(seq 100); do [ "$(show NRestarts) $(show ActiveState)" = "1 active" ] && break; sleep 0.1; done
echo "again: $(show ActiveState) $(cat /run/vhostmd/metrics/host/HostName)"
systemctl restart vhostmd
echo "restarted: $(show ActiveState) $(cat /run/vhostmd/metrics/host/HostName)"
worker=$(status pid) main=$(show MainPID)
systemctl kill --kill-whom=main -s USR2 vhostmd
for _ in $(seq 100); do [ "$(status pid)" = "$worker" ] || break; sleep 0.1; done
[ "$(status pid)" != "$worker" ] && [ "$(show MainPID)" = "$main" ] && echo "upgraded: $(show ActiveState)"
[ "$(stat -c %d /run/vhostmd)" = "$device" ] && echo "it is the same file system"
[ "$(stat -c %i $control)" = "$socket" ] && vhostmdctl reload --control $control >/dev/null 2>&1 && echo "and socket"
touch /enough
wait
cat /reader-says
systemctl stop vhostmd
echo "stopped: $(show Result) $(grep -c ' /run/vhostmd ' /proc/mounts)"
journalctl --no-pager -u vhostmd >/journal
systemctl poweroff --force
EOF
container "$root" 45 vhostmd-test.target
host=$(sed -n 's/^seen by all: //p' "$root/result")
diff "$root/result" - <<EOF || fail "$(cat "$root/journal")"
started: active 0
seen by all: ${host:-a host}
user: vhostmd vhostmd
options: --verbose --connect test:///default
reloaded
not reloaded: active 1
vhostmdctl: ${conf#"$root"} was refused: the configuration before it is in force
reloaded again
control: 666 vhostmd ${conf#"$root"} is in force
for everybody
journal: 6 test 6695eb01-f6a4-8304-79aa-97f2502e193f - VM 'test' runs, id 1
journal: 4 - - Broken metric Broken is unavailable: the action ended with status 1 (run as uid 65534)
journal: 4 - - - ${conf#"$root"}: 1 mistake; the rest is used
key: 600 vhostmd 16
again: active ${host:-a host}
restarted: active ${host:-a host}
upgraded: active
it is the same file system
and socket
readers' errors:
stopped: success 0
EOF
exit 0
