/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "util/libc.h"

#include <locale.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/* The decimal point must not depend on the user's language. */
static locale_t c_locale;

static void c_locale_init(void)
{
	c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

double strtod_c(const char *s, char **ret_end)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, c_locale_init);
	return strtod_l(s, ret_end, c_locale);
}

char *find_bytes(const char *in, size_t n, const char *what, size_t n_what)
{
	return n_what ? memmem(in, n, what, n_what) : NULL;
}

void random_bytes(void *ret, size_t n)
{
	(void)!getrandom(ret, n, 0);
}

void host_name(char ret[static HOST_NAME_BYTES])
{
	if (gethostname(ret, HOST_NAME_BYTES) < 0)
		ret[0] = '\0';
	ret[HOST_NAME_BYTES - 1] = '\0';
}
