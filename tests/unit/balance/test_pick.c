/* tests/unit/balance/test_pick.c - who gets the request: shares, load, latency, keys. Time is made
 * up. */
#include "pool.h"

static const uint32_t weights[] = {3, 3, 2};

static void check_shares(enum vv_balancer balancer)
{
    struct pool p;
    const struct vv_service_conf conf = pool_conf(balancer);
    pool_open(&p, &conf, weights, 3);
    int got[3] = {0};
    for (int i = 0; i < 8000; i++) {
        got[pool_request(&p, (uint64_t)i * VV_MS, VV_OUTCOME_OK)]++;
    }
    VV_CHECK_INT(got[0], 3000); /* 8,000 / (3 + 3 + 2) x weight */
    VV_CHECK_INT(got[1], 3000);
    VV_CHECK_INT(got[2], 2000);
    pool_close(&p);
}

VV_TEST(round_robin_shares_8000_requests_by_weight)
{
    check_shares(VV_BALANCER_ROUND_ROBIN);
}

VV_TEST(least_conn_shares_requests_one_after_the_other_by_weight)
{
    check_shares(VV_BALANCER_LEAST_CONN);
}

VV_TEST(round_robin_spreads_the_turns_of_a_heavy_server)
{
    struct pool p;
    const uint32_t heavy[] = {5, 1, 1};
    const struct vv_service_conf conf = pool_conf(VV_BALANCER_ROUND_ROBIN);
    pool_open(&p, &conf, heavy, 3);
    int last = -1;
    int run = 0;
    int longest = 0;
    for (int i = 0; i < 70; i++) {
        const int got = pool_request(&p, 0, VV_OUTCOME_OK);
        run = got == last ? run + 1 : 1;
        longest = run > longest ? run : longest;
        last = got;
    }
    /* a a b a c a a: at most four in a row where two periods meet, not five */
    VV_CHECK(longest <= 4);
    pool_close(&p);
}

VV_TEST(pickers_with_different_seeds_do_not_begin_in_step)
{
    struct pool p;
    const struct vv_service_conf conf = pool_conf(VV_BALANCER_ROUND_ROBIN);
    pool_open(&p, &conf, NULL, 8);
    unsigned seen = 0;
    for (uint64_t seed = 0; seed < 32; seed++) {
        struct vv_picker *other = NULL;
        struct vv_server *s = NULL;
        const struct vv_pick how = {.now_ns = 1};
        VV_CHECK_INT(vv_picker_new(p.state, seed, &other), VV_OK);
        VV_CHECK_INT(vv_balance_pick(other, &how, &s), VV_OK);
        for (unsigned i = 0; i < 8; i++) {
            seen |= p.set->server[i] == s ? 1u << i : 0;
        }
        vv_balance_done(s, VV_OUTCOME_OK, 1, 1, NULL);
        vv_picker_free(other);
    }
    VV_CHECK(__builtin_popcount(seen) >= 6); /* of 8; one if they were in step */
    pool_close(&p);
}

/* Closed loop of `users` over servers with the given service times; counts who served how much. */
static void run_loop(struct pool *p, const uint64_t *takes_ns, int users, uint64_t until_ns,
                     int *served)
{
    struct {
        int server;
        uint64_t began_ns, ends_ns;
    } user[64];
    uint64_t now_ns = VV_SEC;
    for (int u = 0; u < users; u++) {
        user[u].server = pool_pick(p, now_ns);
        user[u].began_ns = now_ns;
        user[u].ends_ns = now_ns + takes_ns[user[u].server];
    }
    while (now_ns < until_ns) {
        int next = 0;
        for (int u = 1; u < users; u++) {
            next = user[u].ends_ns < user[next].ends_ns ? u : next;
        }
        now_ns = user[next].ends_ns;
        served[user[next].server]++;
        vv_balance_done(p->set->server[user[next].server], VV_OUTCOME_OK,
                        now_ns - user[next].began_ns, now_ns, NULL);
        user[next].server = pool_pick(p, now_ns);
        user[next].began_ns = now_ns;
        user[next].ends_ns = now_ns + takes_ns[user[next].server];
    }
    for (int u = 0; u < users; u++) {
        vv_balance_done(p->set->server[user[u].server], VV_OUTCOME_ABANDONED, 0, now_ns, NULL);
    }
}

