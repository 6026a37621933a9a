#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The RPMs, as far as that can be tried on a system that is not of that kind: built, what is in them,
# and what their scripts do in a root of their own: in the place of the existing vhostmd's, upgraded,
# removed.  SELinux' module is compiled.
. "$(dirname "$0")/../lib.sh"
for needed in rpmbuild rpm checkmodule semodule_package busybox; do
	command -v $needed >/dev/null || skip "needs $needed"
done
[ "$(id -u)" = 0 ] || skip "needs root"

cp contrib/selinux/vhostmd_disks.te "$tmp/"
checkmodule -M -m -o "$tmp/vhostmd_disks.mod" "$tmp/vhostmd_disks.te" >"$tmp/out" 2>&1 &&
	semodule_package -o "$tmp/vhostmd_disks.pp" -m "$tmp/vhostmd_disks.mod" >>"$tmp/out" 2>&1 ||
	fail "SELinux' module: $(cat "$tmp/out")"

# ---- built ----

version=$(sed -n "s/^ *version: '\(.*\)',/\1/p" meson.build)
spec=$top/packaging/rpm/vhostmd.spec
assert_eq "version of the spec" "$(sed -n 's/^Version: *//p' "$spec")" "$version"
# What these distributions' macros do, as far as it matters, and where Debian's are missing
cat >"$tmp/macros" <<'EOF'
%_unitdir /usr/lib/systemd/system
%_presetdir /usr/lib/systemd/system-preset
%_sysusersdir /usr/lib/sysusers.d
%_udevrulesdir /usr/lib/udev/rules.d
%python3_sitelib /usr/lib/python3/dist-packages
%optflags -O2
%_build_id_links none
%systemd_post() systemctl preset %*
%systemd_preun() [ $1 -ne 0 ] || systemctl disable --now %*
%systemd_postun() systemctl daemon-reload
EOF
compiler=$(type -P "${CC:-gcc}")
# KIND OF BUILD [OPTION...]
build_packages()
{
	one_at_a_time env CC="$compiler" PATH=/usr/sbin:/usr/bin:/sbin:/bin rpmbuild "$@" --nodeps --without check \
		--load "$tmp/macros" --define "_topdir $tmp/rpm" >"$tmp/out" 2>&1 || fail "rpmbuild $*: $(tail -n 30 "$tmp/out")"
}
sources | tar --null -T - --transform "s,^,vhostmd-$version/," -czf "$tmp/vhostmd-$version.tar.gz" || fail "no archive"
build_packages -ta --noclean --define 'dist %{nil}' "$tmp/vhostmd-$version.tar.gz"
# a later one, and one that stands for the existing vhostmd: a configuration that nobody changed
mkdir -p "$tmp/rpm"/{SPECS,SOURCES}
cp "$spec" "$tmp/rpm/SPECS/"
cp "$tmp/vhostmd-$version.tar.gz" "$tmp/rpm/SOURCES/"
mv "$tmp/rpm/RPMS" "$tmp/first"
for step in -bi -bb; do build_packages $step --noclean --short-circuit --define 'dist .later' "$tmp/rpm/SPECS/vhostmd.spec"; done
mv "$tmp/rpm/RPMS" "$tmp/later"
cat >"$tmp/old.spec" <<'EOF'
Name: vhostmd
Version: 1.1
Release: 1
Summary: stands for the existing vhostmd
License: none
%description
%install
mkdir -p %{buildroot}/etc/vhostmd %{buildroot}/usr/sbin
echo stock >%{buildroot}/etc/vhostmd/vhostmd.conf
echo old >%{buildroot}/usr/sbin/vhostmd
%files
%config(noreplace) /etc/vhostmd/vhostmd.conf
/usr/sbin/vhostmd
EOF
build_packages -bb "$tmp/old.spec"
package() { find "$tmp/$1/" -name "$2-[0-9]*.rpm" ! -name '*.src.rpm'; } # first|later|rpm NAME

# ---- what is in them ----

for name in vhostmd vm-dump-metrics vhostmd-guestfs libmetrics0 libmetrics-devel python3-vhostmd-metrics; do
	echo "$name:"
	rpm -qpl "$(package first $name)" | grep -v '^/usr/share/\(doc\|licenses\)/' | sed 's/\.gz$//; s,/lib64/,/lib/,'
