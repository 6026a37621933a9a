#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# libmetrics.so.0 for programs old and new: what it exports, headers in C and C++, pkg-config; that
# it harms no program that uses it; what the tool prints.  In guests: tests/guest/libmetrics.sh.
. "$(dirname "$0")/../lib.sh"
CC=clang build "$top/build-clang" -Dbuildtype=release -Dwerror=true
release=$top/build-clang
lib=$release/guest/libmetrics.so.0
tool=$release/guest/vm-dump-metrics
programs=$top/tests/func/libmetrics
export LD_LIBRARY_PATH=$release/guest
unset VHOSTMD_SOURCE

metric() { printf "<metric type='%s' context='%s'%s><name>%s</name><value>%s</value></metric>\n" "$@"; }
uuid=6be3fdb8-bef5-6fec-b1b7-e61bbceab708
vm=" id='2' uuid='$uuid'"
document="<metrics>
$(metric string host '' HostName 'a &lt; b')
$(metric uint32 host '' TotalPhyCPUs 8)
$(metric uint64 host " unit='MiB'" TotalPhyMem 7777)
$(metric uint64 host '' PageInRate 12.000000)
$(metric real64 host '' TotalCPUTime 846.600000)
$(metric real64 vm "$vm" TotalCPUTime 69.400000)
$(metric real64 vm "$vm unit='s'" vcpu.0.delay 5.25)
$(metric string vm "$vm" sample.unavailable 'usage.cpu usage.steal')
</metrics>"
image "$tmp/disk.img" "$document"
printf '%s' "$document" >"$tmp/document"

# ---- what is installed, and what it exports ----

DESTDIR=$tmp/root meson install -C "$release" --no-rebuild --tags devel >"$tmp/out" 2>&1 ||
	fail "meson install: $(tail -n 5 "$tmp/out")"
