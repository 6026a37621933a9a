/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The log's lines with fields of their own, where standard error leads to systemd's journal. */
#pragma once

/*
 * Has util/log write to the journal if standard error is one, as systemd.exec(5) says of
 * JOURNAL_STREAM.  Fields: MESSAGE, PRIORITY, and VM_NAME, VM_UUID, METRIC where the line is about
 * one.  Before other threads start.  Does nothing in a build without libsystemd.
 */
void journal_start(void);
