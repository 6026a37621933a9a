/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/actions/form.h"

#include <string.h>

#include "util/cleanup.h"

/*
 * Something is tainted when a name may be in it: NAME itself, whatever a command prints, and
 * all variables once one has been given something tainted.  What is tainted may only go where
 * the functions below say so.
 */

#define WORD_MAX 512
#define MAX_WORDS 32
#define MAX_DEPTH 8

struct word {
	char text[WORD_MAX]; /* without quotes; expansions and tokens are left out */
	size_t len;
	bool literal; /* text is all there is */
	bool quoted;  /* some of it, so it is no reserved word */
	bool tainted;
	bool splits;     /* something tainted stands in it without quotes */
	bool glob;       /* so does a character of patterns */
	bool single;     /* NAME stands in '...' */
	bool connect;    /* CONNECT and nothing else */
	bool name_alone; /* NAME and nothing else, with or without quotes */
	size_t name_at;  /* its offset */
};

struct reader {
	const char *text, *p;
	struct form *form;
	bool variables; /* tainted */
	unsigned depth;
};

/* A command with its arguments. */
struct command {
	struct word words[MAX_WORDS];
	size_t n;
	bool tainted_input;
};

bool form_is_word_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') || c == '_';
}

bool form_in_list(const char *word, const char *const *list)
{
	for (; *list; list++)
		if (!strcmp(word, *list))
			return true;
	return false;
}

bool form_token_at(const char *text, const char *p, const char *token)
{
	size_t n = strlen(token);

	return !strncmp(p, token, n) && !form_is_word_char(p[n]) &&
		(p == text || (!form_is_word_char(p[-1]) && p[-1] != '$'));
}

const struct form_domain *form_find_domain(const struct form *form, size_t offset)
{
	for (size_t i = 0; i < form->n_domains; i++)
		if (form->domains[i].offset == offset)
			return &form->domains[i];
	return NULL;
}

/* ---- words ---- */

static bool read_list(struct reader *r);

static bool add_char(struct word *w, char c)
{
	if (w->len == WORD_MAX - 1)
		w->literal = false; /* long enough for all that must be known */
	else
		w->text[w->len++] = c;
	w->connect = w->name_alone = false;
	return true;
}

/* A token that starts here, with what it means for the word.  Return: its length, or 0. */
static size_t read_token(struct reader *r, struct word *w)
{
	static const char *const tokens[] = { "NAME", "CONNECT", "VMID", "UUID", "ID" };

	for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
		if (!form_token_at(r->text, r->p, tokens[i]))
			continue;
		bool first = w->literal && !w->len;

		w->name_alone = i == 0 && first;
		w->connect = i == 1 && first;
		w->tainted |= i == 0;
		w->name_at = (size_t)(r->p - r->text);
		w->literal = false;
		return strlen(tokens[i]);
	}
	return 0;
}

static bool read_single(struct reader *r, struct word *w)
{
	for (r->p++; *r->p != '\''; r->p++) {
		if (!*r->p)
			return false;
		w->single |= form_token_at(r->text, r->p, "NAME");
		size_t n = read_token(r, w);

		if (n)
			r->p += n - 1;
		else
			add_char(w, *r->p);
	}
	r->p++;
	return true;
}

/* A $ before something else than a name: a special parameter, or itself. */
static bool read_dollar(struct reader *r, struct word *w, bool in_double)
{
	char c = r->p[1];

	if (c && strchr("?#!@*-$", c)) {
		w->connect = w->name_alone = w->literal = false;
		r->p += 2;
		return true;
	}
	/* not $'...', which differs between shells, nor $[...], which calculates in some */
	return (!c || strchr(in_double ? "\" /|)" : " \t\n", c)) && add_char(w, *r->p++);
}

static bool read_substitution(struct reader *r)
{
	r->p += 2;
	if (*r->p == '(' || ++r->depth > MAX_DEPTH || !read_list(r))
		return false;
	r->depth--;
	return true;
}

