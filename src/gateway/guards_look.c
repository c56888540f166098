/* src/gateway/guards_look.c - reads what the guards know of themselves; nobody on the data path waits for it. */
#include "gateway/guards_look.h"
#include "gateway/describe.h"
#include "gateway/gateway_int.h"
#include "gateway/limit_look.h"
#include "gateway/limit_share.h"
#include "gateway/shed.h"
#include "gateway/turnstile.h"

/* What requests meet: an operator's word counts more than what the breaker has seen. */
static enum vv_breaker_state effective(const struct vv_breaker_view *v)
{
    return v->mode == VV_BREAKER_FORCED_OPEN     ? VV_BREAKER_OPEN
           : v->mode == VV_BREAKER_FORCED_CLOSED ? VV_BREAKER_CLOSED
                                                 : v->state;
}

static void collect_breaker(struct vv_collect *c, const struct vv_named_breaker *b, uint64_t now_ns)
{
    struct vv_breaker_view v;
    const struct vv_str name = vv_str_from(b->name);
    vv_breaker_look(b->breaker, now_ns, &v);
    vv_collect_value(c, VV_METRIC_BREAKER_STATE, &name, 1, (double)effective(&v));
    vv_collect_value(c, VV_METRIC_BREAKER_REFUSED, &name, 1, (double)v.refused);
    for (size_t i = 0; i < VV_COUNT(v.entered); i++) {
        const struct vv_str values[] = {
            name, vv_str_from(vv_breaker_state_name((enum vv_breaker_state)i))};
        vv_collect_value(c, VV_METRIC_BREAKER_TRANSITIONS, values, 2, (double)v.entered[i]);
    }
}

/* Places are there for good once somebody asked for them; they are shown while they count. */
static bool has_places(const struct vv_service_guard *g)
{
    struct vv_conc_view v = {.in_flight = 0};
    if (g->conc != NULL) {
        vv_conc_look(g->conc, &v);
    }
    return g->conc != NULL && (g->limited || v.in_flight > 0);
}

static void collect_service(struct vv_collect *c, const struct vv_service_guard *g, uint64_t now_ns)
{
    struct vv_budget_view budget;
    struct vv_conc_view conc;
    const struct vv_str name = vv_str_from(g->name);
    vv_budget_look(g->budget, now_ns, &budget);
    vv_collect_value(c, VV_METRIC_BUDGET_GRANTED, &name, 1, (double)budget.granted);
    vv_collect_value(c, VV_METRIC_BUDGET_REFUSED, &name, 1, (double)budget.refused);
    if (!has_places(g)) {
        return;
    }
    const struct vv_str limit[] = {name, VV_STR("limit")}, used[] = {name, VV_STR("used")},
                        waiting[] = {name, VV_STR("waiting")};
    vv_conc_look(g->conc, &conc);
    vv_collect_value(c, VV_METRIC_PLACES, limit, 2, (double)conc.limit);
    vv_collect_value(c, VV_METRIC_PLACES, used, 2, (double)conc.in_flight);
    vv_collect_value(c, VV_METRIC_PLACES, waiting, 2, (double)vv_gates_waiting(g));
    vv_collect_value(c, VV_METRIC_PLACES_REFUSED, &name, 1, (double)conc.refused);
}

void vv_guards_collect(struct vv_guards *gs, uint64_t now_ns, uint64_t late_ns,
                       struct vv_collect *c)
{
    struct vv_limits_stats stats;
    const unsigned word = vv_guards_shed_from(gs);
    vv_limits_look(vv_guards_limits(gs), &stats);
    vv_collect_value(c, VV_METRIC_LIMIT_KEYS, NULL, 0, (double)stats.used);
    vv_collect_value(c, VV_METRIC_LIMIT_UNTRACKED, NULL, 0, (double)stats.untracked);
    vv_collect_value(c, VV_METRIC_SHED_LEVEL, NULL, 0, vv_shed_level(word));
    vv_collect_value(c, VV_METRIC_LOOP_LATE, NULL, 0, (double)late_ns / (double)VV_SEC);
    vv_sharing_collect(vv_guards_sharing(gs), c);
    for (struct vv_named_breaker *b = NULL; (b = vv_guards_next_breaker(gs, b)) != NULL;) {
        collect_breaker(c, b, now_ns);
    }
    for (struct vv_service_guard *g = NULL; (g = vv_guards_next_service(gs, g)) != NULL;) {
        collect_service(c, g, now_ns);
    }
}

