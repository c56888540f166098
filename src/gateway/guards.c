/* src/gateway/guards.c - the registry of guards: found by name, changed in place, freed when nobody holds
 * them any more. */
#include "gateway/guards.h"
#include "gateway/limit_share.h"
#include "gateway/turnstile.h"
#include "os/clock.h"
#include <stdio.h>
#include <stdlib.h>

#define BUDGET_WINDOW_NS (10 * VV_SEC)
#define PROBE_LEASE_NS (120 * VV_SEC) /* a probe whose outcome nobody reports */
#define CONC_WINDOW_NS (100 * VV_MS)
#define CONC_SAMPLES 10
#define HEDGE_SAMPLES 100
#define HEDGE_PERIOD_NS (10 * VV_SEC)

struct vv_guards {
    struct vv_metrics *metrics;
    unsigned workers;
    struct vv_limits *limits;
    struct vv_sharing *sharing;
    struct vv_list breakers, services;
    _Atomic unsigned shed_from;
};

enum vv_err vv_guards_new(struct vv_metrics *metrics, unsigned workers, uint64_t limit_keys,
                          struct vv_guards **ret)
{
    struct vv_guards *gs = calloc(1, sizeof *gs);
    if (gs == NULL) {
        return VV_ENOMEM;
    }
    gs->metrics = metrics;
    gs->workers = workers;
    vv_list_init(&gs->breakers);
    vv_list_init(&gs->services);
    atomic_init(&gs->shed_from, VV_QUEUE_CLASSES);
    enum vv_err err = vv_limits_new(vv_max_u64(limit_keys, 1024), vv_entropy_u64(), &gs->limits);
    if (err == VV_OK) {
        err = vv_sharing_new(gs, &gs->sharing);
    }
    if (err != VV_OK) {
        vv_guards_free(gs);
        return err;
    }
    *ret = gs;
    return VV_OK;
}

static void breaker_free(struct vv_named_breaker *b)
{
    vv_list_del(&b->node);
    vv_breaker_free(b->breaker);
    free(b->name);
    free(b->class_name);
    free(b->service);
    free(b->share);
    free(b->share_wanted);
    free(b);
}

static void service_free(struct vv_service_guard *g)
{
    vv_list_del(&g->node);
    vv_budget_free(g->budget);
    vv_hedge_free(g->hedge);
    vv_conc_free(g->conc);
    vv_gates_free(g->gate);
    free(g->name);
    free(g);
}

void vv_guards_free(struct vv_guards *gs)
{
    if (gs == NULL) {
        return;
    }
    VV_LIST_EACH (it, &gs->breakers) {
        breaker_free(VV_LIST_ENTRY(it, struct vv_named_breaker, node));
    }
    VV_LIST_EACH (it, &gs->services) {
        service_free(VV_LIST_ENTRY(it, struct vv_service_guard, node));
    }
    vv_sharing_free(gs->sharing);
    vv_limits_free(gs->limits);
    free(gs);
}

struct vv_sharing *vv_guards_sharing(struct vv_guards *gs)
{
    return gs->sharing;
}

struct vv_limits *vv_guards_limits(struct vv_guards *gs)
{
    return gs->limits;
}

unsigned vv_guards_shed_from(const struct vv_guards *gs)
{
    return atomic_load_explicit(&gs->shed_from, memory_order_relaxed);
}

void vv_guards_shed(struct vv_guards *gs, unsigned from)
{
    atomic_store_explicit(&gs->shed_from, from, memory_order_relaxed);
}

/* ---- words for failures ---- */

static void set_status(struct vv_fail_rules *r, int status)
{
    r->status[status / 64] |= UINT64_C(1) << (status % 64);
}

