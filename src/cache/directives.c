/* src/cache/directives.c - one walk over members that knows quoted strings serves Cache-Control and
 * Surrogate-Control; dictionaries of structured fields have their own, since there a single fault
 * voids the whole field. */
#include "cache/directives.h"

static const struct vv_str flag_names[VV_CC_FLAG_COUNT] = {
#define VV_CC_FLAG(id, name) {(name), sizeof(name) - 1},
    VV_CC_FLAGS(VV_CC_FLAG)
#undef VV_CC_FLAG
};
static const struct vv_str number_names[VV_CC_NUMBER_COUNT] = {
#define VV_CC_NUMBER(id, name) {(name), sizeof(name) - 1},
    VV_CC_NUMBERS(VV_CC_NUMBER)
#undef VV_CC_NUMBER
};

struct member {
    struct vv_str name, value; /* value.p NULL: no "=" */
    bool quoted, surrogate;
};

void vv_cc_init(struct vv_cc *cc)
{
    *cc = (struct vv_cc){.flags = 0};
    for (size_t i = 0; i < VV_CC_NUMBER_COUNT; i++) {
        cc->number[i] = VV_CC_UNSET;
    }
}

/* RFC 9111 section 1.2.2. False: not a number. */
static bool delta_seconds(struct vv_str s, uint32_t *ret)
{
    uint64_t v = 0;
    if (s.p == NULL || s.n == 0) {
        return false;
    }
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            return false;
        }
        v = vv_min_u64(v * 10 + (uint64_t)(s.p[i] - '0'), VV_CC_MAX_S);
    }
    *ret = (uint32_t)v;
    return true;
}

/* Cuts *rest behind the next comma outside quotes. False: the end. */
static bool next_raw(struct vv_str *rest, struct vv_str *ret_item)
{
    while (rest->n > 0) {
        size_t i = 0;
        for (bool quoted = false; i < rest->n && (quoted || rest->p[i] != ','); i++) {
            if (quoted && rest->p[i] == '\\' && i + 1 < rest->n) {
                i++;
            } else if (rest->p[i] == '"') {
                quoted = !quoted;
            }
        }
        *ret_item = vv_str_trim((struct vv_str){rest->p, i});
        const size_t used = i < rest->n ? i + 1 : i;
        *rest = (struct vv_str){rest->p + used, rest->n - used};
        if (ret_item->n > 0) {
            return true;
        }
    }
    return false;
}

/* White space beside "=" is no part of the grammar: it stays in the value, which then is no number,
 * or after the name, which is trimmed so that a broken restriction still restricts. */
static struct member split(struct vv_str item)
{
    struct member m = {.name = item};
    const ptrdiff_t eq = vv_str_find_char(item, '=');
    if (eq < 0) {
        return m;
    }
    const struct vv_str before = {item.p, (size_t)eq};
    m.name = vv_str_trim(before);
    m.value = (struct vv_str){item.p + eq + 1, item.n - (size_t)eq - 1};
    if (m.name.n < before.n) {
        m.value.n = 0; /* as good as no value */
    }
    if (m.value.n > 0 && m.value.p[0] == '"') {
        m.quoted = true;
        m.value = (struct vv_str){m.value.p + 1, m.value.n - 1};
        if (m.value.n > 0 && m.value.p[m.value.n - 1] == '"') {
            m.value.n--;
        }
    }
    return m;
}

/* A list that we cannot keep restricts the whole answer. */
static void add_fields(struct vv_cc *cc, enum vv_cc_flag flag, struct vv_str list)
{
    struct vv_cc_fields *fields = flag == VV_CC_NO_CACHE ? &cc->no_cache : &cc->private_fields;
    const bool escaped = list.n > 0 && memchr(list.p, '\\', list.n) != NULL;
    if (list.n == 0 || escaped || fields->count == VV_CC_LISTS_MAX) {
        cc->flags |= 1u << flag;
        return;
    }
    fields->list[fields->count++] = list;
}

static void add_flag(struct vv_cc *cc, enum vv_cc_flag flag, const struct member *m)
{
    if ((flag == VV_CC_NO_CACHE || flag == VV_CC_PRIVATE) && m->value.p != NULL) {
        add_fields(cc, flag, m->value);
        return;
    }
    cc->flags |= 1u << flag;
}

