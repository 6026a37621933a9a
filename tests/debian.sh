# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What the tests of the Debian packages share: the packages, which are built once for all of them, and
# a clean system to install them in.  Sourced after lib.sh.

debian_cache=$top/build-debian

# Keeps FILE for as long as KEY is the same; else COMMAND FILE makes it, whole or not at all, once for all
# who ask meanwhile: cached FILE KEY COMMAND...
cached()
{
	local lock
	mkdir -p "$debian_cache"
	exec {lock}>>"$debian_cache/lock" && flock "$lock"
	if [ ! -e "$1" ] || [ "$(cat "$1.of" 2>/dev/null)" != "$2" ]; then
		rm -rf "$1" "$1.of"
		"${@:3}" "$1.new" && mv "$1.new" "$1" && echo "$2" >"$1.of"
	fi
	exec {lock}>&-
	[ -e "$1" ]
}

# Builds the packages, into $packages.  Without an optimizer: what is released is built and tested
# elsewhere.
debian_packages()
{
	local key
	command -v lintian dpkg-buildpackage >/dev/null || skip "needs lintian and dpkg-dev"
	packages=$debian_cache/packages
	key=$(sources | grep -zv '^tests/' | xargs -0 sha256sum | sha256sum)
	cached "$packages" "$key" build_packages || fail "$(cat "$tmp/out")"
}

build_packages()
{
	rm -rf "$1"
	DEB_BUILD_OPTIONS='nocheck noopt noautodbgsym' "$top/scripts/package" "$1" >"$tmp/out" 2>&1
}

# Makes a system with systemd in it, and with what the packages depend on, an archive: $debian_root.  It
# is the system that this one is, from where this one has its packages.
debian_system()
{
	local include sources key
	command -v mmdebstrap >/dev/null || skip "needs mmdebstrap"
	debian_packages
	include=$(for deb in "$packages"/*.deb; do dpkg-deb -f "$deb" Depends; echo; done | tr ',' '\n' |
		sed 's/|.*//; s/(.*//; s/:any//; s/ //g' |
		grep -vE '^(|vhostmd.*|libmetrics.*|vm-dump-metrics)$' | sort -u | paste -sd ,)
	include=systemd-sysv,dbus,procps,kmod,curl,needrestart,$include
	sources=$(find /etc/apt/sources.list /etc/apt/sources.list.d -name 'debian.sources' -o -name sources.list 2>/dev/null | head -n 1)
	[ -n "$sources" ] || skip "nobody says where packages are"
	# with libraries at least as new as those that the packages were built with
	key=$(echo "$include" && dpkg-query -W ${include//,/ } 2>/dev/null)
	debian_root=$debian_cache/root.tar
	cached "$debian_root" "$(sha256sum <<<"$key")" make_system "$include" "$sources" ||
		skip "no clean system can be made: $(tail -n 1 "$tmp/out")"
}

make_system()
{
	rm -f "$3"
	# shellcheck source=/dev/null
	(. /etc/os-release && mmdebstrap -q --format=tar --variant=minbase --include="$1" "$VERSION_CODENAME" "$3" "$2") >"$tmp/out" 2>&1
}

# Makes what stands for a later version, with another program: later_package FILE
later_package()
{
	dpkg-deb -R "$packages"/vhostmd_*.deb "$tmp/later" &&
		sed -i 's/^Version: .*/&+1/' "$tmp/later/DEBIAN/control" &&
		printf '\0' >>"$tmp/later/usr/sbin/vhostmd" &&
		dpkg-deb -b "$tmp/later" "$1" >/dev/null || fail "no later package"
}

# Makes what stands for the existing vhostmd's package, as far as it matters: a configuration and options,
# which somebody may change, a service that is started by an init script, and a daemon that writes its
# file until it is stopped, and leaves it.  It restarts the service when it is replaced, so that leaves to
# its successor to stop it: old_package FILE
old_package()
{
	local tree=$tmp/old
	mkdir -p "$tree"/{DEBIAN,etc/default,etc/init.d,etc/vhostmd,usr/sbin}
	cat >"$tree/DEBIAN/control" <<-'EOF'
		Package: vhostmd
		Version: 1.1-5
		Architecture: all
		Maintainer: nobody <nobody@example.org>
		Description: stands for the existing vhostmd
	EOF
	printf '%s\n' /etc/default/vhostmd /etc/init.d/vhostmd /etc/vhostmd/vhostmd.conf >"$tree/DEBIAN/conffiles"
	cat >"$tree/DEBIAN/postinst" <<-'EOF'
		#!/bin/sh
		update-rc.d vhostmd defaults >/dev/null && invoke-rc.d vhostmd restart
	EOF
	cat >"$tree/DEBIAN/prerm" <<-'EOF'
		#!/bin/sh
		[ "$1" != remove ] || invoke-rc.d vhostmd stop
	EOF
	cat >"$tree/DEBIAN/postrm" <<-'EOF'
		#!/bin/sh
		[ "$1" != purge ] || update-rc.d vhostmd remove
	EOF
	echo '# of the package' >"$tree/etc/default/vhostmd"
	cat >"$tree/etc/init.d/vhostmd" <<-'EOF'
		#!/bin/sh
		### BEGIN INIT INFO
		# Provides: vhostmd
		# Required-Start: $remote_fs
		# Required-Stop: $remote_fs
		# Default-Start: 2 3 4 5
		# Default-Stop: 0 1 6
		### END INIT INFO
		case $1 in
		start) start-stop-daemon --start --background --make-pidfile --pidfile /run/vhostmd.pid --exec /usr/sbin/vhostmd ;;
		stop) start-stop-daemon --stop --pidfile /run/vhostmd.pid --oknodo --retry 10 --remove-pidfile ;;
		restart) "$0" stop && "$0" start ;;
		esac
	EOF
	cat >"$tree/etc/vhostmd/vhostmd.conf" <<-'EOF'
		<vhostmd><globals><disk><path>/dev/shm/vhostmd0</path><size unit="k">256</size></disk>
		<update_period>1</update_period></globals><metrics>
		<metric type="string" context="host"><name>Site</name><action>echo of the package</action></metric>
		<metric context="host"><name>Beat</name><source>vhostmd.fast.cycles</source></metric>
		</metrics></vhostmd>
	EOF
	cat >"$tree/usr/sbin/vhostmd" <<-'EOF'
		#!/bin/sh
		printf mvbd >/dev/shm/vhostmd0
		truncate -s 256K /dev/shm/vhostmd0
		exec sleep 10000
	EOF
	chmod 755 "$tree"/{DEBIAN/{postinst,prerm,postrm},etc/init.d/vhostmd,usr/sbin/vhostmd}
	dpkg-deb -b "$tree" "$1" >/dev/null || fail "no package of the old one"
}