static void check_slower_gets_fewer(enum vv_balancer balancer, double at_most)
{
    struct pool p;
    const struct vv_service_conf conf = pool_conf(balancer);
    const uint64_t takes_ns[] = {10 * VV_MS, 10 * VV_MS, 40 * VV_MS};
    int served[3] = {0};
    pool_open(&p, &conf, NULL, 3);
    run_loop(&p, takes_ns, 12, 20 * VV_SEC, served);
    const double all = served[0] + served[1] + served[2];
    VV_CHECK((double)served[2] / all <= at_most);
    VV_CHECK(served[2] > 0);
    VV_CHECK((double)served[0] / all > 0.3 && (double)served[1] / all > 0.3);
    pool_close(&p);
}

/* Four users at each server: rates 4/10, 4/10 and 4/40 per ms, so the slow one serves 1/9. Random
 * of two leaves a little more to it; latency in the measure leaves less. */
VV_TEST(least_conn_gives_a_slower_server_fewer_requests)
{
    check_slower_gets_fewer(VV_BALANCER_LEAST_CONN, 0.12);
}

VV_TEST(random_two_gives_a_slower_server_fewer_requests)
{
    check_slower_gets_fewer(VV_BALANCER_RANDOM_TWO, 0.16);
}

VV_TEST(peak_ewma_gives_a_slower_server_fewer_requests)
{
    check_slower_gets_fewer(VV_BALANCER_PEAK_EWMA, 0.06);
}

VV_TEST(peak_ewma_asks_a_server_again_that_was_slow_long_ago)
{
    struct pool p;
    const struct vv_service_conf conf = pool_conf(VV_BALANCER_PEAK_EWMA);
    pool_open(&p, &conf, NULL, 2);
    const uint64_t now_ns = VV_SEC;
    for (int i = 0; i < 2; i++) {
        const int got = pool_pick(&p, now_ns);
        vv_balance_done(p.set->server[got], VV_OUTCOME_OK, got == 0 ? VV_SEC : 10 * VV_MS, now_ns,
                        NULL);
    }
    VV_CHECK_INT(pool_request(&p, 2 * VV_SEC, VV_OUTCOME_OK), 1);
    /* 1 s fades below 1 ms after ten half-lives of 6.9 s; the other is kept fresh at about 1 ms */
    bool again = false;
    for (uint64_t t = 3; t < 120 && !again; t++) {
        again = pool_request(&p, t * VV_SEC, VV_OUTCOME_OK) == 0;
    }
    VV_CHECK(again);
    pool_close(&p);
}

static void check_fast_failures(enum vv_balancer balancer)
{
    struct pool p;
    struct vv_service_conf conf = pool_conf(balancer);
    conf.max_fails = 0; /* nobody is ejected: the measure alone must hold */
    pool_open(&p, &conf, NULL, 4);
    struct {
        uint64_t ends_ns;
        int server;
    } user[16];
    int served[4] = {0};
    uint64_t now_ns = VV_SEC;
    /* server 0 answers 500 in 1 ms, the others answer in 50 ms */
    for (int u = 0; u < 16; u++) {
        user[u].server = pool_pick(&p, now_ns);
        user[u].ends_ns = now_ns + (user[u].server == 0 ? VV_MS : 50 * VV_MS);
    }
    for (int n = 0; n < 5000; n++) {
        int next = 0;
        for (int u = 1; u < 16; u++) {
            next = user[u].ends_ns < user[next].ends_ns ? u : next;
        }
        const bool bad = user[next].server == 0;
        now_ns = user[next].ends_ns;
        served[user[next].server] += n >= 500;
        vv_balance_done(p.set->server[user[next].server], bad ? VV_OUTCOME_5XX : VV_OUTCOME_OK,
                        bad ? VV_MS : 50 * VV_MS, now_ns, NULL);
        user[next].server = pool_pick(&p, now_ns);
        user[next].ends_ns = now_ns + (user[next].server == 0 ? VV_MS : 50 * VV_MS);
    }
    for (int u = 0; u < 16; u++) {
        vv_balance_done(p.set->server[user[u].server], VV_OUTCOME_ABANDONED, 0, now_ns, NULL);
    }
    /* a fair share is a quarter; by in-flight counts alone it would be far over nine tenths */
    VV_CHECK(served[0] * 4 <= 4500);
    pool_close(&p);
}

