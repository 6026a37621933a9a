/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/actions/template.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "collect/actions/form.h"
#include "util/cleanup.h"
#include "util/limits.h"
#include "util/mem.h"
#include "util/strbuf.h"

/*
 * The scanner follows the shell's grammar (POSIX.1-2017, 2.2 Quoting, 2.3 Token
 * Recognition) as far as needed to know, at each NAME, whether a reference to a variable is
 * one word there.  Where it is not sure it says "raw": only plain names are put there.
 * Whether the name is nothing but data for all that gets it is form.h's question.
 */
enum frame_kind {
	FRAME_COMMANDS, /* the script, $( ) and ( ): unquoted words */
	FRAME_DOUBLE,   /* "..." */
	FRAME_SINGLE,   /* '...' */
	FRAME_BACKTICK, /* `...` */
	FRAME_PARAM,    /* ${...} */
	FRAME_ARITH,    /* $((...)) */
};

#define MAX_DEPTH 32
#define WORD_MAX 64

struct frame {
	enum frame_kind kind;

	/* FRAME_COMMANDS: the simple command and the word under way */
	char word[WORD_MAX];
	size_t word_len;
	bool in_word;        /* a word has begun, possibly with an empty quoted part */
	bool expect_command; /* the next word is a command's name */
	bool runs_text;      /* the next argument is code to the command */
};

enum segment_kind {
	SEGMENT_TEXT,
	SEGMENT_RAW_NAME,
	SEGMENT_DOMAIN,
	SEGMENT_DOMAIN_ID,
	SEGMENT_ID,
	SEGMENT_UUID
};

struct segment {
	enum segment_kind kind;
	char *text; /* SEGMENT_TEXT */
};

struct action_template {
	struct segment *segments;
	size_t n, cap;
	bool uses_name;
	bool any_name;   /* the configuration says that every name will do */
	bool known_form; /* form_read() knows the name to be data */
	bool plain_only; /* the name itself is put somewhere */
	bool is_code;    /* the name is put where it would be executed */
	struct form form;
};

struct scanner {
	struct action_template *t;
	const char *start, *p;
	bool in_vm;
	const char *uri;
	bool heredoc; /* from here on, words may be the text of a here-document */
	struct frame frames[MAX_DEPTH];
	size_t depth;       /* frames in use */
	struct strbuf text; /* of the text segment under way */
};

static struct frame *top(struct scanner *s)
{
	return &s->frames[s->depth - 1];
}

static bool top_is(const struct scanner *s, enum frame_kind kind)
{
	return s->frames[s->depth - 1].kind == kind;
}

/* The innermost frame that collects words. */
static struct frame *commands(struct scanner *s)
{
	size_t i = s->depth - 1;

	while (s->frames[i].kind != FRAME_COMMANDS)
		i--;
	return &s->frames[i];
}

static bool inside(const struct scanner *s, enum frame_kind kind)
{
	for (size_t i = 0; i < s->depth; i++)
		if (s->frames[i].kind == kind)
			return true;
	return false;
}

/*
 * Commands whose first argument is a command, or a program in their language: a name there is
 * refused, even a plain one.  That catches mistakes; what keeps a name from being executed is
 * what is_safe() asks of it.
 */
static const char *const run_text[] = { "sh", "bash", "dash", "ash", "ksh", "mksh", "zsh",
	"csh", "tcsh", "fish", "rbash", "busybox", "eval", "source", ".", "exec",
	"command", "builtin", "env", "nice", "ionice", "nohup", "setsid", "stdbuf",
	"timeout", "time", "chroot", "sudo", "doas", "xargs", "parallel", "watch", "trap",
	"awk", "gawk", "mawk", "nawk", "sed", "perl", "python", "platform-python", "pypy",
	"ruby", "lua", "php", "tclsh", "expect", "node", "jq", "bc", "dc", "m4", "gdb",
	"ed", "ex", "vi", NULL };

/*
 * What is a command without being a program: the shells' own, and words that do something in
 * the languages that actions are written in.
 */
