/* tests/unit/guard/test_share.c - three gateways and a store that keeps one count. The store here follows the
 * same rule as the script in gateway/limit_share_script.c, in C; time is passed in. */
#include "base/rng.h"
#include "guard/share.h"

#include "vv_test.h"

#include <pthread.h>

#define START (1000 * VV_HOUR)
#define GATEWAYS 3
#define STORE_AHEAD_US UINT64_C(1790000000000000) /* the store's clock is another one */
#define STEP_NS (500 * VV_US)
#define KEYS 4

/* ---- the store ---- */

struct cell { /* one key */
    double tat_us;
    uint64_t window, before, current;
    struct {
        bool there;
        double demand;
        uint64_t at_us, turn;
    } gateway[GATEWAYS];
};

static double part_of(struct cell *c, size_t who, double demand, uint64_t now_us)
{
    double others = 0, count = 1;
    for (size_t i = 0; i < GATEWAYS; i++) {
        if (i != who && c->gateway[i].there && now_us - c->gateway[i].at_us <= 1000000) {
            others += c->gateway[i].demand;
            count++;
        }
    }
    const double sum = others + demand;
    const double floor = sum > 0 ? 0.05 * sum / count : 1;
    return (demand + floor) / (sum + count * floor);
}

static struct vv_share_answer answer(struct cell *c, size_t who, const struct vv_share_question *q,
                                     uint64_t now_us)
{
    const struct vv_limit *l = q->limit;
    struct vv_share_answer a = {.part = part_of(c, who, (double)q->demand, now_us)};
    const bool again = c->gateway[who].there && c->gateway[who].turn == q->turn;
    const double passed = again ? 0 : (double)q->passed;
    c->gateway[who].there = q->demand > 0;
    c->gateway[who].demand = (double)q->demand;
    c->gateway[who].at_us = now_us;
    c->gateway[who].turn = q->turn;
    if (l->kind == VV_LIMIT_RATE) {
        const double now = (double)now_us;
        const double from = now - (double)q->age_us;
        c->tat_us = c->tat_us > from ? c->tat_us : from;
        if (q->resume && now + (double)q->resume_us > c->tat_us) {
            c->tat_us = now + (double)q->resume_us;
        }
        c->tat_us += passed * (double)l->interval_ns / 1e3;
        a.debt_us = c->tat_us > now ? (uint64_t)(c->tat_us - now) : 0;
        return a;
    }
    const uint64_t window_us = l->per_ns / VV_US;
    const uint64_t window = now_us / window_us;
    const uint64_t gone_us = now_us % window_us;
    if (window != c->window) {
        c->before = window == c->window + 1 ? c->current : 0;
        c->current = 0;
        c->window = window;
    }
    c->current += (uint64_t)passed;
    const double gone = (double)gone_us / (double)window_us;
    const double used = (double)c->before * (1 - gone) + (double)c->current;
    if (q->resume && (double)q->resume_us > used) {
        c->current += (uint64_t)((double)q->resume_us - used);
    }
    a.before = c->before;
    a.current = c->current;
    return a;
}

/* ---- the world ---- */

struct gateway {
    struct vv_limits *limits;
    struct vv_shares *shares;
    struct vv_limit limit;
    uint64_t next_ns; /* exchange */
    uint64_t passed, asked;
    bool dead;
};
struct world {
    struct gateway g[GATEWAYS];
    struct cell cell[KEYS];
    uint64_t now_ns;
    uint64_t period_ns, trip_ns; /* from asking to the answer */
    bool away;
    struct vv_rng rng;
};

/* Keys are one letter, "a" is cell 0. */
static void name_of(uint64_t id, struct vv_str key, uint8_t ret[VV_SHARE_NAME_BYTES])
{
    memset(ret, 0, VV_SHARE_NAME_BYTES);
    ret[0] = (uint8_t)(key.p[0] - 'a');
    ret[8] = (uint8_t)id;
}

static uint64_t store_us(const struct world *w)
{
    return STORE_AHEAD_US + w->now_ns / VV_US;
}

