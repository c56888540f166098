/* src/load/plan_short.c - our short form, and the profiles that are known by name.
 *
 * One scenario is one line: {weight: 30, post: /pricing, body: "@pricing.json", expect: 200}. A test is
 * {users: 50, for: 5m} or {rate: 500/s, for: 30s}. Nothing here that the long form could not say. */
#include "load/plan_read.h"

#include <stdlib.h>

#define RATE_MAX 10e6
#define USERS_MAX UINT64_C(10000000)

static const char *const test_keys[] = {"users",   "rate", "for", "ramp", "ramp_to",
                                        "arrival", "pass", "max", NULL};

/* ---- profiles ------------------------------------------------------------------------------ */

bool load_preset(struct load_reading *r, const char *name)
{
    static const struct {
        const char *name;
        uint64_t users, duration_ns, ramp_ns;
    } presets[] = {{"smoke", 5, 30 * VV_SEC, 0},
                   {"load", 50, 5 * VV_MINUTE, 0},
                   {"stress", 200, 10 * VV_MINUTE, 0},
                   {"spike", 500, 2 * VV_MINUTE, 10 * VV_SEC}};
    for (size_t i = 0; i < VV_COUNT(presets); i++) {
        if (strcmp(presets[i].name, name) == 0) {
            const struct vv_load_phase ph = {.name = presets[i].name,
                                             .duration_ns = presets[i].duration_ns,
                                             .ramp_to = -1,
                                             .users = presets[i].users,
                                             .ramp_ns = presets[i].ramp_ns};
            r->plan->view.phase_count = 0;
            load_phase_add(r->plan, &ph);
            if (r->plan->view.gate_count == 0) {
                load_gate(r, NULL, true, "vivace.error_rate < 5");
                load_gate(r, NULL, true, "vivace.latency.p95 < 2000");
                load_gate(r, NULL, true, "vivace.latency.p99 < 5000");
                load_gate(r, NULL, true, "vivace.throughput > 10");
            }
            return true;
        }
    }
    return false;
}

/* ---- tests --------------------------------------------------------------------------------- */

/* "500/s", "500", "30000/m": arrivals per second. */
static bool rate(struct load_reading *r, const NODE *n, const char *what, double *ret)
{
    const char *text = NULL;
    char *end = NULL;
    if (!load_fixed(r, n, what, &text)) {
        return false;
    }
    const double d = strtod(text, &end);
    const double per = strcmp(end, "") == 0 || strcmp(end, "/s") == 0 ? 1
                       : strcmp(end, "/m") == 0                       ? 60
                       : strcmp(end, "/h") == 0                       ? 3600
                                                                      : 0;
    if (end == text || per == 0 || !(d >= 0) || d / per > RATE_MAX) {
        load_wrong(r, n, "%s must be a rate, such as 500/s, not \"%s\"", what, text);
        return false;
    }
    *ret = d / per;
    return true;
}

static void test(struct load_reading *r, const NODE *n, const char *name)
{
    struct vv_load_phase ph = {.name = name, .ramp_to = -1};
    const NODE *users = vv_conf_node_get(n, "users"), *arrivals = vv_conf_node_get(n, "rate");
    const NODE *time = vv_conf_node_get(n, "for"), *ramp = vv_conf_node_get(n, "ramp");
    const NODE *ramp_to = vv_conf_node_get(n, "ramp_to"), *max = vv_conf_node_get(n, "max");
    const NODE *arrival = vv_conf_node_get(n, "arrival"), *pass = vv_conf_node_get(n, "pass");
    const char *how = "even";
    if ((users != NULL) == (arrivals != NULL) || time == NULL) {
        load_wrong(r, n, "a test needs for, and one of users and rate");
        return;
    }
    bool fine = load_time(r, time, "for", VV_SEC, &ph.duration_ns);
    if (users != NULL) {
        fine = load_whole(r, users, "users", USERS_MAX, &ph.users) && fine;
    } else {
        fine = rate(r, arrivals, "rate", &ph.rate) && fine;
    }
    if (ramp != NULL) {
        fine = load_time(r, ramp, "ramp", VV_SEC, &ph.ramp_ns) && fine;
        if (users == NULL) {
            load_wrong(r, ramp, "ramp goes with users; with a rate write ramp_to");
        }
    }
    if (ramp_to != NULL && users != NULL) {
        fine = load_whole(r, ramp_to, "ramp_to", USERS_MAX, &ph.users_to) && fine;
    } else if (ramp_to != NULL) {
        fine = rate(r, ramp_to, "ramp_to", &ph.ramp_to) && fine;
    }
    if (max != NULL) {
        fine = load_whole(r, max, "max", USERS_MAX, &ph.users_max) && fine;
    }
    if (arrival != NULL && load_fixed(r, arrival, "arrival", &how)) {
        ph.arrival = strcmp(how, "poisson") == 0 ? VV_LOAD_POISSON : VV_LOAD_EVEN;
        if (strcmp(how, "poisson") != 0 && strcmp(how, "even") != 0) {
            load_wrong(r, arrival, "arrival must be even or poisson, not \"%s\"", how);
        }
    }
    if (fine) {
        load_phase_add(r->plan, &ph);
    }
    if (pass != NULL) {
        load_pass(r, pass);
    }
}

