/* src/conf/show.c - prints what is in force, and where each value came from.
 *
 * Both forms are first built as a tree of nodes: the short one from what the files say, put back
 * into short forms; the long one from the finished structs, so that it shows what is really used.
 * One emitter prints either as YAML or JSON. */
#include "base/json.h"
#include "base/units.h"
#include "conf/conf_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define LINE_MAX 96
#define HIDDEN "[hidden]"

/* ---- the short form ------------------------------------------------------------------------ */

static struct node *copy(struct vv_conf_doc *tmp, const struct node *n)
{
    struct node *c = doc_zalloc(tmp, sizeof *c);
    *c = *n;
    c->count = c->room = 0;
    c->item = c->key = NULL;
    return c;
}

static bool fits(enum vv_conf_form form, const struct node *n)
{
    return form == VV_CONF_FORM_LIST     ? n->kind == NODE_LIST
           : form == VV_CONF_FORM_NUMBER ? node_is_number(n)
           : form == VV_CONF_FORM_BOOL   ? node_is_bool(n)
                                         : n->kind == NODE_SCALAR || n->kind == NODE_NULL;
}

/* {key: value} is the value alone where the section allows that, and would read it back so. */
static struct node *narrow(const struct vv_conf_section *section, struct node *n)
{
    for (size_t i = 0; n->kind == NODE_MAP && n->count == 1 && i < section->short_count; i++) {
        const struct vv_conf_short *s = &section->shorts[i];
        if (fits(s->form, n->item[0])) {
            return strcmp(s->key, n->key[0]->text) == 0 ? n->item[0] : n;
        }
    }
    return n;
}

static const char *without_password(struct vv_conf_doc *tmp, const char *url)
{
    const struct vv_str p = url != NULL ? url_password(vv_str_from(url)) : (struct vv_str){NULL, 0};
    return p.n > 0 ? doc_fmt(tmp, "%.*s" HIDDEN "%s", (int)(p.p - url), url, p.p + p.n) : url;
}

static void hide_password(struct vv_conf_doc *tmp, const struct vv_conf_row *row, struct node *n)
{
    if (row->url) {
        n->text = without_password(tmp, n->text);
        n->tmpl = without_password(tmp, n->tmpl);
    }
}

static struct node *short_section(struct vv_conf_doc *tmp, const struct vv_conf_section *section,
                                  const struct node *n);

static struct node *short_value(struct vv_conf_doc *tmp, const struct vv_conf_row *row,
                                const struct node *n)
{
    struct node *c = copy(tmp, n);
    c->secret = c->secret || row->secret;
    hide_password(tmp, row, c);
    if (row->type == VV_CONF_SECTION) {
        return short_section(tmp, row->section, n);
    }
    for (uint32_t i = 0; i < n->count; i++) {
        struct node *item = row->section != NULL ? short_section(tmp, row->section, n->item[i])
                                                 : short_value(tmp, row, n->item[i]);
        tree_put(tmp, c, n->kind == NODE_MAP ? n->key[i] : NULL, item);
    }
    if (row->type == VV_CONF_MAP && row->bare_name != NULL && c->count == 1 &&
        strcmp(c->key[0]->text, row->bare_name) == 0 && c->item[0]->kind != NODE_MAP) {
        return c->item[0];
    }
    if (row->type == VV_CONF_LIST && row->one && c->count == 1) {
        return c->item[0];
    }
    return c;
}

/* `timeouts: {whole: 5s}` reads `timeout: 5s`. NULL: no key is another spelling of this one. */
static const char *other_spelling(const struct vv_conf_section *section, const struct node *key,
                                  const struct node *value)
{
    for (size_t i = 0; value->kind == NODE_MAP && value->count == 1 && i < section->row_count;
         i++) {
        const char *store = section->rows[i].store;
        const size_t n = strlen(key->text);
        if (store != NULL && strncmp(store, key->text, n) == 0 && store[n] == '.' &&
            strcmp(store + n + 1, value->key[0]->text) == 0) {
            return section->rows[i].key;
        }
    }
    return NULL;
}

