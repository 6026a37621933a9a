#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What readers meet while the worker is killed about eight times a second, and while both processes
# are replaced by another build every two seconds, and while the keeper is killed as well and a stand-in
# for systemd starts it again; --long: for longer.
. "$(dirname "$0")/../lib.sh"
need_fuse
seconds=62 period=0.5 upgrades=30
[ "${1:-}" = --long ] && seconds=602 upgrades=300
result() { printf 'chaos.%s %s %s\n' "$@"; }

bash "$top/tests/func/survive.sh" --conf $period "$tmp/link" >"$tmp/conf"
CONF=$tmp/conf start_daemon -c test:///default
wait_for 10 has_value "$mnt/metrics/host/Generation" || fail "no sample"
rss() { awk '/^(RssAnon|RssFile)/ {n += $2} END {print n}' "/proc/$keeper/status"; }
descriptors() { find "/proc/$keeper/fd" -mindepth 1 | wc -l; }
timeout -k 5 20 python3 "$top/tests/func/survive.py" "$mnt" "$keeper" 5 0.2 >/dev/null
memory=$(rss) held=$(descriptors)
timeout -k 5 $((seconds + 60)) python3 "$top/tests/func/survive.py" "$mnt" "$keeper" $seconds 0.24 $period >"$tmp/figures" ||
	fail "$(cat "$tmp/figures")"
while read -r name value unit; do result "$name" "$value" "$unit"; done <"$tmp/figures"
result keeper_memory_growth_kib $(($(rss) - memory)) KiB
result keeper_descriptors_growth $(($(descriptors) - held)) number
stop_daemon || exit 1

# two builds in turn: the texts of their versions are of one length
mkdir "$tmp/bin"
cp "$build/vhostmd" "$tmp/bin/vhostmd"
sed 's/2\.0\.0/2.0.1/g' "$build/vhostmd" >"$tmp/bin/other"
chmod 755 "$tmp/bin/other"
programs=("$tmp/bin/other" "$build/vhostmd" "$tmp/bin/vhostmd")
"$tmp/bin/other" --version | grep -q '2\.0\.1' || fail "no other build"
rm "$tmp/log"
build=$tmp/bin CONF=$tmp/conf start_daemon -c test:///default
wait_for 10 has_value "$mnt/metrics/host/Generation" || fail "no sample"
timeout -k 5 $((2 * upgrades + 60)) python3 "$top/tests/func/survive.py" --upgrade "${programs[@]}" -- \
	"$mnt" "$keeper" $((2 * upgrades + 2)) 2 $period >"$tmp/figures" || fail "$(cat "$tmp/figures")"
while read -r name value unit; do result "$name" "$value" "$unit"; done <"$tmp/figures"
result upgrades_done "$(grep -c 'has taken over from' "$tmp/log")" number
stop_daemon || exit 1

# the same as a service
build=${programs[1]%/vhostmd}
rm "$tmp/log"
FDSTORE_ANY=1 python3 "$top/tests/func/fdstore.py" "$tmp/notify" "$mnt" "$build/vhostmd" \
	--no-daemonize --config "$tmp/conf" -c test:///default --pid-file "$tmp/pid" --mount "$mnt" >"$tmp/log" 2>&1 &
keeper=$!
wait_for 20 has_value "$mnt/metrics/host/Generation" || fail "no sample"
timeout -k 5 $((seconds + 60)) python3 "$top/tests/func/survive.py" --keeper "$mnt" "$tmp/pid" $seconds 1 $period >"$tmp/figures" ||
	fail "$(cat "$tmp/figures")"
while read -r name value unit; do result "$name" "$value" "$unit"; done <"$tmp/figures"
stop_daemon || exit 1
umount --force --lazy "$mnt"
exit 0
