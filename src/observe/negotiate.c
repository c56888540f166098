/* src/observe/negotiate.c - which exposition a scraper wants, by its Accept header (RFC
 * 9110 12.5.1).
 *
 * Of our three types the one with the highest q wins; at equal q the one that was named more
 * exactly, then the one named first, then plain text. "Never protobuf" needs no rule: it is not
 * among our types. */
#include "observe/metrics_int.h"

struct offer {
    struct vv_str type, version; /* version "": none */
    const char *content_type;
};

static const struct offer offers[] = {
    [VV_EXPOSITION_TEXT] = {{"text/plain", 10},
                            {"0.0.4", 5},
                            "text/plain; version=0.0.4; charset=utf-8"},
    [VV_EXPOSITION_OPENMETRICS] = {{"application/openmetrics-text", 28},
                                   {"1.0.0", 5},
                                   "application/openmetrics-text; version=1.0.0; charset=utf-8"},
    [VV_EXPOSITION_JSON] = {{"application/json", 16}, {"", 0}, "application/json"},
};

struct range { /* one element of Accept */
    struct vv_str type, version;
    unsigned q_permille;
};

struct verdict {                    /* how much an offer is wanted */
    unsigned q_permille, exactness; /* 0: not named, 1: any, 2: type and wildcard, 3 and 4: named */
    size_t position;
};

/* qvalue of RFC 9110 section 12.4.2 in thousandths; anything malformed counts as 1. */
static unsigned parse_q(struct vv_str s)
{
    if (s.n == 0 || s.n > 5 || (s.p[0] != '0' && s.p[0] != '1') || (s.n > 1 && s.p[1] != '.')) {
        return 1000;
    }
    unsigned q = s.p[0] == '1' ? 1000 : 0;
    unsigned unit = 100;
    for (size_t i = 2; i < s.n; i++, unit /= 10) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            return 1000;
        }
        q += (unsigned)(s.p[i] - '0') * unit;
    }
    return q > 1000 ? 1000 : q;
}

static struct range parse_range(struct vv_str element)
{
    struct range r = {.q_permille = 1000};
    r.type = vv_str_trim(vv_str_cut(&element, ';'));
    while (element.n > 0) {
        struct vv_str value = vv_str_cut(&element, ';');
        const struct vv_str name = vv_str_trim(vv_str_cut(&value, '='));
        value = vv_str_trim(value);
        if (value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"') {
            value = (struct vv_str){value.p + 1, value.n - 2};
        }
        if (vv_str_eq_nocase(name, VV_STR("q"))) {
            r.q_permille = parse_q(value);
        } else if (vv_str_eq_nocase(name, VV_STR("version"))) {
            r.version = value;
        }
    }
    return r;
}

/* How exactly the range names the offer; 0: it does not. */
static unsigned exactness(const struct range *r, const struct offer *o)
{
    if (vv_str_eq(r->type, VV_STR("*/*"))) {
        return 1;
    }
    struct vv_str rest = o->type;
    const struct vv_str main_type = vv_str_cut(&rest, '/');
    if (r->type.n == main_type.n + 2 && vv_str_ends(r->type, VV_STR("/*"))) {
        return vv_str_eq_nocase((struct vv_str){r->type.p, main_type.n}, main_type) ? 2 : 0;
    }
    if (!vv_str_eq_nocase(r->type, o->type)) {
        return 0;
    }
    if (r->version.n == 0) {
        return 3;
    }
    return vv_str_eq(r->version, o->version) ? 4 : 0;
}

static bool better(const struct verdict *a, const struct verdict *b)
{
    if (a->q_permille != b->q_permille) {
        return a->q_permille > b->q_permille;
    }
    if (a->exactness != b->exactness) {
        return a->exactness > b->exactness;
    }
    return a->position < b->position;
}

enum vv_exposition vv_exposition_choose(struct vv_str accept)
{
    struct verdict verdict[VV_COUNT(offers)] = {0};
    for (size_t position = 0; accept.n > 0; position++) {
        const struct range r = parse_range(vv_str_cut(&accept, ','));
        for (size_t i = 0; i < VV_COUNT(offers); i++) {
            const unsigned exact = exactness(&r, &offers[i]);
            if (exact > verdict[i].exactness) { /* the most exact range decides the q of an offer */
                verdict[i] = (struct verdict){r.q_permille, exact, position};
            }
        }
    }
    size_t best = VV_EXPOSITION_TEXT;
    for (size_t i = 0; i < VV_COUNT(offers); i++) {
        if (verdict[i].q_permille > 0 && better(&verdict[i], &verdict[best])) {
            best = i;
        }
    }
    return (enum vv_exposition)best;
}

const char *vv_exposition_type(enum vv_exposition e)
{
    VV_ASSERT((size_t)e < VV_COUNT(offers));
    return offers[e].content_type;
}
