#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vhostmdctl without libvirt: what it reads of the tree, and what it asks of the daemon.
# attach and detach are guest/attach's.
. "$(dirname "$0")/../lib.sh"
need_fuse
ctl() { "$build/ctl/vhostmdctl" "$@"; }
# says STATUS ERROR ARGUMENTS...: it ends with that status, and the error names what is wrong; '':
# there is none
says()
{
	local status=$1 error=$2 r
	shift 2
	ctl "$@" >"$tmp/out" 2>"$tmp/err"
	r=$?
	[ $r = "$status" ] || fail "vhostmdctl $*: status $r, should be $status: $(cat "$tmp/err")"
	if [ -n "$error" ]; then
		grep -q -- "$error" "$tmp/err" || fail "vhostmdctl $*: no word of '$error': $(cat "$tmp/err")"
	else
		[ ! -s "$tmp/err" ] || fail "vhostmdctl $*: $(cat "$tmp/err")"
	fi
	! grep -q Sanitizer "$tmp/err" || fail "vhostmdctl $*: $(cat "$tmp/err")"
}
on() { says 0 "$1" "${@:2}" --mount "$mnt"; }

# wrong usage: said in a line, with a remedy behind it
says 2 'say what to do'
says 2 "no verb 'stats'" stats
says 2 "unrecognized option" --wrong
says 2 "'list' takes no --count" list --count 3
says 2 "usage: vhostmdctl get" get
says 2 "'0' is no number of changes" watch host --count 0
says 2 'not an absolute path' status --mount run
says 2 'none of virtio' attach x --bus ide
says 2 'is no pattern' attach --all --match '[a]'
says 2 'none of always, never, auto' doctor --color blue
says 2 'none of error, warning, info, debug' log verbose
says 2 "usage: vhostmdctl log" log info debug
says 2 'name VMs, or all of them' attach
says 2 'name VMs, or all of them' detach x --all
says 0 '' --help
for verb in $(awk '/^  [a-z]/ {print $1}' "$tmp/out"); do
	grep -q "^\*$verb\*" "$top/docs/man/vhostmdctl.1.scd" || fail "$verb is not in vhostmdctl(1)"
done
for option in $(grep -o -- '--[a-z-]*' "$tmp/out"); do
	grep -q -- "\*$option\*" "$top/docs/man/vhostmdctl.1.scd" || fail "$option is not in vhostmdctl(1)"
done

# nobody is there
mkdir "$mnt"
for verb in status list reload upgrade log 'log info' check-config 'get host' 'watch host'; do
	# shellcheck disable=SC2086 # words
	ctl $verb --mount "$mnt" >"$tmp/out" 2>"$tmp/err" && fail "$verb without a daemon"
	grep -q 'systemctl start vhostmd' "$tmp/err" || fail "$verb: no remedy: $(cat "$tmp/err")"
done
rmdir "$mnt"

cat >"$tmp/conf" <<'EOF'
<vhostmd><globals><disk><size unit="k">64</size></disk><update_period>0.2</update_period></globals><metrics>
<metric context="host"><name>Name</name><source>host.name</source></metric>
<metric context="host" unit="s"><name>Up.Time</name><source unit="s">host.uptime</source></metric>
<metric context="host"><name>Cycles</name><source>vhostmd.fast.cycles</source></metric>
<metric type="string" context="host"><name>Text</name><action>printf 'a\033[2Jb'</action></metric>
<metric type="int32" context="host"><name>Nothing</name><action>echo no number</action></metric>
<metric type="int32" context="host"><name>Later</name><action>cat TMP/number</action></metric>
</metrics></vhostmd>
EOF
sed -i "s|TMP|$tmp|" "$tmp/conf"
chmod 755 "$tmp"
CONF=$tmp/conf start_daemon -c test:///default
there() { grep -q "^vm\\..*age_ms" "$mnt/status" && grep -q ^vms: "$mnt/status" && [ -s "$mnt/metrics/host/Cycles" ] && cat "$mnt/metrics/host/Text" >/dev/null 2>&1; }
wait_for 20 there || fail "no metrics"

