/* src/load/plan_value.c - single values of a scenario file: texts, numbers, times, JSON, maps. */
#include "base/units.h"
#include "load/plan_read.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

void load_wrong(struct load_reading *r, const NODE *n, const char *fmt, ...)
{
    struct vv_sb sb = VV_SB_INIT;
    va_list args;
    va_start(args, fmt);
    vv_sb_vaddf(&sb, fmt, args);
    va_end(args);
    vv_conf_node_report(r->tree, n, false, NULL, "%s", sb.p != NULL ? sb.p : "out of memory");
    vv_sb_fini(&sb);
}

void load_warn(struct load_reading *r, const NODE *n, const char *hint, const char *fmt, ...)
{
    struct vv_sb sb = VV_SB_INIT;
    va_list args;
    va_start(args, fmt);
    vv_sb_vaddf(&sb, fmt, args);
    va_end(args);
    vv_conf_node_report(r->tree, n, !r->source->strict, hint, "%s",
                        sb.p != NULL ? sb.p : "out of memory");
    vv_sb_fini(&sb);
}

void load_known_keys(struct load_reading *r, const NODE *map, const char *const *known,
                     const char *where)
{
    size_t count = 0;
    while (known[count] != NULL) {
        count++;
    }
    for (size_t i = 0; i < vv_conf_node_count(map); i++) {
        const NODE *key = vv_conf_node_key(map, i);
        const char *name = vv_conf_node_text(key);
        size_t k = 0;
        while (k < count && strcmp(known[k], name) != 0) {
            k++;
        }
        if (k == count) {
            const char *near = vv_conf_nearest(name, known, count);
            const struct vv_str hint =
                near != NULL ? vv_arena_fmt(&r->plan->arena, "did you mean \"%s\"?", near)
                             : (struct vv_str){NULL, 0};
            load_warn(r, key, hint.p, "unknown key \"%s\" in %s is ignored", name, where);
        }
    }
}

bool load_is(struct load_reading *r, const NODE *n, enum vv_conf_node_kind kind, const char *what)
{
    static const char *const kinds[] = {"nothing", "a single value", "a list", "a map"};
    if (vv_conf_node_kind(n) != kind) {
        load_wrong(r, n, "%s must be %s, not %s", what, kinds[kind], vv_conf_node_kind_name(n));
        return false;
    }
    return true;
}

/* ---- texts --------------------------------------------------------------------------------- */

bool load_text(struct load_reading *r, const NODE *n, const char *what, struct vv_load_text *ret)
{
    struct vv_load_names *names = &r->plan->names;
    const char *why = NULL;
    size_t at = 0;
    *ret = (struct vv_load_text){NULL, 0};
    if (vv_conf_node_kind(n) == VV_CONF_NODE_NULL) {
        return true;
    }
    if (!load_is(r, n, VV_CONF_NODE_SCALAR, what)) {
        return false;
    }
    names->where = n;
    names->missing = NULL;
    const enum vv_err err =
        vv_load_text_compile(names, vv_str_from(vv_conf_node_text(n)), ret, &why, &at);
    if (err == VV_ENOMEM) {
        longjmp(r->plan->out_of_memory, 1);
    }
    if (err != VV_OK) {
        load_wrong(r, n, "%s: %s", what, why);
        return false;
    }
    if (names->missing != NULL) {
        load_warn(r, n, NULL, "the environment variable %s is not set", names->missing);
    }
    return true;
}

bool load_fixed(struct load_reading *r, const NODE *n, const char *what, const char **ret)
{
    struct vv_load_text t;
    if (!load_text(r, n, what, &t)) {
        return false;
    }
    if (!vv_load_text_constant(&t)) {
        load_wrong(r, n, "%s cannot change from user to user: only $env may stand in it", what);
        return false;
    }
    *ret = load_dup(r->plan, t.count > 0 ? t.part[0].literal : VV_STR(""));
    return true;
}

