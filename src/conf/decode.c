/* src/conf/decode.c - checked values out of a shaped tree, row by row. */
#include "base/units.h"
#include "conf/conf_int.h"

#include <stdio.h>

/* ---- one value ----------------------------------------------------------------------------- */

static bool octal_parse(struct vv_str s, uint64_t *ret)
{
    uint64_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '7' || v > 07777) {
            return false;
        }
        v = v * 8 + (uint64_t)(s.p[i] - '0');
    }
    *ret = v;
    return s.n > 0;
}

static enum vv_err enum_parse(const struct vv_conf_row *row, const char *text, uint64_t *ret)
{
    for (uint64_t i = 0; row->names[i] != NULL; i++) {
        if (strcmp(row->names[i], text) == 0) {
            *ret = i;
            return VV_OK;
        }
    }
    return VV_ESYNTAX;
}

/* "0.8": a part of 1, down to a millionth. */
static bool share_parse(struct vv_str s, uint64_t *ret)
{
    uint64_t scale = VV_PPM;
    uint64_t value = 0;
    if (s.n == 0 || (s.p[0] != '0' && s.p[0] != '1') || (s.n > 1 && (s.p[1] != '.' || s.n < 3))) {
        return false;
    }
    for (size_t i = 0; i < s.n; i += i == 0 ? 2 : 1) {
        if (s.p[i] < '0' || s.p[i] > '9' || scale == 0) {
            return false;
        }
        value += (uint64_t)(s.p[i] - '0') * scale;
        scale /= 10;
    }
    *ret = value;
    return value <= VV_PPM;
}

static enum vv_err number_parse(const struct vv_conf_row *row, const char *text, uint64_t *ret)
{
    const struct vv_str s = vv_str_from(text);
    switch (row->type) {
    case VV_CONF_BOOL:
        *ret = strcmp(text, "true") == 0;
        return *ret == 1 || strcmp(text, "false") == 0 ? VV_OK : VV_ESYNTAX;
    case VV_CONF_COUNT:
        return (enum vv_err)vv_str_to_u64(s, ret);
    case VV_CONF_OCTAL:
        return octal_parse(s, ret) ? VV_OK : VV_ESYNTAX;
    case VV_CONF_DURATION:
        return vv_parse_duration(s, ret);
    case VV_CONF_SIZE:
        return row->bare && vv_str_to_u64(s, ret) == VV_OK ? VV_OK : vv_parse_size(s, ret);
    case VV_CONF_PPM:
        return row->bare && share_parse(s, ret) ? VV_OK : vv_parse_ppm(s, ret);
    case VV_CONF_ENUM:
        return enum_parse(row, text, ret);
    default:
        return VV_EINVAL;
    }
}

bool scalar_parse(const struct vv_conf_row *row, const char *text, uint64_t *ret)
{
    return number_parse(row, text, ret) == VV_OK;
}

static const char *const type_names[] = {
    [VV_CONF_BOOL] = "true or false",
    [VV_CONF_COUNT] = "a whole number",
    [VV_CONF_OCTAL] = "an octal number",
    [VV_CONF_DURATION] = "a duration",
    [VV_CONF_SIZE] = "a size",
    [VV_CONF_PPM] = "a share in percent",
    [VV_CONF_ENUM] = "one of a few words",
    [VV_CONF_TEXT] = "text",
    [VV_CONF_TEMPLATE] = "text",
    [VV_CONF_JSON] = "any value",
    [VV_CONF_TEXTS] = "text, or a list of texts",
};

/* ---- what to write instead ----------------------------------------------------------------- */

/* Appends "a", ", b" or " or c": entry number i of n. */
static void add_choice(struct vv_sb *sb, size_t i, size_t n, const char *text)
{
    vv_sb_adds(sb, i == 0 ? "" : i + 1 == n ? " or " : ", ");
    vv_sb_adds(sb, text);
}

static const char *choices(struct vv_conf_doc *doc, char text[][32], size_t n)
{
    struct vv_sb sb = VV_SB_INIT;
    for (size_t i = 0; i < n; i++) {
        add_choice(&sb, i, n, text[i]);
    }
    const char *all = doc_fmt(doc, "write %s", sb.p != NULL ? sb.p : "");
    vv_sb_fini(&sb);
    return all;
}

