/* src/gateway/worker.c - what a thread has of its own, and how it takes over a new runtime. */
#include "gateway/actions/files_ahead.h"
#include "gateway/door.h"
#include "gateway/homes.h"
#include "gateway/kv.h"
#include "gateway/levels.h"
#include "gateway/resp_front.h"
#include "gateway/session.h"
#include "gateway/session_h2.h"
#include "gateway/stores.h"
#include "gateway/tcp_watch.h"
#include "gateway/tls_count.h"
#include "gateway/upstream.h"
#include "os/clock.h"
#include <stdlib.h>

void vv_worker_bury(struct vv_worker *w, struct vv_corpse *c)
{
    c->next = w->corpses;
    w->corpses = c;
    vv_loop_defer(w->loop, &w->bury);
}

static void bury_all(struct vv_loop *loop, struct vv_defer *d)
{
    (void)loop;
    struct vv_worker *w = VV_CONTAINER(d, struct vv_worker, bury);
    struct vv_corpse *c = w->corpses;
    w->corpses = NULL;
    while (c != NULL) {
        struct vv_corpse *next = c->next;
        c->bury(w, c);
        c = next;
    }
}

struct vv_str vv_worker_date(struct vv_worker *w)
{
    const uint64_t s = vv_loop_wall(w->loop) / VV_SEC;
    if (s != w->date_s) {
        w->date_s = s;
        vv_http_date_format((int64_t)s, w->date);
    }
    return (struct vv_str){w->date, sizeof w->date};
}

/* Gauges of all workers add up, so each tells only what has changed with it. */
static void count_files(struct vv_worker *w)
{
    if (w->files == NULL) {
        return;
    }
    if (w->s_files_open == 0) {
        w->s_files_open = vv_metrics_series(w->metrics, VV_METRIC_FILES_OPEN, NULL, 0);
        w->s_files_bytes = vv_metrics_series(w->metrics, VV_METRIC_FILES_BYTES, NULL, 0);
    }
    const struct vv_files_counts counts = vv_files_counts(w->files);
    vv_metric_add(w->shard, w->s_files_open, counts.fds - w->files_open);
    vv_metric_add(w->shard, w->s_files_bytes, counts.bytes - w->files_bytes);
    w->files_open = counts.fds;
    w->files_bytes = counts.bytes;
}

static void on_second(struct vv_loop *loop, struct vv_timer *t)
{
    struct vv_worker *w = VV_CONTAINER(t, struct vv_worker, second);
    const uint64_t now = vv_loop_now(loop);
    vv_upstreams_second(w->upstreams, now);
    vv_door_tick(w);
    vv_bufs_trim(&w->bufs);
    if (w->encoders.in_use == 0 && w->encoders.bytes > VV_WORKER_ENCODERS_IDLE) {
        vv_encoders_trim(&w->encoders);
    }
    const struct vv_loop_stats *stats = vv_loop_stats(loop);
    __atomic_store_n(&w->turns, stats->turns, __ATOMIC_RELAXED);
    __atomic_store_n(&w->busy_ns, stats->busy_ns, __ATOMIC_RELAXED);
    count_files(w);
    VV_LIST_EACH (it, &w->listeners) {
        vv_tls_count(VV_LIST_ENTRY(it, struct vv_listener, node));
    }
    vv_session_h2_count(w);
    vv_stores_second(w);
    vv_tcp_watch(w);
    if (w->log != NULL) {
        vv_access_flush(w->log, now);
    }
    vv_loop_timer_at(loop, t, now + VV_SEC);
}

static void use_free(struct vv_runtime_use *use)
{
    for (size_t i = 0; i <= use->rt->route_count; i++) {
        free(use->stat[i]);
    }
    for (size_t i = 0; i < use->rt->service_count; i++) {
        vv_picker_free(use->picker[i]);
    }
    free(use->stat);
    free(use->picker);
    vv_runtime_unref(use->rt);
    free(use);
}

void vv_worker_release_use(struct vv_worker *w, struct vv_runtime_use *use)
{
    (void)w;
    if (--use->exchanges == 0 && !use->current) {
        use_free(use);
    }
}

enum vv_err vv_worker_adopt(struct vv_worker *w, struct vv_runtime *rt)
{
    struct vv_runtime_use *use = calloc(1, sizeof *use);
    if (use == NULL) {
        return VV_ENOMEM;
    }
    use->stat = calloc(rt->route_count + 1, sizeof(struct vv_route_stat *));
    use->picker = calloc(rt->service_count + 1, sizeof(struct vv_picker *));
    enum vv_err err = use->stat != NULL && use->picker != NULL ? VV_OK : VV_ENOMEM;
    for (size_t i = 0; err == VV_OK && i < rt->service_count; i++) {
        err = vv_picker_new(rt->service[i].state, vv_rng_u64(&w->rng), &use->picker[i]);
    }
    use->rt = rt;
    vv_runtime_ref(rt);
    if (err != VV_OK) {
        for (size_t i = 0; use->picker != NULL && i < rt->service_count; i++) {
            vv_picker_free(use->picker[i]);
        }
        free(use->stat);
        free(use->picker);
        vv_runtime_unref(rt);
        free(use);
        return err;
    }
    use->current = true;
    struct vv_runtime_use *former = w->use;
    w->use = use;
    if (former != NULL) {
        former->current = false;
        if (former->exchanges == 0) {
            use_free(former);
        }
    }
    return VV_OK;
}