static void keep_number(struct vv_cc *cc, enum vv_cc_number number, uint32_t v)
{
    const uint32_t old = cc->number[number];
    const bool higher_is_stricter = number == VV_CC_MIN_FRESH;
    if (old == VV_CC_UNSET || (higher_is_stricter ? v > old : v < old)) {
        cc->number[number] = v;
    }
}

static void add_number(struct vv_cc *cc, enum vv_cc_number number, const struct member *m)
{
    uint32_t v = 0;
    struct vv_str value = m->value;
    struct vv_str grace = {NULL, 0};
    if (m->surrogate && number == VV_CC_MAX_AGE && value.p != NULL) {
        grace = value;
        value = vv_str_cut(&grace, '+');
    }
    if (number == VV_CC_MAX_STALE && value.p == NULL) {
        v = VV_CC_MAX_S; /* of any age (RFC 9111 section 5.2.1.2) */
    } else if (!delta_seconds(value, &v)) {
        if (number != VV_CC_MAX_AGE && number != VV_CC_S_MAXAGE) {
            return;
        }
        v = 0;
    }
    keep_number(cc, number, v);
    if (grace.p != NULL && delta_seconds(grace, &v)) {
        keep_number(cc, VV_CC_STALE_WHILE_REVALIDATE, v);
        keep_number(cc, VV_CC_STALE_IF_ERROR, v);
    }
}

static void add_member(struct vv_cc *cc, const struct member *m)
{
    for (size_t i = 0; i < VV_CC_FLAG_COUNT; i++) {
        if (vv_str_eq_nocase(m->name, flag_names[i])) {
            add_flag(cc, (enum vv_cc_flag)i, m);
            return;
        }
    }
    for (size_t i = 0; i < VV_CC_NUMBER_COUNT; i++) {
        if (vv_str_eq_nocase(m->name, number_names[i])) {
            add_number(cc, (enum vv_cc_number)i, m);
            return;
        }
    }
}

static void add_value(struct vv_cc *cc, struct vv_str value, bool surrogate)
{
    struct vv_str item;
    cc->present = true;
    while (next_raw(&value, &item)) {
        struct member m = split(item);
        m.surrogate = surrogate;
        if (surrogate && m.value.p != NULL && !m.quoted) { /* "60;target" */
            m.value = vv_str_cut(&(struct vv_str){m.value.p, m.value.n}, ';');
        } else if (surrogate && m.value.p == NULL) {
            m.name = vv_str_trim(vv_str_cut(&(struct vv_str){m.name.p, m.name.n}, ';'));
        }
        add_member(cc, &m);
    }
}

void vv_cc_add(struct vv_cc *cc, struct vv_str value)
{
    add_value(cc, value, false);
}

void vv_cc_add_surrogate(struct vv_cc *cc, struct vv_str value)
{
    add_value(cc, value, true);
    cc->targeted = true;
}

/* ---- dictionaries of structured fields (RFC 8941 section 4.2.2) ---- */

static char peek(const struct vv_str *s)
{
    return s->n > 0 ? s->p[0] : '\0';
}