void vv_breaker_json(const struct vv_named_breaker *b, uint64_t now_ns, struct vv_json *j)
{
    static const char *const modes[] = {"auto", "forced_open", "forced_closed"};
    struct vv_breaker_view v;
    vv_breaker_look(b->breaker, now_ns, &v);
    vv_json_obj(j);
    vv_json_kcstr(j, "name", b->name);
    vv_json_kcstr(j, "class", b->class_name);
    vv_json_kcstr(j, "service", b->service);
    vv_json_kcstr(j, "state", vv_breaker_state_name(effective(&v)));
    vv_json_kcstr(j, "mode", modes[v.mode]);
    vv_json_kdouble(j, "since_s", (double)(now_ns - vv_min_u64(v.since_ns, now_ns)) / 1e9);
    if (v.state == VV_BREAKER_OPEN && v.mode == VV_BREAKER_AUTO) {
        vv_json_kdouble(j, "open_for_s",
                        (double)(vv_max_u64(v.open_until_ns, now_ns) - now_ns) / 1e9);
    }
    if (b->share != NULL) {
        vv_json_kcstr(j, "share", b->share);
        vv_json_kdouble(j, "warned_for_s",
                        (double)(vv_max_u64(v.suspect_until_ns, now_ns) - now_ns) / 1e9);
    }
    vv_json_ku64(j, "in_a_row", v.in_a_row);
    vv_json_ku64(j, "requests", v.total);
    vv_json_ku64(j, "failed", v.failed);
    vv_json_ku64(j, "slow", v.slow);
    vv_json_ku64(j, "opened", v.opened);
    vv_json_ku64(j, "refused", v.refused);
    vv_json_ku64(j, "probes", v.probes);
    vv_json_obj_end(j);
}

static void places_json(const struct vv_service_guard *g, struct vv_json *j)
{
    struct vv_conc_view v;
    vv_conc_look(g->conc, &v);
    vv_json_key(j, "places");
    vv_json_obj(j);
    vv_json_ku64(j, "limit", v.limit);
    vv_json_ku64(j, "used", v.in_flight);
    vv_json_ku64(j, "waiting", vv_gates_waiting(g));
    vv_json_ku64(j, "refused", v.refused);
    vv_json_kdouble(j, "base_ms", (double)v.base_ns / 1e6);
    vv_json_kdouble(j, "time_ms", (double)v.time_ns / 1e6);
    vv_json_obj_end(j);
}

void vv_service_guard_json(const struct vv_service_guard *g, uint64_t now_ns, struct vv_json *j)
{
    struct vv_budget_view v;
    vv_budget_look(g->budget, now_ns, &v);
    vv_json_obj(j);
    vv_json_kcstr(j, "service", g->name);
    vv_json_key(j, "budget");
    vv_json_obj(j);
    vv_json_ku64(j, "requests", v.requests);
    vv_json_ku64(j, "again", v.again);
    vv_json_ku64(j, "granted", v.granted);
    vv_json_ku64(j, "refused", v.refused);
    vv_json_obj_end(j);
    if (g->hedge != NULL) {
        const uint64_t delay_ns = vv_hedge_delay_ns(g->hedge);
        vv_json_key(j, "hedge_after_ms");
        if (delay_ns == UINT64_MAX) {
            vv_json_null(j); /* not known yet */
        } else {
            vv_json_double(j, (double)delay_ns / 1e6);
        }
    }
    if (has_places(g)) {
        places_json(g, j);
    }
    vv_json_obj_end(j);
}

/* ---- gateway.h ---- */

