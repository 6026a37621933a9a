/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Feeds a fuzz target each file of a folder, prefixes of it, and copies with one byte changed:
 * as many as make a test that takes a moment.  replay FOLDER
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "util/cleanup.h"
#include "util/fileio.h"
#include "util/mem.h"
#include "util/strbuf.h"

#define VARIANTS 400u /* of all files together */

/* In memory of exactly that size, so that a sanitizer sees a read beyond it. */
static void feed(const char *data, size_t size)
{
	uint8_t *copy = xmalloc(size);

	memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

/* @n: how many, about. */
static void feed_variants(struct strbuf *text, size_t n)
{
	size_t step = text->len * 3 / n + 1;
	static const char odd[] = { 0, '<', '>', '&', '\'', '"', '$', '`', '\\', '\n',
		'9', (char)0xff, (char)0xc3, '*' };

	feed(text->data, text->len);
	for (size_t i = 0; i < text->len; i += step) {
		char before = text->data[i];

		feed(text->data, i);
		text->data[i] = odd[i / step % sizeof(odd)];
		feed(text->data, text->len);
		text->data[i] = (char)(before ^ 0x20);
		feed(text->data, text->len);
		text->data[i] = before;
	}
}

/* Return: how many there are. */
static size_t count_files(DIR *dir)
{
	size_t n = 0;

	for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
		n += entry->d_name[0] != '.';
	rewinddir(dir);
	return n;
}

int main(int argc, char **argv)
{
	_cleanup_closedir_ DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;

	if (!dir) {
		fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
		return 2;
	}
	size_t n = count_files(dir);

	for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

		if (entry->d_name[0] == '.')
			continue;
		if (read_file_at(dirfd(dir), entry->d_name, 1u << 20, &text) < 0)
			return 1;
		strbuf_reserve(&text, 1);
		feed_variants(&text, VARIANTS / n + 1);
	}
	printf("%zu files\n", n);
	return n ? 0 : 1;
}