uint32_t load_slot(struct load_reading *r, const char *name, const NODE *use)
{
    const uint32_t slot = vv_load_slot(&r->plan->names, vv_str_from(name));
    if (slot == VV_LOAD_NO_SLOT) {
        longjmp(r->plan->out_of_memory, 1);
    }
    if (use != NULL && r->plan->names.first_use[slot] == NULL) {
        r->plan->names.first_use[slot] = use;
    }
    return slot;
}

void load_slot_set(struct load_reading *r, const char *name)
{
    const uint32_t slot = load_slot(r, name, NULL); /* may move the arrays */
    r->plan->names.set[slot] = true;
}

/* ---- numbers and times ---------------------------------------------------------------------- */

bool load_number(struct load_reading *r, const NODE *n, const char *what, double min, double max,
                 double *ret)
{
    const char *text = NULL;
    double d = 0;
    if (!load_fixed(r, n, what, &text)) {
        return false;
    }
    const struct vv_load_value v = {.kind = VV_LOAD_TEXT, .text = vv_str_from(text)};
    if (!vv_load_value_to_double(&v, &d)) {
        load_wrong(r, n, "%s must be a number, not \"%s\"", what, text);
        return false;
    }
    if (d < min || d > max) {
        load_wrong(r, n, "%s must be from %.15g to %.15g", what, min, max);
        return false;
    }
    *ret = d;
    return true;
}

bool load_whole(struct load_reading *r, const NODE *n, const char *what, uint64_t max,
                uint64_t *ret)
{
    double d = 0;
    if (!load_number(r, n, what, 0, (double)max, &d)) {
        return false;
    }
    if (d != floor(d)) {
        load_wrong(r, n, "%s must be a whole number", what);
        return false;
    }
    *ret = (uint64_t)d;
    return true;
}

bool load_bool(struct load_reading *r, const NODE *n, const char *what, bool *ret)
{
    const char *text = vv_conf_node_text(n);
    if (text == NULL || (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)) {
        load_wrong(r, n, "%s must be true or false", what);
        return false;
    }
    *ret = text[0] == 't';
    return true;
}

bool load_time(struct load_reading *r, const NODE *n, const char *what, uint64_t unit_ns,
               uint64_t *ret_ns)
{
    const char *text = NULL;
    if (!load_fixed(r, n, what, &text)) {
        return false;
    }
    if (!load_duration(vv_str_from(text), unit_ns, ret_ns)) {
        load_wrong(r, n, "%s must be a time (\"90s\", \"500ms\", or a number of %s), not \"%s\"",
                   what, unit_ns == VV_SEC ? "seconds" : "milliseconds", text);
        return false;
    }
    return true;
}

bool load_jitter(struct load_reading *r, const NODE *n, double *ret_share, uint64_t *ret_ns)
{
    const char *text = NULL;
    uint64_t ppm = 0;
    *ret_share = 0;
    *ret_ns = 0;
    if (!load_fixed(r, n, "jitter", &text)) {
        return false;
    }
    if (vv_parse_ppm(vv_str_from(text), &ppm) == VV_OK) {
        *ret_share = (double)ppm / (double)VV_PPM;
        return true;
    }
    if (!load_duration(vv_str_from(text), VV_MS, ret_ns)) {
        load_wrong(r, n, "jitter must be a share (\"20%%\") or a number of milliseconds");
        return false;
    }
    return true;
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static bool is_decimal(const char *s) /* YAML 1.2.2 section 10.3.2: int and float */
{
    s += *s == '-' || *s == '+';
    size_t digits = strspn(s, "0123456789");
    s += digits;
    if (*s == '.') {
        const size_t more = strspn(++s, "0123456789");
        s += more;
        digits += more;
    }
    if (digits > 0 && (*s == 'e' || *s == 'E')) {
        s++;
        s += *s == '-' || *s == '+';
        const size_t exponent = strspn(s, "0123456789");
        digits = exponent > 0 ? digits : 0;
        s += exponent;
    }
    return digits > 0 && *s == '\0';
}

static bool plain_number(const char *text, double *ret)
{
    char *end = NULL;
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'o') && text[2] != '\0') {
        *ret = (double)strtoull(text + 2, &end, text[1] == 'x' ? 16 : 8);
        return *end == '\0' && text[2] != '-' && text[2] != '+' && text[2] != ' ';
    }
    if (!is_decimal(text)) {
        return false;
    }
    *ret = strtod(text, NULL);
    return isfinite(*ret);
}

