# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# A fleet in a machine: three hosts (host.py) with a vhostmd each, and a Prometheus that scrapes them, in
# network namespaces of their own.  Sourced after tests/lib.sh; nothing of it is outside $tmp and these.

fleet=$top/tests/fleet
fleet_hosts=(host1 host2 host3) # those of host.py
declare -A fleet_host=()        # the process whose namespaces are a host's
declare -A fleet_keeper=()      # the vhostmd there

need_fleet()
{
	local needed
	need_fuse
	[ -x "$build/tests/fleet-vhostmd" ] && ldd "$build/tests/fleet-vhostmd" | grep -q microhttpd ||
		skip "needs a vhostmd built with libvirt and libmicrohttpd"
	for needed in prometheus promtool ip nsenter unshare; do
		command -v $needed >/dev/null || skip "needs $needed"
	done
}

# on HOST COMMAND...: there, with what it sees of the kernel
on() { nsenter -t "${fleet_host[$1]}" -m -n -u "${@:2}"; }
# hub COMMAND...: where Prometheus is
hub() { nsenter -t "$fleet_hub" -n "$@"; }

# The network: hosts are 10.77.0.1, .2 and so on; it ends with the test.
fleet_network()
{
	mkfifo "$tmp/end"
	exec {fleet_end}<>"$tmp/end" # hosts end when nobody has it open any more
	unshare -n cat <"$tmp/end" {fleet_end}>&- &
	fleet_hub=$!
	apart_from_us() { ! [ "/proc/$fleet_hub/ns/net" -ef /proc/self/ns/net ]; }
	wait_for 10 apart_from_us || fail "no network namespace"
	hub ip link set lo up && hub ip link add br0 type bridge && hub ip addr add 10.77.0.254/24 dev br0 &&
		hub ip link set br0 up || skip "no network in a namespace here"
}

# Begins to start a host, so that others can start meanwhile: fleet_begin_host HOST
fleet_begin_host()
{
	mkdir "$tmp/$1"
	unshare -m -n -u python3 "$fleet/host.py" "$1" "$tmp/$1" <"$tmp/end" >"$tmp/$1/said" 2>&1 {fleet_end}>&- &
	fleet_host[$1]=$!
}

# Connects it, and starts its vhostmd: fleet_host_up HOST CONFIG
fleet_host_up()
{
	local address=10.77.0.${1#host} dir=$tmp/$1
	wait_for 20 grep -qx ready "$dir/said" || fail "$1: $(cat "$dir/said")"
	hub ip link add "$1" type veth peer name eth0 netns "${fleet_host[$1]}" &&
		hub ip link set "$1" master br0 up && on "$1" ip addr add "$address/24" dev eth0 &&
		on "$1" ip link set eth0 up || fail "$1: no network"
	VHOSTMD_STAND_INS=$dir/stand-ins ASAN_OPTIONS=exitcode=99:${ASAN_OPTIONS:-} \
		nsenter -t "${fleet_host[$1]}" -m -n -u "$build/tests/fleet-vhostmd" --no-daemonize --verbose --config "$2" \
		--pid-file "$dir/pid" --mount "$dir/mnt" --connect "test://$dir/node.xml" \
		--http "$address:9178" --http-any >"$dir/log" 2>&1 {fleet_end}>&- &
	fleet_keeper[$1]=$!
}

# Of all VMs there are figures of both lanes; but one may be stopped, and is not asked.
fleet_host_knows()
{
	local vms
	vms=$(grep -c '<domain ' "$tmp/$1/node.xml")
	on "$1" cat "$tmp/$1/mnt/metrics.prom" >"$tmp/$1/prom" 2>/dev/null
	[ "$(grep -c '^vhostmd_vm_cpu_time_seconds_total' "$tmp/$1/prom")" = "$vms" ] &&
		[ "$(grep -c '^vhostmd_vm_block_rd_reqs_total.*device="vda"' "$tmp/$1/prom")" -ge $((vms - 1)) ]
}

# Starts all in that network: fleet_start CONFIG
fleet_start()
{
	local host
	for host in "${fleet_hosts[@]}"; do fleet_begin_host "$host"; done
	for host in "${fleet_hosts[@]}"; do fleet_host_up "$host" "$1"; done
	for host in "${fleet_hosts[@]}"; do
		wait_for 30 fleet_host_knows "$host" || fail "$host: $(tail -n 20 "$tmp/$host/log" "$tmp/$host/prom")"
	done
}

# Ends a host's vhostmd, as somebody would who pulls its plug: fleet_kill HOST
fleet_kill()
{
	kill -KILL "${fleet_keeper[$1]}" "$(on "$1" sed -n 's/^pid: //p' "$tmp/$1/mnt/status")"
	wait "${fleet_keeper[$1]}" 2>/dev/null
	unset "fleet_keeper[$1]"
}

# Ends the others; fails if one did not end well.
fleet_stop()
{
	local host
	for host in "${!fleet_keeper[@]}"; do
		kill "${fleet_keeper[$host]}"
		wait "${fleet_keeper[$host]}" && ! grep -qE 'Sanitizer|runtime error' "$tmp/$host/log" ||
			fail "$host: its vhostmd did not end well: $(tail -n 40 "$tmp/$host/log")"
		unset "fleet_keeper[$host]"
	done
}

# The rules as they are, but for their times: rates are of the last five seconds, and alerts need not wait
# longer than SECONDS: fleet_rules SECONDS
fleet_rules()
{
	sed "s/\[5m\]/[5s]/; s/^\( *for:\) .*/\1 $1s/" "$top/contrib/prometheus/vhostmd.rules.yml" >"$tmp/rules.yml"
}

# The hosts as targets
fleet_targets()
{
	local host
	for host in "${fleet_hosts[@]}"; do
		echo "  - {targets: [\"10.77.0.${host#host}:9178\"], labels: {instance: $host}}"
	done
}

# Starts a Prometheus with $tmp/prometheus.yml: fleet_prometheus OPTION...  It takes five seconds to look at its
# targets.
# shellcheck disable=SC2034 # its process is for who measures
fleet_prometheus()
{
	nsenter -t "$fleet_hub" -n prometheus --config.file "$tmp/prometheus.yml" --storage.tsdb.path "$tmp/tsdb" \
		--web.listen-address 127.0.0.1:9090 "$@" >"$tmp/prometheus.log" 2>&1 {fleet_end}>&- &
	fleet_prometheus=$!
	wait_for 60 ask ready || fail "Prometheus: $(tail -n 5 "$tmp/prometheus.log")"
}

# ask WHAT...: of prometheus.py
ask() { hub python3 "$fleet/prometheus.py" "$@"; }
