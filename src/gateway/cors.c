/* src/gateway/cors.c - origins are compared as text: browsers write them in one way only, and few are
 * named, so a walk does. */
#include "gateway/cors.h"
#include "conf/conf.h"
#include "gateway/exchange.h"
#include "gateway/session.h"
#include <stdio.h>
#include <stdlib.h>

#define HEADERS_MAX 64 /* names that one preflight may ask for */
#define METHOD_MAX 32  /* bytes */
#define HEADERS_BYTES 2048

static const char usual_methods[] = "GET, HEAD, POST, PUT, PATCH, DELETE";

struct vv_cors {
    const struct vv_cors_settings *conf;
    char *methods, *headers; /* headers NULL: those that are asked for */
    char max_age[24];
};

/* ---- origins ------------------------------------------------------------------------------- */

static bool host_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

static bool all_digits(struct vv_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            return false;
        }
    }
    return s.n > 0 && s.n <= 5;
}

/* Splits scheme://host[:port]. An address of IPv6 keeps its brackets. */
static bool split(struct vv_str origin, struct vv_str *ret_scheme, struct vv_str *ret_host,
                  struct vv_str *ret_port)
{
    struct vv_str rest = origin;
    *ret_scheme = vv_str_cut(&rest, ':');
    *ret_port = (struct vv_str){NULL, 0};
    if (ret_scheme->n == 0 || !vv_str_starts(rest, VV_STR("//"))) {
        return false;
    }
    for (size_t i = 0; i < ret_scheme->n; i++) {
        const char c = ret_scheme->p[i];
        if (!(c >= 'a' && c <= 'z') && (i == 0 || (!host_byte(c) && c != '+') || c == '_')) {
            return false;
        }
    }
    rest = (struct vv_str){rest.p + 2, rest.n - 2};
    const ptrdiff_t end = rest.n > 0 && rest.p[0] == '[' ? vv_str_find_char(rest, ']') : -1;
    const size_t from = end > 0 ? (size_t)end : 0;
    const ptrdiff_t colon = vv_str_find_char((struct vv_str){rest.p + from, rest.n - from}, ':');
    *ret_host = rest;
    if (colon >= 0) {
        ret_host->n = from + (size_t)colon;
        *ret_port = (struct vv_str){rest.p + ret_host->n + 1, rest.n - ret_host->n - 1};
        if (!all_digits(*ret_port)) {
            return false;
        }
    }
    return ret_host->n > 0;
}

static bool plain_host(struct vv_str host)
{
    const bool v6 = host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
    for (size_t i = v6 ? 1 : 0; i < host.n - (v6 ? 1 : 0); i++) {
        if (!host_byte(host.p[i]) && !(v6 && host.p[i] == ':')) {
            return false;
        }
    }
    return host.n > 0;
}

bool vv_cors_pattern_check(struct vv_str pattern, const char **reterr_why)
{
    struct vv_str scheme;
    struct vv_str host;
    struct vv_str port;
    if (vv_str_eq(pattern, VV_STR("*"))) {
        return true;
    }
    if (vv_str_eq(pattern, VV_STR("null"))) {
        *reterr_why = "is what every sandboxed page says: it is nobody's origin";
        return false;
    }
    if (!split(pattern, &scheme, &host, &port)) {
        *reterr_why = "is no origin: scheme, host and port in small letters, no path";
        return false;
    }
    if (vv_str_starts(host, VV_STR("*."))) {
        host = (struct vv_str){host.p + 2, host.n - 2};
    }
    if (!plain_host(host) || host.p[0] == '.') {
        *reterr_why = "is no origin: scheme, host and port in small letters, no path";
        return false;
    }
    const bool usual = (vv_str_eq(scheme, VV_STR("https")) && vv_str_eq(port, VV_STR("443"))) ||
                       (vv_str_eq(scheme, VV_STR("http")) && vv_str_eq(port, VV_STR("80")));
    if (usual) {
        *reterr_why = "has the scheme's own port, which browsers leave out";
        return false;
    }
    return true;
}

bool vv_cors_pattern_matches(struct vv_str pattern, struct vv_str origin)
{
    struct vv_str scheme;
    struct vv_str host;
    struct vv_str port;
    struct vv_str of_scheme;
    struct vv_str of_host;
    struct vv_str of_port;
    if (vv_str_eq(pattern, VV_STR("*"))) {
        return true;
    }
    if (!split(pattern, &scheme, &host, &port) || !vv_str_starts(host, VV_STR("*."))) {
        return vv_str_eq(pattern, origin);
    }
    const struct vv_str tail = {host.p + 1, host.n - 1}; /* with its dot */
    return split(origin, &of_scheme, &of_host, &of_port) && plain_host(of_host) &&
           vv_str_eq(scheme, of_scheme) && vv_str_eq(port, of_port) && of_host.n > tail.n &&
           of_host.p[0] != '.' && vv_str_ends(of_host, tail);
}

/* ---- plans --------------------------------------------------------------------------------- */

