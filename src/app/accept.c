/* src/app/accept.c - works on lines and indentation and trusts none of it: the edited file is loaded
 * and compared before it takes the place of the old one. */
#include "app/accept.h"
#include "app/cli.h"
#include "app/diff.h"
#include "os/file.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_BYTES_MAX (16 * 1024 * 1024)
#define FILE_MODE 0644

struct lines { /* of one text, without their ends */
    struct vv_str *line;
    size_t n;
};

static size_t indent_of(struct vv_str line)
{
    size_t n = 0;
    while (n < line.n && line.p[n] == ' ') {
        n++;
    }
    return n;
}

/* Blank lines and comments belong to whatever stands around them. */
static bool says_nothing(struct vv_str line)
{
    const size_t n = indent_of(line);
    return n == line.n || line.p[n] == '#' || line.p[n] == '\r';
}

/* Is this "key:" at that indentation? *ret_value: what follows, without a comment. */
static bool is_key(struct vv_str line, size_t indent, const char *key, struct vv_str *ret_value)
{
    const size_t n = strlen(key);
    if (says_nothing(line) || indent_of(line) != indent) {
        return false;
    }
    struct vv_str at = {line.p + indent, line.n - indent};
    const bool quoted = at.n > 0 && (at.p[0] == '"' || at.p[0] == '\'');
    const size_t skip = quoted ? 1 : 0;
    if (at.n < n + 2 * skip + 1 || memcmp(at.p + skip, key, n) != 0 || at.p[n + 2 * skip] != ':' ||
        (quoted && at.p[n + 1] != at.p[0])) {
        return false;
    }
    at = (struct vv_str){at.p + n + 2 * skip + 1, at.n - n - 2 * skip - 1};
    for (size_t i = 0; i < at.n; i++) {
        if (at.p[i] == '#' && (i == 0 || at.p[i - 1] == ' ')) {
            at.n = i;
        }
    }
    *ret_value = vv_str_trim(at);
    return true;
}

/* First line after `from` that says something at `indent` or left of it; list items of the key on
 * line `from` may stand at its own indentation. */
static size_t end_of(const struct lines *l, size_t from, size_t indent, bool items)
{
    size_t end = from + 1;
    for (size_t i = from + 1; i < l->n; i++) {
        const size_t in = indent_of(l->line[i]);
        if (says_nothing(l->line[i])) {
            continue;
        }
        if (in < indent || (in == indent && !(items && l->line[i].p[in] == '-'))) {
            break;
        }
        end = i + 1;
    }
    return end;
}

static size_t find_key(const struct lines *l, size_t from, size_t to, size_t indent,
                       const char *key, struct vv_str *ret_value)
{
    for (size_t i = from; i < to; i++) {
        if (is_key(l->line[i], indent, key, ret_value)) {
            return i;
        }
    }
    return SIZE_MAX;
}

/* Indentation of the first line in the range that says something. */
static size_t indent_inside(const struct lines *l, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        if (!says_nothing(l->line[i])) {
            return indent_of(l->line[i]);
        }
    }
    return 0;
}

struct edit { /* lines [from, to) become `key` (when not NULL) and the list */
    size_t from, to, indent;
    const char *service; /* not NULL: the whole entry, in long form */
};

static enum vv_err find_edit(const struct lines *l, const char *service, struct edit *ret)
{
    struct vv_str value;
    const size_t top = find_key(l, 0, l->n, 0, "services", &value);
    if (top == SIZE_MAX || value.n > 0) {
        return VV_EUNSUPPORTED;
    }
    const size_t end = end_of(l, top, 0, false);
    const size_t indent = indent_inside(l, top + 1, end);
    const size_t at = indent > 0 ? find_key(l, top + 1, end, indent, service, &value) : SIZE_MAX;
    if (at == SIZE_MAX || (value.n > 0 && (value.p[0] == '{' || value.p[0] == '&'))) {
        return VV_EUNSUPPORTED;
    }
    const size_t entry_end = end_of(l, at, indent, true);
    const size_t inner = indent_inside(l, at + 1, entry_end);
    const size_t servers =
        value.n == 0 ? find_key(l, at + 1, entry_end, inner, "servers", &value) : SIZE_MAX;
    if (servers != SIZE_MAX) {
        *ret = (struct edit){servers, end_of(l, servers, inner, true), inner, NULL};
        return VV_OK;
    }
    /* The short form: a list, or one address. */
    *ret = (struct edit){at, entry_end, indent, service};
    return VV_OK;
}

