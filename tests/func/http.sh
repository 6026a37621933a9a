#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Figures by HTTP: the same as in the file, in the form that is asked for, to whom they are for; and no
# scrape fails while workers die, programs are replaced and others do what they can against it.
. "$(dirname "$0")/../lib.sh"
need_fuse
ldd "$build/vhostmd" | grep -q microhttpd || skip "needs a vhostmd built with libmicrohttpd"
for needed in curl promtool prometheus prometheus-node-exporter; do
	command -v $needed >/dev/null || skip "needs $needed"
done
python=/usr/bin/python3 # which has what Debian installs
clients=$top/tests/func/scrape.py
nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
http=$tmp/http
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
get() { curl -sS --max-time 20 --unix-socket "$http" "$@"; }
open=(-H 'Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1')
status() { sed -n "s/^http.$1: //p" "$mnt/status"; }
is_status() { [ "$(status "$1")" = "$2" ]; }

# refused OPTION... WORDS: it does not start, says why, and leaves nothing
refused()
{
	local r=0
	timeout 20 "$build/vhostmd" -d -f "$tmp/conf" -p "$tmp/pid" -m "$mnt" -c test:///default "${@:1:$#-1}" 2>"$tmp/err" || r=$?
	[ $r = 1 ] || [ $r = 2 ] || fail "$*: status $r: $(cat "$tmp/err")"
	grep -q -- "${*: -1}" "$tmp/err" || fail "$*: $(cat "$tmp/err")"
	[ -e "$mnt/status" ] && fail "$*: it is mounted"
}

# conf PERIOD [MODE]
conf()
{
	cat >"$tmp/conf" <<-END
		<vhostmd><globals><update_period>$1</update_period><disk><name>x</name></disk>
		${2:+<filesystem><mode>$2</mode></filesystem>}</globals><metrics>
		<metric context="host"><name>Generation</name><source>host.sample.generation</source></metric>
		<metric type="string" context="host"><name>Odd</name><action>echo '"\\'</action></metric>
	END
	sed -n '/<metrics>/,/<.vhostmd>/p' "$top/conf/vhostmd.conf" | sed 1d >>"$tmp/conf"
}

# ---- what is served ----

conf 3600
CONF=$tmp/conf start_daemon -c test:///default --http "unix:$http" --http-group daemon
wait_for 10 has_value "$mnt/metrics/host/Generation" || fail "no sample"
assert_eq "the socket" "$(stat -c '%F %a %U %G' "$http")" "socket 660 root daemon"
# what comes later, of libvirt, is there when two are alike
asked=0
alike()
{
	asked=$((asked + 3))
	get -o "$tmp/text" http://x/metrics && get "${open[@]}" -o "$tmp/open" http://x/metrics &&
		get "${open[@]}" --compressed -o "$tmp/unpacked" http://x/metrics && cat "$mnt/metrics.prom" >"$tmp/file" &&
		cmp -s "$tmp/text" "$tmp/file" && cmp -s "$tmp/open" "$tmp/unpacked"
}
wait_for 20 alike || fail "it is not what the file has: $(diff "$tmp/text" "$tmp/file")"
"$python" "$clients" compare "$tmp/text" "$tmp/open" || fail "OpenMetrics"
promtool check metrics <"$tmp/text" >"$tmp/said" 2>&1 || fail "promtool: $(cat "$tmp/said")"
# one is compressed once
has_asked() { wait_for 10 is_status requests "$asked" || fail "$(status requests) requests of $asked"; }
has_asked
before=$(status compressed)
for _ in 1 2 3; do get "${open[@]}" --compressed -o "$tmp/unpacked" http://x/metrics; done
asked=$((asked + 3))
has_asked
assert_eq "compressed for one generation" "$(status compressed)" "$before"

