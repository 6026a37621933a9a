/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A fuzz target is one function.  Linked with replay.c it is a test that feeds it the
 * corpus and simple mutations of it; linked with -fsanitize=fuzzer (clang, -Dfuzz=true) it
 * is a fuzzer.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
