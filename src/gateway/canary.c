/* src/gateway/canary.c - shares of a route's requests for another service. What a reload replaces (service,
 * template, header) is in struct vv_canary; what it keeps, in struct rollout, found by the route's name.
 * Workers add to words of their own; to begin anew, the control thread remembers the sums instead of
 * clearing words that others write. */
#include "gateway/canary.h"
#include "base/units.h"
#include "gateway/canary_judge.h"
#include "gateway/recall.h"
#include "gateway/session.h"
#include "observe/log.h"
#include "os/clock.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define LOOK_EVERY_NS (500 * VV_MS)
#define HISTORY 16
#define WHY_BYTES 128
#define ERROR_BYTES 256

struct side {
    uint64_t requests, errors;
    struct vv_hist times;
};

struct lane { /* one worker's; both sides */
    VV_ALIGNED(VV_CACHE_LINE) struct side side[2];
};

struct conf { /* of the file in force */
    char *to;
    uint64_t share_ppm;
    struct vv_canary_rules rules;
};

/* CHANGE(id, name): what happens to a share; the label `change`. */
#define CHANGES(X)                                                                                 \
    X(CONFIGURED, "configured")                                                                    \
    X(STARTED, "started")                                                                          \
    X(PROMOTED, "promoted")                                                                        \
    X(ABORTED, "aborted")                                                                          \
    X(STEPPED, "stepped")                                                                          \
    X(STOPPED, "stopped")
enum what {
#define AS_ENUM(id, name) CHANGE_##id,
    CHANGES(AS_ENUM)
#undef AS_ENUM
        CHANGE_COUNT
};
static const char *const change_name[] = {
#define AS_NAME(id, name) name,
    CHANGES(AS_NAME)
#undef AS_NAME
};

struct change {
    uint64_t at_ns, from_ppm, to_ppm;
    enum what what;
    char why[WHY_BYTES];
};

struct rollout {
    struct vv_list node;
    _Atomic uint32_t refs;
    _Atomic uint64_t share_ppm;
    unsigned workers;
    bool fresh; /* no settings are in force yet */
    char *route;
    struct conf conf, wanted;
    uint64_t since_ns, looked_ns; /* the share is as it is; the sides were compared */
    struct vv_compare_result result;
    struct side now[2], before[2]; /* since the last change; sums at that change */
    struct change history[HISTORY];
    size_t changes; /* all that ever happened; the last HISTORY of them are kept */
    uint64_t counted[CHANGE_COUNT];
    vv_series series[2][2]; /* by side and failure */
    struct lane *lane;
};

struct vv_canaries {
    struct vv_metrics *metrics;
    unsigned workers;
    struct vv_list list;
};

struct vv_canary {
    struct rollout *rollout;
    const struct vv_service *service;
    struct vv_template *sticky; /* NULL: chance alone */
    struct vv_str header;       /* n 0: none */
    uint64_t seed;              /* of the candidate: its routes agree about who belongs to it */
};

#define READ(word) __atomic_load_n(&(word), __ATOMIC_RELAXED)

static uint64_t share_of(const struct rollout *r)
{
    return atomic_load_explicit(&r->share_ppm, memory_order_relaxed);
}

static struct rollout *next(const struct vv_canaries *cs, const struct rollout *r)
{
    const struct vv_list *node = r != NULL ? r->node.next : cs->list.next;
    return node != &cs->list ? VV_LIST_ENTRY(node, struct rollout, node) : NULL;
}

static bool held(const struct rollout *r)
{
    return atomic_load_explicit(&r->refs, memory_order_acquire) > 0;
}

/* ---- metrics ---- */

static double verdict_value(const struct rollout *r)
{
    return r->result.verdict == VV_VERDICT_WORSE  ? -1
           : r->result.verdict == VV_VERDICT_FINE ? 1
                                                  : 0;
}