static struct node *short_section(struct vv_conf_doc *tmp, const struct vv_conf_section *section,
                                  const struct node *n)
{
    struct node *c = copy(tmp, n);
    for (uint32_t i = 0; i < n->count; i++) {
        const struct vv_conf_row *row = section_row(section, n->key[i]->text);
        const char *spelling = other_spelling(section, n->key[i], n->item[i]);
        if (spelling != NULL) {
            tree_put(tmp, c, node_text(tmp, spelling, n->key[i]), copy(tmp, n->item[i]->item[0]));
        } else if (row != NULL) {
            tree_put(tmp, c, n->key[i], short_value(tmp, row, n->item[i]));
        }
    }
    return narrow(section, c);
}

/* ---- the long form ------------------------------------------------------------------------- */

static struct node *long_node(struct vv_conf_doc *tmp, enum kind kind, const struct node *from)
{
    struct node *n = node_new(tmp, kind, (struct mark){0}, ORIGIN_FILE);
    if (from != NULL) {
        n->at = from->at;
        n->origin = from->origin;
        n->profile = from->profile;
        n->env = from->env;
        n->secret = from->secret;
    }
    return n;
}

/* A text that nobody wrote in a file: dollars that would start a reference are doubled. */
static const char *escaped(struct vv_conf_doc *tmp, const char *text)
{
    struct vv_sb sb = VV_SB_INIT;
    for (const char *c = text; *c != '\0'; c++) {
        vv_sb_adds(&sb, *c == '$' && (c[1] == '$' || c[1] == '{') ? "$" : "");
        vv_sb_addc(&sb, *c);
    }
    const char *out = doc_fmt(tmp, "%s", sb.p != NULL ? sb.p : "");
    vv_sb_fini(&sb);
    return out;
}

static struct node *long_text(struct vv_conf_doc *tmp, const struct vv_conf_row *row,
                              const char *text, const struct node *from)
{
    const bool written = from != NULL && from->kind == NODE_SCALAR;
    const bool null = text == NULL && row->word == NULL && !(row->nullable && from != NULL);
    const bool derived = text != NULL && from == NULL && row->def == NULL;
    if (!written && (null || derived)) {
        return NULL;
    }
    struct node *n = long_node(tmp, NODE_SCALAR, from);
    n->secret = n->secret || row->secret;
    n->quoted = text != NULL || (written && from->quoted);
    n->text = n->tmpl = written                         ? from->tmpl
                        : text == NULL                  ? row->word
                        : row->type == VV_CONF_TEMPLATE ? text
                                                        : escaped(tmp, text);
    hide_password(tmp, row, n);
    if (n->text == NULL) {
        n->kind = NODE_NULL;
    }
    return n;
}

static const char *number_text(struct vv_conf_doc *tmp, const struct vv_conf_row *row,
                               uint64_t value)
{
    char buf[64];
    switch (row->type) {
    case VV_CONF_BOOL:
        return value != 0 ? "true" : "false";
    case VV_CONF_OCTAL:
        return doc_fmt(tmp, "%04llo", (unsigned long long)value);
    case VV_CONF_DURATION:
        return doc_fmt(tmp, "%s", vv_format_duration(value, buf, sizeof buf));
    case VV_CONF_SIZE:
        return doc_fmt(tmp, "%s", vv_format_size(value, buf, sizeof buf));
    case VV_CONF_PPM:
        return doc_fmt(tmp, "%s", vv_format_ppm(value, buf, sizeof buf));
    case VV_CONF_ENUM:
        return row->names[value];
    default:
        return doc_fmt(tmp, "%llu", (unsigned long long)value);
    }
}

