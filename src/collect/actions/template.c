/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "collect/actions/template.h"

#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/mem.h"
#include "util/strbuf.h"

/*
 * The scanner follows the shell's grammar (POSIX.1-2017, 2.2 Quoting, 2.3 Token
 * Recognition) as far as needed to know, at each token, what the shell will do with the
 * text there.  Where it is not sure it says "raw", which is always safe: only names
 * without special characters pass.
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
	bool interpreter;    /* the command has a word that is an interpreter's name */
	bool dynamic;        /* the command has expansions or tokens outside '...' */
	bool echo, printf;   /* its name */
	bool printf_b;       /* printf's format has %b, which reads escapes */
	size_t n_args;       /* words after the name that are complete */
	bool virsh;          /* its name is virsh */
	bool quoted_text;    /* a token stands in "..." among other text */

	/* FRAME_DOUBLE */
	size_t content_len; /* characters so far */
	size_t tokens;
};

enum segment_kind { SEGMENT_TEXT, SEGMENT_RAW_NAME, SEGMENT_ID, SEGMENT_UUID };

struct segment {
	enum segment_kind kind;
	char *text; /* SEGMENT_TEXT */
};

struct action_template {
	struct segment *segments;
	size_t n, cap;
	bool uses_name;
	bool plain_only;   /* the name must be free of special characters */
	bool no_dash;      /* the name must not look like an option */
	bool echoed;       /* the name goes through echo, which reads escapes */
	bool format;       /* the name is part of printf's format */
	bool name_command; /* the name would be run */
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

static bool is_word_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') || c == '_';
}

static bool in_list(const char *word, const char *const *list)
{
	for (; *list; list++)
		if (!strcmp(word, *list))
			return true;
	return false;
}

/* Commands that parse text of theirs, or of their input, as shell commands. */
static const char *const shells[] = { "sh", "bash", "dash", "ash", "ksh", "mksh", "zsh",
	"csh", "tcsh", "fish", "rbash", "busybox", "eval", "source", ".", "ssh", "su",
	"sudo", "doas", "runuser", "xargs", "parallel", "watch", "script", "at", "batch",
	"trap", "alias", "flock", "screen", "tmux", "env", NULL };

/* Commands that parse an argument as a program of their own language. */
static const char *const interpreters[] = { "awk", "gawk", "mawk", "nawk", "sed", "perl",
	"python", "python2", "python3", "ruby", "lua", "php", "tclsh", "expect", "node",
	"jq", "bc", "dc", "m4", "find", "xmllint", "xmlstarlet", "sqlite3", "psql",
	"mysql", "gdb", "vi", "ed", "ex", "make", "expr", "grep", "egrep", "zgrep",
	NULL };

/* Words after which another command's name follows. */
static const char *const reserved[] = { "if", "then", "else", "elif", "while", "until",
	"do", "!", "{", "time", "exec", "command", "nice", "nohup", "setsid", "builtin",
	NULL };

static const char *base_name(const char *word)
{
	const char *slash = strrchr(word, '/');

	return slash && slash[1] ? slash + 1 : word;
}