/* $x, ${x}, $(...); more than a name in ${...} is not known. */
static bool read_expansion(struct reader *r, struct word *w, bool in_double)
{
	static const char name[] = "VHOSTMD_NAME";
	bool brace = r->p[1] == '{', substitution = r->p[1] == '(';
	const char *start = r->p + 1 + brace;
	size_t n = 0;

	while (form_is_word_char(start[n]))
		n++;
	if (!substitution && !brace && !n)
		return read_dollar(r, w, in_double);
	if (substitution ? !read_substitution(r) : (!n || (brace && start[n] != '}')))
		return false;
	if (!substitution)
		r->p = start + n + brace;
	bool tainted = substitution || r->variables ||
		(n == strlen(name) && !strncmp(start, name, n));

	w->connect = w->name_alone = w->literal = false;
	w->tainted |= tainted;
	w->splits |= tainted && !in_double;
	return true;
}

/* A backslash in "...".  Return: false where it would take a token's first letter away. */
static bool read_escape(struct reader *r, struct word *w)
{
	char c = r->p[1];

	if (!c || (c >= 'A' && c <= 'Z'))
		return false;
	if (!strchr("$`\"\\\n", c))
		return add_char(w, *r->p++);
	if (c != '\n')
		add_char(w, c);
	r->p += 2;
	return true;
}

static bool read_double(struct reader *r, struct word *w)
{
	r->p++;
	while (*r->p != '"') {
		size_t n = read_token(r, w);

		r->p += n;
		if (n)
			continue;
		if (!*r->p || *r->p == '`')
			return false;
		if (*r->p == '$'                ? !read_expansion(r, w, true)
				: *r->p == '\\' ? !read_escape(r, w)
						: !add_char(w, *r->p++))
			return false;
	}
	r->p++;
	return true;
}

static bool read_plain(struct reader *r, struct word *w)
{
	size_t n = read_token(r, w);

	if (n) {
		r->p += n;
		return true;
	}
	if (*r->p == '$')
		return read_expansion(r, w, false);
	if (*r->p == '\\') {
		if (!r->p[1] || form_is_word_char(r->p[1]))
			return false;
		if (r->p[1] != '\n')
			add_char(w, r->p[1]);
		r->p += 2;
		return true;
	}
	if (strchr("`{}~", *r->p))
		return false;
	w->glob |= strchr("*?[", *r->p) != NULL;
	return add_char(w, *r->p++);
}

static bool read_word(struct reader *r, struct word *w)
{
	*w = (struct word){ .literal = true };
	while (*r->p && !strchr(" \t\n;|&<>()", *r->p)) {
		bool quote = *r->p == '\'' || *r->p == '"';

		w->quoted |= quote;
		if (!(*r->p == '\''         ? read_single(r, w)
				    : quote ? read_double(r, w)
					    : read_plain(r, w)))
			return false;
	}
	w->text[w->len] = '\0';
	return !(w->tainted && w->glob);
}

/* Between words: blanks, lines that go on, comments. */
static void skip_blanks(struct reader *r)
{
	for (;;) {
		if (*r->p == ' ' || *r->p == '\t')
			r->p++;
		else if (*r->p == '\\' && r->p[1] == '\n')
			r->p += 2;
		else if (*r->p == '#')
			r->p += strcspn(r->p, "\n");
		else
			return;
	}
}

/* ---- commands ---- */

static bool is_literal(const struct word *w, const char *text)
{
	return w->literal && !strcmp(w->text, text);
}

static bool is_option(const struct word *w)
{
	return w->literal && w->text[0] == '-';
}

static bool any_tainted(const struct command *c, size_t from)
{
	for (size_t i = from; i < c->n; i++)
		if (c->words[i].tainted)
			return true;
	return false;
}

static bool any_single(const struct command *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->words[i].single)
			return true;
	return false;
}

/* Formats other than %s may calculate, or read escapes in what they print. */
static bool only_strings(const struct word *format)
{
	const char *p = format->text;

	if (!format->literal || *p == '-')
		return false;
	while ((p = strchr(p, '%'))) {
		p++;
		p += strspn(p, "-0123456789.");
		if (*p != 's' && *p != '%')
			return false;
		p++;
	}
	return true;
}

static bool accept_printf(struct reader *r, const struct command *c)
{
	(void)r;
	size_t format = c->n > 1 && is_literal(&c->words[1], "--") ? 2 : 1;

	return c->n > format && only_strings(&c->words[format]);
}

static bool accept_echo(struct reader *r, const struct command *c)
{
	r->form->echoed |= any_tainted(c, 1);
	return true;
}

