# SPDX-License-Identifier: LGPL-2.1-or-later
# Makes vhostmd-metrics(7), for scdoc, of the tables of docs/sources.md.

# For scdoc all of these mean something; behind a backslash none does.
function plain(text)
{
	gsub(/[][\\*_`#<>|~.+-]/, "\\\\&", text)
	return text
}

BEGIN {
	FS = " *[|] *"
	print "vhostmd-metrics(7)\n"
	print "# NAME\n\nvhostmd-metrics - what vhostmd knows to measure\n"
	print "# DESCRIPTION\n"
	print "The names that a *<source>* of vhostmd.conf(5) may have, as _vhostmd --list-sources_ prints them."
	print "Each has its type and unit here, what it says, where it is from, and what it is called in"
	print "_metrics.prom_. '\\*' stands for a number: of a virtual CPU, a disk, an interface or the like.\n"
	print "A source that does not apply to a host or VM gives no metric, one that cannot be had now one"
	print "without a value (*SAMPLING* in *vhostmd*(8)). \"absent: unlimited\" says what it means if there is"
	print "none. Which of them a host shows, and under which names, is its configuration's affair. A histogram"
	print "is in _metrics.prom_ alone, and for no guest."
}
/^## / { printf "\n# %s\n", toupper(substr($0, 4)) }
/^[|] `/ {
	gsub(/`/, "")
	printf "\n*%s* (%s", plain($2), $4
	if ($5 != "-" && $5 != "1")
		printf ", %s", plain($5)
	printf ")\n\t%s. From: %s.", plain($7), plain($6)
	if ($8 != "-")
		printf " _%s_", plain($8)
	printf "\n"
}
END {
	print "\n# SEE ALSO\n\nvhostmd.conf(5), vhostmd(8), vm-dump-metrics(1)"
}
