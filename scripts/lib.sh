# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What scripts/run, scripts/test and scripts/bench share.  Sourced, not run.
# shellcheck disable=SC2034 # used by the scripts that source this

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$top" || exit 1

say() { printf '==> %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

build_packages=(meson ninja-build pkg-config gcc libc6-dev libfuse3-dev libvirt-dev
	libxml2-dev libsystemd-dev scdoc)
guest_packages=(libvirt-clients libvirt-daemon-system cpio kmod busybox-static procps
	xz-utils)
case $(uname -m) in
aarch64) guest_packages+=(qemu-system-arm) ;;
*) guest_packages+=(qemu-system-x86) ;;
esac
test_packages=(clang clang-format libcmocka-dev valgrind prometheus attr rsync shellcheck fuse3
	libxml2-utils python3)

# Installs those of the named Debian packages that are missing.
install_packages()
{
	local missing=() p
	for p in "$@"; do
		dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' ||
			missing+=("$p")
	done
	[ ${#missing[@]} -eq 0 ] && return 0
	[ "$(id -u)" = 0 ] || die "please run as root: these packages are missing: ${missing[*]}"
	say "installing ${missing[*]}"
	apt-get -q -q update >/dev/null || die "apt-get update failed"
	no_service_start env DEBIAN_FRONTEND=noninteractive \
		apt-get -q -y --no-install-recommends install "${missing[@]}" >/dev/null ||
		die "could not install ${missing[*]}"
}

# Runs a command during which package scripts may not start services (prometheus would
# listen on its port, libvirtd would create its network); leaves the policy as it was.
no_service_start()
{
	local policy=/usr/sbin/policy-rc.d r=0
	if [ -e "$policy" ]; then
		"$@"
		return
	fi
	printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
	"$@" || r=$?
	rm -f "$policy"
	return $r
}

# Configures a build folder once and builds it: build DIR MESON_OPTIONS...
build()
{
	local dir=$1 log
	log=$(mktemp /tmp/vhostmd-build.XXXXXX)
	shift
	if { [ -f "$dir/build.ninja" ] || meson setup "$dir" "$@"; } >"$log" 2>&1 &&
		ninja -C "$dir" >>"$log" 2>&1; then
		rm -f "$log"
		return 0
	fi
	tail -n 60 "$log" >&2
	rm -f "$log"
	die "building $dir failed"
}