VV_TEST(fast_failures_do_not_attract_traffic_under_least_conn)
{
    check_fast_failures(VV_BALANCER_LEAST_CONN);
}

VV_TEST(fast_failures_do_not_attract_traffic_under_peak_ewma)
{
    check_fast_failures(VV_BALANCER_PEAK_EWMA);
}

VV_TEST(fast_failures_do_not_attract_traffic_under_random_two)
{
    check_fast_failures(VV_BALANCER_RANDOM_TWO);
}

VV_TEST(random_two_shares_by_weight)
{
    struct pool p;
    const struct vv_service_conf conf = pool_conf(VV_BALANCER_RANDOM_TWO);
    pool_open(&p, &conf, weights, 3);
    int got[3] = {0};
    for (int i = 0; i < 8000; i++) {
        got[pool_request(&p, (uint64_t)i * VV_MS, VV_OUTCOME_OK)]++;
    }
    /* the first draw decides while all are idle: binomial, sd = sqrt(8000 x 3/8 x 5/8) = 43 */
    VV_CHECK(got[0] > 2750 && got[0] < 3250);
    VV_CHECK(got[2] > 1750 && got[2] < 2250);
    pool_close(&p);
}

VV_TEST(peak_ewma_with_many_servers_uses_them_all)
{
    struct pool p;
    const struct vv_service_conf conf = pool_conf(VV_BALANCER_PEAK_EWMA);
    pool_open(&p, &conf, NULL, 40);
    unsigned got[40] = {0};
    for (int i = 0; i < 8000; i++) {
        got[pool_request(&p, VV_SEC + (uint64_t)i * VV_MS, VV_OUTCOME_OK)]++;
    }
    for (int i = 0; i < 40; i++) {
        VV_CHECK(got[i] > 100); /* 200 each would be even */
    }
    pool_close(&p);
}

static int pick_key(struct pool *p, uint64_t key)
{
    struct vv_server *s = NULL;
    const struct vv_pick how = {.now_ns = VV_SEC, .has_key = true, .key = key};
    VV_CHECK_INT(vv_balance_pick(p->picker, &how, &s), VV_OK);
    for (size_t i = 0; i < p->count; i++) {
        if (strcmp(p->name[i], s->name) == 0) {
            vv_balance_done(s, VV_OUTCOME_OK, VV_MS, VV_SEC, NULL);
            return (int)i;
        }
    }
    return -1;
}

VV_TEST(hash_keeps_a_key_and_spreads_keys_evenly)
{
    struct pool p;
    const struct vv_service_conf conf = pool_conf(VV_BALANCER_HASH);
    pool_open(&p, &conf, NULL, 10);
    int got[10] = {0};
    for (uint64_t key = 0; key < 10000; key++) {
        const int first = pick_key(&p, key);
        got[first]++;
        VV_CHECK_INT(pick_key(&p, key), first);
    }
    for (int i = 0; i < 10; i++) {
        VV_CHECK(got[i] > 750 && got[i] < 1250); /* 1,000; sd of 256 points: 6 %, four of them */
    }
    pool_close(&p);
}

VV_TEST(hash_moves_only_the_keys_of_a_removed_server)
{
    struct pool p;
    const struct vv_service_conf conf = pool_conf(VV_BALANCER_HASH);
    static int before[10000];
    pool_open(&p, &conf, NULL, 10);
    for (uint64_t key = 0; key < 10000; key++) {
        before[key] = pick_key(&p, key);
    }
    VV_CHECK_INT(vv_service_state_set(p.state, p.spec, 9, VV_SEC), VV_OK);
    int moved = 0;
    for (uint64_t key = 0; key < 10000; key++) {
        const int now = pick_key(&p, key);
        VV_CHECK(before[key] == 9 || now == before[key]);
        moved += now != before[key];
    }
    VV_CHECK(moved > 700 && moved < 1300); /* one of ten, and nobody else's */
    pool_close(&p);
}

