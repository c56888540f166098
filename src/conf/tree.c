/* src/conf/tree.c - YAML text to nodes, from libfyaml's events.
 *
 * Events instead of its document tree: a node of ours needs the byte range it stands on, survives
 * the parser, moves between files in merges, and duplicate keys must all be seen to be reported. */
#include "conf/conf_int.h"

#include <libfyaml.h>
#include <stdlib.h>

struct anchor {
    const char *name;
    struct node *node; /* NULL while its own content is being read */
    struct anchor *next;
};

struct parse { /* one text */
    struct vv_conf_doc *doc;
    struct file *file;
    struct fy_parser *parser;
    struct anchor *anchors;
    struct mark alias_at; /* the one being replaced */
    uint8_t origin;
    bool failed;   /* nothing more can be read */
    bool reported; /* and why has been said already */
};

static void stop(struct parse *p)
{
    p->failed = p->reported = true;
}

struct node *node_new(struct vv_conf_doc *doc, enum kind kind, struct mark at, uint8_t origin)
{
    struct node *n = doc_zalloc(doc, sizeof *n);
    n->kind = kind;
    n->at = at;
    n->origin = origin;
    return n;
}

struct node *node_text(struct vv_conf_doc *doc, const char *text, const struct node *like)
{
    struct node *n = node_new(doc, NODE_SCALAR, like->at, like->origin);
    n->profile = like->profile;
    n->text = n->tmpl = text;
    return n;
}

bool node_is_number(const struct node *n)
{
    if (n->kind != NODE_SCALAR || n->quoted || n->text[0] == '\0') {
        return false;
    }
    for (const char *c = n->text; *c != '\0'; c++) {
        if (*c < '0' || *c > '9') {
            return false;
        }
    }
    return true;
}

bool node_is_bool(const struct node *n)
{
    return n->kind == NODE_SCALAR && !n->quoted &&
           (strcmp(n->text, "true") == 0 || strcmp(n->text, "false") == 0);
}

static void grow(struct vv_conf_doc *doc, struct node *n)
{
    if (n->count == n->room) {
        const uint32_t room = n->room > 0 ? n->room * 2 : 4;
        struct node **item = doc_zalloc(doc, room * sizeof(struct node *));
        struct node **key = doc_zalloc(doc, room * sizeof(struct node *));
        for (uint32_t i = 0; i < n->count; i++) {
            item[i] = n->item[i];
            key[i] = n->key[i];
        }
        n->item = item;
        n->key = key;
        n->room = room;
    }
}

void tree_push(struct vv_conf_doc *doc, struct node *list, struct node *item)
{
    tree_put(doc, list, NULL, item);
}

void tree_put(struct vv_conf_doc *doc, struct node *map, struct node *key, struct node *value)
{
    grow(doc, map);
    map->key[map->count] = key;
    map->item[map->count++] = value;
}

void tree_remove(struct node *map, size_t index)
{
    for (size_t i = index; i + 1 < map->count; i++) {
        map->item[i] = map->item[i + 1];
        map->key[i] = map->key[i + 1];
    }
    map->count--;
}

ptrdiff_t tree_find(const struct node *map, const char *key)
{
    for (uint32_t i = 0; map->kind == NODE_MAP && i < map->count; i++) {
        if (strcmp(map->key[i]->text, key) == 0) {
            return i;
        }
    }
    return -1;
}

struct node *tree_get(const struct node *map, const char *key)
{
    const ptrdiff_t i = tree_find(map, key);
    return i >= 0 ? map->item[i] : NULL;
}

/* ---- words that other YAML readers take for booleans --------------------------------------- */

static bool is_word(const char *text, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (vv_str_eq_nocase(vv_str_from(text), vv_str_from(words[i]))) {
            return true;
        }
    }
    return false;
}

