/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Many readers of a VM that comes and goes under one name: many-readers MOUNT NAME THREADS.
 * Standard input says, line by line, what is certain from then on: "in UUID" (the VM runs
 * under that uuid), "gone" (no VM of that name runs) or "unknown" (it is about to change).
 * At its end the readers stop.  What a reader finds must be what was certain both before
 * and after.  Prints how often each question was answered; fails with the first wrong one.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAX_THREADS 4096
#define UUID_LEN 36
#define NS_PER_S 1000000000
#define MAX_PAUSE_NS 400000000
/*
 * A reader rests for so many times as long as its last question took, too, so that on a
 * slow machine only every so many readers wait for a processor, and libvirt gets one.
 */
#define REST 20
#define MAX_REST_NS (4 * (int64_t)NS_PER_S)

struct truth {
	unsigned number; /* of the line */
	bool certain, in;
	char uuid[UUID_LEN + 1];      /* the last under which it ran */
	char last_uuid[UUID_LEN + 1]; /* another before that */
};

static const char *mount_dir, *name;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards truth */
static struct truth truth;
static atomic_bool stopping;
static atomic_long answers[6];
static atomic_long wrong;

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * (int64_t)NS_PER_S + ts.tv_nsec;
}

static struct truth get_truth(void)
{
	pthread_mutex_lock(&lock);
	struct truth t = truth;

	pthread_mutex_unlock(&lock);
	return t;
}

/* Return: 0 or the errno; the file's whole content in @text. */
static int read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t n = 0;
	ssize_t r;

	if (fd < 0)
		return errno;
	while ((r = read(fd, text + n, size - 1 - n)) > 0)
		n += (size_t)r;
	int error = r < 0 ? errno : 0;

	close(fd);
	text[n] = '\0';
	return error;
}

/* True if the directory can be read to its end; *@ret_found: whether it holds @entry. */
static bool list(DIR *dir, const char *entry, bool *ret_found)
{
	*ret_found = false;
	rewinddir(dir);
	for (;;) {
		errno = 0;
		const struct dirent *e = readdir(dir);

		if (!e)
			return errno == 0;
		*ret_found |= !strcmp(e->d_name, entry);
	}
}

static bool right_uuid(const struct truth *t)
{
	char path[512], text[128], expected[UUID_LEN + 2];

	snprintf(path, sizeof(path), "%s/metrics/vm/%s/uuid", mount_dir, name);
	snprintf(expected, sizeof(expected), "%s\n", t->uuid);
	int error = read_text(path, text, sizeof(text));

	return t->in ? !error && !strcmp(text, expected) : error == ENOENT;
}

/* The link of a VM that does not run is not there. */
static bool right_link(const char *uuid, bool in)
{
	char path[512], target[512];

	snprintf(path, sizeof(path), "%s/metrics/vm-by-uuid/%s", mount_dir, uuid);
	ssize_t n = readlink(path, target, sizeof(target) - 1);

	if (n < 0)
		return !in && errno == ENOENT;
	target[n] = '\0';
	return in && (size_t)n > strlen(name) &&
		!strcmp(target + (size_t)n - strlen(name), name);
}

static bool right_links(const struct truth *t)
{
	return (!t->last_uuid[0] || right_link(t->last_uuid, false)) &&
		(!t->uuid[0] || right_link(t->uuid, t->in));
}

static bool right_listing(const struct truth *t)
{
	char path[512];
	bool found = false;

	snprintf(path, sizeof(path), "%s/metrics/vm", mount_dir);
	DIR *dir = opendir(path);
	bool ok = dir && list(dir, name, &found) && found == t->in;

	if (dir)
		closedir(dir);
	return ok;
}

static bool right_stat(const struct truth *t)
{
	char path[512];
	struct stat st;

	snprintf(path, sizeof(path), "%s/metrics/vm/%s", mount_dir, name);
	return t->in ? stat(path, &st) == 0 && S_ISDIR(st.st_mode)
		     : stat(path, &st) < 0 && errno == ENOENT;
}