static void world_up(struct world *w, enum vv_limit_kind kind, uint64_t count, uint64_t per_ns,
                     uint64_t at_once)
{
    memset(w, 0, sizeof *w);
    w->now_ns = START;
    w->period_ns = 25 * VV_MS;
    w->trip_ns = VV_MS;
    vv_rng_init(&w->rng, 5);
    for (size_t i = 0; i < GATEWAYS; i++) {
        struct gateway *g = &w->g[i];
        VV_CHECK_INT(vv_limits_new(1000, i, &g->limits), VV_OK);
        VV_CHECK_INT(vv_shares_new(100, name_of, &g->shares), VV_OK);
        VV_CHECK_INT(vv_limit_init(&g->limit, kind, 1, count, per_ns, at_once), VV_OK);
        g->limit.shares = g->shares;
        vv_shares_gateways(g->shares, GATEWAYS);
        vv_shares_clock(g->shares, store_us(w), w->now_ns);
        vv_shares_alone(g->shares, g->limits, false, w->now_ns);
        g->next_ns = w->now_ns + i * 7 * VV_MS; /* they do not speak at the same time */
    }
}

static void world_down(struct world *w)
{
    for (size_t i = 0; i < GATEWAYS; i++) {
        vv_shares_free(w->g[i].shares);
        vv_limits_free(w->g[i].limits);
    }
}

static void exchange(struct world *w, size_t who)
{
    struct gateway *g = &w->g[who];
    struct vv_share *keys[VV_SHARE_BATCH];
    for (unsigned group = 0; group < VV_SHARE_GROUPS; group++) {
        const size_t n = vv_shares_collect(g->shares, group, w->now_ns, keys, VV_SHARE_BATCH);
        for (size_t i = 0; i < n; i++) {
            struct vv_share_question q;
            vv_share_ask(g->shares, g->limits, keys[i], w->now_ns, &q);
            VV_CHECK_INT(q.name[0] % VV_SHARE_GROUPS, group);
            if (w->away) {
                vv_share_lost(g->shares, keys[i]);
                continue;
            }
            const struct vv_share_answer a = answer(&w->cell[q.name[0]], who, &q, store_us(w));
            vv_share_answered(g->shares, g->limits, keys[i], &a, w->now_ns, w->now_ns + w->trip_ns);
        }
    }
}

static bool request(struct world *w, size_t who, const char *key)
{
    struct gateway *g = &w->g[who];
    const struct vv_limit_ask ask = {&g->limit, vv_str_from(key), 1};
    struct vv_limit_grant grant;
    const bool passed = vv_limits_take(g->limits, &ask, 1, w->now_ns, &grant, NULL);
    g->asked++;
    g->passed += passed;
    return passed;
}

/* For a while, each gateway is asked so often (per second, at random times). Exchanges come a little late now
 * and then, as timers do. */
static void run(struct world *w, uint64_t time_ns, const double *demand)
{
    for (const uint64_t until_ns = w->now_ns + time_ns; w->now_ns < until_ns;
         w->now_ns += STEP_NS) {
        for (size_t i = 0; i < GATEWAYS; i++) {
            double expected = demand[i] * (double)STEP_NS / (double)VV_SEC;
            for (; !w->g[i].dead && expected > 0; expected -= 1) {
                if ((double)vv_rng_below(&w->rng, 1000000) < expected * 1e6) {
                    (void)request(w, i, "a");
                }
            }
            if (!w->g[i].dead && w->now_ns >= w->g[i].next_ns) {
                exchange(w, i);
                w->g[i].next_ns = w->now_ns + w->period_ns + vv_rng_below(&w->rng, 5 * VV_MS);
            }
        }
    }
}

static uint64_t passed(const struct world *w)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < GATEWAYS; i++) {
        sum += w->g[i].passed;
    }
    return sum;
}

static void check_near(uint64_t got, double want, double part)
{
    if ((double)got < want * (1 - part) || (double)got > want * (1 + part)) {
        print_error("%llu passed, %.0f +- %.1f %% wanted\n", (unsigned long long)got, want,
                    100 * part);
        VV_CHECK(false);
    }
}