static void spaces(struct vv_sb *out, size_t n)
{
    while (n-- > 0) {
        vv_sb_addc(out, ' ');
    }
}

static void write_list(const struct edit *e, struct vv_str servers, struct vv_sb *out)
{
    size_t indent = e->indent;
    if (e->service != NULL) {
        spaces(out, indent);
        vv_sb_addf(out, "%s:\n", e->service);
        indent += 2;
    }
    spaces(out, indent);
    vv_sb_adds(out, "servers:\n");
    while (servers.n > 0) {
        spaces(out, indent + 2);
        vv_sb_adds(out, "- ");
        vv_sb_add(out, vv_str_cut(&servers, '\n'));
        vv_sb_addc(out, '\n');
    }
}

enum vv_err accept_edit(struct vv_str text, const char *service, struct vv_str servers,
                        struct vv_sb *out)
{
    struct lines l = {NULL, 0};
    struct edit e;
    size_t max = 1;
    for (size_t i = 0; i < text.n; i++) {
        max += text.p[i] == '\n';
    }
    l.line = calloc(max, sizeof *l.line);
    if (l.line == NULL) {
        return VV_ENOMEM;
    }
    while (text.n > 0) {
        l.line[l.n++] = vv_str_cut(&text, '\n');
    }
    const enum vv_err err = find_edit(&l, service, &e);
    for (size_t i = 0; err == VV_OK && i < l.n; i++) {
        if (i == e.from) {
            write_list(&e, servers, out);
        }
        if (i < e.from || i >= e.to) {
            vv_sb_add(out, l.line[i]);
            vv_sb_addc(out, '\n');
        }
    }
    free(l.line);
    return err;
}

/* {url: "http://...", weight: 2} for each server of the settings. */
static void server_lines(const struct vv_service_settings *v, struct vv_sb *out)
{
    for (size_t i = 0; v->servers != NULL && i < v->servers->count; i++) {
        const struct vv_server_settings *s = v->servers->item[i];
        vv_sb_addf(out, "{url: \"%s\"", s->url);
        if (s->weight != 1) {
            vv_sb_addf(out, ", weight: %llu", (unsigned long long)s->weight);
        }
        vv_sb_adds(out, s->drain != 0 ? ", drain: true}\n" : "}\n");
    }
}

static const struct vv_service_settings *same_service(const struct vv_settings *s, const char *name)
{
    for (size_t i = 0; s->services != NULL && i < s->services->count; i++) {
        const struct vv_service_settings *v = s->services->item[i];
        if (strcmp(v->name, name) == 0) {
            return v;
        }
    }
    return NULL;
}

/* Rewrites every service whose servers differ. */
static enum vv_err edit_all(const struct vv_settings *alone, const struct vv_settings *with,
                            char *text, size_t bytes, struct vv_sb *out)
{
    enum vv_err err = VV_OK;
    vv_sb_add(out, (struct vv_str){text, bytes});
    for (size_t i = 0; err == VV_OK && with->services != NULL && i < with->services->count; i++) {
        const struct vv_service_settings *v = with->services->item[i];
        const struct vv_service_settings *before = same_service(alone, v->name);
        struct vv_sb a = VV_SB_INIT, b = VV_SB_INIT, next = VV_SB_INIT;
        server_lines(v, &b);
        if (before != NULL) {
            server_lines(before, &a);
        }
        if (before != NULL && !vv_str_eq(vv_sb_str(&a), vv_sb_str(&b))) {
            err = accept_edit(vv_sb_str(out), v->name, vv_sb_str(&b), &next);
            if (err == VV_OK) {
                vv_sb_reset(out);
                vv_sb_add(out, vv_sb_str(&next));
            }
        }
        vv_sb_fini(&a);
        vv_sb_fini(&b);
        vv_sb_fini(&next);
    }
    return out->failed ? VV_ENOMEM : err;
}

