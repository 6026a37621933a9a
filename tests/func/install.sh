#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What is installed is found where the daemon and the manual say, and replaces nothing of a site.
. "$(dirname "$0")/../lib.sh"

install_to_root()
{
	DESTDIR=$tmp/root meson install -C "$build" --no-rebuild >"$tmp/out" 2>&1 ||
		fail "meson install: $(tail -n 5 "$tmp/out")"
}
install_to_root
conf=$("$build/vhostmd" --help | sed -n 's/.*configuration (\(.*\))$/\1/p')
[ "$conf" != "" ] || fail "--help names no configuration"
for name in vhostmd.conf vhostmd-sap.conf vhostmd-kubevirt.conf; do
	cmp "$top/conf/$name" "$tmp/root${conf%/*}/$name" || fail "$name is not beside $conf"
done
find "$tmp/root" -name vhostmd.8 -exec cat {} + | sed 's|\\&||g' | grep -qF "$conf" ||
	fail "vhostmd(8) does not name $conf"

# A15: what the existing one has, and configurations and programs of its users call
pagerate=$(find "$tmp/root" -path '*/share/vhostmd/scripts/pagerate.pl')
[ -x "$pagerate" ] || fail "no pagerate.pl"
"$pagerate" | grep -qxE '[0-9]+\.[0-9]{6},[0-9]+\.[0-9]{6}' || fail "pagerate.pl prints $("$pagerate")"
for name in bin/vm-dump-metrics bin/vm_dump_metrics sbin/vm-dump-metrics bin/vhostmd-guestfs; do
	find "$tmp/root" -path "*/$name" | grep -q . || fail "no $name"
done
for name in vhostmd/libmetrics.h vhostmd/metrics.h pkgconfig/libmetrics.pc libmetrics.so.0; do
	find "$tmp/root" -path "*/$name" | grep -q . || fail "no $name"
done

# a user for the worker, a group in guests
sysusers=$(find "$tmp/root" -path '*/sysusers.d/vhostmd.conf')
[ -e "$sysusers" ] && [ -e "${sysusers%/*}/vhostmd-guest.conf" ] || fail "no files for systemd-sysusers"
if command -v systemd-sysusers >/dev/null; then
	mkdir "$tmp/etc-root" "$tmp/etc-root/etc"
	systemd-sysusers --root="$tmp/etc-root" "$sysusers" "${sysusers%/*}/vhostmd-guest.conf" 2>"$tmp/err" ||
		fail "systemd-sysusers: $(cat "$tmp/err")"
	grep -q '^vhostmd-guest:' "$tmp/etc-root/etc/group" || fail "no group: $(cat "$tmp/etc-root/etc/group")"
	grep -q '^vhostmd:.*:/:/usr/sbin/nologin$' "$tmp/etc-root/etc/passwd" || fail "no user: $(cat "$tmp/etc-root/etc/passwd")"
fi

# what udev's rules call is there
rules=$(find "$tmp/root" -path '*/udev/rules.d/70-vhostmd-guest.rules')
[ "$rules" != "" ] || fail "no rules for udev"
probe=$(sed -n 's/^PROGRAM!="\([^ ]*\) .*/\1/p' "$rules")
[ -x "$tmp/root$probe" ] || fail "udev's rules call '$probe'"
if udevadm verify --help >/dev/null 2>&1; then # from version 254 on
	udevadm verify --root="$tmp/etc-root" "$rules" >"$tmp/out" 2>&1 || fail "udevadm verify: $(cat "$tmp/out")"
fi

# the file of a site that had the existing vhostmd
echo own >"$tmp/root$conf"
install_to_root
assert_eq "the site's own configuration" "$(cat "$tmp/root$conf")" own

# completions know each option, and what may follow
for program in vhostmd ctl/vhostmdctl guest/vm-dump-metrics; do
	binary=$build/$program program=${program##*/}
	"$binary" --help | grep -oE '^ +(-[a-z], )?--[a-z-]+' | grep -oE -- '--[a-z-]+' | sort -u >"$tmp/options"
	for file in "bash-completion/completions/$program" "zsh/site-functions/_$program"; do
		file=$(find "$tmp/root" -path "*/share/$file")
		[ "$file" != "" ] || fail "no completions of $program"
		while read -r option; do
			grep -qE -- "$option([^a-z-]|\$)" "$file" || fail "$file does not know $option"
		done <"$tmp/options"
	done
done
completed() # WORD...: what is offered for the last one
{
	bash --norc -c 'for f in "$0"/*; do . "$f"; done
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
		"$(complete -p "$1" | sed "s/.* -F \([^ ]*\) .*/\1/")" && printf "%s " "${COMPREPLY[@]}"' \
		"$(find "$tmp/root" -path '*/share/bash-completion/completions')" "$@"
}
assert_eq "vhostmd --mou" "$(completed vhostmd --mou)" "--mount --mount-only "
assert_eq "vhostmd -u roo" "$(completed vhostmd -d -u roo)" "root "
assert_eq "a verb" "$(completed vhostmdctl rel)" "reload "
assert_eq "a bus" "$(completed vhostmdctl attach --bus sa)" "sata "
assert_eq "a level" "$(completed vhostmdctl log w)" "warning "
assert_eq "a file" "$(completed vhostmd --check-config "$tmp/root/")" "$(compgen -f "$tmp/root/" | xargs) "
assert_eq "a format" "$(completed vm-dump-metrics --format j)" "json "
assert_eq "another name" "$(completed vm_dump_metrics --te)" "--textfile "