struct unit {
    uint64_t of; /* the number must be a multiple of this */
    const char *name;
};

/* The units in which a bare number would be a sensible value; always at least two. */
static const char *guess_unit(struct vv_conf_doc *doc, const struct vv_conf_row *row,
                              const char *text)
{
    static const struct unit times[] = {{1, "s"}, {60, "m"}, {3600, "h"}, {86400, "d"}};
    static const struct unit sizes[] = {{1, "B"}, {1024, "KB"}, {1024 * 1024, "MB"}};
    const bool time = row->type == VV_CONF_DURATION;
    const struct unit *units = time ? times : sizes;
    const size_t unit_count = time ? VV_COUNT(times) : VV_COUNT(sizes);
    char guess[6][32];
    uint64_t v = 0;
    size_t n = 0;
    if (vv_str_to_u64(vv_str_from(text), &v) != VV_OK || v == 0) {
        return time ? "write 500ms, 30s or 5m" : "write 512B, 64KB or 10MB";
    }
    for (size_t i = 0; i < unit_count; i++) {
        if (v % units[i].of == 0) {
            snprintf(guess[n++], 32, "%llu%s", (unsigned long long)(v / units[i].of),
                     units[i].name);
        }
    }
    if (time && (n < 2 || v % 1000 == 0)) {
        snprintf(guess[n++], 32, "%llums", (unsigned long long)v);
    } else if (!time && n < 2) {
        snprintf(guess[n++], 32, "%lluKB", (unsigned long long)v);
        snprintf(guess[n++], 32, "%lluMB", (unsigned long long)v);
    }
    return choices(doc, guess, n);
}

static const char *guess_share(struct vv_conf_doc *doc, const char *text)
{
    const bool fraction = text[0] == '0' && text[1] == '.';
    return fraction ? doc_fmt(doc,
                              "write %s%% if that is the share, or 100 times as much for a "
                              "fraction",
                              text)
                    : doc_fmt(doc, "write %s%%", text);
}

static const char *guess_word(struct vv_conf_doc *doc, const struct vv_conf_row *row,
                              const char *text)
{
    size_t n = 0;
    while (row->names[n] != NULL) {
        n++;
    }
    const char *near = vv_conf_nearest(text, row->names, n);
    if (near != NULL) {
        return doc_fmt(doc, "did you mean \"%s\"?", near);
    }
    struct vv_sb sb = VV_SB_INIT;
    for (size_t i = 0; i < n; i++) {
        add_choice(&sb, i, n, row->names[i]);
    }
    const char *all = doc_fmt(doc, "one of %s", sb.p != NULL ? sb.p : "");
    vv_sb_fini(&sb);
    return all;
}

static const char *guess_count(struct vv_conf_doc *doc, const char *text)
{
    const size_t digits = strspn(text, "0123456789");
    return digits > 0 && text[digits] != '\0' && digits < 20
               ? doc_fmt(doc, "write %.*s, without a unit", (int)digits, text)
               : NULL;
}

static const char *hint_for(struct vv_conf_doc *doc, const struct vv_conf_row *row,
                            const char *text, enum vv_err why)
{
    switch (row->type) {
    case VV_CONF_DURATION:
        return why == VV_EINVAL ? guess_unit(doc, row, text)
                                : "write a number and ms, s, m, h or d: 500ms, 30s, 5m";
    case VV_CONF_SIZE:
        return why == VV_EINVAL ? guess_unit(doc, row, text)
                                : "write a number and B, KB, MB or GB: 64KB, 10MB";
    case VV_CONF_PPM:
        return why == VV_EINVAL ? guess_share(doc, text) : "write a number and %: 99.9%";
    case VV_CONF_ENUM:
        return guess_word(doc, row, text);
    case VV_CONF_COUNT:
        return guess_count(doc, text);
    case VV_CONF_BOOL:
        return "write true or false";
    case VV_CONF_OCTAL:
        return "write it like \"0660\"";
    default:
        return NULL;
    }
}

/* ---- reporting ----------------------------------------------------------------------------- */

