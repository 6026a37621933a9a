/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The library behaves in somebody else's program: many threads at once, children that are forked
 * in the middle of that, loading and unloading, and no memory left.  What it leaves behind is
 * nothing: no descriptor, no signal handler, no setting.
 */
#include <dlfcn.h>
#include <errno.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vhostmd/libmetrics.h>

#define THREADS 8
#define ROUNDS 200
#define FORKS 10

static int (*get)(const char *name, metric **ret, metric_context context);
static void (*release)(metric *m);

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static void look(void)
{
	metric *m = NULL;

	if (get("TotalPhyCPUs", &m, METRIC_CONTEXT_HOST) != 0)
		die("get_metric");
	if (m->type != M_UINT32 || m->value.ui32 != 8)
		die("another value");
	release(m);
	if (get("HostName", &m, METRIC_CONTEXT_HOST) != 0 ||
		strcmp(m->value.str, "a < b") != 0)
		die("another text");
	release(m);
	if (get("nothing", &m, METRIC_CONTEXT_HOST) == 0 || m || errno != ENOMSG)
		die("a metric that is not there");
}

static void *look_often(void *arg)
{
	for (int i = 0; i < ROUNDS; i++)
		look();
	return arg;
}

static void await(pid_t pid, const char *what)
{
	int status = 0;

	if (pid < 0)
		die("fork");
	if (waitpid(pid, &status, 0) != pid || status != 0)
		die(what);
}

static void fork_and_look(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		alarm(60); /* were it to wait for what a thread of the parent held */
		look();
		_exit(0);
	}
	await(pid, "the child");
}

/* In a child, since there is no way back. */
static void look_without_memory(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct rlimit none = { 0, 0 };
		metric *m = (metric *)1;

		if (setrlimit(RLIMIT_AS, &none) < 0)
			_exit(1);
		for (size_t size = 1 << 20; size >= 8; size /= 2)
			while (malloc(size))
				;
		int r = get("HostName", &m, METRIC_CONTEXT_HOST);

		_exit(r == -1 && !m && errno == ENOMEM ? 0 : 1);
	}
	await(pid, "without memory");
}

static int count_descriptors(void)
{
	struct stat st;
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fstat(fd, &st) == 0;
	return n;
}

static void load_look_unload(const char *path)
{
	pthread_t threads[THREADS];
	void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (!lib)
		die(path);
	*(void **)&get = dlsym(lib, "get_metric");
	*(void **)&release = dlsym(lib, "metric_free");
	if (!get || !release)
		die("dlsym");
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, look_often, NULL) != 0)
			die("pthread_create");
	for (int i = 0; i < FORKS; i++)
		fork_and_look();
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	look_without_memory();
	dlclose(lib);
	if (dlopen(path, RTLD_NOW | RTLD_NOLOAD))
		die("it stays loaded");
}

int main(int argc, char **argv)
{
	struct sigaction before, after;
	int n = count_descriptors();
	const char *locale = setlocale(LC_ALL, "");
	char *was = strdup(locale ? locale : "C");
	mode_t mask = umask(022);

	if (argc != 2)
		return 2;
	umask(mask);
	sigaction(SIGPIPE, NULL, &before);
	for (int round = 0; round < 3; round++)
		load_look_unload(argv[1]);
	sigaction(SIGPIPE, NULL, &after);
	if (count_descriptors() != n)
		die("descriptors are left");
	if (before.sa_handler != after.sa_handler || umask(mask) != mask ||
		strcmp(setlocale(LC_ALL, NULL), was) != 0)
		die("a setting is another");
	free(was);
	return 0;
}
