/* src/gateway/faults.c - orders lie in an immutable set that is replaced as a whole: workers read it
 * inside an epoch of its own, which costs nothing while nothing is ordered. */
#include "gateway/faults.h"
#include "base/units.h"
#include "cache/epoch.h"
#include "observe/log.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define NAME_BYTES 128
#define ENDED_KEPT 16
#define ERR_BYTES 256

struct order { /* immutable but for the counts, while a set names it */
    struct vv_epoch_item item;
    uint32_t id;
    char route[NAME_BYTES], service[NAME_BYTES]; /* empty: all */
    struct vv_fault fault;
    _Atomic uint64_t asked, struck;
};

struct order_set {
    struct vv_epoch_item item;
    size_t count;
    struct order *order[VV_FAULTS_MAX];
};

struct watch_box { /* one per rules that were ever in force while something was ordered */
    struct watch_box *former;
    struct vv_fault_watch watch;
};

struct ended {
    uint32_t id;
    enum vv_fault_kind kind;
    const char *why;
    uint64_t asked, struck;
};

struct vv_faults {
    struct vv_metrics *metrics;
    struct vv_chaos_settings conf;
    uint32_t last_id;
    struct ended ended[ENDED_KEPT];
    size_t ended_count; /* in all */
    _Atomic uint64_t injected[VV_FAULT_KIND_COUNT];
    _Atomic(struct order_set *) set; /* NULL: nothing is ordered */
    _Atomic(struct watch_box *) watch;
    struct vv_epoch_reader *reader[VV_EPOCH_READERS]; /* by worker, each written by its own */
    struct vv_epoch epoch;
};

/* ---- life ---- */

static struct order_set *set_of(const struct vv_faults *f)
{
    return atomic_load_explicit(&f->set, memory_order_relaxed);
}

size_t vv_faults_active(const struct vv_faults *f)
{
    const struct order_set *set = set_of(f);
    return set != NULL ? set->count : 0;
}

static void collect(struct vv_collect *c, void *user)
{
    const struct vv_faults *f = user;
    vv_collect_value(c, VV_METRIC_FAULTS_ACTIVE, NULL, 0, (double)vv_faults_active(f));
    for (unsigned i = 0; i < VV_FAULT_KIND_COUNT; i++) {
        const struct vv_str kind = vv_str_from(vv_fault_kind_name((enum vv_fault_kind)i));
        const uint64_t n = atomic_load_explicit(&f->injected[i], memory_order_relaxed);
        vv_collect_value(c, VV_METRIC_FAULTS_INJECTED, &kind, 1, (double)n);
    }
}

enum vv_err vv_faults_new(struct vv_metrics *metrics, struct vv_faults **ret)
{
    struct vv_faults *f = aligned_alloc(VV_CACHE_LINE, sizeof *f);
    if (f == NULL) {
        return VV_ENOMEM;
    }
    memset(f, 0, sizeof *f);
    f->metrics = metrics;
    vv_epoch_init(&f->epoch);
    const enum vv_err err = vv_metrics_collector(metrics, collect, f);
    if (err != VV_OK) {
        vv_epoch_fini(&f->epoch);
        free(f);
        return err;
    }
    *ret = f;
    return VV_OK;
}

static void free_order(struct vv_epoch_item *item)
{
    free(VV_CONTAINER(item, struct order, item));
}

static void free_set(struct vv_epoch_item *item)
{
    free(VV_CONTAINER(item, struct order_set, item));
}

void vv_faults_free(struct vv_faults *f)
{
    if (f == NULL) {
        return;
    }
    vv_metrics_collector_remove(f->metrics, collect, f);
    struct order_set *set = set_of(f);
    for (size_t i = 0; set != NULL && i < set->count; i++) {
        free(set->order[i]);
    }
    free(set);
    vv_epoch_fini(&f->epoch);
    struct watch_box *box = atomic_load_explicit(&f->watch, memory_order_relaxed);
    while (box != NULL) {
        struct watch_box *former = box->former;
        free(box);
        box = former;
    }
    free(f);
}

/* ---- changing what is ordered ---- */

/* `next` may be NULL; takes the present set away and, after its last reader, frees it. */
static void publish(struct vv_faults *f, struct order_set *next)
{
    struct order_set *former = atomic_exchange(&f->set, next);
    if (former != NULL) {
        vv_epoch_retire(&f->epoch, &former->item, free_set);
    }
    (void)vv_epoch_reclaim(&f->epoch);
}