static const char *const builtins[] = { "abort", "alias", "bg", "bind", "break",
	"builtin", "caller", "case", "cd", "chdir", "command", "compgen", "complete",
	"compopt", "continue", "coproc", "declare", "die", "dirs", "disown", "do", "done",
	"dump", "elif", "else", "enable", "env", "esac", "eval", "exec", "exit", "export",
	"false", "fc", "fg", "fi", "for", "fork", "function", "getline", "getopts",
	"halt", "hash", "help", "history", "if", "in", "jobs", "kill", "let", "local",
	"logout", "mapfile", "next", "popd", "print", "printf", "pushd", "pwd", "quit",
	"raise", "read", "readarray", "readonly", "reset", "return", "run", "select",
	"set", "shift", "shopt", "sleep", "source", "suspend", "test", "then", "time",
	"times", "trap", "true", "type", "typeset", "ulimit", "umask", "unalias", "unset",
	"until", "wait", "whence", "while", NULL };

/* Words after which another command's name follows. */
static const char *const reserved[] = { "if", "then", "else", "elif", "while", "until",
	"do", "!", "{", "time", NULL };

/* True for "perl", "/usr/bin/python3.11" and the like. */
static bool runs_text(const char *word)
{
	const char *slash = strrchr(word, '/');
	_cleanup_free_ char *base = xstrdup(slash && slash[1] ? slash + 1 : word);
	size_t n = strlen(base);

	if (form_in_list(base, run_text))
		return true;
	while (n && strchr("0123456789.", base[n - 1]))
		base[--n] = '\0';
	return form_in_list(base, run_text);
}

static bool is_assignment(const char *word)
{
	size_t n = 0;

	while (form_is_word_char(word[n]))
		n++;
	return n && word[n] == '=' && !(word[0] >= '0' && word[0] <= '9');
}

static void word_add(struct scanner *s, char c)
{
	struct frame *f = commands(s);

	f->in_word = true;
	if (f->word_len < WORD_MAX - 1) {
		f->word[f->word_len++] = c;
		f->word[f->word_len] = '\0';
	}
}

/* True if an argument leaves it open where the command's code begins. */
static bool is_before_code(const char *word)
{
	return word[0] == '-' || is_assignment(word) ||
		strspn(word, "0123456789.smhd") == strlen(word) || runs_text(word);
}

static void word_end(struct scanner *s)
{
	struct frame *f = commands(s);

	if (!f->in_word)
		return;
	/* $( ... ) with a case in it: its ')' cannot be told from the end. */
	if (s->depth > 1 && !strcmp(f->word, "case"))
		s->t->plain_only = true;
	if (f->expect_command && !form_in_list(f->word, reserved) &&
		!is_assignment(f->word)) {
		f->expect_command = false;
		f->runs_text = runs_text(f->word);
	} else if (!f->expect_command) {
		f->runs_text = f->runs_text && is_before_code(f->word);
	}
	f->in_word = false;
	f->word_len = 0;
	f->word[0] = '\0';
}

static void command_end(struct scanner *s)
{
	struct frame *f = commands(s);

	word_end(s);
	f->runs_text = false;
	f->expect_command = true;
}

static void push(struct scanner *s, enum frame_kind kind)
{
	if (s->depth == MAX_DEPTH) {
		s->t->plain_only = true;
		return;
	}
	s->frames[s->depth++] = (struct frame){ .kind = kind, .expect_command = true };
}

static void pop(struct scanner *s)
{
	if (s->depth > 1)
		s->depth--;
}

static void copy(struct scanner *s, size_t n)
{
	strbuf_add(&s->text, s->p, n);
	s->p += n;
}

static void add_segment(struct scanner *s, enum segment_kind kind)
{
	struct action_template *t = s->t;

	if (s->text.len) {
		t->segments = xgrow(t->segments, t->n, &t->cap, sizeof(*t->segments));
		t->segments[t->n++] =
			(struct segment){ SEGMENT_TEXT, strbuf_steal(&s->text) };
	}
	if (kind == SEGMENT_TEXT)
		return;
	t->segments = xgrow(t->segments, t->n, &t->cap, sizeof(*t->segments));
	t->segments[t->n++] = (struct segment){ kind, NULL };
}