/* All tests are checked, one is run. */
static void tests(struct load_reading *r, const NODE *map)
{
    const char *wanted = r->source->profile;
    struct vv_load_plan *p = r->plan;
    const NODE *chosen = NULL;
    if (!load_is(r, map, VV_CONF_NODE_MAP, "tests")) {
        return;
    }
    for (size_t i = 0; i < vv_conf_node_count(map); i++) {
        const NODE *n = vv_conf_node_item(map, i);
        const char *name = vv_conf_node_text(vv_conf_node_key(map, i));
        if (!load_is(r, n, VV_CONF_NODE_MAP, "a test")) {
            continue;
        }
        load_known_keys(r, n, test_keys, "a test");
        if (wanted != NULL ? strcmp(wanted, name) == 0 : vv_conf_node_count(map) == 1) {
            chosen = n;
        } else { /* checked, then taken back */
            const size_t gates = p->view.gate_count, phases = p->view.phase_count;
            test(r, n, load_dup(p, vv_str_from(name)));
            p->view.gate_count = gates;
            p->view.phase_count = phases;
        }
    }
    if (chosen != NULL) {
        p->view.phase_count = 0;
        test(r, chosen, wanted != NULL ? load_dup(p, vv_str_from(wanted)) : NULL);
    } else if (wanted == NULL && p->view.phase_count == 0) {
        load_wrong(r, map, "there are several tests: choose one with --profile NAME");
    }
}

/* ---- scenarios ----------------------------------------------------------------------------- */

static void scenario(struct load_reading *r, const NODE *n, const char *name)
{
    static const char *const flow_keys[] = {"weight", "steps", NULL};
    struct vv_load_plan *p = r->plan;
    const NODE *weight_at = vv_conf_node_get(n, "weight"), *steps = vv_conf_node_get(n, "steps");
    uint64_t weight = 1;
    if (weight_at != NULL) {
        (void)load_whole(r, weight_at, "weight", 1000000000, &weight);
    }
    load_scenario_add(p, load_dup(p, vv_str_from(name)), weight);
    const size_t at = p->view.scenario_count - 1;
    if (steps != NULL) {
        load_known_keys(r, n, flow_keys, "a scenario with steps");
        load_flow(r, at, steps, 0);
    } else {
        const char *method = NULL;
        size_t i = 0;
        for (; i < vv_conf_node_count(n) && method == NULL; i++) {
            method = load_method_key(vv_conf_node_text(vv_conf_node_key(n, i)));
        }
        if (method == NULL) {
            load_wrong(r, n,
                       "a scenario needs steps, or one of get, post, put, patch, delete, head, "
                       "options with a URL");
        } else {
            struct load_request *q =
                load_request_of(r, method, vv_conf_node_item(n, i - 1), n, true);
            if (q != NULL) {
                load_op_add(p, &p->scenario[at], LOAD_OP_REQUEST)->request = q;
            }
        }
    }
    load_op_add(p, &p->scenario[at], LOAD_OP_END);
}