/* ---- sums ---- */

static const double mixes[][GATEWAYS] = {
    {300, 300, 300}, /* even */
    {800, 100, 20},  /* uneven */
    {900, 0.5, 0},   /* one of them nearly idle */
    {95, 10, 5},     /* hardly more than there is */
    {5000, 2000, 500},
};

VV_TEST(rate_over_three_gateways_is_one_rate_for_any_mix_of_demand)
{
    for (size_t m = 0; m < VV_COUNT(mixes); m++) {
        struct world w;
        world_up(&w, VV_LIMIT_RATE, 100, VV_SEC, 101);
        run(&w, VV_MINUTE, mixes[m]);
        check_near(passed(&w), 101 + 6000, 0.02);
        VV_CHECK(w.g[1].passed > 0 || mixes[m][1] < 1);
        world_down(&w);
    }
}

VV_TEST(rate_of_a_plan_by_the_hour_is_one_rate_too)
{
    struct world w;
    /* 10000/h, 500 at once: in a minute 500 and 166.7 more. */
    world_up(&w, VV_LIMIT_RATE, 10000, VV_HOUR, 500);
    run(&w, VV_MINUTE, (const double[]){40, 20, 5});
    check_near(passed(&w), 666, 0.02);
    world_down(&w);
}

VV_TEST(rate_without_a_burst_is_not_lost_between_gateways)
{
    struct world w;
    world_up(&w, VV_LIMIT_RATE, 5, VV_SEC,
             1); /* less than one in an exchange: none may be cut in three */
    run(&w, VV_MINUTE, (const double[]){3000, 2000, 1000}); /* someone asks when one is there */
    check_near(passed(&w), 301, 0.02);
    world_down(&w);
    world_up(&w, VV_LIMIT_RATE, 1000, VV_SEC, 11);
    run(&w, VV_MINUTE, (const double[]){3000, 2000, 1000});
    check_near(passed(&w), 60011, 0.02);
    world_down(&w);
}

VV_TEST(rate_follows_demand_that_moves)
{
    struct world w;
    world_up(&w, VV_LIMIT_RATE, 100, VV_SEC, 101);
    for (int i = 0; i < 12; i++) { /* 5 s each */
        double demand[GATEWAYS] = {30, 30, 30};
        demand[i % GATEWAYS] = 1000;
        run(&w, 5 * VV_SEC, demand);
    }
    check_near(passed(&w), 101 + 6000, 0.02);
    world_down(&w);
}

VV_TEST(rate_with_room_refuses_nobody)
{
    struct world w;
    world_up(&w, VV_LIMIT_RATE, 100, VV_SEC, 101);
    run(&w, 30 * VV_SEC, (const double[]){40, 20, 5});
    VV_CHECK_INT(passed(&w), w.g[0].asked + w.g[1].asked + w.g[2].asked);
    world_down(&w);
}

VV_TEST(a_burst_at_one_gateway_has_all_of_it_after_the_first_answer)
{
    struct world w;
    world_up(&w, VV_LIMIT_RATE, 1, VV_MINUTE, 300);
    for (int i = 0; i < 400; i++) {
        (void)request(&w, 0, "a");
    }
    VV_CHECK_INT(passed(&w), 100); /* a newcomer's third */
    run(&w, 150 * VV_MS, (const double[]){0, 0, 0});
    for (int i = 0; i < 400; i++) {
        (void)request(&w, 0, "a");
    }
    VV_CHECK_INT(passed(&w), 300);
    run(&w, 150 * VV_MS, (const double[]){0, 0, 0});
    VV_CHECK(request(&w, 1, "a")); /* that nothing is left is heard a moment later: the slack */
    run(&w, 50 * VV_MS, (const double[]){0, 0, 0});
    VV_CHECK(!request(&w, 1, "a"));
    world_down(&w);
}

