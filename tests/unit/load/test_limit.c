/* tests/unit/load/test_limit.c - the search against servers made of arithmetic; causes from made metrics. */
#include "load/limit.h"
#include "sample.h"
#include "vv_test.h"

#include <math.h>
#include <stdlib.h>

struct server {
    double capacity;      /* holds up to here */
    double generator_max; /* the generator cannot do more; 0: it can */
    unsigned busy_at;     /* in this step the generator had no time; 0: in none */
    unsigned hiccup_at;   /* this step misses whatever the rate; 0: none */
    unsigned hiccups;     /* so many in a row; 0: one */
    double lucky;         /* short steps hold up to here until a long one misses */
    unsigned calls, stop_at;
};

static bool probe(void *user, double rate, struct vv_load_step *ret)
{
    struct server *s = user;
    s->calls++;
    if (s->stop_at > 0 && s->calls == s->stop_at) {
        return false;
    }
    const bool hiccup = s->hiccup_at > 0 && s->calls >= s->hiccup_at &&
                        s->calls < s->hiccup_at + (s->hiccups > 0 ? s->hiccups : 1);
    ret->held = (rate <= s->capacity || (ret->times == 1 && rate <= s->lucky)) && !hiccup;
    s->lucky = ret->times > 1 && rate <= s->lucky && rate > s->capacity ? 0.0 : s->lucky;
    ret->generator = s->calls == s->busy_at || (s->generator_max > 0.0 && rate > s->generator_max);
    return true;
}

static const struct vv_load_limit_conf conf = {
    .start = 10.0, .max = 1e6, .precision = 0.02, .steps_max = 40};

static struct vv_load_limit search(struct server *s)
{
    struct vv_load_step steps[VV_LOAD_STEPS_MAX];
    struct vv_load_limit l;
    size_t count;
    vv_load_limit_search(&conf, probe, s, steps, &count, &l);
    VV_CHECK(count <= conf.steps_max);
    return l;
}

VV_TEST(a_known_capacity_is_found_within_the_precision)
{
    static const double capacities[] = {11, 37, 500, 3333, 98765};
    for (size_t i = 0; i < VV_COUNT(capacities); i++) {
        struct server s = {.capacity = capacities[i]};
        const struct vv_load_limit l = search(&s);
        VV_CHECK(l.rate <= capacities[i] && capacities[i] < l.missed);
        VV_CHECK(l.rate >= capacities[i] * 0.98);
    }
}

/* A server with a fixed pool and a fixed service time, in virtual time: even arrivals are served in
 * order of arrival by whichever worker is free first, so its capacity is exactly pool / service. Some
 * steps meet a stall in which nobody is served: chance that has nothing to do with the rate. */
#define POOL_MAX 64
#define STEP_SECONDS 5
struct pool {
    unsigned workers;
    double service_s, stall_s, stall_share;
    struct vv_rng rng;
    unsigned steps;
};

static double served_at(const struct pool *p, double start_s, double stall_at_s)
{
    const double stall_end_s = stall_at_s + p->stall_s;
    if (start_s >= stall_end_s || start_s + p->service_s <= stall_at_s) {
        return start_s + p->service_s;
    }
    return start_s >= stall_at_s ? stall_end_s + p->service_s : start_s + p->service_s + p->stall_s;
}

