/* src/gateway/coherence.c - what is known of the log, carried out on the memory level.
 *
 * A record judges what comes out of the stores before it is carried out in memory: the other way round, an
 * object could be taken from a store between the two and be put into memory after the purge that it falls
 * under. For the same reason the records of this gateway judge from the moment they are made, and go on doing
 * so until they have been read back.
 *
 * While the log is read for the first time, or anew after it was lost, its records are not carried out one by
 * one: memory is emptied at the end of it, since nobody can say what it missed. Only the very first gateway,
 * which begins the log, keeps what it has (a snapshot, say). */
#include "gateway/coherence.h"
#include "gateway/coherence_int.h"
#include "observe/log.h"
#include "os/clock.h"
#include <stdio.h>
#include <stdlib.h>

#define GRACE_NS (250 * VV_MS)
#define BLOCK_NS_MAX VV_SEC /* a link that hangs is noticed soon, however long the bound */
#define WHY_MAX 128

struct wake { /* mail to the control thread; when `c` has gone, whoever runs it frees it */
    struct vv_mail mail;
    struct vv_coherence *c;
    atomic_bool posted;
};

struct vv_coherence {
    struct vv_coherence_conf conf;
    char *name, *key;
    uint64_t gateway;
    pthread_mutex_t lock;
    struct vv_records *records; /* under the lock, as `wait` */
    struct vv_wait wait;
    struct vv_link *link;
    struct vv_timer timer; /* when the proof becomes too old */
    struct wake *wake;
    _Atomic uint64_t born, proof_ns;
    atomic_bool synced;
    bool anew;    /* records come that are older than what is known */
    bool first;   /* no record of this log is known yet */
    bool foreign; /* others have written into it, or it is not the log it was */
    bool emptied; /* memory, since it was last synced */
    _Atomic uint64_t added, received, lost;
    bool add_fails;
    char link_why[WHY_MAX];
    struct vv_shard *shard;
    struct vv_hist *delay;
};

/* ---- what any thread asks ---- */

uint64_t vv_coherence_born(const struct vv_coherence *c)
{
    return atomic_load_explicit(&c->born, memory_order_acquire);
}

bool vv_coherence_synced(const struct vv_coherence *c)
{
    /* The clock is asked here: a control thread that does not run could not say that it does not. */
    const uint64_t until_ns =
        atomic_load_explicit(&c->proof_ns, memory_order_acquire) + c->conf.bound_ns;
    return atomic_load_explicit(&c->synced, memory_order_acquire) && vv_clock_now() <= until_ns;
}

enum vv_coherence_verdict vv_coherence_judge(struct vv_coherence *c, const struct vv_packed_head *h)
{
    if (!vv_coherence_synced(c)) {
        return VV_COHERENCE_GONE;
    }
    pthread_mutex_lock(&c->lock);
    enum vv_coherence_verdict v = vv_wait_judge(&c->wait, h);
    if (v != VV_COHERENCE_GONE) {
        const enum vv_coherence_verdict known = vv_records_judge(c->records, h);
        v = known > v ? known : v;
    }
    pthread_mutex_unlock(&c->lock);
    return v;
}

static void on_wake(struct vv_loop *loop, struct vv_mail *mail)
{
    (void)loop;
    struct wake *w = VV_CONTAINER(mail, struct wake, mail);
    if (w->c == NULL) {
        free(w);
        return;
    }
    atomic_store(&w->posted, false);
    vv_wait_send(&w->c->wait);
}

void vv_coherence_purge(struct vv_coherence *c, const struct vv_purge *p)
{
    pthread_mutex_lock(&c->lock);
    vv_wait_add(&c->wait, p);
    pthread_mutex_unlock(&c->lock);
    if (!atomic_exchange(&c->wake->posted, true)) {
        vv_loop_post(c->conf.control, &c->wake->mail);
    }
}

size_t vv_coherence_waiting(struct vv_coherence *c)
{
    pthread_mutex_lock(&c->lock);
    const size_t waiting = c->wait.count + c->wait.all_due;
    pthread_mutex_unlock(&c->lock);
    return waiting;
}

