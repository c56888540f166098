/* src/load/plan_answer.c - capture, match and expect: what an answer is asked, compiled. */
#include "load/plan_read.h"

#include <stdlib.h>

static void add_regexp(struct load_reading *r, regex_t *re)
{
    struct vv_load_plan *p = r->plan;
    p->regexp = load_grow(p, p->regexp, p->regexp_count, &p->regexp_room, sizeof(regex_t *));
    p->regexp[p->regexp_count++] = re;
}

/* Classes of JavaScript that POSIX writes differently; non-greedy repeats have no counterpart. */
static bool translate(struct load_reading *r, const NODE *n, const char *s, struct vv_sb *out)
{
    static const struct {
        char letter;
        const char *posix, *inside;
    } classes[] = {{'d', "[0-9]", "0-9"},
                   {'w', "[A-Za-z0-9_]", "A-Za-z0-9_"},
                   {'s', "[[:space:]]", "[:space:]"},
                   {'D', "[^0-9]", NULL},
                   {'W', "[^A-Za-z0-9_]", NULL},
                   {'S', "[^[:space:]]", NULL}};
    bool bracket = false;
    for (; *s != '\0'; s++) {
        const char *class = NULL;
        if (!bracket &&
            (strncmp(s, "(?", 2) == 0 || strncmp(s, "*?", 2) == 0 || strncmp(s, "+?", 2) == 0)) {
            load_wrong(r, n, "a regular expression cannot hold \"%.2s\" here", s);
            return false;
        }
        for (size_t i = 0; *s == '\\' && i < VV_COUNT(classes); i++) {
            if (s[1] == classes[i].letter) {
                class = bracket ? classes[i].inside : classes[i].posix;
            }
        }
        if (class != NULL) {
            vv_sb_adds(out, class);
            s++;
            continue;
        }
        bracket = *s == '[' ? true : *s == ']' ? false : bracket;
        vv_sb_addc(out, *s);
        if (*s == '\\' && s[1] != '\0' && !bracket) {
            vv_sb_addc(out, *++s);
        }
    }
    return true;
}

static bool regexp(struct load_reading *r, const NODE *n, const NODE *map, struct load_find *f)
{
    const NODE *group = map != NULL ? vv_conf_node_get(map, "group") : NULL;
    const NODE *flags = map != NULL ? vv_conf_node_get(map, "flags") : NULL;
    const char *text = NULL, *flag = "";
    uint64_t number = 0;
    struct vv_sb sb = VV_SB_INIT;
    if (!load_fixed(r, n, "regexp", &text) ||
        (group != NULL && !load_whole(r, group, "group", 9, &number)) ||
        (flags != NULL && !load_fixed(r, flags, "flags", &flag))) {
        return false;
    }
    f->look = LOAD_LOOK_REGEXP;
    f->group = (size_t)number;
    bool fine = translate(r, n, text, &sb);
    if (fine) {
        f->regexp = load_zalloc(r->plan, sizeof *f->regexp);
        const int how = REG_EXTENDED | (strchr(flag, 'i') != NULL ? REG_ICASE : 0) |
                        (strchr(flag, 'm') != NULL ? REG_NEWLINE : 0);
        char why[128] = "";
        const int err = regcomp(f->regexp, sb.p != NULL ? sb.p : "", how);
        if (err == 0) {
            add_regexp(r, f->regexp);
        } else {
            regerror(err, f->regexp, why, sizeof why);
            load_wrong(r, n, "not a regular expression: %s", why);
            fine = false;
        }
    }
    vv_sb_fini(&sb);
    return fine;
}

static bool path(struct load_reading *r, const NODE *n, struct load_find *f)
{
    const char *text = NULL;
    size_t at = 0;
    if (!load_fixed(r, n, "a JSON path", &text)) {
        return false;
    }
    const enum vv_err err = vv_load_path_compile(&r->plan->arena, vv_str_from(text), &f->path, &at);
    if (err == VV_ENOMEM) {
        longjmp(r->plan->out_of_memory, 1);
    }
    if (err != VV_OK) {
        load_wrong(r, n,
                   "character %zu of the JSON path \"%s\" is not understood: known are "
                   ".name ['name'] [0] [*] and ..name",
                   at + 1, text);
        return false;
    }
    f->look = LOAD_LOOK_JSON;
    return true;
}

static bool header(struct load_reading *r, const NODE *n, struct vv_str *ret)
{
    const char *text = NULL;
    if (!load_fixed(r, n, "header", &text)) {
        return false;
    }
    *ret = vv_str_from(text);
    return true;
}

/* ---- capture and match --------------------------------------------------------------------- */

static bool find(struct load_reading *r, const NODE *n, struct load_request *q, struct load_find *f)
{
    const NODE *v = NULL;
    if ((v = vv_conf_node_get(n, "json")) != NULL) {
        q->wants_body = true;
        return path(r, v, f);
    }
    if ((v = vv_conf_node_get(n, "regexp")) != NULL) {
        q->wants_body = true;
        return regexp(r, v, n, f);
    }
    if ((v = vv_conf_node_get(n, "header")) != NULL) {
        f->look = LOAD_LOOK_HEADER;
        return header(r, v, &f->header);
    }
    load_wrong(r, n, "one of json, header and regexp is needed here");
    return false;
}