# head of an answer: the status line and the headers, as curl has them
answer() { get -o "$tmp/body" -D - "$@" | tr -d '\r'; }
answer -I http://x/metrics >"$tmp/head"
grep -qx "Content-Length: $(stat -c %s "$tmp/text")" "$tmp/head" || fail "HEAD: $(cat "$tmp/head")"
answer http://x/metrics?x=y http://x/ -o /dev/null >"$tmp/head"
assert_eq "two on a connection" "$(grep -c '^HTTP/1.1 200' "$tmp/head") $(grep -c close "$tmp/head")" "2 0"
get http://x/ | grep -q 'href="metrics"' || fail "no index"
answer http://x/metrics/ | grep -q '^HTTP/1.1 404' || fail "no 404"
answer http://x/status | grep -q '^HTTP/1.1 404' || fail "status is served"
answer -d x=y http://x/metrics >"$tmp/head"
grep -q '^HTTP/1.1 405' "$tmp/head" && grep -qx 'Allow: GET, HEAD' "$tmp/head" || fail "POST: $(cat "$tmp/head")"
answer -X DELETE http://x/ | grep -q '^HTTP/1.1 405' || fail "no 405"
wait_for 10 is_status refused 4 || fail "refused: $(status refused)"
answer -X GET -d x=y http://x/metrics | grep -q '^HTTP/1.1 200' || fail "GET with a body"
answer -0 http://x/metrics | grep -q '^HTTP/1.[01] 200' || fail "HTTP/1.0"
answer -H "X: $(head -c 20000 /dev/zero | tr '\0' x)" http://x/metrics | grep -q '^HTTP/1.1 4' || fail "a huge header"

# who may not connect does not
chmod 755 "$tmp"
"${nobody[@]}" "$(PATH=/usr/bin:$PATH command -v curl)" -sS --unix-socket "$http" http://x/metrics >"$tmp/said" 2>&1 &&
	fail "nobody is served"
setpriv --reuid=65534 --regid=65534 --groups "$(getent group daemon | cut -d: -f3)" \
	curl -sS --unix-socket "$http" http://x/metrics 2>&1 | grep -q '^vhostmd_up 1' || fail "the group is not served"
# its own socket is not taken over by another vhostmd, nor is what is left by a dead one in the way
"$build/vhostmd" -d -f "$tmp/conf" -p "$tmp/pid2" -m "$tmp/mnt2" -c test:///default --http "unix:$http" 2>"$tmp/err" && fail "taken over"
grep -q 'somebody listens there already' "$tmp/err" || fail "$(cat "$tmp/err")"
worker=$(worker_pid)
grep -qs http "/proc/$worker/task/"*/comm || fail "no thread"
cp "/proc/$keeper/cgroup" "$tmp/cgroup" # it is there
kill -KILL "$keeper" "$worker"
wait "$keeper" 2>/dev/null
keeper=''
wait_for 10 process_gone "$worker" || fail "it does not end"
[ -S "$http" ] || fail "nothing is left"
conf 0.3
CONF=$tmp/conf start_daemon -c test:///default --http "unix:$http"
get http://x/metrics | grep -q '^vhostmd_up 1' || fail "not after a crash"
assert_eq "the socket" "$(stat -c '%a %U %G' "$http")" "660 root root"

# ---- workers die ----

another() { [ "$(worker_pid)" != "$worker" ]; }
"$python" "$clients" scrape "$http" 8 0.002 >"$tmp/scrapes" 2>&1 &
scraper=$!
for _ in {1..8}; do
	worker=$(worker_pid)
	kill -KILL "$worker"
	wait_for 20 another || fail "no other worker"
	get -o /dev/null http://x/metrics || fail "not after a worker's end"
done
wait $scraper || fail "scrapes while workers die: $(cat "$tmp/scrapes")"
cat "$tmp/scrapes"
grep -q ' 0 begun again' "$tmp/scrapes" && fail "nobody met a worker's end"
stop_daemon || exit 1
[ -e "$http" ] && fail "the socket stays"

# ---- the program is replaced ----

