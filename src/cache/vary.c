/* src/cache/vary.c - lists are sorted by insertion in place of pointers: they are short, and a list
 * that is not short is compared as it came. */
#include "cache/vary.h"
#include "wire/encoding.h"

#define MATCH_BYTES 8192

struct out {
    char *p;
    size_t n, cap;
    bool full;
};

static void put(struct out *o, struct vv_str s, bool lower)
{
    if (s.n > o->cap - o->n) {
        o->full = true;
        return;
    }
    for (size_t i = 0; i < s.n; i++) {
        o->p[o->n++] = lower ? vv_char_lower(s.p[i]) : s.p[i];
    }
}

static int compare(struct vv_str a, struct vv_str b)
{
    for (size_t i = 0; i < a.n && i < b.n; i++) {
        const int d = (unsigned char)vv_char_lower(a.p[i]) - (unsigned char)vv_char_lower(b.p[i]);
        if (d != 0) {
            return d;
        }
    }
    return a.n < b.n ? -1 : a.n > b.n;
}

/* Inserts into a rising array; false: it is full. A member that is there already is kept once. */
static bool insert(struct vv_str *items, size_t *count, size_t max, struct vv_str item, bool sorted)
{
    size_t at = *count;
    if (sorted) {
        for (; at > 0 && compare(items[at - 1], item) > 0; at--) {
        }
        if (at > 0 && compare(items[at - 1], item) == 0) {
            return true;
        }
    }
    if (*count == max) {
        return false;
    }
    memmove(items + at + 1, items + at, (*count - at) * sizeof *items);
    items[at] = item;
    (*count)++;
    return true;
}

/* What a client marks as meant for this hop alone has no part in what the origin answers: with it
 * an answer could be stored under a name that it was never asked by. */
static bool is_name(const struct vv_h1_field *f, struct vv_str name)
{
    return !f->hop && vv_str_eq_nocase(f->name, name);
}

/* Fields that a gateway writes itself from who the client is: the request does not show what the
 * origin was told. */
static bool is_unseen(struct vv_str name)
{
    static const char *const names[] = {
        "X-Forwarded-For",      "X-Real-IP",           "Forwarded", "X-Request-Id",
        "X-Authenticated-User", "X-Authenticated-Plan"};
    for (size_t i = 0; i < VV_COUNT(names); i++) {
        if (vv_str_eq_nocase(name, vv_str_from(names[i]))) {
            return true;
        }
    }
    return false;
}

/* White space goes, letters become lower-case. */
static void put_squeezed(struct out *o, struct vv_str item)
{
    for (size_t i = 0; i < item.n; i++) {
        if (item.p[i] != ' ' && item.p[i] != '\t') {
            put(o, (struct vv_str){item.p + i, 1}, true);
        }
    }
}

/* All members of the fields; false: too many. */
static bool gather(const struct vv_h1_head *req, struct vv_str name, bool sorted,
                   struct vv_str items[VV_VARY_ITEMS_MAX], size_t *ret_count)
{
    *ret_count = 0;
    for (uint32_t i = 0; i < req->fields_count; i++) {
        struct vv_str rest = req->fields[i].value;
        struct vv_str item;
        /* A quoted comma would be cut: compare such lists as they came. */
        if (is_name(&req->fields[i], name) && rest.n > 0 && memchr(rest.p, '"', rest.n) != NULL) {
            return false;
        }
        while (is_name(&req->fields[i], name) && vv_h1_list_next(&rest, &item)) {
            if (!insert(items, ret_count, VV_VARY_ITEMS_MAX, item, sorted)) {
                return false;
            }
        }
    }
    return true;
}

static void put_items(struct out *o, const struct vv_str *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            put(o, VV_STR(","), false);
        }
        put_squeezed(o, items[i]);
    }
}