on '' status
grep -q "^configuration: *$tmp/conf\$" "$tmp/out" || fail "status: $(cat "$tmp/out")"
grep -q '^vhostmd .*, 0 VMs$\|^vhostmd .*, 1 VMs$' "$tmp/out" || fail "status: $(cat "$tmp/out")"
on '' status --all
diff <(sed 's/:.*//' "$mnt/status" | sort -u) <(sed 's/:.*//' "$tmp/out" | sort -u) || fail "status --all"
on '' status --json
python3 - "$tmp/out" "$(worker_pid)" <<'EOF' || fail "status --json: $(cat "$tmp/out")"
import json, sys
s = json.load(open(sys.argv[1]))
assert s["pid"] == int(sys.argv[2]) and s["conf.mistakes"] == 0 and s["conf.reads"] == 1, s
EOF

# one is bare, several have names and units, and nothing of others' reaches the terminal
on '' get host Name
assert_eq "one value" "$(cat "$tmp/out")" "$(cat "$mnt/metrics/host/Name")"
on '' get host
grep -q '^Up.Time *[0-9.]* s$' "$tmp/out" || fail "no unit: $(cat "$tmp/out")"
grep -qF 'a\x1b[2Jb' "$tmp/out" || fail "the terminal's own: $(cat -v "$tmp/out")"
grep -q '^Nothing *(cannot be had now)$' "$tmp/out" || fail "unavailable: $(cat "$tmp/out")"
on '' get host 'Up*' Na?e
assert_eq "patterns" "$(awk '{print $1}' "$tmp/out" | tr '\n' ' ')" "Name Up.Time "
says 3 "'host' has no metric 'Nam'" get host Nam --mount "$mnt"
says 3 "'host' has no metric like 'x\*'" get host 'x*' --mount "$mnt"
says 3 "no VM 'nobody' runs here" get nobody --mount "$mnt"
says 3 "no VM '../host' runs here" get ../host --mount "$mnt"
says 3 "no VM 'a.x1bb' runs here" get "$(printf 'a\033b')" --mount "$mnt"
says 4 'cannot be had now' get host Nothing --mount "$mnt"
on '' get host --json
python3 - "$tmp/out" <<'EOF' || fail "get --json: $(cat "$tmp/out")"
import json, sys
m = json.load(open(sys.argv[1]))
assert m["Up.Time"]["unit"] == "s" and isinstance(m["Up.Time"]["value"], float), m
assert m["Text"] == {"value": "a\x1b[2Jb", "type": "string"} and m["Nothing"]["value"] is None, m
EOF

# changes as they come: ten at five a second, one after another
on '' watch host Cycles Name --count 10
assert_eq "changes" "$(grep -c Cycles "$tmp/out") $(grep -c Name "$tmp/out")" "11 1"
awk '/Cycles/ { if ($3 <= last) exit 1; last = $3 }' "$tmp/out" || fail "watch: $(cat "$tmp/out")"
on '' watch host Cycles --count 2 --json
python3 -c 'import json, sys; assert len([json.loads(l) for l in open(sys.argv[1])]) == 3' "$tmp/out" ||
	fail "watch --json: $(cat "$tmp/out")"
# one that cannot be had, then can be, and is longer each time
"$build/ctl/vhostmdctl" watch host Later --count 4 --mount "$mnt" >"$tmp/out" 2>"$tmp/err" &
watch=$!
told() { grep -q "Later  $1\$" "$tmp/out"; }
wait_for 10 told '(cannot be had now)' || fail "watch: $(cat "$tmp/out" "$tmp/err")"
for value in 7 1234 123456 12; do
	echo $value >"$tmp/number.new"
	mv "$tmp/number.new" "$tmp/number"
	wait_for 20 told $value || fail "watch: $value is not told: $(cat "$tmp/out" "$tmp/err")"
done
watched() { ! kill -0 $watch 2>/dev/null; }
wait_for 10 watched || fail "watch does not end"
# whose reader goes
timeout 20 "$build/ctl/vhostmdctl" watch host Cycles --mount "$mnt" | head -n 3 >"$tmp/out"
assert_eq "watch, when its reader goes" "$(wc -l <"$tmp/out")" 3

# a configuration that is used, one with mistakes, and one that is none
sed 's/Up.Time/Uptime/' "$tmp/conf" >"$tmp/conf.new" && mv "$tmp/conf.new" "$tmp/conf"
on '' reload
assert_eq reloaded "$(cat "$tmp/out")" "$tmp/conf is in force"
on '' get host Uptime
cp "$tmp/conf" "$tmp/good"
sed 's/<metrics>/<metrics><metric context="host"><name>Bad<\/name><source>host.nam<\/source><\/metric>/' \
	"$tmp/conf" >"$tmp/conf.new" && mv "$tmp/conf.new" "$tmp/conf"
