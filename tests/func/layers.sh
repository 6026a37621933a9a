#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The layers of docs/internals.md hold, every header stands alone, scripts are clean.
. "$(dirname "$0")/../lib.sh"
cd "$top" || exit 1

# Who may include whom: the table of docs/internals.md.  Every folder under src stands here.
declare -A allowed=(
	[util]="util"
	[bpf]="bpf util"
	[core]="core util"
	[model]="model core util"
	[foreign]="foreign util"
	[conf]="conf core util"
	[collect/kernel]="collect/kernel bpf model core util"
	[collect/libvirt]="collect/libvirt foreign model core util"
	[collect/actions]="collect/actions foreign model core util"
	[handover]="handover util"
	[mdisk]="mdisk handover core util"
	[fs]="fs mdisk handover core util"
	[virtio]="virtio core handover util"
	[http]="http core util"
	[control]="control util"
	[xenstore]="xenstore core util"
	[keeper]="keeper bpf handover util"
)
for folder in $(find src -name '*.c' -printf '%h\n' | sort -u); do
	layer=${folder#src/}
	[ "$layer" = src ] && continue
	[ -n "${allowed[$layer]:-}" ] || fail "$folder has no place among the layers"
	for used in $(sed -n 's/^#include "\(.*\)\/[^/]*"$/\1/p' "$folder"/*.[ch] | sort -u); do
		[[ " ${allowed[$layer]} " == *" $used "* ]] || fail "$folder includes $used/"
	done
done
# what administrators run knows the daemon by its files and its configuration
for used in $(sed -n 's/^#include "\(.*\)\/[^/]*"$/\1/p' ctl/*.[ch] | sort -u); do
	[[ " ctl util core conf foreign " == *" $used "* ]] || fail "ctl includes $used/"
done
outside() { find src -name '*.[ch]' -exec grep -l "^#include <$1" {} + | grep -v "$2"; }
outside fuse '^src/fs/' && fail "FUSE outside src/fs"
outside libvirt '^src/collect/libvirt/' && fail "libvirt outside src/collect/libvirt"
outside microhttpd '^src/http/' && fail "libmicrohttpd outside src/http"
outside bpf '^src/bpf/' && fail "libbpf outside src/bpf"
outside zlib '^src/http/' && fail "zlib outside src/http"
outside libxml '^src/conf/\|^src/foreign/\|^src/collect/actions/output_xml\|^src/collect/libvirt/domain_xml' &&
	fail "libxml2 in other places"

mkdir "$tmp/alone"
while read -r header; do
	echo "#include \"$header\"" >"$tmp/alone/${header//\//-}.c"
done < <(find src guest ctl -name '*.h')
flags=$(pkg-config --cflags libvirt libxml-2.0)
# shellcheck disable=SC2086 # flags are words
find "$tmp/alone" -name '*.c' -print0 | xargs -0 -n 20 -P "$(nproc)" \
	cc -std=gnu17 -D_GNU_SOURCE -Wall -Werror -fsyntax-only -I. -Isrc -Iguest -Ictl $flags 2>"$tmp/err" ||
	fail "a header does not compile alone: $(head -n 6 "$tmp/err")"

# what they source is read along where that tells more: it takes ten times as long
options=(-S warning -e 'SC1091,SC2154')
printf '%s\n' scripts/run scripts/test scripts/bench scripts/fuzz scripts/pictures scripts/*.sh tests/lib.sh \
	tests/debian.sh tests/*/*.sh tests/*/*-inside debian/tests/service libexec/virsh .ci/run >"$tmp/scripts"
xargs -n 8 -P "$(nproc)" shellcheck -f gcc "${options[@]}" <"$tmp/scripts" >"$tmp/remarks"
r=$?
if [ $r != 0 ] || [ -s "$tmp/remarks" ]; then
	[ $r = 123 ] && grep -q . "$tmp/remarks" || fail "shellcheck: status $r"
	cut -d: -f1 "$tmp/remarks" | sort -u | xargs -n 1 -P "$(nproc)" \
		shellcheck -x -P SCRIPTDIR "${options[@]}" || fail shellcheck
fi

# shellcheck disable=SC2046 # our own file names
clang-format --dry-run -Werror $(find src guest ctl tests -name '*.[ch]') 2>"$tmp/err" ||
	fail "clang-format: $(grep -c error "$tmp/err") places, first $(head -n 1 "$tmp/err")"

# what is generated from tables is up to date
"$build/vhostmd" --list-sources=markdown | diff - <(sed '1,/^What a/d' docs/sources.md) ||
	fail "docs/sources.md: run vhostmd --list-sources=markdown"
for option in $("$build/vhostmd" --help | grep -o -- '--[a-z-]*'); do
	grep -q -- "$option" docs/man/vhostmd.8.scd || fail "$option is not in vhostmd(8)"
done
# who is called *_locked() insists on it first
naked=$(find src -name '*.c' -exec awk '
	/^[a-z].*[a-z]_locked\(/ && !/;$/ { name = $0; open = 1 }
	open && /^{/ { getline; if ($0 !~ /assert_locked\(/) print FILENAME ": " name; open = 0 }' {} +)
[ "$naked" = "" ] || fail "without assert_locked(): $naked"
# the list of locks is the locks that there are
find src -name '*.[ch]' -exec awk '
	/^(static )?struct [a-z_]+ \{/ { in_struct = $0; sub(/.*struct /, "", in_struct); sub(/ .*/, "", in_struct) }
	/^\tstruct lock [a-z_]+;/ { sub(/;.*/, "", $3); print in_struct "." $3; next }
	/^(static )?struct lock [a-z_]+[; ]/ { sub(/.*struct lock /, ""); sub(/[ ;].*/, ""); print }' {} + |
	sort >"$tmp/locks"
sed -n '/^## Locks/,/^## Where/p' docs/architecture.md | grep -o '`[a-z_.]*`' | tr -d '`' |
	grep 'lock$\|\.reports$' | sort -u | diff "$tmp/locks" - ||
	fail "the locks of docs/architecture.md are not those of src"
# nothing writes text of any length, nor takes what is no number for one
unbounded=$(find src guest ctl -name '*.c' -exec grep -nE \
	'\<(strcpy|stpcpy|strcat|v?sprintf|gets|ato[ifl]|atoll)\(' {} +)
[ "$unbounded" = "" ] || fail "functions without a bound: $unbounded"
# who reads outside bytes has a fuzz target
while read -r file; do
	grep -q -F "\`$file\`" tests/fuzz/README.md || fail "$file is not in tests/fuzz/README.md"
done < <(find src guest ctl -name '*.c' -exec grep -lE \
	'\<(\w*parse\w*|strtok_r|sscanf|getopt\w*|recv|pread_text|read_file_at|read_all)\(|xmlNode' {} +)
for target in tests/fuzz/fuzz-*.c; do
	name=${target##*/fuzz-}
	grep -q -F "\`${name%.c}\`" tests/fuzz/README.md || fail "$target is not in tests/fuzz/README.md"
done
[ "$(find src guest ctl tests -name '*.[ch]' -print0 | xargs -0 wc -l | awk '$2 != "total" && $1 > 800')" = "" ] ||
	fail "a file is longer than 800 lines"
exit 0
