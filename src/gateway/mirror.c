/* src/gateway/mirror.c - copies of requests for another service, whose answers nobody gets. A copy is a
 * request of our own (sink.h) on a route that only proxies: neither limits nor caches nor checks of the
 * real one apply to it. How a client fares never depends on it: what cannot be copied at once is left out. */
#include "gateway/access.h"
#include "gateway/canary.h"
#include "gateway/forward.h"
#include "gateway/session.h"
#include "gateway/sink.h"
#include <stdio.h>
#include <stdlib.h>

#define LANES 1024 /* the most workers there can be */
#define MARK "X-Mirror"
#define ERROR_BYTES 256

enum result { RESULT_OK, RESULT_ERROR, RESULT_LEFT_OUT, RESULT_COUNT };
static const char *const result_name[] = {"ok", "error", "left_out"};

struct ticket { /* one copy under way */
    struct ticket *next;
    struct lane *lane;
    struct vv_runtime *rt; /* counted: route and lane are its */
    bool failed;
};

struct lane { /* one worker's; made with its first copy */
    struct vv_worker *w;
    struct ticket *free_ticket;
    vv_series series[RESULT_COUNT];
    struct ticket ticket[];
};

struct vv_mirror {
    const struct vv_mirror_settings *conf;
    struct vv_route route;
    struct vv_route_settings route_conf;
    struct lane *lane[LANES];
};

/* ---- building ---- */

static const struct vv_route *route_of(const struct vv_runtime *rt,
                                       const struct vv_route_settings *r)
{
    for (size_t i = 0; i < rt->route_count; i++) {
        if (rt->route[i].conf == r) {
            return &rt->route[i];
        }
    }
    return NULL;
}

/* What of the settings of a route means something to a copy: name, times and sizes. */
static void strip(struct vv_route_settings *r)
{
    r->methods = r->hosts = r->listen = r->match_headers = r->match_query = NULL;
    r->headers = r->request_headers = r->limits = r->require = NULL;
    r->rewrite = r->count_as = NULL;
    r->cache = NULL;
    r->coalesces = r->compresses = 0;
    r->access = (struct vv_route_access_settings){.enabled = 0};
    r->fallback = (struct vv_fallback_settings){.kind = VV_FALLBACK_NONE};
    r->canary.enabled = r->mirror.enabled = 0;
    r->retries = 0;
}

enum vv_err vv_mirror_new(const struct vv_runtime *rt, const struct vv_route_settings *r,
                          struct vv_mirror **ret, char *reterr_text)
{
    *ret = NULL;
    if (!r->mirror.enabled) {
        return VV_OK;
    }
    const struct vv_service *service = vv_runtime_service(rt, r->mirror.to);
    const struct vv_route *real = route_of(rt, r);
    if (service == NULL || real == NULL) {
        snprintf(reterr_text, ERROR_BYTES, "mirror: no service named \"%s\"",
                 r->mirror.to != NULL ? r->mirror.to : "");
        return VV_ENOENT;
    }
    struct vv_mirror *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return VV_ENOMEM;
    }
    m->conf = &r->mirror;
    m->route_conf = *r;
    strip(&m->route_conf);
    m->route = (struct vv_route){
        .conf = &m->route_conf,
        .action = &vv_action_proxy,
        .service = (struct vv_service *)(uintptr_t)service,
        .index = real->index,
        .body_bytes_max = UINT64_MAX,
        .root_fd = -1,
    };
    *ret = m;
    return VV_OK;
}

void vv_mirror_free(struct vv_mirror *m)
{
    for (size_t i = 0; m != NULL && i < LANES; i++) {
        free(m->lane[i]);
    }
    free(m);
}

/* ---- counting ---- */

static struct lane *make_lane(struct vv_mirror *m, struct vv_worker *w)
{
    const size_t n = (size_t)m->conf->in_flight;
    struct lane *l = calloc(1, sizeof *l + n * sizeof l->ticket[0]);
    if (l == NULL) {
        return NULL;
    }
    l->w = w;
    for (size_t i = n; i > 0; i--) {
        l->ticket[i - 1].next = l->free_ticket;
        l->ticket[i - 1].lane = l;
        l->free_ticket = &l->ticket[i - 1];
    }
    for (size_t i = 0; i < RESULT_COUNT; i++) {
        const struct vv_str values[] = {vv_str_from(m->route_conf.name),
                                        vv_str_from(result_name[i])};
        l->series[i] = vv_metrics_series(w->metrics, VV_METRIC_MIRROR, values, VV_COUNT(values));
    }
    m->lane[w->index] = l;
    return l;
}

