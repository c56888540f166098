/* src/gateway/warm.c - asking the origins for what clients have not asked for yet, at a rate that
 * they do not feel. Requests are made ready when they are ordered, so that a URL that is none is
 * refused at once; the 100 ms timer hands them to the workers in turn. */
#include "gateway/fetch.h"
#include "gateway/gateway_int.h"
#include "observe/log.h"
#include "wire/uri.h"
#include <stdio.h>
#include <stdlib.h>

#define RATE_DEFAULT 50
#define WALK_SLOTS 1024 /* under the writer lock at one time */
#define LATE_NS VV_SEC  /* what a late timer may catch up with at most */

struct errand { /* one request; the worker frees it */
    struct vv_mail mail;
    struct errand *next;
    struct vv_worker *w;
    enum vv_fetch_why why;
    size_t n;
    char head[];
};

struct vv_warming {
    struct errand *first, **last;
    size_t waiting;
    uint64_t every_ns, next_ns;
    unsigned turn; /* the worker that is next */
};

static bool clean(struct vv_str url)
{
    for (size_t i = 0; i < url.n; i++) {
        if (url.p[i] <= ' ' || url.p[i] >= 0x7f) {
            return false;
        }
    }
    return true;
}

static enum vv_err errand_new(struct vv_str url, enum vv_fetch_why why, struct errand **ret)
{
    struct vv_uri uri;
    if (!clean(url) || vv_uri_parse(url, &uri) != VV_OK || uri.host.n == 0 ||
        uri.userinfo.p != NULL) {
        return VV_EINVAL;
    }
    const struct vv_str authority = vv_url_authority(url);
    const struct vv_str path = uri.path.n > 0 ? uri.path : VV_STR("/");
    const size_t cap = path.n + uri.query.n + 2 * authority.n + 64;
    struct errand *e = malloc(sizeof *e + cap);
    if (e == NULL) {
        return VV_ENOMEM;
    }
    *e = (struct errand){.why = why};
    const bool https = vv_str_eq_nocase(uri.scheme, VV_STR("https")); /* see vv_fetch_begin() */
    const int n = snprintf(
        e->head, cap,
        "GET %s" VV_STR_FMT VV_STR_FMT "%s" VV_STR_FMT " HTTP/1.1\r\nHost: " VV_STR_FMT "\r\n\r\n",
        https ? "https://" : "", VV_STR_ARG(https ? authority : VV_STR("")), VV_STR_ARG(path),
        uri.query.p != NULL ? "?" : "", VV_STR_ARG(uri.query), VV_STR_ARG(authority));
    e->n = (size_t)n;
    *ret = e;
    return VV_OK;
}

/* ---- what to ask for ---- */

struct list { /* ordered, not yet queued */
    struct errand *first, **last;
    size_t n, max;
    struct vv_str pattern;
    enum vv_err err;
};

static void list_free(struct list *l)
{
    while (l->first != NULL) {
        struct errand *e = l->first;
        l->first = e->next;
        free(e);
    }
}

static enum vv_err list_add(struct list *l, struct vv_str url, enum vv_fetch_why why)
{
    if (l->n >= l->max) {
        return VV_ELIMIT;
    }
    struct errand *e;
    const enum vv_err err = errand_new(url, why, &e);
    if (err == VV_OK) {
        *l->last = e;
        l->last = &e->next;
        l->n++;
    }
    return err;
}

static void on_object(void *ctx, const struct vv_cache_object *o, bool soft)
{
    struct list *l = ctx;
    (void)soft;
    if (l->err == VV_OK && vv_cache_glob(l->pattern, vv_cache_key(o))) {
        const enum vv_err err = list_add(l, vv_cache_key(o), VV_FETCH_REFRESH);
        l->err = err == VV_EINVAL ? VV_OK : err; /* a key of another form: no URL to ask for */
    }
}

