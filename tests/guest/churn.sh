#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Readers in loops while VMs come and go and the configuration is read again: no torn
# document, nothing that stays behind, nothing that grows.
. "$(dirname "$0")/lib.sh"
need_halting_guests

sed 's/<update_period>5</<update_period>0.05</' "$top/conf/vhostmd.conf" >"$tmp/conf"
export CONF=$tmp/conf
start_daemon
touch "$tmp/go"

# Errors that mean "gone meanwhile" are expected; torn content is not.  They take of the
# processors what VMs that come leave them, for the most part: else those take long.
nice -n 5 python3 - "$mnt" "$tmp/go" >"$tmp/readers" 2>&1 <<'EOF' &
import glob, os, random, struct, sys, threading, xml.etree.ElementTree as ET
mnt, go = sys.argv[1:]
counts = {}

def documents():
    with open(mnt + "/metrics.xml", "rb") as f:
        ET.fromstring(f.read())
    with open(mnt + "/metrics.prom", "rb") as f:
        assert f.read().endswith(b"\n")

def files():
    for path in glob.glob(mnt + "/metrics/*/*/*") + glob.glob(mnt + "/metrics/host/*"):
        with open(path, "rb") as f:
            data = f.read()
        assert data.endswith(b"\n") and data.count(b"\n") == 1, (path, data)

def disk():
    names = os.listdir(mnt + "/disk")
    if not names:
        return
    fd = os.open(mnt + "/disk/" + random.choice(names), os.O_RDONLY)
    try:
        # as guests do: header, content, header, and again if it changed meanwhile
        while True:
            head = os.pread(fd, 16, 0)
            sig, busy, total, length = struct.unpack(">4sIII", head)
            content = b"".join(os.pread(fd, 512, 16 + at) for at in range(0, length, 512))[:length]
            if os.pread(fd, 16, 0) == head:
                break
            counts["again"] = counts.get("again", 0) + 1
    finally:
        os.close(fd)
    assert sig == b"mvbd" and (busy or sum(content) % 2**32 == total), "checksum"

def loop(what):
    while os.path.exists(go):
        try:
            what()
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as e:
            if e.errno not in (61, 116):  # no data available, stale
                raise
        counts[what.__name__] = counts.get(what.__name__, 0) + 1

failed = []
threading.excepthook = lambda args: failed.append(repr(args.exc_value))
threads = [threading.Thread(target=loop, args=(f,)) for f in (documents, files, disk, disk)]
for t in threads: t.start()
for t in threads: t.join()
print(counts)
again = counts.pop("again", 0)
if again > counts["disk"] / 100:
    failed.append("%d of %d disk reads started over" % (again, counts["disk"]))
sys.exit(failed and "\n".join(failed) or len(counts) < 3)
EOF
readers=$!

rss() { awk '/VmRSS/ {print $2}' "/proc/$(worker_pid)/status"; }
for round in 1 2 3 4 5 6; do
	for i in 1 2 3; do
		begin_halting "$guest_prefix-churn-$i" "$(new_uuid)" "$(guest_channel_xml)"
	done
	halting_up
	ours() { find "$mnt/metrics/vm" -mindepth 1 -maxdepth 1 -name "$guest_prefix-churn-*" | wc -l; }
	three() { [ "$(ours)" = 3 ]; }
	wait_for 10 three || fail "round $round: $(ls "$mnt/metrics/vm")"
	kill -HUP "$keeper"
	guests_destroy
	none() { [ "$(ours)" = 0 ]; }
	wait_for 10 none || fail "round $round: left: $(ls "$mnt/metrics/vm")"
done
rm "$tmp/go"
wait $readers || fail "readers: $(cat "$tmp/readers")"
cat "$tmp/readers"
no_channels() { grep -q 'channels.connected: 0' "$mnt/status"; }
wait_for 10 no_channels || fail "channels stay"
[ "$(find "/proc/$(worker_pid)/fd" -type l | wc -l)" -lt 60 ] || fail "descriptors stay open"
stop_daemon
