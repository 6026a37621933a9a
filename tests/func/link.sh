#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The link to the shared disk: only our own is ever taken for ours, and none stays behind.
. "$(dirname "$0")/../lib.sh"
need_fuse
pub=$tmp/pub
mkdir -m 1777 "$pub"
disk=$mnt/disk/vhostmd0.img

# uses PATH: the configuration names it
uses()
{
	cat >"$tmp/conf.new" <<-EOF
		<vhostmd><globals><disk><path>$1</path><size unit="k">64</size></disk>
		<update_period>0.2</update_period></globals><metrics>
		<metric context="host"><name>Name</name><source>host.name</source></metric>
		</metrics></vhostmd>
	EOF
	chmod 644 "$tmp/conf.new"
	mv "$tmp/conf.new" "$tmp/conf"
}
# reloaded TO FROM: the link has moved
reloaded()
{
	uses "$1"
	kill -HUP "$keeper"
	wait_for 10 test -L "$1" || fail "no link at $1 after a reload"
	[ -L "$2" ] && fail "the link at $2 stays after a reload"
	assert_eq "$1" "$(readlink "$1")" "$disk"
}
export CONF=$tmp/conf

# a link that a reload made goes, too, whoever the worker is, the first one or another
for user in '' daemon; do
	for worker in first other; do
		uses "$pub/a"
		start_daemon -c test:///default ${user:+--user $user}
		assert_eq "link at the start" "$(readlink "$pub/a")" "$disk"
		reloaded "$pub/b" "$pub/a"
		reloaded "$pub/a" "$pub/b"
		reloaded "$pub/c" "$pub/a"
		if [ $worker = other ]; then
			kill -KILL "$(worker_pid)"
			assert_eq "link of another worker" "$(head -c 4 "$pub/c")" mvbd
		fi
		stop_daemon || exit 1
		assert_eq "links after the end ($worker, '$user')" "$(ls "$pub")" ""
	done
done

# nobody can put it below the mount, where who looks for it waits for the daemon
uses "$mnt/x"
start_daemon -c test:///default
logged "$mnt/x.*it is below $mnt itself" || fail "no word on a path below the mount"
assert_eq "the daemon with it" "$(head -c 4 "$disk")" mvbd
stop_daemon || exit 1

# nor does a link that leads there make anybody wait for himself: the start, another worker, the end
ln -s "$mnt" "$tmp/way"
uses "$tmp/way/x"
start_daemon -c test:///default
logged "$tmp/way/x.*takes too long" || fail "no word on a link into the mount"
kill -KILL "$(worker_pid)"
assert_eq "another worker with it" "$(timeout 10 head -c 4 "$disk")" mvbd
begin=$SECONDS
stop_daemon || exit 1
[ $((SECONDS - begin)) -le 5 ] || fail "with a link into the mount the end takes $((SECONDS - begin)) s"

# a start that is refused touches nothing of the daemon that runs
uses "$pub/a"
start_daemon -c test:///default
"$build/vhostmd" -d -c test:///default -f "$tmp/conf" -p "$tmp/pid" -m "$mnt" 2>/dev/null &&
	fail "a second one starts"
"$build/vhostmd" -d -c test:///default -f "$tmp/conf" -p "$tmp/pid2" -m "$mnt" 2>/dev/null &&
	fail "a second one starts"
assert_eq "link of the first" "$(readlink "$pub/a")" "$disk"
stop_daemon || exit 1