/* Comparisons of text alone: those of numbers calculate in some shells. */
static bool accept_test(struct reader *r, const struct command *c)
{
	static const char *const unary[] = { "-n", "-z", NULL };
	static const char *const binary[] = { "=", "!=", NULL };
	bool bracket = is_literal(&c->words[0], "[");
	size_t n = c->n - 1 - bracket;

	(void)r;
	if (bracket && !is_literal(&c->words[c->n - 1], "]"))
		return false;
	for (size_t i = 1; i <= n; i++)
		if (c->words[i].splits)
			return false;
	return !any_tainted(c, 1) ||
		(n == 2 && c->words[1].literal &&
			form_in_list(c->words[1].text, unary)) ||
		(n == 3 && c->words[2].literal && form_in_list(c->words[2].text, binary));
}

/* Commands of virsh's that have a domain as their first argument, and only look. */
static const char *const of_domains[] = { "blkdeviotune", "blkiotune", "cpu-stats",
	"domblkerror", "domblkinfo", "domblklist", "domblkstat", "domcontrol",
	"domdisplay", "domfsinfo", "domhostname", "domid", "domif-getlink", "domifaddr",
	"domiflist", "domifstat", "dominfo", "domjobinfo", "dommemstat", "domname",
	"domstate", "domstats", "domtime", "domuuid", "dumpxml", "emulatorpin",
	"guestinfo", "guestvcpus", "iothreadinfo", "memtune", "numatune", "perf",
	"schedinfo", "snapshot-current", "snapshot-list", "ttyconsole", "vcpucount",
	"vcpuinfo", "vcpupin", "vncdisplay", NULL };

/* Return: the index of the command, behind virsh's own options; c->n if there is none. */
static size_t virsh_command(const struct command *c)
{
	static const char *const with_value[] = { "-c", "--connect", "-d", "--debug",
		"-l", "--log", "-e", "--escape", "-k", "--keepalive-interval", "-K",
		"--keepalive-count", NULL };
	size_t i = 1;

	while (i < c->n && (c->words[i].connect || is_option(&c->words[i])))
		i += !c->words[i].connect && form_in_list(c->words[i].text, with_value)
			? 2
			: 1;
	return i < c->n ? i : c->n;
}

/* A name is the domain of a known command, alone in its word, or it is not there at all. */
static bool accept_virsh(struct reader *r, const struct command *c)
{
	size_t i = virsh_command(c), domain = i + 1;

	if (!any_tainted(c, 1))
		return i < c->n; /* without one it reads commands */
	if (i == c->n || !c->words[i].literal ||
		!form_in_list(c->words[i].text, of_domains))
		return false;
	if (domain < c->n && is_literal(&c->words[domain], "--domain"))
		domain++;
	if (domain >= c->n || !c->words[domain].name_alone ||
		any_tainted(c, domain + 1) || r->form->n_domains == FORM_MAX_DOMAINS)
		return false;
	for (size_t k = 1; k < domain; k++)
		if (c->words[k].tainted)
			return false;
	r->form->domains[r->form->n_domains++] =
		(struct form_domain){ .offset = c->words[domain].name_at,
			.by_id = !strcmp(c->words[i].text, "domuuid") };
	return true;
}

/* /re/, a number or $, perhaps two of them.  Return: what follows. */
static const char *skip_sed_address(const char *p)
{
	do {
		p += *p == ',';
		if (*p == '/') {
			for (p++; *p && *p != '/'; p++)
				p += *p == '\\' && p[1];
			p += *p == '/';
		} else {
			p += *p == '$' ? 1 : strspn(p, "0123456789");
		}
	} while (*p == ',');
	return p + strspn(p, " !");
}

/* s/re/text/ with flags that neither write nor execute.  Return: what follows, or NULL. */
static const char *skip_sed_substitution(const char *p)
{
	char delimiter = *++p;

	if (!delimiter || delimiter == '\\' || delimiter == '\n')
		return NULL;
	for (int parts = 0; parts < 2; parts++) {
		for (p++; *p && *p != delimiter; p++)
			p += *p == '\\' && p[1];
		if (!*p)
			return NULL;
	}
	return p + 1 + strspn(p + 1, "gpIi0123456789");
}

static bool is_sed_script(const char *p)
{
	for (;;) {
		p = skip_sed_address(p + strspn(p, " \t\n;"));
		if (*p == 's')
			p = skip_sed_substitution(p);
		else if (*p && strchr("pdq=", *p))
			p++;
		else
			return false;
		if (!p)
			return false;
		p += strspn(p, " \t");
		if (!*p)
			return true;
		if (!strchr(";\n", *p))
			return false;
		p += strspn(p, " \t\n;");
		if (!*p)
			return true;
	}
}