on 'without what 1 mistakes stand in' reload
on '' status
grep -q 'with 1 mistakes' "$tmp/out" || fail "a mistake is not in status: $(cat "$tmp/out")"
says 1 host.nam check-config --mount "$mnt" --program "$build/vhostmd"
echo '<vhostmd>' >"$tmp/conf"
says 1 'was refused: the configuration before it is in force' reload --mount "$mnt"
on '' status
grep -q 'what stands there by now was refused' "$tmp/out" || fail "refused: $(cat "$tmp/out")"
on '' get host Uptime
# so it stays for another worker
worker=$(worker_pid)
kill -KILL "$worker"
wait_for 10 process_gone "$worker"
wait_for 10 there || fail "no other worker"
on '' status
grep -q 'was refused' "$tmp/out" || fail "refused, another worker: $(cat "$tmp/out")"
on '' check-config "$top/conf/vhostmd.conf" --program "$build/vhostmd"

# an upgrade to the same program is one, too
cp "$tmp/good" "$tmp/conf"
worker=$(worker_pid)
on '' upgrade --program "$build/vhostmd"
assert_eq upgraded "$(cat "$tmp/out")" "vhostmd $("$build/vhostmd" --version | sed 's/.* //') runs"
[ "$(worker_pid)" != "$worker" ] || fail "the worker is the one before"

# the doctor finds nothing wrong with it, or with a configuration that is well
cure() { # STATUS CHECK SEVERITY...: what it ends with, and that it says these, or '' instead of one
	ctl doctor --json --mount "$mnt" --pid-file "$tmp/pid" --file "$tmp/conf" --program "$build/vhostmd" \
		--connect test:///default >"$tmp/out" 2>"$tmp/err"
	local r=$?
	python3 - "$tmp/out" "$@" <<-'EOF' && { [ "$1" != 2 ] || [ $r = 2 ]; } || fail "doctor: $r $(cat "$tmp/out" "$tmp/err")"
		import json, sys
		found = json.load(open(sys.argv[1]))
		for check, severity in zip(sys.argv[3::2], sys.argv[4::2]):
		    said = [f["severity"] for f in found if f["check"] == check]
		    assert severity in said if severity else "fault" not in said, (check, severity, said)
		assert all(f["remedy"] for f in found if f["severity"] == "fault"), found
	EOF
}
cure any kernel '' fuse '' daemon '' mount '' worker '' configuration '' libvirt '' figures ''
sed 's/host.name</host.nam</' "$tmp/good" >"$tmp/conf"
cure any configuration warning daemon ''
echo '<vhostmd>' >"$tmp/conf"
cure 2 configuration fault
cp "$tmp/good" "$tmp/conf"
ctl doctor --mount "$mnt" --pid-file "$tmp/pid" --file "$tmp/conf" --color always >"$tmp/out"
grep -q "$(printf '\033')" "$tmp/out" || fail "no colour: $(cat "$tmp/out")"
NO_COLOR=1 ctl doctor --mount "$mnt" --pid-file "$tmp/pid" --file "$tmp/conf" >"$tmp/out"
grep -q "$(printf '\033')" "$tmp/out" && fail "colour, though nobody wants it"

# who is nobody reads, and may not change anything
chmod 711 "$tmp"
cp "$build/ctl/vhostmdctl" "$tmp/ctl"
as_nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups "$tmp/ctl" "$@" --mount "$mnt"; }
for verb in status log; do
	as_nobody $verb >"$tmp/out" 2>"$tmp/err" || fail "nobody, $verb: $(cat "$tmp/err")"
done
for verb in reload 'upgrade --program /bin/true' 'log error'; do
	# shellcheck disable=SC2086 # words
	as_nobody $verb >"$tmp/out" 2>"$tmp/err" && fail "nobody may $verb"
	grep -q 'run it as root' "$tmp/err" || fail "nobody, $verb: $(cat "$tmp/err")"
done

# both processes are killed: what they leave is found, and goes as the doctor says
worker=$(worker_pid)
kill -KILL "$keeper" "$worker"
wait "$keeper" 2>/dev/null
keeper=''
wait_for 10 process_gone "$worker"
cure 2 daemon fault mount fault
remedy=$(python3 -c 'import json, sys
print(*(f["remedy"] for f in json.load(open(sys.argv[1])) if f["check"] == "mount"))' "$tmp/out")
[[ $remedy == *"umount -l $mnt"* ]] || fail "the remedy of a dead mount: $remedy"
umount -l "$mnt" || fail "the remedy fails"
cure any mount ''
exit 0
