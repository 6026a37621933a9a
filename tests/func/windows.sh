#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The tool for Windows guests: it builds, needs nothing but Windows' own DLLs, and does under Wine,
# with files and named pipes, what the one for Linux does, to the byte.
. "$(dirname "$0")/../lib.sh"
x86_64-w64-mingw32-gcc --version >/dev/null 2>&1 ||
	skip "needs gcc-mingw-w64-x86-64: the tool for Windows is not built"
windows=$top/build-windows
build "$windows" --cross-file data/windows-x86_64.ini -Dbuildtype=release -Dwerror=true
exe=$windows/guest/windows/vm-dump-metrics.exe
tool=$build/guest/vm-dump-metrics
unset VHOSTMD_SOURCE DISPLAY

objdump=x86_64-w64-mingw32-objdump
foreign=$($objdump -p "$exe" | awk '/DLL Name:/ {print tolower($3)}' |
	grep -vxE '(advapi32|kernel32|msvcrt|shell32)\.dll')
[ "$foreign" = "" ] || fail "it needs $foreign"
$objdump -p "$exe" | grep -q DYNAMIC_BASE || fail "it is at a known address"

# a program that has the library
cat >"$tmp/program.c" <<'EOF'
#include <stdio.h>
#include <vhostmd/metrics.h>
int main(int argc, char **argv)
{
	struct vhostmd_source *source;
	struct vhostmd_snapshot *now;
	double real;
	if (argc != 3 || vhostmd_open(argv[1], &source) || vhostmd_read(source, &now) ||
		vhostmd_get_real(now, METRIC_CONTEXT_HOST, argv[2], &real))
		return 1;
	printf("%.17g", real);
	vhostmd_snapshot_free(now);
	vhostmd_close(source);
	return 0;
}
EOF
mingw=(x86_64-w64-mingw32-gcc -std=gnu17 -Wall -Wextra -Werror)
"${mingw[@]}" -I"$top/guest" "$tmp/program.c" -o "$tmp/program.exe" "$windows/guest/windows/libmetrics.a" \
	-static -lssp -lpthread || fail "a program with the library"
# a program that says what the firmware tells
cat >"$tmp/firmware.c" <<'EOF'
#include <stdio.h>
#include <windows.h>
int main(void)
{
	static unsigned char table[65536];
	UINT n = GetSystemFirmwareTable(0x52534d42, 0, table, sizeof(table));
	for (UINT i = 0; i < n && n <= sizeof(table); i++)
		printf("%02x", table[i]);
	return 0;
}
EOF
"${mingw[@]}" "$tmp/firmware.c" -o "$tmp/firmware.exe" || fail firmware.c
"${mingw[@]}" "$top/tests/func/windows-pipe.c" -o "$tmp/pipe.exe" || fail windows-pipe.c

# ---- Wine, with a C: of its own ----

[ "$(uname -m)" = x86_64 ] && command -v wine >/dev/null ||
	skip "needs wine and an x86_64 processor: the tool for Windows is built, but not run"