static bool pool_probe(void *user, double rate, struct vv_load_step *ret)
{
    static const struct vv_load_phase phase = {.ramp_to = -1.0, .rate = 1.0};
    const struct vv_load_view view = {.phase = &phase, .phase_count = 1};
    const struct vv_load_judged none = {0};
    struct pool *p = user;
    const size_t seconds = (size_t)STEP_SECONDS * ret->times;
    const size_t arrivals = (size_t)(rate * (double)seconds);
    const bool stalls = vv_rng_double(&p->rng) < p->stall_share;
    const double stall_at_s = stalls ? vv_rng_double(&p->rng) * (double)seconds : -1e9;
    double free_s[POOL_MAX] = {0};
    struct vv_load_result *r = NULL;
    p->steps++;
    VV_CHECK(p->workers <= POOL_MAX);
    VV_CHECK_INT(vv_load_result_new(&view, &r), VV_OK);
    VV_CHECK_INT(vv_load_result_windows(r, seconds), VV_OK);
    for (size_t i = 0; i < arrivals; i++) {
        const double at_s = (double)i / rate;
        unsigned w = 0;
        for (unsigned k = 1; k < p->workers; k++) {
            w = free_s[k] < free_s[w] ? k : w;
        }
        free_s[w] = served_at(p, fmax(at_s, free_s[w]), stall_at_s);
        r->window[(size_t)at_s].offered++;
        if (free_s[w] < (double)seconds) {
            r->window[(size_t)free_s[w]].completed++;
        }
        for (size_t second = (size_t)at_s; second < seconds; second++) {
            r->window[second].in_flight += free_s[w] > (double)(second + 1);
        }
    }
    r->offered = r->requests = r->answers = arrivals;
    vv_load_step_judge(r, none, rate, ret);
    vv_load_result_free(r);
    return true;
}

VV_TEST(a_pool_of_known_capacity_is_found_within_5_percent)
{
    static const struct pool pools[] = {
        {.workers = 8, .service_s = 0.020},  /* 400 a second */
        {.workers = 3, .service_s = 0.007},  /* 428.6 */
        {.workers = 50, .service_s = 1.0},   /* 50 */
        {.workers = 16, .service_s = 0.005}, /* 3,200 */
    };
    for (size_t i = 0; i < VV_COUNT(pools); i++) {
        const double capacity = (double)pools[i].workers / pools[i].service_s;
        for (uint64_t seed = 1; seed <= 25; seed++) {
            struct pool p = pools[i];
            struct vv_load_step steps[VV_LOAD_STEPS_MAX];
            struct vv_load_limit l;
            size_t count;
            p.stall_s = 0.3; /* at 1,000/s 300 users pile up: every step that meets one misses */
            p.stall_share = seed == 1 ? 0.0 : 0.4;
            vv_rng_init(&p.rng, seed);
            vv_load_limit_search(&conf, pool_probe, &p, steps, &count, &l);
            VV_CHECK(fabs(l.rate / capacity - 1.0) < 0.05);
            VV_CHECK(seed > 1 || (l.confirmed && l.missed > capacity));
        }
    }
}

VV_TEST(an_end_that_was_chance_moves_the_interval)
{
    struct vv_load_step steps[VV_LOAD_STEPS_MAX];
    struct vv_load_limit l;
    size_t count;
    /* 10 ... 320 hold, 640 is above; 480 misses twice by chance and would cap everything at 480. */
    struct server s = {.capacity = 500.0, .hiccup_at = 9, .hiccups = 2};
    vv_load_limit_search(&conf, probe, &s, steps, &count, &l);
    VV_CHECK_INT(steps[8].rate, 480);
    VV_CHECK(!steps[8].held && !steps[9].held && l.confirmed);
    VV_CHECK(l.rate <= 500.0 && l.rate > 490.0 && l.missed > 500.0);
    VV_CHECK_INT(steps[count - 1].times, 2);
    /* The other way: what held once by luck does not hold for longer. */
    s = (struct server){.capacity = 500.0, .lucky = 530.0};
    vv_load_limit_search(&conf, probe, &s, steps, &count, &l);
    VV_CHECK(l.confirmed && l.rate <= 500.0 && l.rate > 490.0 && l.missed > 500.0);
}

VV_TEST(a_limit_below_the_first_step_is_found_too)
{
    struct server s = {.capacity = 3.0};
    const struct vv_load_limit l = search(&s);
    VV_CHECK(l.rate <= 3.0 && l.rate >= 2.9);
}