static void collect(struct vv_collect *c, void *user)
{
    for (struct rollout *r = NULL; (r = next(user, r)) != NULL;) {
        struct vv_str values[] = {vv_str_from(r->route), {NULL, 0}};
        if (r->fresh) {
            continue;
        }
        vv_collect_value(c, VV_METRIC_CANARY_SHARE, values, 1, (double)share_of(r) / VV_PPM);
        vv_collect_value(c, VV_METRIC_CANARY_VERDICT, values, 1, verdict_value(r));
        for (size_t i = 0; i < CHANGE_COUNT; i++) {
            values[1] = vv_str_from(change_name[i]);
            vv_collect_value(c, VV_METRIC_CANARY_CHANGES, values, 2, (double)r->counted[i]);
        }
    }
}

/* ---- life ---- */

enum vv_err vv_canaries_new(struct vv_metrics *metrics, unsigned workers, struct vv_canaries **ret)
{
    struct vv_canaries *cs = calloc(1, sizeof *cs);
    if (cs == NULL) {
        return VV_ENOMEM;
    }
    cs->metrics = metrics;
    cs->workers = workers;
    vv_list_init(&cs->list);
    const enum vv_err err = vv_metrics_collector(metrics, collect, cs);
    if (err != VV_OK) {
        free(cs);
        return err;
    }
    *ret = cs;
    return VV_OK;
}

static void drop(struct rollout *r)
{
    vv_list_del(&r->node);
    free(r->route);
    free(r->conf.to);
    free(r->wanted.to);
    free(r->lane);
    free(r);
}

void vv_canaries_free(struct vv_canaries *cs)
{
    if (cs == NULL) {
        return;
    }
    vv_metrics_collector_remove(cs->metrics, collect, cs);
    VV_LIST_EACH (it, &cs->list) {
        drop(VV_LIST_ENTRY(it, struct rollout, node));
    }
    free(cs);
}

static struct rollout *find(const struct vv_canaries *cs, struct vv_str route)
{
    for (struct rollout *r = NULL; (r = next(cs, r)) != NULL;) {
        if (vv_str_eq(vv_str_from(r->route), route)) {
            return r;
        }
    }
    return NULL;
}

static void intern_series(struct vv_canaries *cs, struct rollout *r)
{
    static const char *const side[] = {"base", "candidate"}, *const result[] = {"ok", "error"};
    for (size_t i = 0; i < 4; i++) {
        const struct vv_str values[] = {vv_str_from(r->route), vv_str_from(side[i / 2]),
                                        vv_str_from(result[i % 2])};
        r->series[i / 2][i % 2] =
            vv_metrics_series(cs->metrics, VV_METRIC_CANARY_REQUESTS, values, VV_COUNT(values));
    }
}

static struct rollout *make(struct vv_canaries *cs, const char *route)
{
    struct rollout *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return NULL;
    }
    vv_list_init(&r->node);
    r->fresh = true;
    r->workers = cs->workers;
    r->route = strdup(route);
    r->lane = aligned_alloc(VV_CACHE_LINE, cs->workers * sizeof *r->lane);
    if (r->route == NULL || r->lane == NULL) {
        drop(r);
        return NULL;
    }
    memset(r->lane, 0, cs->workers * sizeof *r->lane);
    intern_series(cs, r);
    vv_list_push_back(&cs->list, &r->node);
    return r;
}

/* ---- settings ---- */

static enum vv_err read_steps(const struct vv_conf_list *list, struct vv_canary_rules *rules,
                              char *reterr_text)
{
    for (size_t i = 0; list != NULL && i < list->count; i++) {
        uint64_t ppm = 0;
        const char *text = list->item[i];
        const bool good = i < VV_CANARY_STEPS_MAX &&
                          vv_parse_ppm(vv_str_from(text), &ppm) == VV_OK && ppm > 0 &&
                          ppm <= VV_PPM && (i == 0 || ppm > rules->step_ppm[i - 1]);
        if (!good) {
            snprintf(
                reterr_text, ERROR_BYTES,
                "canary: steps: \"%s\": write at most %d shares, each more than the one before: "
                "[1%%, 10%%, 100%%]",
                text, VV_CANARY_STEPS_MAX);
            return VV_EINVAL;
        }
        rules->step_ppm[rules->steps++] = ppm;
    }
    return VV_OK;
}

