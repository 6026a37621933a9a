# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What the tests with real guests share.  A guest is known by its uuid.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

guest_prefix+=-$(basename "$0" .sh) # libvirt's cgroups are those of all libvirtds
consoles=$top/tests/guest/console.py
static_tool=$top/build-clang/guest/vm-dump-metrics

# libvirt with that QEMU; skips where there is none.
need_libvirt()
{
	need_fuse
	[ -x "$1" ] || skip "needs $1"
	libvirt_start
}

need_halting_guests() { need_libvirt /usr/bin/qemu-system-x86_64; }

# Everything that guests with a system in them need: need_guests [PROGRAM_FOR_THEM...]
need_guests()
{
	need_libvirt "$guest_qemu"
	guest_kernel
	# the guest has no libc: the tool of a build without sanitizers, linked statically
	CC=clang build "$top/build-clang" -Dbuildtype=release -Dwerror=true
	cp "$guest_cache/vmlinuz" "$tmp/vmlinuz"
	guest_initramfs "$tmp/initrd" "$static_tool" "$@"
}

# guest_takes FILE...: as they lie here, with the libraries that they load, into $guest_files
guest_takes()
{
	{ printf '%s\n' "$@"; ldd "$@" 2>/dev/null | grep -o '/[^ :]*[^:] (0x' | cut -d' ' -f1; } | sort -u |
		while read -r file; do
			[ -e "$guest_files$file" ] || install -D "$file" "$guest_files$file"
		done
}

# guest_takes_python MODULE...: there $python runs, with these
guest_takes_python()
{
	local files
	python3 -S - "$@" >"$tmp/modules" <<-'EOF'
		import encodings.ascii, encodings.latin_1, importlib, sys
		for name in sys.argv[1:]:
		    importlib.import_module(name)
		print(*(m.__file__ for n, m in sys.modules.items() if n != "__main__" and getattr(m, "__file__", None)), sep="\n")
	EOF
	mapfile -t files <"$tmp/modules"
	python=$(python3 -c 'import sys; print(sys.executable)')
	guest_takes "$python" "${files[@]}"
	python="PYTHONHOME=$(python3 -c 'import sys; print(sys.prefix)') $python"
}

new_uuid() { cat /proc/sys/kernel/random/uuid; }

