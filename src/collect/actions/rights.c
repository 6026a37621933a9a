/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/actions/rights.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/mem.h"
#include "util/strbuf.h"
#include "util/user.h"

#define OTHER_USER "<actions><user> names one who has it"
#define READ_WRITE                                                                       \
	"write /usr/bin/virsh in place of virsh, and let <actions><user> name one who has it"
#define WORD_MAX 512

/* The first that is found counts: the more special stand first. */
static const struct right rights[] = {
	{ "read only access prevents",
		"it asks libvirt for more than reading, and virsh in actions may only read",
		READ_WRITE },
	{ "get system bus connection",
		"libvirt lets only root in where polkit cannot be asked",
		"start D-Bus, or set auth_unix_ro = \"none\" in libvirtd.conf" },
	{ "libvirt-sock-ro': Permission denied",
		"libvirt's socket for readers is not open to its user",
		"set unix_sock_ro_perms = \"0777\" in libvirtd.conf, or " OTHER_USER },
	{ "-sock-ro': Permission denied",
		"libvirt's socket for readers is not open to its user",
		"set unix_sock_ro_perms = \"0777\", or " OTHER_USER },
	{ "-sock': Permission denied",
		"it asks libvirt for more than reading, which is not open to its user",
		"call virsh without a path or with -r, or " OTHER_USER },
	{ "org.libvirt.unix.manage",
		"it asks libvirt for more than reading, which polkit does not grant its user",
		"call virsh without a path or with -r, or " OTHER_USER },
	{ "org.libvirt.", "polkit does not let its user read from libvirt",
		"allow org.libvirt.unix.monitor, or " OTHER_USER },
	{ "authentication unavailable", "libvirt does not let its user in", OTHER_USER },
	{ "authentication failed", "libvirt does not let its user in", OTHER_USER },
	{ "error: access denied", "libvirt does not let its user do that", OTHER_USER },
	{ "ermission denied", "its user may not read or run something", OTHER_USER },
	{ "peration not permitted", "its user may not do something", OTHER_USER },
	{ "must be root", "it wants to be run by root", OTHER_USER },
	{ "are you root", "it wants to be run by root", OTHER_USER },
	{ "be superuser", "it wants to be run by root", OTHER_USER },
};

const struct right *rights_complaint(const char *err)
{
	for (size_t i = 0; i < ARRAY_LEN(rights); i++)
		if (strstr(err, rights[i].sign))
			return &rights[i];
	return NULL;
}

/* ---- a virsh that only reads ---- */

char *rights_virsh_dir(const struct user *user)
{
	/* where it was built; where it was moved to as a whole; where it was installed */
	static const char *const places[] = { "%s/libexec", "%s/../libexec/vhostmd",
		VHOSTMD_COMMANDS_DIR };
	char self[4096] = "";
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash = n > 0 ? strrchr(self, '/') : NULL;

	if (slash)
		*slash = '\0';
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		const char *below = strncmp(places[i], "%s", 2) ? NULL : places[i] + 2;
		_cleanup_free_ char *dir =
			below ? xasprintf("%s%s", self, below) : xstrdup(places[i]);
		_cleanup_free_ char *virsh = xasprintf("%s/virsh", dir);

		/* its interpreter has to read it, too; a colon would end it in PATH */
		if (!strchr(dir, ':') && user_may(user, virsh, R_OK | X_OK) == 0)
			return TAKE_PTR(dir);
	}
	return NULL;
}

/* ---- foretelling ---- */

/* Programs that are of no use to anybody but root. */
static const char *const for_root[] = { "dmidecode", "lvs", "vgs", "pvs", "lvdisplay",
	"vgdisplay", "pvdisplay", "dmsetup", "multipath", "smartctl", "hdparm",
	"ipmitool", "iptables", "ip6tables", "nft", "ebtables", "xl", "xm", "xentop",
	"xenstore-read", "xenstore-ls", "megacli", "storcli", "fdisk", NULL };

/* What virsh may not do when it only reads, among that which has figures to show. */
static const char *const needs_more[] = { "guestinfo", "guestvcpus", "domtime",
	"domfsinfo", "domhostname", "get-user-sshkeys", "qemu-monitor-command",
	"qemu-agent-command", "--security-info", NULL };

struct foretelling {
	const struct user *user;
	const char *path;
	struct strbuf *out;
	bool has_virsh; /* one that only reads stands in front of PATH */

	/* the command under way */
	bool in_virsh, virsh_reads;
};

static bool in_list(const char *word, const char *const *list)
{
	for (; *list; list++)
		if (!strcmp(word, *list))
			return true;
	return false;
}

