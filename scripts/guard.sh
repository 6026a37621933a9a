# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Leaves the machine as it was, however a script ends.  Sourced by lib.sh; guarded() makes three
# processes of a script:
#
#   front  What the user started.  Waits for the guard and ends with its status.  INT, TERM and
#          HUP make it close a pipe; whatever else ends it, KILL too, closes that as well.
#   guard  In a session of its own, so that no terminal reaches it.  Starts the work; when that
#          has ended, or the pipe is closed, it ends what is left of the work, undoes what the
#          record tells, and ends.
#   work   The script from there on, in another session.  It cleans nothing up, needs no trap,
#          and may be killed between any two of its steps.
#
# The record is a directory.  Its path in their environment is the mark of the work's
# processes, and so is the work's session, as long as its guard lives.  Its file "undo" holds commands, each written before the deed: so each must also do
# for what was not done yet, or is undone already.  The guard keeps the record locked; one that
# nobody has locked was left by a guard that was killed, and the next guard sees to it.  A script
# that a script starts (a test) has its record inside the other's.
# shellcheck disable=SC2034 # record and scratch are for those that source this

guard_script=$0
[[ $guard_script == /* ]] || guard_script=$PWD/$guard_script
guard_base=/run/vhostmd-scripts
[ "$(id -u)" = 0 ] || guard_base=/tmp/vhostmd-scripts-$(id -u)

# Returns in the work: guarded ARGUMENT...  Sets $record, and $scratch: a directory for temporary
# files that is removed at the end, mounts below it too; it is $TMPDIR of all that is started.
guarded()
{
	if [ -n "${VHOSTMD_WORK:-}" ]; then
		unset VHOSTMD_WORK
		trap - INT
		record=$VHOSTMD_RECORD scratch=$TMPDIR
		return
	fi
	guard_front "$@"
}

# ---- the front ----

guard_front()
{
	local alive='' end_of_alive end_of_guard ended lock status=0 try
	guard_stopped=''
	trap 'guard_stop 130' INT
	trap 'guard_stop 143' TERM
	trap 'guard_stop 129' HUP
	if ! guard_new_record; then
		rm -rf "$record"
		rmdir "$guard_base" 2>/dev/null
		[ -z "$guard_stopped" ] || exit "$guard_stopped"
		die "no record can be made in $guard_base"
	fi
	# 3: errors; 4: its end is the guard's; 5: the lock
	guard_exec "$top/scripts" "$record" "$guard_script" "$@" \
		<&"$end_of_alive" 3>&2 4>&"$end_of_guard" 5<&"$lock" \
		{alive}>&- {end_of_alive}<&- {end_of_guard}>&- {ended}<&- {lock}<&- &
	exec {end_of_alive}<&- {end_of_guard}>&-
	[ -z "$guard_stopped" ] || guard_close
	# bounded: a signal just before a wait would not end it
	until read -r -t 1 -u "$ended" || [ $? -le 128 ]; do :; done
	wait $! || status=$?
	guard_close
	# a guard that was killed did not, perhaps before it had its own session
	for try in 1 2 3; do
		[ -e "$record/undo" ] || break
		guard_exec "$top/scripts" "$record" 3>&2 {ended}<&- &
		while kill -0 $! 2>/dev/null; do wait $!; done
	done
	exit "${guard_stopped:-$status}"
}

guard_exec()
{
	exec setsid env --default-signal bash -c \
		'. "$1/lib.sh"; . "$1/guest-lib.sh"; shift; guard_main "$@"' guard "$@"
}

# A directory with a lock, and with two pipes that tell each side of the other's end.
guard_new_record()
{
	local base=${VHOSTMD_RECORD:-$guard_base} try
	record=$base/$$-$RANDOM
	for try in 1 2 3; do # another script's end may remove the base at any time
		mkdir -m 700 "$base" 2>/dev/null
		[ -O "$base" ] && [ ! -L "$base" ] || return
		mkdir "$record" 2>/dev/null && break
	done
	exec {lock}<"$record" && flock -n "$lock" &&
		mkfifo "$record/alive" "$record/guard" &&
		exec {alive}<>"$record/alive" {end_of_alive}<"$record/alive" &&
		exec {end_of_guard}<>"$record/guard" {ended}<"$record/guard" &&
		: >"$record/undo"
}

guard_stop()
{
	[ -z "$guard_stopped" ] || return 0
	guard_stopped=$1
	guard_close
	say "interrupted; cleaning up" >&2
}

guard_close()
{
	[ -z "$alive" ] || exec {alive}>&-
	alive=''
}

# ---- the guard ----

# guard_main RECORD [SCRIPT ARGUMENT...]: without a script cleans up only
guard_main()
{
	local record=$1 status=0 work=''
	trap : INT TERM HUP PIPE
	exec 6<&0 </dev/null
	[ $# -eq 1 ] || guard_work "${@:2}"
	guard_clean "$record" "$work"
	exit $status
}

# Sets $status, and $work, which is its session, too.
guard_work()
{
	local scratch=/tmp/vhostmd-${record##*/} watch
	if [ -n "${VHOSTMD_RECORD:-}" ]; then
		scratch=$TMPDIR/${record##*/} # short: sockets are in it
	else
		guard_mend
	fi
	guard_scratch
	VHOSTMD_WORK=yes VHOSTMD_RECORD=$record TMPDIR=$scratch \
		setsid env --default-signal bash "$@" 2>&3 3>&- 4>&- 5<&- 6<&- &
	work=$!
	(
		read -r <&6
		kill -KILL "$work"
	) 4>&- 5<&- &
	watch=$!
	while :; do
		wait "$work"
		status=$?
		kill -0 "$work" || break
	done
	kill "$watch" && wait "$watch"
} 2>/dev/null

# The name is known to the record before the directory is there.
guard_scratch()
{
	printf '%s\n' "$scratch" >"$record/scratch"
	mkdir -m 700 "$scratch" && chmod 1777 "$scratch" && return
	rm -rf "$record" # it is somebody else's
	rmdir "$guard_base"
	die "$scratch cannot be made" 2>&3
}

# Cleans up for guards that were killed.
guard_mend()
{
	local left lock
	for left in "$guard_base"/*/; do
		left=${left%/}
		[ -e "$left/undo" ] || [ -n "$(find "$left" -maxdepth 0 -mmin +1 2>/dev/null)" ] ||
			continue # there is none, or it is being made
		exec {lock}<"$left" || continue
		if flock -n "$lock"; then
			say "cleaning up after a script that was killed" >&3
			guard_clean "$left"
		fi
		exec {lock}<&-
	done
}

# guard_clean RECORD [SESSION]
guard_clean()
{
	guard_wait_unbroken "$1"
	guard_end_processes "$@"
	guard_undo "$1"
	rmdir "$guard_base" 2>/dev/null
}

# Those inside first: they were made later.
guard_undo()
{
	local record=$1 scratch='' inner command
	for inner in "$record"/*/; do
		[ ! -d "$inner" ] || guard_undo "${inner%/}"
	done
	guests_destroy
	while read -r command; do
		eval "$command" </dev/null >/dev/null
	done < <(tac "$record/undo" 2>/dev/null)
	[ ! -e "$record/scratch" ] || scratch=$(<"$record/scratch")
	if [ -n "$scratch" ] && [ -O "$scratch" ]; then
		guard_unmount_below "$scratch"
		rm -rf --one-file-system "$scratch"
	fi
	rm -rf "$record"
}

# Innermost first.  The kernel writes blanks in paths as \040 and the like.
guard_unmount_below()
{
	local path
	awk -v d="$1/" 'index($5, d) == 1 {print $5}' /proc/self/mountinfo | tac |
		while read -r path; do umount -l "$(printf '%b' "$path")"; done
}

# Takes away what a vhostmd left that had to be killed; one that serves answers.
unmount_dead()
{
	[[ $(stat "$1" 2>&1) == *'not connected'* ]] && umount -l "$1" && rmdir "$1"
}

# ---- processes ----

# The work's: those with the record, or one inside it, in their environment; and those in its session,
# for some write over their environment, as Perl where a program sets its title, and are nobody's
# descendants once the work has ended: guard_marked RECORD [SESSION]
guard_marked()
{
	grep -lszE "^VHOSTMD_RECORD=$1(/|\$)" /proc/[0-9]*/environ | cut -d/ -f3
	[ -z "${2:-}" ] || cat /proc/[0-9]*/stat 2>/dev/null |
		awk -v s="$2" '{pid = $1; sub(/.*\) /, ""); if ($4 == s && $1 !~ /[ZX]/) print pid}'
}

# "PID START" of all descendants of these processes: some have an environment of their own.
guard_descendants()
{
	cat /proc/[0-9]*/stat 2>/dev/null | awk -v roots="$*" '
		{pid = $1; sub(/.*\) /, ""); parent[pid] = $2; start[pid] = $20}
		END {
			n = split(roots, r, " ")
			for (i = 1; i <= n; i++) ours[r[i]] = 1
			do {
				more = 0
				for (p in parent)
					if (!(p in ours) && (parent[p] in ours)) {
						ours[p] = more = 1
						print p, start[p]
					}
			} while (more)
		}'
}

