#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What README, docs and the manual pages tell people to write, they can write: every code block is run,
# what would change the host in a place of our own.  Links and names of pages lead somewhere.
. "$(dirname "$0")/../lib.sh"
need_fuse
uri=test:///default
root=$tmp/root            # where things are installed
release=$top/build-clang  # what is installed; the guests' tests need it, too
# of a command that ended the shell
at_exit "[ \$r = 0 ] || tail -n 3 '$tmp/said'"

pages=(README.md docs/*.md docs/man/*.scd)
python3 "$top/tests/func/links.py" "${pages[@]}" CHANGELOG.md CONTRIBUTING.md tests/fuzz/README.md >"$tmp/links" || fail "$(cat "$tmp/links")"

# Each block is a file: DOCUMENT:LINE.LANGUAGE, where docs/a.md is docs-a.md
mkdir "$tmp/blocks"
python3 - "$tmp/blocks" "${pages[@]}" <<'EOF2'
import sys, textwrap
for path in sys.argv[2:]:
    block = None
    for number, line in enumerate(open(path), 1):
        if not line.lstrip(" ").startswith("```"):
            if block is not None:
                block.append(line)
        elif block is None:
            name = path.replace("docs/man/", "").replace("/", "-")
            block, name = [], f"{name}:{number:03}.{line.strip()[3:].strip()}"
        else:
            with open(f"{sys.argv[1]}/{name}", "w") as f:
                f.write(textwrap.dedent("".join(block)) if line[0] == " " else "".join(block))
            block = None
EOF2
[ "$(ls "$tmp/blocks" | wc -l)" -ge 45 ] || fail "blocks: $(ls "$tmp/blocks")"

# ---- what commands are here ----

apt-get()
{
	# func/packages installs them
	[[ $* == 'install ./build-packages/vhostmd_'*.deb ]] && return
	[ "$1" = install ] && diff <(printf '%s\n' "${@:2}" | sort) \
		<(printf '%s\n' "${build_packages[@]}" | sort)
}
meson()
{
	case "$1 $2 ${3-}" in
	"setup build "*) (unset -f meson ninja && CC=clang build "$release" -Dwerror=true "${@:3}") &&
		command meson configure "$release" "${@:3}" ;;
	"setup --cross-file data/windows-x86_64.ini") [ "$4" = build-windows ] ;; # func/windows
	"install -C build") DESTDIR=$root command meson install -C "$release" --no-rebuild ;;
	*) false ;;
	esac >"$tmp/out" 2>&1
}
ninja()
{
	case $* in
	"-C build-windows") ;;
	"-C build") command ninja -C "$release" >"$tmp/out" ;;
	*) false ;;
	esac
}
vhostmd()
{
	case $* in
	'') CONF=$root/etc/vhostmd/vhostmd.conf build=$root/usr/sbin start_daemon -c $uri ;;
	--check-config*) "$root/usr/sbin/vhostmd" "$@" >"$tmp/out" && [ -s "$tmp/out" ] ;;
	*) false ;;
	esac
}
# VERB [OPTION...]: the real one, which attaches web01 to nothing
vhostmdctl()
{
	local words=("${@/#web01/test}") verb=$1 status=0
	case $verb in
	attach | detach) words+=(--dry-run --connect "$uri") ;;
	upgrade) words+=(--program "$root/usr/sbin/vhostmd") ;;
	doctor)
		[ -x "$root/usr/bin/vhostmdctl" ] || return 0 # README, where packages are installed
		words+=(--pid-file "$tmp/pid" --file "$root/etc/vhostmd/vhostmd.conf" --connect "$uri") ;;
	esac
	"$root/usr/bin/vhostmdctl" "${words[@]}" --mount "$mnt" >"$tmp/out" 2>&1 || status=$?
	case $verb:$status in
	detach:0) ;; # there is nothing
	doctor:[12] | *:0) [ -s "$tmp/out" ] ;;
	*) false ;;
	esac
}
# in a guest whose disk is that of the test driver's VM; of which libvirt tells next to nothing
vm-dump-metrics()
{
	local vm
	vm=$(find "$mnt/metrics/vm-by-uuid" -mindepth 1 -printf '%f\n' | head -n 1)
	case $* in
	--why) return ;; # it takes two periods; below
	"--metric vm:"*) grep -q "<name>${2#vm:}</name>" "$root/etc/vhostmd/vhostmd.conf"; return ;;
	"--source channel") return ;; # guest/guest
	esac
	# what a configuration has that was reloaded just now is there with the next sample
	dumped() { "$root/usr/bin/vm-dump-metrics" --source "$mnt/disk/$vm.img" "$@" >"$tmp/out" && [ -s "$tmp/out" ]; }
	wait_for 5 dumped "$@"
}
unit() { [ -e "data/$1.service.in" ]; }
systemctl()
{
	case "$1 ${2-}" in
	daemon-reload\ ) [ $# = 1 ] ;;
	"enable --now") [ $# = 3 ] && unit "$3" ;;
	"stop "* | "restart "*) [ $# = 2 ] && unit "$2" ;;
	*) false ;;
	esac
}
# scripts/package, func/packages and func/rpm do what these do
git() { [ "$1 $2" = "archive --prefix=vhostmd-$version/" ] && [ "$3 $4" = "--output=vhostmd-$version.tar.gz HEAD" ]; }
rpmbuild() { [ "$*" = "-ta vhostmd-$version.tar.gz" ] && [ -e packaging/rpm/vhostmd.spec ]; }
version=$(sed -n "s/^ *version: '\(.*\)',/\1/p" meson.build)
# Proxmox' program: the options are QEMU's
qm()
{
	[ "$*" = "config 100" ] && return
	[ "$1 $2 $3 $#" = "set 100 --args 4" ] || return
	command -v qemu-system-x86_64 >/dev/null || return 0
	local words
	read -ra words <<<"${4/UUID/$(cat /proc/sys/kernel/random/uuid)}"
	printf 'info block\nquit\n' | qemu-system-x86_64 -nodefaults -display none -S -monitor stdio "${words[@]}" >"$tmp/out" 2>&1 &&
		grep -q '^vhostmd.*(raw, read-only)' "$tmp/out"
}
# SELinux' module: func/rpm
checkmodule() { [ "$*" = "-M -m -o vhostmd_disks.mod contrib/selinux/vhostmd_disks.te" ] && [ -e "$5" ]; }
semodule_package() { [ "$*" = "-o vhostmd_disks.pp -m vhostmd_disks.mod" ]; }
semodule() { [ "$*" = "-i vhostmd_disks.pp" ]; }
# no SELinux here: that there are such commands with such options is all that is known
setsebool() { [ "$1" = -P ] && [ $# = 3 ]; }
semanage() { [ "$1 $2 $3 $4 $5" = "fcontext -a -t bin_t /usr/sbin/vhostmd" ]; }
restorecon() { [ -e "$root$1" ]; }
# tests/func/systemd.sh has such fields in a journal
journalctl()
{
	case $* in
	"-u vhostmd" | "-u vhostmd -p warning" | "-u vhostmd VM_NAME="*) ;;
	*) false ;;
	esac
}
# in guests: tests/guest/udev.sh
systemd-sysusers() { [ $# = 0 ] && [ -e "$root/usr/lib/sysusers.d/vhostmd-guest.conf" ]; }
usermod() { [ "$1 $3" = "-aG USER" ] && grep -q "^g  *$2 " "$root/usr/lib/sysusers.d/vhostmd-guest.conf"; }
udevadm()
{
	[ "$*" = "control --reload" ] ||
		[ "$*" = "trigger --subsystem-match=block --subsystem-match=virtio-ports" ]
}

# ---- kinds of blocks ----

run_commands()
{
	local line
	sed -e ':a; /\\$/ { N; s/\\\n//; ba }' -e 's/^scripts\/\(run\|test\|package\)/bash & --help/' \
		-e 's/^scripts\/bench\>/benchmark/' -e "s|/etc/vhostmd|$root&|g; s|/usr/libexec/vdsm|$root&|g; s|/run/vhostmd|$mnt|g" \
		"$1" >"$tmp/commands"
	while read -r line <&3; do
		eval "$line" >"$tmp/said" 2>&1 || fail "$1: $line: $(tail -n 5 "$tmp/said" "$tmp/out")"
	done 3<"$tmp/commands"
}

benchmark() # [NAME] [OPTION...]
{
	[ $# = 0 ] && return
	[ -e "tests/bench/$1.sh" ] && { [ $# = 1 ] || grep -q -- "$2" "tests/bench/$1.sh"; }
}

# where node_exporter looks: tests/func/http.sh has the real one read the file
ln() { [ "$1" = -s ] && [ -s "$2" ] && [[ $3 = /var/lib/prometheus/node-exporter/*.prom ]]; }

nginx_server() # FILE: nginx takes it, with certificates that are some
{
	local dir=$tmp/nginx
	mkdir -p "$dir"
	openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=test -keyout "$dir/vhostmd.key" -out "$dir/vhostmd.crt" 2>"$tmp/out" &&
		cp "$dir/vhostmd.crt" "$dir/prometheus-ca.crt" || fail "no certificate: $(cat "$tmp/out")"
	{
		echo "pid $dir/pid; error_log stderr; events {} http { access_log off;"
		sed "s|/etc/nginx/|$dir/|" "$1"
		echo "}"
	} >"$dir/conf"
	nginx -t -q -c "$dir/conf" >"$tmp/out" 2>&1 || fail "$1: $(cat "$tmp/out")"
}

options() # FILE: a drop-in of one of the units, or the options of the service
{
	local line
	while read -r line; do
		case $line in
		"[Service]") ;;
		RestrictAddressFamilies=*) grep -q '^RestrictAddressFamilies=' data/vhostmd.service.in || return ;;
		IPAddressAllow=*) grep -qx 'IPAddressDeny=any' data/vhostmd.service.in || return ;;
		Environment=MATCH=*) grep -q '^Environment=MATCH=' data/vhostmd-attach.service.in || return ;;
		VHOSTMD_OPTIONS=*)
			eval "$line"
			# shellcheck disable=SC2086 # options are words
			"$root/usr/sbin/vhostmd" $VHOSTMD_OPTIONS --version >/dev/null &&
				grep -q '^ExecStart=.* \$VHOSTMD_OPTIONS$' data/vhostmd.service.in || return ;;
		*) return 1 ;;
		esac
	done <"$1"
}

config() # FILE: describes a whole configuration
{
	"$build/vhostmd" --check-config "$1" >"$tmp/described" 2>&1 ||
		fail "$(cat "$tmp/described")"
}

shared_disk() # of vhostmd.conf(5), in a file around it
{
	{ echo "<vhostmd><globals>"; cat "$1"; echo "</globals><metrics/></vhostmd>"; } >"$tmp/around"
	config "$tmp/around"
	grep -q '^shared disk: yes' "$tmp/described" || fail "$1 makes no shared disk"
}

grants() # of vhostmd.conf(5), with the default configuration around: each set shows something
{
	sed -e "/<\/globals>/r $1" "$top/conf/vhostmd.conf" >"$tmp/around"
	config "$tmp/around"
	sed -n '/^grants, what/,/other VMs/p' "$tmp/described" >"$tmp/grants"
	grep -q ': nothing$\|warning' "$tmp/described" && fail "$1: $(cat "$tmp/described")"
	assert_eq "who has a set by $1" "$(grep -c ': set ' "$tmp/grants")" "$(grep -c '<vm \|<default ' "$1")"
}

metadata() # of vhostmd.conf(5), in a file around it: all of it is used
{
	{ echo "<vhostmd><globals/><metrics>"; cat "$1"; echo "</metrics></vhostmd>"; } >"$tmp/around"
	config "$tmp/around"
	assert_eq "metrics of $1" "$(grep -c ' domain.metadata {http' "$tmp/described")" "$(grep -c '<metric ' "$1")"
}

devices() # FILE: libvirt knows them, each with what was meant
{
	command -v virsh >/dev/null || return 0
	local uuid
	uuid=$(cat /proc/sys/kernel/random/uuid)
	{
		echo "<domain type='test'><name>x</name><memory>1024</memory><os><type>hvm</type></os><devices>"
		sed "s/UUID/$uuid/" "$1"
		echo "</devices></domain>"
	} >"$tmp/domain.xml"
	printf 'define %s --validate\ndumpxml x\n' "$tmp/domain.xml" | virsh -q -c $uri >"$tmp/defined" 2>&1
	local element
	for element in "<source file='/run/vhostmd/disk/$uuid.img'" '<readonly/>' \
		"<channel type='unix'>" "name='org.github.vhostmd.1'"; do
		grep -qF "$element" "$tmp/defined" || fail "$1: no $element: $(cat "$tmp/defined")"
	done
}

tree() # FILE: what is drawn is there
{
	local path rest
	while read -r path rest; do
		path=${path#/run/vhostmd/}
		path=${path%%<*}
		[ -e "$mnt/$path" ] || fail "$1: $mnt/$path is not there"
		case $rest in *.prom' '*) [ -e "$mnt/${rest%% *}" ] || fail "$1: no $rest" ;; esac
	done <"$1"
}

live() # FILE: a command that goes on printing a value that changes
{
	sed "s|FILE\$|$mnt/metrics/host/Uptime|" "$1" >"$tmp/live"
	timeout 30 bash "$tmp/live" >"$tmp/values" &
	local pid=$!
	several() { [ "$(sort -u "$tmp/values" | wc -l)" -ge 3 ]; }
	wait_for 20 several || fail "$1 shows: $(cat "$tmp/values")"
	kill $pid
}

by_hand() # FILE: makes a file that is written on as an older vhostmd's
{
	mkdir "$tmp/by-hand"
	sed "s|/dev/shm/|$tmp/by-hand/|g" "$1" >"$tmp/commands"
	bash -e "$tmp/commands" || fail "$1"
	echo "<vhostmd><globals><disk><path>$tmp/by-hand/vhostmd0</path></disk></globals><metrics/></vhostmd>" \
		>"$tmp/around"
	config "$tmp/around"
	grep -q "^$tmp/by-hand/vhostmd0 is of an older vhostmd" "$tmp/described" ||
		fail "$1 makes: $(cat "$tmp/described")"
}

reasons() # FILE: the causes of which the tool speaks are those of the manual
{
	local status=0 vm
	vm=$(find "$mnt/metrics/vm-by-uuid" -mindepth 1 -printf '%f\n' | head -n 1)
	"$root/usr/bin/vm-dump-metrics" --why --interval 0.5 --source "$mnt/disk/$vm.img" >"$tmp/why" 2>&1 || status=$?
	[[ $status = [056] ]] || fail "--why: $(cat "$tmp/why")"
	diff <(grep '^  ' "$1" | cut -c 3-17 | sort -u) <(grep '^  ' "$tmp/why" | cut -c 3-17 | sort -u) ||
		fail "causes of $1"
}

wire() # FILE: a request or a reply with its empty line
{
	grep -qF "\"$(head -n 1 "$1")\n\n\"" src/util/wire.h && [ "$(sed -n '2,$p' "$1")" = "" ] || fail "$1"
}

document() # FILE: a guest understands it
{
	image "$tmp/document.img" "$(cat "$1")"
	"$root/usr/bin/vm-dump-metrics" --source "$tmp/document.img" --metric host:TotalCPUTime >"$tmp/out" || fail "$1"
	assert_eq "TotalCPUTime of $1" "$(cat "$tmp/out")" 846.600000
}

content() # FILE: a command that prints a disk's content
{
	sed "s|FILE\$|$mnt/disk/vhostmd0.img|" "$1" >"$tmp/command"
	bash -e "$tmp/command" >"$tmp/printed" || fail "$1"
	diff <(disk_content "$mnt/disk/vhostmd0.img" | head -n 3) <(head -n 3 "$tmp/printed") || fail "$1"
}

asks() # FILE: a command that asks at the control socket
{
	sed "s|/run/vhostmd-daemon/control$|$tmp/control|" "$1" >"$tmp/command"
	bash -e "$tmp/command" >"$tmp/out" || fail "$1"
	grep -qx "worker: $(worker_pid)" "$tmp/out" || fail "$1: $(cat "$tmp/out")"
}

# ---- the documents, in order: what is installed is what is started then ----

quick=''
quick_daemon() # with everything that the documents speak of
{
	[ -n "$quick" ] && return
	quick=yes
	stop_daemon || exit 1
	sed "s|<disk>|<disk><path>$tmp/vhostmd0</path>|
		s|<update_period>5|<update_period>0.2|
		s|<metrics>|&<metric context='host'><name>Uptime</name><source>host.uptime</source></metric>|" \
		"$top/conf/vhostmd.conf" >"$tmp/quick.conf"
	CONF=$tmp/quick.conf start_daemon -c $uri
	wait_for 10 has_value "$mnt/metrics/host/Uptime" || fail "no value"
}
for block in "$tmp"/blocks/{docs-install.md,README.md,docs-replace.md,docs-*}:*.sh; do
	[ -e "$block.done" ] || run_commands "$block"
	touch "$block.done"
done
rm "$tmp"/blocks/*.done
for block in "$tmp"/blocks/*; do
	case "$block $(tr -s ' \n' '  ' <"$block")" in
	*.sh\ *) ;; # done
	*.ini\ *) options "$block" || fail "$block" ;;
	*.yaml\ *) promtool check config "$block" >"$tmp/out" 2>&1 || fail "$block: $(cat "$tmp/out")" ;;
	*.nginx\ *) nginx_server "$block" ;;
	*"mvbd.5.scd:"*"GET "* | *"mvbd.5.scd:"*"INVALID "*) wire "$block" ;;
	*"mvbd.5.scd:"*"<metrics>"*) document "$block" ;;
	*"mvbd.5.scd:"*"python3 "*) quick_daemon; content "$block" ;;
	*.xml\ *"<vhostmd>"*) config "$block" ;;
	*.xml\ *"<devices>"* | *.xml\ *"<disk type"*) devices "$block" ;;
	*"vhostmd.conf.5.scd:"*\ "<disk> "*) shared_disk "$block" ;;
	*"vhostmd.conf.5.scd:"*\ "<grants> "*) grants "$block" ;;
	*"vhostmd.conf.5.scd:"*"domain.metadata"*) metadata "$block" ;;
	*"README.md:"*\ *"--> "*"QEMU"* | *"docs-architecture.md:"*"--> "*) ;; # pictures
	*"README.md:"*\ "/run/vhostmd/ "*) quick_daemon; tree "$block" ;;
	*"vhostmd.8.scd:"*"python3 "*) quick_daemon; live "$block" ;;
	*"vhostmd-control.7.scd:"*"python3 "*) quick_daemon; asks "$block" ;;
	*"vhostmd-control.7.scd:"*) ;; # tests/func/control.sh
	*"vhostmd.8.scd:"*"printf mvbd "*) by_hand "$block" ;;
	*"vhostmd.8.scd:"*"setsebool "* | *"vhostmd.8.scd:"*"journalctl "* | *"vm-dump-metrics.1.scd:"*"usermod "*) run_commands "$block" ;;
	*"vm-dump-metrics.1.scd:"*"held back"*) quick_daemon; reasons "$block" ;;
	*"vhostmdctl.1.scd:"*"VMs, sampled "*) ;; # tests/func/top.sh
	*"libmetrics.3.scd:"*) ;; # tests/func/libmetrics.sh
	*) fail "nobody runs the block $block: $(cat "$block")" ;;
	esac
done

# what README says of the installation
[ -e "$root/etc/vhostmd/vhostmd.conf" ] && [ -e "$root/usr/bin/vm-dump-metrics" ] ||
	fail "what is installed: $(find "$root" -type f)"
"$root/usr/sbin/vhostmd" --help | grep -q '(/etc/vhostmd/vhostmd.conf)' || fail "where the installed one looks"
for program in "$root"/usr/{bin,sbin}/*; do
	[ -L "$program" ] || find "$root/usr/share/man" -name "${program##*/}.[18]" | grep -q . || fail "$program has no manual page"
done
for script in run test; do
	bash "scripts/$script" --help | grep -q 'Installs what is missing' || fail "scripts/$script --help"
done
# nothing is advised for which the scripts install no package
grep -q 'getfattr' scripts/run && fail "scripts/run speaks of getfattr"
exit 0
