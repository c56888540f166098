/* src/gateway/stores.c - the registry belongs to the control thread alone: whoever drops the last reference
 * only counts down, and the next tick frees the store once no worker has a client of it any more. */
#include "gateway/kv.h"
#include "gateway/stores_count.h"
#include "gateway/stores_int.h"
#include "gateway/worker.h"
#include "observe/log.h"
#include "os/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define EACH(it, ss) VV_LIST_EACH (it, &(ss)->all)
#define HOME(it) store_home(VV_LIST_ENTRY(it, struct vv_store, node))

/* ---- making and dropping ------------------------------------------------------------------- */

static void expectations_fini(struct store_expectations *e)
{
    for (size_t i = 0; i < e->count; i++) {
        free(e->item[i].name);
        free(e->item[i].value);
    }
    free(e->item);
    *e = (struct store_expectations){0};
}

static bool expectations_copy(const struct vv_conf_list *list, struct store_expectations *ret)
{
    const size_t count = list != NULL ? list->count : 0;
    *ret = (struct store_expectations){.item = calloc(count + 1, sizeof *ret->item)};
    for (size_t i = 0; ret->item != NULL && i < count; i++) {
        const struct vv_expect_settings *e = list->item[i];
        ret->item[i].name = strdup(e->name);
        ret->item[i].value = strdup(e->value);
        ret->count++;
        if (ret->item[i].name == NULL || ret->item[i].value == NULL) {
            expectations_fini(ret);
            return false;
        }
    }
    return ret->item != NULL;
}

static void drop(struct vv_store_home *h)
{
    struct vv_stores *ss = h->owner;
    store_poll_end(h);
    vv_stores_uncount(ss->metrics, ss->shard, &h->s, &h->told);
    if (h->eyes != h->control) { /* NULL: it could not be made */
        vv_redis_free(h->eyes);
    }
    vv_redis_free(h->control);
    vv_kv_free(atomic_load(&h->s.kv));
    store_poll_forget(h);
    expectations_fini(&h->expect);
    expectations_fini(&h->expect_wanted);
    vv_list_del(&h->s.node);
    for (size_t i = 0; i < VV_COUNT(h->texts); i++) {
        free(h->texts[i]);
    }
    if (h->fingerprint != NULL) {
        explicit_bzero(h->fingerprint, strlen(h->fingerprint));
    }
    free(h->fingerprint);
    free(h->s.name);
    free(h->s.prefix);
    explicit_bzero(&h->s.conf, sizeof h->s.conf);
    free(h);
}

static const char *keep_text(struct vv_store_home *h, size_t at, const char *text, bool *fine)
{
    if (text == NULL) {
        return NULL;
    }
    h->texts[at] = strdup(text);
    *fine = *fine && h->texts[at] != NULL;
    return h->texts[at];
}

static bool fill(struct vv_store_home *h, const struct vv_store_settings *c)
{
    struct vv_redis_conf *conf = &h->s.conf;
    bool fine = true;
    h->s.has_server = c->parsed != NULL;
    if (c->parsed != NULL) {
        conf->url = *c->parsed;
        (void)vv_redis_url_show(c->parsed, h->shown, sizeof h->shown);
        h->shown[sizeof h->shown - 1] = '\0';
    }
    conf->sentinel_user = keep_text(h, 0, c->sentinel.user, &fine);
    conf->sentinel_password = keep_text(h, 1, c->sentinel.password, &fine);
    conf->ca_file = keep_text(h, 2, c->tls.ca, &fine);
    conf->cert_file = keep_text(h, 3, c->tls.cert, &fine);
    conf->key_file = keep_text(h, 4, c->tls.key != NULL ? c->tls.key : c->tls.cert, &fine);
    conf->tls_name = keep_text(h, 5, c->tls.name, &fine);
    conf->tls_insecure = c->tls.verify == 0;
    conf->replicas = c->replicas != 0;
    conf->call_ns = c->timeout_ns;
    conf->connect_ns = c->connect_ns;
    conf->failures = c->breaker.failures;
    conf->recover_ns = c->breaker.recover_ns;
    h->s.fallback = (struct vv_small_conf){.entries = c->fallback.entries,
                                           .bytes = c->fallback.memory_bytes,
                                           .value_bytes = c->fallback.object_bytes,
                                           .trim_ppm = c->fallback.trim_ppm};
    h->state = h->s.has_server ? STORE_UNKNOWN : STORE_MEMORY;
    h->s.name = strdup(c->name);
    h->s.prefix = strdup(c->prefix);
    return fine && h->s.name != NULL && h->s.prefix != NULL;
}

