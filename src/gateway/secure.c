/* src/gateway/secure.c - the BROWSERS phase. A request to a gateway with nothing of it costs three
 * comparisons. */
#include "gateway/secure.h"
#include "gateway/cors.h"
#include "gateway/csp.h"
#include "gateway/session.h"
#include "os/sock.h"
#include <stdio.h>

#define CHALLENGE "/.well-known/acme-challenge/"
#define HTTPS_PORT 443

static bool name_fits(struct vv_str name, struct vv_str host)
{
    if (vv_str_starts(name, VV_STR("*."))) {
        const struct vv_str tail = {name.p + 1, name.n - 1};
        return host.n > tail.n && vv_str_ends(host, tail);
    }
    return vv_str_eq(name, host);
}

static bool serves(const struct vv_listen_settings *l, struct vv_str host)
{
    const size_t count = l->names != NULL ? l->names->count : 0;
    for (size_t i = 0; i < count; i++) {
        if (name_fits(vv_str_from(l->names->item[i]), host)) {
            return true;
        }
    }
    return count == 0;
}

static uint16_t port_of(const struct vv_listen_settings *l)
{
    struct vv_addr a;
    if (l->address == NULL) {
        return (uint16_t)l->port;
    }
    return vv_addr_parse(vv_str_from(l->address), &a) == VV_OK ? vv_addr_port(&a) : 0;
}

int vv_https_redirect_port(const char *text)
{
    uint64_t port = 0;
    if (strcmp(text, "https") == 0) {
        return 0;
    }
    if (strncmp(text, "https:", 6) != 0 || vv_str_to_u64(vv_str_from(text + 6), &port) != VV_OK ||
        port == 0 || port > 65535) {
        return -1;
    }
    return (int)port;
}

/* Where HTTPS is spoken for this host. False: TLS is spoken here, but for other hosts. Without TLS here
 * whoever speaks it has the usual port. */
static bool https_port(const struct vv_settings *s, const char *redirect, struct vv_str host,
                       uint16_t *ret)
{
    const int fixed = vv_https_redirect_port(redirect);
    bool any = false;
    *ret = HTTPS_PORT;
    for (size_t i = 0; i < s->listen->count; i++) {
        const struct vv_listen_settings *l = s->listen->item[i];
        const uint16_t port = l->tls.enabled != 0 ? port_of(l) : 0;
        any |= port != 0;
        if (port != 0 && serves(l, host)) {
            *ret = fixed > 0 ? (uint16_t)fixed : port;
            return true;
        }
    }
    *ret = fixed > 0 ? (uint16_t)fixed : HTTPS_PORT;
    return !any;
}

/* A name or an address, not what else RFC 3986 lets stand for a host: it goes into an address that browsers
 * follow and caches keep. */
static bool plain_host(struct vv_str host)
{
    for (size_t i = 0; i < host.n; i++) {
        const char c = host.p[i];
        const bool fine = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
                          c == '.' || c == '_' || c == ':';
        if (!fine) {
            return false;
        }
    }
    return host.n > 0;
}

enum vv_https_way vv_https_way(const struct vv_settings *s, const struct vv_https_question *q,
                               struct vv_arena *arena, struct vv_str *ret_to, int *ret_status)
{
    const struct vv_listen_settings *l =
        q->listener < s->listen->count ? s->listen->item[q->listener] : NULL;
    uint16_t port = 0;
    if (l == NULL || l->redirect == NULL || q->https || vv_str_starts(q->path, VV_STR(CHALLENGE))) {
        return VV_HTTPS_STAY;
    }
    if (!plain_host(q->host)) {
        return VV_HTTPS_BAD_HOST;
    }
    if (!serves(l, q->host) || !https_port(s, l->redirect, q->host, &port)) {
        return VV_HTTPS_NO_HOST;
    }
    char number[8] = "";
    if (port != HTTPS_PORT) {
        (void)snprintf(number, sizeof number, ":%u", (unsigned)port);
    }
    const bool v6 = vv_str_find_char(q->host, ':') >= 0;
    *ret_to =
        vv_arena_fmt(arena, "https://%s" VV_STR_FMT "%s%s" VV_STR_FMT "%s" VV_STR_FMT,
                     v6 ? "[" : "", VV_STR_ARG(q->host), v6 ? "]" : "", number,
                     VV_STR_ARG(q->target), q->query.p != NULL ? "?" : "", VV_STR_ARG(q->query));
    *ret_status = q->method == VV_METHOD_GET || q->method == VV_METHOD_HEAD ? 301 : 308;
    return VV_HTTPS_GO;
}

/* True: answered. */
static bool to_https(struct vv_exchange *x)
{
    const struct vv_https_question q = {.listener = x->session->listener->index,
                                        .https = x->https,
                                        .method = x->req.method,
                                        .host = x->host,
                                        .path = x->path,
                                        .target = x->req.path,
                                        .query = x->req.query};
    struct vv_field location = {VV_STR("Location"), {NULL, 0}};
    int status = 0;
    switch (vv_https_way(x->rt->settings, &q, &x->arena, &location.value, &status)) {
    case VV_HTTPS_STAY:
        return false;
    case VV_HTTPS_NO_HOST:
        vv_answer_error(x, VV_REASON_NO_HOST);
        return true;
    case VV_HTTPS_BAD_HOST:
        vv_answer_error(x, VV_REASON_BAD_REQUEST);
        return true;
    case VV_HTTPS_GO:
        break;
    }
    if (location.value.p == NULL) {
        vv_answer_error(x, VV_REASON_NO_MEMORY);
    } else {
        vv_answer_simple(x, status, &location, 1, (struct vv_str){NULL, 0});
    }
    return true;
}

bool vv_secure_early(struct vv_exchange *x)
{
    const struct vv_listener *l = x->session->listener;
    if (to_https(x)) {
        return true;
    }
    if (!x->rt->shares && x->rt->csp == NULL) {
        return false;
    }
    if (l->host_count > 0 && !vv_listener_serves_host(l, x->host)) {
        return false; /* ROUTE refuses it */
    }
    return vv_csp_take(x) || vv_cors_preflight(x);
}