static void put_as_is(const struct vv_h1_head *req, struct vv_str name, struct out *o)
{
    bool first = true;
    for (uint32_t i = 0; i < req->fields_count; i++) {
        if (is_name(&req->fields[i], name)) {
            put(o, first ? (struct vv_str){"", 0} : VV_STR(", "), false);
            put(o, vv_str_trim(req->fields[i].value), false);
            first = false;
        }
    }
}

struct coding {
    struct vv_str name;
    int weight; /* thousandths */
};

/* ";q=0.5" (RFC 9110 section 12.4.2). False: malformed. */
static bool read_weight(struct vv_str s, int *ret)
{
    const struct vv_str w = vv_str_trim(s);
    int place = 1000;
    *ret = 0;
    if (w.n < 3 || w.n > 7 || (w.p[0] | 0x20) != 'q' || w.p[1] != '=' ||
        (w.n > 3 && w.p[3] != '.')) {
        return false;
    }
    for (size_t i = 2; i < w.n; i++) {
        if (i == 3) {
            continue;
        }
        if (w.p[i] < '0' || w.p[i] > '9') {
            return false;
        }
        *ret += (w.p[i] - '0') * place;
        place /= 10;
    }
    return *ret <= 1000;
}

/* By falling weight, then by name. */
static bool goes_before(const struct coding *a, const struct coding *b)
{
    return a->weight != b->weight ? a->weight > b->weight : compare(a->name, b->name) < 0;
}

/* False: malformed, or a coding is named twice, and who knows which one the origin takes. */
static bool read_codings(const struct vv_str *items, size_t count, struct coding *out)
{
    for (size_t i = 0; i < count; i++) {
        struct vv_str weight = items[i];
        struct coding c = {vv_str_trim(vv_str_cut(&weight, ';')), 1000};
        if (!vv_h1_is_token(c.name) || (weight.p != NULL && !read_weight(weight, &c.weight))) {
            return false;
        }
        if (c.name.n > 2 && vv_str_eq_nocase((struct vv_str){c.name.p, 2}, VV_STR("x-")) &&
            (vv_str_eq_nocase(c.name, VV_STR("x-gzip")) ||
             vv_str_eq_nocase(c.name, VV_STR("x-compress")))) {
            c.name = (struct vv_str){c.name.p + 2, c.name.n - 2}; /* section 8.4.1 */
        }
        size_t at = i;
        for (size_t k = 0; k < i; k++) {
            if (vv_str_eq_nocase(out[k].name, c.name)) {
                return false;
            }
        }
        for (; at > 0 && goes_before(&c, &out[at - 1]); at--) {
            out[at] = out[at - 1];
        }
        out[at] = c;
    }
    return true;
}

/* Everything that another origin could tell apart, and nothing else: rank, not weight. */
static void put_codings(const struct vv_h1_head *req, struct out *o)
{
    struct vv_str items[VV_VARY_ITEMS_MAX];
    struct coding codings[VV_VARY_ITEMS_MAX];
    size_t count = 0;
    if (!gather(req, VV_STR("Accept-Encoding"), false, items, &count) ||
        !read_codings(items, count, codings)) {
        put(o, VV_STR("?"), false); /* no token: such a list never looks like one in order */
        put_as_is(req, VV_STR("Accept-Encoding"), o);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (codings[i].weight == 0) {
            put(o, VV_STR("!"), false);
        } else if (i > 0) {
            put(o, codings[i].weight == codings[i - 1].weight ? VV_STR(",") : VV_STR(">"), false);
        }
        put(o, codings[i].name, true);
    }
}

static void put_known_codings(const struct vv_h1_head *req, struct out *o)
{
    enum vv_encoding order[VV_ENCODING_COUNT];
    const size_t known = vv_encoding_order(req, order);
    for (size_t i = 0; i < known; i++) {
        put(o, i > 0 ? VV_STR(",") : (struct vv_str){"", 0}, false);
        put(o, vv_encodings[order[i]].name, false);
    }
}