static void refuse_old_booleans(struct parse *p, struct node *n, bool key)
{
    static const char *const yes[] = {"on", "yes", "y"};
    static const char *const no[] = {"off", "no", "n"};
    static const char *const cased[] = {"true", "false"};
    const bool is_yes = is_word(n->text, yes, VV_COUNT(yes));
    if (p->doc->any_word) {
        return;
    }
    if (is_yes || is_word(n->text, no, VV_COUNT(no))) {
        n->broken = true;
        report(p->doc,
               &(struct report){.at = n->at,
                                .hint = key ? doc_fmt(p->doc, "write \"%s\" in quotes", n->text)
                                            : doc_fmt(p->doc, "write %s, or \"%s\" in quotes",
                                                      is_yes ? "true" : "false", n->text)},
               "\"%s\" is a boolean to some YAML readers and a word to others", n->text);
    } else if (is_word(n->text, cased, VV_COUNT(cased)) && strcmp(n->text, "true") != 0 &&
               strcmp(n->text, "false") != 0) {
        n->broken = true;
        report(p->doc,
               &(struct report){.at = n->at,
                                .hint = n->text[0] == 't' || n->text[0] == 'T' ? "write true"
                                                                               : "write false"},
               "only true and false, in small letters, are booleans");
    }
}

/* ---- positions ----------------------------------------------------------------------------- */

static struct mark mark_of(const struct parse *p, const struct fy_mark *from,
                           const struct fy_mark *to)
{
    struct mark at = {.file = p->file};
    if (from != NULL) {
        at.from = (uint32_t)vv_min_u64(from->input_pos, p->file->text.n);
        at.to = to != NULL ? (uint32_t)vv_min_u64(to->input_pos, p->file->text.n) : at.from;
    }
    at.to = at.to > at.from ? at.to : at.from + 1;
    return at;
}

/* The marks of a quoted text lie inside its quotes. */
static struct mark with_quotes(struct mark at)
{
    const struct vv_str t = at.file->text;
    if (at.from > 0 && at.to < t.n && t.p[at.from - 1] == t.p[at.to] &&
        (t.p[at.to] == '"' || t.p[at.to] == '\'')) {
        at.from--;
        at.to++;
    }
    return at;
}

static struct mark mark_of_event(const struct parse *p, struct fy_event *e)
{
    struct fy_token *t = fy_event_get_token(e);
    if (e->type == FYET_SCALAR && t != NULL) {
        return with_quotes(mark_of(p, fy_token_start_mark(t), fy_token_end_mark(t)));
    }
    struct mark at = mark_of(p, fy_event_start_mark(e), NULL);
    if (e->type == FYET_ALIAS && at.from > 0 && at.file->text.p[at.from - 1] == '*') {
        at = mark_of(p, fy_event_start_mark(e), fy_event_end_mark(e));
        at.from--;
    }
    return at;
}

static bool tab_before(const struct parse *p, uint32_t offset, struct mark *ret)
{
    uint32_t start = offset;
    const char *text = p->file->text.p;
    while (start > 0 && text[start - 1] != '\n') {
        start--;
    }
    for (uint32_t i = start; i < p->file->text.n && (text[i] == ' ' || text[i] == '\t'); i++) {
        if (text[i] == '\t') {
            *ret = (struct mark){p->file, i, i + 1};
            return true;
        }
    }
    return false;
}

static void report_tab(struct parse *p, struct mark at)
{
    stop(p);
    report(p->doc, &(struct report){.at = at, .hint = "use spaces"},
           "a tab cannot indent YAML: how wide it is, every editor decides differently");
}

/* ---- syntax errors ------------------------------------------------------------------------- */