/* An odd number of backslashes before the token would take its first character away. */
static bool escaped(const struct scanner *s)
{
	size_t n = 0;

	while (s->p - n > s->start && s->p[-1 - (ptrdiff_t)n] == '\\')
		n++;
	return n % 2;
}

static bool must_be_raw(struct scanner *s)
{
	enum frame_kind kind = top(s)->kind;

	return s->heredoc || (kind != FRAME_COMMANDS && kind != FRAME_DOUBLE) ||
		escaped(s) || inside(s, FRAME_BACKTICK) || inside(s, FRAME_PARAM) ||
		inside(s, FRAME_ARITH);
}

/* In `...`, whose words are not looked at: what stands before the token. */
static bool begins_backtick_command(const struct scanner *s)
{
	const char *p = s->p;

	while (p > s->start && strchr("'\"\\ \t", p[-1]))
		p--;
	return p == s->start || strchr("`;|&(\n{!", p[-1]);
}

/* True where the name would be a command, or the beginning of a program. */
static bool is_code_here(const struct scanner *s, const struct frame *f)
{
	if (top_is(s, FRAME_BACKTICK) && begins_backtick_command(s))
		return true;
	if (s->heredoc)
		return false;
	if (f->expect_command)
		return !is_assignment(f->word);
	return f->runs_text &&
		(!f->word_len || (f->word[0] == '-' && !strchr(f->word, '=')));
}

static void put_name(struct scanner *s)
{
	struct action_template *t = s->t;

	const struct form_domain *domain = t->known_form
		? form_find_domain(&t->form, (size_t)(s->p - s->start))
		: NULL;

	t->uses_name = true;
	t->is_code |= is_code_here(s, commands(s));
	if (domain) {
		add_segment(s, domain->by_id ? SEGMENT_DOMAIN_ID : SEGMENT_DOMAIN);
	} else if (must_be_raw(s)) {
		add_segment(s, SEGMENT_RAW_NAME);
		t->plain_only = true;
	} else if (top_is(s, FRAME_DOUBLE)) {
		strbuf_adds(&s->text, "${VHOSTMD_NAME}");
	} else {
		strbuf_adds(&s->text, "\"${VHOSTMD_NAME}\"");
	}
}

static void put_connect(struct scanner *s)
{
	char quote = top(s)->kind == FRAME_SINGLE ? '"' : '\'';

	if (s->uri)
		strbuf_addf(&s->text, "--connect %c%s%c", quote, s->uri, quote);
}

/* Replaces a token that starts here.  Return: false if none does. */
static bool scan_token(struct scanner *s)
{
	static const char *const vm_tokens[] = { "NAME", "VMID", "UUID", "ID", NULL };
	const char *token = "CONNECT";
	bool found = form_token_at(s->start, s->p, token);

	for (const char *const *k = vm_tokens; s->in_vm && !found && *k; k++)
		found = form_token_at(s->start, s->p, token = *k);
	if (!found)
		return false;
	if (!strcmp(token, "CONNECT"))
		put_connect(s);
	else if (!strcmp(token, "NAME"))
		put_name(s);
	else
		add_segment(s, !strcmp(token, "UUID") ? SEGMENT_UUID : SEGMENT_ID);
	s->p += strlen(token);
	/* whatever it is, it is no command's name that the lists above know */
	word_add(s, '?');
	return true;
}

/* Handles "$", "`" and "\" where they are special.  Return: false if none is here. */
static bool scan_expansion(struct scanner *s)
{
	const char *p = s->p;

	if (*p == '\\' && p[1]) {
		/* "\NAME" is left to scan_token(), which sees the backslash */
		copy(s, 1);
		if (!form_is_word_char(*s->p)) {
			word_add(s, *s->p);
			copy(s, 1);
		}
		return true;
	}
	if (*p == '`') {
		push(s, FRAME_BACKTICK);
		copy(s, 1);
		return true;
	}
	if (*p != '$')
		return false;
	word_add(s, '?');
	if (p[1] == '(' && p[2] == '(') {
		push(s, FRAME_ARITH);
		copy(s, 3);
	} else if (p[1] == '(') {
		copy(s, 2);
		push(s, FRAME_COMMANDS);
	} else if (p[1] == '{') {
		push(s, FRAME_PARAM);
		copy(s, 2);
	} else {
		/* $'...' differs between shells */
		s->t->plain_only |= p[1] == '\'';
		copy(s, 1);
	}
	return true;
}

