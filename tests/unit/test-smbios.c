/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The firmware's table as Windows gives it: whose uuid it is, and that nothing in it is believed. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"
#include "util/cleanup.h"
#include "util/uuid.h"
#include "windows/smbios.h"

#define TEXT "00112233-4455-6677-8899-aabbccddeeff"
#define SWAPPED "33221100-5544-7766-8899-aabbccddeeff"

/* A BIOS structure with two texts, the system's of 27 bytes, and the end. */
static const uint8_t table[] = { 0, 2, 8, 0, 61, 0, 0, 0, /* */
	0, 6, 0, 0, 1, 2, 'a', 0, 'b', 0, 0,              /* */
	1, 27, 1, 0, 1, 2, 3, 4,                          /* */
	0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc,
	0xdd, 0xee, 0xff,                 /* */
	6, 5, 6,                          /* */
	'Q', 'E', 'M', 'U', 0, 'v', 0, 0, /* */
	127, 4, 0, 254, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };

enum { MAJOR = 1, MINOR = 2, LENGTH = 4, BIOS = 8, SYSTEM = BIOS + 11 };

/* In memory of just that size, so that AddressSanitizer sees who reads more. */
static bool find(const uint8_t *bytes, size_t n, char ret[static UUID_TEXT_LEN + 1])
{
	uint8_t *copy = malloc(n ? n : 1);
	struct uuid uuid = { { 0 } };

	assert_non_null(copy);
	memcpy(copy, bytes, n);
	bool found = smbios_uuid(copy, n, &uuid);

	free(copy);
	uuid_format(&uuid, ret);
	return found;
}

static void the_byte_order_is_that_of_the_version(void **state)
{
	static const struct {
		uint8_t major, minor;
		const char *text;
	} versions[] = { { 2, 8, SWAPPED }, { 2, 6, SWAPPED }, { 3, 0, SWAPPED },
		{ 2, 5, TEXT }, { 1, 9, TEXT } };
	uint8_t bytes[sizeof(table)];
	char text[UUID_TEXT_LEN + 1];

	(void)state;
	memcpy(bytes, table, sizeof(table));
	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		bytes[MAJOR] = versions[i].major;
		bytes[MINOR] = versions[i].minor;
		assert_true(find(bytes, sizeof(bytes), text));
		assert_string_equal(text, versions[i].text);
	}
}

static void what_has_none_is_told(void **state)
{
	static const struct {
		size_t at;
		uint8_t byte;
	} changes[] = { { SYSTEM, 2 }, /* another structure */
		{ SYSTEM + 1, 23 },    /* of a version that has no uuid */
		{ SYSTEM + 1, 3 }, { BIOS + 1, 3 }, { BIOS + 1, 0 }, { BIOS + 1, 255 },
		{ BIOS, 127 }, /* the end comes first */
		{ LENGTH, 12 }, { LENGTH, 0 } };
	uint8_t bytes[sizeof(table)];
	char text[UUID_TEXT_LEN + 1];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
		memcpy(bytes, table, sizeof(table));
		bytes[changes[i].at] = changes[i].byte;
		assert_false(find(bytes, sizeof(bytes), text));
	}
}

static void a_table_ends_anywhere(void **state)
{
	const size_t needed = SYSTEM + 27 + 8;
	char text[UUID_TEXT_LEN + 1];

	(void)state;
	for (size_t n = 0; n <= sizeof(table); n++)
		assert_int_equal(find(table, n, text), n >= needed);
}

static void any_bytes_are_borne(void **state)
{
	uint8_t bytes[sizeof(table)];
	char text[UUID_TEXT_LEN + 1];
	unsigned seed = 1, n_found = 0;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		memcpy(bytes, table, sizeof(table));
		for (int i = 0; i < 3; i++)
			bytes[(size_t)rand_r(&seed) % sizeof(bytes)] =
				(uint8_t)rand_r(&seed);
		n_found += find(bytes, (size_t)rand_r(&seed) % (sizeof(bytes) + 1), text);
	}
	assert_true(n_found > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_byte_order_is_that_of_the_version),
		cmocka_unit_test(what_has_none_is_told),
		cmocka_unit_test(a_table_ends_anywhere),
		cmocka_unit_test(any_bytes_are_borne),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