static enum vv_err read_rules(const struct vv_canary_settings *s, struct vv_canary_rules *rules,
                              char *reterr_text)
{
    *rules = (struct vv_canary_rules){.every_ns = s->every_ns, .automatic = s->automatic != 0};
    const enum vv_err err = read_steps(s->steps, rules, reterr_text);
    if (err != VV_OK) {
        return err;
    }
    vv_canary_rules_compare(rules, (double)s->alpha_ppm / VV_PPM,
                            (double)s->errors_worse_ppm / VV_PPM,
                            (double)s->times_worse_ppm / VV_PPM, s->volume);
    if (vv_compare_check(&rules->compare) != VV_OK) {
        snprintf(reterr_text, ERROR_BYTES, "canary: alpha must lie above 0 and below 50%%");
        return VV_EINVAL;
    }
    return VV_OK;
}

/* The rollout gets its new settings when the reload is done; until then it goes on as it was. */
static enum vv_err want(struct vv_canaries *cs, const struct vv_route_settings *s,
                        const struct vv_canary_rules *rules, struct rollout **ret)
{
    char *to = strdup(s->canary.to);
    struct rollout *r = to != NULL ? find(cs, vv_str_from(s->name)) : NULL;
    if (to != NULL && r == NULL) {
        r = make(cs, s->name);
    }
    if (r == NULL) {
        free(to);
        return VV_ENOMEM;
    }
    free(r->wanted.to);
    r->wanted = (struct conf){.to = to, .share_ppm = s->canary.share_ppm, .rules = *rules};
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    *ret = r;
    return VV_OK;
}

enum vv_err vv_canary_take(struct vv_canaries *cs, const struct vv_runtime *rt,
                           const struct vv_route_settings *r, struct vv_canary **ret,
                           char *reterr_text)
{
    const struct vv_canary_settings *s = &r->canary;
    struct vv_template_error error = {0, ""};
    struct vv_canary_rules rules;
    if (!s->enabled) {
        *ret = NULL;
        return VV_OK;
    }
    const struct vv_service *service = vv_runtime_service(rt, s->to);
    if (service == NULL) {
        snprintf(reterr_text, ERROR_BYTES, "canary: no service named \"%s\"",
                 s->to != NULL ? s->to : "");
        return VV_ENOENT;
    }
    struct vv_canary *c = calloc(1, sizeof *c);
    enum vv_err err = c != NULL ? read_rules(s, &rules, reterr_text) : VV_ENOMEM;
    if (err == VV_OK && s->sticky != NULL && strcmp(s->sticky, "none") != 0) {
        err = vv_template_new(s->sticky, &c->sticky, &error);
        if (err == VV_ESYNTAX) {
            snprintf(reterr_text, ERROR_BYTES, "canary: sticky: \"%s\": %s", s->sticky, error.text);
        }
    }
    if (err == VV_OK && cs != NULL) {
        err = want(cs, r, &rules, &c->rollout);
    }
    if (err != VV_OK || cs == NULL) {
        vv_canary_unref(c);
        *ret = NULL;
        return err;
    }
    c->service = service;
    c->header = vv_str_from(s->header);
    c->seed = vv_str_hash(vv_str_from(s->to), 0);
    *ret = c;
    return VV_OK;
}

void vv_canary_unref(struct vv_canary *c)
{
    if (c == NULL) {
        return;
    }
    if (c->rollout != NULL) {
        VV_ASSERT(atomic_fetch_sub_explicit(&c->rollout->refs, 1, memory_order_release) > 0);
    }
    vv_template_free(c->sticky);
    free(c);
}

