# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What scripts/run, scripts/test and scripts/bench share.  Sourced, not run.
# shellcheck disable=SC2034 # used by the scripts that source this

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/guard.sh
. "$top/scripts/guard.sh"
cd "$top" || exit 1

# A python3 that is a script looks for the one that is meant at each start, which takes longer than
# most of what it is started for: looked for once, for all that is started from here.
direct_python()
{
	local start='' program
	read -r -n 2 start <"$(type -P python3)" && [ "$start" = '#!' ] || return 0
	program=$(python3 -c 'import sys; print(sys.executable)') && [ -x "$program" ] &&
		PATH=${program%/*}:$PATH
} 2>/dev/null
direct_python

say() { printf '==> %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

build_packages=(meson ninja-build pkg-config gcc libc6-dev libfuse3-dev libvirt-dev
	libxml2-dev libsystemd-dev libseccomp-dev libmicrohttpd-dev zlib1g-dev libncurses-dev scdoc
	clang libbpf-dev)
guest_packages=(libvirt-clients libvirt-daemon-system cpio kmod busybox-static procps
	xz-utils)
case $(uname -m) in
aarch64) guest_packages+=(qemu-system-arm) ;;
*) guest_packages+=(qemu-system-x86) ;;
esac
test_packages=(clang clang-format libcmocka-dev valgrind prometheus prometheus-node-exporter attr rsync shellcheck fuse3
	libxml2-utils python3 python3-prometheus-client python3-pyte curl iproute2 nginx-light openssl systemd-container abigail-tools g++
	mmdebstrap rpm checkpolicy semodule-utils)
packaging_packages=(debhelper dh-python dpkg-dev fakeroot libcmocka-dev lintian)
# what runs inside Windows guests, as far as that can be tried here
[ "$(uname -m)" != x86_64 ] || test_packages+=(gcc-mingw-w64-x86-64-win32 wine64 wine)

# The files that the project is made of, each with a zero byte behind it.
sources()
{
	if [ -e .git ]; then
		git -c safe.directory="$top" ls-files -z --cached --others --exclude-standard
	else
		find . -path './build-*' -prune -o \( -type f -o -type l \) -print0
	fi
}

# Installs those of the named Debian packages that are missing.  Their scripts may not start
# services (prometheus would listen on its port, libvirtd would create its network).  No
# policy-rc.d, which somebody would have to take away again: they find programs that do nothing
# in place of those that start something.
install_packages()
{
	local missing=() install p
	for p in "$@"; do
		dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' ||
			missing+=("$p")
	done
	[ ${#missing[@]} -eq 0 ] && return 0
	[ "$(id -u)" = 0 ] || die "please run as root: these packages are missing: ${missing[*]}"
	say "installing ${missing[*]}"
	quietly apt-get -q -q update || die "apt-get update failed"
	install=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y
		-o DPkg::Path="$top/scripts/no-services:/usr/sbin:/usr/bin:/sbin:/bin"
		--no-install-recommends install "${missing[@]}")
	quietly "${install[@]}" --download-only && quietly unbroken "${install[@]}" ||
		die "could not install ${missing[*]}"
}

# Shows the end of a command's output if it fails, and nothing else.
quietly()
{
	local log
	log=$(mktemp "$scratch/output.XXXXXX")
	if "$@" >"$log" 2>&1; then
		rm -f "$log"
		return
	fi
	tail -n 60 "$log" >&2
	return 1
}

# one_at_a_time COMMAND...: of all scripts and tests that run here
one_at_a_time()
{
	local lock status=0
	exec {lock}<"$top" && flock "$lock"
	"$@" || status=$?
	exec {lock}<&-
	return $status
}

# Configures a build folder once: configure DIR MESON_OPTIONS...
configure()
{
	[ ! -f "$1/build.ninja" ] || return 0
	rm -rf "$1/meson-private" # a setup that was interrupted passes for done
	quietly meson setup "$@" || die "building $1 cannot be set up"
}

# Configures a build folder and builds it, or of it $build_targets: build DIR MESON_OPTIONS...
build() { one_at_a_time build_now "$@"; }

build_now()
{
	configure "$@"
	quietly ninja -C "$1" ${build_targets:-} || die "building $1 failed"
}