static void fill_stat(struct vv_worker *w, struct vv_route_stat *stat, const struct vv_route *route)
{
    const struct vv_str name = route != NULL ? vv_str_from(route->conf->name) : VV_STR("none");
    const struct vv_str service = route == NULL            ? VV_STR("none")
                                  : route->service != NULL ? vv_str_from(route->service->conf->name)
                                                           : vv_str_from(route->action->name);
    const struct vv_str two[] = {name, service};
    struct vv_metrics *m = w->metrics;
    stat->duration =
        vv_metric_hist(w->shard, vv_metrics_series(m, VV_METRIC_REQUEST_DURATION, two, 2));
    stat->first_byte = vv_metric_hist(w->shard, vv_metrics_series(m, VV_METRIC_FIRST_BYTE, two, 2));
    stat->bytes_in = vv_metrics_series(m, VV_METRIC_REQUEST_BYTES, &name, 1);
    stat->bytes_out = vv_metrics_series(m, VV_METRIC_RESPONSE_BYTES, &name, 1);
}

struct vv_route_stat *vv_worker_stat(struct vv_worker *w, struct vv_runtime_use *use,
                                     const struct vv_route *route)
{
    const size_t i = route != NULL ? route->index : use->rt->route_count;
    if (use->stat[i] == NULL) {
        use->stat[i] = calloc(1, sizeof *use->stat[i]);
        if (use->stat[i] != NULL) {
            fill_stat(w, use->stat[i], route);
        }
    }
    return use->stat[i];
}

/* Between two turns the worker holds no pointer into a cache that it has no reference on; asleep it
 * holds none at all and must not keep others from freeing memory. */
static void on_turned(void *user)
{
    struct vv_worker *w = user;
    vv_epoch_quiet(w->epoch, w->reader);
}

static void on_sleep(void *user)
{
    struct vv_worker *w = user;
    vv_epoch_offline(w->reader);
}

static void on_awake(void *user)
{
    struct vv_worker *w = user;
    vv_epoch_online(w->epoch, w->reader);
}

static enum vv_err join_epoch(struct vv_worker *w, struct vv_epoch *epoch)
{
    if (epoch == NULL) {
        return VV_OK;
    }
    const struct vv_loop_hooks hooks = {
        .turned = on_turned, .before = on_sleep, .after = on_awake, .user = w};
    const enum vv_err err = vv_epoch_join(epoch, &w->reader);
    if (err == VV_OK) {
        w->epoch = epoch;
        vv_loop_on_wait(w->loop, &hooks);
    }
    return err;
}

enum vv_err vv_worker_new(struct vv_gateway *g, const struct vv_worker_options *o,
                          struct vv_worker **ret)
{
    struct vv_worker *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return VV_ENOMEM;
    }
    w->gateway = g;
    w->homes = o->homes;
    w->index = o->index;
    w->metrics = o->metrics;
    w->pool = o->pool;
    w->bury.fn = bury_all;
    vv_list_init(&w->bury.node);
    vv_list_init(&w->listeners);
    vv_list_init(&w->sessions);
    vv_list_init(&w->level_jobs);
    vv_list_init(&w->resp_fronts);
    vv_timer_init(&w->second, on_second);
    vv_encoders_init(&w->encoders, VV_WORKER_ENCODERS_BYTES);
    vv_rng_init(&w->rng, vv_entropy_u64());
    w->scratch = malloc(VV_WORKER_SCRATCH);
    enum vv_err err = w->scratch != NULL ? vv_loop_new(&w->loop) : VV_ENOMEM;
    if (err == VV_OK) {
        err = vv_metrics_shard(w->metrics, &w->shard);
    }
    if (err == VV_OK) {
        err = vv_upstreams_new(w, &w->upstreams);
    }
    if (err == VV_OK) {
        err = o->homes != NULL ? join_epoch(w, vv_caches_epoch(o->homes->caches)) : VV_OK;
    }
    if (err != VV_OK) {
        vv_worker_free(w);
        return err;
    }
    w->s_in_flight = vv_metrics_series(w->metrics, VV_METRIC_IN_FLIGHT, NULL, 0);
    vv_loop_timer_at(w->loop, &w->second, vv_loop_now(w->loop) + VV_SEC);
    *ret = w;
    return VV_OK;
}

/* The thread has ended: everything here is ours alone now. */
void vv_worker_free(struct vv_worker *w)
{
    if (w == NULL) {
        return;
    }
    while (!vv_list_empty(&w->sessions)) { /* one may end another: a client and its fetch */
        vv_session_close(VV_LIST_ENTRY(w->sessions.next, struct vv_session, node));
    }
    vv_kv_leave(w);
    VV_LIST_EACH (it, &w->listeners) {
        vv_listener_stop(VV_LIST_ENTRY(it, struct vv_listener, node));
    }
    vv_levels_stop(w);
    vv_stores_leave(w);
    vv_resp_fronts_free(w);
    vv_upstreams_free(w->upstreams);
    while (w->corpses !=
           NULL) { /* one may leave others: a client its front, that its way to a store */
        bury_all(w->loop, &w->bury);
    }
    vv_h2_pool_free(w->h2_pool);
    if (w->files != NULL) {
        vv_files_ahead_stop(w->files); /* the pool went before */
        vv_files_cache_free(w->files);
    }
    while (w->spare != NULL) {
        struct vv_exchange *x = w->spare;
        w->spare = x->next_spare;
        vv_arena_fini(&x->arena);
        free(x);
    }
    if (w->use != NULL) {
        w->use->current = false;
        if (w->use->exchanges == 0) {
            use_free(w->use);
        }
    }
    vv_access_appender_free(w->log);
    if (w->shard != NULL) {
        vv_metrics_shard_return(w->metrics, w->shard);
    }
    vv_encoders_fini(&w->encoders);
    vv_bufs_fini(&w->bufs);
    if (w->reader != NULL) {
        vv_epoch_leave(w->epoch, w->reader);
    }
    if (w->loop != NULL) {
        vv_loop_free(w->loop);
    }
    free(w->scratch);
    free(w);
}