mkdir "$tmp/bin"
real=$build build=$tmp/bin
install_program() { cp "$1" "$tmp/bin/new" && mv "$tmp/bin/new" "$tmp/bin/vhostmd"; }
install_program "$real/vhostmd"
CONF=$tmp/conf start_daemon -c test:///default --http "unix:$http"
has_inode() { [ "$(stat -c %i "$http")" = "$inode" ]; }
inode=$(stat -c %i "$http")
descriptors() { find "/proc/$keeper/fd" -mindepth 1 | wc -l; }
get -o /dev/null http://x/metrics || fail "no answer"
held=$(descriptors)
"$python" "$clients" scrape "$http" 10 0.002 >"$tmp/scrapes" 2>&1 &
scraper=$!
taken_over() { [ "$(grep -c 'has taken over from' "$tmp/log")" -ge "$1" ]; }
for i in 1 2 3; do
	install_program "$real/vhostmd"
	kill -USR2 "$keeper"
	wait_for 30 taken_over $i || fail "no upgrade"
	has_inode || fail "another socket"
done
wait $scraper || fail "scrapes while programs are replaced: $(cat "$tmp/scrapes")"
cat "$tmp/scrapes"
settled() { [ "$(descriptors)" -le "$held" ]; }
wait_for 10 settled || fail "the keeper has $(descriptors) descriptors, it had $held"
# one that fails goes back, and has them still
cat >"$tmp/script" <<END
#!/bin/sh
exec "$real/tests/bad-successor" crash "\$@"
END
chmod 755 "$tmp/script"
if [ -x "$real/tests/bad-successor" ]; then
	install_program "$tmp/script"
	"$python" "$clients" scrape "$http" 6 0.002 >"$tmp/scrapes" 2>&1 &
	scraper=$!
	kill -USR2 "$keeper"
	wait_for 20 logged "goes on: version .* has failed" || fail "it does not go back"
	wait $scraper || fail "scrapes while a program fails: $(cat "$tmp/scrapes")"
	cat "$tmp/scrapes"
	has_inode || fail "another socket"
fi
stop_daemon || exit 1
[ -e "$http" ] && fail "the socket stays"
build=$real

# ---- IP ----

port=$(free_port)
CONF=$tmp/conf start_daemon -c test:///default --http "127.0.0.1:$port"
curl -sS "http://127.0.0.1:$port/metrics" | grep -q '^vhostmd_up 1' || fail "not at a port"
[ "$(ss -Hltn "sport = :$port" | wc -l)" = 1 ] || fail "$(ss -ltn)"
"$build/vhostmd" -d -f "$tmp/conf" -p "$tmp/pid2" -m "$tmp/mnt2" -c test:///default --http "127.0.0.1:$port" 2>"$tmp/err" && fail "twice"
grep -q "$port: Address already in use" "$tmp/err" || fail "$(cat "$tmp/err")"
# files that are not for everybody are not to be had there
conf 0.3 0440
kill -HUP "$keeper"
is_code() { [ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/metrics")" = "$1" ]; }
wait_for 10 is_code 403 || fail "figures that are not for everybody"
conf 0.3
kill -HUP "$keeper"
wait_for 10 is_code 200 || fail "not any more"
his=$(free_port)
mkdir "$tmp/textfiles"
ln -s "$mnt/metrics.prom" "$tmp/textfiles/vhostmd.prom"
prometheus-node-exporter --collector.disable-defaults --collector.textfile --collector.textfile.directory "$tmp/textfiles" \
	--web.listen-address "127.0.0.1:$his" >"$tmp/exporter.log" 2>&1 &
exporter=$!
at_exit "kill $exporter 2>/dev/null"
collects() { curl -sS "http://127.0.0.1:$his/metrics" >"$tmp/collected" 2>&1 && grep -q '^vhostmd_up 1$' "$tmp/collected"; }
wait_for 30 collects || fail "node_exporter: $(cat "$tmp/collected" "$tmp/exporter.log")"
grep -qx 'node_textfile_scrape_error 0' "$tmp/collected" || fail "node_exporter takes it for no metrics: $(cat "$tmp/exporter.log")"
[ "$(grep -c '^vhostmd_' "$tmp/collected")" -ge 20 ] || fail "node_exporter: $(grep '^vhostmd_' "$tmp/collected")"
kill $exporter
his=$(free_port)
cat >"$tmp/prometheus.yml" <<-END
	scrape_configs:
	- {job_name: vhostmd, scrape_interval: 1s, static_configs: [{targets: ["127.0.0.1:$port"]}]}