static struct lane *lane_of(struct vv_mirror *m, struct vv_worker *w)
{
    if (w->index >= LANES) {
        return NULL;
    }
    return m->lane[w->index] != NULL ? m->lane[w->index] : make_lane(m, w);
}

static void count(struct lane *l, enum result result)
{
    vv_metric_add(l->w->shard, l->series[result], 1);
}

/* ---- the answer to a copy ---- */

static void on_head(void *user, int status, struct vv_str content_type, uint64_t length)
{
    struct ticket *t = user;
    (void)content_type;
    (void)length;
    t->failed = status >= 500;
}

static bool on_body(void *user, struct vv_str bytes)
{
    (void)user;
    (void)bytes;
    return true; /* read to its end, so that the connection can be used again */
}

static void on_end(void *user, enum vv_reason aborted)
{
    struct ticket *t = user;
    struct lane *l = t->lane;
    struct vv_runtime *rt = t->rt;
    count(l, t->failed || aborted != VV_REASON_NONE ? RESULT_ERROR : RESULT_OK);
    t->next = l->free_ticket;
    l->free_ticket = t;
    vv_runtime_unref(rt); /* last: the lane may go with it */
}

static const struct vv_sink sink = {.head = on_head, .body = on_body, .end = on_end};

/* ---- sending ---- */

/* The head as the real route would send it, with a mark. */
static bool make_head(struct vv_exchange *x, const struct vv_mirror *m, struct vv_str *ret)
{
    static const char mark[] = MARK ": 1\r\n\r\n";
    const struct vv_service *real = x->service;
    struct vv_str head;
    x->service = m->route.service;
    const enum vv_err err = vv_forward_head(x, &head);
    x->service = real;
    char *out = err == VV_OK ? vv_arena_alloc(&x->arena, head.n + sizeof mark) : NULL;
    if (out == NULL || head.n < 4) {
        return false;
    }
    memcpy(out, head.p, head.n - 2); /* without the empty line */
    memcpy(out + head.n - 2, mark, sizeof mark - 1);
    *ret = (struct vv_str){out, head.n - 2 + sizeof mark - 1};
    return true;
}

bool vv_mirror_drops_field(const struct vv_exchange *x, const struct vv_h1_field *f)
{
    return f->id == VV_FIELD_OTHER && x->sink != &sink && !x->session->trusted &&
           vv_access_same_field(f->name, VV_STR(MARK));
}

static void send_copy(struct vv_exchange *x)
{
    struct vv_mirror *m = x->route->mirror;
    struct lane *l = lane_of(m, x->w);
    struct ticket *t = l != NULL ? l->free_ticket : NULL;
    struct vv_subrequest r = {.route = &m->route, .body = x->body_kept, .sink = &sink, .user = t};
    struct vv_exchange *copy = NULL;
    if (t == NULL || !make_head(x, m, &r.head)) {
        if (l != NULL) {
            count(l, RESULT_LEFT_OUT);
        }
        return;
    }
    l->free_ticket = t->next;
    t->failed = false;
    t->rt = x->rt;
    vv_runtime_ref(x->rt);
    if (vv_subrequest_start(x, &r, &copy) != VV_OK) { /* the sink was not told */
        on_end(t, VV_REASON_NO_MEMORY);
    }
}

static void go_on(struct vv_exchange *x)
{
    send_copy(x);
    vv_exchange_resume(x);
}

/* Copies of copies could go round in circles. */
static bool may_copy(const struct vv_exchange *x)
{
    return !x->session->detached && !x->req.upgrade &&
           vv_h1_find_name(&x->req, VV_STR(MARK)) == NULL;
}

bool vv_mirror_copy(struct vv_exchange *x)
{
    struct vv_mirror *m = x->route->mirror;
    struct lane *l = lane_of(m, x->w);
    const bool has_body = x->req.framing == VV_H1_BODY_CHUNKED ||
                          (x->req.framing == VV_H1_BODY_LENGTH && x->req.content_length > 0);
    if (l == NULL || !may_copy(x) || vv_rng_below(&x->w->rng, VV_PPM) >= m->conf->share_ppm) {
        return false;
    }
    if (l->free_ticket == NULL) {
        count(l, RESULT_LEFT_OUT);
        return false;
    }
    if (has_body) {
        if (vv_body_keep_then(x, m->conf->body_bytes, go_on)) {
            return true;
        }
        if (x->body_kept.p == NULL) { /* too large, or its length is not known */
            count(l, RESULT_LEFT_OUT);
            return false;
        }
    }
    send_copy(x);
    return false;
}
