# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Small guests for the demonstration and the tests: Debian's cloud kernel, a busybox
# initramfs with vm-dump-metrics, libvirt to run them.  Sourced after lib.sh.

# shellcheck disable=SC2034 # names of the domains start with it
guest_prefix=vhostmd-guest
guest_cache=$top/build-guest # kernel and modules, unpacked once
libvirt_started=()           # the daemons that were started here

case $(uname -m) in
aarch64) guest_deb_arch=arm64 guest_qemu=/usr/bin/qemu-system-aarch64
	guest_machine=virt guest_arch=aarch64 guest_console=ttyAMA0 ;;
*) guest_deb_arch=amd64 guest_qemu=/usr/bin/qemu-system-x86_64
	guest_machine=q35 guest_arch=x86_64 guest_console=ttyS0 ;;
esac

# Free PCIe ports, for disks that are plugged in later.
guest_ports="<controller type='pci' model='pcie-root'/>
	<controller type='pci' model='pcie-root-port'/>
	<controller type='pci' model='pcie-root-port'/>
	<controller type='pci' model='pcie-root-port'/>
	<controller type='pci' model='pcie-root-port'/>
	<controller type='pci' model='pcie-root-port'/>
	<controller type='pci' model='pcie-root-port'/>
	<controller type='pci' model='pcie-root-port'/>"