pc=$(find "$tmp/root" -name libmetrics.pc)
[ "$pc" != "" ] || fail "no libmetrics.pc"
include=$(PKG_CONFIG_PATH=${pc%/*} PKG_CONFIG_SYSROOT_DIR=$tmp/root pkg-config --cflags libmetrics | tr -d ' ')
[ -e "${include#-I}/vhostmd/libmetrics.h" ] || fail "pkg-config says $include"
PKG_CONFIG_PATH=${pc%/*} pkg-config --libs libmetrics | grep -q -- '-lmetrics' || fail "pkg-config --libs"

assert_eq soname "$(objdump -p "$lib" | awk '/SONAME/ {print $2}')" libmetrics.so.0
assert_eq "what it needs" "$(objdump -p "$lib" | awk '/NEEDED/ {print $2}' | grep -v '^ld-linux')" libc.so.6
# what could end a program, change its settings, or write where nobody asked it to
nm -D --undefined-only "$lib" | awk '{print $2}' | sed 's/@.*//' |
	grep -xE 'abort|_?exit|__assert_fail|setlocale|uselocale|signal|sigaction|setenv|umask|chdir|atexit|perror|printf|__printf_chk|__fprintf_chk|fork|pthread_create|xml.*' &&
	fail "it calls these"
# old programs want their symbols without a version
nm -D --defined-only "$lib" | awk '$2 == "T" {print $3}' | grep -v '@@LIBMETRICS_2$' | sort >"$tmp/exported"
diff "$tmp/exported" - <<-EOF || fail "the old functions"
	cpu_metrics_alloc
	cpu_metrics_free
	dump_metrics
	dump_virtio_metrics
	dump_xenstore_metrics
	get_host_cpu_metrics
	get_host_memory_metrics
	get_host_totalPhyCPUs
	get_metric
	get_vm_cpu_metrics
	get_vm_memory_metrics
	libmetrics_fini
	libmetrics_init
	memory_metrics_alloc
	memory_metrics_free
	metric_free
EOF
# each function of the new header is exported, and nothing else
diff <(nm -D --defined-only "$lib" | sed -n 's/.* T \(.*\)@@LIBMETRICS_2$/\1/p' | sort) \
	<(sed '/^ \*\|^\/\*\*/d' "${include#-I}/vhostmd/metrics.h" | grep -o 'vhostmd_[a-z0-9_]*(' |
		tr -d '(' | sort -u) || fail "what is exported is not what the header has"

# ---- types and layouts ----

# Of a build with debugging information; another machine's are others.  A new function is a change,
# too: then guest/libmetrics.abi is made anew, as abi_of() does it.
abi_of()
{
	abidw --exported-interfaces-only --drop-private-types --no-corpus-path --no-comp-dir-path \
		--short-locs --no-parameter-names --no-write-default-sizes --type-id-style hash \
		--headers-dir "$top/guest/vhostmd" "$1"
}
same_abi() # DESCRIPTION
{
	abidiff --headers-dir2 "$top/guest/vhostmd" "$1" "$build/guest/libmetrics.so.0.0.0" >"$tmp/said"
}
if [ "$(uname -m)" = x86_64 ] && command -v abidiff >/dev/null; then
	same_abi "$top/guest/libmetrics.abi" || fail "another ABI: $(cat "$tmp/said")"
	# it would be seen
	python3 - "$top/guest/libmetrics.abi" "$tmp/other.abi" <<-'EOF'
		import re, sys
		text = open(sys.argv[1]).read()
		at = text.rindex("='64'", 0, text.index("total_cpu_time"))
		open(sys.argv[2], "w").write(text[:at] + "='128'" + text[at + 5:])
	EOF
	same_abi "$tmp/other.abi" && fail "another layout is not seen"
	sed 's/cpu_metrics_alloc/cpu_metrics_make/g' "$top/guest/libmetrics.abi" >"$tmp/other.abi"
	same_abi "$tmp/other.abi" && fail "a function less is not seen"
	abi_of "$build/guest/libmetrics.so.0.0.0" >"$tmp/new.abi" || fail "abidw"
	same_abi "$tmp/new.abi" || fail "what abidw makes is not what there is"
fi

# ---- headers, A14 ----

compile() # COMPILER FILE [ARGUMENT...]: into $tmp/program
{
	"$1" -Wall -Wextra -Werror "$include" "$2" -o "$tmp/program" "${@:3}" -L"$release/guest" -Wl,--as-needed -lmetrics \
		2>"$tmp/err" || fail "$2 with $1 ${*:3}: $(head -n 5 "$tmp/err")"
}
for standard in c99 gnu89 c17; do compile cc "$programs/header.c" -std=$standard; done
if command -v c++ >/dev/null; then
	for standard in c++98 c++17; do compile c++ "$programs/header.cc" -std=$standard; done
fi
compile cc "$programs/old-program.c" "$include/vhostmd"

# ---- programs ----

# Runs $tmp/program, which reads $tmp/disk.img.
run() { VHOSTMD_SOURCE=$tmp/disk.img "$tmp/program" "$@" >"$tmp/said" 2>&1 || fail "$* (status $?): $(cat "$tmp/said")"; }

# A12, A13: old programs free what they got, whatever get_metric() said
run
diff "$tmp/said" - <<-EOF || fail "what an old program sees"
	HostName 0 a < b
	NoSuchMetric -1 NULL
	PageInRate 0 12
	cpu 8 846.6
	memory 7777
EOF
# D12: threads, a fork among them, no memory, dlopen and dlclose; nothing is left behind
compile cc "$programs/good-guest.c" -pthread -ldl
run "$lib"

# ---- the examples of libmetrics(3) ----

mkdir "$tmp/examples"
awk -v dir="$tmp/examples" '/^```/ { open = !open; n += open; next } open { print >(dir "/" n) }' \
	"$top/docs/man/libmetrics.3.scd"
assert_eq examples "$(cd "$tmp/examples" && echo *)" "1 2 3"
own() { printf '%s\n\r\n' "$document"; } # for this VM alone
image "$tmp/own.img" "$(own | sed 's/5\.25/3.25/')"
cp "$tmp/examples/1" "$tmp/example.c"
compile cc "$tmp/example.c"
"$tmp/program" "$tmp/own.img" >"$tmp/said" || fail "the first example fails"
assert_eq "the first example" "$(cat "$tmp/said")" "waited 3.25 s for a processor of a < b"
"$tmp/program" "$tmp/none" 2>"$tmp/err" && fail "an example that does not fail"
grep -q "$tmp/none: No such file" "$tmp/err" || fail "the first example's error: $(cat "$tmp/err")"
export PYTHONPATH=$top/guest/python
python3 "$tmp/examples/3" "$tmp/own.img" >"$tmp/python" || fail "the example in Python"
cmp "$tmp/python" "$tmp/said" || fail "the example in Python: $(cat "$tmp/python")"

# a host that goes on, and one that is replaced by another
cp "$tmp/examples/2" "$tmp/example.c"
compile cc "$tmp/example.c"
rate_example() # DOCUMENT: what the machine has after the first look
{
	image "$tmp/own.img" "$(own)"
	"$tmp/program" "$tmp/own.img" >"$tmp/said" 2>"$tmp/err" &
	local pid=$!
	opened() { find "/proc/$pid/fd" -lname '*/own.img' | grep -q .; }
	wait_for 10 opened || fail "the second example does not look"
	# what it has open is what it reads at first, though there is another file by then
	image "$tmp/own.img" "$1"
	wait $pid
}
rate_example "$(own | sed 's/5\.25/5.75/')" || fail "the second example: $(cat "$tmp/err")"
grep -qE '^stolen: [0-9]+\.[0-9] %$' "$tmp/said" || fail "the second example: $(cat "$tmp/said")"
rate_example "$(own | sed "s/id='2'/id='3'/; s/5\.25/5.75/")" && fail "a rate across a restart"
grep -q restored "$tmp/err" || fail "across a restart: $(cat "$tmp/err")"
python3 - "$tmp/own.img" <<-'EOF' || fail "the module"
	import sys, vhostmd_metrics as v
	with v.Source(sys.argv[1], timeout=5) as source:
	    now = source.read()
	    assert now.vm["vcpu.0.delay"] == 5.75 and now.host["PageInRate"] == 12
	    assert now.host.metric("TotalPhyMem").unit == "MiB" and len(now.host) == 5
	    assert now.vm.get("nothing") is None and now.freshness is v.Freshness.UNKNOWN
	    for what in (lambda: now.vm["usage.steal"], lambda: now.rate(now, "vcpu.0.delay")):
	        try:
	            what()
	        except v.Error as e:
	            assert e.code in (-13, -18), e.code
	        else:
	            sys.exit("no error")
EOF
# ---- the tool ----

tool_says() # STATUS ARGUMENT...: what it says is in $tmp/said and $tmp/err
{
	local status=0
	"$tool" "${@:2}" >"$tmp/said" 2>"$tmp/err" || status=$?
	assert_eq "status of ${*:2} ($(cat "$tmp/err"))" $status "$1"
}
# A11: long options do as the short ones do, whatever devices there are
for pair in "-b --vbd" "-i --virtio" "-x --xenstore" "-v --verbose" "-h --help"; do
	read -r short long <<<"$pair"
	"$tool" "$short" >"$tmp/said" 2>"$tmp/err"
	status=$? said=$(cat "$tmp/said" "$tmp/err")
	tool_says $status "$long"
	assert_eq "$long" "$(cat "$tmp/said" "$tmp/err")" "$said"
done
for wrong in --no-such "-b -i" "-x --source=disk" --source=nonsense --watch=0 --format=yaml word \
	--uuid=x "--textfile=x --metric=y" --interval=5 "--why --interval=0" "--why --watch=1" \
	"--why --metric=x" "--why --textfile=x" "--why --format=xml" "--json --metric=x"; do
	# shellcheck disable=SC2086 # words
	tool_says 2 $wrong
done
tool_says 1 --source "$tmp/none" --dest "$tmp/never"
[ ! -e "$tmp/never" ] || fail "a file of nothing"
# as the host wrote it
tool_says 0 --source "$tmp/disk.img"
cmp "$tmp/said" "$tmp/document" || fail "not to the byte"
VHOSTMD_SOURCE=$tmp/disk.img tool_says 0 --dest="$tmp/copy"
cmp "$tmp/copy" "$tmp/document" || fail "not to the byte, in a file"
image "$tmp/old.img" "<metrics><metric>a & b</metric></metrics>"
tool_says 0 --source "$tmp/old.img"
assert_eq "what no parser reads" "$(cat "$tmp/said")" "<metrics><metric>a & b</metric></metrics>"
tool_says 1 --source "$tmp/old.img" --format table
tool_says 1 --source "$tmp/disk.img" --dest "$tmp/none/file"
tool_says 1 --source "$tmp/disk.img" --dest /dev/full
# D12: whole or not at all: who has the old file open sees that and no part of the new one
echo old >"$tmp/whole"
ln "$tmp/whole" "$tmp/other-name"
tool_says 0 --source "$tmp/disk.img" -d "$tmp/whole"
cmp "$tmp/whole" "$tmp/document" || fail "the new file"
assert_eq "the old file" "$(cat "$tmp/other-name")" old
assert_eq "files that were left" "$(find "$tmp" -name '.whole*')" ""
# a disk that is busy for good is given up, and nothing of it printed; it takes ten seconds, of
# which the end is seen below
image "$tmp/busy.img" "$document" 1
"$tool" --source "$tmp/busy.img" >"$tmp/busy-said" 2>"$tmp/busy-err" &
busy=$!

of_disk=(--source "$tmp/disk.img" --uuid "$uuid")
tool_says 0 "${of_disk[@]}" --metric TotalCPUTime
assert_eq "the VM's own first" "$(cat "$tmp/said")" 69.400000
tool_says 0 "${of_disk[@]}" --metric host:TotalCPUTime
assert_eq "the host's" "$(cat "$tmp/said")" 846.600000
tool_says 0 "${of_disk[@]}" --metric HostName
assert_eq "a text" "$(cat "$tmp/said")" 'a < b'
tool_says 3 "${of_disk[@]}" --metric nothing
tool_says 4 "${of_disk[@]}" --metric usage.steal
tool_says 3 --source "$tmp/disk.img" --uuid 11111111-1111-1111-1111-111111111111 --metric vm:TotalCPUTime
tool_says 0 "${of_disk[@]}" --format table
grep -qxE 'host  TotalPhyMem +7777 MiB' "$tmp/said" || fail "table: $(cat "$tmp/said")"
tool_says 0 "${of_disk[@]}" --format json
python3 - "$tmp/said" <<-'EOF' || fail "json: $(cat "$tmp/said")"
	import json, sys
	d = json.load(open(sys.argv[1]))
	m = {(x["context"], x["name"]): x for x in d["metrics"]}
	assert m["host", "HostName"]["value"] == "a < b" and m["host", "PageInRate"]["value"] == 12
	assert m["vm", "vcpu.0.delay"]["value"] == 5.25 and m["vm", "vcpu.0.delay"]["unit"] == "s"
	assert len(m) == 8 and d["transport"] == "disk" and d["freshness"] == "unknown", d
EOF
tool_says 0 "${of_disk[@]}" --format prometheus
grep -q "^vhostmd_vm_vcpu_delay_seconds_total{.*vcpu=\"0\"} 5.25" "$tmp/said" ||
	fail "prometheus: $(cat "$tmp/said")"
if command -v promtool >/dev/null; then
	promtool check metrics <"$tmp/said" >"$tmp/err" 2>&1 || fail "promtool: $(cat "$tmp/err")"
fi
cp "$tmp/said" "$tmp/prometheus"
tool_says 0 "${of_disk[@]}" --textfile "$tmp/vhostmd.prom"
cmp "$tmp/vhostmd.prom" "$tmp/prometheus" || fail "--textfile is not --format prometheus"
assert_eq "who may read it" "$(stat -c %a "$tmp/vhostmd.prom")" 644
# what only Prometheus gets of the host is none of its when a guest is told a number of that name
image "$tmp/named.img" "<metrics><metric type='uint64' context='vm' unit='ns' uuid='$uuid'><name>delay.histogram</name><value>12345</value></metric></metrics>"
tool_says 0 --source "$tmp/named.img" --uuid "$uuid" --format prometheus
grep -q '^vhostmd_vm_custom_delay_value_seconds{.*} 0.000012345$' "$tmp/said" || fail "a number of that name: $(cat "$tmp/said")"

# what it finds by itself: a / with a disk, and a firmware that tells the uuid
if [ "$(id -u)" = 0 ]; then
	mkdir -p "$tmp/chroot"/{dev,sys/block/vda,sys/class/dmi/id}
	echo 128 >"$tmp/chroot/sys/block/vda/size"
	echo "$uuid" >"$tmp/chroot/sys/class/dmi/id/product_uuid"
	image "$tmp/chroot/dev/vda" "$document"
	cp "$tool" "$tmp/chroot/tool"
	chroot "$tmp/chroot" /tool >"$tmp/said" 2>"$tmp/err" || fail "it finds no disk: $(cat "$tmp/err")"
	cmp "$tmp/said" "$tmp/document" || fail "the disk that it finds"
	assert_eq "whose metrics it finds" "$(chroot "$tmp/chroot" /tool --metric vm:TotalCPUTime)" 69.400000
fi

# --watch: what changed, and how fast
"$tool" "${of_disk[@]}" --watch 0.1 >"$tmp/watched" 2>"$tmp/err" &
watch=$!
said() { grep -q -- "$1" "$tmp/watched"; }
wait_for 10 said TotalPhyMem || fail "--watch begins with: $(cat "$tmp/watched")"
image "$tmp/disk.img" "${document/846.6/946.6}"
wait_for 10 said '^host  TotalCPUTime .* 946.600000  (+' || fail "--watch: $(cat "$tmp/watched" "$tmp/err")"
kill $watch
wait $watch 2>/dev/null
assert_eq "lines on TotalPhyMem, which did not change" "$(grep -c TotalPhyMem "$tmp/watched")" 1

# --why: two looks at a host that goes on
why_documents() # SESSION DELAY_MS DISKS: one each second of the host's; SESSION 0: another each time
{
	exec python3 - "$tmp/why.img" "$uuid" "$@" <<-'EOF'
		import itertools, os, struct, sys, time
		path, uuid, session, delay, disks = sys.argv[1:3] + [int(x) for x in sys.argv[3:]]
		for i in itertools.count(1):
		    host = [("host.uptime", "s", i), ("TotalPhyCPUs", "", 2), ("host.cpu.steal", "s", 0),
		            ("host.pressure.memory.some.avg10", "%", 0)]
		    vm = [("domain.session", "", session or i), ("sample.generation", "", i), ("vcpu.current", "", 1),
		          ("domain.cpu.limit", "", 1), ("vcpu.0.delay", "ms", i * delay), ("balloon.current", "", 1024),
		          ("balloon.maximum", "", 1024), ("block.count", "", disks)]
		    metrics = [(m, " context='host'") for m in host] + [(m, f" context='vm' uuid='{uuid}'") for m in vm]
		    content = "<metrics>" + "".join(
		        f"<metric type='uint64'{who} unit='{unit}'><name>{name}</name><value>{value}</value></metric>"
		        for (name, unit, value), who in metrics) + "</metrics>"
		    header = struct.pack(">4sIII", b"mvbd", 0, sum(content.encode()) % 2**32, len(content))
		    with open(path + ".new", "wb") as f:
		        f.write((header + content.encode()).ljust(65536, b"\0"))
		    os.rename(path + ".new", path)
		    time.sleep(0.1)
	EOF
}
why_says() # STATUS SESSION DELAY_MS DISKS ARGUMENT...
{
	image "$tmp/why.img" "$document" # until there is one of those
	why_documents "${@:2:3}" &
	local pid=$!
	tool_says "$1" --source "$tmp/why.img" --uuid "$uuid" --why --interval 0.5 "${@:5}"
	kill $pid
	wait $pid 2>/dev/null
}
why_says 0 5 1 0
grep -q '^Nothing holds this VM back, as seen in [0-9.]* s\.$' "$tmp/said" || fail "nothing: $(cat "$tmp/said")"
why_says 5 5 500 0 --dest "$tmp/why"
grep -q '^  cpu steal        much  vCPU 0 waited 50\.0 % of the time' "$tmp/why" || fail "steal: $(cat "$tmp/why")"
why_says 6 5 1 1 --json
python3 - "$tmp/said" <<-'EOF' || fail "what is not known: $(cat "$tmp/said")"
	import json, sys
	d = json.load(open(sys.argv[1]))
	assert d["held_back"] == "unknown" and d["seconds"] >= 1, d
	assert {c["cause"] for c in d["causes"] if c["degree"] == "unknown"} == {"disk latency", "disk limit"}, d
EOF
why_says 6 0 500 0
grep -q 'restored or$' "$tmp/said" || fail "a VM that moved: $(cat "$tmp/said")"

status=0
wait $busy || status=$?
assert_eq "status with a disk that is busy for good" $status 1
grep -q 'stable' "$tmp/busy-err" || fail "busy: $(cat "$tmp/busy-err")"
assert_eq "printed of it" "$(cat "$tmp/busy-said")" ""
[ "$(stat -Lc %s "$tool")" -lt $((2 << 20)) ] || fail "the tool has $(stat -Lc %s "$tool") bytes"
exit 0
