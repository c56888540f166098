/* src/conf/shape.c - brings a tree into long form and finds what does not belong there.
 *
 * Shaping comes before merging: a profile that says `timeout: 5s` and a file that says
 * `timeouts: {whole: 30s}` must meet at one key. What is wrong is reported and taken out, so that
 * the next steps see a well-formed tree and can report more. */
#include "conf/conf_int.h"

#define KEYS_MAX 128

const struct vv_conf_row *section_row(const struct vv_conf_section *s, const char *key)
{
    for (size_t i = 0; i < s->row_count; i++) {
        if (s->rows[i].key != NULL && strcmp(s->rows[i].key, key) == 0) {
            return &s->rows[i];
        }
    }
    return NULL;
}

static const char *path_of(struct vv_conf_doc *doc, const char *where, const char *key)
{
    return where[0] != '\0' ? doc_fmt(doc, "%s.%s", where, key) : key;
}

static void unknown_key(struct vv_conf_doc *doc, const struct vv_conf_section *section,
                        const struct node *key, const char *where)
{
    const char *known[KEYS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < section->row_count && count < KEYS_MAX; i++) {
        if (section->rows[i].key != NULL) {
            known[count++] = section->rows[i].key;
        }
    }
    const char *near = vv_conf_nearest(key->text, known, count);
    report(
        doc,
        &(struct report){.at = key->at,
                         .hint = near != NULL ? doc_fmt(doc, "did you mean \"%s\"?", near) : NULL},
        where[0] != '\0' ? "unknown key \"%s\" in %s" : "unknown key \"%s\"%s", key->text, where);
}

/* ---- short forms --------------------------------------------------------------------------- */

static bool form_fits(enum vv_conf_form form, const struct node *n)
{
    switch (form) {
    case VV_CONF_FORM_BOOL:
        return node_is_bool(n);
    case VV_CONF_FORM_NUMBER:
        return node_is_number(n);
    case VV_CONF_FORM_SCALAR:
        return n->kind == NODE_SCALAR;
    case VV_CONF_FORM_LIST:
        return n->kind == NODE_LIST;
    }
    return false;
}

/* Moves what `n` holds into a new node and makes `n` the map {key: that}. */
static void wrap(struct vv_conf_doc *doc, struct node *n, const char *key)
{
    struct node *inner = node_new(doc, n->kind, n->at, n->origin);
    *inner = *n;
    *n = (struct node){.kind = NODE_MAP,
                       .at = inner->at,
                       .origin = inner->origin,
                       .broken = inner->broken,
                       .profile = inner->profile};
    tree_put(doc, n, node_text(doc, key, inner), inner);
}

/* Makes `n` a list of what it holds. */
static void wrap_one(struct vv_conf_doc *doc, struct node *n)
{
    struct node *inner = node_new(doc, n->kind, n->at, n->origin);
    *inner = *n;
    *n = (struct node){.kind = NODE_LIST,
                       .at = inner->at,
                       .origin = inner->origin,
                       .broken = inner->broken,
                       .profile = inner->profile};
    tree_push(doc, n, inner);
}

static bool widen(struct vv_conf_doc *doc, const struct vv_conf_section *section, struct node *n)
{
    for (size_t i = 0; i < section->short_count; i++) {
        const struct vv_conf_short *s = &section->shorts[i];
        const struct vv_conf_row *row = section_row(section, s->key);
        VV_ASSERT(row != NULL);
        if (form_fits(s->form, n) || (n->kind == NODE_NULL && row->nullable)) {
            wrap(doc, n, s->key);
            return true;
        }
    }
    return false;
}

static void no_fit(struct vv_conf_doc *doc, const struct vv_conf_section *section,
                   const struct node *n, const char *where)
{
    if (n->kind == NODE_NULL) {
        report(doc, &(struct report){.at = n->at, .hint = "give it a value, or remove the key"},
               "%s has no value", where);
        return;
    }
    const char *or_list = "", *or_value = "";
    for (size_t i = 0; i < section->short_count; i++) {
        const struct vv_conf_short *s = &section->shorts[i];
        *(s->form == VV_CONF_FORM_LIST ? &or_list : &or_value) =
            s->form == VV_CONF_FORM_BOOL
                ? ", or true or false"
                : doc_fmt(doc,
                          s->form == VV_CONF_FORM_LIST ? ", or a list of %s" : ", or just the %s",
                          s->key);
    }
    report(doc, &(struct report){.at = n->at}, "%s must be a map of keys%s%s, not %s",
           where[0] != '\0' ? where : "the file", or_value, or_list, kind_names[n->kind]);
}

/* ---- keys ---------------------------------------------------------------------------------- */

static void shape_list(struct vv_conf_doc *doc, const struct vv_conf_row *row, struct node *n,
                       const char *where)
{
    if (n->kind == NODE_NULL) {
        no_fit(doc, row->section, n, where);
        n->broken = true;
        return;
    }
    if (n->kind != NODE_LIST && row->one) {
        wrap_one(doc, n);
    }
    if (n->kind != NODE_LIST) {
        n->broken = true;
        report(doc, &(struct report){.at = n->at, .hint = "begin each entry with \"- \""},
               "%s must be a list, not %s", where, kind_names[n->kind]);
        return;
    }
    for (uint32_t i = 0; i < n->count; i++) {
        shape(doc, row->section, n->item[i],
              row->one && n->count == 1 ? where : doc_fmt(doc, "%s[%u]", where, i));
    }
}