static const char *shown(struct vv_conf_doc *doc, const struct vv_conf_row *row,
                         const struct node *n)
{
    return row->secret || n->secret ? "a hidden value" : doc_fmt(doc, "\"%s\"", n->text);
}

static void bad_value(struct vv_conf_doc *doc, const struct vv_conf_row *row, struct node *n,
                      enum vv_err why, const char *where)
{
    const bool hidden = row->secret || n->secret;
    const struct report r = {.at = n->at, .hint = hidden ? NULL : hint_for(doc, row, n->text, why)};
    n->broken = true;
    if (why == VV_EINVAL && row->type == VV_CONF_PPM && row->bare) {
        report(doc, &r, "a share is a number from 0 to 1, or has a percent sign");
    } else if (why == VV_EINVAL && row->type == VV_CONF_PPM) {
        report(doc, &r, "a share needs a percent sign");
    } else if (why == VV_EINVAL) {
        report(doc, &r, "%s needs a unit", type_names[row->type]);
    } else if (why == VV_ERANGE) {
        report(doc, &r, "%s is too large", shown(doc, row, n));
    } else if (row->type == VV_CONF_ENUM) {
        report(doc, &r, "%s is no value of %s", shown(doc, row, n), where);
    } else {
        report(doc, &r, "%s must be %s, not %s", where, type_names[row->type], shown(doc, row, n));
    }
}

static bool in_range(struct vv_conf_doc *doc, const struct vv_conf_row *row, struct node *n,
                     uint64_t value, const char *where)
{
    uint64_t low = 0, high = UINT64_MAX;
    if (row->min != NULL) {
        VV_ASSERT(scalar_parse(row, row->min, &low));
    }
    if (row->max != NULL) {
        VV_ASSERT(scalar_parse(row, row->max, &high));
    }
    if (value >= low && value <= high) {
        return true;
    }
    const bool below = value < low;
    n->broken = true;
    report(doc,
           &(struct report){.at = n->at,
                            .hint = row->min != NULL && row->max != NULL
                                        ? doc_fmt(doc, "from %s to %s", row->min, row->max)
                                        : NULL},
           "%s must be %s %s", where, below ? "at least" : "at most", below ? row->min : row->max);
    return false;
}

/* False when it is no single value; a null that may stand here is told by *ret_null. */
static bool is_scalar(struct vv_conf_doc *doc, const struct vv_conf_row *row, struct node *n,
                      bool *ret_null, const char *where)
{
    *ret_null = n->kind == NODE_NULL && row->nullable;
    if (n->broken || *ret_null) {
        return !n->broken;
    }
    if (n->kind == NODE_SCALAR) {
        return true;
    }
    n->broken = true;
    if (n->kind == NODE_NULL) {
        report(doc, &(struct report){.at = n->at, .hint = "give it a value, or remove the key"},
               "%s has no value", where);
    } else {
        report(doc, &(struct report){.at = n->at}, "%s must be %s, not %s", where,
               type_names[row->type], kind_names[n->kind]);
    }
    return false;
}

/* ---- fields -------------------------------------------------------------------------------- */

static void decode_number(struct vv_conf_doc *doc, const struct vv_conf_row *row, struct node *n,
                          uint64_t *field, const char *where)
{
    bool null = false;
    uint64_t value = 0;
    if (!is_scalar(doc, row, n, &null, where)) {
        return;
    }
    slot_set(doc, field, false, n);
    if (null || (row->word != NULL && strcmp(n->text, row->word) == 0)) {
        *field = row->absent;
        return;
    }
    if (n->quoted && (row->type == VV_CONF_COUNT || row->type == VV_CONF_BOOL)) {
        n->broken = true;
        report(doc, &(struct report){.at = n->at, .hint = "write it without quotes"},
               "%s must be %s, not text", where, type_names[row->type]);
        return;
    }
    const enum vv_err err = number_parse(row, n->text, &value);
    if (err != VV_OK) {
        bad_value(doc, row, n, err, where);
    } else if (in_range(doc, row, n, value, where)) {
        *field = value;
    }
}