virsh_system() { timeout -k 5 60 virsh -q -c qemu:///system "$@"; }

# apart COMMAND...: with processes, a /run and a libvirt of its own: beside others, and beside all
# that the machine's libvirt runs.  Ends with all that it started.
apart()
{
	[ "$(id -u)" = 0 ] || { "$@"; return; }
	unshare --mount --pid --fork --kill-child --mount-proc bash -c \
		'. "$1/lib.sh"; . "$1/guest-lib.sh"; shift; apart_begin && "$@"; exit' apart "$top/scripts" "$@"
}

# The script's record stays in place; libvirt has its settings, and no VM, network or pool.
apart_begin()
{
	local dir own
	umount -l -a -t fuse.vhostmd # of other tests: they would not end here
	own=$(mktemp -d "$TMPDIR/apart.XXXXXX") &&
		mkdir -p "$own"/{run,etc,lib,log} "$own$VHOSTMD_RECORD" &&
		mount --bind "$VHOSTMD_RECORD" "$own$VHOSTMD_RECORD" &&
		mount --rbind "$own/run" /run || return
	[ -d /etc/libvirt ] || return 0
	cp /etc/libvirt/*.conf "$own/etc"
	mount --bind "$own/etc" /etc/libvirt || return
	for dir in lib log; do mount --bind "$own/$dir" /var/$dir/libvirt || return; done
}

# Starts what is needed for qemu:///system unless it answers already.
libvirt_start()
{
	echo "$guest_prefix" >"$record/prefix"
	guests_remove_cgroups
	virsh_system list >/dev/null 2>&1 && return 0
	if [ -d /run/systemd/system ]; then
		libvirt_start_units
		return
	fi
	kvm_open
	local daemon
	for daemon in virtlogd libvirtd; do
		daemon_alive "$daemon" && wait_for 60 daemon_settled "$daemon"
		daemon_alive "$daemon" && continue
		rm -f "/run/$daemon.pid"
		undo_later libvirt_undo "$daemon"
		# it must not hold the terminal, a pipe or the temporary directory of ours
		env -u TMPDIR "$daemon" -d </dev/null >/dev/null 2>&1 || die "$daemon does not start"
		libvirt_started+=("$daemon")
	done
	wait_for 30 virsh_system list || die "libvirtd does not answer"
}

# Starting one starts others.
libvirt_start_units()
{
	local unit inactive=()
	for unit in libvirtd{,-ro,-admin}.socket libvirtd.service \
		virtl{og,ock}d{,-admin}.socket virtl{og,ock}d.service; do
		systemctl -q is-active "$unit" || inactive+=("$unit")
	done
	undo_later libvirt_undo_units "${inactive[@]}"
	systemctl start libvirtd || die "libvirtd does not start"
}

libvirt_undo_units()
{
	libvirt_serves_others || systemctl stop "$@"
}

daemon_alive()
{
	local pid
	pid=$(cat "/run/$1.pid" 2>/dev/null) && ! process_gone "$pid"
}

# A daemon that is alive answers, or is about to end.
daemon_settled() { ! daemon_alive "$1" || [ "$1" = virtlogd ] || virsh_system list; }

# Stops a daemon that the record's script started, and no other.
libvirt_undo()
{
	local pid limit=$((SECONDS + 15))
	libvirt_serves_others && return
	while pid=$(libvirt_ours "$1"); [ -n "$pid" ]; do
		# shellcheck disable=SC2086 # one while it starts, two
		[ $SECONDS -ge $limit ] && kill -KILL $pid || kill $pid
		sleep 0.1
	done 2>/dev/null
	daemon_alive "$1" || rm -f "/run/$1.pid"
}

libvirt_ours()
{
	local pid
	for pid in $(guard_marked "$record"); do
		[[ $(readlink "/proc/$pid/exe") =~ /$1( |$) ]] && echo "$pid"
	done
}

# Somebody may have started a VM meanwhile.
libvirt_serves_others()
{
	[ -n "$(timeout -k 1 10 virsh -q -c qemu:///system list 2>/dev/null)" ] || return
	say "other VMs run by now: libvirt's daemons stay" >&2
}

# Without udev /dev/kvm belongs to root alone; libvirt then finds KVM in its probes but not
# for its guests, and probes again and again.  Does what udev's rule would do.
kvm_open()
{
	[ -c /dev/kvm ] && getent group kvm >/dev/null || return 0
	[ "$(stat -c %G /dev/kvm)" = kvm ] && return 0
	# shellcheck disable=SC2046 # owner and mode
	undo_later kvm_undo $(stat -c '%u:%g %a' /dev/kvm)
	chgrp kvm /dev/kvm && chmod 660 /dev/kvm
}

kvm_undo()
{
	[ -z "$(libvirt_ours libvirtd)" ] && chown "$1" /dev/kvm && chmod "$2" /dev/kvm
}

# A process that nobody has reaped yet is gone, too.
process_gone() { ! kill -0 "$1" 2>/dev/null || grep -qs '^State:[[:space:]]*Z' "/proc/$1/status"; }

# Stops processes: process_hang PID...  Each of their threads works on until one of them has seen
# the signal, which on a busy machine takes long enough for a request to be answered.
process_hang()
{
	local pid r=0
	kill -STOP "$@" || r=1
	for pid; do wait_for 10 process_hangs "$pid" || r=1; done
	return $r
}
process_hangs() { ! grep -hs '^State:' "/proc/$1/task/"*/status | grep -qv 'T (stopped)'; }

# Waits until a command succeeds, at most so many seconds: wait_for SECONDS COMMAND...
wait_for()
{
	local deadline=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -ge $deadline ] && return 1
		pause
	done
}

# Waits for 50 ms; where there is a $scratch without another process, of which twenty a second keep
# a fifth of a processor busy.
pause()
{
	local never=${scratch:-}/never # nobody writes
	if [ -n "${scratch:-}" ] && { [ -p "$never" ] || mkfifo "$never"; }; then
		read -r -t 0.05 <>"$never"
	else
		sleep 0.05
	fi
	return 0
} 2>/dev/null

# Fetches Debian's cloud kernel and unpacks kernel and modules; once.
guest_kernel() { one_at_a_time guest_fetch_kernel; }