static void remember(struct vv_faults *f, struct order *o, const char *why)
{
    struct ended *e = &f->ended[f->ended_count++ % ENDED_KEPT];
    *e = (struct ended){.id = o->id,
                        .kind = o->fault.kind,
                        .why = why,
                        .asked = atomic_load_explicit(&o->asked, memory_order_relaxed),
                        .struck = atomic_load_explicit(&o->struck, memory_order_relaxed)};
    vv_info("chaos", "fault ended: id=%" PRIu32 " fault=%s why=%s struck=%" PRIu64 " of=%" PRIu64,
            o->id, vv_fault_kind_name(o->fault.kind), why, e->struck, e->asked);
}

/* Ends those that `ends` says. Without memory for a smaller set all of them end: a fault that cannot be
 * stopped is worse than one that stops early. */
static size_t end_some(struct vv_faults *f, bool (*ends)(const struct order *o, uint64_t arg),
                       uint64_t arg, const char *why)
{
    struct order_set *set = set_of(f);
    struct order *gone[VV_FAULTS_MAX];
    size_t count = 0;
    for (size_t i = 0; set != NULL && i < set->count; i++) {
        count += ends(set->order[i], arg);
    }
    if (count == 0) {
        return 0;
    }
    struct order_set *next = count < set->count ? calloc(1, sizeof *next) : NULL;
    count = 0;
    for (size_t i = 0; i < set->count; i++) {
        if (next == NULL || ends(set->order[i], arg)) {
            gone[count++] = set->order[i];
        } else {
            next->order[next->count++] = set->order[i];
        }
    }
    publish(f, next);
    for (size_t i = 0; i < count; i++) {
        remember(f, gone[i], why);
        vv_epoch_retire(&f->epoch, &gone[i]->item, free_order);
    }
    return count;
}

static bool ends_all(const struct order *o, uint64_t arg)
{
    (void)o;
    (void)arg;
    return true;
}

static bool ends_id(const struct order *o, uint64_t id)
{
    return o->id == id;
}

static bool ends_over(const struct order *o, uint64_t now_ns)
{
    return now_ns >= o->fault.until_ns;
}

enum vv_err vv_faults_stop(struct vv_faults *f, uint32_t id)
{
    const size_t n = end_some(f, id == 0 ? ends_all : ends_id, id, "stopped");
    return n > 0 || id == 0 ? VV_OK : VV_ENOENT;
}

static bool apart(struct vv_str a, const char *b)
{
    return a.n > 0 && b[0] != '\0' && !vv_str_eq(a, vv_str_from(b));
}

/* The share of requests that orders would strike together with this one, at most. */
static uint64_t share_with(const struct vv_faults *f, const struct vv_fault_order *o)
{
    const struct order_set *set = set_of(f);
    uint64_t share = o->fault.share_ppm;
    for (size_t i = 0; set != NULL && i < set->count; i++) {
        if (!apart(o->route, set->order[i]->route) && !apart(o->service, set->order[i]->service)) {
            share += set->order[i]->fault.share_ppm;
        }
    }
    return share;
}

/* Is it more than would be allowed now? */
static bool is_beyond(const struct vv_faults *f, const struct order *o)
{
    const struct vv_fault_order nothing = {.route = vv_str_from(o->route),
                                           .service = vv_str_from(o->service)};
    return o->fault.until_ns - o->fault.from_ns > f->conf.time_max_ns ||
           share_with(f, &nothing) > f->conf.share_max_ppm;
}

/* The last that were ordered end first, until the rest is within the bounds. */
void vv_faults_conf(struct vv_faults *f, const struct vv_chaos_settings *conf)
{
    f->conf = *conf;
    if (!conf->enabled) {
        (void)end_some(f, ends_all, 0, "disabled");
    }
    for (size_t i = vv_faults_active(f); i > 0; i = vv_min_u64(i - 1, vv_faults_active(f))) {
        const struct order *o = set_of(f)->order[i - 1];
        if (is_beyond(f, o)) {
            (void)end_some(f, ends_id, o->id, "bounds");
        }
    }
}