VV_TEST(one_hiccup_does_not_end_the_search)
{
    for (unsigned at = 2; at < 10; at++) {
        struct server s = {.capacity = 500.0, .hiccup_at = at};
        VV_CHECK(fabs(search(&s).rate - 500.0) < 10.0 + 1e-9);
    }
}

VV_TEST(the_generator_is_named_when_it_was_the_limit)
{
    struct server s = {.capacity = 1e9, .generator_max = 700.0};
    const struct vv_load_limit l = search(&s);
    VV_CHECK(l.generator && l.rate <= 700.0 && l.rate > 680.0);
}

VV_TEST(one_busy_moment_of_the_generator_is_not_its_limit)
{
    for (unsigned at = 2; at < 10; at++) {
        struct server s = {.capacity = 500.0, .busy_at = at};
        const struct vv_load_limit l = search(&s);
        VV_CHECK(!l.generator && l.confirmed && fabs(l.rate - 500.0) < 10.0 + 1e-9);
    }
}

VV_TEST(an_interrupted_search_keeps_what_it_knows)
{
    struct server s = {.capacity = 500.0, .stop_at = 4};
    const struct vv_load_limit l = search(&s);
    VV_CHECK(l.stopped);
    VV_CHECK_INT(l.rate, 40); /* 10, 20, 40, then the end */
}

VV_TEST(users_that_pile_up_miss_a_step)
{
    struct vv_load_result *r = sample_result();
    struct vv_load_step step;
    const struct vv_load_judged none = {0};
    r->closed = false;
    VV_CHECK_INT(vv_load_result_windows(r, 5), VV_OK);
    for (size_t i = 0; i < 5; i++) {
        r->window[i].offered = 1000;
        r->window[i].completed = 980 + i;
        r->window[i].in_flight = i < 3 ? 50 : 95;
    }
    /* From second 1 to 4 three thousand arrived; 1.5 % are 45: 45 more is not over it, 46 is. */
    vv_load_step_judge(r, none, 50.0, &step);
    VV_CHECK(step.held && step.sustained == 0.0);
    r->window[4].in_flight = 96;
    vv_load_step_judge(r, none, 50.0, &step);
    VV_CHECK(!step.held);
    VV_CHECK_STR(step.why, "46 more users waited at the end");
    VV_CHECK(fabs(step.sustained - 983.0) < 1e-9); /* of seconds 2 to 4: 982, 983, 984 */
    r->window[4].offered =
        0; /* the last second only drains: 95 at the end, of 2,000 30 are 1.5 % */
    vv_load_step_judge(r, none, 50.0, &step);
    VV_CHECK_STR(step.why, "45 more users waited at the end");
    vv_load_result_free(r);
}

VV_TEST(a_missed_gate_names_itself)
{
    struct vv_load_result *r = sample_result();
    const struct vv_load_gate gate = {.expression = "p95 < 500ms", .strict = true};
    struct vv_load_verdict *v = NULL;
    struct vv_load_step step;
    size_t count;
    r->view.gate_count = 0;
    VV_CHECK_INT(vv_load_judge(r, &gate, 1, &v, &count), VV_OK);
    vv_load_step_judge(r, (struct vv_load_judged){v, count}, 50.0, &step);
    VV_CHECK(!step.held);
    VV_CHECK_STR(step.why, "Latency P95 800ms");
    free(v);
    vv_load_result_free(r);
}

/* ---- causes ---- */

static const char metrics[] =
    "# HELP http_requests_total Requests.\n"
    "http_requests_total{method=\"GET\",route=\"a\",service=\"s\",status=\"200\"} 900\n"
    "http_requests_total{method=\"GET\",route=\"a}\",service=\"s\",status=\"503\"} 100 1700000000\n"
    "http_request_duration_seconds_sum{route=\"a\",service=\"s\"} 50.5\n"
    "vivace_upstream_request_duration_seconds_sum{service=\"s\",server=\"1\"} 40\n"
    "vivace_upstream_request_duration_seconds_count{service=\"s\",server=\"1\"} 900\n"
    "vivace_upstream_up{service=\"s\",server=\"1\"} 1\n"
    "vivace_upstream_up{service=\"s\",server=\"2\"} 0\n"
    "vivace_loop_busy_seconds_total 3.25e+00\n";