static bool has_field(const struct vv_h1_head *req, struct vv_str name)
{
    for (uint32_t i = 0; i < req->fields_count; i++) {
        if (is_name(&req->fields[i], name)) {
            return true;
        }
    }
    return false;
}

static void put_line(const struct vv_h1_head *req, struct vv_str name,
                     const struct vv_vary_rules *rules, struct out *o)
{
    struct vv_str items[VV_VARY_ITEMS_MAX];
    size_t count = 0;
    const bool codings = vv_str_eq_nocase(name, VV_STR("Accept-Encoding"));
    put(o, name, true);
    if ((codings && rules->no_codings) || !has_field(req, name)) {
        put(o, VV_STR(" \n"), false);
        return;
    }
    put(o, VV_STR(":"), false);
    const bool sorted = vv_str_eq_nocase(name, VV_STR("Accept")) ||
                        vv_str_eq_nocase(name, VV_STR("Accept-Charset"));
    if (codings && rules->known_codings) {
        put_known_codings(req, o);
    } else if (codings) {
        put_codings(req, o);
    } else if ((sorted || vv_str_eq_nocase(name, VV_STR("Accept-Language"))) &&
               gather(req, name, sorted, items, &count)) {
        put_items(o, items, count);
    } else {
        put_as_is(req, name, o);
    }
    put(o, VV_STR("\n"), false);
}

enum vv_err vv_vary_second(const struct vv_h1_head *req, const struct vv_h1_head *answer,
                           const struct vv_vary_rules *rules, char *out, size_t cap, size_t *ret_n)
{
    struct vv_str names[VV_VARY_NAMES_MAX];
    struct out o = {.p = out, .cap = cap};
    size_t count = 0;
    for (uint32_t i = 0; i < answer->fields_count; i++) {
        struct vv_str rest = answer->fields[i].value;
        struct vv_str item;
        while (answer->fields[i].id == VV_FIELD_VARY && vv_h1_list_next(&rest, &item)) {
            if (!vv_h1_is_token(item) || vv_str_eq(item, VV_STR("*")) || is_unseen(item) ||
                !insert(names, &count, VV_VARY_NAMES_MAX, item, true)) {
                return VV_EINVAL;
            }
        }
    }
    for (size_t i = 0; i < count; i++) {
        put_line(req, names[i], rules, &o);
    }
    if (o.full) {
        return VV_ERANGE;
    }
    *ret_n = o.n;
    return VV_OK;
}

static bool line_matches(const struct vv_h1_head *req, struct vv_str line,
                         const struct vv_vary_rules *rules, struct out *o)
{
    size_t i = 0;
    while (i < line.n && line.p[i] != ':' && line.p[i] != ' ') {
        i++;
    }
    put_line(req, (struct vv_str){line.p, i}, rules, o);
    return !o->full && o->n == line.n + 1 && memcmp(o->p, line.p, line.n) == 0;
}

bool vv_vary_matches(const struct vv_h1_head *req, struct vv_str second,
                     const struct vv_vary_rules *rules)
{
    char room[MATCH_BYTES];
    while (second.n > 0) {
        struct out o = {.p = room, .cap = sizeof room};
        const struct vv_str line = vv_str_cut(&second, '\n');
        if (!line_matches(req, line, rules, &o)) {
            return false;
        }
    }
    return true;
}

bool vv_vary_again(const struct vv_h1_head *req, struct vv_str second,
                   const struct vv_vary_rules *rules, char *out, size_t cap, size_t *ret_n)
{
    struct out o = {.p = out, .cap = cap};
    while (second.n > 0) {
        const struct vv_str line = vv_str_cut(&second, '\n');
        size_t i = 0;
        while (i < line.n && line.p[i] != ':' && line.p[i] != ' ') {
            i++;
        }
        put_line(req, (struct vv_str){line.p, i}, rules, &o);
    }
    *ret_n = o.n;
    return !o.full;
}