static void one(struct load_reading *r, const NODE *n, bool match, struct load_request *q)
{
    static const char *const known[] = {"json", "header", "regexp", "group", "flags",
                                        "as",   "strict", "value",  NULL};
    struct load_capture c = {.slot = VV_LOAD_NO_SLOT, .strict = !r->plan->lax_capture || match};
    if (!load_is(r, n, VV_CONF_NODE_MAP, match ? "match" : "capture")) {
        return;
    }
    load_known_keys(r, n, known, match ? "match" : "capture");
    const NODE *as = vv_conf_node_get(n, "as"), *value = vv_conf_node_get(n, "value");
    const NODE *strict = vv_conf_node_get(n, "strict");
    if (strict != NULL) {
        (void)load_bool(r, strict, "strict", &c.strict);
    }
    if (!find(r, n, q, &c.find)) {
        return;
    }
    if (value != NULL) {
        (void)load_text(r, value, "value", &c.value);
    } else if (as != NULL && vv_conf_node_text(as) != NULL) {
        load_slot_set(r, vv_conf_node_text(as));
        c.slot = load_slot(r, vv_conf_node_text(as), NULL);
    } else {
        load_wrong(r, n,
                   match ? "match needs a value" : "capture needs as: the name of a variable");
        return;
    }
    q->capture[q->capture_count++] = c;
}

static size_t items(const NODE *n)
{
    return n == NULL ? 0 : vv_conf_node_kind(n) == VV_CONF_NODE_LIST ? vv_conf_node_count(n) : 1;
}

void load_captures(struct load_reading *r, const NODE *capture, const NODE *match,
                   struct load_request *q)
{
    const NODE *both[] = {capture, match};
    const size_t count = items(capture) + items(match);
    if (count == 0) {
        return;
    }
    q->capture = load_zalloc(r->plan, count * sizeof *q->capture);
    for (int m = 0; m < 2; m++) {
        for (size_t i = 0; i < items(both[m]); i++) {
            const bool list = vv_conf_node_kind(both[m]) == VV_CONF_NODE_LIST;
            one(r, list ? vv_conf_node_item(both[m], i) : both[m], m == 1, q);
        }
    }
}

/* ---- expect -------------------------------------------------------------------------------- */

/* What plugins.expect calls it; NULL: it knows none like that. */
static const char *expect_name(struct vv_load_plan *p, const struct load_expect *e)
{
    switch (e->kind) {
    case LOAD_EXPECT_STATUS:
        return "statusCode";
    case LOAD_EXPECT_STATUS_BELOW:
        return NULL;
    case LOAD_EXPECT_TYPE:
        return "contentType";
    case LOAD_EXPECT_HEADER:
        return "hasHeader";
    case LOAD_EXPECT_HEADER_IS:
        return vv_arena_fmt(&p->arena, "header " VV_STR_FMT " values equals", VV_STR_ARG(e->name))
            .p;
    case LOAD_EXPECT_PROPERTY:
        return "hasProperty";
    case LOAD_EXPECT_NO_PROPERTY:
        return "notHasProperty";
    case LOAD_EXPECT_EQUAL:
        return "equals";
    case LOAD_EXPECT_MATCHES:
        return "matchesRegexp";
    case LOAD_EXPECT_LATENCY:
        return "maxLatency";
    }
    return NULL;
}

static size_t expect_counter(struct vv_load_plan *p, const char *name)
{
    size_t i = 0;
    while (name != NULL && i < p->view.expect_count && strcmp(p->expect[i], name) != 0) {
        i++;
    }
    if (name != NULL && i == p->view.expect_count) {
        p->expect = load_grow(p, p->expect, i, &p->expect_room, sizeof(char *));
        p->expect[p->view.expect_count++] = name;
    }
    return name != NULL ? i + 1 : 0;
}

void load_expect_add(struct load_reading *r, struct load_request *q, struct load_expect e)
{
    e.counter = expect_counter(r->plan, expect_name(r->plan, &e));
    struct load_expect *more = load_zalloc(r->plan, (q->expect_count + 1) * sizeof *more);
    for (size_t i = 0; i < q->expect_count; i++) {
        more[i] = q->expect[i];
    }
    more[q->expect_count++] = e;
    q->expect = more;
}

static bool statuses(struct load_reading *r, const NODE *n, struct load_expect *e)
{
    const bool list = vv_conf_node_kind(n) == VV_CONF_NODE_LIST;
    e->kind = LOAD_EXPECT_STATUS;
    e->count = items(n);
    e->status = load_zalloc(r->plan, (e->count + 1) * sizeof *e->status);
    for (size_t i = 0; i < e->count; i++) {
        uint64_t status = 0;
        if (!load_whole(r, list ? vv_conf_node_item(n, i) : n, "a status code", 599, &status)) {
            return false;
        }
        e->status[i] = (int)status;
    }
    return true;
}

