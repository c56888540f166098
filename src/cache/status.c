/* src/cache/status.c - a name that is a token is written bare, anything else as a string. */
#include "cache/status.h"
#include <stdio.h>

static const char *const fwd_names[VV_CACHE_FWD_COUNT] = {
#define VV_CACHE_FWD(id, name) (name),
    VV_CACHE_FWDS(VV_CACHE_FWD)
#undef VV_CACHE_FWD
};

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

static void put(struct out *o, const char *s)
{
    for (; *s != '\0'; s++) {
        put_char(o, *s);
    }
}

static void put_number(struct out *o, const char *name, int64_t v)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)v);
    put(o, name);
    put(o, text);
}

static bool is_alpha(char c)
{
    return vv_char_lower(c) >= 'a' && vv_char_lower(c) <= 'z';
}

/* RFC 8941 section 3.3.4 */
static bool is_token(struct vv_str s)
{
    if (s.n == 0 || (!is_alpha(s.p[0]) && s.p[0] != '*')) {
        return false;
    }
    for (size_t i = 0; i < s.n; i++) {
        const char c = s.p[i];
        if (!is_alpha(c) && !(c >= '0' && c <= '9') &&
            memchr("!#$%&'*+-.^_`|~:/", c, sizeof "!#$%&'*+-.^_`|~:/" - 1) == NULL) {
            return false;
        }
    }
    return true;
}

static void put_string(struct out *o, struct vv_str s)
{
    put_char(o, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\') {
            put_char(o, '\\');
        }
        put_char(o, s.p[i] >= 0x20 && s.p[i] <= 0x7e ? s.p[i] : '?');
    }
    put_char(o, '"');
}

static void put_item(struct out *o, struct vv_str s)
{
    if (!is_token(s)) {
        put_string(o, s);
        return;
    }
    for (size_t i = 0; i < s.n; i++) {
        put_char(o, s.p[i]);
    }
}

size_t vv_cache_status_write(const struct vv_cache_status *s, char *out, size_t cap)
{
    struct out o = {.p = out, .cap = cap};
    put_item(&o, s->cache);
    if (s->hit) {
        put(&o, ";hit");
    } else if (s->fwd != VV_CACHE_FWD_NONE) {
        put(&o, ";fwd=");
        put(&o, fwd_names[s->fwd]);
        if (s->fwd_status != 0) {
            put_number(&o, ";fwd-status=", s->fwd_status);
        }
        put(&o, s->stored ? ";stored" : "");
        put(&o, s->collapsed ? ";collapsed" : "");
    }
    if (s->has_ttl) {
        put_number(&o, ";ttl=", s->ttl_s);
    }
    if (s->key.p != NULL) {
        put(&o, ";key=");
        put_string(&o, s->key);
    }
    if (s->detail.p != NULL) {
        put(&o, ";detail=");
        put_item(&o, s->detail);
    }
    return o.full ? 0 : o.n;
}

const char *vv_cache_status_word(const struct vv_cache_status *s)
{
    if (s->updating) {
        return "UPDATING";
    }
    if (s->stale) {
        return "STALE";
    }
    if (s->revalidated) {
        return "REVALIDATED";
    }
    if (s->hit) {
        return "HIT";
    }
    switch (s->fwd) {
    case VV_CACHE_FWD_BYPASS:
    case VV_CACHE_FWD_METHOD:
    case VV_CACHE_FWD_NONE:
        return "BYPASS";
    case VV_CACHE_FWD_STALE:
    case VV_CACHE_FWD_REQUEST:
        return "EXPIRED";
    default:
        return "MISS";
    }
}
