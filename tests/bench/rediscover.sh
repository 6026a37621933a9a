#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What a reader sees while a VM is looked at again, and how often that happens.
exec bash "$(dirname "$0")/../guest/rediscover.sh"