# what somebody else put there, with the very text of ours, is his
nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
nobody ln -s "$disk" "$pub/a"
start_daemon -c test:///default
logged "$pub/a exists and is not this daemon's" || fail "no word on the foreign link"
nobody ln -s "$disk" "$pub/b"
uses "$pub/b"
kill -HUP "$keeper"
wait_for 10 logged "$pub/b exists and is not this daemon's" || fail "no word on the foreign link after a reload"
stop_daemon || exit 1
assert_eq "foreign links" "$(ls "$pub" | tr '\n' ' ')" "a b "
# the text of ours from a daemon that died is ours
rm "$pub"/*
ln -s "$disk" "$pub/b"
start_daemon -c test:///default
stop_daemon || exit 1
assert_eq "link of a dead daemon" "$(ls "$pub")" ""

# its directory is made where it is missing, and goes with it unless somebody uses it
uses "$pub/new/dir/a"
start_daemon -c test:///default
assert_eq "link in a new directory" "$(readlink "$pub/new/dir/a")" "$disk"
assert_eq "mode of a new directory" "$(stat -c %a "$pub/new")" 755
reloaded "$pub/b" "$pub/new/dir/a"
[ -e "$pub/new" ] && fail "the directory of a link that moved stays"
reloaded "$pub/new/dir/a" "$pub/b"
touch "$pub/new/his"
stop_daemon || exit 1
assert_eq "somebody's directory" "$(ls "$pub/new")" his
rm -r "$pub/new"

# old_file FILE [OWNER]: as an older vhostmd leaves it, in the middle of a writing
cat >"$tmp/old.py" <<'EOF2'
import os, struct, sys, time
def write(path):
    c = b"<metrics>\n" + b"<!-- old -->\n" * 2000 + b"</metrics>\n"
    with open(path, "wb") as f:
        f.write((struct.pack(">4sIII", b"mvbd", 1, sum(c) % 2**32, len(c)) + c).ljust(100 << 10, b"\0"))
def read(fd):
    """by the old protocol, as guests do; None if it was not to be had now"""
    before = os.pread(fd, 16, 0)
    signature, busy, total, length = struct.unpack(">4sIII", before)
    content = os.pread(fd, length, 16)
    if busy or os.pread(fd, 16, 0) != before:
        return None
    assert signature == b"mvbd" and sum(content) % 2**32 == total, "torn"
    assert content.startswith(b"<metrics>\n") and content.rstrip().endswith(b"</metrics>"), content
    return content
def hold(path, seconds):
    """sees so many seconds of fresh content through a descriptor that is kept"""
    fd = os.open(path, os.O_RDONLY)
    print("open", flush=True)
    seen, end = [], time.monotonic() + 20
    while not seen or seen[-1][0] < seen[0][0] + seconds:
        assert time.monotonic() < end, seen
        content = read(fd)
        if content and b"<name>Beat<" in content and (not seen or content != seen[-1][1]):
            seen.append((time.monotonic(), content))
    assert os.fstat(fd).st_size == 100 << 10 and not any(os.pread(fd, 1 << 20, 16 + len(seen[-1][1]))), "not zeros"
    # one writing a period of 0.25 s
    assert seconds * 2 <= len(seen) <= seconds * 4 + 2, len(seen)
if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:3], *map(float, sys.argv[3:]))
EOF2
old_file() { python3 "$tmp/old.py" write "$1" && chown "${2:-root}" "$1"; }
# beats PATH PERIOD
beats()
{
	uses "$1"
	sed -i "s|<update_period>.*</update_period>|<update_period>$2</update_period>|
		s|</metrics>|<metric context='host'><name>Beat</name><source>vhostmd.fast.cycles</source></metric>&|" "$tmp/conf"
}
status_says() { grep -q -- "$1" "$mnt/status"; }

# what an older vhostmd left is written on for who has it open, until it is removed; then the
# link is there at once, and who has it open sees news still
owner=root
getent passwd libvirt-qemu >/dev/null && owner=libvirt-qemu # libvirt gives it to him
for user in '' daemon; do
	beats "$pub/a" 0.25
	old_file "$pub/a" $owner
	inode=$(stat -c %i "$pub/a")
	"$build/vhostmd" --check-config "$tmp/conf" >"$tmp/said" || fail "--check-config"
	grep -q "^$pub/a is of an older vhostmd" "$tmp/said" || fail "not a word of --check-config"
	rm "$tmp/log"
	start_daemon -c test:///default ${user:+--user $user}
	logged "$pub/a is of an older vhostmd: it is written on" || fail "not a word on the old file"
	wait_for 5 status_says "^disk.old_file: written until it is removed" || fail "not in status: $(cat "$mnt/status")"
	python3 "$tmp/old.py" hold "$pub/a" 2 >"$tmp/held" || fail "the old file does not live on ('$user')"
	assert_eq "inode of the old file" "$(stat -c %i "$pub/a")" "$inode"
	beats "$pub/a" 60
	kill -HUP "$keeper"
	wait_for 10 logged 'is in force' || fail "no reload"
	exec 7<"$pub/a"
	if [ "$user" ]; then mv "$pub/a" "$pub/moved"; else rm "$pub/a"; fi
	wait_for 5 test -L "$pub/a" || fail "no link in place of the old file ('$user')"
	assert_eq "link in place of the old file" "$(readlink "$pub/a")" "$disk"
	beats "$pub/a" 0.25
	kill -HUP "$keeper"
	python3 "$tmp/old.py" hold /dev/fd/7 2 >"$tmp/held" || fail "the removed file does not live on ('$user')"
	# also when another worker goes on, or another program
	for signal in KILL USR2; do
		worker=$(worker_pid)
		if [ $signal = KILL ]; then kill -KILL "$worker"; else kill -USR2 "$keeper"; fi
		wait_for 10 process_gone "$worker" || fail "no other worker"
		wait_for 5 status_says "^disk.old_file: removed" || fail "after SIG$signal: $(cat "$mnt/status")"
		python3 "$tmp/old.py" hold /dev/fd/7 1 >"$tmp/held" || fail "the removed file does not live on after SIG$signal"
		test -L "$pub/a" || fail "no link after SIG$signal"
	done
	exec 7<&-
	wait_for 5 status_says "^disk.old_file: nobody" || fail "a file that nobody has open is written"
	stop_daemon || exit 1
	[ -e "$pub/a" ] && fail "something stays at $pub/a"
	rm -f "$pub/moved"
done

# one that is made by hand, as vhostmd(8) says
printf mvbd >"$pub/a"
truncate -s 256K "$pub/a"
start_daemon -c test:///default
shows() { disk_content "$pub/a" | grep -q '<name>Beat<'; }
wait_for 5 shows || fail "nothing on a file that was made by hand"
stop_daemon || exit 1
rm "$pub/a"

# left alone, to the byte: whatever is not surely of an older vhostmd; when it was moved away
# and the daemon is told, the link is there
beats "$pub/a" 0.25
for kind in nobody linked unsigned short; do
	old_file "$pub/a"
	case $kind in
	nobody) chown nobody "$pub/a" ;;
	linked) ln "$pub/a" "$pub/b" ;;
	unsigned) printf 'MVBD' | dd of="$pub/a" conv=notrunc status=none ;;
	short) truncate -s 100 "$pub/a" ;;
	esac
	sum=$(md5sum <"$pub/a")
	rm "$tmp/log"
	"$build/vhostmd" --check-config "$tmp/conf" | grep -q "^$pub/a is in the way: it " || fail "$kind: not a word of --check-config"
	start_daemon -c test:///default
	logged "$pub/a exists and is not this daemon's" || fail "$kind: not a word in the log"
	wait_for 5 status_says "^disk.path: $pub/a: not linked: it " || fail "$kind: not in status"
	wait_for 10 has_value "$mnt/metrics/host/Beat" || fail "no metrics"
	assert_eq "$kind" "$(md5sum <"$pub/a")" "$sum"
	mv "$pub/a" "$pub/moved"
	kill -HUP "$keeper"
	wait_for 5 test -L "$pub/a" || fail "$kind: no link after it was moved away and a reload"
	stop_daemon || exit 1
	rm -f "$pub"/*
done