/* "503" or "5xx". */
static bool add_status(struct vv_fail_rules *r, const char *word)
{
    const bool class = strlen(word) == 3 && word[0] >= '1' && word[0] <= '5' &&
                       (word[1] == 'x' || word[1] == 'X') && (word[2] == 'x' || word[2] == 'X');
    uint64_t n = 0;
    if (class) {
        for (int i = 0; i < 100; i++) {
            set_status(r, (word[0] - '0') * 100 + i);
        }
        return true;
    }
    for (size_t i = 0; i < 3; i++) {
        if (word[i] < '0' || word[i] > '9') {
            return false;
        }
        n = n * 10 + (uint64_t)(word[i] - '0');
    }
    if (word[3] != '\0' || n < 100 || n > 599) {
        return false;
    }
    set_status(r, (int)n);
    return true;
}

enum vv_err vv_fail_rules_parse(const struct vv_conf_list *on, struct vv_fail_rules *ret,
                                const char **reterr_bad)
{
    struct vv_fail_rules r = {.connect = false};
    for (size_t i = 0; on != NULL && i < on->count; i++) {
        const char *word = on->item[i];
        if (strcmp(word, "connect") == 0) {
            r.connect = true;
        } else if (strcmp(word, "timeout") == 0) {
            r.timeout = true;
        } else if (strcmp(word, "broken") == 0) {
            r.broken = true;
        } else if (!add_status(&r, word)) {
            if (reterr_bad != NULL) {
                *reterr_bad = word;
            }
            return VV_ESYNTAX;
        }
    }
    *ret = r;
    return VV_OK;
}

/* ---- breakers ---- */

static struct vv_breaker_conf breaker_conf(const struct vv_breaker_settings *s)
{
    return (struct vv_breaker_conf){
        .consecutive = s->failures,
        .window_ns = s->window_ns,
        .volume_min = vv_max_u64(s->volume, 1),
        .fail_ppm_max = s->accept_ppm >= VV_PPM ? 0 : vv_max_u64(s->accept_ppm, 1),
        .slow_ns = s->slow_ns,
        .slow_ppm_max = s->slow_ns == 0 ? 0 : vv_max_u64(s->slow_accept_ppm, 1),
        .open_ns = s->recover_ns,
        .open_ns_max = vv_max_u64(s->recover_max_ns, s->recover_ns),
        .probes = s->probes,
        .probe_successes = s->successes,
        .probe_lease_ns = PROBE_LEASE_NS,
    };
}

struct vv_named_breaker *vv_guards_find_breaker(struct vv_guards *gs, struct vv_str name)
{
    VV_LIST_EACH (it, &gs->breakers) {
        struct vv_named_breaker *b = VV_LIST_ENTRY(it, struct vv_named_breaker, node);
        if (vv_str_eq(vv_str_from(b->name), name)) {
            return b;
        }
    }
    return NULL;
}

struct vv_named_breaker *vv_guards_next_breaker(struct vv_guards *gs,
                                                const struct vv_named_breaker *b)
{
    struct vv_list *next = b == NULL ? gs->breakers.next : b->node.next;
    return next == &gs->breakers ? NULL : VV_LIST_ENTRY(next, struct vv_named_breaker, node);
}

static enum vv_err new_breaker(struct vv_guards *gs, const struct vv_breaker_settings *conf,
                               const char *service, struct vv_named_breaker **ret)
{
    struct vv_named_breaker *b = calloc(1, sizeof *b);
    if (b == NULL) {
        return VV_ENOMEM;
    }
    vv_list_init(&b->node);
    b->owner = gs;
    b->fresh = true;
    b->wanted = breaker_conf(conf);
    b->class_name = strdup(conf->name);
    b->service = strdup(service);
    const size_t room = strlen(conf->name) + strlen(service) + 2;
    b->name = malloc(room);
    enum vv_err err = VV_ENOMEM;
    if (b->class_name != NULL && b->service != NULL && b->name != NULL) {
        snprintf(b->name, room, "%s:%s", conf->name, service);
        err = vv_breaker_new(&b->wanted, vv_clock_now(), &b->breaker);
    }
    if (err != VV_OK) {
        breaker_free(b);
        return err;
    }
    vv_list_push_back(&gs->breakers, &b->node);
    *ret = b;
    return VV_OK;
}