guest_fetch_kernel()
{
	[ -e "$guest_cache/vmlinuz" ] && return 0
	local meta=linux-image-cloud-$guest_deb_arch package dir
	mkdir -p "$guest_cache"
	[ -n "$(apt-cache depends "$meta" 2>/dev/null)" ] || apt-get -q -q update >/dev/null
	package=$(apt-cache depends "$meta" | awk '/Depends:/ {print $2; exit}')
	say "fetching $package for guests"
	dir=$(mktemp -d "$scratch/kernel.XXXXXX")
	chmod 755 "$dir"
	(cd "$dir" && apt-get -q -q download "$package" >/dev/null 2>&1 &&
		dpkg-deb -x ./*.deb tree) || die "$package cannot be fetched"
	rm -rf "$guest_cache/modules"
	cp -r "$dir"/tree/lib/modules "$guest_cache/modules"
	cp "$dir"/tree/boot/vmlinuz-* "$guest_cache/vmlinuz.new"
	mv "$guest_cache/vmlinuz.new" "$guest_cache/vmlinuz" # it says that all is there
	rm -rf "$dir"
}

# Builds the initramfs: guest_initramfs FILE VM_DUMP_METRICS [EXTRA_PROGRAM...]; $guest_modules are
# inserted besides, $guest_files is a folder that the guest has as its root's, too.
guest_initramfs()
{
	local out=$1 root module found
	shift
	root=$(mktemp -d "$scratch/initramfs.XXXXXX")
	mkdir -p "$root"/{bin,dev,mnt,proc,sys,tmp,lib/modules}
	cp "$(command -v busybox)" "$root/bin/busybox"
	[ $# -eq 0 ] || cp "$@" "$root/bin/"
	[ -z "${guest_files:-}" ] || cp -a "$guest_files/." "$root/"
	# failover before net: virtio_net needs it where it is a module
	for module in virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci \
		virtio_mmio virtio_blk virtio_console virtio_balloon ${guest_modules:-}; do
		found=$(find "$guest_cache/modules" -name "$module.ko*" | head -n 1)
		[ -n "$found" ] || continue
		cp "$found" "$root/lib/modules/"
		case $found in *.xz) xz -d "$root/lib/modules/$module.ko.xz" ;; esac
		echo "$module" >>"$root/lib/modules/order"
	done
	cat >"$root/init" <<-'EOF'
		#!/bin/busybox sh
		/bin/busybox --install -s /bin
		export PATH=/bin
		mount -t proc proc /proc
		mount -t sysfs sysfs /sys
		mount -t devtmpfs dev /dev
		for m in $(cat /lib/modules/order); do insmod /lib/modules/$m.ko; done
		echo "GUEST READY"
		case $(cat /proc/cmdline) in
		*guest=demo*)
			echo "GUEST DISK"
			vm-dump-metrics -b
			echo "GUEST CHANNEL"
			vm-dump-metrics -i
			echo "GUEST DONE"
			;;
		*guest=system*) # that is on the disk
			mount /dev/vda /mnt && exec switch_root /mnt /sbin/init
			;;
		esac
		# what comes over the console is run; the end of its output is marked, also where that
		# has no newline; of the kernel's messages nothing but its last comes between
		stty -echo
		echo 1 >/proc/sys/kernel/printk
		printf '\nGUEST STATUS 0.\n'
		while read -r line; do
			eval "$line" 2>&1
			printf '\nGUEST STATUS %d.\n' $?
		done
		poweroff -f
	EOF
	chmod 755 "$root/init"
	(cd "$root" && find . -print0 | cpio --null -o -H newc --quiet | gzip -1) >"$out"
	rm -rf "$root"
}

guest_accel()
{
	# KVM that hangs is worse than none: only where asked for
	[ "${VHOSTMD_KVM:-no}" = yes ] && [ -w /dev/kvm ] && echo kvm || echo qemu
}

# Prints the disk element of a VM's private metrics disk: guest_disk_xml IMAGE [TARGET [SERIAL]]
guest_disk_xml()
{
	cat <<-EOF
		<disk type='file' device='disk'>
		  <driver name='qemu' type='raw' cache='none' io='threads' error_policy='report' rerror_policy='report'/>
		  <source file='$1' startupPolicy='optional'/>
		  <target dev='${2:-vdz}' bus='virtio'/>
		  <readonly/>
		  <shareable/>
		  ${3-<serial>vhostmd</serial>}
		</disk>
	EOF
}

# Prints the channel element.
guest_channel_xml()
{
	cat <<-'EOF'
		<channel type='unix'>
		  <source mode='bind'/>
		  <target type='virtio' name='org.github.vhostmd.1'/>
		</channel>
	EOF
}

xml_escape() { sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/>/\&gt;/g' -e "s/'/\&apos;/g" -e 's/"/\&quot;/g'; }

# What a guest's kernel is told besides.  On a busy host an emulated timer may come too late for the
# kernel's check of it, which then gives up.
guest_cmdline="console=$guest_console quiet panic=-1 no_timer_check"

# Prints a domain: guest_xml NAME UUID DIR CMDLINE DEVICES.  DIR holds vmlinuz and initrd;
# its console is the socket DIR/UUID.console, at which somebody listens, unless CONSOLE_LOG names a
# file.
guest_xml()
{
	local name console
	name=$(printf '%s' "$1" | xml_escape)
	if [ -n "${CONSOLE_LOG:-}" ]; then
		console="<serial type='file'><source path='$CONSOLE_LOG'/></serial>"
	else
		console="<serial type='unix'><source mode='connect' path='$3/$2.console'/></serial>"
	fi
	cat <<-EOF
		<domain type='$(guest_accel)'>
		  <name>$name</name>
		  <uuid>$2</uuid>
		  <memory unit='MiB'>${GUEST_MIB:-128}</memory>
		  <vcpu${GUEST_VCPUS_NOW:+ current='$GUEST_VCPUS_NOW'}>${GUEST_VCPUS:-1}</vcpu>
		  <os>
		    <type arch='$guest_arch' machine='$guest_machine'>hvm</type>
		    <kernel>$3/vmlinuz</kernel>
		    <initrd>$3/initrd</initrd>
		    <cmdline>$guest_cmdline $4</cmdline>
		  </os>
		  <features><acpi/></features>
		  <on_poweroff>destroy</on_poweroff>
		  <on_reboot>destroy</on_reboot>
		  <on_crash>destroy</on_crash>
		  <devices>
		    <emulator>$guest_qemu</emulator>
		    $console
		    <controller type='virtio-serial' index='0'/>
		    $guest_ports
		    $5
		    <memballoon model='virtio'/>
		  </devices>
		</domain>
	EOF
}

# Starts the smallest guest there is, for tests that need many: a boot sector that masks
# all interrupts (0xff to ports 0x21, 0xa1), lets the timer run out (mode 0, 0xffff) instead
# of ticking, which would cost the host half a percent of a processor, and halts:
# guest_start_halting NAME UUID DEVICES [IMAGE], with another boot sector in IMAGE.
guest_start_halting()
{
	local name image=${4:-$tmp/halt.img}
	if [ ! -e "$image" ]; then
		{
			printf '\xfa\xb0\xff\xe6\x21\xe6\xa1\xb0\x30\xe6\x43\xb0\xff\xe6\x40\xe6\x40'
			printf '\xf4\xeb\xfd'
			head -c 490 /dev/zero
			printf '\x55\xaa'
			head -c 1048064 /dev/zero
		} >"$image.$2"
		mv "$image.$2" "$image" # whole, for others that are started meanwhile
	fi
	name=$(printf '%s' "$1" | xml_escape)
	cat >"$tmp/$2.xml" <<-EOF
		<domain type='qemu'>
		  <name>$name</name>
		  <uuid>$2</uuid>
		  <memory unit='MiB'>8</memory>
		  <vcpu>1</vcpu>
		  <os><type arch='x86_64' machine='pc'>hvm</type></os>
		  <devices>
		    <emulator>/usr/bin/qemu-system-x86_64</emulator>
		    <disk type='file' device='disk'>
		      <driver name='qemu' type='raw'/>
		      <source file='$image'/>
		      <target dev='vda' bus='virtio'/>
		      <readonly/>
		      <shareable/>
		    </disk>
		    <controller type='usb' model='none'/>
		    $3
		    <memballoon model='virtio'/>
		  </devices>
		</domain>
	EOF
	guest_create "$2" "$tmp/$2.xml"
}

# Starts a transient domain that the end of the script ends, too: guest_create UUID XML_FILE
guest_create()
{
	local r=0
	echo "${1:?}" >>"$record/guests"
	: >"$record/creating.$1"
	virsh_system create "$2" >/dev/null || r=$?
	[ $r -gt 128 ] || rm -f "$record/creating.$1"
	return $r
}

# Defines a domain, which the end of the script takes away, too: guest_define UUID XML_FILE.  It is
# started by virsh_system start UUID.
guest_define()
{
	echo "${1:?}" | tee -a "$record/defined" >>"$record/guests"
	virsh_system define "$2" >/dev/null
}

# What is still running of them runs on until it is destroyed.
guests_undefine()
{
	[ -s "$record/defined" ] || return 0
	sed 's/^/undefine /' "$record/defined" |
		XDG_CACHE_HOME=/dev/null timeout -k 1 60 virsh -q -c qemu:///system >/dev/null 2>&1
	# where libvirt is gone
	grep -lsFf "$record/defined" /etc/libvirt/qemu/*.xml | while read -r xml; do rm -f "$xml"; done
	rm -f "$record/defined"
}

# Pids of QEMU of the guests that were started here.
guests_qemu()
{
	local pid
	for pid in $(grep -lszxFf "$record/guests" /proc/[0-9]*/cmdline | cut -d/ -f3); do
		[[ $(readlink "/proc/$pid/exe") != */qemu-* ]] || echo "$pid"
	done
}