/* libfyaml's words for the mistakes people make most, in ours. */
static const struct {
    const char *part, *say, *hint;
} sayings[] = {
    {"did not find expected key", "this line fits no map or list above it",
     "compare its indentation with its neighbours"},
    {"invalid indentation", "this line is indented in a way that fits nothing above it",
     "compare its indentation with its neighbours"},
    {"wrongly indented", "this line is indented in a way that fits nothing above it",
     "compare its indentation with its neighbours"},
    {"mapping values are not allowed", "a second \": \" cannot follow on the same line",
     "put the text in quotes"},
    {"invalid mapping in plain multiline", "a second \": \" cannot follow here",
     "put the text in quotes, or check the line above"},
    {"did not find expected '-' indicator",
     "this line is indented in a way that fits nothing above it",
     "compare its indentation with its neighbours"},
    {"missing comma in flow", "inside { } and [ ], entries are divided by commas",
     "put a value that has { } [ ] or a comma in quotes"},
    {"could not find closing quote", "the quote that begins here never ends", NULL},
    {"multiline", "this value runs on into the next line, where \": \" follows",
     "compare the indentation of the next line"},
};

static void report_syntax(struct parse *p, const char *message, int line, int column)
{
    const struct file *f = p->file;
    uint32_t at = 0, skip = column > 1 ? (uint32_t)column - 1 : 0;
    if (line >= 1 && (uint32_t)line <= f->line_count) {
        at = f->line_at[line - 1];
        while (skip-- > 0 && at < f->text.n && f->text.p[at] != '\n') {
            at++;
            while (at < f->text.n && ((unsigned char)f->text.p[at] & 0xc0) == 0x80) {
                at++;
            }
        }
    }
    struct mark tab, here = {p->file, at, at + 1};
    stop(p);
    if (tab_before(p, at, &tab)) {
        report_tab(p, tab);
        return;
    }
    for (size_t i = 0; i < VV_COUNT(sayings); i++) {
        if (strstr(message, sayings[i].part) != NULL) {
            report(p->doc, &(struct report){.at = here, .hint = sayings[i].hint}, "%s",
                   sayings[i].say);
            return;
        }
    }
    report(p->doc, &(struct report){.at = here}, "not valid YAML: %s", message);
}

static void report_diagnostics(struct parse *p, struct fy_diag *diag)
{
    void *iterator = NULL;
    struct fy_diag_error *e = fy_diag_errors_iterate(diag, &iterator);
    report_syntax(p, e != NULL && e->msg != NULL ? e->msg : "it ends too early",
                  e != NULL ? e->line : 1, e != NULL ? e->column : 1);
}

/* Bytes that YAML forbids; checked first so that the parser below never sees them. */
static bool text_is_clean(struct parse *p)
{
    const struct vv_str t = p->file->text;
    for (size_t i = 0; i < t.n;) {
        const unsigned char c = (unsigned char)t.p[i];
        const size_t bytes = utf8_length((struct vv_str){t.p + i, t.n - i});
        /* U+0080 to U+009F steer terminals; U+0085 among them is a line end. */
        const bool c1 = bytes == 2 && c == 0xc2 && (unsigned char)t.p[i + 1] < 0xa0;
        const bool control = (c < ' ' && c != '\n' && c != '\r' && c != '\t') || c == 0x7f || c1;
        if (bytes == 0 || control) {
            const uint32_t at = (uint32_t)i;
            report(p->doc, &(struct report){.at = {p->file, at, at + 1}},
                   bytes == 0 ? "byte 0x%02x is not UTF-8" : "byte 0x%02x is not allowed in YAML",
                   c1 ? (unsigned char)t.p[i + 1] : c);
            return false;
        }
        i += bytes;
    }
    return true;
}

/* ---- events to nodes ----------------------------------------------------------------------- */

static struct fy_event *next(struct parse *p)
{
    struct fy_event *e = p->failed ? NULL : fy_parser_parse(p->parser);
    p->failed = p->failed || (e == NULL && fy_parser_get_stream_error(p->parser));
    return e;
}

/* By chunks: fy_token_get_text() of libfyaml 0.7.12 counts block scalars with deeper lines too
 * short and hands out bytes it never wrote. */