/* Without memory it is freed at the next tick, if nobody else holds it. */
static enum vv_err take_breaker(struct vv_named_breaker *b, const struct vv_breaker_settings *conf,
                                struct vv_named_breaker **ret)
{
    char *share = conf->share != NULL ? strdup(conf->share) : NULL;
    if (share == NULL && conf->share != NULL) {
        return VV_ENOMEM;
    }
    free(b->share_wanted);
    b->share_wanted = share;
    atomic_fetch_add(&b->refs, 1);
    *ret = b;
    return VV_OK;
}

enum vv_err vv_guards_breaker(struct vv_guards *gs, const struct vv_breaker_settings *conf,
                              const char *service, struct vv_named_breaker **ret)
{
    VV_LIST_EACH (it, &gs->breakers) {
        struct vv_named_breaker *b = VV_LIST_ENTRY(it, struct vv_named_breaker, node);
        if (strcmp(b->class_name, conf->name) == 0 && strcmp(b->service, service) == 0) {
            b->wanted = breaker_conf(conf);
            return take_breaker(b, conf, ret);
        }
    }
    struct vv_named_breaker *b = NULL;
    const enum vv_err err = new_breaker(gs, conf, service, &b);
    return err == VV_OK ? take_breaker(b, conf, ret) : err;
}

void vv_named_breaker_unref(struct vv_named_breaker *b)
{
    if (b != NULL) {
        atomic_fetch_sub_explicit(&b->refs, 1, memory_order_release);
    }
}

/* ---- services ---- */

static struct vv_conc_conf conc_conf(const struct vv_concurrency_settings *s)
{
    const bool fixed = s->limit != 0 && s->limit != VV_CONF_ABSENT;
    return (struct vv_conc_conf){
        .initial = fixed ? s->limit : s->initial,
        .min = fixed ? s->limit : s->min,
        .max = fixed ? s->limit : s->max,
        .window_ns = CONC_WINDOW_NS,
        .samples_min = CONC_SAMPLES,
    };
}

static struct vv_budget_conf budget_conf(const struct vv_retry_settings *s)
{
    return (struct vv_budget_conf){
        .share_ppm = s->budget_ppm, .floor_per_s = s->floor, .window_ns = BUDGET_WINDOW_NS};
}

static struct vv_hedge_conf hedge_conf(const struct vv_hedge_settings *s)
{
    return (struct vv_hedge_conf){.quantile_ppm = s->after_ppm,
                                  .samples_min = HEDGE_SAMPLES,
                                  .min_ns = s->min_ns,
                                  .max_ns = s->max_ns,
                                  .period_ns = HEDGE_PERIOD_NS};
}

static void wish(struct vv_service_guard *g, const struct vv_service_settings *conf)
{
    g->budget_wanted = budget_conf(&conf->retries);
    g->limited_wanted = conf->concurrency.enabled != 0;
    if (g->limited_wanted) {
        g->conc_wanted = conc_conf(&conf->concurrency);
    }
    if (conf->hedge.enabled != 0) {
        g->hedge_wanted = hedge_conf(&conf->hedge);
    }
}

/* What the settings ask for and is not there. Workers may be looking: a pointer appears whole. */
static enum vv_err add_parts(struct vv_service_guard *g, const struct vv_service_settings *conf,
                             unsigned workers)
{
    struct vv_hedge *hedge = NULL;
    struct vv_conc *conc = NULL;
    enum vv_err err = g->budget == NULL ? vv_budget_new(&g->budget_wanted, &g->budget) : VV_OK;
    if (err == VV_OK && conf->hedge.enabled != 0 && g->hedge == NULL) {
        err = vv_hedge_new(&g->hedge_wanted, &hedge);
        g->hedge = hedge;
    }
    if (err == VV_OK && g->limited_wanted && g->gate == NULL) {
        err = vv_gates_new(g, workers);
    }
    if (err == VV_OK && g->limited_wanted && g->conc == NULL) {
        err = vv_conc_new(&g->conc_wanted, &conc);
        g->conc = conc;
    }
    return err;
}

