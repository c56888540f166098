/* src/gateway/phases.c - the way of a request, in one list: read it to know the product.
 *
 * A phase continues, or has answered (the exchange may be gone), or waits and resumes the exchange by
 * itself. Actions are the last phase; shaping, sending and recording happen as the answer is made
 * (answer.c) and when the exchange ends (exchange.c). */
#include "gateway/access.h"
#include "gateway/admit.h"
#include "gateway/canary.h"
#include "gateway/challenge.h"
#include "gateway/grpc.h"
#include "gateway/identify.h"
#include "gateway/recall.h"
#include "gateway/secure.h"
#include "wire/uri.h"

enum result { CONTINUE, ANSWERED };

static enum result refuse(struct vv_exchange *x, enum vv_reason reason)
{
    vv_answer_error(x, reason);
    return ANSWERED;
}

/* IDENTIFY: whose request it is. */
static enum result identify(struct vv_exchange *x)
{
    vv_identify_request(x);
    return CONTINUE;
}

static bool lower_host(struct vv_exchange *x)
{
    uint16_t port = 0;
    struct vv_str host = {NULL, 0};
    if (vv_uri_authority_plain(x->req.authority, &host, &port)) {
        x->host = host; /* nothing to make smaller */
        return true;
    }
    if (x->req.authority.n > 0 && vv_uri_split_authority(x->req.authority, &host, &port) != VV_OK) {
        return false;
    }
    char *lower = vv_arena_alloc(&x->arena, host.n + 1);
    if (lower == NULL) {
        return false;
    }
    for (size_t i = 0; i < host.n; i++) {
        lower[i] = vv_char_lower(host.p[i]);
    }
    x->host = (struct vv_str){lower, host.n};
    return true;
}

static bool plain_path(struct vv_str path)
{
    for (size_t i = 0; i < path.n; i++) {
        if (path.p[i] == '%' || (path.p[i] == '.' && i > 0 && path.p[i - 1] == '/')) {
            return false;
        }
    }
    return true;
}

/* NORMALISE: host in lower case, path without dot segments and needless escapes, so that routes and
 * files see one name for one thing. */
static enum result normalise(struct vv_exchange *x)
{
    if (!lower_host(x)) {
        return refuse(x, VV_REASON_BAD_REQUEST);
    }
    if (x->req.target_form == VV_H1_ASTERISK) {
        x->path = VV_STR("*");
        return CONTINUE;
    }
    if (x->req.target_form == VV_H1_AUTHORITY || x->req.method == VV_METHOD_CONNECT) {
        /* This is no forward proxy. With a protocol we do not know it would be a tunnel, too (RFC 8441):
         * its content would stand behind the head at the server, as further requests. */
        return refuse(x, VV_REASON_METHOD_UNKNOWN);
    }
    if (plain_path(x->req.path)) {
        x->path = x->req.path;
        return CONTINUE;
    }
    char *out = vv_arena_alloc(&x->arena, x->req.path.n + 1);
    size_t n = 0;
    if (out == NULL) {
        return refuse(x, VV_REASON_NO_MEMORY);
    }
    if (vv_uri_normalise_path(x->req.path, out, x->req.path.n + 1, &n) != VV_OK) {
        return refuse(x, VV_REASON_BAD_PATH);
    }
    x->path = (struct vv_str){out, n};
    return CONTINUE;
}

/* An authority looks whether a name is ours; OPTIONS * asks about the gateway itself (RFC 9110 9.3.7). */
static enum result server_wide(struct vv_exchange *x)
{
    if (vv_challenge_early(x)) {
        return ANSWERED;
    }
    if (x->req.target_form != VV_H1_ASTERISK) {
        return CONTINUE;
    }
    const struct vv_field allow = {VV_STR("Allow"),
                                   VV_STR("GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH")};
    vv_answer_simple(x, 204, &allow, 1, (struct vv_str){NULL, 0});
    return ANSWERED;
}

/* BROWSERS: to HTTPS, may another origin's page ask this, what about a policy was violated? */
static enum result browsers(struct vv_exchange *x)
{
    return vv_secure_early(x) ? ANSWERED : CONTINUE;
}

/* ROUTE: which route, which parameters. */
static enum result route(struct vv_exchange *x)
{
    struct vv_session *s = x->session;
    if (s->listener->host_count > 0 && !vv_listener_serves_host(s->listener, x->host)) {
        return refuse(x, VV_REASON_NO_HOST);
    }
    const struct vv_route_query q = {.listener = s->listener->index,
                                     .host = x->host,
                                     .path = x->path,
                                     .query = x->req.query,
                                     .method = x->req.method_text,
                                     .head = &x->req};
    switch (vv_routes_match(x->rt->matcher, &q, &x->match)) {
    case VV_ROUTE_FOUND:
        x->route = &x->rt->route[x->match.index];
        x->service = x->route->service;
        return CONTINUE;
    case VV_ROUTE_METHOD:
        x->allow = vv_routes_allow(x->rt->matcher, &x->match, &x->arena);
        return refuse(x, VV_REASON_METHOD);
    case VV_ROUTE_NONE:
        break;
    }
    return refuse(x, VV_REASON_NO_ROUTE);
}