/* ---- what comes from the log ---- */

static void carry_out(struct vv_coherence *c, const struct vv_record *rec)
{
    struct vv_cache *m = c->conf.memory;
    enum vv_err err = VV_EUNSUPPORTED; /* of anything but the three: everything */
    switch (rec->what) {
    case VV_RECORD_URL:
        vv_cache_purge_key(m, rec->value, rec->soft);
        err = VV_OK;
        break;
    case VV_RECORD_PATTERN:
        err = vv_cache_purge_pattern(m, rec->value, rec->soft);
        break;
    case VV_RECORD_TAG:
        err = vv_cache_purge_tag(m, rec->value, rec->soft);
        break;
    case VV_RECORD_ALL:
    case VV_RECORD_BEGIN:
    case VV_RECORD_COUNT:
        break;
    }
    if (err != VV_OK) {
        vv_cache_purge_all(m, rec->soft);
    }
}

static void on_record(void *user, const struct vv_record *rec)
{
    struct vv_coherence *c = user;
    const bool own = rec->gateway == c->gateway;
    pthread_mutex_lock(&c->lock);
    if (c->first) {
        vv_records_clear(c->records, rec->id);
        c->first = false;
    }
    vv_records_add(c->records, rec);
    pthread_mutex_unlock(&c->lock);
    if (own) {
        vv_wait_seen(&c->wait, rec->number);
    }
    c->foreign |= !own;
    if (!c->anew && (!own || rec->what == VV_RECORD_BEGIN)) {
        carry_out(c, rec);
    }
    if (!c->anew && !own) {
        const uint64_t then_ms = rec->id >> 20, now_ms = vv_loop_wall(c->conf.control) / VV_MS;
        atomic_fetch_add_explicit(&c->received, 1, memory_order_relaxed);
        if (c->delay != NULL) {
            vv_hist_add(c->delay, now_ms > then_ms ? (now_ms - then_ms) * VV_MS : 0);
        }
    }
    if (rec->id > vv_coherence_born(c)) { /* last: what is fetched from now on knows of it */
        atomic_store_explicit(&c->born, rec->id, memory_order_release);
    }
}

static void empty(struct vv_coherence *c)
{
    vv_cache_purge_all(c->conf.memory, false);
}

static void on_lost(void *user)
{
    struct vv_coherence *c = user;
    atomic_store_explicit(&c->synced, false, memory_order_release);
    empty(c);
    c->anew = c->first = c->foreign = c->emptied = true;
    atomic_fetch_add_explicit(&c->lost, 1, memory_order_relaxed);
    vv_wait_again(&c->wait, UINT64_MAX);
    vv_warn("cache", "the log of purges is not the one it was, emptied memory cache=%s", c->name);
}

static void on_proof(void *user, uint64_t at_ns)
{
    struct vv_coherence *c = user;
    const uint64_t until_ns = at_ns + c->conf.bound_ns;
    if (c->anew && c->foreign) {
        empty(c);
    }
    c->anew = false;
    c->link_why[0] = '\0';
    atomic_store_explicit(&c->proof_ns, at_ns, memory_order_release);
    if (!atomic_load(&c->synced) && vv_loop_now(c->conf.control) <= until_ns) {
        atomic_store_explicit(&c->synced, true, memory_order_release);
        c->emptied = false;
        vv_info("cache", "purges reach and are reached cache=%s store=%s", c->name,
                c->conf.log->name);
    }
    vv_loop_timer_at(c->conf.control, &c->timer, until_ns);
    vv_wait_again(&c->wait, vv_coherence_born(c));
    vv_wait_send(&c->wait);
}

static void on_link_failed(void *user, const char *why)
{
    struct vv_coherence *c = user;
    snprintf(c->link_why, sizeof c->link_why, "%s", why);
    vv_debug("cache", "log of purges cannot be read cache=%s: %s", c->name, why);
    vv_wait_again(&c->wait, UINT64_MAX);
}