void vv_gateway_guards_json(struct vv_gateway *g, struct vv_json *j)
{
    struct vv_guards *gs = g->homes.guards;
    const uint64_t now_ns = vv_loop_now(g->control);
    struct vv_limits_stats stats;
    const struct vv_limit_look look = {
        .limits = vv_guards_limits(gs), .metrics = g->metrics, .now_ns = now_ns};
    vv_json_key(j, "breakers");
    vv_json_arr(j);
    for (struct vv_named_breaker *b = NULL; (b = vv_guards_next_breaker(gs, b)) != NULL;) {
        vv_breaker_json(b, now_ns, j);
    }
    vv_json_arr_end(j);
    vv_json_key(j, "services");
    vv_json_arr(j);
    for (struct vv_service_guard *s = NULL; (s = vv_guards_next_service(gs, s)) != NULL;) {
        vv_service_guard_json(s, now_ns, j);
    }
    vv_json_arr_end(j);
    vv_json_key(j, "limits");
    vv_json_arr(j);
    (void)vv_limit_look_all(&look, g->rt, j);
    vv_json_arr_end(j);
    vv_limits_look(vv_guards_limits(gs), &stats);
    vv_json_key(j, "keys");
    vv_json_obj(j);
    vv_json_ku64(j, "room", stats.capacity);
    vv_json_ku64(j, "used", stats.used);
    vv_json_ku64(j, "evicted", stats.evicted_active);
    vv_json_ku64(j, "untracked", stats.untracked);
    vv_json_obj_end(j);
    vv_json_key(j, "sharing");
    vv_json_arr(j);
    vv_sharing_json(vv_guards_sharing(gs), j);
    vv_json_arr_end(j);
    vv_json_key(j, "overload");
    vv_json_obj(j);
    vv_json_kdouble(j, "shed", vv_shed_level(vv_guards_shed_from(gs)));
    vv_json_kdouble(j, "late_ms", (double)vv_shed_watch_late_ns(g) / 1e6);
    vv_json_obj_end(j);
}

size_t vv_gateway_limits_json(struct vv_gateway *g, struct vv_str limit, struct vv_str key,
                              struct vv_json *j)
{
    const struct vv_limit_look look = {.limits = vv_guards_limits(g->homes.guards),
                                       .metrics = g->metrics,
                                       .name = limit,
                                       .key = key,
                                       .now_ns = vv_loop_now(g->control)};
    vv_json_arr(j);
    const size_t found = vv_limit_look_all(&look, g->rt, j);
    vv_json_arr_end(j);
    return found;
}

enum vv_err vv_gateway_breaker_order(struct vv_gateway *g, struct vv_str name, struct vv_str what,
                                     struct vv_json *j)
{
    const uint64_t now_ns = vv_loop_now(g->control);
    struct vv_named_breaker *b = vv_guards_find_breaker(g->homes.guards, name);
    if (b == NULL) {
        return VV_ENOENT;
    }
    if (vv_str_eq(what, VV_STR("open"))) {
        vv_breaker_force(b->breaker, VV_BREAKER_FORCED_OPEN, now_ns);
    } else if (vv_str_eq(what, VV_STR("close"))) {
        vv_breaker_force(b->breaker, VV_BREAKER_FORCED_CLOSED, now_ns);
    } else if (vv_str_eq(what, VV_STR("reset"))) {
        vv_breaker_reset(b->breaker, now_ns);
    } else {
        return VV_EINVAL;
    }
    vv_breaker_json(b, now_ns, j);
    return VV_OK;
}

struct vv_guard_summary vv_gateway_guard_summary(struct vv_gateway *g)
{
    struct vv_guards *gs = g->homes.guards;
    struct vv_guard_summary s = {.shed = vv_shed_level(vv_guards_shed_from(gs)),
                                 .sharing_alone = vv_sharing_alone(vv_guards_sharing(gs))};
    for (struct vv_named_breaker *b = NULL; (b = vv_guards_next_breaker(gs, b)) != NULL;) {
        struct vv_breaker_view v;
        vv_breaker_look(b->breaker, vv_loop_now(g->control), &v);
        s.breakers_open += effective(&v) != VV_BREAKER_CLOSED;
    }
    return s;
}