/* Does the file at `path` alone mean what `with` means? */
static bool means_the_same(const struct vv_run *run, const char *path,
                           const struct vv_settings *with)
{
    struct vv_run next = *run;
    struct vv_settings *s = NULL;
    struct vv_sb a = VV_SB_INIT, b = VV_SB_INIT;
    next.path = path;
    next.no_overlay = true;
    if (vv_run_load(&next, NULL, NULL, &s) != VV_OK) {
        return false;
    }
    vv_conf_show(vv_settings_doc(s), VV_CONF_SHOW_LONG, &a);
    vv_conf_show(vv_settings_doc(with), VV_CONF_SHOW_LONG, &b);
    const bool same = vv_str_eq(vv_sb_str(&a), vv_sb_str(&b));
    vv_sb_fini(&a);
    vv_sb_fini(&b);
    vv_settings_free(s);
    return same;
}

static int replace(const struct vv_run *run, const struct vv_settings *with, struct vv_str before,
                   struct vv_str after, bool color)
{
    char next[PATH_MAX], backup[PATH_MAX];
    struct vv_sb diff = VV_SB_INIT;
    (void)snprintf(next, sizeof next, "%s.next", run->path);
    (void)snprintf(backup, sizeof backup, "%s.bak", run->path);
    if (vv_file_write(next, after, FILE_MODE) != VV_OK) {
        return cli_fail(EXIT_FAILED, "%s cannot be written", next);
    }
    if (!means_the_same(run, next, with)) {
        (void)unlink(next);
        return cli_fail(EXIT_FAILED,
                        "%s is written in a way this command cannot edit; change it "
                        "by hand (see: vivace config diff)",
                        run->path);
    }
    (void)unlink(next);
    if (vv_file_write(backup, before, FILE_MODE) != VV_OK ||
        vv_file_write(run->path, after, FILE_MODE) != VV_OK) {
        return cli_fail(EXIT_FAILED, "%s cannot be written", run->path);
    }
    (void)unlink(vv_conf_overlay_path(vv_settings_doc(with)));
    diff_print(before, after, color, &diff);
    cli_print(vv_sb_str(&diff));
    vv_sb_fini(&diff);
    (void)printf("written to %s; the file before is %s\n", run->path, backup);
    return EXIT_FINE;
}

int config_accept(const struct vv_run *run, bool color)
{
    struct vv_run bare = *run;
    struct vv_settings *alone = NULL, *with = NULL;
    struct vv_sb problems = VV_SB_INIT, after = VV_SB_INIT;
    char *text = NULL;
    size_t bytes = 0;
    int code = EXIT_USAGE;
    bare.no_overlay = true;
    if (vv_run_load(&bare, &problems, NULL, &alone) != VV_OK ||
        vv_run_load(run, &problems, NULL, &with) != VV_OK) {
        (void)fputs(vv_sb_str(&problems).p, stderr);
    } else if (access(vv_conf_overlay_path(vv_settings_doc(with)), F_OK) != 0) {
        (void)puts("no run-time changes");
        code = EXIT_FINE;
    } else if (vv_file_read(run->path, FILE_BYTES_MAX, &text, &bytes) != VV_OK) {
        code = cli_fail(EXIT_FAILED, "%s cannot be read", run->path);
    } else {
        const enum vv_err err = edit_all(alone, with, text, bytes, &after);
        code = err == VV_OK
                   ? replace(run, with, (struct vv_str){text, bytes}, vv_sb_str(&after), color)
                   : cli_fail(EXIT_FAILED,
                              "the services of %s are written in a way this "
                              "command cannot edit",
                              run->path);
    }
    free(text);
    vv_sb_fini(&problems);
    vv_sb_fini(&after);
    vv_settings_free(alone);
    vv_settings_free(with);
    return code;
}