static const char *token_text(struct vv_conf_doc *doc, struct fy_token *t)
{
    struct fy_token_iter *iterator = t != NULL ? fy_token_iter_create(t) : NULL;
    const struct fy_iter_chunk *chunk = NULL;
    struct vv_sb sb = VV_SB_INIT;
    int failed = 0;
    while (iterator != NULL &&
           (chunk = fy_token_iter_chunk_next(iterator, chunk, &failed)) != NULL) {
        vv_sb_add(&sb, (struct vv_str){chunk->str, chunk->len});
    }
    if (iterator != NULL) {
        fy_token_iter_destroy(iterator);
    }
    const char *text = doc_fmt(doc, "%s", sb.p != NULL ? sb.p : "");
    vv_sb_fini(&sb);
    return text;
}

static struct node *copy_node(struct parse *p, const struct node *from)
{
    struct vv_conf_doc *doc = p->doc;
    if (p->failed || ++doc->alias_nodes > ALIAS_NODES_MAX) {
        if (!p->failed) {
            stop(p);
            report(doc, &(struct report){.at = p->alias_at, .hint = "write the values out"},
                   "aliases stand for more than %d values", ALIAS_NODES_MAX);
        }
        return node_new(doc, NODE_NULL, from->at, p->origin);
    }
    struct node *n = node_new(doc, from->kind, from->at, from->origin);
    n->quoted = from->quoted;
    n->flow = from->flow;
    n->broken = from->broken;
    n->text = from->text;
    n->tmpl = from->tmpl;
    for (uint32_t i = 0; i < from->count; i++) {
        tree_put(doc, n, from->kind == NODE_MAP ? copy_node(p, from->key[i]) : NULL,
                 copy_node(p, from->item[i]));
    }
    return n;
}

static struct node *alias_node(struct parse *p, struct fy_event *e)
{
    const char *name = token_text(p->doc, e->alias.anchor);
    const struct mark at = mark_of_event(p, e);
    for (const struct anchor *a = p->anchors; a != NULL; a = a->next) {
        if (strcmp(a->name, name) == 0) {
            if (a->node != NULL) {
                p->alias_at = at;
                return copy_node(p, a->node);
            }
            report(p->doc, &(struct report){.at = at}, "*%s stands inside the value it stands for",
                   name);
            stop(p);
            return NULL;
        }
    }
    report(p->doc, &(struct report){.at = at}, "no anchor &%s stands above this line", name);
    stop(p);
    return NULL;
}

static struct node *scalar_node(struct parse *p, struct fy_event *e)
{
    struct fy_token *t = fy_event_get_token(e);
    struct node *n = node_new(p->doc, NODE_SCALAR, mark_of_event(p, e), p->origin);
    n->quoted = t != NULL && fy_token_scalar_style(t) != FYSS_PLAIN;
    n->text = n->tmpl = token_text(p->doc, t);
    if (!n->quoted &&
        (n->text[0] == '\0' || strcmp(n->text, "~") == 0 || strcmp(n->text, "null") == 0)) {
        n->kind = NODE_NULL;
    }
    return n;
}

static struct node *read_value(struct parse *p, struct fy_event *e, int depth);

static struct node *read_next(struct parse *p, int depth)
{
    struct fy_event *e = next(p);
    struct node *n = e != NULL ? read_value(p, e, depth) : NULL;
    fy_parser_event_free(p->parser, e);
    return n;
}

static void read_list(struct parse *p, struct node *list, int depth)
{
    for (;;) {
        struct fy_event *e = next(p);
        if (e == NULL || e->type == FYET_SEQUENCE_END) {
            fy_parser_event_free(p->parser, e);
            return;
        }
        struct node *n = read_value(p, e, depth + 1);
        fy_parser_event_free(p->parser, e);
        if (n == NULL) {
            return;
        }
        if (n->kind == NODE_SCALAR && !n->quoted) {
            refuse_old_booleans(p, n, false);
        }
        tree_push(p->doc, list, n);
    }
}