/* ---- changes of the share ---- */

static void add_side(struct side *sum, const struct side *s)
{
    sum->requests += READ(s->requests);
    sum->errors += READ(s->errors);
    vv_hist_merge(&sum->times, &s->times);
}

static void sum_up(const struct rollout *r, struct side sum[2])
{
    memset(sum, 0, 2 * sizeof *sum);
    for (unsigned i = 0; i < r->workers; i++) {
        add_side(&sum[0], &r->lane[i].side[0]);
        add_side(&sum[1], &r->lane[i].side[1]);
    }
}

/* What was counted since the last change. */
static void gather(struct rollout *r)
{
    sum_up(r, r->now);
    for (size_t k = 0; k < 2; k++) {
        r->now[k].requests -= r->before[k].requests;
        r->now[k].errors -= r->before[k].errors;
        vv_hist_sub(&r->now[k].times, &r->before[k].times);
    }
}

/* The only writer of the share: the place to remember, count and log every change. */
static void enter(struct rollout *r, uint64_t to_ppm, enum what what, const char *why,
                  uint64_t now_ns)
{
    struct change *c = &r->history[r->changes++ % HISTORY];
    char from[32], to[32];
    *c = (struct change){.at_ns = now_ns, .from_ppm = share_of(r), .to_ppm = to_ppm, .what = what};
    snprintf(c->why, sizeof c->why, "%s", why);
    r->counted[what]++;
    if (what != CHANGE_CONFIGURED || to_ppm != c->from_ppm) {
        vv_log(what == CHANGE_ABORTED ? VV_LOG_WARN : VV_LOG_INFO, "canary",
               "%s route=%s to=%s share=%s was=%s: %s", change_name[what], r->route, r->conf.to,
               vv_format_ppm(to_ppm, to, sizeof to), vv_format_ppm(c->from_ppm, from, sizeof from),
               c->why);
    }
    r->since_ns = r->looked_ns = now_ns;
    if (what != CHANGE_ABORTED) { /* what led to that stays to be read */
        r->result = (struct vv_compare_result){.verdict = VV_VERDICT_OPEN};
    }
    sum_up(r, r->before);
    memset(r->now, 0, sizeof r->now);
    atomic_store_explicit(&r->share_ppm, to_ppm, memory_order_relaxed);
}

static void settle_one(struct rollout *r)
{
    struct conf *const old = &r->conf, *const new = &r->wanted;
    const bool anew = r->fresh || old->share_ppm != new->share_ppm || strcmp(old->to, new->to) != 0;
    free(old->to);
    *old = *new;
    new->to = NULL;
    r->fresh = false;
    if (anew) {
        enter(r, old->share_ppm, CHANGE_CONFIGURED, "as the file says", vv_clock_now());
    }
}

void vv_canaries_settle(struct vv_canaries *cs, bool kept)
{
    for (struct rollout *r = NULL; (r = next(cs, r)) != NULL;) {
        if (kept && r->wanted.to != NULL && held(r)) {
            settle_one(r);
        }
        free(r->wanted.to);
        r->wanted.to = NULL;
    }
}

/* ---- each tick ---- */

static void reason(const struct rollout *r, char *why, size_t bytes)
{
    const struct side *b = &r->now[0], *c = &r->now[1];
    if (r->result.by_errors) {
        snprintf(why, bytes, "errors %.2f%% against %.2f%%",
                 100.0 * (double)c->errors / (double)c->requests,
                 100.0 * (double)b->errors / (double)b->requests);
        return;
    }
    snprintf(why, bytes, "times: median %.1f ms against %.1f ms, 95 %% in %.1f ms against %.1f ms",
             (double)vv_hist_quantile(&c->times, VV_PPM / 2) / VV_MS,
             (double)vv_hist_quantile(&b->times, VV_PPM / 2) / VV_MS,
             (double)vv_hist_quantile(&c->times, 950000) / VV_MS,
             (double)vv_hist_quantile(&b->times, 950000) / VV_MS);
}