VV_TEST(a_gateway_that_dies_takes_less_than_one_burst_with_it)
{
    struct world w;
    const double demand[] = {500, 300, 100};
    world_up(&w, VV_LIMIT_RATE, 100, VV_SEC, 101);
    run(&w, 20 * VV_SEC, demand);
    w.g[0].dead = true; /* the one with most of the demand */
    run(&w, 40 * VV_SEC, demand);
    const double plan = 101 + 6000;
    VV_CHECK((double)passed(&w) <= plan + 101);
    VV_CHECK((double)passed(&w) >= plan - 101);
    world_down(&w);
}

VV_TEST(quota_over_three_gateways_is_one_quota)
{
    for (size_t m = 0; m < VV_COUNT(mixes); m++) {
        struct world w;
        world_up(&w, VV_LIMIT_WINDOW, 5000, VV_HOUR, 0);
        run(&w, VV_MINUTE, mixes[m]);
        /* What the others let pass in one exchange is the slack: of 7,500/s much of such a quota. */
        check_near(passed(&w), 5000, m + 1 < VV_COUNT(mixes) ? 0.02 : 0.2);
        world_down(&w);
    }
}

VV_TEST(quota_of_a_few_lets_each_of_them_pass_once)
{
    struct world w;
    world_up(&w, VV_LIMIT_WINDOW, 10, VV_HOUR, 0);
    run(&w, 10 * VV_SEC, (const double[]){20, 5, 5});
    VV_CHECK(passed(&w) >= 10 && passed(&w) <= 12); /* two more: the last request, three times */
    world_down(&w);
}

/* ---- the store goes and comes ---- */

static void all_alone(struct world *w, bool alone)
{
    w->away = alone;
    for (size_t i = 0; i < GATEWAYS; i++) {
        vv_shares_alone(w->g[i].shares, w->g[i].limits, alone, w->now_ns);
    }
}

VV_TEST(without_a_store_each_keeps_the_limit_and_afterwards_they_agree)
{
    struct world w;
    const double demand[] = {500, 300, 200};
    world_up(&w, VV_LIMIT_RATE, 100, VV_SEC, 101);
    run(&w, 20 * VV_SEC, demand);
    check_near(passed(&w), 2101, 0.02);
    all_alone(&w, true);
    uint64_t before = passed(&w);
    run(&w, 20 * VV_SEC, demand);
    check_near(passed(&w) - before, 6000, 0.02); /* three times 100/s, and no further burst */
    all_alone(&w, false);
    before = passed(&w);
    run(&w, 20 * VV_SEC, demand);
    check_near(passed(&w) - before, 2000, 0.02);
    world_down(&w);
}

VV_TEST(quota_without_a_store_goes_on_where_it_was)
{
    struct world w;
    const double demand[] = {50, 30, 20};
    world_up(&w, VV_LIMIT_WINDOW, 1000, VV_HOUR, 0);
    run(&w, 5 * VV_SEC, demand);
    check_near(passed(&w), 500, 0.15);
    all_alone(&w, true);
    run(&w, VV_MINUTE, demand);
    VV_CHECK(passed(&w) > 1000 &&
             passed(&w) < 3 * 1000); /* each its own, the 500 counted for all */
    all_alone(&w, false);
    const uint64_t before = passed(&w);
    run(&w, VV_MINUTE, demand);
    VV_CHECK(passed(&w) - before <= 3);
    world_down(&w);
}