static struct vv_service_guard *find_service(struct vv_guards *gs, const char *name)
{
    VV_LIST_EACH (it, &gs->services) {
        struct vv_service_guard *g = VV_LIST_ENTRY(it, struct vv_service_guard, node);
        if (strcmp(g->name, name) == 0) {
            return g;
        }
    }
    return NULL;
}

static enum vv_err new_service(struct vv_guards *gs, const char *name,
                               struct vv_service_guard **ret)
{
    struct vv_service_guard *g = calloc(1, sizeof *g);
    if (g == NULL) {
        return VV_ENOMEM;
    }
    vv_list_init(&g->node);
    g->owner = gs;
    g->name = strdup(name);
    if (g->name == NULL) {
        service_free(g);
        return VV_ENOMEM;
    }
    vv_list_push_back(&gs->services, &g->node);
    *ret = g;
    return VV_OK;
}

enum vv_err vv_guards_service(struct vv_guards *gs, const struct vv_service_settings *conf,
                              struct vv_service_guard **ret)
{
    struct vv_service_guard *g = find_service(gs, conf->name);
    enum vv_err err = g == NULL ? new_service(gs, conf->name, &g) : VV_OK;
    if (err != VV_OK) {
        return err;
    }
    wish(g, conf);
    err = add_parts(g, conf, gs->workers);
    if (err == VV_OK) {
        atomic_fetch_add(&g->refs, 1);
        *ret = g;
    } else if (atomic_load_explicit(&g->refs, memory_order_acquire) == 0) {
        service_free(g);
    }
    return err;
}

void vv_service_guard_unref(struct vv_service_guard *g)
{
    if (g != NULL) {
        atomic_fetch_sub_explicit(&g->refs, 1, memory_order_release);
    }
}

struct vv_service_guard *vv_guards_next_service(struct vv_guards *gs,
                                                const struct vv_service_guard *g)
{
    struct vv_list *next = g == NULL ? gs->services.next : g->node.next;
    return next == &gs->services ? NULL : VV_LIST_ENTRY(next, struct vv_service_guard, node);
}

/* ---- life ---- */

/* What cannot be taken over here was checked when the settings were: the old rules stay. */
void vv_guards_settle(struct vv_guards *gs, bool kept)
{
    vv_sharing_settle(gs->sharing, kept);
    if (!kept) {
        return;
    }
    VV_LIST_EACH (it, &gs->breakers) {
        struct vv_named_breaker *b = VV_LIST_ENTRY(it, struct vv_named_breaker, node);
        b->fresh = false;
        free(b->share);
        b->share = b->share_wanted;
        b->share_wanted = NULL;
        (void)!vv_breaker_conf_set(b->breaker, &b->wanted);
    }
    VV_LIST_EACH (it, &gs->services) {
        struct vv_service_guard *g = VV_LIST_ENTRY(it, struct vv_service_guard, node);
        g->limited = g->limited_wanted;
        (void)!vv_budget_conf_set(g->budget, &g->budget_wanted);
        if (g->hedge != NULL) {
            (void)!vv_hedge_conf_set(g->hedge, &g->hedge_wanted);
        }
        if (g->conc != NULL) {
            (void)!vv_conc_conf_set(g->conc, &g->conc_wanted);
        }
    }
}

void vv_guards_tick(struct vv_guards *gs, uint64_t now_ns)
{
    (void)now_ns;
    VV_LIST_EACH (it, &gs->breakers) {
        struct vv_named_breaker *b = VV_LIST_ENTRY(it, struct vv_named_breaker, node);
        if (atomic_load_explicit(&b->refs, memory_order_acquire) == 0) {
            breaker_free(b);
        }
    }
    VV_LIST_EACH (it, &gs->services) {
        struct vv_service_guard *g = VV_LIST_ENTRY(it, struct vv_service_guard, node);
        if (atomic_load_explicit(&g->refs, memory_order_acquire) == 0) {
            service_free(g);
        }
    }
}