static struct node *long_number(struct vv_conf_doc *tmp, const struct vv_conf_row *row,
                                uint64_t value, const struct node *from)
{
    const bool absent = value == row->absent && from == NULL && row->def == NULL;
    const bool word = row->word != NULL && value == row->absent;
    if (value == VV_CONF_ABSENT || (absent && !word)) {
        return NULL;
    }
    struct node *n = long_node(tmp, NODE_SCALAR, from);
    n->secret = n->secret || row->secret;
    n->text = n->tmpl = word ? row->word : number_text(tmp, row, value);
    n->quoted = row->type == VV_CONF_OCTAL;
    return n;
}

static struct node *long_section(const struct vv_conf_doc *doc, struct vv_conf_doc *tmp,
                                 const struct vv_conf_section *section, const void *at);

static struct node *long_list(const struct vv_conf_doc *doc, struct vv_conf_doc *tmp,
                              const struct vv_conf_row *row, struct vv_conf_list *const *field)
{
    const struct vv_conf_list *l = *field;
    if (l == NULL) {
        return NULL;
    }
    const bool map = row->type == VV_CONF_MAP;
    struct node *n = long_node(tmp, map ? NODE_MAP : NODE_LIST, slot_get(doc, field, false));
    for (size_t i = 0; i < l->count; i++) {
        struct node *item = row->type == VV_CONF_TEXTS
                                ? long_text(tmp, row, l->item[i], slot_get(doc, &l->item[i], false))
                                : long_section(doc, tmp, row->section, l->item[i]);
        tree_put(tmp, n, map ? node_text(tmp, l->name[i], n) : NULL, item);
    }
    return n;
}

static struct node *long_value(const struct vv_conf_doc *doc, struct vv_conf_doc *tmp,
                               const struct vv_conf_row *row, const void *field)
{
    struct node *n = NULL;
    switch (row->type) {
    case VV_CONF_TEXT:
    case VV_CONF_TEMPLATE:
        return long_text(tmp, row, *(const char *const *)field, slot_get(doc, field, false));
    case VV_CONF_JSON:
        /* As it was given; what an owner took away for another key is not there any more. */
        return *(const char *const *)field != NULL
                   ? (struct node *)(uintptr_t)slot_get(doc, field, false)
                   : NULL;
    case VV_CONF_TEXTS:
    case VV_CONF_LIST:
    case VV_CONF_MAP:
        return long_list(doc, tmp, row, field);
    case VV_CONF_SECTION:
        if (row->optional && slot_get(doc, field, true) == NULL) {
            return NULL;
        }
        n = long_section(doc, tmp, row->section, field);
        return n->count > 0 ? n : NULL;
    default:
        return long_number(tmp, row, *(const uint64_t *)field, slot_get(doc, field, false));
    }
}

static struct node *long_section(const struct vv_conf_doc *doc, struct vv_conf_doc *tmp,
                                 const struct vv_conf_section *section, const void *at)
{
    struct node *n = long_node(tmp, NODE_MAP, NULL);
    for (size_t i = 0; i < section->row_count; i++) {
        const struct vv_conf_row *row = &section->rows[i];
        if (row->key == NULL || row->store != NULL || row->type >= VV_CONF_INCLUDE) {
            continue;
        }
        struct node *value = long_value(doc, tmp, row, (const char *)at + row->offset);
        if (value != NULL) {
            tree_put(tmp, n, node_text(tmp, row->key, n), value);
        }
    }
    return n;
}

/* ---- YAML ---------------------------------------------------------------------------------- */

static bool reads_as_other(const char *s)
{
    static const char *const words[] = {"true", "false", "null", "yes", "no", "on",
                                        "off",  "y",     "n",    "~",   ""};
    for (size_t i = 0; i < VV_COUNT(words); i++) {
        if (vv_str_eq_nocase(vv_str_from(s), vv_str_from(words[i]))) {
            return true;
        }
    }
    return s[strspn(s, "0123456789.+-eExo_")] == '\0'; /* any kind of number, or a date */
}

