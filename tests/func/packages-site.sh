#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The Debian packages as a site meets them, by apt: installed, with the socket of systemd, whose clients see
# nothing of workers and restarts; in the place of an existing vhostmd that is started by an init script,
# with its files changed, which leaves it to its successor to end it; upgraded under readers, as needrestart
# does it, too; removed and purged, without a trace.
. "$(dirname "$0")/../lib.sh"
need_fuse
. "$top/tests/debian.sh"
debian_system
old_package "$root/old.deb" init
# nothing here is called as what "left" looks for
cp "$top/tests/func/packages-inside" "$root/inside"
mkdir "$root/results"
cat >"$root/etc/systemd/system/packages-test.service" <<'EOF'
[Service]
Type=oneshot
WorkingDirectory=/results
ExecStart=-/bin/bash /inside
ExecStart=-sh -c 'journalctl --no-pager >journal; echo ended >/result'
ExecStart=systemctl poweroff --force
EOF
container "$root" 240 packages-test.service
results=$root/results
version=$(sed -n "s/^ *version: '\(.*\)',/\1/p" meson.build)
host=$(sed -n 's/^installed: active enabled //p' "$results/said")
diff "$results/said" - <<EOF || fail "$(tail -n 40 "$results"/{errors,scraper-said,reader-said,doctor}; cat "$results/journal")"
installed: active enabled ${host:-a host}
its worker: vhostmd 1 2
not enabled: disabled disabled
doctor: 2
warning  libvirt does not listen for readers: the host is served, but no VM
fault    libvirt (qemu:///system) cannot be asked: Failed to connect socket to '/var/run/libvirt/libvirt-sock-ro': No such file or directory
socket: active active vhostmd_up 1
no scrape failed
purged: 
the old one: active 1
in its place: active enabled of the site
the configuration is the site's
# of the site
of the old one:  
who has the old file open sees news
upgraded: active $version+1
it is the same process and mount
NEEDRESTART-SVC: vhostmd.service
needrestart upgrades
the configuration is the site's still
no reader saw anything
of the site
a module for Python
vhostmd-guest:
Usage: vhostmd-guestfs
removed: inactive inactive 0
the configuration stays
purged:  
EOF
awk '{print (NR > 1 ? $1 - last : 0) " ms to: " substr($0, length($1) + 2); last = $1}' "$results/durations"
grep -E '^(Need to get|After this)' "$results/installation"
exit 0