END
# which is what the documentation has
sed -n '/^```yaml/,/^```$/{/^```$/q; /^```/d; p}' "$top/docs/monitoring.md" >"$tmp/documented.yml"
grep -q 'targets: \["127.0.0.1:9178"\]' "$tmp/documented.yml" || fail "docs/monitoring.md: $(cat "$tmp/documented.yml")"
promtool check config "$tmp/documented.yml" >"$tmp/said" 2>&1 || fail "docs/monitoring.md: $(cat "$tmp/said")"
prometheus --config.file "$tmp/prometheus.yml" --storage.tsdb.path "$tmp/tsdb" --web.listen-address "127.0.0.1:$his" \
	>"$tmp/prometheus.log" 2>&1 &
prometheus=$!
at_exit "kill $prometheus 2>/dev/null"
ask() { curl -sS "http://127.0.0.1:$his/api/v1/$1" 2>/dev/null; }
knows() { ask 'query?query=vhostmd_vm_info' | grep -q '"uuid":"6695eb01-f6a4-8304-79aa-97f2502e193f"'; }
wait_for 60 knows || fail "Prometheus: $(ask targets) $(tail -n 3 "$tmp/prometheus.log")"
ask targets | grep -q '"lastError":"","lastScrape"' || fail "Prometheus: $(ask targets)"
# it asked for OpenMetrics, and has read the types from that
ask 'metadata?metric=vhostmd_host_cpu_time_seconds' | grep -q '"type":"counter".*"unit":"seconds"' ||
	fail "Prometheus: $(ask metadata)"
kill $prometheus
stop_daemon || exit 1

refused --http 9177 "is none of unix:PATH"
refused --http localhost:9177 "is none of unix:PATH"
refused --http 127.0.0.1:0 "is none of unix:PATH"
refused --http unix:http "no absolute path"
refused --http "unix:$tmp/$(printf 'x%.0s' {1..100})" "no more than 107 bytes"
refused --http "unix:$tmp/none/http" "No such file or directory"
refused --http "0.0.0.0:$port" "0.0.0.0:$port: other hosts could connect there, unencrypted; --http-any"
refused --http "[::]:$port" "other hosts could connect"
refused --http "unix:$http" --http-group no-such-group "no group 'no-such-group'"
refused --http "127.0.0.1:$port" --http-group daemon "no UNIX socket"
echo mine >"$http"
refused --http "unix:$http" "something is there that is no socket of ours"
assert_eq "somebody's file" "$(cat "$http")" mine
rm "$http"
CONF=$tmp/conf start_daemon -c test:///default --http "0.0.0.0:$port" --http-any
curl -sS "http://127.0.0.1:$port/metrics" | grep -q '^vhostmd_up 1' || fail "not with --http-any"
stop_daemon || exit 1

# ---- sockets of others ----

# activate SOCKET OPTION...: starts the daemon by its first client
activate()
{
	ASAN_OPTIONS=exitcode=99 systemd-socket-activate --listen "$1" --fdname http \
		"$build/vhostmd" -d -v -f "$tmp/conf" -p "$tmp/pid" -m "$mnt" -c test:///default "${@:2}" >>"$tmp/log" 2>&1 &
	keeper=$!
}
if command -v systemd-socket-activate >/dev/null && [ -e "$build/vhostmd.service" ]; then
	activate "$http"
	wait_for 20 test -S "$http" || fail "nobody listens"
	get http://x/metrics | grep -q '^vhostmd_up 1' || fail "not at a socket that was given"
	worker=$(worker_pid)
	kill -KILL "$worker"
	get http://x/metrics | grep -q '^vhostmd_up 1' || fail "not for another worker"
	stop_daemon || exit 1
	[ -S "$http" ] || fail "somebody's socket is removed"
	rm "$http"
	# a slip in a unit
	activate "0.0.0.0:$port"
	wait_for 20 eval "curl -sS --max-time 2 http://127.0.0.1:$port/metrics; logged 'other hosts could connect'" ||
		fail "all hosts can connect"
	r=0
	wait "$keeper" || r=$?
	keeper=''
	assert_eq "status of a slip" $r 1
	activate "0.0.0.0:$port" --http-any
	wait_for 20 is_code 200 || fail "not with --http-any"
	stop_daemon || exit 1