done >"$tmp/files"
diff "$tmp/files" - <<'EOF' || fail "what is in the packages"
vhostmd:
/etc/sysconfig/vhostmd
/etc/vhostmd
/etc/vhostmd/vhostmd-kubevirt.conf
/etc/vhostmd/vhostmd-sap.conf
/etc/vhostmd/vhostmd.conf
/usr/bin/vhostmdctl
/usr/lib/systemd/system-preset/80-vhostmd.preset
/usr/lib/systemd/system/vhostmd-attach.service
/usr/lib/systemd/system/vhostmd-http.socket
/usr/lib/systemd/system/vhostmd.service
/usr/lib/sysusers.d/vhostmd.conf
/usr/libexec/vhostmd
/usr/libexec/vhostmd/virsh
/usr/sbin/vhostmd
/usr/share/bash-completion/completions/vhostmd
/usr/share/bash-completion/completions/vhostmdctl
/usr/share/man/man1/vhostmdctl.1
/usr/share/man/man5/mvbd.5
/usr/share/man/man5/vhostmd.conf.5
/usr/share/man/man7/vhostmd-control.7
/usr/share/man/man7/vhostmd-metrics.7
/usr/share/man/man8/vhostmd.8
/usr/share/polkit-1/rules.d/60-vhostmd.rules
/usr/share/vhostmd
/usr/share/vhostmd/scripts
/usr/share/vhostmd/scripts/pagerate.pl
/usr/share/vhostmd/vhostmd.conf
/usr/share/zsh/site-functions/_vhostmd
/usr/share/zsh/site-functions/_vhostmdctl
vm-dump-metrics:
/usr/bin/vm-dump-metrics
/usr/bin/vm_dump_metrics
/usr/lib/sysusers.d/vhostmd-guest.conf
/usr/lib/udev/rules.d/70-vhostmd-guest.rules
/usr/sbin/vm-dump-metrics
/usr/share/bash-completion/completions/vm-dump-metrics
/usr/share/man/man1/vm-dump-metrics.1
/usr/share/zsh/site-functions/_vm-dump-metrics
vhostmd-guestfs:
/usr/bin/vhostmd-guestfs
/usr/share/man/man1/vhostmd-guestfs.1
libmetrics0:
/usr/lib/libmetrics.so.0
/usr/lib/libmetrics.so.0.0.0
libmetrics-devel:
/usr/include/vhostmd
/usr/include/vhostmd/libmetrics.h
/usr/include/vhostmd/metrics.h
/usr/lib/libmetrics.so
/usr/lib/pkgconfig/libmetrics.pc
/usr/share/man/man3/libmetrics.3
python3-vhostmd-metrics:
/usr/lib/python3/dist-packages/vhostmd_metrics.py
EOF
# as rpm abbreviates it: configuration, of which no package replaces what is changed, and of nobody
rpm -qp --qf '[%{FILENAMES} %{FILEFLAGS:fflags}\n]' "$(package first vhostmd)" | grep '^/etc/.* .' >"$tmp/flags"
diff "$tmp/flags" - <<'EOF' || fail "which files are configuration"
/etc/sysconfig/vhostmd cn
/etc/vhostmd/vhostmd-kubevirt.conf cn
/etc/vhostmd/vhostmd-sap.conf cn
/etc/vhostmd/vhostmd.conf cng
EOF
documents=$(rpm -qpld "$(package first vhostmd)" | sed -n 's,^/usr/share/doc/vhostmd[^/]*/,,p')
for document in README.md docs/README.md docs/install.md contrib/prometheus/vhostmd.rules.yml \
	contrib/ovirt/50_vhostmd contrib/selinux/vhostmd_disks.te data/80-vhostmd.preset docs/pictures/top.svg; do
	grep -qx "$document" <<<"$documents" || fail "$document is not among the documents: $documents"
done

# what a site's preset names is there
while read -r verb unit; do
	case $verb in enable | disable) [ -e "data/$unit.in" ] || [ -e "data/$unit" ] || fail "data/80-vhostmd.preset: $unit" ;; esac
done <data/80-vhostmd.preset

# ---- what they do ----