static void look(struct rollout *r, uint64_t now_ns)
{
    const uint64_t share_ppm = share_of(r);
    char why[WHY_BYTES];
    r->looked_ns = now_ns;
    gather(r);
    const struct vv_compare_side base = {
        .requests = r->now[0].requests, .errors = r->now[0].errors, .times = &r->now[0].times};
    const struct vv_compare_side candidate = {
        .requests = r->now[1].requests, .errors = r->now[1].errors, .times = &r->now[1].times};
    switch (vv_canary_judge(&r->conf.rules, share_ppm, now_ns - r->since_ns, &base, &candidate,
                            &r->result)) {
    case VV_CANARY_STAY:
        break;
    case VV_CANARY_PROMOTE: {
        const uint64_t to_ppm = vv_canary_next_step(&r->conf.rules, share_ppm);
        enter(r, to_ppm, to_ppm == VV_PPM ? CHANGE_PROMOTED : CHANGE_STEPPED, "not worse", now_ns);
        break;
    }
    case VV_CANARY_ABORT:
        reason(r, why, sizeof why);
        enter(r, 0, CHANGE_ABORTED, why, now_ns);
        break;
    }
}

void vv_canaries_tick(struct vv_canaries *cs, uint64_t now_ns)
{
    VV_LIST_EACH (it, &cs->list) {
        struct rollout *r = VV_LIST_ENTRY(it, struct rollout, node);
        if (!held(r)) {
            drop(r);
            continue;
        }
        const uint64_t share_ppm = share_of(r);
        if (share_ppm > 0 && share_ppm < VV_PPM && now_ns >= r->looked_ns + LOOK_EVERY_NS) {
            look(r, now_ns);
        }
    }
}

/* ---- what an operator asks for ---- */

static struct rollout *running(const struct vv_canaries *cs, struct vv_str route)
{
    struct rollout *r = find(cs, route);
    return r != NULL && !r->fresh && held(r) ? r : NULL;
}

enum vv_err vv_canary_start(struct vv_canaries *cs, struct vv_str route, uint64_t share_ppm,
                            uint64_t now_ns)
{
    struct rollout *r = running(cs, route);
    if (r == NULL) {
        return VV_ENOENT;
    }
    const uint64_t to_ppm = share_ppm > 0             ? share_ppm
                            : r->conf.rules.steps > 0 ? r->conf.rules.step_ppm[0]
                                                      : r->conf.share_ppm;
    if (to_ppm == 0 || to_ppm > VV_PPM) {
        return to_ppm == 0 ? VV_EINVAL : VV_ERANGE;
    }
    enter(r, to_ppm, CHANGE_STARTED, "by hand", now_ns);
    return VV_OK;
}

enum vv_err vv_canary_promote(struct vv_canaries *cs, struct vv_str route, uint64_t share_ppm,
                              uint64_t now_ns)
{
    struct rollout *r = running(cs, route);
    if (r == NULL || share_ppm > VV_PPM) {
        return r == NULL ? VV_ENOENT : VV_ERANGE;
    }
    const uint64_t to_ppm =
        share_ppm > 0 ? share_ppm : vv_canary_next_step(&r->conf.rules, share_of(r));
    enter(r, to_ppm, to_ppm == VV_PPM ? CHANGE_PROMOTED : CHANGE_STEPPED, "by hand", now_ns);
    return VV_OK;
}

enum vv_err vv_canary_abort(struct vv_canaries *cs, struct vv_str route, uint64_t now_ns)
{
    struct rollout *r = running(cs, route);
    if (r == NULL) {
        return VV_ENOENT;
    }
    enter(r, 0, CHANGE_STOPPED, "by hand", now_ns);
    return VV_OK;
}

