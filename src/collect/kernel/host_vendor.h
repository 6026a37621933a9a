/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who makes the host's operating system, and with it the virtualization platform: a company
 * or a project, never a product.  Any thread.
 */
#pragma once

/*
 * From os-release(5) in the root directory @root_fd: by a table the name that the
 * distribution's package database has for its maker, else what the file says itself.
 * Return: the caller's to free; NULL if nothing is known.
 */
char *host_vendor(int root_fd);