VV_TEST(hash_bounds_the_load_of_a_hot_key)
{
    struct pool p;
    struct vv_service_conf conf = pool_conf(VV_BALANCER_HASH);
    struct vv_server *held[100];
    pool_open(&p, &conf, NULL, 10);
    for (int i = 0; i < 100; i++) { /* all with the same key, none ends */
        const struct vv_pick how = {.now_ns = VV_SEC, .has_key = true, .key = 42};
        VV_CHECK_INT(vv_balance_pick(p.picker, &how, &held[i]), VV_OK);
    }
    uint32_t most = 0;
    for (size_t i = 0; i < 10; i++) {
        const uint32_t load = atomic_load(&p.set->server[i]->in_flight);
        most = load > most ? load : most;
    }
    VV_CHECK_INT(most, 13); /* ceil(1.25 x 100 / 10) */
    for (int i = 0; i < 100; i++) {
        vv_balance_done(held[i], VV_OUTCOME_OK, VV_MS, VV_SEC, NULL);
    }
    pool_close(&p);
}

VV_TEST(hash_without_a_key_spreads_requests)
{
    struct pool p;
    const struct vv_service_conf conf = pool_conf(VV_BALANCER_HASH);
    pool_open(&p, &conf, NULL, 4);
    int got[4] = {0};
    for (int i = 0; i < 1000; i++) {
        got[pool_request(&p, VV_SEC, VV_OUTCOME_OK)]++;
    }
    for (int i = 0; i < 4; i++) {
        VV_CHECK(got[i] > 150);
    }
    pool_close(&p);
}

VV_TEST(a_sticky_server_is_taken_while_it_is_usable)
{
    struct pool p;
    const struct vv_service_conf conf = pool_conf(VV_BALANCER_LEAST_CONN);
    pool_open(&p, &conf, NULL, 3);
    struct vv_server *want = p.set->server[2];
    struct vv_server *s = NULL;
    const struct vv_pick how = {.now_ns = VV_SEC, .sticky = true, .key = want->index_hash};
    for (int i = 0; i < 5; i++) {
        VV_CHECK_INT(vv_balance_pick(p.picker, &how, &s), VV_OK);
        VV_CHECK(s == want);
        vv_balance_done(s, VV_OUTCOME_OK, VV_MS, VV_SEC, NULL);
    }
    vv_server_drain(want, true, VV_SEC);
    VV_CHECK_INT(vv_balance_pick(p.picker, &how, &s), VV_OK);
    VV_CHECK(s != want);
    vv_balance_done(s, VV_OUTCOME_OK, VV_MS, VV_SEC, NULL);
    pool_close(&p);
}

VV_TEST(tried_servers_are_not_picked_again)
{
    for (int b = 0; b < VV_BALANCER_COUNT; b++) {
        struct pool p;
        const struct vv_service_conf conf = pool_conf((enum vv_balancer)b);
        pool_open(&p, &conf, NULL, 3);
        struct vv_pick how = {.now_ns = VV_SEC};
        for (int i = 0; i < 3; i++) {
            struct vv_server *s = NULL;
            VV_CHECK_INT(vv_balance_pick(p.picker, &how, &s), VV_OK);
            for (size_t k = 0; k < how.tried_count; k++) {
                VV_CHECK(how.tried[k] != s);
            }
            vv_balance_done(s, VV_OUTCOME_OK, VV_MS, VV_SEC, NULL);
            how.tried[how.tried_count++] = s;
        }
        struct vv_server *none = NULL;
        VV_CHECK_INT(vv_balance_pick(p.picker, &how, &none), VV_ENOENT);
        VV_CHECK(none == NULL);
        pool_close(&p);
    }
}

VV_TEST(a_service_without_servers_says_so)
{
    for (int b = 0; b < VV_BALANCER_COUNT; b++) {
        struct pool p;
        const struct vv_service_conf conf = pool_conf((enum vv_balancer)b);
        pool_open(&p, &conf, NULL, 0);
        VV_CHECK_INT(pool_pick(&p, VV_SEC), -1);
        pool_close(&p);
    }
}

VV_TEST(balancers_are_called_as_in_the_file)
{
    VV_CHECK_STR(vv_balancer_name(VV_BALANCER_LEAST_CONN), "least_conn");
    VV_CHECK_STR(vv_balancer_name(VV_BALANCER_HASH), "hash");
}