static bool texts(struct load_reading *r, const NODE *n, size_t from, struct load_expect *e)
{
    if (vv_conf_node_kind(n) != VV_CONF_NODE_LIST || vv_conf_node_count(n) < 2) {
        load_wrong(r, n, "a list of at least two texts is needed here");
        return false;
    }
    e->count = vv_conf_node_count(n) - from;
    e->text = load_zalloc(r->plan, e->count * sizeof *e->text);
    for (size_t i = 0; i < e->count; i++) {
        if (!load_text(r, vv_conf_node_item(n, from + i), "a value", &e->text[i])) {
            return false;
        }
    }
    return true;
}

static bool expectation(struct load_reading *r, const char *name, const NODE *n,
                        struct load_request *q, struct load_expect *e)
{
    const char *text = NULL;
    if (strcmp(name, "statusCode") == 0 || strcmp(name, "status") == 0) {
        return statuses(r, n, e);
    }
    if (strcmp(name, "contentType") == 0) {
        e->kind = LOAD_EXPECT_TYPE;
        return load_fixed(r, n, name, &text) && (e->name = vv_str_from(text)).n > 0;
    }
    if (strcmp(name, "hasHeader") == 0) {
        e->kind = LOAD_EXPECT_HEADER;
        return header(r, n, &e->name);
    }
    if (strcmp(name, "headerEquals") == 0) {
        e->kind = LOAD_EXPECT_HEADER_IS;
        return texts(r, n, 1, e) && header(r, vv_conf_node_item(n, 0), &e->name);
    }
    if (strcmp(name, "hasProperty") == 0 || strcmp(name, "notHasProperty") == 0) {
        e->kind = name[0] == 'h' ? LOAD_EXPECT_PROPERTY : LOAD_EXPECT_NO_PROPERTY;
        q->wants_body = true;
        return path(r, n, &e->find);
    }
    if (strcmp(name, "equals") == 0) {
        e->kind = LOAD_EXPECT_EQUAL;
        return texts(r, n, 0, e);
    }
    if (strcmp(name, "matchesRegexp") == 0) {
        e->kind = LOAD_EXPECT_MATCHES;
        q->wants_body = true;
        return regexp(r, n, NULL, &e->find);
    }
    e->kind = LOAD_EXPECT_LATENCY;
    return load_time(r, n, name, VV_MS, &e->number);
}

static void expect_map(struct load_reading *r, const NODE *map, struct load_request *q)
{
    static const char *const known[] = {
        "statusCode",    "status",      "contentType", "hasHeader",
        "headerEquals",  "hasProperty", "equals",      "notHasProperty",
        "matchesRegexp", "maxLatency",  NULL};
    load_known_keys(r, map, known, "expect");
    for (size_t i = 0; i < vv_conf_node_count(map); i++) {
        const char *name = vv_conf_node_text(vv_conf_node_key(map, i));
        size_t k = 0;
        while (known[k] != NULL && strcmp(known[k], name) != 0) {
            k++;
        }
        struct load_expect e = {.kind = LOAD_EXPECT_STATUS};
        if (known[k] != NULL && expectation(r, name, vv_conf_node_item(map, i), q, &e)) {
            load_expect_add(r, q, e);
        }
    }
}

/* A map, a list of maps, or just the status. */
void load_expects(struct load_reading *r, const NODE *n, struct load_request *q)
{
    struct load_expect e = {.kind = LOAD_EXPECT_STATUS};
    if (n != NULL && vv_conf_node_kind(n) == VV_CONF_NODE_MAP) {
        expect_map(r, n, q);
    } else if (n != NULL && vv_conf_node_kind(n) == VV_CONF_NODE_LIST &&
               vv_conf_node_count(n) > 0 &&
               vv_conf_node_kind(vv_conf_node_item(n, 0)) == VV_CONF_NODE_MAP) {
        for (size_t i = 0; i < vv_conf_node_count(n); i++) {
            if (load_is(r, vv_conf_node_item(n, i), VV_CONF_NODE_MAP, "an expectation")) {
                expect_map(r, vv_conf_node_item(n, i), q);
            }
        }
    } else if (n != NULL && statuses(r, n, &e)) {
        load_expect_add(r, q, e);
    }
    bool asked = false;
    for (size_t i = 0; i < q->expect_count; i++) {
        asked = asked || q->expect[i].kind == LOAD_EXPECT_STATUS;
    }
    if (r->expect_200 && !asked) {
        int *ok = load_zalloc(r->plan, sizeof *ok);
        *ok = 200;
        e = (struct load_expect){.kind = LOAD_EXPECT_STATUS, .status = ok, .count = 1};
        load_expect_add(r, q, e);
    } else if (r->config == NULL && !asked) {
        e = (struct load_expect){.kind = LOAD_EXPECT_STATUS_BELOW, .number = 400};
        load_expect_add(r, q, e);
    }
}