void vv_faults_tick(struct vv_faults *f, uint64_t now_ns)
{
    const struct watch_box *box = atomic_load_explicit(&f->watch, memory_order_relaxed);
    if (box != NULL && vv_fault_watch_tripped(&box->watch) &&
        end_some(f, ends_all, 0, "tripped") > 0) {
        vv_warn("chaos", "all faults ended: more bad answers than chaos.stop allows");
    }
    (void)end_some(f, ends_over, now_ns, "over");
    (void)vv_epoch_reclaim(&f->epoch);
}

/* The watch of the present rules, from zero. */
static enum vv_err watch_anew(struct vv_faults *f)
{
    struct watch_box *box = atomic_load_explicit(&f->watch, memory_order_relaxed);
    const struct vv_fault_watch_conf conf = {.bad_ppm_max = f->conf.stop_ppm,
                                             .volume_min = vv_max_u64(f->conf.stop_volume, 1),
                                             .window_ns = f->conf.stop_window_ns};
    if (box != NULL && memcmp(&box->watch.conf, &conf, sizeof conf) == 0) {
        vv_slices_clear(&box->watch.total);
        vv_slices_clear(&box->watch.bad);
        atomic_store_explicit(&box->watch.tripped, false, memory_order_relaxed);
        return VV_OK;
    }
    /* A worker may be reporting to the former one: it stays, as rules change seldom. */
    struct watch_box *fresh = calloc(1, sizeof *fresh);
    if (fresh == NULL) {
        return VV_ENOMEM;
    }
    const enum vv_err err = vv_fault_watch_init(&fresh->watch, &conf);
    if (err != VV_OK) {
        free(fresh);
        return err;
    }
    fresh->former = box;
    atomic_store_explicit(&f->watch, fresh, memory_order_release);
    return VV_OK;
}

static enum vv_err judge(const struct vv_faults *f, const struct vv_fault_order *o, uint64_t now_ns,
                         char *text)
{
    char one[32];
    char two[32];
    const struct vv_fault *t = &o->fault;
    if (!f->conf.enabled) {
        (void)snprintf(text, ERR_BYTES,
                       "faults are not enabled here: write chaos: {enabled: true} and reload");
        return VV_EACCES;
    }
    if (vv_faults_active(f) == VV_FAULTS_MAX) {
        (void)snprintf(text, ERR_BYTES, "%d faults are active already: stop some", VV_FAULTS_MAX);
        return VV_ELIMIT;
    }
    if (share_with(f, o) > f->conf.share_max_ppm) {
        (void)snprintf(text, ERR_BYTES,
                       "%s of the requests would be struck by this and what is active; "
                       "chaos.max_share is %s",
                       vv_format_ppm(share_with(f, o), one, sizeof one),
                       vv_format_ppm(f->conf.share_max_ppm, two, sizeof two));
        return VV_ERANGE;
    }
    if (t->until_ns <= now_ns) {
        (void)snprintf(text, ERR_BYTES, "a fault lasts some time: for 60s");
        return VV_EINVAL;
    }
    if (t->until_ns - now_ns > f->conf.time_max_ns) {
        (void)snprintf(text, ERR_BYTES, "%s is too long: chaos.max_time is %s",
                       vv_format_duration(t->until_ns - now_ns, one, sizeof one),
                       vv_format_duration(f->conf.time_max_ns, two, sizeof two));
        return VV_ERANGE;
    }
    const enum vv_err err = vv_fault_check(t, now_ns);
    if (err == VV_ERANGE) {
        (void)snprintf(text, ERR_BYTES, "time, delay and jitter are from 1ms to 1h");
    } else if (err != VV_OK) {
        (void)snprintf(text, ERR_BYTES,
                       "a fault needs a share over 0%%, and: delay a `delay` or `jitter`, abort a "
                       "`status` from 400 to 599, corrupt and slow some `bytes`");
    }
    return err;
}