static bool is_assignment(const char *word)
{
	size_t n = 0;

	while (is_word_char(word[n]))
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

static void word_end(struct scanner *s)
{
	struct frame *f = commands(s);

	if (!f->in_word)
		return;
	const char *base = base_name(f->word);

	if (in_list(base, shells))
		s->t->plain_only = true;
	if (in_list(base, interpreters))
		f->interpreter = true;
	/* $( ... ) with a case in it: its ')' cannot be told from the end. */
	if (s->depth > 1 && !strcmp(base, "case"))
		s->t->plain_only = true;
	if (f->expect_command && !in_list(f->word, reserved) && !is_assignment(f->word)) {
		f->expect_command = false;
		f->echo = !strcmp(base, "echo");
		f->printf = !strcmp(base, "printf");
		f->virsh = !strcmp(base, "virsh");
	} else if (!f->expect_command) {
		f->printf_b |= f->printf && !f->n_args && strstr(f->word, "%b");
		f->n_args++;
	}
	f->in_word = false;
	f->word_len = 0;
	f->word[0] = '\0';
}

/* The simple command is complete: draw conclusions from what was seen in it. */
static void command_end(struct scanner *s)
{
	struct frame *f = commands(s);

	word_end(s);
	if (f->interpreter && f->dynamic)
		s->t->plain_only = true;
	if (f->virsh && f->quoted_text)
		s->t->plain_only = true; /* virsh splits such an argument itself */
	f->interpreter = f->dynamic = f->virsh = f->quoted_text = false;
	f->echo = f->printf = f->printf_b = false;
	f->n_args = 0;
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

/* What the name's place means for names that are only text, but not harmless text. */
static void note_name(struct scanner *s)
{
	struct frame *f = commands(s);

	s->t->uses_name = true;
	f->dynamic = true;
	if (f->expect_command && !is_assignment(f->word) && !s->heredoc)
		s->t->name_command = true;
	if (f->echo)
		s->t->echoed = true;
	else if (f->printf)
		s->t->format |= !f->n_args || f->printf_b;
	else if (!f->word_len)
		s->t->no_dash = true;
	if (top(s)->kind == FRAME_DOUBLE)
		top(s)->tokens++;
}

static void put_name(struct scanner *s)
{
	note_name(s);
	if (must_be_raw(s)) {
		add_segment(s, SEGMENT_RAW_NAME);
		s->t->plain_only = true;
	} else if (top(s)->kind == FRAME_DOUBLE) {
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

static bool is_token(const struct scanner *s, const char *word)
{
	size_t n = strlen(word);

	return !strncmp(s->p, word, n) && !is_word_char(s->p[n]);
}

/* Replaces a token that starts here.  Return: false if none does. */
static bool scan_token(struct scanner *s)
{
	static const char *const vm_tokens[] = { "NAME", "VMID", "UUID", "ID", NULL };
	const char *token = "CONNECT";
	bool found = is_token(s, token);

	/* whole words only; $NAME is a variable of the shell's */
	if (s->p > s->start && (is_word_char(s->p[-1]) || s->p[-1] == '$'))
		return false;
	for (const char *const *k = vm_tokens; s->in_vm && !found && *k; k++)
		found = is_token(s, token = *k);
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
	if (top(s)->kind == FRAME_DOUBLE)
		top(s)->content_len++;
	return true;
}

/* Handles "$", "`" and "\" where they are special.  Return: false if none is here. */
static bool scan_expansion(struct scanner *s)
{
	const char *p = s->p;

	if (*p == '\\' && p[1]) {
		/* "\NAME" is left to scan_token(), which sees the backslash */
		copy(s, 1);
		if (!is_word_char(*s->p)) {
			word_add(s, *s->p);
			copy(s, 1);
		}
		return true;
	}
	if (*p == '`') {
		commands(s)->dynamic = true;
		push(s, FRAME_BACKTICK);
		copy(s, 1);
		return true;
	}
	if (*p != '$')
		return false;
	commands(s)->dynamic = true;
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

static void end_double(struct scanner *s)
{
	struct frame *f = top(s);

	if (f->tokens && f->content_len != f->tokens)
		commands(s)->quoted_text = true;
	pop(s);
	copy(s, 1);
}

static void scan_double(struct scanner *s)
{
	if (*s->p == '"') {
		end_double(s);
		return;
	}
	if (scan_token(s))
		return;
	top(s)->content_len++;
	if (scan_expansion(s))
		return;
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
	} else if (kind == FRAME_BACKTICK) {
		/* its commands are not looked at closely: any interpreter may be there */
		s->t->plain_only |= s->t->uses_name;
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

struct action_template *action_template_new(const char *text, bool in_vm, const char *uri)
{
	struct action_template *t = xcalloc(1, sizeof(*t));
	_cleanup_free_ struct scanner *s = xcalloc(1, sizeof(*s));

	s->t = t;
	s->start = s->p = text;
	s->in_vm = in_vm;
	s->uri = uri;
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
	if (!*name || *name == '-')
		return false;
	for (; *name; name++)
		if (!is_word_char(*name) && *name != '.' && *name != '-')
			return false;
	return true;
}

static bool survives_echo(const char *name)
{
	return !strchr(name, '\\') &&
		!(name[0] == '-' && !name[1 + strspn(name + 1, "neE")]);
}

const char *action_template_refuses(const struct action_template *t, const char *name)
{
	if (!t->uses_name)
		return NULL;
	if (t->name_command)
		return "the action would run the VM's name as a command";
	if (t->plain_only && !is_plain(name))
		return "the VM's name has special characters, and NAME stands where another "
		       "program would interpret them; use UUID, or NAME as an own argument";
	if (t->no_dash && name[0] == '-')
		return "the VM's name would be taken for an option; use UUID";
	if (t->echoed && !survives_echo(name))
		return "echo would not print the VM's name as it is; use printf '%s' NAME";
	if (t->format && (strpbrk(name, "\\%") || name[0] == '-'))
		return "printf would take the VM's name for a format; use printf '%s' NAME";
	return NULL;
}

void action_template_expand(
	const struct action_template *t, const struct vm_ident *vm, struct strbuf *out)
{
	for (size_t i = 0; i < t->n; i++) {
		char uuid[UUID_TEXT_LEN + 1];

		switch (t->segments[i].kind) {
		case SEGMENT_TEXT:
			strbuf_adds(out, t->segments[i].text);
			break;
		case SEGMENT_RAW_NAME:
			strbuf_adds(out, vm->name);
			break;
		case SEGMENT_ID:
			strbuf_addf(out, "%d", vm->id);
			break;
		case SEGMENT_UUID:
			uuid_format(&vm->uuid, uuid);
			strbuf_adds(out, uuid);
			break;
		}
	}
}

bool action_uri_valid(const char *uri)
{
	for (; *uri; uri++)
		if (!is_word_char(*uri) && !strchr(":/?&=+.@%[],~-", *uri))
			return false;
	return true;
}