/* Nothing has proved in time that no purge was missed. */
static void check_proof(struct vv_coherence *c, uint64_t now_ns)
{
    const bool was = atomic_load(&c->synced);
    if (now_ns <= atomic_load(&c->proof_ns) + c->conf.bound_ns || (!was && c->emptied)) {
        return;
    }
    atomic_store_explicit(&c->synced, false, memory_order_release);
    empty(c);
    c->emptied = true;
    vv_warn("cache",
            "purges of other gateways may be missed: emptied memory, stores are left alone "
            "cache=%s store=%s: %s",
            c->name, c->conf.log->name, c->link_why[0] != '\0' ? c->link_why : "no answer in time");
}

static void on_timer(struct vv_loop *loop, struct vv_timer *t)
{
    struct vv_coherence *c = VV_CONTAINER(t, struct vv_coherence, timer);
    check_proof(c, vv_loop_now(loop));
}

void vv_coherence_tick(struct vv_coherence *c, uint64_t now_ns)
{
    check_proof(c, now_ns);
    vv_wait_send(&c->wait);
}

/* ---- what goes to the log ---- */

static void on_added(void *user)
{
    struct vv_coherence *c = user;
    atomic_fetch_add_explicit(&c->added, 1, memory_order_relaxed);
    if (c->add_fails) {
        c->add_fails = false;
        vv_info("cache", "purges are added to the log again cache=%s", c->name);
    }
}

static void on_add_failed(void *user, const char *why)
{
    struct vv_coherence *c = user;
    if (!c->add_fails) {
        c->add_fails = true;
        vv_warn("cache", "purges wait, the log does not take them cache=%s store=%s: %s", c->name,
                c->conf.log->name, why);
    }
}

/* ---- what is told ---- */

static void collect(struct vv_collect *k, void *user)
{
    struct vv_coherence *c = user;
    const struct vv_str name = vv_str_from(c->name);
    const struct {
        const char *direction;
        uint64_t value;
    } rows[] = {
        {"sent", atomic_load_explicit(&c->added, memory_order_relaxed)},
        {"received", atomic_load_explicit(&c->received, memory_order_relaxed)},
        {"waiting_dropped", atomic_load_explicit(&c->wait.dropped, memory_order_relaxed)},
    };
    vv_collect_value(k, VV_METRIC_CACHE_SHARED_SYNCED, &name, 1, vv_coherence_synced(c));
    for (size_t i = 0; i < VV_COUNT(rows); i++) {
        const struct vv_str values[] = {name, vv_str_from(rows[i].direction)};
        vv_collect_value(k, VV_METRIC_CACHE_SHARED_PURGES, values, 2, (double)rows[i].value);
    }
}

void vv_coherence_json(struct vv_coherence *c, struct vv_json *j)
{
    pthread_mutex_lock(&c->lock);
    const size_t records = vv_records_count(c->records), waiting = c->wait.count;
    pthread_mutex_unlock(&c->lock);
    vv_json_kbool(j, "synced", vv_coherence_synced(c));
    vv_json_kcstr(j, "log", vv_link_state(c->link));
    vv_json_kcstr(j, "log_error", c->link_why[0] != '\0' ? c->link_why : NULL);
    vv_json_ku64(j, "records", records);
    vv_json_ku64(j, "waiting", waiting);
    vv_json_ku64(j, "sent", atomic_load(&c->added));
    vv_json_ku64(j, "received", atomic_load(&c->received));
    vv_json_ku64(j, "waiting_dropped", atomic_load(&c->wait.dropped));
    vv_json_ku64(j, "logs_lost", atomic_load(&c->lost));
    vv_json_key(j, "delay_ms");
    vv_json_obj(j);
    const double ms = (double)VV_MS;
    const struct vv_hist *d = c->delay;
    vv_json_kdouble(j, "p50", d != NULL ? (double)vv_hist_quantile(d, VV_PPM / 2) / ms : 0);
    vv_json_kdouble(j, "p99", d != NULL ? (double)vv_hist_quantile(d, 990000) / ms : 0);
    vv_json_kdouble(j, "most", d != NULL ? (double)d->max_ns / ms : 0);
    vv_json_obj_end(j);
}

/* ---- life ---- */