static void say(struct foretelling *f, const char *what, const char *why)
{
	strbuf_addf(f->out, "%s%s %s", f->out->len ? "\n" : "", what, why);
}

static bool denied(struct foretelling *f, const char *path, int mode)
{
	struct stat st;

	return stat(path, &st) == 0 && user_may(f->user, path, mode) == -EACCES;
}

/* Files that the text names. */
static void check_file(struct foretelling *f, const char *path)
{
	if (denied(f, path, R_OK) && denied(f, path, X_OK))
		say(f, path, "is not open to its user; " OTHER_USER);
}

static void check_sockets(struct foretelling *f)
{
	static const char *const sockets[] = { "/run/libvirt/libvirt-sock-ro",
		"/run/libvirt/virtqemud-sock-ro" };
	static const char bus[] = "/run/dbus/system_bus_socket";
	bool open = false;

	for (size_t i = 0; i < ARRAY_LEN(sockets); i++) {
		if (denied(f, sockets[i], W_OK))
			say(f, sockets[i],
				"is not open to its user, so virsh cannot read; set "
				"unix_sock_ro_perms = \"0777\", or " OTHER_USER);
		open |= user_may(f->user, sockets[i], W_OK) == 0;
	}
	if (open && user_may(f->user, bus, W_OK) < 0)
		say(f, bus,
			"cannot be reached, so libvirt with polkit lets only root read; "
			"start D-Bus, or set auth_unix_ro = \"none\" in libvirtd.conf");
}

/* Return: true if PATH leads to it, and its user may not run it. */
static bool may_not_run(struct foretelling *f, const char *command)
{
	_cleanup_free_ char *copy = xstrdup(f->path);
	char *save = NULL;

	for (char *dir = strtok_r(copy, ":", &save); dir;
		dir = strtok_r(NULL, ":", &save)) {
		_cleanup_free_ char *file = xasprintf("%s/%s", dir, command);
		struct stat st;

		if (user_may(f->user, file, X_OK) == 0)
			return false;
		if (stat(file, &st) == 0 && S_ISREG(st.st_mode) && st.st_mode & 0111)
			return true;
	}
	return false;
}

static void check_command(struct foretelling *f, const char *word)
{
	const char *slash = strrchr(word, '/');
	const char *base = slash ? slash + 1 : word;

	if (in_list(base, for_root))
		say(f, base, "is for root alone; " OTHER_USER);
	else if (!slash && may_not_run(f, word))
		say(f, word, "is not open to its user; " OTHER_USER);
	f->in_virsh = !strcmp(base, "virsh");
	f->virsh_reads = f->has_virsh && !slash;
	if (f->in_virsh)
		check_sockets(f);
}

static void end_command(struct foretelling *f)
{
	if (f->in_virsh && !f->virsh_reads)
		say(f, "virsh",
			f->has_virsh
				? "is called by its path and without -r, so it asks for "
				  "all of libvirt; write virsh alone, or " OTHER_USER
				: "without -r asks for all of libvirt, and vhostmd's own "
				  "is not installed; add -r, or " OTHER_USER);
	f->in_virsh = false;
}

static void check_word(struct foretelling *f, const char *word, bool is_command)
{
	if (is_command)
		check_command(f, word);
	else if (f->in_virsh && in_list(word, needs_more))
		say(f, word, "is more than virsh may ask who only reads; " READ_WRITE);
	else if (!strcmp(word, "-r") || !strcmp(word, "--readonly"))
		f->virsh_reads = true;
	if (word[0] == '/')
		check_file(f, word);
}

/* Only roughly the shell's words: what is overlooked is said when the action runs. */
void rights_foretell(
	const char *text, const struct user *user, const char *path, struct strbuf *out)
{
	_cleanup_free_ char *virsh_dir = rights_virsh_dir(user);
	struct foretelling f = {
		.user = user, .path = path, .out = out, .has_virsh = virsh_dir != NULL
	};
	bool is_command = true;

	for (const char *p = text; *p;) {
		size_t n = strcspn(p, " \t\r\n'\"`$(){};|&<>=,\\");
		char word[WORD_MAX];

		if (n && n < sizeof(word)) {
			memcpy(word, p, n);
			word[n] = '\0';
			check_word(&f, word, is_command);
			is_command = false;
		}
		p += n;
		if (*p && strchr("\n;|&(`{", *p)) {
			/* a backslash before it: the line goes on */
			is_command = p == text || p[-1] != '\\';
			if (is_command)
				end_command(&f);
		}
		p += *p != '\0';
	}
	end_command(&f);
}