export WINEPREFIX=$tmp/wine WINEDEBUG=-all WINEDLLOVERRIDES='mscoree=;mshtml=;winemenubuilder.exe=d'
export LC_ALL=C.UTF-8 # names of files
at_exit wineserver -k
# what it would copy there in 10 s, 700 MB of it, is lent to it
for dlls in /usr/lib/*/wine/x86_64-windows /usr/lib*/wine/x86_64-windows; do
	[ -e "$dlls/kernel32.dll" ] || continue
	mkdir -p "$WINEPREFIX/dosdevices" "$WINEPREFIX/drive_c/windows/system32"
	ln -s ../drive_c "$WINEPREFIX/dosdevices/c:"
	ln -s / "$WINEPREFIX/dosdevices/z:"
	ln -s "$dlls"/* "$WINEPREFIX/drive_c/windows/system32"
	echo disable >"$WINEPREFIX/.update-timestamp"
	break
done
wineserver -p60 # it takes longer to start than all that is run
wine "$exe" --help >"$tmp/help" 2>"$tmp/err" || fail "it does not run: $(cat "$tmp/err")"
"$tool" --help | cmp - "$tmp/help" || fail "--help"

# ---- the same as on Linux ----

# Output, messages and exit status: else it says what differs
alike_once()
{
	local should=$1 linux=0 is=0 pid
	shift
	"$tool" "$@" >"$tmp/out-linux" 2>"$tmp/err-linux" &
	pid=$!
	wine "$exe" "$@" >"$tmp/out" 2>"$tmp/err" || is=$?
	wait $pid || linux=$?
	[ "$is $linux" = "$should $should" ] || echo "status $is, on Linux $linux, should be $should"
	cmp -s "$tmp/out" "$tmp/out-linux" || diff "$tmp/out" "$tmp/out-linux" | head -n 20
	cmp -s "$tmp/err" "$tmp/err-linux" || diff "$tmp/err" "$tmp/err-linux"
}
# alike STATUS OPTION...: once in some thousand times Wine loses what a program says
alike()
{
	local differs
	differs=$(alike_once "$@")
	[ "$differs" = "" ] || differs=$(alike_once "$@")
	[ "$differs" = "" ] || fail "${*:2}: $differs"
}
alike_all() # FILE: in all forms
{
	local format
	alike 0 --source "$1"
	for format in xml table json prometheus; do alike 0 --source "$1" --format $format -v; done
}

metric() { printf "<metric type='%s' context='%s'%s><name>%s</name><value>%s</value></metric>\n" "$@"; }
uuid=6be3fdb8-bef5-6fec-b1b7-e61bbceab708
vm=" id='2' uuid='$uuid'"
other=" id='3' uuid='00112233-4455-6677-8899-aabbccddeeff'"
# numbers on which printf() and strtod() may differ
numbers=(0.1 1e22 1.7976931348623157e308 5e-324 2.2250738585072011e-308 0.30000000000000004
	123456789.123456789012345 9007199254740993.0 -0.0 1e-5)
document="<metrics>
$(metric string host '' HostName 'a &lt; b &#xA; &#x9;\r ü &#252; &#x1F600;')
$(metric string host '' empty '')
$(metric uint64 host " unit='MiB'" TotalPhyMem 18446744073709551615)
$(metric int64 host '' least -9223372036854775808)
$(metric real64 host '' TotalCPUTime 846.600000)
$(for i in "${!numbers[@]}"; do metric real64 host '' "number.$i" "${numbers[$i]}"; done)
$(metric real64 vm "$vm" TotalCPUTime 69.400000)
$(metric real64 vm "$vm unit='s'" vcpu.0.delay 5.25)
$(metric uint64 vm "$vm unit='B'" block.0.rd.bytes 4096)
$(metric uint32 vm "$vm" vcpu.current 4294967296)
$(metric string vm "$vm" sample.unavailable 'usage.cpu usage.steal')
</metrics>"
own=$document$'\r' # for this VM alone
image "$tmp/disk.img" "$own"
alike_all "$tmp/disk.img"
while read -r status name; do
	alike "$status" --source "$tmp/disk.img" --metric "$name"
done <<-EOF
	0 TotalPhyMem
	0 host:TotalCPUTime
	0 vm:TotalCPUTime
	0 HostName
	0 empty
	1 vcpu.current
	3 none
	3 vcpu.*
	4 usage.cpu
EOF
alike 2 --source "$tmp/disk.img" --why --watch 1
alike 0 --probe "$tmp/disk.img"
wine "$exe" --xenstore >"$tmp/out" 2>"$tmp/err" && fail "xenstore on Windows"
grep -q '^xenstore: not part of this' "$tmp/err" || fail "xenstore on Windows: $(cat "$tmp/err")"
for option in --none --metric '--format none' '--watch 0' extra '--uuid x' '--source x'; do
	status=0
	# shellcheck disable=SC2086 # words
	wine "$exe" $option >"$tmp/out" 2>"$tmp/err" || status=$?
	assert_eq "status of $option" $status 2
done
for i in "${!numbers[@]}"; do
	wine "$tmp/program.exe" "$tmp/disk.img" "number.$i" >"$tmp/out" || fail "the library: ${numbers[$i]}"
	python3 - "${numbers[$i]}" "$(cat "$tmp/out")" <<-'EOF' || fail "the library: ${numbers[$i]}"
		import sys
		assert float(sys.argv[1]) == float(sys.argv[2]), sys.argv
	EOF
done

# several VMs on one disk
image "$tmp/shared.img" "${document%</metrics>}$(metric real64 vm "$other" TotalCPUTime 7.5)
</metrics>"
alike_all "$tmp/shared.img"
for id in $uuid 00112233-4455-6677-8899-aabbccddeeff; do
	alike 0 --source "$tmp/shared.img" --uuid $id --metric vm:TotalCPUTime
	alike 0 --source "$tmp/shared.img" --uuid $id --format json
done
alike 3 --source "$tmp/shared.img" --metric vm:TotalCPUTime

# Wine's firmware has this machine's id, as it is or with the first three fields in the other order
id=$(cat /etc/machine-id 2>/dev/null)
if [ ${#id} = 32 ] && wine "$tmp/firmware.exe" | grep -q "$id"; then
	for id in "$id" "${id:6:2}${id:4:2}${id:2:2}${id:0:2}${id:10:2}${id:8:2}${id:14:2}${id:12:2}${id:16}"; do
		id="${id:0:8}-${id:8:4}-${id:12:4}-${id:16:4}-${id:20}"
		image "$tmp/firmware.img" "${document%</metrics>}$(metric real64 vm " id='4' uuid='$id'" TotalCPUTime 7.5)
			$(metric real64 vm "$other" TotalCPUTime 8.5)</metrics>"
		assert_eq "of the VM that it is" \
			"$(wine "$exe" --source "$tmp/firmware.img" --metric vm:TotalCPUTime 2>&1)" 7.5
	done
fi

# what is no disk, or a broken one; as short, and as long as the header says, to the byte
python3 - "$tmp" "$document" <<'EOF' || fail "images"
import random, struct, sys
where, document = sys.argv[1], sys.argv[2].encode()
def image(name, content, size=65536, signature=b"mvbd", busy=0, add=0, length=None):
    head = struct.pack(">4sIII", signature, busy, (sum(content) + add) % 2**32,
                       len(content) if length is None else length)
    open(f"{where}/{name}.img", "wb").write((head + content).ljust(size, b"\0")[:size or None])
image("signature", document, signature=b"mvbe")
image("bytes", bytes(range(256)))
image("control", b"<metrics>\r\n\x1a\x00</metrics>\r")
image("utf8", b"<metrics><metric type='string' context='host'><name>\xff\xc0\xaf</name>"
      b"<value>\xed\xa0\x80</value></metric></metrics>")
image("no-document", b"\n")
image("empty", b"")
image("exact", document, size=0)
image("large", b"<metrics>" + b" " * 300000 + b"</metrics>", size=0)
image("signed", b"<metrics>\xe4</metrics>", add=-256)
r = random.Random(1)
image("noise", r.randbytes(5000))
image("busy", document, busy=1)
image("sum", document, add=1)
image("short", document, length=70000)
image("longest", document, length=2**32 - 1)
open(f"{where}/no-header.img", "wb").write(b"mvbd\0\0\0")
open(f"{where}/nothing.img", "wb")
EOF
while read -r probe text json name; do
	alike "$text" -v --source "$tmp/$name.img"
	alike "$json" --source "$tmp/$name.img" --format json
	alike "$probe" --probe "$tmp/$name.img"
done <<-EOF
	0 0 0 exact
	0 0 0 large
	0 0 1 signed
	0 0 1 noise
	0 0 1 bytes
	0 0 1 control
	0 0 1 utf8
	0 0 1 no-document
	0 0 1 empty
	1 1 1 signature
	1 1 1 no-header
	1 1 1 nothing
	1 1 1 none
EOF
alike 1 -v --source "$tmp/"
# these are tried until a deadline
patient() { alike 1 -v --source "$tmp/$1.img"; }
declare -A waiting=()
for name in busy sum short longest; do
	(tmp=$tmp/wait-$name && mkdir "$tmp" && cp "${tmp%/*}/$name.img" "$tmp/" && patient $name) >"$tmp/said-$name" 2>&1 &
	waiting[$name]=$!
done

# ---- files ----

name="$tmp/диск ü '1'.img"
cp "$tmp/disk.img" "$name"
alike 0 --source "$name" --format json
VHOSTMD_SOURCE=$name alike 0 --format json
VHOSTMD_SOURCE=x alike 2 --format table
mkdir "$tmp/ф"
old="$tmp/ф/old.prom"
"$tool" --source "$tmp/disk.img" --format prometheus >"$tmp/prometheus"
for how in new there; do
	wine "$exe" --source "$tmp/disk.img" --textfile "$old" || fail "--textfile, $how"
	cmp "$old" "$tmp/prometheus" || fail "--textfile, $how"
	ln -s "$old" "$tmp/link.prom" 2>/dev/null
	echo before >"$old"
done
wine "$exe" --source "$tmp/disk.img" --textfile "$tmp/link.prom" || fail "--textfile, a link"
cmp "$old" "$tmp/prometheus" || fail "--textfile, a link"
wine "$exe" --source "$tmp/disk.img" -d 'Z:\'"${tmp//\//\\}"'\ф\new.xml' || fail "-d"
cmp "$tmp/ф/new.xml" <(printf %s "$own") || fail "-d"
wine "$exe" --source "$tmp/disk.img" -d NUL || fail "-d NUL"
echo before >"$old"
alike 1 --source "$tmp/empty.img" --textfile "$old"
alike 1 --source "$tmp/disk.img" --textfile "$tmp/absent/x.prom"
mkdir "$tmp/ф/folder.prom"
wine "$exe" --source "$tmp/disk.img" --textfile "$tmp/ф/folder.prom" 2>"$tmp/err" && fail "--textfile, a folder"
assert_eq "a folder" "$(cat "$tmp/err")" "vm-dump-metrics: $tmp/ф/folder.prom: Permission denied"
assert_eq "what is there" "$(cat "$old")" before
assert_eq "files that are left" "$(cd "$tmp/ф" && find . -type f | sort | tr '\n' ' ')" "./new.xml ./old.prom "

# a disk that changes, and one in its place
image "$tmp/watched.img" "<metrics>$(metric uint32 host '' n 1)</metrics>"
wine "$exe" --source "$tmp/watched.img" --metric n --watch 0.1 >"$tmp/watched" 2>&1 &
watcher=$!
shows() { grep -q "n  $1" "$tmp/watched"; }
for n in 1 2 3; do
	[ $n = 1 ] || image "$tmp/watched.img" "<metrics>$(metric uint32 host '' n $n)</metrics>"
	wait_for 20 shows $n || fail "--watch shows: $(cat "$tmp/watched")"
done
kill $watcher

# ---- the channel ----

serve() # NAME WORD...: its words are in $tmp/NAME
{
	wine "$tmp/pipe.exe" "\\\\.\\pipe\\$1" "${@:2}" >"$tmp/$1" 2>&1 &
	wait_for 20 grep -q ready "$tmp/$1" || fail "$1: $(cat "$tmp/$1")"
}
ask() # NAME OPTION...: status in $status
{
	status=0
	wine "$exe" --source "\\\\.\\pipe\\$1" "${@:2}" >"$tmp/$1-out" 2>"$tmp/$1-err" || status=$?
}
sends() # NAME WORD...: and the document is got
{
	serve "$1" accept "${@:2}" hold
	ask "$1"
	cmp "$tmp/document" "$tmp/$1-out" && [ $status = 0 ] ||
		fail "$1: status $status, $(cat "$tmp/$1" "$tmp/$1-err")"
	grep -q '^GET /metrics/XML$' "$tmp/$1" || fail "$1 hears: $(cat "$tmp/$1")"
}
printf '%s\n' "$document" >"$tmp/document"
printf '%s\n\n' "$document" >"$tmp/answer"
printf '<metrics>\n<!-- old -->\n</metrics>\n\n' >"$tmp/stale"
cat "$tmp/stale" "$tmp/answer" >"$tmp/both"
printf 'INVALID REQUEST\n\n' >"$tmp/refusal"
printf '\n\n<metrics\n\n\377\0\n\nx\n\n' >"$tmp/garbage"
head -c 300 "$tmp/answer" >"$tmp/part-1"
tail -c +301 "$tmp/answer" >"$tmp/part-2"

sends plain hear "$tmp/answer"
sends parts hear "$tmp/part-1" "$tmp/part-2"
# what another program asked for and did not read comes first
sends stale hear "$tmp/both"
sends begun "$tmp/garbage" hear "$tmp/garbage" "$tmp/answer"
sends refused hear "$tmp/refusal" hear "$tmp/answer"
serve json accept hear "$tmp/answer" hold
ask json --metric TotalPhyMem -v
assert_eq "--metric" "$status $(cat "$tmp/json-out" "$tmp/json-err")" "0 18446744073709551615"
serve no accept hear "$tmp/refusal" hear "$tmp/refusal" hear "$tmp/refusal" hold
ask no
assert_eq "refused" "$status $(head -n 1 "$tmp/no-err")" '1 \\.\pipe\no: the host refused the request'
python3 -c 'import sys; sys.stdout.write("<metrics>" + " " * 999991)' >"$tmp/endless"
mapfile -t endless < <(yes "$tmp/endless" | head -n 20)
serve much accept hear "${endless[@]}" hold
ask much
assert_eq "without an end" "$status $(head -n 1 "$tmp/much-err")" \
	'1 \\.\pipe\much: header, length, checksum or document is wrong'
serve gone accept hear "$tmp/part-1"
ask gone
assert_eq "a host that goes" "$status $(head -n 1 "$tmp/gone-err")" '1 \\.\pipe\gone: the device fails'
ask nobody
assert_eq "nobody there" "$status $(head -n 1 "$tmp/nobody-err")" '1 \\.\pipe\nobody: No such file or directory'

# no answer, or only the beginning of one; who has the port lets it go when half of the time is over,
# or never
serve silent accept hear hold
serve half accept hear "$tmp/part-1" hold
serve let-go accept hold accept hear "$tmp/answer" hold
serve keep accept hold
declare -A holder=() late=()
for name in let-go keep; do
	wine "$tmp/pipe.exe" "\\\\.\\pipe\\$name" take >"$tmp/$name-taker" 2>&1 &
	holder[$name]=$!
	wait_for 20 grep -q taken "$tmp/$name-taker" || fail "take $name: $(cat "$tmp/$name-taker")"
done
for name in silent half let-go keep; do
	(ask $name; echo "$status" >"$tmp/$name-status") &
	late[$name]=$!
done
sleep 4 # of 10
kill -KILL "${holder[let-go]}"
wait "${holder[let-go]}" 2>/dev/null
wait "${late[let-go]}"
cmp "$tmp/document" "$tmp/let-go-out" || fail "who waits for the port: $(cat "$tmp/let-go-err")"
while IFS='|' read -r name said; do
	wait "${late[$name]}"
	assert_eq "$name" "$(cat "$tmp/$name-status") $(head -n 1 "$tmp/$name-err")" "1 \\\\.\\pipe\\$name: $said"
done <<-EOF
	silent|no answer in time
	half|no answer in time
	keep|another program is using it
EOF

# ---- what was being tried meanwhile ----

for name in "${!waiting[@]}"; do
	wait "${waiting[$name]}" || fail "$name: $(cat "$tmp/said-$name")"
done
exit 0