static void skip(struct vv_str *s, size_t n)
{
    *s = (struct vv_str){s->p + n, s->n - n};
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool take_key(struct vv_str *s, struct vv_str *ret)
{
    size_t i = 0;
    if (!is_lower(peek(s)) && peek(s) != '*') {
        return false;
    }
    while (i < s->n &&
           (is_lower(s->p[i]) || is_digit(s->p[i]) || memchr("_-.*", s->p[i], 4) != NULL)) {
        i++;
    }
    *ret = (struct vv_str){s->p, i};
    skip(s, i);
    return true;
}

enum bare { BARE_BAD, BARE_INTEGER, BARE_DECIMAL, BARE_STRING, BARE_TRUE, BARE_FALSE, BARE_OTHER };

static enum bare take_number(struct vv_str *s, struct vv_str *ret)
{
    size_t i = peek(s) == '-' ? 1 : 0;
    const size_t first = i;
    size_t dot = 0;
    while (i < s->n && (is_digit(s->p[i]) || (s->p[i] == '.' && dot == 0 && i > first))) {
        dot = s->p[i] == '.' ? i : dot;
        i++;
    }
    const size_t whole = (dot != 0 ? dot : i) - first;
    const size_t part = dot != 0 ? i - dot - 1 : 0;
    if (whole == 0 || whole > (dot != 0 ? 12u : 15u) || (dot != 0 && (part == 0 || part > 3))) {
        return BARE_BAD;
    }
    *ret = (struct vv_str){s->p, i};
    skip(s, i);
    return dot != 0 ? BARE_DECIMAL : BARE_INTEGER;
}

static enum bare take_string(struct vv_str *s, struct vv_str *ret)
{
    for (size_t i = 1; i < s->n; i++) {
        const char c = s->p[i];
        if (c == '"') {
            *ret = (struct vv_str){s->p + 1, i - 1};
            skip(s, i + 1);
            return BARE_STRING;
        }
        if (c == '\\' && (++i >= s->n || (s->p[i] != '"' && s->p[i] != '\\'))) {
            return BARE_BAD;
        }
        if (c < 0x20 || c > 0x7e) {
            return BARE_BAD;
        }
    }
    return BARE_BAD;
}

/* Tokens and byte sequences: nothing we use has them as a value. */
static enum bare take_other(struct vv_str *s)
{
    size_t i = 1;
    if (peek(s) == ':') {
        const char *end = s->n > 1 ? memchr(s->p + 1, ':', s->n - 1) : NULL;
        if (end == NULL) {
            return BARE_BAD;
        }
        skip(s, (size_t)(end + 1 - s->p));
        return BARE_OTHER;
    }
    if (!is_lower((char)(peek(s) | 0x20)) && peek(s) != '*') {
        return BARE_BAD;
    }
    while (i < s->n &&
           (vv_h1_is_token((struct vv_str){s->p + i, 1}) || s->p[i] == ':' || s->p[i] == '/')) {
        i++;
    }
    skip(s, i);
    return BARE_OTHER;
}

static enum bare take_bare(struct vv_str *s, struct vv_str *ret)
{
    const char c = peek(s);
    if (c == '-' || is_digit(c)) {
        return take_number(s, ret);
    }
    if (c == '"') {
        return take_string(s, ret);
    }
    if (c == '?') {
        if (s->n < 2 || (s->p[1] != '0' && s->p[1] != '1')) {
            return BARE_BAD;
        }
        const bool yes = s->p[1] == '1';
        skip(s, 2);
        return yes ? BARE_TRUE : BARE_FALSE;
    }
    return s->n == 0 ? BARE_BAD : take_other(s);
}

static void skip_spaces(struct vv_str *s, bool tabs)
{
    while (peek(s) == ' ' || (tabs && peek(s) == '\t')) {
        skip(s, 1);
    }
}

static bool take_parameters(struct vv_str *s)
{
    while (peek(s) == ';') {
        struct vv_str unused;
        skip(s, 1);
        skip_spaces(s, false);
        if (!take_key(s, &unused)) {
            return false;
        }
        if (peek(s) == '=') {
            skip(s, 1);
            if (take_bare(s, &unused) == BARE_BAD) {
                return false;
            }
        }
    }
    return true;
}

static bool take_inner_list(struct vv_str *s)
{
    struct vv_str unused;
    skip(s, 1);
    for (;;) {
        skip_spaces(s, false);
        if (peek(s) == ')') {
            skip(s, 1);
            return true;
        }
        if (take_bare(s, &unused) == BARE_BAD || !take_parameters(s) ||
            (peek(s) != ' ' && peek(s) != ')')) {
            return false;
        }
    }
}

/* The last of a repeated key counts, so an earlier one is forgotten first. */
static void set_member(struct vv_cc *cc, struct vv_str key, enum bare type, struct vv_str value)
{
    for (size_t i = 0; i < VV_CC_FLAG_COUNT; i++) {
        if (!vv_str_eq(key, flag_names[i])) {
            continue;
        }
        cc->flags &= ~(1u << i);
        if (i == VV_CC_NO_CACHE) {
            cc->no_cache.count = 0;
        } else if (i == VV_CC_PRIVATE) {
            cc->private_fields.count = 0;
        }
        if (type == BARE_TRUE || type == BARE_STRING) {
            const struct member m = {.value = type == BARE_STRING ? value : (struct vv_str){0}};
            add_flag(cc, (enum vv_cc_flag)i, &m);
        }
        return;
    }
    for (size_t i = 0; i < VV_CC_NUMBER_COUNT; i++) {
        if (vv_str_eq(key, number_names[i])) {
            uint32_t v = 0;
            cc->number[i] = VV_CC_UNSET;
            if (type == BARE_INTEGER) { /* a negative age is no age: stale */
                cc->number[i] = delta_seconds(value, &v) ? v : 0;
            }
            return;
        }
    }
}

static bool take_member(struct vv_str *s, struct vv_cc *cc)
{
    struct vv_str key;
    struct vv_str value = {NULL, 0};
    enum bare type = BARE_TRUE;
    if (!take_key(s, &key)) {
        return false;
    }
    if (peek(s) == '=') {
        skip(s, 1);
        if (peek(s) == '(') {
            type = take_inner_list(s) ? BARE_OTHER : BARE_BAD;
        } else {
            type = take_bare(s, &value);
        }
    }
    if (type == BARE_BAD || !take_parameters(s)) {
        return false;
    }
    set_member(cc, key, type, value);
    return true;
}

static bool read_dictionary(struct vv_cc *cc, struct vv_str s)
{
    for (;;) {
        if (!take_member(&s, cc)) {
            return false;
        }
        skip_spaces(&s, true);
        if (s.n == 0) {
            return true;
        }
        if (peek(&s) != ',') {
            return false;
        }
        skip(&s, 1);
        skip_spaces(&s, true);
    }
}

bool vv_cc_read_targeted(struct vv_cc *cc, struct vv_str value)
{
    struct vv_cc made;
    vv_cc_init(&made);
    value = vv_str_trim(value);
    if (value.n == 0 || !read_dictionary(&made, value)) {
        return false;
    }
    made.present = made.targeted = true;
    *cc = made;
    return true;
}

static bool add_all(const struct vv_h1_head *h, struct vv_str name, bool surrogate,
                    struct vv_cc *cc)
{
    for (uint32_t i = 0; i < h->fields_count; i++) {
        if (vv_str_eq_nocase(h->fields[i].name, name)) {
            add_value(cc, h->fields[i].value, surrogate);
        }
    }
    return cc->present;
}

void vv_cc_of_request(const struct vv_h1_head *req, struct vv_cc *ret)
{
    vv_cc_init(ret);
    if (vv_h1_find(req, VV_FIELD_CACHE_CONTROL) != NULL) {
        (void)add_all(req, VV_STR("Cache-Control"), false, ret);
        return;
    }
    const struct vv_h1_field *pragma = vv_h1_find_name(req, VV_STR("Pragma"));
    if (pragma != NULL && vv_h1_list_has(pragma->value, VV_STR("no-cache"))) {
        ret->flags |= 1u << VV_CC_NO_CACHE;
    }
}

/* A dictionary may be spread over several fields: they count as one (RFC 8941 section 4.2). */
static bool read_target(const struct vv_h1_head *h, struct vv_str name, struct vv_cc *ret)
{
    struct vv_cc made;
    bool any = false;
    vv_cc_init(&made);
    for (uint32_t i = 0; i < h->fields_count; i++) {
        const struct vv_str value = vv_str_trim(h->fields[i].value);
        if (value.n > 0 && vv_str_eq_nocase(h->fields[i].name, name)) {
            if (!read_dictionary(&made, value)) {
                return false;
            }
            any = true;
        }
    }
    if (any) {
        made.present = made.targeted = true;
        *ret = made;
    }
    return any;
}

void vv_cc_of_answer(const struct vv_h1_head *answer, const struct vv_str *targets,
                     size_t targets_count, bool surrogate, struct vv_cc *ret)
{
    for (size_t i = 0; i < targets_count; i++) {
        if (read_target(answer, targets[i], ret)) {
            return;
        }
    }
    vv_cc_init(ret);
    if (surrogate && add_all(answer, VV_STR("Surrogate-Control"), true, ret)) {
        ret->targeted = true;
        return;
    }
    (void)add_all(answer, VV_STR("Cache-Control"), false, ret);
}

bool vv_cc_fields_have(const struct vv_cc_fields *fields, struct vv_str name)
{
    for (uint32_t i = 0; i < fields->count; i++) {
        if (vv_h1_list_has(fields->list[i], name)) {
            return true;
        }
    }
    return false;
}
