/* src/gateway/secure.c - the BROWSERS phase. A request to a gateway with nothing of it costs three
 * comparisons. */
#include "gateway/secure.h"
#include "gateway/cors.h"
#include "gateway/csp.h"
#include "gateway/session.h"
#include "os/sock.h"

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

/* Where HTTPS is spoken for this host. False: TLS is spoken here, but for other hosts. Without TLS here
 * whoever speaks it has the usual port. */
static bool https_port(const struct vv_exchange *x, uint16_t *ret)
{
    const struct vv_conf_list *listen = x->rt->settings->listen;
    bool any = false;
    *ret = HTTPS_PORT;
    for (size_t i = 0; i < listen->count; i++) {
        const struct vv_listen_settings *l = listen->item[i];
        const uint16_t port = l->tls.enabled != 0 ? port_of(l) : 0;
        any |= port != 0;
        if (port != 0 && serves(l, x->host)) {
            *ret = port;
            return true;
        }
    }
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

/* True: answered. */
static bool to_https(struct vv_exchange *x)
{
    const struct vv_conf_list *listen = x->rt->settings->listen;
    const uint32_t index = x->session->listener->index;
    const struct vv_listen_settings *l = index < listen->count ? listen->item[index] : NULL;
    uint16_t port = 0;
    if (l == NULL || l->redirect == NULL || x->https || vv_str_starts(x->path, VV_STR(CHALLENGE))) {
        return false;
    }
    if (!plain_host(x->host)) {
        vv_answer_error(x, VV_REASON_BAD_REQUEST);
        return true;
    }
    if (!serves(l, x->host) || !https_port(x, &port)) {
        vv_answer_error(x, VV_REASON_NO_HOST);
        return true;
    }
    const bool v6 = vv_str_find_char(x->host, ':') >= 0;
    const bool query = x->req.query.p != NULL;
    const struct vv_str number =
        port == HTTPS_PORT ? VV_STR("") : vv_arena_fmt(&x->arena, ":%u", (unsigned)port);
    const struct vv_str to =
        vv_arena_fmt(&x->arena, "https://%s" VV_STR_FMT "%s" VV_STR_FMT VV_STR_FMT "%s" VV_STR_FMT,
                     v6 ? "[" : "", VV_STR_ARG(x->host), v6 ? "]" : "", VV_STR_ARG(number),
                     VV_STR_ARG(x->req.path), query ? "?" : "", VV_STR_ARG(x->req.query));
    if (number.p == NULL || to.p == NULL) {
        vv_answer_error(x, VV_REASON_NO_MEMORY);
        return true;
    }
    const bool reads = x->req.method == VV_METHOD_GET || x->req.method == VV_METHOD_HEAD;
    const struct vv_field location = {VV_STR("Location"), to};
    vv_answer_simple(x, reads ? 301 : 308, &location, 1, (struct vv_str){NULL, 0});
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
