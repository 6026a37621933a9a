/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The frequency that the host's processors are sold with: what they hold under full load,
 * neither the boost nor what they run at just now, which would tell one guest what another
 * does.  Any thread.
 */
#pragma once

#include <stdint.h>

/*
 * Of the first CPU that is online.
 * @root_fd: the directory that holds proc and sys.  Return: MHz, 0 if nothing tells it.
 */
uint64_t cpu_frequency_nominal_mhz(int root_fd);