static void scan_comment(struct scanner *s)
{
	copy(s, strcspn(s->p, "\n"));
}

static void scan_commands(struct scanner *s)
{
	char c = *s->p;

	if (scan_token(s) || scan_expansion(s))
		return;
	if (c == '\'' || c == '"') {
		commands(s)->in_word = true;
		push(s, c == '"' ? FRAME_DOUBLE : FRAME_SINGLE);
	} else if (c == ' ' || c == '\t') {
		word_end(s);
	} else if (c == '#' && !top(s)->in_word) {
		scan_comment(s);
		return;
	} else if (strchr("\n;|&", c)) {
		command_end(s);
	} else if (c == '(') {
		command_end(s);
		push(s, FRAME_COMMANDS);
	} else if (c == ')') {
		command_end(s);
		pop(s);
	} else if (c == '<' || c == '>') {
		s->heredoc |= c == '<' && s->p[1] == '<';
		word_end(s);
	} else {
		word_add(s, c);
	}
	copy(s, 1);
}

static void scan_double(struct scanner *s)
{
	if (*s->p == '"')
		pop(s);
	else if (scan_token(s) || scan_expansion(s))
		return;
	else
		word_add(s, *s->p);
	copy(s, 1);
}

static void scan_single(struct scanner *s)
{
	if (*s->p == '\'')
		pop(s);
	else if (scan_token(s))
		return;
	else
		word_add(s, *s->p);
	copy(s, 1);
}

/* `...`, ${...} and $((...)): every token in them is raw, so only their end matters. */
static void scan_opaque(struct scanner *s)
{
	enum frame_kind kind = top(s)->kind;
	char c = *s->p;

	if (scan_token(s))
		return;
	if (c == '\\' && s->p[1]) {
		copy(s, 1);
	} else if ((kind == FRAME_BACKTICK && c == '`') ||
		(kind == FRAME_PARAM && c == '}')) {
		pop(s);
	} else if (kind == FRAME_ARITH && c == ')' && s->p[1] == ')') {
		pop(s);
		copy(s, 1);
	} else if (kind != FRAME_BACKTICK && c == '$' && s->p[1] == '{') {
		push(s, FRAME_PARAM);
		copy(s, 1);
	}
	copy(s, 1);
}

static void scan(struct scanner *s)
{
	while (*s->p) {
		switch (top(s)->kind) {
		case FRAME_COMMANDS:
			scan_commands(s);
			break;
		case FRAME_DOUBLE:
			scan_double(s);
			break;
		case FRAME_SINGLE:
			scan_single(s);
			break;
		default:
			scan_opaque(s);
			break;
		}
	}
	/* quotes that are not closed: the shell will complain, and so will we */
	if (s->depth > 1)
		s->t->plain_only = true;
	while (s->depth > 1)
		pop(s);
	command_end(s);
	add_segment(s, SEGMENT_TEXT);
}

struct action_template *action_template_new(const struct action_text *action)
{
	struct action_template *t = xcalloc(1, sizeof(*t));
	_cleanup_free_ struct scanner *s = xcalloc(1, sizeof(*s));

	s->t = t;
	s->start = s->p = action->text;
	s->in_vm = action->in_vm;
	s->uri = action->uri;
	t->any_name = action->any_name;
	t->uses_name = action->in_vm && strstr(action->text, "VHOSTMD_NAME");
	t->known_form = action->in_vm && form_read(action->text, &t->form);
	push(s, FRAME_COMMANDS);
	scan(s);
	strbuf_done(&s->text);
	return t;
}

void action_template_free(struct action_template *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n; i++)
		free(t->segments[i].text);
	free(t->segments);
	free(t);
}

static bool is_plain(const char *name)
{
	size_t n = 0;

	if (!form_is_word_char(*name))
		return false;
	while (form_is_word_char(name[n]) || name[n] == '.' || name[n] == '-')
		n++;
	return !name[n] && n <= LIMIT_PLAIN_NAME_BYTES;
}