static const char *state_name(const struct rollout *r)
{
    const enum what last = r->history[(r->changes - 1) % HISTORY].what;
    const uint64_t share_ppm = share_of(r);
    return share_ppm == VV_PPM                                ? "promoted"
           : share_ppm > 0                                    ? "running"
           : last == CHANGE_ABORTED || last == CHANGE_STOPPED ? "aborted"
                                                              : "idle";
}

static void side_json(const char *key, const struct side *s, struct vv_json *j)
{
    vv_json_key(j, key);
    vv_json_obj(j);
    vv_json_ku64(j, "requests", s->requests);
    vv_json_ku64(j, "errors", s->errors);
    vv_json_kdouble(j, "p50_seconds", (double)vv_hist_quantile(&s->times, 500000) / VV_SEC);
    vv_json_kdouble(j, "p95_seconds", (double)vv_hist_quantile(&s->times, 950000) / VV_SEC);
    vv_json_obj_end(j);
}

static void interval_json(const char *key, const struct vv_compare_interval *i, struct vv_json *j)
{
    vv_json_key(j, key);
    vv_json_obj(j);
    vv_json_kdouble(j, "difference", i->diff);
    vv_json_kdouble(j, "low", i->low);
    vv_json_kdouble(j, "high", i->high);
    vv_json_obj_end(j);
}

static void history_json(const struct rollout *r, uint64_t now_ns, struct vv_json *j)
{
    const size_t first = r->changes > HISTORY ? r->changes - HISTORY : 0;
    vv_json_key(j, "history");
    vv_json_arr(j);
    for (size_t i = first; i < r->changes; i++) {
        const struct change *c = &r->history[i % HISTORY];
        vv_json_obj(j);
        vv_json_kdouble(j, "seconds_ago", (double)(now_ns - vv_min_u64(now_ns, c->at_ns)) / VV_SEC);
        vv_json_kcstr(j, "change", change_name[c->what]);
        vv_json_kdouble(j, "from", (double)c->from_ppm / VV_PPM);
        vv_json_kdouble(j, "to", (double)c->to_ppm / VV_PPM);
        vv_json_kcstr(j, "why", c->why);
        vv_json_obj_end(j);
    }
    vv_json_arr_end(j);
}

static void one_json(struct rollout *r, uint64_t now_ns, struct vv_json *j)
{
    static const char *const verdict[] = {
        [VV_VERDICT_OPEN] = "open", [VV_VERDICT_WORSE] = "worse", [VV_VERDICT_FINE] = "fine"};
    const struct vv_canary_rules *rules = &r->conf.rules;
    gather(r);
    vv_json_obj(j);
    vv_json_kcstr(j, "route", r->route);
    vv_json_kcstr(j, "to", r->conf.to);
    vv_json_kcstr(j, "state", state_name(r));
    vv_json_kdouble(j, "share", (double)share_of(r) / VV_PPM);
    vv_json_kdouble(j, "step_seconds", (double)(now_ns - vv_min_u64(now_ns, r->since_ns)) / VV_SEC);
    if (rules->steps > 0 && share_of(r) < VV_PPM) {
        vv_json_kdouble(j, "next_share", (double)vv_canary_next_step(rules, share_of(r)) / VV_PPM);
    }
    vv_json_kbool(j, "automatic", rules->automatic);
    vv_json_kcstr(j, "verdict", verdict[r->result.verdict]);
    side_json("base", &r->now[0], j);
    side_json("candidate", &r->now[1], j);
    interval_json("errors", &r->result.errors, j);
    interval_json("times", &r->result.times, j);
    history_json(r, now_ns, j);
    vv_json_obj_end(j);
}