static bool is_plain(const char *s)
{
    static const char first[] = "-?:,[]{}#&*!|>'\"%@` ";
    const size_t n = strlen(s);
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)s[i];
        if (c < ' ' || c == 0x7f || strchr(",[]{}\"", c) != NULL ||
            (c == ':' && (s[i + 1] == ' ' || s[i + 1] == '\0')) ||
            (c == '#' && i > 0 && s[i - 1] == ' ')) {
            return false;
        }
    }
    return n > 0 && strchr(first, s[0]) == NULL && s[n - 1] != ' ';
}

static void add_quoted(struct vv_sb *out, const char *s)
{
    vv_sb_addc(out, '"');
    for (; *s != '\0'; s++) {
        const unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\') {
            vv_sb_addf(out, "\\%c", c);
        } else if (c == '\n') {
            vv_sb_adds(out, "\\n");
        } else if (c < ' ' || c == 0x7f) {
            vv_sb_addf(out, "\\x%02x", c);
        } else {
            vv_sb_addc(out, (char)c);
        }
    }
    vv_sb_addc(out, '"');
}

static void add_scalar(struct vv_sb *out, const struct node *n)
{
    if (n->secret) {
        vv_sb_adds(out, "\"" HIDDEN "\"");
    } else if (n->kind == NODE_NULL) {
        vv_sb_adds(out, "null");
    } else if (n->json && !n->quoted && json_is_number(n->tmpl)) {
        vv_sb_adds(out, n->tmpl); /* with its sign: in quotes it would be text */
    } else if (n->json && !n->quoted && !node_is_bool(n) && reads_as_other(n->tmpl)) {
        add_quoted(out, n->tmpl);
    } else if (is_plain(n->tmpl) && !(n->quoted && reads_as_other(n->tmpl))) {
        vv_sb_adds(out, n->tmpl);
    } else {
        add_quoted(out, n->tmpl);
    }
}

static void add_key(struct vv_sb *out, const char *key)
{
    if (is_plain(key) && !(reads_as_other(key) && strspn(key, "0123456789") != strlen(key))) {
        vv_sb_adds(out, key);
    } else {
        add_quoted(out, key);
    }
}

static void add_origin(struct vv_sb *out, const struct node *n)
{
    if (n->at.file == NULL) {
        vv_sb_adds(out, "  # default");
    } else if (n->env != NULL) {
        vv_sb_addf(out, "  # environment %s", n->env);
    } else if (n->origin == ORIGIN_PROFILE) {
        vv_sb_addf(out, "  # profile %s", n->profile);
    } else if (n->origin == ORIGIN_OVERLAY) {
        vv_sb_adds(out, "  # overlay");
    } else {
        const struct vv_conf_pos pos = mark_pos(n->at);
        vv_sb_addf(out, "  # %s:%u", pos.file, pos.line);
    }
}

/* "[a, b]" when all items are single values and fit on a line; else nothing is written. */
static bool add_flow(struct vv_sb *out, const struct node *n, size_t indent)
{
    struct vv_sb line = VV_SB_INIT;
    bool fine = true;
    for (uint32_t i = 0; fine && i < n->count; i++) {
        fine = n->item[i]->kind == NODE_SCALAR;
        if (fine) {
            vv_sb_adds(&line, i > 0 ? ", " : "");
            add_scalar(&line, n->item[i]);
        }
    }
    fine = fine && indent + line.n < LINE_MAX;
    if (fine) {
        vv_sb_addc(out, '[');
        vv_sb_add(out, vv_sb_str(&line));
        vv_sb_addc(out, ']');
    }
    vv_sb_fini(&line);
    return fine;
}

static void add_yaml(struct vv_sb *out, const struct node *n, int indent, bool origin);