/* When a file of a certificate was last written: a renewed one makes a new store. */
static void add_file(struct vv_sb *sb, const char *path)
{
    struct stat st = {0};
    if (path != NULL && stat(path, &st) == 0) {
        vv_sb_addf(sb, "%s %lld.%ld\n", path, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    } else {
        vv_sb_addf(sb, "%s\n", path != NULL ? path : "");
    }
}

/* Everything that makes it another store when it changes. */
static char *fingerprint_of(const struct vv_store_settings *c)
{
    const char *text[] = {c->name,    c->url, c->prefix, c->sentinel.user, c->sentinel.password,
                          c->tls.name};
    const uint64_t number[] = {
        c->timeout_ns,           c->connect_ns,        c->replicas,
        c->tls.verify,           c->breaker.failures,  c->breaker.recover_ns,
        c->fallback.entries,     c->fallback.trim_ppm, c->fallback.memory_bytes,
        c->fallback.object_bytes};
    struct vv_sb sb = VV_SB_INIT;
    for (size_t i = 0; i < VV_COUNT(text); i++) {
        vv_sb_addf(&sb, "%s\n", text[i] != NULL ? text[i] : "\1");
    }
    for (size_t i = 0; i < VV_COUNT(number); i++) {
        vv_sb_addf(&sb, "%llu\n", (unsigned long long)number[i]);
    }
    add_file(&sb, c->tls.ca);
    add_file(&sb, c->tls.cert);
    add_file(&sb, c->tls.key);
    return vv_sb_take(&sb);
}

/* Where there may be replicas, they are looked after even when no request reads from them. */
static enum vv_err open_eyes(struct vv_store_home *h)
{
    struct vv_redis_conf conf = h->s.conf;
    h->eyes = h->control;
    if (conf.replicas ||
        (conf.url.kind != VV_REDIS_CLUSTER && conf.url.kind != VV_REDIS_SENTINEL)) {
        return VV_OK;
    }
    conf.replicas = true;
    const enum vv_err err = vv_redis_new(h->owner->control, &conf, NULL, &h->eyes);
    explicit_bzero(&conf, sizeof conf);
    return err;
}

static enum vv_err make(struct vv_stores *ss, const struct vv_store_settings *c,
                        struct vv_store_home **ret)
{
    struct vv_store_home *h = calloc(1, sizeof *h);
    if (h == NULL) {
        return VV_ENOMEM;
    }
    h->owner = h->s.owner = ss;
    h->s.generation = ++ss->generations;
    vv_list_init(&h->s.node);
    vv_list_init(&h->asks);
    vv_list_init(&h->walks);
    h->fingerprint = fingerprint_of(c);
    enum vv_err err = fill(h, c) && h->fingerprint != NULL ? VV_OK : VV_ENOMEM;
    if (err == VV_OK && h->s.has_server) {
        err = vv_redis_new(ss->control, &h->s.conf, NULL, &h->control);
    }
    if (err == VV_OK && h->s.has_server) {
        err = open_eyes(h);
    }
    if (err != VV_OK) {
        drop(h);
        return err;
    }
    vv_list_push_back(&ss->all, &h->s.node);
    *ret = h;
    return VV_OK;
}

/* ---- life ---------------------------------------------------------------------------------- */

enum vv_err vv_stores_new(struct vv_loop *control, struct vv_metrics *metrics,
                          struct vv_stores **ret)
{
    struct vv_stores *ss = calloc(1, sizeof *ss);
    if (ss == NULL) {
        return VV_ENOMEM;
    }
    ss->control = control;
    ss->metrics = metrics;
    vv_list_init(&ss->all);
    enum vv_err err = vv_metrics_shard(metrics, &ss->shard);
    if (err == VV_OK) {
        err = vv_metrics_collector(metrics, store_collect, ss);
    }
    if (err != VV_OK) {
        vv_stores_free(ss);
        return err;
    }
    *ret = ss;
    return VV_OK;
}

void vv_stores_free(struct vv_stores *ss)
{
    if (ss == NULL) {
        return;
    }
    vv_metrics_collector_remove(ss->metrics, store_collect, ss);
    EACH(it, ss)
    {
        struct vv_store_home *h = HOME(it);
        VV_ASSERT(atomic_load(&h->s.refs) == (uint32_t)h->current + (uint32_t)h->wanted);
        VV_ASSERT(atomic_load(&h->clients) == 0);
        drop(h);
    }
    if (ss->shard != NULL) {
        vv_metrics_shard_return(ss->metrics, ss->shard);
    }
    free(ss);
}

void vv_stores_watch(struct vv_stores *ss, const struct vv_store_watch *watch)
{
    ss->watch = *watch;
}

/* ---- settings ------------------------------------------------------------------------------ */

static struct vv_store_home *find(struct vv_stores *ss, struct vv_str name, bool wanted)
{
    EACH(it, ss)
    {
        struct vv_store_home *h = HOME(it);
        if ((wanted ? h->wanted : h->current) && vv_str_eq(vv_str_from(h->s.name), name)) {
            return h;
        }
    }
    return NULL;
}

static enum vv_err check_files(const struct vv_store_settings *c, char *reterr_text)
{
    const char *file[] = {c->tls.ca, c->tls.cert, c->tls.key};
    for (size_t i = 0; i < VV_COUNT(file); i++) {
        if (file[i] != NULL && access(file[i], R_OK) != 0) {
            (void)snprintf(reterr_text, 256, "store %s: %.160s cannot be read", c->name, file[i]);
            return VV_ECONFIG;
        }
    }
    return VV_OK;
}

static enum vv_err want(struct vv_stores *ss, const struct vv_store_settings *c, char *reterr_text)
{
    struct vv_store_home *h = find(ss, vv_str_from(c->name), false);
    enum vv_err err = check_files(c, reterr_text);
    if (err != VV_OK) {
        return err;
    }
    char *print = fingerprint_of(c);
    if (print == NULL) {
        return VV_ENOMEM;
    }
    if (h == NULL || strcmp(h->fingerprint, print) != 0) {
        err = make(ss, c, &h);
        if (err != VV_OK && err != VV_ENOMEM) {
            (void)snprintf(reterr_text, 256, "store %s: %s%s", c->name, vv_err_text(err),
                           c->tls.ca != NULL || c->tls.cert != NULL
                               ? ", maybe by what its tls files hold"
                               : "");
            err = VV_ECONFIG;
        }
    }
    explicit_bzero(print, strlen(print));
    free(print);
    if (err != VV_OK) {
        return err;
    }
    expectations_fini(&h->expect_wanted);
    h->wanted = true;
    atomic_fetch_add(&h->s.refs, 1);
    return expectations_copy(c->expect, &h->expect_wanted) ? VV_OK : VV_ENOMEM;
}

enum vv_err vv_stores_prepare(struct vv_stores *ss, const struct vv_settings *s, char *reterr_text)
{
    enum vv_err err = VV_OK;
    for (size_t i = 0; err == VV_OK && s->stores != NULL && i < s->stores->count; i++) {
        err = want(ss, s->stores->item[i], reterr_text);
    }
    return err;
}

static bool same_expectations(const struct store_expectations *a,
                              const struct store_expectations *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) {
        same = strcmp(a->item[i].name, b->item[i].name) == 0 &&
               strcmp(a->item[i].value, b->item[i].value) == 0;
    }
    return same;
}