static bool make_texts(struct vv_coherence *c)
{
    const char *prefix = c->conf.log->prefix;
    const size_t room = strlen(prefix) + c->conf.name.n + sizeof "::purges";
    c->name = strndup(c->conf.name.p, c->conf.name.n);
    c->key = malloc(room);
    c->wake = calloc(1, sizeof *c->wake);
    if (c->name == NULL || c->key == NULL || c->wake == NULL) {
        return false;
    }
    snprintf(c->key, room, "%s:%s:purges", prefix, c->name);
    c->wake->mail.fn = on_wake;
    c->wake->c = c;
    return true;
}

static enum vv_err start_link(struct vv_coherence *c)
{
    const struct vv_link_conf conf = {
        .loop = c->conf.control,
        .store = c->conf.log,
        .key = vv_str_from(c->key),
        .gateway = c->gateway,
        .block_ns = vv_min_u64(c->conf.bound_ns / 4, BLOCK_NS_MAX),
        .grace_ns = GRACE_NS,
    };
    const struct vv_link_events events = {.record = on_record,
                                          .lost = on_lost,
                                          .proof = on_proof,
                                          .failed = on_link_failed,
                                          .user = c};
    return vv_link_new(&conf, &events, &c->link);
}

static void make_wait(struct vv_coherence *c)
{
    c->wait = (struct vv_wait){
        .loop = c->conf.control,
        .store = c->conf.log,
        .lock = &c->lock,
        .key = vv_str_from(c->key),
        .gateway = c->gateway,
        .timeout_ns = GRACE_NS,
        .events = {.added = on_added, .failed = on_add_failed, .user = c},
    };
    vv_wait_init(&c->wait);
}

static enum vv_err make_metrics(struct vv_coherence *c)
{
    const struct vv_str name = vv_str_from(c->name);
    enum vv_err err = vv_metrics_shard(c->conf.metrics, &c->shard);
    if (err == VV_OK) {
        c->delay = vv_metric_hist(
            c->shard, vv_metrics_series(c->conf.metrics, VV_METRIC_CACHE_SHARED_DELAY, &name, 1));
        err = vv_metrics_collector(c->conf.metrics, collect, c);
    }
    return err;
}

static void fini(struct vv_coherence *c)
{
    vv_link_free(c->link);
    if (c->shard != NULL) {
        vv_metrics_collector_remove(c->conf.metrics, collect, c);
        vv_metrics_shard_return(c->conf.metrics, c->shard);
    }
    vv_records_free(c->records);
    pthread_mutex_destroy(&c->lock);
    if (c->wake != NULL && atomic_load(&c->wake->posted)) {
        c->wake->c = NULL; /* it is on its way */
    } else {
        free(c->wake);
    }
    free(c->name);
    free(c->key);
    free(c);
}

enum vv_err vv_coherence_new(const struct vv_coherence_conf *conf, struct vv_coherence **ret)
{
    struct vv_coherence *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return VV_ENOMEM;
    }
    c->conf = *conf;
    c->gateway = vv_entropy_u64() | 1;
    c->anew = c->first = true;
    c->proof_ns = vv_loop_now(conf->control);
    pthread_mutex_init(&c->lock, NULL);
    vv_timer_init(&c->timer, on_timer);
    c->records = vv_records_new(VV_COHERENCE_RECORDS, vv_entropy_u64());
    enum vv_err err = c->records != NULL && make_texts(c) ? VV_OK : VV_ENOMEM;
    if (err == VV_OK) {
        make_wait(c);
        err = make_metrics(c);
    }
    if (err == VV_OK) {
        err = start_link(c);
    }
    if (err != VV_OK) {
        fini(c);
        return err;
    }
    vv_loop_timer_at(conf->control, &c->timer, c->proof_ns + conf->bound_ns);
    *ret = c;
    return VV_OK;
}

void vv_coherence_free(struct vv_coherence *c)
{
    if (c == NULL) {
        return;
    }
    struct vv_store *log = c->conf.log;
    vv_loop_timer_stop(c->conf.control, &c->timer);
    vv_wait_fini(&c->wait);
    fini(c);
    vv_store_unref(log);
}