fi

# the service is killed, and started again with what is stored
if [ -e "$build/vhostmd.service" ]; then
	at_exit "umount -l $mnt 2>/dev/null"
	export FDSTORE_ANY=1 FDSTORE_SAYS=$tmp/stored
	ASAN_OPTIONS=exitcode=99 python3 "$top/tests/func/fdstore.py" "$tmp/notify" "$mnt" "$build/vhostmd" --no-daemonize \
		--verbose --config "$tmp/conf" -c test:///default --pid-file "$tmp/pid" --mount "$mnt" --http "unix:$http" >>"$tmp/log" 2>&1 &
	keeper=$!
	wait_for 60 has_value "$mnt/metrics/host/Generation" || fail "no sample"
	wait_for 10 grep -q own-http "$tmp/stored" || fail "it is not stored: $(cat "$tmp/stored")"
	inode=$(stat -c %i "$http")
	"$python" "$clients" scrape "$http" 10 0.01 >"$tmp/scrapes" 2>&1 &
	scraper=$!
	for _ in 1 2 3; do
		before=$(cat "$tmp/pid")
		kill -KILL "$before"
		again() { [ "$(cat "$tmp/pid")" != "$before" ] && get -o /dev/null http://x/metrics; }
		wait_for 20 again || fail "no other keeper serves"
	done
	wait $scraper || fail "scrapes while keepers die: $(cat "$tmp/scrapes")"
	cat "$tmp/scrapes"
	has_inode || fail "another socket"
	stop_daemon || exit 1
	umount --force --lazy "$mnt" || fail umount
	grep -q own-http "$tmp/stored" || fail "it is not there for a restart: $(cat "$tmp/stored")"
	has_inode || fail "its name is not there for a restart"
fi

# ---- hostile clients ----

# a sanitizer keeps what is freed for a while; that is not what is measured
export ASAN_OPTIONS=quarantine_size_mb=1:thread_local_quarantine_size_kb=64
python3 "$top/tests/func/hostile-reader.py" conf >"$tmp/conf"
CONF=$tmp/conf start_daemon -c test:///default --http "unix:$http"
wait_for 10 has_value "$mnt/metrics/host/number.300" "$mnt/metrics/vm/test/number.3000" || fail "no sample"
worker=$(worker_pid)
rss() { sed -n 's/^RssAnon:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$worker/status"; }
opened() { find "/proc/$worker/fd" -mindepth 1 | wc -l; }
"$python" "$clients" scrape "$http" 4 0.02 || fail "scrapes alone"
before=$(rss)
n_opened=$(opened)
for way in flood hold hold; do
	"$python" "$clients" $way "$http" 12 >>"$tmp/hostile" 2>&1 &
	hostile+=($!)
done
"$python" "$clients" scrape "$http" 10 0.02 >"$tmp/scrapes" 2>&1 &
scraper=$!
most=0 most_opened=0
while kill -0 $scraper 2>/dev/null; do
	now=$(rss)
	[ "$now" -gt "$most" ] && most=$now
	now=$(opened)
	[ "$now" -gt "$most_opened" ] && most_opened=$now
	sleep 0.1
done
wait $scraper || fail "scrapes beside hostile clients: $(cat "$tmp/scrapes")"
wait "${hostile[@]}" || fail "hostile clients: $(cat "$tmp/hostile")"
cat "$tmp/scrapes" "$tmp/hostile"
grep '^http' "$mnt/status"
echo "memory $before KiB, with them $most KiB; descriptors $n_opened, $most_opened"
[ "$(status cut)" -gt 100 ] || fail "nobody was in the way"
[ $((most - before)) -le 24576 ] || fail "they cost $((most - before)) KiB"
[ $((most_opened - n_opened)) -le 80 ] || fail "they cost $((most_opened - n_opened)) descriptors"
assert_eq "the worker" "$(worker_pid)" "$worker"
# before anything else is: what is unmounted before the daemon was told to end is a fault to it
stop_daemon || exit 1
exit 0