/* Entries of the map(s) after "<<"; what the map itself says wins (YAML merge key, 2005). */
static void merge_into(struct parse *p, struct node *map, const struct node *key,
                       const struct node *from)
{
    if (from->kind == NODE_LIST) {
        for (uint32_t i = 0; i < from->count && from->item[i]->kind == NODE_MAP; i++) {
            merge_into(p, map, key, from->item[i]);
        }
        return;
    }
    if (from->kind != NODE_MAP) {
        report(p->doc, &(struct report){.at = key->at, .hint = "write <<: *name"},
               "\"<<\" needs a map, or a list of maps");
        return;
    }
    for (uint32_t i = 0; i < from->count; i++) {
        if (tree_find(map, from->key[i]->text) < 0) {
            tree_put(p->doc, map, from->key[i], from->item[i]);
        }
    }
}

static void add_entry(struct parse *p, struct node *map, struct node *key, struct node *value)
{
    const ptrdiff_t before = tree_find(map, key->text);
    if (before >= 0) {
        report(p->doc,
               &(struct report){.at = key->at,
                                .other = map->key[before]->at,
                                .other_what = "first given",
                                .hint = "keep one of them"},
               "key \"%s\" is given twice", key->text);
        return;
    }
    tree_put(p->doc, map, key, value);
}

static void read_map(struct parse *p, struct node *map, int depth)
{
    struct node *merged = node_new(p->doc, NODE_MAP, map->at, p->origin);
    for (;;) {
        struct fy_event *e = next(p);
        if (e == NULL || e->type == FYET_MAPPING_END) {
            fy_parser_event_free(p->parser, e);
            break;
        }
        struct node *key = read_value(p, e, depth + 1);
        fy_parser_event_free(p->parser, e);
        struct node *value = key != NULL ? read_next(p, depth + 1) : NULL;
        if (value == NULL) {
            return;
        }
        if (key->kind != NODE_SCALAR) {
            report(p->doc, &(struct report){.at = key->at}, "a key must be a word, not %s",
                   kind_names[key->kind]);
            continue;
        }
        if (!key->quoted && strcmp(key->text, "<<") == 0) {
            tree_put(p->doc, merged, key, value);
            continue;
        }
        if (!key->quoted) {
            refuse_old_booleans(p, key, true);
        }
        if (value->kind == NODE_SCALAR && !value->quoted) {
            refuse_old_booleans(p, value, false);
        }
        add_entry(p, map, key, value);
    }
    for (uint32_t i = 0; i < merged->count; i++) {
        merge_into(p, map, merged->key[i], merged->item[i]);
    }
}

static bool is_fine_here(struct parse *p, struct fy_event *e, int depth)
{
    const struct mark at = mark_of_event(p, e);
    struct mark tab;
    if (depth > DEPTH_MAX) {
        report(p->doc, &(struct report){.at = at}, "nested deeper than %d levels", DEPTH_MAX);
        stop(p);
    } else if (fy_event_get_tag_token(e) != NULL) {
        report(p->doc, &(struct report){.at = at, .hint = "remove the tag"},
               "tags (\"!...\") have no meaning here");
        stop(p);
    } else if (e->type != FYET_ALIAS && tab_before(p, at.from, &tab) && tab.from < at.from) {
        report_tab(p, tab);
    }
    return !p->failed;
}