# Ends them: shells at once, so that nothing new begins; vhostmd and others in order, as long as
# that does not take long.  A request of virsh is waited for: what libvirt was told to make,
# it makes.  libvirt's daemons are left to libvirt_undo().  guard_end_processes RECORD [SESSION]
guard_end_processes()
{
	local begin=$SECONDS age pid limit pids left strays='' start
	local -A told=()
	while :; do
		pids=() left=''
		for pid in $(guard_marked "$@" | sort -u); do
			if guard_is_libvirt "$pid"; then kill -CONT "$pid"; else pids+=("$pid"); fi
		done
		[ ${#pids[@]} -gt 0 ] || break
		[ -n "$strays" ] || strays=$(guard_descendants "${pids[@]}")
		age=$((SECONDS - begin))
		for pid in "${pids[@]}"; do
			case $(readlink "/proc/$pid/exe") in
			*/bash | */dash) limit=0 ;;
			*/virsh) limit=20 told[$pid]=1 ;;
			*/vhostmd*) limit=10 ;;
			*) limit=2 ;;
			esac
			if [ $age -ge $limit ]; then
				kill -KILL "$pid"
			elif [ -z "${told[$pid]:-}" ]; then
				told[$pid]=1
				kill -TERM "$pid"
				kill -CONT "$pid"
			fi
		done
		if [ $age -ge 30 ]; then
			say "these processes do not end: ${pids[*]}" >&3
			break
		fi
		sleep 0.05
	done 2>/dev/null
	while read -r pid start; do
		guard_started_at "$pid" "$start" && ! guard_is_libvirt "$pid" && kill -KILL "$pid"
	done 2>/dev/null <<<"$strays"
}

guard_is_libvirt() { [[ $(readlink "/proc/$1/exe") =~ /(libvirtd|virtlogd)( |$) ]]; }

guard_start_of() { sed 's/.*) //' "/proc/$1/stat" | cut -d' ' -f20; }
guard_started_at() { [ -n "$2" ] && [ "$(guard_start_of "$1")" = "$2" ]; }

# ---- for the work ----

# Has a command run at the end, with functions of scripts/*.sh: undo_later COMMAND...
undo_later() { printf '%q ' "$@" >>"$record/undo" && echo >>"$record/undo"; }

# Runs a command that must not end halfway: an interruption takes effect after it.
unbroken()
{
	(
		pid=$BASHPID # in $() it is another
		echo "$pid $(guard_start_of "$pid")" >"$record/unbroken"
		exec env -u VHOSTMD_RECORD -u TMPDIR setsid "$@"
	)
}

guard_wait_unbroken()
{
	local pid='' start='' said=''
	[ ! -e "$1/unbroken" ] || read -r pid start <"$1/unbroken"
	while guard_started_at "$pid" "$start" 2>/dev/null; do
		[ -n "$said" ] || say "waiting for packages that are being installed" >&3
		said=yes
		sleep 0.1
	done
}