/* The disk is there whether or not the VM is. */
static bool right_disk(const struct truth *t)
{
	char path[512], head[4];

	snprintf(path, sizeof(path), "%s/disk/%s.img", mount_dir,
		t->uuid[0] ? t->uuid : "00000000-0000-4000-8000-000000000000");
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool ok = fd >= 0 && pread(fd, head, 4, 0) == 4 && !memcmp(head, "mvbd", 4);

	if (fd >= 0)
		close(fd);
	return ok;
}

/* A directory that is open can be read whatever becomes of the VM. */
static bool right_open_directory(DIR **dir)
{
	char path[512];
	bool found;

	if (*dir) {
		bool ok = list(*dir, "uuid", &found);

		if (random() % 8 == 0) {
			closedir(*dir);
			*dir = NULL;
		}
		return ok;
	}
	snprintf(path, sizeof(path), "%s/metrics/vm/%s", mount_dir, name);
	*dir = opendir(path);
	return *dir || errno == ENOENT;
}

static bool (*const questions[])(const struct truth *) = { right_uuid, right_links,
	right_listing, right_stat, right_disk };
static const char *const titles[] = { "uuid", "links", "listing", "stat", "disk",
	"open directory" };
#define N_QUESTIONS (sizeof(questions) / sizeof(questions[0]))

static void complain(const struct truth *t, size_t question)
{
	if (atomic_fetch_add(&wrong, 1))
		return;
	fprintf(stderr, "%s, while %s %s (before: %s)\n", titles[question],
		t->in ? "in" : "gone", t->uuid, t->last_uuid);
}

static void ask(size_t question, DIR **dir)
{
	struct truth before = get_truth();
	bool open_dir = question == N_QUESTIONS;

	if (!open_dir && !before.certain)
		return;
	bool right = open_dir ? right_open_directory(dir) : questions[question](&before);

	if (!open_dir && before.number != get_truth().number)
		return;
	if (!right)
		complain(&before, question);
	atomic_fetch_add(&answers[question], 1);
}

static void *reader(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	int64_t took_ns = 0;
	DIR *dir = NULL;

	while (!atomic_load(&stopping)) {
		int64_t rest_ns =
			REST * took_ns < MAX_REST_NS ? REST * took_ns : MAX_REST_NS;
		int64_t pause_ns = rest_ns + rand_r(&seed) % MAX_PAUSE_NS;
		struct timespec pause = { pause_ns / NS_PER_S, pause_ns % NS_PER_S };

		nanosleep(&pause, NULL);
		int64_t start_ns = now_ns();

		ask((size_t)rand_r(&seed) % (N_QUESTIONS + 1), &dir);
		took_ns = now_ns() - start_ns;
	}
	if (dir)
		closedir(dir);
	return NULL;
}

static void learn(const char *line)
{
	pthread_mutex_lock(&lock);
	truth.number++;
	truth.in = !strncmp(line, "in ", 3);
	truth.certain = truth.in || !strncmp(line, "gone", 4);
	if (truth.in && strncmp(truth.uuid, line + 3, UUID_LEN) != 0) {
		memcpy(truth.last_uuid, truth.uuid, sizeof(truth.uuid));
		snprintf(truth.uuid, sizeof(truth.uuid), "%.*s", UUID_LEN, line + 3);
	}
	pthread_mutex_unlock(&lock);
}

int main(int argc, char **argv)
{
	static pthread_t threads[MAX_THREADS];
	pthread_attr_t attr;
	char line[128];
	long n = argc == 4 ? strtol(argv[3], NULL, 10) : 0, started = 0;

	if (n < 1 || n > MAX_THREADS) {
		fprintf(stderr, "usage: many-readers MOUNT NAME THREADS\n");
		return 2;
	}
	mount_dir = argv[1];
	name = argv[2];
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 << 10);
	for (; started < n; started++)
		if (pthread_create(
			    &threads[started], &attr, reader, (void *)(uintptr_t)started))
			break;
	pthread_attr_destroy(&attr);
	while (fgets(line, sizeof(line), stdin))
		learn(line);
	atomic_store(&stopping, true);
	for (long i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	printf("readers %ld", started);
	for (size_t i = 0; i <= N_QUESTIONS; i++)
		printf(", %s %ld", titles[i], atomic_load(&answers[i]));
	printf(", wrong %ld\n", atomic_load(&wrong));
	return wrong || started < n;
}