VV_TEST(metrics_are_read_and_added_up)
{
    struct vv_load_signs s;
    vv_load_signs_read(VV_STR(metrics), &s);
    VV_CHECK(s.known);
    VV_CHECK_INT(s.requests, 1000);
    VV_CHECK_INT(s.answers_503, 100);
    VV_CHECK_INT(s.upstream_503, 0);
    VV_CHECK_INT(s.servers, 2);
    VV_CHECK_INT(s.servers_up, 1);
    VV_CHECK(fabs(s.loop_busy - 3.25) < 1e-9 && fabs(s.duration - 50.5) < 1e-9);
    vv_load_signs_read(VV_STR("no metrics{\n\n{} x\n"), &s);
    VV_CHECK(!s.known);
}

static enum vv_load_cause cause(const struct vv_load_evidence *e)
{
    struct vv_sb out = VV_SB_INIT;
    const enum vv_load_cause c = vv_load_diagnose(e, &out);
    VV_CHECK(out.n > 0);
    vv_sb_fini(&out);
    return c;
}

VV_TEST(each_staged_case_has_its_cause)
{
    /* 5 seconds, 2 workers: 10 seconds of CPU time at most. */
    const struct vv_load_signs none = {.known = true, .servers = 1, .servers_up = 1};
    struct vv_load_evidence e = {.before = none, .after = none, .seconds = 5.0, .workers = 2};
    e.after.duration = 100.0;
    e.after.upstream_sum = 20.0;
    e.after.upstream_count = 1000.0;
    e.after.loop_busy = 9.5; /* 95 % */
    VV_CHECK_INT(cause(&e), VV_LOAD_CAUSE_CPU);
    e.generator_late = true; /* on the same machine it had no CPU left either */
    VV_CHECK_INT(cause(&e), VV_LOAD_CAUSE_CPU);
    e.generator_late = false;
    e.after.loop_busy = 2.0;
    e.after.upstream_sum = 95.0; /* 95 % of the time passes behind */
    VV_CHECK_INT(cause(&e), VV_LOAD_CAUSE_DEPENDENCY);
    e.share_503 = 0.2;
    e.after.answers_503 = 200.0; /* ours: none came from the servers */
    VV_CHECK_INT(cause(&e), VV_LOAD_CAUSE_POOL);
    e.after.shed_level =
        1.5; /* it sheds: its loops were late, and that kept them from being busy */
    VV_CHECK_INT(cause(&e), VV_LOAD_CAUSE_CPU);
    e.after.shed_level = 0.0;
    e.after.loop_busy = 9.5; /* no time for what came: it sheds, whatever the pool holds */
    VV_CHECK_INT(cause(&e), VV_LOAD_CAUSE_CPU);
    e.after.loop_busy = 2.0;
    e.after.upstream_503 = 200.0;
    VV_CHECK_INT(cause(&e), VV_LOAD_CAUSE_DEPENDENCY);
    e.after.servers_up = 0.0;
    VV_CHECK_INT(cause(&e), VV_LOAD_CAUSE_SERVERS_DOWN);
    e.share_429 = 0.2;
    VV_CHECK_INT(cause(&e), VV_LOAD_CAUSE_RATE_LIMIT);
}

VV_TEST(without_metrics_only_what_the_generator_saw_is_said)
{
    struct vv_load_evidence e = {.seconds = 5.0, .generator_cpu = 20.0};
    VV_CHECK_INT(cause(&e), VV_LOAD_CAUSE_UNKNOWN);
    e.generator_cpu = 97.0;
    VV_CHECK_INT(cause(&e), VV_LOAD_CAUSE_GENERATOR);
    e.share_429 = 0.5;
    VV_CHECK_INT(cause(&e), VV_LOAD_CAUSE_RATE_LIMIT);
}
