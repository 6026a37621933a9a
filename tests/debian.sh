# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What the tests of the Debian packages share: the packages and a clean system, which are made once for
# all of them, and what such a system is given.  Sourced after lib.sh.

debian_cache=$top/build-debian

# Keeps FILE for as long as KEY is the same; else COMMAND FILE makes it, whole or not at all, once for all
# who ask meanwhile: cached FILE KEY COMMAND...
cached()
{
	local lock
	mkdir -p "$debian_cache"
	exec {lock}>>"$1.lock" && flock "$lock"
	if [ ! -e "$1" ] || [ "$(cat "$1.of" 2>/dev/null)" != "$2" ]; then
		rm -rf "$1" "$1.of"
		"${@:3}" "$1.new" && mv "$1.new" "$1" && echo "$2" >"$1.of"
	fi
	exec {lock}>&-
	[ -e "$1" ]
}

# The sum of what the packages are built from
debian_key() { sources | grep -zv '^tests/' | xargs -0 sha256sum | sha256sum; }

# Without an optimizer: what is released is built and tested elsewhere.  Without lintian, for which only one
# of the tests waits: make_packages DIRECTORY
make_packages()
{
	rm -rf "$1"
	DEB_BUILD_OPTIONS='nocheck noopt noautodbgsym' "$top/scripts/package" --no-lintian "$1" >"$tmp/packages.out" 2>&1
}

# What the packages depend on, as far as that is known before they are built: their libraries are those of
# $build.  Where something is missing here they are not installed, which the tests say.
debian_depends()
{
	{
		(cd "$top" && dpkg-shlibdeps -O "$build/vhostmd" "$build/ctl/vhostmdctl" 2>/dev/null) | sed 's/^[^=]*=//'
		sed -n 's/^Depends: //p' "$top/debian/control"
	} | tr ',' '\n' | sed 's/|.*//; s/(.*//; s/ //g' | grep -vE '^(|\$.*|lib[a-z]*san[0-9]*|libmetrics0)$' | sort -u | paste -sd ,
}

# An archive of a system with systemd and INCLUDE in it.  It is the system that this one is, from where this
# one has its packages: make_system INCLUDE SOURCES FILE
make_system()
{
	local codename r=0
	rm -f "$3"
	# shellcheck source=/dev/null
	codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
	# in memory: each file of it is written, synced, and read once
	mkdir -p "$tmp/system" && mount -t tmpfs tmpfs "$tmp/system" &&
		TMPDIR=$tmp/system mmdebstrap -q --format=tar --variant=minbase --dpkgopt=force-unsafe-io \
			--include="$1" "$codename" "$3" "$2" >"$tmp/system.out" 2>&1 || r=1
	umount -l "$tmp/system"
	return $r
}

# Makes the packages, $packages, and a clean system in $root, in memory, with the packages and later.deb in
# its first folder: another version, with another program.
debian_system()
{
	local include sources key system building
	command -v systemd-nspawn >/dev/null || skip "needs systemd-nspawn"
	command -v mmdebstrap >/dev/null || skip "needs mmdebstrap"
	command -v lintian >/dev/null && command -v dpkg-buildpackage >/dev/null || skip "needs lintian and dpkg-dev"
	sources=$(find /etc/apt/sources.list /etc/apt/sources.list.d -name 'debian.sources' -o -name sources.list 2>/dev/null | head -n 1)
	[ -n "$sources" ] || skip "nobody says where packages are"
	packages=$debian_cache/packages
	# beside each other: one compiles, the other unpacks
	cached "$packages" "$(debian_key)" make_packages &
	building=$!
	include=systemd-sysv,dbus,procps,kmod,curl,python3,needrestart,$(debian_depends)
	# with libraries at least as new as those that the packages were built with
	key=$(echo "$include" && dpkg-query -W ${include//,/ } 2>/dev/null)
	system=$debian_cache/root.tar
	cached "$system" "$(sha256sum <<<"$key")" make_system "$include" "$sources" ||
		skip "no clean system can be made: $(tail -n 1 "$tmp/system.out")"
	wait $building || fail "$(cat "$tmp/packages.out")"
	root=$tmp/root
	mkdir "$root"
	mount -t tmpfs -o mode=755 tmpfs "$root" && tar -C "$root" -xf "$system" || fail "no root"
	at_exit "umount -l $root"
	cp "$packages"/*.deb "$root/"
	later_package "$root/later.deb"
}

# Makes what stands for a later version, with another program: later_package FILE
later_package()
{
	dpkg-deb -R "$packages"/vhostmd_*.deb "$tmp/later" &&
		sed -i 's/^Version: .*/&+1/' "$tmp/later/DEBIAN/control" &&
		printf '\0' >>"$tmp/later/usr/sbin/vhostmd" &&
		dpkg-deb -b "$tmp/later" "$1" >/dev/null || fail "no later package"
}

# Makes what stands for the existing vhostmd's package, as far as it matters: a configuration, which somebody
# may change, and a daemon that writes its file until it is stopped, and leaves it: old_package FILE unit|init
#   unit   its package stops it
#   init   has options, too; is started by an init script, and restarts it when it is replaced, so that
#          leaves to its successor to stop it
old_package()
{
	local tree=$tmp/old
	mkdir -p "$tree"/{DEBIAN,etc/vhostmd,usr/sbin}
	cat >"$tree/DEBIAN/control" <<-'EOF'
		Package: vhostmd
		Version: 1.1-5
		Architecture: all
		Maintainer: nobody <nobody@example.org>
		Description: stands for the existing vhostmd
	EOF
	echo /etc/vhostmd/vhostmd.conf >"$tree/DEBIAN/conffiles"
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
	"old_package_$2" "$tree"
	chmod 755 "$tree"/DEBIAN/p* "$tree/usr/sbin/vhostmd"
	dpkg-deb -b "$tree" "$1" >/dev/null || fail "no package of the old one"
}

old_package_unit()
{
	mkdir -p "$1/lib/systemd/system"
	cat >"$1/lib/systemd/system/vhostmd.service" <<-'EOF'
		[Service]
		ExecStart=/usr/sbin/vhostmd
		[Install]
		WantedBy=multi-user.target
	EOF
	cat >"$1/DEBIAN/postinst" <<-'EOF'
		#!/bin/sh
		systemctl enable vhostmd
		[ ! -d /run/systemd/system ] || systemctl start vhostmd
	EOF
	cat >"$1/DEBIAN/prerm" <<-'EOF'
		#!/bin/sh
		systemctl stop vhostmd
	EOF
}

old_package_init()
{
	mkdir -p "$1"/etc/{default,init.d}
	printf '%s\n' /etc/default/vhostmd /etc/init.d/vhostmd >>"$1/DEBIAN/conffiles"
	cat >"$1/DEBIAN/postinst" <<-'EOF'
		#!/bin/sh
		update-rc.d vhostmd defaults >/dev/null && invoke-rc.d vhostmd restart
	EOF
	cat >"$1/DEBIAN/prerm" <<-'EOF'
		#!/bin/sh
		[ "$1" != remove ] || invoke-rc.d vhostmd stop
	EOF
	cat >"$1/DEBIAN/postrm" <<-'EOF'
		#!/bin/sh
		[ "$1" != purge ] || update-rc.d vhostmd remove
	EOF
	echo '# of the package' >"$1/etc/default/vhostmd"
	cat >"$1/etc/init.d/vhostmd" <<-'EOF'
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
	chmod 755 "$1/etc/init.d/vhostmd"
}