static bool accept_sed(struct reader *r, const struct command *c)
{
	static const char *const options[] = { "-n", "-e", "-E", "-r", "-ne", "-nE",
		"-nr", NULL };
	size_t i = 1;

	(void)r;
	while (i < c->n && is_option(&c->words[i]))
		if (!form_in_list(c->words[i++].text, options))
			return false;
	/* options may stand behind the script, too */
	for (size_t k = i + 1; k < c->n; k++)
		if (!c->words[k].literal || is_option(&c->words[k]))
			return false;
	return i < c->n && c->words[i].literal && is_sed_script(c->words[i].text);
}

/*
 * Nothing of it starts a command, calls what data names, or writes a file: behind the first print
 * any > might be that.
 */
static bool is_awk_script(const char *script)
{
	const char *print = strstr(script, "print");

	if (strstr(script, "system") || strstr(script, "getline") ||
		strstr(script, "ENVIRON") || strchr(script, '@'))
		return false;
	if (print && strchr(print, '>'))
		return false;
	for (const char *p = script; (p = strchr(p, '|')); p += 2)
		if (p[1] != '|')
			return false;
	return true;
}

static bool accept_awk(struct reader *r, const struct command *c)
{
	size_t i = 1;

	(void)r;
	while (i < c->n && is_option(&c->words[i])) {
		const char *option = c->words[i].text;

		if (option[1] != 'F' && option[1] != 'v')
			return false;
		i += option[2] ? 1 : 2;
	}
	return i < c->n && c->words[i].literal && is_awk_script(c->words[i].text);
}

/* Long options might name programs that get the data. */
static bool accept_filter(struct reader *r, const struct command *c)
{
	(void)r;
	for (size_t i = 1; i < c->n; i++)
		if (!c->words[i].literal || !strncmp(c->words[i].text, "--", 2))
			return false;
	return true;
}

/* What it has read goes to its output alone, not to a file that -o names. */
static bool accept_sort(struct reader *r, const struct command *c)
{
	for (size_t i = 1; i < c->n; i++)
		if (is_option(&c->words[i]) && strchr(c->words[i].text, 'o'))
			return false;
	return accept_filter(r, c);
}

/* Likewise: the second file is its output. */
static bool accept_uniq(struct reader *r, const struct command *c)
{
	for (size_t i = 1; i < c->n; i++)
		if (!is_option(&c->words[i]))
			return false;
	return accept_filter(r, c);
}

static bool accept_any(struct reader *r, const struct command *c)
{
	(void)r;
	(void)c;
	return true;
}

/* All commands that may be there. */
static const struct known {
	const char *name;
	bool (*accept)(struct reader *r, const struct command *c);
	bool arguments; /* may be tainted */
	bool input;     /* may be tainted: it is read as data */
} known[] = {
	{ "printf", accept_printf, true, false },
	{ "echo", accept_echo, true, false },
	{ "test", accept_test, true, false },
	{ "[", accept_test, true, false },
	{ "virsh", accept_virsh, true, false },
	{ "sed", accept_sed, false, true },
	{ "awk", accept_awk, false, true },
	{ "gawk", accept_awk, false, true },
	{ "mawk", accept_awk, false, true },
	{ "nawk", accept_awk, false, true },
	{ "cat", accept_filter, false, true },
	{ "cut", accept_filter, false, true },
	{ "egrep", accept_filter, false, true },
	{ "fgrep", accept_filter, false, true },
	{ "grep", accept_filter, false, true },
	{ "head", accept_filter, false, true },
	{ "sort", accept_sort, false, true },
	{ "tail", accept_filter, false, true },
	{ "tr", accept_filter, false, true },
	{ "uniq", accept_uniq, false, true },
	{ "wc", accept_filter, false, true },
	{ "date", accept_any, false, false },
	{ "false", accept_any, false, false },
	{ "hostname", accept_any, false, false },
	{ "sleep", accept_any, false, false },
	{ "true", accept_any, false, false },
	{ "uname", accept_any, false, false },
};

