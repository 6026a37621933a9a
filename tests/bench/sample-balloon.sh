#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What a period of its own for the balloon saves, QEMUs' and libvirtd's share included: sample-balloon.sh
# [--guests N].  The default configuration and what guests say of their memory; every third guest reads
# its disk within each slow period of 2 s, the others sleep.
bench=sample
. "$(dirname "$0")/lib/guests.sh"
guests=$(option --guests 60 "$@")
need_reading_guests
say "starting $guests guests" >&2
start_guests 1 "$guests" 1.5 ''

more=''
for source in balloon.unused balloon.available balloon.swap_in balloon.swap_out; do
	more+="<metric type='uint64' context='vm'><name>$source</name><source>$source</source></metric>"
done
# measured NAME GLOBALS: CPU of a slow period, ms, with that in the configuration
measured()
{
	sed "s|</metrics>|$more</metrics>|; s|</update_period>|</update_period>$2|" "$top/conf/vhostmd.conf" >"$tmp/more.conf"
	grep -q balloon.unused "$tmp/more.conf" || fail "no place for more metrics"
	conf=$tmp/more.conf daemon 2 2 "$guests"
	asleep $((guests - guests / 3))
	cycles 36
	whole=$((own + theirs))
	result "$1" "$(ratio "$whole" 1000000 2)" ms
	stop_daemon || exit 1
}
measured balloon_with_the_rest_cpu ''
with=$whole
measured balloon_apart_cpu '<balloon_period>12</balloon_period>'
result balloon_apart_vs_with_the_rest "$(ratio "$whole" "$with" 2)" ratio
exit 0