static void scenarios(struct load_reading *r, const NODE *map)
{
    if (!load_is(r, map, VV_CONF_NODE_MAP, "scenarios")) {
        return;
    }
    for (size_t i = 0; i < vv_conf_node_count(map); i++) {
        const NODE *n = vv_conf_node_item(map, i);
        const char *name = vv_conf_node_text(vv_conf_node_key(map, i));
        if (!load_is(r, n, VV_CONF_NODE_MAP, "a scenario") ||
            (r->source->scenario != NULL && strcmp(r->source->scenario, name) != 0)) {
            continue;
        }
        scenario(r, n, name);
    }
}

/* A recording says not only when, but also who: the numbers of scenarios, one for each user. */
static void sequence(struct load_reading *r, const NODE *n)
{
    struct vv_load_plan *p = r->plan;
    if (!load_is(r, n, VV_CONF_NODE_LIST, "sequence") || vv_conf_node_count(n) == 0 ||
        p->view.scenario_count == 0 || r->source->scenario != NULL) {
        return;
    }
    p->sequence = load_zalloc(p, vv_conf_node_count(n) * sizeof *p->sequence);
    p->sequence_next = load_zalloc(p, sizeof *p->sequence_next);
    for (size_t i = 0; i < vv_conf_node_count(n); i++) {
        uint64_t index = 0;
        if (!load_whole(r, vv_conf_node_item(n, i), "the number of a scenario, from 0,",
                        p->view.scenario_count - 1, &index)) {
            return;
        }
        p->sequence[p->sequence_count++] = (uint32_t)index;
    }
}

/* ---- the whole ----------------------------------------------------------------------------- */

void load_short(struct load_reading *r, const NODE *root)
{
    static const char *const known[] = {
        "target",    "headers", "timeout", "pool",   "variables", "payload", "tests",
        "scenarios", "pass",    "users",   "rate",   "for",       "ramp",    "ramp_to",
        "arrival",   "max",     "phases",  "ensure", "sequence",  "tls",     NULL};
    struct vv_load_plan *p = r->plan;
    const NODE *n = NULL;
    load_known_keys(r, root, known, "a load file");
    load_target(r, vv_conf_node_get(root, "target"));
    if ((n = vv_conf_node_get(root, "headers")) != NULL) {
        struct load_pairs own = {NULL, 0};
        (void)load_pairs(r, n, "headers", true, &own);
        p->headers = own;
    }
    if ((n = vv_conf_node_get(root, "timeout")) != NULL) {
        (void)load_time(r, n, "timeout", VV_SEC, &p->view.timeout_ns);
    }
    if ((n = vv_conf_node_get(root, "pool")) != NULL) {
        (void)load_whole(r, n, "pool", USERS_MAX, &p->view.pool);
    }
    load_tls(r, vv_conf_node_get(root, "tls"));
    if ((n = vv_conf_node_get(root, "variables")) != NULL) {
        load_variables(r, n, "variables");
    }
    if ((n = vv_conf_node_get(root, "payload")) != NULL) {
        load_payloads(r, n);
    }
    if ((n = vv_conf_node_get(root, "pass")) != NULL) {
        load_pass(r, n);
    }
    if ((n = vv_conf_node_get(root, "ensure")) != NULL) {
        load_ensure(r, n);
    }
    if ((n = vv_conf_node_get(root, "phases")) != NULL &&
        load_is(r, n, VV_CONF_NODE_LIST, "phases")) {
        for (size_t i = 0; i < vv_conf_node_count(n); i++) {
            load_phase(r, vv_conf_node_item(n, i));
        }
    }
    if (vv_conf_node_get(root, "users") != NULL || vv_conf_node_get(root, "rate") != NULL) {
        const size_t gates = p->view.gate_count;
        test(r, root, NULL); /* its `pass` was read above; the same gate is kept once */
        p->view.gate_count = gates;
    }
    if ((n = vv_conf_node_get(root, "tests")) != NULL) {
        tests(r, n);
    }
    if ((n = vv_conf_node_get(root, "scenarios")) != NULL) {
        scenarios(r, n);
        if ((n = vv_conf_node_get(root, "sequence")) != NULL) {
            sequence(r, n);
        }
    } else {
        load_wrong(r, root, "there are no scenarios: what should be sent?");
    }
}