static void shape_map(struct vv_conf_doc *doc, const struct vv_conf_row *row, struct node *n,
                      const char *where)
{
    if (n->kind != NODE_MAP && n->kind != NODE_NULL && row->bare_name != NULL) {
        wrap(doc, n, row->bare_name);
    }
    if (n->kind == NODE_NULL) {
        no_fit(doc, row->section, n, where);
        n->broken = true;
        return;
    }
    if (n->kind != NODE_MAP) {
        n->broken = true;
        report(doc, &(struct report){.at = n->at}, "%s must be a map of names, not %s", where,
               kind_names[n->kind]);
        return;
    }
    for (uint32_t i = 0; i < n->count; i++) {
        shape(doc, row->section, n->item[i], path_of(doc, where, n->key[i]->text));
        n->key[i]->broken = n->key[i]->broken || n->item[i]->broken;
    }
}

static void shape_value(struct vv_conf_doc *doc, const struct vv_conf_row *row, struct node *n,
                        const char *where)
{
    switch (row->type) {
    case VV_CONF_SECTION:
        shape(doc, row->section, n, where);
        break;
    case VV_CONF_LIST:
        shape_list(doc, row, n, where);
        break;
    case VV_CONF_MAP:
        shape_map(doc, row, n, where);
        break;
    default:
        break; /* single values and lists of text are decode.c's */
    }
}

/* A key with another home (`timeout` lives in `timeouts.whole`) moves there. */
static void store_elsewhere(struct vv_conf_doc *doc, const struct vv_conf_row *row,
                            struct node *map, uint32_t index)
{
    const char *dot = strchr(row->store, '.');
    struct node *key = map->key[index], *value = map->item[index], *home = map;
    tree_remove(map, index);
    if (dot != NULL) {
        const char *outer = doc_fmt(doc, "%.*s", (int)(dot - row->store), row->store);
        home = tree_get(map, outer);
        if (home == NULL) {
            home = node_new(doc, NODE_MAP, key->at, key->origin);
            home->profile = key->profile;
            tree_put(doc, map, node_text(doc, outer, key), home);
        }
    }
    const char *inner = dot != NULL ? dot + 1 : row->store;
    const ptrdiff_t there = tree_find(home, inner);
    if (home->kind != NODE_MAP) {
        return; /* reported when it was shaped */
    }
    if (there >= 0) {
        report(doc,
               &(struct report){
                   .at = key->at, .other = home->key[there]->at, .other_what = "first given"},
               "\"%s\" and \"%s\" are the same: give one of them", key->text, row->store);
        return;
    }
    struct node *moved = node_text(doc, inner, key);
    tree_put(doc, home, moved, value);
}

static void move_keys(struct vv_conf_doc *doc, const struct vv_conf_section *section,
                      struct node *n)
{
    for (size_t i = 0; i < section->row_count; i++) {
        const struct vv_conf_row *row = &section->rows[i];
        if (row->store != NULL) {
            const ptrdiff_t at = tree_find(n, row->key);
            if (at >= 0) {
                store_elsewhere(doc, row, n, (uint32_t)at);
            }
        }
    }
}

void shape(struct vv_conf_doc *doc, const struct vv_conf_section *section, struct node *n,
           const char *where)
{
    if (n->broken) {
        return;
    }
    if (n->kind != NODE_MAP && !widen(doc, section, n)) {
        no_fit(doc, section, n, where);
        *n = (struct node){.kind = NODE_MAP, .at = n->at, .origin = n->origin, .broken = true};
        return;
    }
    for (uint32_t i = 0; i < n->count;) {
        const struct vv_conf_row *row = section_row(section, n->key[i]->text);
        if (row == NULL) {
            if (!n->key[i]->broken) {
                unknown_key(doc, section, n->key[i], where);
            }
            n->broken = true;
            tree_remove(n, i);
            continue;
        }
        shape_value(doc, row, n->item[i], path_of(doc, where, row->key));
        i++;
    }
    move_keys(doc, section, n);
}

void merge(struct vv_conf_doc *doc, struct node *base, struct node *over, bool include)
{
    for (uint32_t i = 0; i < over->count; i++) {
        const ptrdiff_t at = tree_find(base, over->key[i]->text);
        if (at < 0) {
            tree_put(doc, base, over->key[i], over->item[i]);
            continue;
        }
        struct node *mine = base->item[at], *theirs = over->item[i];
        if (mine->kind == NODE_MAP && theirs->kind == NODE_MAP) {
            mine->broken = mine->broken || theirs->broken;
            merge(doc, mine, theirs, include);
        } else if (include && mine->kind == NODE_LIST && theirs->kind == NODE_LIST) {
            for (uint32_t k = 0; k < theirs->count; k++) {
                tree_push(doc, mine, theirs->item[k]);
            }
        } else if (!include) {
            base->key[at] = over->key[i];
            base->item[at] = theirs;
        }
    }
}
