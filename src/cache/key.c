/* src/cache/key.c - one writer with a full mark: sizes are checked where bytes are written, the
 * error is looked at once. */
#include "cache/key.h"
#include "wire/uri.h"

struct out {
    char *p;
    size_t n, cap;
    bool full;
};

static void put_char(struct out *o, char c)
{
    if (o->n < o->cap) {
        o->p[o->n++] = c;
    } else {
        o->full = true;
    }
}

static void put(struct out *o, struct vv_str s)
{
    if (s.n > o->cap - o->n) {
        o->full = true;
    } else if (s.n > 0) {
        memcpy(o->p + o->n, s.p, s.n);
        o->n += s.n;
    }
}

static void put_lower(struct out *o, struct vv_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        put_char(o, vv_char_lower(s.p[i]));
    }
}

static bool put_authority(struct out *o, struct vv_str scheme, struct vv_str authority)
{
    struct vv_str host;
    uint16_t port;
    if (vv_uri_authority_plain(authority, &host, &port) && port != 80 && port != 443) {
        put(o, authority); /* is in normal form as it came: nearly always so */
        return true;
    }
    char text[8];
    if (vv_uri_split_authority(authority, &host, &port) != VV_OK) {
        return false;
    }
    const bool v6 = host.n > 0 && host.p[0] != '[' && vv_str_find_char(host, ':') >= 0;
    put(o, v6 ? VV_STR("[") : (struct vv_str){"", 0});
    put_lower(o, host);
    put(o, v6 ? VV_STR("]") : (struct vv_str){"", 0});
    const uint16_t usual = vv_str_eq_nocase(scheme, VV_STR("https")) ? 443 : 80;
    if (port != 0 && port != usual) {
        size_t at = sizeof text; /* on the way of every hit: no printf */
        for (unsigned left = port; left > 0; left /= 10) {
            text[--at] = (char)('0' + left % 10);
        }
        text[--at] = ':';
        put(o, (struct vv_str){text + at, sizeof text - at});
    }
    return true;
}

static struct vv_str name_of(struct vv_str parameter)
{
    return vv_str_cut(&parameter, '=');
}

static bool dropped(const struct vv_key_rules *rules, struct vv_str parameter)
{
    const struct vv_str name = name_of(parameter);
    for (size_t i = 0; i < rules->drop_count; i++) {
        const struct vv_str d = rules->drop[i];
        if (d.n > 0 && d.p[d.n - 1] == '*' ? vv_str_starts(name, (struct vv_str){d.p, d.n - 1})
                                           : vv_str_eq(name, d)) {
            return true;
        }
    }
    return false;
}

static int compare(struct vv_str a, struct vv_str b)
{
    const size_t n = a.n < b.n ? a.n : b.n;
    const int d = n > 0 ? memcmp(a.p, b.p, n) : 0;
    return d != 0 ? d : a.n < b.n ? -1 : a.n > b.n;
}

static void put_parameter(struct out *o, struct vv_str parameter, bool *first)
{
    put_char(o, *first ? '?' : '&');
    put(o, parameter);
    *first = false;
}

/* A stable insertion sort by name. False: too many, nothing was written. */
static bool put_sorted(struct out *o, struct vv_str query, const struct vv_key_rules *rules)
{
    struct vv_str items[VV_KEY_PARAMETERS_MAX];
    size_t count = 0;
    bool first = true;
    while (query.p != NULL) {
        const struct vv_str item = vv_str_cut(&query, '&');
        if (dropped(rules, item)) {
            continue;
        }
        if (count == VV_KEY_PARAMETERS_MAX) {
            return false;
        }
        size_t at = count++;
        for (; at > 0 && compare(name_of(items[at - 1]), name_of(item)) > 0; at--) {
            items[at] = items[at - 1];
        }
        items[at] = item;
    }
    for (size_t i = 0; i < count; i++) {
        put_parameter(o, items[i], &first);
    }
    return true;
}

static void put_query(struct out *o, struct vv_str query, const struct vv_key_rules *rules)
{
    bool first = true;
    if (query.p == NULL || rules->ignore_query ||
        (rules->sort_query && put_sorted(o, query, rules))) {
        return;
    }
    if (rules->drop_count == 0) {
        put_parameter(o, query, &first);
        return;
    }
    while (query.p != NULL) {
        const struct vv_str item = vv_str_cut(&query, '&');
        if (!dropped(rules, item)) {
            put_parameter(o, item, &first);
        }
    }
}

enum vv_err vv_key_build(const struct vv_key_parts *parts, const struct vv_key_rules *rules,
                         char *out, size_t cap, size_t *ret_n)
{
    struct out o = {.p = out, .cap = cap};
    if (parts->method != VV_METHOD_GET && parts->method != VV_METHOD_HEAD) {
        put(&o, parts->method_text);
        put_char(&o, ' ');
    }
    put_lower(&o, parts->scheme);
    put(&o, VV_STR("://"));
    if (!put_authority(&o, parts->scheme, parts->authority)) {
        return VV_EINVAL;
    }
    put(&o, parts->path.n > 0 ? parts->path : VV_STR("/"));
    put_query(&o, parts->query, rules);
    if (parts->body.p != NULL) {
        put_char(&o, '\0');
        put(&o, parts->body);
    }
    if (o.full) {
        return VV_ERANGE;
    }
    *ret_n = o.n;
    return VV_OK;
}