enum vv_err vv_faults_order(struct vv_faults *f, const struct vv_fault_order *o, uint64_t now_ns,
                            uint32_t *ret_id, char *reterr_text)
{
    const struct order_set *set = set_of(f);
    enum vv_err err = judge(f, o, now_ns, reterr_text);
    if (err == VV_OK && (o->route.n >= NAME_BYTES || o->service.n >= NAME_BYTES)) {
        (void)snprintf(reterr_text, ERR_BYTES, "a name is too long");
        err = VV_EINVAL;
    }
    if (err != VV_OK) {
        return err;
    }
    struct order *fresh = calloc(1, sizeof *fresh);
    struct order_set *next = calloc(1, sizeof *next);
    err = fresh != NULL && next != NULL ? VV_OK : VV_ENOMEM;
    if (err == VV_OK && set == NULL) {
        err = watch_anew(f);
    }
    if (err != VV_OK) {
        (void)snprintf(reterr_text, ERR_BYTES, "%s", vv_err_text(err));
        free(fresh);
        free(next);
        return err;
    }
    fresh->id = ++f->last_id;
    fresh->fault = o->fault;
    (void)snprintf(fresh->route, NAME_BYTES, VV_STR_FMT, VV_STR_ARG(o->route));
    (void)snprintf(fresh->service, NAME_BYTES, VV_STR_FMT, VV_STR_ARG(o->service));
    for (size_t i = 0; set != NULL && i < set->count; i++) {
        next->order[next->count++] = set->order[i];
    }
    next->order[next->count++] = fresh;
    publish(f, next);
    *ret_id = fresh->id;
    char share[32];
    char time[32];
    vv_warn("chaos", "fault ordered: id=%" PRIu32 " fault=%s share=%s for=%s route=%s service=%s",
            fresh->id, vv_fault_kind_name(o->fault.kind),
            vv_format_ppm(o->fault.share_ppm, share, sizeof share),
            vv_format_duration(o->fault.until_ns - now_ns, time, sizeof time),
            o->route.n > 0 ? fresh->route : "all", o->service.n > 0 ? fresh->service : "all");
    return VV_OK;
}

/* ---- workers ---- */

bool vv_faults_any(const struct vv_faults *f)
{
    return atomic_load_explicit(&f->set, memory_order_relaxed) != NULL;
}

/* Opens the epoch for this worker; NULL: there are more workers than it has places. */
static struct vv_epoch_reader *enter(struct vv_faults *f, unsigned worker)
{
    if (worker >= VV_EPOCH_READERS) {
        return NULL;
    }
    if (f->reader[worker] == NULL) {
        if (vv_epoch_join(&f->epoch, &f->reader[worker]) != VV_OK) {
            return NULL;
        }
    } else {
        vv_epoch_online(&f->epoch, f->reader[worker]);
    }
    return f->reader[worker];
}

/* An answer that may be kept must not outlive the fault. */
static bool concerns(const struct order *o, const struct vv_exchange *x)
{
    if (o->fault.kind == VV_FAULT_CORRUPT && x->recall != NULL) {
        return false;
    }
    const bool route =
        o->route[0] == '\0' || (x->route != NULL && strcmp(o->route, x->route->conf->name) == 0);
    return route && (o->service[0] == '\0' ||
                     (x->service != NULL && strcmp(o->service, x->service->conf->name) == 0));
}

static bool decide(struct vv_faults *f, const struct order_set *set, struct vv_exchange *x,
                   struct vv_fault_plan *ret)
{
    struct vv_fault faults[VV_FAULTS_MAX];
    const uint64_t now_ns = vv_worker_now(x->w);
    const struct watch_box *box = atomic_load_explicit(&f->watch, memory_order_acquire);
    for (size_t i = 0; i < set->count; i++) {
        faults[i] = set->order[i]->fault;
        if (!concerns(set->order[i], x)) {
            faults[i].share_ppm = 0; /* draws like the others, so that their fate stays */
        } else {
            atomic_fetch_add_explicit(&set->order[i]->asked, 1, memory_order_relaxed);
        }
    }
    const bool struck = vv_fault_decide(faults, set->count, box != NULL ? &box->watch : NULL,
                                        &x->w->rng, now_ns, ret);
    for (size_t i = 0; struck && i < set->count; i++) {
        if ((ret->hit >> i & 1) != 0) {
            atomic_fetch_add_explicit(&set->order[i]->struck, 1, memory_order_relaxed);
            atomic_fetch_add_explicit(&f->injected[faults[i].kind], 1, memory_order_relaxed);
        }
    }
    return struck;
}

bool vv_faults_decide(struct vv_faults *f, struct vv_exchange *x, struct vv_fault_plan *ret)
{
    struct vv_epoch_reader *reader = enter(f, x->w->index);
    if (reader == NULL) {
        return false;
    }
    const struct order_set *set = atomic_load(&f->set);
    const bool struck = set != NULL && decide(f, set, x, ret);
    vv_epoch_offline(reader);
    return struck;
}