static void take_expectations(struct vv_store_home *h)
{
    if (!same_expectations(&h->expect, &h->expect_wanted)) {
        store_poll_end(h);
        store_poll_forget(h);
        expectations_fini(&h->expect);
        h->expect = h->expect_wanted;
        h->expect_wanted = (struct store_expectations){0};
        h->poll_ns = h->config_ns = 0; /* compared at once */
    }
    expectations_fini(&h->expect_wanted);
}

void vv_stores_settle(struct vv_stores *ss, const struct vv_settings *s VV_UNUSED, bool kept)
{
    EACH(it, ss)
    {
        struct vv_store_home *h = HOME(it);
        if (!kept) {
            if (h->wanted) {
                expectations_fini(&h->expect_wanted);
                vv_store_unref(&h->s);
            }
        } else {
            if (h->wanted) {
                take_expectations(h);
            }
            if (h->current) {
                vv_store_unref(&h->s);
            }
            h->current = h->wanted;
        }
        h->wanted = false;
    }
}

enum vv_err vv_stores_take(struct vv_stores *ss, const char *name, struct vv_store **ret)
{
    struct vv_store_home *h = find(ss, vv_str_from(name), true);
    h = h != NULL ? h : find(ss, vv_str_from(name), false);
    if (h == NULL) {
        return VV_ENOENT;
    }
    *ret = vv_store_ref(&h->s);
    return VV_OK;
}

struct vv_store *vv_store_ref(struct vv_store *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void vv_store_unref(struct vv_store *s)
{
    if (s != NULL) {
        const uint32_t before = atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel);
        VV_ASSERT(before > 0);
    }
}

/* A connection that all servers had at the end of the last round has gone: look again. */
static void look_at_eyes(struct vv_store_home *h)
{
    struct vv_redis_stats now;
    vv_redis_stats(h->eyes, &now);
    if (h->state == STORE_UP && now.connected < h->servers) {
        atomic_fetch_add_explicit(&h->troubles, 1, memory_order_relaxed);
    }
}