static void hide_password(struct vv_conf_doc *doc, struct mark at)
{
    if (at.file != NULL && at.to > at.from) {
        const char *text = at.file->text.p;
        const struct vv_str p = url_password((struct vv_str){text + at.from, at.to - at.from});
        const uint32_t from = p.n > 0 ? (uint32_t)(p.p - text) : 0;
        file_hide(doc, (struct mark){at.file, from, from + (uint32_t)p.n});
    }
}

/* NULL when there is none or it is wrong. */
static const char *decode_text(struct vv_conf_doc *doc, const struct vv_conf_row *row,
                               struct node *n, const char *where)
{
    bool null = false;
    if (row->secret) {
        n->secret = true;
        file_hide(doc, n->at);
    }
    if (row->url) {
        hide_password(doc, n->at);
    }
    if (!is_scalar(doc, row, n, &null, where) || null) {
        return NULL;
    }
    if (!n->quoted && n->env == NULL &&
        (strcmp(n->text, "true") == 0 || strcmp(n->text, "false") == 0)) {
        n->broken = true;
        report(
            doc,
            &(struct report){.at = n->at, .hint = doc_fmt(doc, "write \"%s\" in quotes", n->text)},
            "%s is text, but this is a boolean", where);
        return NULL;
    }
    if (row->word != NULL && strcmp(n->text, row->word) == 0) {
        return NULL;
    }
    return row->type == VV_CONF_TEMPLATE ? n->tmpl : n->text;
}

/* Nothing at all is a slip more often than it is meant. */
static void decode_json(struct vv_conf_doc *doc, struct node *n, const char **field,
                        const char *where)
{
    if (n->kind == NODE_NULL) {
        n->broken = true;
        report(doc, &(struct report){.at = n->at, .hint = "give it a value, or remove the key"},
               "%s has no value", where);
        return;
    }
    *field = conf_json_text(doc, n);
    slot_set(doc, field, false, n);
}

static void decode_texts(struct vv_conf_doc *doc, const struct vv_conf_row *row, struct node *n,
                         struct vv_conf_list **field, const char *where)
{
    const bool one = n->kind != NODE_LIST;
    struct vv_conf_list *list = list_new(doc, one ? 1 : n->count, false);
    const size_t count = one ? 1 : n->count;
    for (uint32_t i = 0; i < count; i++) {
        struct node *item = one ? n : n->item[i];
        const char *text = decode_text(doc, row, item, where);
        if (text != NULL) {
            slot_set(doc, &list->item[list->count], false, item);
            list->pos[list->count] = mark_pos(item->at);
            list->item[list->count++] = (void *)(uintptr_t)text;
        }
    }
    slot_set(doc, field, false, n);
    *field = list;
}

static void default_texts(struct vv_conf_doc *doc, const char *def, struct vv_conf_list **field)
{
    struct vv_str rest = vv_str_from(def);
    while (rest.p != NULL) {
        const struct vv_str one = vv_str_trim(vv_str_cut(&rest, ','));
        vv_conf_append(doc, field, (void *)(uintptr_t)vv_conf_dup(doc, one), NULL, NULL);
    }
}

static void decode_structs(struct vv_conf_doc *doc, const struct vv_conf_row *row, struct node *n,
                           struct vv_conf_list **field, const char *where)
{
    const bool map = row->type == VV_CONF_MAP;
    struct vv_conf_list *list = list_new(doc, n->count, map);
    if (n->kind != (map ? NODE_MAP : NODE_LIST)) {
        return; /* reported when it was shaped */
    }
    for (uint32_t i = 0; i < n->count; i++) {
        const struct node *at = map ? n->key[i] : n->item[i];
        void *one = doc_zalloc(doc, row->section->size);
        slot_set(doc, one, true, at);
        decode(doc, row->section, n->item[i], one,
               map                         ? doc_fmt(doc, "%s.%s", where, at->text)
               : row->one && n->count == 1 ? where
                                           : doc_fmt(doc, "%s[%u]", where, i));
        for (size_t k = 0; map && k < row->section->row_count; k++) {
            const struct vv_conf_row *name = &row->section->rows[k];
            if (name->type == VV_CONF_NAME) {
                const char **slot = (const char **)(void *)((char *)one + name->offset);
                *slot = at->text;
                slot_set(doc, slot, false, at);
            }
        }
        list->item[list->count] = one;
        list->pos[list->count] = mark_pos(at->at);
        if (map) {
            list->name[list->count] = at->text;
        }
        list->count++;
    }
    slot_set(doc, field, false, n);
    *field = list;
}