# Begins a halting guest, beside up to three others: libvirt asks each QEMU hundreds of things, one
# after another, and waits for each answer: begin_halting NAME UUID DEVICES
begin_halting()
{
	[ ${#halting[@]} -lt 4 ] || halting_up
	guest_start_halting "$@" &
	halting+=($!)
}
halting=()

# From here on they do not halt, but go round in circles: before the first of them.
guest_busy_image()
{
	{
		printf '\xfa\xeb\xfe'
		head -c 507 /dev/zero
		printf '\x55\xaa'
		head -c 1048064 /dev/zero
	} >"$tmp/halt.img"
}

# Waits until those that were begun run.
halting_up()
{
	local pid
	for pid in "${halting[@]}"; do wait "$pid" || fail "a halting guest does not start"; done
	halting=()
}

# Starts a guest: guest_start NAME UUID DEVICES; waits until it answers.
guest_start() { guest_begin "$@" && guest_up "$2"; }

# The same without waiting: several may come up beside each other.
guest_begin()
{
	guest_xml "$1" "$2" "$tmp" guest=test "$3" >"$tmp/$2.xml"
	guest_hold "$2"
	guest_create "$2" "$tmp/$2.xml" || fail "guest $1 does not start"
}

# Holds the console of a guest that is about to be started from DIR, $tmp without one:
# guest_hold UUID [DIR].  All that it prints is in $tmp/UUID.log.
guest_hold()
{
	python3 "$consoles" "${2:-$tmp}/$1.console" "$tmp/$1.log" "$tmp/$1.fifo" || fail "no console"
}

guest_up()
{
	wait_for 120 guest_marks "$1" 1 || fail "guest $1 does not come up: $(tail -n 5 "$tmp/$1.log")"
}

# True once the guest has ended so many commands.  A mark may have come in part.
guest_marks() { [ "$(guest_count_marks "$1")" -ge "$2" ]; }
guest_count_marks() { grep -c '^GUEST STATUS [0-9]*\.$' "$tmp/$1.log"; }

# Runs a command in a guest, prints its output, returns its status: guest_run UUID COMMAND; that takes
# at most $GUEST_SECONDS, 60 without it
guest_run()
{
	local marks
	[[ $2 != *$'\n'* ]] || fail "each line would have a mark of its own: $2"
	marks=$(guest_count_marks "$1")
	printf '%s\n' "$2" 1<>"$tmp/$1.fifo" # nobody reads that when the guest is gone
	wait_for "${GUEST_SECONDS:-60}" guest_marks "$1" $((marks + 1)) || fail "guest $1 does not answer to: $2"
	# a mark begins with a newline: where the output had one at its end, an empty line is before it
	awk -v n="$marks" '
		/^GUEST STATUS [0-9]*\.$/ {
			if (++m > n) {
				if (held && line != "") print line
				status = $3 + 0
				exit
			}
			held = 0
			next
		}
		m == n {
			if (held) print line
			line = $0
			held = 1
		}
		END { exit status }' "$tmp/$1.log"
}

# A guest with watch-metrics reads its disk (-b) or its channel (-i) from here on.
guest_watch() { guest_run "$1" "watch-metrics $2 &" || fail "the guest cannot watch"; }

# Ends that; prints what it saw: guest_seen UUID OPTION
guest_seen()
{
	guest_run "$1" "touch /tmp/stop; until [ -e /tmp/seen$2 ]; do sleep 0.1; done; cat /tmp/seen$2"
}
guest_saw_fault='^(error|lost|fell|changed|rate) '

# The same: guest_watched UUID OPTION SESSION...: no reading failed, nothing was lost or fell,
# and the guest was told of these sessions, one after another.
guest_watched()
{
	guest_seen "$1" "$2" >"$tmp/watched"
	cat "$tmp/watched"
	grep -qE "$guest_saw_fault" "$tmp/watched" && fail "$2: the guest saw that"
	grep -qx "sessions ${*:3}" "$tmp/watched" || fail "$2: the sessions were ${*:3}"
	[ "$(sed -n 's/^documents //p' "$tmp/watched")" -ge 20 ] || fail "$2: the guest did not watch"
}

# A host's reader of a VM's files and counters sees all of it without a gap: steady_start FOLDER
steady_start()
{
	mkfifo "$tmp/go"
	python3 "$top/tests/guest/steady.py" "$1" "$mnt/metrics.prom" <"$tmp/go" >"$tmp/seen" &
	steady=$!
	exec {steady_go}>"$tmp/go"
	wait_for 10 grep -q ready "$tmp/seen" || fail "the reader does not start"
}

steady_end()
{
	echo >&"$steady_go" # others may have inherited it
	wait "$steady"
	grep -E '^(gap|fell|changed) ' "$tmp/seen" && fail "what must not be seen"
	[ "$(sed -n 's/^sweeps //p' "$tmp/seen")" -ge 20 ] || fail "the reader did not read: $(cat "$tmp/seen")"
}

guest_stop() { virsh_system destroy "$1" >/dev/null 2>&1; }

# Name, type, context and unit of each metric of a document, one a line, in order.
metric_set()
{
	python3 - "$1" <<-'EOF'
		import sys, xml.etree.ElementTree as ET
		for m in ET.parse(sys.argv[1]).getroot():
		    assert m.tag == "metric" and [c.tag for c in m] == ["name", "value"], m
		    print(m.find("name").text, m.get("type"), m.get("context"),
		          m.get("unit") or "-", len(m.attrib))
	EOF
}

# Prints an interface that needs no network: guest_nic_xml MAC
guest_nic_xml() { echo "<interface type='ethernet'><mac address='$1'/><model type='virtio'/></interface>"; }