void vv_faults_report(struct vv_faults *f, uint64_t now_ns, bool bad)
{
    struct watch_box *box = atomic_load_explicit(&f->watch, memory_order_acquire);
    if (box != NULL) {
        (void)vv_fault_watch_report(&box->watch, now_ns, bad); /* the next tick sees it */
    }
}

/* ---- for people ---- */

static void kduration(struct vv_json *j, const char *key, uint64_t ns)
{
    char text[32];
    vv_json_kcstr(j, key, vv_format_duration(ns, text, sizeof text));
}

static void kshare(struct vv_json *j, const char *key, uint64_t ppm)
{
    char text[32];
    vv_json_kcstr(j, key, vv_format_ppm(ppm, text, sizeof text));
}

static void order_json(const struct order *o, uint64_t now_ns, struct vv_json *j)
{
    const struct vv_fault *t = &o->fault;
    vv_json_obj(j);
    vv_json_ku64(j, "id", o->id);
    vv_json_kcstr(j, "fault", vv_fault_kind_name(t->kind));
    kshare(j, "share", t->share_ppm);
    vv_json_kcstr(j, "route", o->route[0] != '\0' ? o->route : NULL);
    vv_json_kcstr(j, "service", o->service[0] != '\0' ? o->service : NULL);
    if (t->kind == VV_FAULT_DELAY) {
        kduration(j, "delay", t->delay_ns);
        kduration(j, "jitter", t->jitter_ns);
    } else if (t->kind == VV_FAULT_ABORT) {
        vv_json_ku64(j, "status", t->status);
    } else if (t->kind >= VV_FAULT_TRUNCATE) {
        vv_json_ku64(j, "bytes", t->bytes);
    }
    vv_json_kdouble(j, "left_s",
                    t->until_ns > now_ns ? (double)(t->until_ns - now_ns) / (double)VV_SEC : 0);
    vv_json_ku64(j, "asked", atomic_load_explicit(&o->asked, memory_order_relaxed));
    vv_json_ku64(j, "struck", atomic_load_explicit(&o->struck, memory_order_relaxed));
    vv_json_obj_end(j);
}

static void watch_json(const struct vv_faults *f, uint64_t now_ns, struct vv_json *j)
{
    const struct watch_box *box = atomic_load_explicit(&f->watch, memory_order_relaxed);
    const uint64_t slice_ns = box != NULL ? box->watch.conf.window_ns / VV_SLICES : 1;
    vv_json_key(j, "watch");
    vv_json_obj(j);
    kshare(j, "stop", f->conf.stop_ppm);
    kduration(j, "window", f->conf.stop_window_ns);
    vv_json_ku64(j, "answers",
                 box != NULL ? vv_slices_sum(&box->watch.total, slice_ns, now_ns) : 0);
    vv_json_ku64(j, "bad", box != NULL ? vv_slices_sum(&box->watch.bad, slice_ns, now_ns) : 0);
    vv_json_kbool(j, "tripped", box != NULL && vv_fault_watch_tripped(&box->watch));
    vv_json_obj_end(j);
}

void vv_faults_json(struct vv_faults *f, uint64_t now_ns, struct vv_json *j)
{
    const struct order_set *set = set_of(f);
    vv_json_obj(j);
    vv_json_kbool(j, "enabled", f->conf.enabled != 0);
    kshare(j, "max_share", f->conf.share_max_ppm);
    kduration(j, "max_time", f->conf.time_max_ns);
    watch_json(f, now_ns, j);
    vv_json_key(j, "active");
    vv_json_arr(j);
    for (size_t i = 0; set != NULL && i < set->count; i++) {
        order_json(set->order[i], now_ns, j);
    }
    vv_json_arr_end(j);
    vv_json_key(j, "ended");
    vv_json_arr(j);
    const size_t kept = f->ended_count < ENDED_KEPT ? f->ended_count : ENDED_KEPT;
    for (size_t i = f->ended_count - kept; i < f->ended_count; i++) {
        const struct ended *e = &f->ended[i % ENDED_KEPT];
        vv_json_obj(j);
        vv_json_ku64(j, "id", e->id);
        vv_json_kcstr(j, "fault", vv_fault_kind_name(e->kind));
        vv_json_kcstr(j, "why", e->why);
        vv_json_ku64(j, "asked", e->asked);
        vv_json_ku64(j, "struck", e->struck);
        vv_json_obj_end(j);
    }
    vv_json_arr_end(j);
    vv_json_obj_end(j);
}