/* What follows "key:" or "-". */
static void add_value(struct vv_sb *out, const struct node *n, int indent, bool origin)
{
    const size_t before = out->n;
    vv_sb_addc(out, ' ');
    if (n->kind == NODE_SCALAR || n->kind == NODE_NULL) {
        add_scalar(out, n);
    } else if (n->count == 0) {
        vv_sb_adds(out, n->kind == NODE_LIST ? "[]" : "{}");
    } else if (n->kind == NODE_MAP || !add_flow(out, n, (size_t)indent + 8)) {
        out->n = before; /* the blank would end the line */
        vv_sb_addc(out, '\n');
        add_yaml(out, n, indent + 2, origin);
        return;
    }
    if (origin) {
        add_origin(out, n);
    }
    vv_sb_addc(out, '\n');
}

static void add_yaml(struct vv_sb *out, const struct node *n, int indent, bool origin)
{
    for (uint32_t i = 0; i < n->count; i++) {
        if (n->kind == NODE_MAP) {
            vv_sb_addf(out, "%*s", indent, "");
            add_key(out, n->key[i]->text);
            vv_sb_addc(out, ':');
            add_value(out, n->item[i], indent, origin);
        } else if (n->item[i]->kind == NODE_MAP && n->item[i]->count > 0) {
            const size_t start = out->n;
            add_yaml(out, n->item[i], indent + 2, origin);
            if (!out->failed) {
                out->p[start + (size_t)indent] = '-'; /* over the indentation of the first key */
            }
        } else {
            vv_sb_addf(out, "%*s-", indent, "");
            add_value(out, n->item[i], indent, origin);
        }
    }
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static void add_json(struct vv_json *j, const struct node *n)
{
    uint64_t number = 0;
    switch (n->kind) {
    case NODE_NULL:
        vv_json_null(j);
        break;
    case NODE_SCALAR:
        if (n->secret) {
            vv_json_cstr(j, HIDDEN);
        } else if (!n->quoted && vv_str_to_u64(vv_str_from(n->text), &number) == VV_OK) {
            vv_json_u64(j, number);
        } else if (!n->quoted && (strcmp(n->text, "true") == 0 || strcmp(n->text, "false") == 0)) {
            vv_json_bool(j, n->text[0] == 't');
        } else if (n->json && !n->quoted && json_is_number(n->text) &&
                   isfinite(strtod(n->text, NULL))) {
            vv_json_double(j, strtod(n->text, NULL));
        } else {
            vv_json_cstr(j, n->text);
        }
        break;
    case NODE_LIST:
        vv_json_arr(j);
        for (uint32_t i = 0; i < n->count; i++) {
            add_json(j, n->item[i]);
        }
        vv_json_arr_end(j);
        break;
    case NODE_MAP:
        vv_json_obj(j);
        for (uint32_t i = 0; i < n->count; i++) {
            vv_json_key(j, n->key[i]->text);
            add_json(j, n->item[i]);
        }
        vv_json_obj_end(j);
        break;
    }
}

void vv_conf_show(const struct vv_conf_doc *doc, unsigned flags, struct vv_sb *out)
{
    struct vv_conf_doc tmp = {.may_jump = true}; /* memory for the tree that is printed */
    vv_arena_init(&tmp.arena, NULL, 0, 64 * VV_KIB, 0);
    if (setjmp(tmp.out_of_memory) != 0) {
        out->failed = true;
        vv_arena_fini(&tmp.arena);
        return;
    }
    const struct node *n = (flags & VV_CONF_SHOW_LONG) != 0
                               ? long_section(doc, &tmp, doc->section, doc->root)
                               : short_section(&tmp, doc->section, doc->tree);
    if ((flags & VV_CONF_SHOW_JSON) != 0) {
        struct vv_json j;
        vv_json_init(&j, out);
        add_json(&j, n);
    } else {
        add_yaml(out, n, 0, (flags & VV_CONF_SHOW_ORIGIN) != 0);
    }
    vv_arena_fini(&tmp.arena);
}
