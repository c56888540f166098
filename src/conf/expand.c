/* src/conf/expand.c - ${NAME}, ${NAME:-default}, ${file:/path} and $$ in values.
 *
 * Done on nodes, after parsing: a value with quotes, colons or line breaks stays one value. "$name"
 * without braces is left alone: templates use it. For templates the text is kept in a second form
 * in which dollars that came from outside are doubled, so that they cannot name a variable there.
 */
#include "conf/conf_int.h"

#include <stdlib.h>

struct expansion {
    struct vv_conf_doc *doc;
    struct node *node;
    struct vv_sb text, tmpl;
    bool quiet, failed;
};

static void add_value(struct expansion *x, const char *value)
{
    vv_sb_adds(&x->text, value);
    for (; *value != '\0'; value++) {
        vv_sb_adds(&x->tmpl, *value == '$' ? "$" : "");
        vv_sb_addc(&x->tmpl, *value);
    }
}

static void add_both(struct expansion *x, struct vv_str s)
{
    vv_sb_add(&x->text, s);
    vv_sb_add(&x->tmpl, s);
}

static void fail(struct expansion *x, const char *hint, const char *what, const char *detail)
{
    x->failed = true;
    x->node->broken = true;
    if (!x->quiet) {
        report(x->doc, &(struct report){.at = x->node->at, .hint = hint}, "%s%s", what, detail);
    }
}

static void add_file(struct expansion *x, const char *path)
{
    struct vv_str content = {NULL, 0};
    const char *why = NULL;
    x->node->secret = true;
    if (x->doc->source->no_files) {
        fail(x, NULL, "files may not be read here: ", path);
        return;
    }
    const char *base = x->node->at.file != NULL ? x->node->at.file->path : "";
    const char *full = file_beside(x->doc, base, path);
    if (!file_read(x->doc, full, &content, &why)) {
        fail(x, NULL, doc_fmt(x->doc, "cannot read %s: ", full), why);
        return;
    }
    while (content.n > 0 &&
           (content.p[content.n - 1] == '\n' || content.p[content.n - 1] == '\r')) {
        content.n--; /* the line end that editors and echo leave */
    }
    if (memchr(content.p, '\0', content.n) != NULL) {
        fail(x, NULL, "there is a zero byte in ", full);
        return;
    }
    add_value(x, doc_fmt(x->doc, "%.*s", (int)content.n, content.p));
}

static bool is_name(struct vv_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        const char c = s.p[i];
        const bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
        if (!letter && (i == 0 || c < '0' || c > '9')) {
            return false;
        }
    }
    return s.n > 0;
}

static void add_variable(struct expansion *x, const char *name, const char *otherwise)
{
    const struct vv_conf_source *source = x->doc->source;
    const char *value = source->env != NULL ? source->env(source->env_user, name) : getenv(name);
    x->node->env = name;
    if (value != NULL && (value[0] != '\0' || otherwise == NULL)) {
        add_value(x, value);
    } else if (otherwise != NULL) { /* as in a shell, an empty variable counts as unset */
        add_value(x, otherwise);
    } else {
        fail(x, doc_fmt(x->doc, "export it, or write ${%s:-default}", name),
             doc_fmt(x->doc, "environment variable %s", name), " is not set");
    }
}

/* `inside` is what stands between the braces. */
static void add_reference(struct expansion *x, struct vv_str inside)
{
    struct vv_conf_doc *doc = x->doc;
    if (vv_str_starts(inside, VV_STR("file:"))) {
        add_file(x, doc_fmt(doc, "%.*s", (int)inside.n - 5, inside.p + 5));
        return;
    }
    const ptrdiff_t colon = vv_str_find_char(inside, ':');
    struct vv_str name = inside;
    const char *otherwise = NULL;
    if (colon >= 0 && (size_t)colon + 1 < inside.n && inside.p[colon + 1] == '-') {
        name.n = (size_t)colon;
        otherwise = doc_fmt(doc, "%.*s", (int)(inside.n - name.n - 2), inside.p + name.n + 2);
    }
    if (!is_name(name)) {
        fail(x, "write ${NAME}, ${NAME:-default} or ${file:/path}; $$ is a dollar",
             "\"${...}\" does not hold the name of a variable", "");
        return;
    }
    add_variable(x, doc_fmt(doc, "%.*s", (int)name.n, name.p), otherwise);
}

static void expand_scalar(struct vv_conf_doc *doc, struct node *n, bool quiet)
{
    struct expansion x = {doc, n, VV_SB_INIT, VV_SB_INIT, quiet, false};
    struct vv_str rest = vv_str_from(n->text);
    bool references = false;
    while (rest.n > 0 && !x.failed) {
        if (rest.n >= 2 && rest.p[0] == '$' && rest.p[1] == '$') {
            vv_sb_addc(&x.text, '$');
            vv_sb_adds(&x.tmpl, "$$");
            rest = (struct vv_str){rest.p + 2, rest.n - 2};
        } else if (rest.n >= 2 && rest.p[0] == '$' && rest.p[1] == '{') {
            const ptrdiff_t end = vv_str_find_char(rest, '}');
            if (end < 0) {
                fail(&x, "close it with \"}\", or write $$ for a dollar", "\"${\" is never closed",
                     "");
                break;
            }
            add_reference(&x, (struct vv_str){rest.p + 2, (size_t)end - 2});
            references = true;
            rest = (struct vv_str){rest.p + end + 1, rest.n - (size_t)end - 1};
        } else {
            add_both(&x, (struct vv_str){rest.p, 1});
            rest = (struct vv_str){rest.p + 1, rest.n - 1};
        }
    }
    if (!x.failed) {
        n->text = doc_fmt(doc, "%s", x.text.p != NULL ? x.text.p : "");
        n->tmpl = doc_fmt(doc, "%s", x.tmpl.p != NULL ? x.tmpl.p : "");
        n->quoted = n->quoted && !references;
    }
    vv_sb_fini(&x.text);
    vv_sb_fini(&x.tmpl);
}

void expand(struct vv_conf_doc *doc, struct node *n, bool quiet)
{
    if (n->kind == NODE_SCALAR && strchr(n->text, '$') != NULL) {
        expand_scalar(doc, n, quiet);
    }
    for (uint32_t i = 0; i < n->count; i++) {
        expand(doc, n->item[i], quiet);
    }
}