/*
 * virsh and others take an argument for an id or a uuid before they take it for a name.  They
 * are not strict: white space, signs and dashes are skipped here and there.
 */
static bool is_ambiguous(const char *name)
{
	size_t digits = 0, hex = 0, other = 0;

	for (; *name; name++) {
		if (*name >= '0' && *name <= '9')
			digits++;
		else if ((*name >= 'a' && *name <= 'f') || (*name >= 'A' && *name <= 'F'))
			hex++;
		else if (!strchr(" \t\r\n\v\f+-", *name))
			other++;
	}
	return !other && ((digits && !hex) || digits + hex == 32);
}

/* True if something runs when a shell, or who starts programs, gets that name for a command. */
static bool is_command(const char *name, const char *path)
{
	_cleanup_free_ char *copy = xstrdup(path);
	char *save = NULL;

	if (form_in_list(name, builtins))
		return true;
	for (char *dir = strtok_r(copy, ":", &save); dir;
		dir = strtok_r(NULL, ":", &save)) {
		_cleanup_free_ char *file = xasprintf("%s/%s", dir, name);
		struct stat st;

		if (stat(file, &st) == 0 && S_ISREG(st.st_mode) && st.st_mode & 0111)
			return true;
	}
	return false;
}

static bool survives_echo(const char *name)
{
	return !strchr(name, '\\') &&
		!(name[0] == '-' && !name[1 + strspn(name + 1, "neE")]);
}

#define REMEDY "; use UUID, or <action names=\"any\">"

/* Why a name must not be put into a form that nothing is known of; NULL if it may. */
static const char *refuse_unknown(const char *name, const char *path)
{
	if (!is_plain(name))
		return "the action may take more than a plain name for code" REMEDY;
	if (is_ambiguous(name))
		return "the VM's name may be taken for another VM's id or uuid" REMEDY;
	/* sed's command e runs what follows it */
	const char *e = name + strspn(name, "0123456789");

	if (is_command(name, path) || (*e == 'e' && is_command(e + 1, path)))
		return "the VM's name is that of a command, which the action may run" REMEDY;
	return NULL;
}

const char *action_template_refuses(
	const struct action_template *t, const char *name, const char *path)
{
	if (!t->uses_name)
		return NULL;
	if (t->is_code)
		return "the action would execute the VM's name";
	if (t->plain_only && !is_plain(name))
		return "NAME stands where only a plain name can be put; let it be a word of "
		       "its own, without quotes or in \"...\"";
	if (t->any_name)
		return NULL;
	if (!t->known_form || t->plain_only)
		return refuse_unknown(name, path);
	if (t->form.echoed && !survives_echo(name))
		return "echo would not print the VM's name as it is; use printf '%s' NAME";
	return NULL;
}

/* Names that virsh can only take for names stay what existing files are used to. */
static bool is_clear(const char *name)
{
	return is_plain(name) && !is_ambiguous(name);
}

static void add_value(
	enum segment_kind kind, const struct vm_ident *vm, struct strbuf *out)
{
	bool domain = kind == SEGMENT_DOMAIN || kind == SEGMENT_DOMAIN_ID;
	char uuid[UUID_TEXT_LEN + 1];

	uuid_format(&vm->uuid, uuid);
	if (kind == SEGMENT_RAW_NAME || (domain && is_clear(vm->name)))
		strbuf_adds(out, vm->name);
	else if (kind == SEGMENT_ID || kind == SEGMENT_DOMAIN_ID)
		strbuf_addf(out, "%d", vm->id);
	else
		strbuf_adds(out, uuid);
}

void action_template_expand(
	const struct action_template *t, const struct vm_ident *vm, struct strbuf *out)
{
	for (size_t i = 0; i < t->n; i++) {
		if (t->segments[i].kind == SEGMENT_TEXT)
			strbuf_adds(out, t->segments[i].text);
		else
			add_value(t->segments[i].kind, vm, out);
	}
}

bool action_uri_valid(const char *uri)
{
	for (; *uri; uri++)
		if (!form_is_word_char(*uri) && !strchr(":/?&=+.@%[],~-", *uri))
			return false;
	return true;
}