VV_TEST(what_may_not_have_arrived_is_told_again_and_counted_once)
{
    struct world w;
    struct vv_share *e;
    struct vv_share_question q, again;
    world_up(&w, VV_LIMIT_RATE, 100, VV_SEC, 101);
    struct gateway *g = &w.g[0];
    for (int i = 0; i < 10; i++) {
        VV_CHECK(request(&w, 0, "a"));
    }
    VV_CHECK_INT(vv_shares_collect(g->shares, 0, w.now_ns, &e, 1), 1);
    vv_share_ask(g->shares, g->limits, e, w.now_ns, &q);
    VV_CHECK_INT(q.passed, 10);
    (void)answer(&w.cell[0], 0, &q, store_us(&w)); /* the store heard it, the answer is lost */
    vv_share_lost(g->shares, e);
    VV_CHECK(request(&w, 0, "a"));
    VV_CHECK_INT(vv_shares_collect(g->shares, 0, w.now_ns + VV_SHARE_ROUND_NS, &e, 1), 1);
    vv_share_ask(g->shares, g->limits, e, w.now_ns, &again);
    VV_CHECK_INT(again.passed, 10);
    VV_CHECK_INT(again.turn, q.turn);
    struct vv_share_answer a = answer(&w.cell[0], 0, &again, store_us(&w));
    VV_CHECK_INT(a.debt_us, 100000); /* 10 requests of 10 ms */
    vv_share_answered(g->shares, g->limits, e, &a, w.now_ns, w.now_ns);
    VV_CHECK_INT(vv_shares_collect(g->shares, 0, w.now_ns + VV_SHARE_ROUND_NS, &e, 1), 1);
    vv_share_ask(g->shares, g->limits, e, w.now_ns, &q);
    VV_CHECK_INT(q.passed, 1); /* the one that came meanwhile */
    VV_CHECK(q.turn != again.turn);
    world_down(&w);
}

VV_TEST(a_lying_store_breaks_nothing)
{
    static const struct vv_share_answer lies[] = {
        {.debt_us = UINT64_MAX, .before = UINT64_MAX, .current = UINT64_MAX, .part = 0},
        {.debt_us = 0, .part = -5},
        {.debt_us = 0, .part = 1e300},
        {.debt_us = 1, .part = 0.0 / 0.0},
    };
    for (size_t i = 0; i < 2 * VV_COUNT(lies); i++) {
        struct world w;
        struct vv_share *e;
        const enum vv_limit_kind kind = i % 2 == 0 ? VV_LIMIT_RATE : VV_LIMIT_WINDOW;
        world_up(&w, kind, 100, VV_SEC, 101);
        VV_CHECK(request(&w, 0, "a"));
        VV_CHECK_INT(vv_shares_collect(w.g[0].shares, 0, w.now_ns, &e, 1), 1);
        vv_share_answered(w.g[0].shares, w.g[0].limits, e, &lies[i / 2], w.now_ns, w.now_ns);
        (void)request(&w, 0, "a");
        w.now_ns += 100 * VV_SEC;
        (void)request(&w, 0, "a");
        world_down(&w);
    }
}

VV_TEST(the_hottest_keys_are_told_first_and_idle_ones_are_forgotten)
{
    struct world w;
    struct vv_share *e;
    struct vv_share_question q;
    struct vv_shares_stats stats;
    world_up(&w, VV_LIMIT_RATE, 100, VV_SEC, 101);
    struct gateway *g = &w.g[0];
    /* "a" and "i" are of one group: 0 and 8. */
    (void)request(&w, 0, "a");
    for (int i = 0; i < 5; i++) {
        (void)request(&w, 0, "i");
    }
    w.now_ns += VV_MS;
    VV_CHECK_INT(vv_shares_collect(g->shares, 0, w.now_ns, &e, 1), 1);
    vv_share_ask(g->shares, g->limits, e, w.now_ns, &q);
    VV_CHECK_INT(q.passed, 5);
    vv_share_lost(g->shares, e);
    vv_shares_look(g->shares, &stats);
    VV_CHECK_INT(stats.keys, 2);
    VV_CHECK_INT(stats.waiting, 2);
    VV_CHECK_INT(stats.gateways, 3);
    vv_shares_alone(g->shares, g->limits, true, w.now_ns);
    vv_shares_sweep(g->shares, w.now_ns + VV_SEC);
    vv_shares_look(g->shares, &stats);
    VV_CHECK_INT(stats.keys, 2);
    vv_shares_sweep(g->shares, w.now_ns + VV_SHARE_FORGET_NS);
    vv_shares_look(g->shares, &stats);
    VV_CHECK_INT(stats.keys, 0);
    VV_CHECK(request(&w, 0, "b")); /* in a place that was another's */
    world_down(&w);
}