void vv_canaries_json(struct vv_canaries *cs, struct vv_str route, uint64_t now_ns,
                      struct vv_json *j)
{
    vv_json_arr(j);
    for (struct rollout *r = NULL; (r = next(cs, r)) != NULL;) {
        if (!r->fresh && held(r) && (route.n == 0 || vv_str_eq(vv_str_from(r->route), route))) {
            one_json(r, now_ns, j);
        }
    }
    vv_json_arr_end(j);
}

/* ---- on a worker ---- */

/* What its header says: VV_SIDE_NONE where it says nothing. */
static enum vv_canary_side forced(const struct vv_exchange *x, const struct vv_canary *c)
{
    const struct vv_h1_field *f = c->header.n > 0 ? vv_h1_find_name(&x->req, c->header) : NULL;
    if (f == NULL) {
        return VV_SIDE_NONE;
    }
    return vv_str_eq_nocase(f->value, VV_STR("always"))  ? VV_SIDE_CANDIDATE
           : vv_str_eq_nocase(f->value, VV_STR("never")) ? VV_SIDE_BASE
                                                         : VV_SIDE_NONE;
}

/* A place between 0 and all; the same value has the same place, one without a value any. */
static uint64_t place(struct vv_exchange *x, const struct vv_canary *c)
{
    struct vv_str value = {NULL, 0};
    if (c->sticky != NULL) {
        struct vv_template_vars vars;
        vv_exchange_vars(x, &vars);
        if (vv_template_render(c->sticky, &vars, &x->arena, VV_TEMPLATE_TEXT, &value) != VV_OK) {
            value.n = 0;
        }
    }
    if (value.n == 0) {
        return vv_rng_below(&x->w->rng, VV_PPM);
    }
    return (vv_str_hash(value, c->seed) >> 32) * VV_PPM >> 32;
}

static void choose_side(struct vv_exchange *x, const struct vv_canary *c)
{
    const uint64_t share_ppm = share_of(c->rollout);
    enum vv_canary_side side = forced(x, c);
    if (side == VV_SIDE_NONE && share_ppm > 0) {
        side = place(x, c) < share_ppm ? VV_SIDE_CANDIDATE : VV_SIDE_BASE;
    }
    x->side = (uint8_t)side;
    if (side == VV_SIDE_CANDIDATE) {
        x->service = c->service;
        x->guard_word = "canary";
    }
}

bool vv_canary_choose(struct vv_exchange *x)
{
    if (x->route->canary != NULL) {
        choose_side(x, x->route->canary);
    }
    return x->route->mirror != NULL && vv_mirror_copy(x);
}

void vv_canary_report(struct vv_exchange *x, bool failed, uint64_t took_ns)
{
    const struct vv_canary *c = x->route != NULL ? x->route->canary : NULL;
    if (c == NULL || x->side == VV_SIDE_NONE) {
        return;
    }
    struct rollout *r = c->rollout;
    const size_t k = x->side - VV_SIDE_BASE;
    vv_metric_add(x->w->shard, r->series[k][failed], 1);
    if (forced(x, c) != VV_SIDE_NONE || x->w->index >= r->workers) {
        return;
    }
    struct side *s = &r->lane[x->w->index].side[k];
    vv_worker_count(&s->requests, 1);
    vv_worker_count(&s->errors, failed);
    vv_hist_add(&s->times, took_ns);
}

static bool from_cache(const struct vv_exchange *x)
{
    const struct vv_recall *r = x->recall;
    return r != NULL &&
           (r->role == VV_RECALL_HIT || (r->role == VV_RECALL_FOLLOW && !r->from_fill));
}

void vv_canary_end(struct vv_exchange *x, enum vv_reason aborted)
{
    const bool by_server = vv_reasons[aborted].status >= 500;
    if ((aborted != VV_REASON_NONE && !by_server) || x->session->detached || from_cache(x)) {
        return;
    }
    vv_canary_report(x, by_server || x->status >= 500 || x->degraded.n > 0,
                     vv_worker_now(x->w) - x->began_ns);
}