static bool is_one_of(const char *text, const char *a, const char *b, const char *c)
{
    return strcmp(text, a) == 0 || strcmp(text, b) == 0 || strcmp(text, c) == 0;
}

static void plain_value(struct load_reading *r, const char *text, struct vv_load_value *ret)
{
    char buf[40];
    double d = 0;
    const bool yes = is_one_of(text, "true", "True", "TRUE");
    if (yes || is_one_of(text, "false", "False", "FALSE")) {
        *ret = (struct vv_load_value){.kind = VV_LOAD_BOOL, .yes = yes};
    } else if (is_one_of(text, "Null", "NULL", "null")) {
        *ret = (struct vv_load_value){.kind = VV_LOAD_NULL};
    } else if (plain_number(text, &d)) {
        const struct vv_str s = vv_str_from(vv_load_number_format(d, buf, sizeof buf));
        *ret = (struct vv_load_value){.kind = VV_LOAD_NUMBER, .text = {load_dup(r->plan, s), s.n}};
    } else {
        const struct vv_str s = vv_str_from(text);
        *ret = (struct vv_load_value){.kind = VV_LOAD_TEXT, .text = {load_dup(r->plan, s), s.n}};
    }
}

void load_value(struct load_reading *r, const NODE *n, struct vv_load_value *ret)
{
    const enum vv_conf_node_kind kind = vv_conf_node_kind(n);
    const size_t count = vv_conf_node_count(n);
    *ret = (struct vv_load_value){.kind = VV_LOAD_NULL};
    if (kind == VV_CONF_NODE_SCALAR && vv_conf_node_quoted(n)) {
        const struct vv_str s = vv_str_from(vv_conf_node_text(n));
        *ret = (struct vv_load_value){.kind = VV_LOAD_TEXT, .text = {load_dup(r->plan, s), s.n}};
    } else if (kind == VV_CONF_NODE_SCALAR) {
        plain_value(r, vv_conf_node_text(n), ret);
    } else if (kind != VV_CONF_NODE_NULL) {
        struct vv_load_value *item = load_zalloc(r->plan, (count + 1) * sizeof *item);
        struct vv_str *key = load_zalloc(r->plan, (count + 1) * sizeof *key);
        for (size_t i = 0; i < count; i++) {
            load_value(r, vv_conf_node_item(n, i), &item[i]);
            if (kind == VV_CONF_NODE_MAP) {
                const struct vv_str s = vv_str_from(vv_conf_node_text(vv_conf_node_key(n, i)));
                key[i] = (struct vv_str){load_dup(r->plan, s), s.n};
            }
        }
        *ret = (struct vv_load_value){.kind = kind == VV_CONF_NODE_MAP ? VV_LOAD_MAP : VV_LOAD_LIST,
                                      .count = count,
                                      .item = item,
                                      .key = kind == VV_CONF_NODE_MAP ? key : NULL};
    }
}

static bool has_template(const NODE *n)
{
    const char *text = vv_conf_node_text(n);
    if (text != NULL && strstr(text, "{{") != NULL) {
        return true;
    }
    for (size_t i = 0; i < vv_conf_node_count(n); i++) {
        if (has_template(vv_conf_node_item(n, i)) ||
            (vv_conf_node_kind(n) == VV_CONF_NODE_MAP && has_template(vv_conf_node_key(n, i)))) {
            return true;
        }
    }
    return false;
}