void vv_stores_tick(struct vv_stores *ss, uint64_t now_ns)
{
    const bool second = now_ns >= ss->second_ns;
    if (second) {
        ss->second_ns = now_ns + VV_SEC;
    }
    EACH(it, ss)
    {
        struct vv_store_home *h = HOME(it);
        if (atomic_load_explicit(&h->s.refs, memory_order_acquire) == 0) {
            if (atomic_load_explicit(&h->clients, memory_order_acquire) == 0) {
                drop(h);
            }
            continue;
        }
        if (h->current || !vv_list_empty(&h->asks)) {
            store_poll_tick(h, now_ns);
        }
        if (second && h->control != NULL) {
            vv_stores_count(ss->metrics, ss->shard, &h->s, h->control, &h->told);
            look_at_eyes(h);
        }
    }
}

struct vv_redis *vv_store_control(struct vv_store *s)
{
    return store_home(s)->control;
}

/* ---- clients of workers -------------------------------------------------------------------- */

struct vv_store_client {
    struct vv_store_client *next;
    struct vv_store *store;
    struct vv_redis *redis; /* NULL: there was no memory for it */
    struct vv_redis_stats told;
    uint64_t failed;
};

static void on_invalidated(void *user, uint64_t share, struct vv_str key)
{
    struct vv_store_client *c = user;
    const struct vv_store_watch *watch = &c->store->owner->watch;
    watch->invalidated(watch->user, c->store, share, key);
}

static void on_lost(void *user, uint64_t share)
{
    struct vv_store_client *c = user;
    const struct vv_store_watch *watch = &c->store->owner->watch;
    watch->lost(watch->user, c->store, share);
}

static void open_client(struct vv_worker *w, struct vv_store_client *c)
{
    const struct vv_store_watch *watch = &c->store->owner->watch;
    const struct vv_redis_events events = {.invalidated =
                                               watch->invalidated != NULL ? on_invalidated : NULL,
                                           .lost = watch->lost != NULL ? on_lost : NULL,
                                           .user = c};
    struct vv_redis_conf conf = c->store->conf;
    conf.tracking = watch->invalidated != NULL;
    if (vv_redis_new(w->loop, &conf, &events, &c->redis) != VV_OK) {
        c->redis = NULL;
    }
}

struct vv_redis *vv_store_client(struct vv_worker *w, struct vv_store *s)
{
    for (struct vv_store_client *c = w->stores; c != NULL; c = c->next) {
        if (c->store == s) {
            return c->redis;
        }
    }
    if (!s->has_server) {
        return NULL;
    }
    struct vv_store_client *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return NULL;
    }
    c->store = s;
    atomic_fetch_add(&store_home(s)->clients, 1);
    open_client(w, c);
    c->next = w->stores;
    w->stores = c;
    return c->redis;
}

/* The control thread looks at once after servers that disappoint a worker. */
static void tell_trouble(struct vv_store_client *c)
{
    const uint64_t failed = c->told.timeouts + c->told.refused + c->told.errors;
    if (failed != c->failed) {
        c->failed = failed;
        atomic_fetch_add_explicit(&store_home(c->store)->troubles, 1, memory_order_relaxed);
    }
}

static void client_free(struct vv_worker *w, struct vv_store_client *c)
{
    struct vv_store_home *h = store_home(c->store);
    if (c->redis != NULL) {
        vv_stores_count(w->metrics, w->shard, c->store, c->redis, &c->told);
    }
    vv_stores_uncount(w->metrics, w->shard, c->store, &c->told);
    vv_redis_free(c->redis);
    atomic_fetch_sub_explicit(&h->clients, 1, memory_order_release); /* last: the store may go */
    free(c);
}

void vv_stores_second(struct vv_worker *w)
{
    for (struct vv_store_client **at = &w->stores; *at != NULL;) {
        struct vv_store_client *c = *at;
        if (atomic_load_explicit(&c->store->refs, memory_order_acquire) == 0) {
            *at = c->next;
            client_free(w, c);
            continue;
        }
        if (c->redis == NULL) {
            open_client(w, c);
        } else {
            vv_stores_count(w->metrics, w->shard, c->store, c->redis, &c->told);
            tell_trouble(c);
        }
        at = &c->next;
    }
}

void vv_stores_leave(struct vv_worker *w)
{
    while (w->stores != NULL) {
        struct vv_store_client *c = w->stores;
        w->stores = c->next;
        client_free(w, c);
    }
}