static void set_default(struct vv_conf_doc *doc, const struct vv_conf_row *row, void *field)
{
    const bool inherit = doc->inherit_depth > 0;
    uint64_t number = inherit ? VV_CONF_ABSENT : row->absent;
    switch (row->type) {
    case VV_CONF_TEXT:
    case VV_CONF_TEMPLATE:
    case VV_CONF_JSON:
        *(const char **)field = inherit ? NULL : row->def;
        break;
    case VV_CONF_TEXTS:
        if (row->def != NULL && !inherit) {
            default_texts(doc, row->def, field);
        }
        break;
    case VV_CONF_DERIVED:
        *(uint64_t *)field = row->absent;
        break;
    case VV_CONF_BOOL:
    case VV_CONF_COUNT:
    case VV_CONF_OCTAL:
    case VV_CONF_DURATION:
    case VV_CONF_SIZE:
    case VV_CONF_PPM:
    case VV_CONF_ENUM:
        if (row->def != NULL && !inherit &&
            (row->word == NULL || strcmp(row->def, row->word) != 0)) {
            VV_ASSERT(scalar_parse(row, row->def, &number));
        }
        *(uint64_t *)field = number;
        break;
    default:
        break;
    }
}

static void decode_row(struct vv_conf_doc *doc, const struct vv_conf_row *row, struct node *n,
                       void *field, const char *where)
{
    switch (row->type) {
    case VV_CONF_SECTION:
        slot_set(doc, field, true, n);
        doc->inherit_depth += row->inherit;
        decode(doc, row->section, n, field, where);
        doc->inherit_depth -= row->inherit;
        break;
    case VV_CONF_LIST:
    case VV_CONF_MAP:
        if (n != NULL) {
            decode_structs(doc, row, n, field, where);
        }
        break;
    case VV_CONF_TEXTS:
        if (n != NULL) {
            decode_texts(doc, row, n, field, where);
        }
        break;
    case VV_CONF_TEXT:
    case VV_CONF_TEMPLATE:
        if (n != NULL) {
            const char *text = decode_text(doc, row, n, where);
            if (!n->broken) { /* else the default stays, so that checks find what they expect */
                *(const char **)field = text;
            }
            slot_set(doc, field, false, n);
        }
        break;
    case VV_CONF_JSON:
        if (n != NULL) {
            decode_json(doc, n, field, where);
        }
        break;
    default:
        if (n != NULL) {
            decode_number(doc, row, n, field, where);
        }
        break;
    }
}

void decode(struct vv_conf_doc *doc, const struct vv_conf_section *section, struct node *n,
            void *out, const char *where)
{
    for (size_t i = 0; i < section->row_count; i++) {
        const struct vv_conf_row *row = &section->rows[i];
        void *field = (char *)out + row->offset;
        if (row->type == VV_CONF_AT) {
            *(struct vv_conf_pos *)field = n != NULL ? mark_pos(n->at) : (struct vv_conf_pos){0};
        } else if (row->type == VV_CONF_PRESENT) {
            *(uint64_t *)field = n != NULL;
        } else if (row->type >= VV_CONF_INCLUDE || row->store != NULL ||
                   row->type == VV_CONF_NAME) {
            continue;
        } else {
            struct node *value = n != NULL && row->key != NULL ? tree_get(n, row->key) : NULL;
            const char *path = row->key == NULL   ? where
                               : where[0] == '\0' ? row->key
                                                  : doc_fmt(doc, "%s.%s", where, row->key);
            set_default(doc, row, field);
            if (value == NULL && row->required && n != NULL && !n->broken && !doc->partial) {
                report(doc, &(struct report){.at = n->at}, "%s needs \"%s\"",
                       where[0] != '\0' ? where : "the configuration", row->key);
            }
            decode_row(doc, row, value, field, path);
        }
    }
}