static void json_done(struct load_reading *r, const NODE *n, struct load_json *ret)
{
    struct vv_load_value v;
    struct vv_sb sb = VV_SB_INIT;
    load_value(r, n, &v);
    vv_load_json_write(&v, &sb);
    const struct vv_str s = vv_sb_str(&sb);
    *ret = (struct load_json){.kind = LOAD_JSON_DONE, .done = {load_dup(r->plan, s), s.n}};
    vv_sb_fini(&sb);
}

bool load_json(struct load_reading *r, const NODE *n, struct load_json *ret)
{
    const enum vv_conf_node_kind kind = vv_conf_node_kind(n);
    const size_t count = vv_conf_node_count(n);
    bool fine = true;
    if (!has_template(n)) {
        json_done(r, n, ret);
        return true;
    }
    *ret = (struct load_json){.kind = LOAD_JSON_TEXT};
    if (kind == VV_CONF_NODE_SCALAR) {
        fine = load_text(r, n, "a JSON value", &ret->text);
        ret->kind = vv_load_text_variable(&ret->text) ? LOAD_JSON_VALUE : LOAD_JSON_TEXT;
        return fine;
    }
    ret->kind = kind == VV_CONF_NODE_MAP ? LOAD_JSON_MAP : LOAD_JSON_LIST;
    ret->count = count;
    ret->item = load_zalloc(r->plan, (count + 1) * sizeof *ret->item);
    ret->key = load_zalloc(r->plan, (count + 1) * sizeof *ret->key);
    for (size_t i = 0; i < count; i++) {
        fine = load_json(r, vv_conf_node_item(n, i), &ret->item[i]) && fine;
        if (kind == VV_CONF_NODE_MAP) {
            fine = load_text(r, vv_conf_node_key(n, i), "a key", &ret->key[i]) && fine;
        }
    }
    return fine;
}

/* ---- maps of texts ------------------------------------------------------------------------- */

static bool header_name(struct load_reading *r, const NODE *key, struct load_pair *ret)
{
    const struct vv_str name = vv_str_from(vv_conf_node_text(key));
    if (!vv_h1_is_token(name)) {
        load_wrong(r, key, "\"%s\" cannot be the name of a header", name.p);
        return false;
    }
    char *lower = load_zalloc(r->plan, name.n + 1);
    for (size_t i = 0; i < name.n; i++) {
        lower[i] = vv_char_lower(name.p[i]);
    }
    ret->name = load_literal(r->plan, (struct vv_str){lower, name.n});
    return true;
}

bool load_pairs(struct load_reading *r, const NODE *n, const char *what, bool headers,
                struct load_pairs *ret)
{
    bool fine = load_is(r, n, VV_CONF_NODE_MAP, what);
    *ret = (struct load_pairs){NULL, 0};
    if (!fine) {
        return false;
    }
    ret->pair = load_zalloc(r->plan, (vv_conf_node_count(n) + 1) * sizeof *ret->pair);
    for (size_t i = 0; i < vv_conf_node_count(n); i++) {
        const NODE *key = vv_conf_node_key(n, i);
        struct load_pair *p = &ret->pair[ret->count];
        const bool named = headers ? header_name(r, key, p) : load_text(r, key, what, &p->name);
        const NODE *value = vv_conf_node_item(n, i);
        if (named && load_text(r, value, vv_conf_node_text(key), &p->value)) {
            const struct vv_load_text *v = &p->value;
            if (headers && v->count == 1 && vv_load_text_constant(v) &&
                !vv_h1_is_field_value(v->part[0].literal)) {
                load_wrong(r, value, "the value of %s holds bytes that no header may have",
                           vv_conf_node_text(key));
                fine = false;
            }
            ret->count++;
        } else {
            fine = false;
        }
    }
    return fine;
}