# Their scripts in a root whose programs say what they were told
new_root() # NAME
{
	root=$tmp/$1
	mkdir -p "$root"/{bin,sbin,run,etc,usr/bin,usr/sbin,tmp,dev}
	cp "$(type -P busybox)" "$root/bin/busybox"
	local name
	for name in sh cp rm; do ln -s busybox "$root/bin/$name"; done
	for name in systemctl systemd-sysusers vhostmdctl ldconfig umount kill; do
		printf '#!/bin/sh\necho "%s $*" >>/calls\n' $name >"$root/sbin/$name"
		chmod 755 "$root/sbin/$name"
	done
	mkdir -p "$root/var/lib/rpm"
}
# RPM'S OPTION PACKAGE: $said is what the programs were told
rpm_in_root()
{
	rm -f "$root/calls"
	rpm --root "$root" --dbpath /var/lib/rpm --nodeps "$@" >"$tmp/out" 2>&1 ||
		fail "rpm $*: $(cat "$tmp/out")"
	! grep -q 'scriptlet failed\|warning: %' "$tmp/out" || fail "rpm $*: $(cat "$tmp/out")"
	said=$(cat "$root/calls" 2>/dev/null)
}
conf() { cat "$root/etc/vhostmd/vhostmd.conf"; }

new_root fresh
rpm_in_root -i "$(package first vhostmd)"
assert_eq "a first installation" "$said" "systemd-sysusers /usr/lib/sysusers.d/vhostmd.conf
systemctl preset vhostmd.service vhostmd-attach.service vhostmd-http.socket
systemctl try-restart vhostmd.service
systemctl try-restart vhostmd-attach.service"
cmp conf/vhostmd.conf "$root/etc/vhostmd/vhostmd.conf" || fail "no configuration"
[ -x "$root/usr/sbin/vhostmd" ] || fail "no daemon"
# nor does the first start of a system enable more than others say
assert_eq "presets" "$(grep -v '^#' "$root/usr/lib/systemd/system-preset/80-vhostmd.preset")" "disable vhostmd-attach.service
disable vhostmd-http.socket"

# one that runs is asked to give way, and nobody else is told anything that would end it
echo own >"$root/etc/vhostmd/vhostmd.conf"
echo 'VHOSTMD_OPTIONS="--verbose"' >"$root/etc/sysconfig/vhostmd"
mkdir "$root/run/vhostmd"
touch "$root/run/vhostmd/status"
rpm_in_root -U "$(package later vhostmd)"
assert_eq "an upgrade" "$said" "systemd-sysusers /usr/lib/sysusers.d/vhostmd.conf
systemctl preset vhostmd.service vhostmd-attach.service vhostmd-http.socket
systemctl daemon-reload
vhostmdctl upgrade
systemctl try-restart vhostmd-attach.service"
assert_eq "the site's configuration" "$(conf)" own
assert_eq "the site's options" "$(cat "$root/etc/sysconfig/vhostmd")" 'VHOSTMD_OPTIONS="--verbose"'
rpm_in_root -e vhostmd
assert_eq "the end" "$said" "systemctl disable --now vhostmd.service vhostmd-attach.service vhostmd-http.socket
systemctl daemon-reload"
find "$root/etc" "$root/usr" -type f ! -name '*.rpmsave' ! -path '*/.build-id/*' >"$tmp/left"
assert_eq "what is left" "$(cat "$tmp/left")" "$root/etc/vhostmd/vhostmd.conf"

# in the place of the existing one, whose configuration stays though nobody changed it
new_root replaced
rpm_in_root -i "$(package rpm vhostmd)"
rpm_in_root -U "$(package first vhostmd)"
assert_eq "the configuration of the existing one" "$(conf)" stock
assert_eq "others beside it" "$(find "$root/etc/vhostmd" -name '*.rpm*')" ""
grep -qx 'systemctl try-restart vhostmd.service' <<<"$said" || fail "the old daemon runs on: $said"

rpm_in_root -i "$(package first vm-dump-metrics)" "$(package first libmetrics0)" "$(package first vhostmd-guestfs)"
assert_eq "in a guest" "$(sort -u <<<"$said")" "ldconfig 
systemd-sysusers /usr/lib/sysusers.d/vhostmd-guest.conf"

# SUSE has macros of its own, of which the one is chosen that restarts nothing
rpmspec -P --define 'suse_version 1600' "$spec" >"$tmp/suse" 2>&1 || fail "rpmspec: $(cat "$tmp/suse")"
for macro in service_add_pre service_add_post service_del_preun service_del_postun_without_restart; do
	grep -qx "%$macro vhostmd.service vhostmd-attach.service vhostmd-http.socket" "$tmp/suse" || fail "no %$macro on SUSE"
done
grep -q '%systemd_' "$tmp/suse" && fail "two kinds of macros on SUSE"
exit 0
