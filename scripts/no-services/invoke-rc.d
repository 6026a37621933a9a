#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Starts nothing, for apt_install() of lib.sh.
exit 0