/* Whoever asks may have less time than the route gives; what it says is in milliseconds. */
static void heed_deadline(struct vv_exchange *x)
{
    const char *name = x->rt->settings->deadline_header;
    const struct vv_h1_field *f = name != NULL ? vv_h1_find_name(&x->req, vv_str_from(name)) : NULL;
    uint64_t ms = 0;
    if (f == NULL || f->value.n == 0 || f->value.n > 9) {
        return;
    }
    for (size_t i = 0; i < f->value.n; i++) {
        if (f->value.p[i] < '0' || f->value.p[i] > '9') {
            return;
        }
        ms = ms * 10 + (uint64_t)(f->value.p[i] - '0');
    }
    const uint64_t at_ns = x->began_ns + ms * VV_MS;
    if (x->deadline_ns == 0 || at_ns < x->deadline_ns) {
        x->deadline_ns = vv_max_u64(at_ns, 1);
        vv_session_arm(x->session);
    }
}

/* BOUNDS: how long and how large this exchange may be. */
static enum result bounds(struct vv_exchange *x)
{
    const struct vv_route_settings *conf = x->route->conf;
    const uint64_t listener_max = x->session->listener->conf.body_bytes_max;
    x->body_bytes_max =
        x->route->body_bytes_max != UINT64_MAX ? x->route->body_bytes_max : listener_max;
    if (x->body_bytes_max == 0) {
        x->body_bytes_max = UINT64_MAX; /* 0 in the file: no limit */
    }
    if (x->req.framing == VV_H1_BODY_LENGTH && x->req.content_length > x->body_bytes_max) {
        return refuse(x, VV_REASON_BODY_TOO_LARGE);
    }
    x->body_timeout_ns = conf->timeouts.body_ns;
    x->send_timeout_ns = conf->timeouts.send_ns;
    if (conf->timeouts.whole_ns != 0) {
        x->deadline_ns = x->began_ns + conf->timeouts.whole_ns;
        vv_session_arm(x->session);
    }
    heed_deadline(x);
    vv_grpc_bounds(x);
    if (x->deadline_ns != 0 && x->deadline_ns <= vv_worker_now(x->w)) {
        return refuse(x, VV_REASON_WHOLE_TIMEOUT); /* nobody waits for this answer any more */
    }
    return CONTINUE;
}

/* ACCESS: who asks, and may they ask this? */
static enum result access_check(struct vv_exchange *x)
{
    if (vv_access_check(x)) {
        return ANSWERED;
    }
    x->let_in = true;
    return CONTINUE;
}

/* ADMIT: may it pass now? */
static enum result admit(struct vv_exchange *x)
{
    return vv_admit(x) ? ANSWERED : CONTINUE;
}

/* SPLIT: does the canary get it, is it copied to a mirror? */
static enum result split(struct vv_exchange *x)
{
    return x->route->canary == NULL && x->route->mirror == NULL ? CONTINUE
           : vv_canary_choose(x)                                ? ANSWERED
                                                                : CONTINUE;
}

/* RECALL: is the answer here, or is somebody fetching it? */
static enum result recall(struct vv_exchange *x)
{
    return vv_recall(x) ? ANSWERED : CONTINUE;
}

/* ACT: one action answers. */
static enum result act(struct vv_exchange *x)
{
    x->action = x->route->action;
    x->action->start(x);
    return ANSWERED;
}

static enum result (*const phases[])(struct vv_exchange *x) = {
    identify,     normalise, server_wide, browsers, route, bounds,
    access_check, admit,     split,       recall,   act,
};
enum { ROUTED = 5, ACCESS = 6, ADMIT = 7, RECALL = 9 };

static void run_from(struct vv_exchange *x, size_t i)
{
    for (; i < VV_COUNT(phases); i++) {
        const bool asked_before = x->sink != NULL && (i == ACCESS || i == ADMIT);
        if (!asked_before && phases[i](x) == ANSWERED) {
            return;
        }
    }
}

void vv_exchange_run(struct vv_exchange *x)
{
    x->waiting_continue = x->req.expect_continue;
    run_from(x, 0);
}

void vv_exchange_run_route(struct vv_exchange *x)
{
    x->service = x->route->service;
    run_from(x, ROUTED);
}

void vv_exchange_resume(struct vv_exchange *x)
{
    run_from(x, RECALL);
}