VV_TEST(more_keys_than_room_are_limited_all_the_same)
{
    struct vv_limits *l = NULL;
    struct vv_shares *s = NULL;
    struct vv_limit limit;
    struct vv_shares_stats stats;
    uint64_t all = 0;
    VV_CHECK_INT(vv_limits_new(100000, 1, &l), VV_OK);
    VV_CHECK_INT(vv_shares_new(64, name_of, &s), VV_OK);
    VV_CHECK_INT(vv_limit_init(&limit, VV_LIMIT_RATE, 1, 1, VV_HOUR, 30), VV_OK);
    limit.shares = s;
    vv_shares_gateways(s, 3);
    vv_shares_alone(s, l, false, START);
    for (uint64_t key = 0; key < 1000; key++) {
        for (int i = 0; i < 40; i++) {
            const struct vv_limit_ask ask = {&limit, {(const char *)&key, sizeof key}, 1};
            struct vv_limit_grant grant;
            all += vv_limits_take(l, &ask, 1, START, &grant, NULL);
        }
    }
    VV_CHECK_INT(all, 1000 * 10); /* a third of 30 each */
    vv_shares_look(s, &stats);
    VV_CHECK_INT(stats.keys, 64);
    VV_CHECK(stats.untold >= 900 * 40);
    vv_limits_free(l);
    vv_shares_free(s);
}

/* ---- threads ---- */

#define THREADS 3
struct worker {
    struct gateway *g;
    uint64_t seed, passed;
};

static void *ask_and_ask(void *arg)
{
    struct worker *w = arg;
    struct vv_rng rng;
    vv_rng_init(&rng, w->seed);
    for (uint64_t i = 0; i < 60000; i++) {
        const char key[2] = {(char)('a' + vv_rng_below(&rng, 4)), '\0'};
        const struct vv_limit_ask ask = {&w->g->limit, vv_str_from(key), 1};
        struct vv_limit_grant grant;
        w->passed += vv_limits_take(w->g->limits, &ask, 1, START + i * VV_US, &grant, NULL);
    }
    return NULL;
}

VV_TEST(threads_decide_while_one_talks_and_nothing_is_told_twice_or_never)
{
    struct world w;
    struct worker work[THREADS];
    pthread_t thread[THREADS];
    uint64_t told = 0, passed_all = 0;
    world_up(&w, VV_LIMIT_RATE, 1, VV_SEC, 1000000);
    struct gateway *g = &w.g[0];
    for (uint64_t i = 0; i < THREADS; i++) {
        work[i] = (struct worker){.g = g, .seed = i};
        VV_CHECK_INT(pthread_create(&thread[i], NULL, ask_and_ask, &work[i]), 0);
    }
    for (int round = 0; round < 300; round++) {
        if (round == 200) { /* the rest of the counts */
            for (size_t i = 0; i < THREADS; i++) {
                VV_CHECK_INT(pthread_join(thread[i], NULL), 0);
                passed_all += work[i].passed;
            }
        }
        w.now_ns += VV_SHARE_ROUND_NS;
        for (unsigned group = 0; group < VV_SHARE_GROUPS; group++) {
            struct vv_share *keys[VV_SHARE_BATCH];
            const size_t n = vv_shares_collect(g->shares, group, w.now_ns, keys, VV_SHARE_BATCH);
            for (size_t i = 0; i < n; i++) {
                struct vv_share_question q;
                vv_share_ask(g->shares, g->limits, keys[i], w.now_ns, &q);
                told += q.passed;
                const struct vv_share_answer a = answer(&w.cell[q.name[0]], 0, &q, store_us(&w));
                vv_share_answered(g->shares, g->limits, keys[i], &a, w.now_ns, w.now_ns);
            }
        }
        vv_shares_sweep(g->shares, START); /* by the clock of those who ask */
    }
    VV_CHECK_INT(told, passed_all);
    VV_CHECK(told > 0);
    world_down(&w);
}
