#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The Debian packages in a clean system, whose first process is systemd: installed, in the place of
# an existing vhostmd's that has a unit and stops it, upgraded under readers, removed and purged.  One
# with an init script, and more: func/packages-site.
. "$(dirname "$0")/../lib.sh"
need_fuse
. "$top/tests/debian.sh"
debian_system
old_package "$root/old.deb" unit
cp "$top/debian/tests/service" "$root/autopkgtest"

# meanwhile, for nobody waits for it
lintian --allow-root --fail-on error,warning "$packages"/*.deb >"$tmp/lintian" 2>&1 &
lintian=$!

# the first start of a system without a machine-id enables what its presets say; Debian's say all
dpkg-deb -x "$packages"/vhostmd_*.deb "$tmp/first-boot"
systemctl --quiet --root="$tmp/first-boot" preset-all || fail "no presets"
assert_eq "what a first boot enables" "$(find "$tmp/first-boot/etc/systemd" -type l -printf '%f\n' | sort -u)" vhostmd.service

cat >"$root/etc/systemd/system/vhostmd-test.service" <<'EOF'
[Service]
Type=oneshot
ExecStart=/bin/bash /vhostmd-test
EOF
cat >"$root/vhostmd-test" <<'EOF'
exec >/result 2>/errors
export DEBIAN_FRONTEND=noninteractive
show() { systemctl show -P "$1" vhostmd; }
status() { sed -n "s/^$1: //p" /run/vhostmd/status; }
host() { cat /run/vhostmd/metrics/host/"$1"; }
header() { od -An -N 16 -tx1 /proc/self/fd/7 <&7; }
await() { for _ in $(seq 150); do "$@" && return; sleep 0.1; done; echo "not: $*"; return 1; }

start=$(date +%s%N)
dpkg -i /vhostmd_*.deb >/log 2>&1 || cat /log
await test -s /run/vhostmd/metrics/host/HostName
echo "$((($(date +%s%N) - start) / 1000000))" >/first-metric-ms
echo "installed: $(show ActiveState) $(show UnitFileState) $(stat -c %U "/proc/$(status pid)")"
/autopkgtest >/log 2>&1 || cat /log
tail -n 1 /log
dpkg --purge vhostmd >/log 2>&1 || cat /log
echo "purged: $(ls -d /etc/vhostmd /var/lib/vhostmd /run/vhostmd/* 2>/dev/null) $(grep -c vhostmd /proc/mounts)"

dpkg -i /old.deb >/log 2>&1 || cat /log
await test -s /dev/shm/vhostmd0
sed -i 's/of the package/of the site/' /etc/vhostmd/vhostmd.conf
exec 7</dev/shm/vhostmd0 # as a QEMU has it
sum=$(md5sum </etc/vhostmd/vhostmd.conf)
dpkg -i /vhostmd_*.deb >/log 2>&1 || cat /log
echo "in its place: $(show ActiveState) $(host Site)"
[ "$(md5sum </etc/vhostmd/vhostmd.conf)" = "$sum" ] && echo "the configuration is the site's"
before=$(header)
news() { [ "$(header)" != "$before" ]; }
await news && echo "who has the old file open sees news"

cat >/reader <<'END'
import os, time
name, reads = "/run/vhostmd/metrics/host/Site", 0
kept = os.open(name, os.O_RDONLY)
while not os.path.exists("/enough"):
    try:
        assert open(name).read() == "of the site\n" == os.pread(kept, 100, 0).decode(), "torn"
        open("/run/vhostmd/status").read()
    except Exception as e:
        print("error:", e, flush=True)
    reads += 1
    time.sleep(0.001)
print("readers' errors:" if reads > 10 else "too few reads")
END
python3 /reader >/reader-says 2>&1 &
device=$(stat -c %d /run/vhostmd) main=$(show MainPID) worker=$(status pid)
dpkg -i /later.deb >/log 2>&1 || cat /log
[ "$(status pid)" != "$worker" ] && [ "$(show MainPID)" = "$main" ] &&
	[ "/proc/$main/exe" -ef /usr/sbin/vhostmd ] && echo "upgraded: $(show ActiveState)"
worker=$(status pid)
/etc/needrestart/restart.d/vhostmd.service && [ "$(status pid)" != "$worker" ] && echo "as needrestart does"
[ "$(stat -c %d /run/vhostmd)" = "$device" ] && echo "it is the same file system"
[ "$(md5sum </etc/vhostmd/vhostmd.conf)" = "$sum" ] && echo "the configuration is the site's still"
touch /enough
wait
cat /reader-says

dpkg -i /libmetrics*.deb /vm-dump-metrics_*.deb /vhostmd-guestfs_*.deb /python3-vhostmd-metrics_*.deb >/log 2>&1 || cat /log
vm-dump-metrics --source /run/vhostmd/disk/vhostmd0.img --metric host:Site
python3 -c 'import vhostmd_metrics; print("a module for Python")'
grep -o '^vhostmd-guest:' /etc/group
vhostmd-guestfs --help | grep -o '^Usage: vhostmd-guestfs'

dpkg --remove vhostmd >/log 2>&1 || cat /log
echo "removed: $(systemctl is-active vhostmd) $(grep -c ' /run/vhostmd ' /proc/mounts) $(md5sum </etc/vhostmd/vhostmd.conf | grep -c "${sum% *}")"
dpkg --purge vhostmd >/log 2>&1 || cat /log
echo "purged: $(ls -d /etc/vhostmd /var/lib/vhostmd 2>/dev/null) $(dpkg -l vhostmd 2>/dev/null | grep -c ^.[^n] )"
journalctl --no-pager -u vhostmd >/journal
systemctl poweroff --force
EOF
container "$root" 120 vhostmd-test.service
diff "$root/result" - <<EOF || fail "$(cat "$root/errors" "$root/journal")"
installed: active enabled vhostmd
vhostmd serves
purged:  0
in its place: active of the site
the configuration is the site's
who has the old file open sees news
upgraded: active
as needrestart does
it is the same file system
the configuration is the site's still
readers' errors:
of the site
a module for Python
vhostmd-guest:
Usage: vhostmd-guestfs
removed: inactive 0 1
purged:  0
EOF
wait $lintian || fail "lintian: $(cat "$tmp/lintian")"
echo "from nothing to the first metric: $(cat "$root/first-metric-ms") ms; packages: $(du -ch "$packages"/*.deb | tail -n 1)"
exit 0