/* "GET, POST"; NULL when there is nothing to join or no memory: *ret_failed tells. */
static char *join(const struct vv_conf_list *list, bool *ret_failed)
{
    size_t bytes = 1;
    size_t n = 0;
    for (size_t i = 0; i < list->count; i++) {
        bytes += strlen(list->item[i]) + 2;
    }
    char *text = malloc(bytes);
    *ret_failed |= text == NULL;
    for (size_t i = 0; text != NULL && i < list->count; i++) {
        n += (size_t)snprintf(text + n, bytes - n, "%s%s", i > 0 ? ", " : "",
                              (const char *)list->item[i]);
    }
    return text;
}

static bool names_all(const struct vv_conf_list *list)
{
    for (size_t i = 0; list != NULL && i < list->count; i++) {
        if (strcmp(list->item[i], "*") == 0) {
            return true;
        }
    }
    return false;
}

enum vv_err vv_cors_new(const struct vv_cors_settings *conf, const struct vv_conf_list *methods,
                        struct vv_cors **ret)
{
    struct vv_cors *c = calloc(1, sizeof *c);
    bool failed = false;
    if (c == NULL) {
        return VV_ENOMEM;
    }
    c->conf = conf;
    snprintf(c->max_age, sizeof c->max_age, "%llu",
             (unsigned long long)(conf->max_age_ns / VV_SEC));
    methods = conf->methods != NULL ? conf->methods : methods;
    if (methods != NULL) {
        c->methods = join(methods, &failed);
    }
    if (conf->headers != NULL && !names_all(conf->headers)) {
        c->headers = join(conf->headers, &failed);
    }
    if (failed) {
        vv_cors_free(c);
        return VV_ENOMEM;
    }
    *ret = c;
    return VV_OK;
}

void vv_cors_free(struct vv_cors *c)
{
    if (c != NULL) {
        free(c->methods);
        free(c->headers);
        free(c);
    }
}

/* ---- requests ------------------------------------------------------------------------------ */

static struct vv_str field(const struct vv_exchange *x, struct vv_str name)
{
    const struct vv_h1_field *f = vv_h1_find_name(&x->req, name);
    return f != NULL ? f->value : (struct vv_str){NULL, 0};
}

bool vv_cors_allows(const struct vv_exchange *x)
{
    const struct vv_str origin = field(x, VV_STR("Origin"));
    const struct vv_cors *c = x->route != NULL ? x->route->cors : NULL;
    if (c == NULL || origin.n == 0) {
        return false;
    }
    const struct vv_conf_list *list = c->conf->origins;
    for (size_t i = 0; i < list->count; i++) {
        if (vv_cors_pattern_matches(vv_str_from(list->item[i]), origin)) {
            return true;
        }
    }
    return false;
}

/* Names as they may be repeated: tokens, and not more than a browser would ever ask for. */
static struct vv_str asked_headers(const struct vv_exchange *x)
{
    const struct vv_str list = field(x, VV_STR("Access-Control-Request-Headers"));
    struct vv_str rest = list;
    struct vv_str name;
    size_t n = 0;
    if (list.n > HEADERS_BYTES) {
        return (struct vv_str){NULL, 0};
    }
    while (vv_h1_list_next(&rest, &name)) {
        n++;
        for (size_t i = 0; i < name.n; i++) {
            const char c = vv_char_lower(name.p[i]);
            const bool fine = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
                              c == '_' || c == '.';
            if (!fine) {
                return (struct vv_str){NULL, 0};
            }
        }
    }
    return n <= HEADERS_MAX ? list : (struct vv_str){NULL, 0};
}

static void answer(struct vv_exchange *x)
{
    const struct vv_cors *c = x->route->cors;
    const struct vv_str headers = c->headers != NULL ? vv_str_from(c->headers) : asked_headers(x);
    struct vv_field out[4] = {
        {VV_STR("Access-Control-Allow-Methods"),
         vv_str_from(c->methods != NULL ? c->methods : usual_methods)},
        {VV_STR("Access-Control-Max-Age"), vv_str_from(c->max_age)},
        {VV_STR("Vary"), VV_STR("Access-Control-Request-Method, Access-Control-Request-Headers")},
        {VV_STR("Access-Control-Allow-Headers"), headers}};
    vv_answer_simple(x, 204, out, headers.n > 0 ? 4 : 3, (struct vv_str){NULL, 0});
}

bool vv_cors_preflight(struct vv_exchange *x)
{
    if (!x->rt->shares || x->req.method != VV_METHOD_OPTIONS) {
        return false;
    }
    const struct vv_str method = field(x, VV_STR("Access-Control-Request-Method"));
    if (method.n == 0 || method.n > METHOD_MAX || field(x, VV_STR("Origin")).n == 0) {
        return false;
    }
    const struct vv_route_query q = {.listener = x->session->listener->index,
                                     .host = x->host,
                                     .path = x->path,
                                     .query = x->req.query,
                                     .method = method,
                                     .head = &x->req};
    const bool found = vv_routes_match(x->rt->matcher, &q, &x->match) == VV_ROUTE_FOUND;
    const struct vv_route *r = found ? &x->rt->route[x->match.index] : NULL;
    if (r == NULL || r->cors == NULL) {
        return false; /* ROUTE says what there is to say about OPTIONS */
    }
    x->route = r;
    if (vv_cors_allows(x)) {
        answer(x);
    } else {
        vv_answer_error(x, VV_REASON_ORIGIN);
    }
    return true;
}