guests_gone()
{
	[ -z "$(guests_qemu)" ] &&
		! virsh_system list --all --uuid 2>/dev/null | grep -qxFf "$record/guests"
}

guests_back() { ! guests_gone; }

# Again and again: libvirt may go on to start those that it was asked for.
guests_end() { wait_for 60 guests_killed; }

guests_killed()
{
	guests_qemu | xargs -r kill -KILL 2>/dev/null
	guests_gone
}

# Destroys the guests that were started here, and no other.  libvirt takes half a second for
# each; of hundreds the processes are killed, as are those that libvirt does not end, which
# it cleans up after at once.  (virsh would leave a history of what it is told.)
guests_destroy()
{
	local few=50
	[ -s "$record/guests" ] || return 0
	pkill -CONT -x libvirtd # a test stops it
	guests_undefine
	if [ "$(guests_qemu | wc -l)" -le $few ]; then
		sed 's/^/destroy /' "$record/guests" |
			XDG_CACHE_HOME=/dev/null timeout -k 1 60 virsh -q -c qemu:///system >/dev/null 2>&1
	fi
	guests_end || return
	# libvirt goes on with what it was asked to start, though who asked is gone: until it
	# has started nothing for a while
	while compgen -G "$record/creating.*" >/dev/null; do
		wait_for 5 guests_back || rm -f "$record"/creating.*
		guests_end || return
	done
	guests_remove_logs
	guests_remove_cgroups
	rm -f "$record/guests"
}

# libvirt's logs of nobody but these guests.
guests_remove_logs()
{
	grep -lsFf "$record/guests" /var/log/libvirt/qemu/*.log | while read -r log; do
		grep '^-uuid ' "$log" | grep -qvFf "$record/guests" || rm -f "$log"
	done
}

# Cgroups of guests that ended while libvirt did not run.  It would take them again, with the quota
# that is set there, for the next guest of that name and number.
guests_remove_cgroups()
{
	local group prefix
	prefix=$(cat "$record/prefix" 2>/dev/null) && [ -n "$prefix" ] || return 0
	for group in /sys/fs/cgroup/{,*/}machine/qemu-*-"$prefix"*/; do
		[ ! -d "$group" ] || [ -n "$(find "$group" -name cgroup.procs -exec cat {} +)" ] ||
			find "$group" -depth -type d -exec rmdir {} +
	done 2>/dev/null
}