static struct node *read_value(struct parse *p, struct fy_event *e, int depth)
{
    struct anchor *anchor = NULL;
    struct node *n = NULL;
    if (!is_fine_here(p, e, depth)) {
        return NULL;
    }
    if (fy_event_get_anchor_token(e) != NULL && e->type != FYET_ALIAS) {
        anchor = doc_zalloc(p->doc, sizeof *anchor);
        anchor->name = token_text(p->doc, fy_event_get_anchor_token(e));
        anchor->next = p->anchors;
        p->anchors = anchor;
    }
    if (e->type == FYET_ALIAS) {
        n = alias_node(p, e);
    } else if (e->type == FYET_SCALAR) {
        n = scalar_node(p, e);
    } else if (e->type == FYET_SEQUENCE_START || e->type == FYET_MAPPING_START) {
        const bool map = e->type == FYET_MAPPING_START;
        n = node_new(p->doc, map ? NODE_MAP : NODE_LIST, mark_of_event(p, e), p->origin);
        n->flow = fy_event_get_node_style(e) == FYNS_FLOW;
        (map ? read_map : read_list)(p, n, depth);
    } else {
        stop(p);
    }
    if (anchor != NULL) {
        anchor->node = n;
    }
    return p->failed ? NULL : n;
}

static bool document_start_is_fine(struct parse *p, struct fy_event *e, int documents)
{
    const struct mark at = mark_of(p, fy_event_start_mark(e), NULL);
    struct fy_document_state *state = e->document_start.document_state;
    if (documents > 1) {
        report(p->doc, &(struct report){.at = at, .hint = "remove \"---\""},
               "one file holds one document");
        stop(p);
    } else if (fy_document_state_version_explicit(state) ||
               fy_document_state_tags_explicit(state)) {
        report(p->doc, &(struct report){.at = {p->file, 0, 1}},
               "directives (\"%%YAML\", \"%%TAG\") are not used here: this is always YAML 1.2");
        stop(p);
    }
    return !p->failed;
}

static struct node *read_stream(struct parse *p)
{
    struct node *root = NULL;
    int documents = 0;
    for (;;) {
        struct fy_event *e = next(p);
        if (e == NULL) {
            break;
        }
        if (e->type == FYET_DOCUMENT_START) {
            if (document_start_is_fine(p, e, ++documents)) {
                root = read_next(p, 0);
            }
        }
        const bool end = e->type == FYET_STREAM_END;
        fy_parser_event_free(p->parser, e);
        if (end || p->failed) {
            break;
        }
    }
    return root;
}

static bool parser_open(struct parse *p)
{
    struct vv_conf_doc *doc = p->doc;
    struct fy_diag_cfg how;
    fy_diag_cfg_default(&how);
    how.fp = NULL;
    how.output_fn = NULL;
    how.colorize = false;
    doc->diag = fy_diag_create(&how);
    if (doc->diag == NULL) {
        return false;
    }
    fy_diag_set_collect_errors(doc->diag, true);
    const struct fy_parse_cfg config = {
        .flags = FYPCF_QUIET | FYPCF_JSON_NONE | FYPCF_DEFAULT_VERSION_1_2, .diag = doc->diag};
    p->parser = doc->parser = fy_parser_create(&config);
    return p->parser != NULL &&
           fy_parser_set_string(p->parser, p->file->text.p, p->file->text.n) == 0;
}

void tree_close(struct vv_conf_doc *doc)
{
    if (doc->parser != NULL) {
        fy_parser_destroy(doc->parser);
    }
    if (doc->diag != NULL) {
        fy_diag_destroy(doc->diag);
    }
    doc->parser = NULL;
    doc->diag = NULL;
}

struct node *tree_parse(struct vv_conf_doc *doc, struct file *file, enum origin origin)
{
    struct parse p = {.doc = doc, .file = file, .origin = (uint8_t)origin};
    struct node *root = NULL;
    if (!text_is_clean(&p)) {
        return NULL;
    }
    if (!parser_open(&p)) {
        report(doc, &(struct report){.at = {file, 0, 1}}, "out of memory");
        p.failed = p.reported = true;
    } else {
        root = read_stream(&p);
    }
    if (p.failed && !p.reported) {
        report_diagnostics(&p, doc->diag);
    }
    tree_close(doc);
    return p.failed ? NULL : root;
}