static enum vv_err add_stored(struct vv_gateway *g, const struct vv_warm *w, struct list *l)
{
    struct vv_sb glob = VV_SB_INIT;
    if (w->pattern.p[0] == '/') { /* a path: on every host */
        vv_sb_adds(&glob, "*://*");
    }
    vv_sb_add(&glob, w->pattern);
    l->pattern = vv_sb_str(&glob);
    l->err = glob.failed ? VV_ENOMEM : VV_OK;
    for (struct vv_named_cache *c = NULL; (c = vv_caches_next(g->homes.caches, c)) != NULL;) {
        struct vv_cache_cursor at = {0};
        if (w->cache.n > 0 && !vv_str_eq(vv_str_from(c->name), w->cache)) {
            continue;
        }
        while (l->err == VV_OK &&
               !vv_cache_walk(c->memory, &at, WALK_SLOTS, vv_loop_now(g->control), on_object, l)) {
            /* others get the lock between two steps */
        }
    }
    vv_sb_fini(&glob);
    return l->err;
}

static enum vv_err queue(struct vv_gateway *g, struct list *l, uint32_t per_second)
{
    struct vv_warming *q = g->warming;
    if (q == NULL) {
        q = calloc(1, sizeof *q);
        if (q == NULL) {
            return VV_ENOMEM;
        }
        q->last = &q->first;
        g->warming = q;
    }
    if (l->first != NULL) {
        *q->last = l->first;
        q->last = l->last;
        q->waiting += l->n;
        l->first = NULL;
    }
    q->every_ns = VV_SEC / (per_second > 0 ? per_second : RATE_DEFAULT);
    return VV_OK;
}

enum vv_err vv_gateway_warm(struct vv_gateway *g, const struct vv_warm *w, size_t *ret_queued,
                            size_t *reterr_bad)
{
    const size_t waiting = g->warming != NULL ? g->warming->waiting : 0;
    struct list l = {.max = VV_WARM_WAITING_MAX - waiting};
    enum vv_err err = VV_OK;
    l.last = &l.first;
    if (w->per_second > VV_WARM_RATE_MAX) {
        return VV_ERANGE;
    }
    if (w->cache.n > 0 && vv_caches_find(g->homes.caches, w->cache) == NULL) {
        return VV_ENOENT;
    }
    for (size_t i = 0; err == VV_OK && i < w->count; i++) {
        err = list_add(&l, w->url[i], VV_FETCH_WARM);
        *reterr_bad = i;
    }
    if (err == VV_OK && w->pattern.n > 0) {
        err = add_stored(g, w, &l);
    }
    if (err == VV_OK) {
        *ret_queued = l.n;
        err = queue(g, &l, w->per_second);
    }
    list_free(&l);
    return err;
}

/* ---- asking ---- */

static void on_errand(struct vv_loop *loop, struct vv_mail *mail)
{
    (void)loop;
    struct errand *e = VV_CONTAINER(mail, struct errand, mail);
    const enum vv_err err =
        e->w->draining ? VV_OK : vv_fetch_begin(e->w, (struct vv_str){e->head, e->n}, e->why);
    if (err != VV_OK) {
        vv_warn("cache", "cannot warm: %s", vv_err_text(err));
    }
    free(e);
}

static void send_one(struct vv_gateway *g, struct vv_warming *q)
{
    struct errand *e = q->first;
    q->first = e->next;
    if (q->first == NULL) {
        q->last = &q->first;
    }
    q->waiting--;
    e->w = g->worker[q->turn++ % g->worker_count];
    e->mail.fn = on_errand;
    vv_loop_post(e->w->loop, &e->mail);
}

void vv_warm_tick(struct vv_gateway *g, uint64_t now_ns)
{
    struct vv_warming *q = g->warming;
    if (q == NULL || g->draining) {
        return;
    }
    if (q->next_ns + LATE_NS < now_ns) {
        q->next_ns = now_ns;
    }
    for (; q->first != NULL && q->next_ns <= now_ns; q->next_ns += q->every_ns) {
        send_one(g, q);
    }
}

size_t vv_gateway_warming(const struct vv_gateway *g)
{
    return g->warming != NULL ? g->warming->waiting : 0;
}

void vv_warm_free(struct vv_gateway *g)
{
    struct vv_warming *q = g->warming;
    while (q != NULL && q->first != NULL) {
        struct errand *e = q->first;
        q->first = e->next;
        free(e);
    }
    free(q);
    g->warming = NULL;
}
