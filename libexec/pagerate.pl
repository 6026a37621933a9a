#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# PageInRate,PageFaultRate: KiB read from block devices and page faults, each second, over the
# second that this takes.  The existing vhostmd's configuration calls it by this name, which says
# nothing of the language.
pages() { awk '$1 == "pgpgin" { i = $2 } $1 == "pgfault" { f = $2 } END { print i, f }' /proc/vmstat; }
now() { cut -d' ' -f1 /proc/uptime; }
# shellcheck disable=SC2046 # words
set -- $(now) $(pages)
sleep 1
# shellcheck disable=SC2046
set -- "$@" $(now) $(pages)
echo "$@" | awk '{ s = $4 - $1; if (s <= 0) exit 1; printf "%.6f,%.6f\n", ($5 - $2) / s, ($6 - $3) / s }'
