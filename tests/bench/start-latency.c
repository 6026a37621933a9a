/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * start-latency URI MOUNT FILE COUNT: waits for COUNT VMs to start, each with a channel, and
 * prints for each the milliseconds from libvirt's lifecycle event, as this client gets it,
 * to the first successful read of MOUNT/metrics/vm/NAME/FILE, and until its channel is
 * connected.
 */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libvirt/libvirt.h>

static const char *mount, *file;
static long left, channels;

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static int readable(const char *path)
{
	char text[64];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));

	if (fd >= 0)
		close(fd);
	return n > 0;
}

/*
 * How many channels are connected, by the kernel: QEMU's ends have its socket's name
 * (/proc/net/unix).  The daemon's status is told to who asks on and on no more than three times
 * a second.
 */
static long connected(void)
{
	enum { SS_CONNECTED = 3 };
	char line[512];
	unsigned state;
	long n = 0;
	FILE *f = fopen("/proc/net/unix", "re");

	/* number, references, protocol, flags, type, state, inode, path */
	while (f && fgets(line, sizeof(line), f))
		n += strstr(line, "/org.github.vhostmd.1\n") &&
			sscanf(line, "%*s %*x %*x %*x %*x %x", &state) == 1 &&
			state == SS_CONNECTED;
	if (f)
		fclose(f);
	return n;
}

static int on_lifecycle(
	virConnectPtr conn, virDomainPtr dom, int event, int detail, void *data)
{
	char path[PATH_MAX];
	double start = now_ms();

	(void)conn;
	(void)detail;
	(void)data;
	if (event != VIR_DOMAIN_EVENT_STARTED || left <= 0)
		return 0;
	snprintf(path, sizeof(path), "%s/metrics/vm/%s/%s", mount, virDomainGetName(dom),
		file);
	while (!readable(path) && now_ms() - start < 10000)
		poll(NULL, 0, 1);
	double file_ms = now_ms() - start;

	channels++;
	while (connected() < channels && now_ms() - start < 10000)
		poll(NULL, 0, 1);
	printf("%.2f %.2f\n", file_ms, now_ms() - start);
	fflush(stdout);
	left--;
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 5) {
		fprintf(stderr, "usage: start-latency URI MOUNT FILE COUNT\n");
		return 2;
	}
	mount = argv[2];
	file = argv[3];
	left = strtol(argv[4], NULL, 10);
	virEventRegisterDefaultImpl();
	virConnectPtr conn = virConnectOpenReadOnly(argv[1]);

	if (!conn ||
		virConnectDomainEventRegisterAny(conn, NULL,
			VIR_DOMAIN_EVENT_ID_LIFECYCLE,
			VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle), NULL, NULL) < 0)
		return 1;
	channels = connected();
	printf("ready\n");
	fflush(stdout);
	while (left > 0 && virEventRunDefaultImpl() == 0)
		continue;
	virConnectClose(conn);
	return left > 0;
}