static bool accept(struct reader *r, struct command *c)
{
	const char *name = c->words[0].text, *slash = strrchr(name, '/');

	if (!c->words[0].literal)
		return false;
	name = slash ? slash + 1 : name;
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		const struct known *k = &known[i];
		size_t domains = r->form->n_domains;

		if (strcmp(name, k->name) != 0)
			continue;
		return (k->arguments || !any_tainted(c, 1)) &&
			(k->input || !c->tainted_input) && k->accept(r, c) &&
			/* in '...' only what has no special characters can be put */
			(!any_single(c) || r->form->n_domains != domains);
	}
	return false;
}

/* x=...; only variables that mean nothing to a shell may get what is tainted. */
static bool accept_assignment(struct reader *r, const struct word *w)
{
	static const char small[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
	size_t n = strcspn(w->text, "=");

	if (!w->tainted)
		return true;
	r->variables = true;
	if (w->single || !n)
		return false;
	return n == 1 ? w->text[0] != '_' : strspn(w->text, small) == n;
}

static bool is_assignment(const char *p)
{
	size_t n = 0;

	while (form_is_word_char(p[n]))
		n++;
	return n && p[n] == '=' && !(p[0] >= '0' && p[0] <= '9');
}

/* Nothing tainted goes into a file, and no name of a file is tainted. */
static bool read_redirection(struct reader *r)
{
	static const char *const sinks[] = { "/dev/null", "/dev/stderr", NULL };
	bool in = *r->p == '<', copy = false;
	struct word w;

	r->p++;
	if (*r->p == '>' && !in)
		r->p++;
	copy = *r->p == '&';
	r->p += copy;
	if (strchr("<>&|(", *r->p) && *r->p)
		return false;
	skip_blanks(r);
	if (!read_word(r, &w) || !w.literal || !w.len)
		return false;
	return copy ? strspn(w.text, "0123456789-") == w.len
		    : in || form_in_list(w.text, sinks);
}

/* One word of a command, or what stands in the place of one. */
static bool read_part(struct reader *r, struct command *c)
{
	static const char *const prefixes[] = { "if", "then", "else", "elif", "fi", "!",
		NULL };
	bool assignment = !c->n && is_assignment(r->p);
	struct word *w = &c->words[c->n];

	if (*r->p == '<' || *r->p == '>')
		return read_redirection(r);
	if (c->n == MAX_WORDS || *r->p == '(' || !read_word(r, w))
		return false;
	if ((*r->p == '<' || *r->p == '>') && w->literal && !w->quoted &&
		strspn(w->text, "0123456789") == w->len)
		return true; /* the number of a descriptor */
	if (assignment)
		return accept_assignment(r, w);
	if (!c->n && w->literal && !w->quoted && form_in_list(w->text, prefixes))
		return true;
	c->n++;
	return true;
}

static bool read_command(struct reader *r, bool tainted_input)
{
	struct command c = { .tainted_input = tainted_input };

	skip_blanks(r);
	while (*r->p && !strchr("\n;|&)", *r->p)) {
		if (!read_part(r, &c))
			return false;
		skip_blanks(r);
	}
	return !c.n || accept(r, &c);
}

/* What ends a command.  Return: false if it is not known. */
static bool read_operator(struct reader *r, bool *ret_pipe)
{
	const char *p = r->p;

	*ret_pipe = *p == '|' && p[1] != '|';
	if (*p == '&' && p[1] != '&')
		return false;
	if ((*p == '|' && p[1] == '&') || (*p == ';' && p[1] == ';'))
		return false;
	r->p += (*p == '&' || (*p == '|' && p[1] == '|')) ? 2 : 1;
	/* a pipeline may go on in the next line */
	if (*ret_pipe)
		r->p += strspn(r->p, " \t\n");
	return true;
}

/* Up to the end of the text, or the parenthesis that ends $(...). */
static bool read_list(struct reader *r)
{
	bool nested = r->depth > 0, pipe = false;

	for (;;) {
		if (!read_command(r, pipe))
			return false;
		if (*r->p == ')') {
			r->p++;
			return nested;
		}
		if (!*r->p)
			return !nested;
		if (!read_operator(r, &pipe))
			return false;
	}
}

bool form_read(const char *text, struct form *ret)
{
	struct form form = { 0 };
	struct reader r = { .text = text, .p = text, .form = &form };

	if (!read_list(&r))
		return false;
	*ret = form;
	return true;
}
