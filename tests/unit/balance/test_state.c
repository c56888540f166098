/* tests/unit/balance/test_state.c - ejection, return, checks, draining, replaced sets. No test
 * sleeps. */
#include "pool.h"

static enum vv_server_state state_of(const struct pool *p, size_t i)
{
    return (enum vv_server_state)atomic_load(&p->set->server[i]->state);
}

static void eject(struct pool *p, size_t i, uint64_t now_ns)
{
    VV_CHECK(pool_outcome(p, i, VV_OUTCOME_CONNECT, now_ns) == NULL);
    VV_CHECK(pool_outcome(p, i, VV_OUTCOME_TIMEOUT, now_ns) == NULL);
    VV_CHECK_STR(pool_outcome(p, i, VV_OUTCOME_BROKEN, now_ns), "max_fails");
}

VV_TEST(three_failures_inside_30_s_put_a_server_out_for_30_s)
{
    struct pool p;
    const struct vv_service_conf conf = pool_conf(VV_BALANCER_LEAST_CONN);
    pool_open(&p, &conf, NULL, 3);
    VV_CHECK(pool_outcome(&p, 0, VV_OUTCOME_CONNECT, 100 * VV_SEC) == NULL);
    VV_CHECK(pool_outcome(&p, 0, VV_OUTCOME_CONNECT, 115 * VV_SEC) == NULL);
    VV_CHECK(vv_server_usable(p.set->server[0], 130 * VV_SEC));
    VV_CHECK_STR(pool_outcome(&p, 0, VV_OUTCOME_CONNECT, 130 * VV_SEC), "max_fails");
    VV_CHECK_INT(state_of(&p, 0), VV_SERVER_EJECTED);
    VV_CHECK(!vv_server_usable(p.set->server[0], 130 * VV_SEC));
    VV_CHECK(!vv_server_usable(p.set->server[0], 160 * VV_SEC - 1));
    VV_CHECK(vv_server_usable(p.set->server[0], 160 * VV_SEC));
    for (int i = 0; i < 20; i++) {
        VV_CHECK(pool_request(&p, 159 * VV_SEC, VV_OUTCOME_OK) != 0);
    }
    pool_close(&p);
}

VV_TEST(three_failures_over_more_than_30_s_do_nothing)
{
    struct pool p;
    const struct vv_service_conf conf = pool_conf(VV_BALANCER_LEAST_CONN);
    pool_open(&p, &conf, NULL, 3);
    VV_CHECK(pool_outcome(&p, 0, VV_OUTCOME_CONNECT, 100 * VV_SEC) == NULL);
    VV_CHECK(pool_outcome(&p, 0, VV_OUTCOME_CONNECT, 129 * VV_SEC) == NULL);
    VV_CHECK(pool_outcome(&p, 0, VV_OUTCOME_CONNECT, 131 * VV_SEC) == NULL);
    VV_CHECK_INT(state_of(&p, 0), VV_SERVER_UP);
    /* but the window slides: 129, 131 and 133 are three inside 30 s */
    VV_CHECK_STR(pool_outcome(&p, 0, VV_OUTCOME_CONNECT, 133 * VV_SEC), "max_fails");
    pool_close(&p);
}

VV_TEST(a_success_between_failures_does_not_undo_them)
{
    struct pool p;
    const struct vv_service_conf conf = pool_conf(VV_BALANCER_LEAST_CONN);
    pool_open(&p, &conf, NULL, 3);
    for (int i = 0; i < 2; i++) {
        VV_CHECK(pool_outcome(&p, 0, VV_OUTCOME_CONNECT, 100 * VV_SEC) == NULL);
        VV_CHECK(pool_outcome(&p, 0, VV_OUTCOME_OK, 100 * VV_SEC) == NULL);
    }
    VV_CHECK_STR(pool_outcome(&p, 0, VV_OUTCOME_CONNECT, 101 * VV_SEC), "max_fails");
    pool_close(&p);
}

VV_TEST(an_answer_of_500_or_a_client_that_left_is_no_failure_for_max_fails)
{
    struct pool p;
    const struct vv_service_conf conf = pool_conf(VV_BALANCER_LEAST_CONN);
    pool_open(&p, &conf, NULL, 3);
    for (int i = 0; i < 50; i++) {
        VV_CHECK(pool_outcome(&p, 0, VV_OUTCOME_5XX, 100 * VV_SEC) == NULL);
        VV_CHECK(pool_outcome(&p, 0, VV_OUTCOME_ABANDONED, 100 * VV_SEC) == NULL);
    }
    VV_CHECK_INT(state_of(&p, 0), VV_SERVER_UP);
    pool_close(&p);
}

/* How many of n picks at one moment meet server 0; the requests stay out. */
static int meets_first(struct pool *p, int n, uint64_t now_ns, struct vv_server **held)
{
    int met = 0;
    const struct vv_pick how = {.now_ns = now_ns};
    for (int i = 0; i < n; i++) {
        VV_CHECK_INT(vv_balance_pick(p->picker, &how, &held[i]), VV_OK);
        met += held[i] == p->set->server[0];
    }
    return met;
}

VV_TEST(after_the_time_one_request_probes_and_its_success_brings_the_server_back)
{
    struct pool p;
    const struct vv_service_conf conf = pool_conf(VV_BALANCER_ROUND_ROBIN);
    struct vv_server *held[30];
    pool_open(&p, &conf, NULL, 3);
    eject(&p, 0, 100 * VV_SEC);
    VV_CHECK_INT(meets_first(&p, 30, 130 * VV_SEC, held), 1);
    VV_CHECK_INT(state_of(&p, 0), VV_SERVER_EJECTED);
    for (int i = 0; i < 30; i++) {
        vv_balance_done(held[i], VV_OUTCOME_OK, VV_MS, 131 * VV_SEC, NULL);
    }
    VV_CHECK_INT(state_of(&p, 0), VV_SERVER_UP);
    VV_CHECK_INT(meets_first(&p, 30, 132 * VV_SEC, held), 10); /* a third again */
    for (int i = 0; i < 30; i++) {
        vv_balance_done(held[i], VV_OUTCOME_OK, VV_MS, 133 * VV_SEC, NULL);
    }
    pool_close(&p);
}

VV_TEST(a_failed_probe_puts_the_server_out_for_another_30_s_at_once)
{
    struct pool p;
    const struct vv_service_conf conf = pool_conf(VV_BALANCER_ROUND_ROBIN);
    struct vv_server *held[6];
    pool_open(&p, &conf, NULL, 3);
    eject(&p, 0, 100 * VV_SEC);
    VV_CHECK_INT(meets_first(&p, 6, 140 * VV_SEC, held), 1);
    for (int i = 0; i < 6; i++) {
        const bool probe = held[i] == p.set->server[0];
        vv_balance_done(held[i], probe ? VV_OUTCOME_CONNECT : VV_OUTCOME_OK, VV_MS, 141 * VV_SEC,
                        NULL);
    }
    VV_CHECK(!vv_server_usable(p.set->server[0], 171 * VV_SEC - 1));
    VV_CHECK(vv_server_usable(p.set->server[0], 171 * VV_SEC));
    pool_close(&p);
}

VV_TEST(a_probe_whose_client_left_is_given_to_the_next_request)
{
    struct pool p;
    const struct vv_service_conf conf = pool_conf(VV_BALANCER_ROUND_ROBIN);
    struct vv_server *held[3];
    pool_open(&p, &conf, NULL, 3);
    eject(&p, 0, 100 * VV_SEC);
    VV_CHECK_INT(meets_first(&p, 3, 130 * VV_SEC, held), 1);
    for (int i = 0; i < 3; i++) {
        vv_balance_done(held[i], VV_OUTCOME_ABANDONED, 0, 131 * VV_SEC, NULL);
    }
    VV_CHECK(vv_server_usable(p.set->server[0], 131 * VV_SEC));
    pool_close(&p);
}

VV_TEST(the_last_useful_server_is_never_ejected)
{
    struct pool p;
    const struct vv_service_conf conf = pool_conf(VV_BALANCER_LEAST_CONN);
    pool_open(&p, &conf, NULL, 1);
    for (int i = 0; i < 100; i++) {
        VV_CHECK(pool_outcome(&p, 0, VV_OUTCOME_CONNECT, 100 * VV_SEC) == NULL);
    }
    VV_CHECK_INT(pool_pick(&p, 100 * VV_SEC), 0);
    vv_balance_done(p.set->server[0], VV_OUTCOME_OK, VV_MS, 100 * VV_SEC, NULL);
    pool_close(&p);
}

VV_TEST(when_all_servers_fail_all_are_used_again)
{
    struct pool p;
    const struct vv_service_conf conf = pool_conf(VV_BALANCER_LEAST_CONN);
    pool_open(&p, &conf, NULL, 3);
    eject(&p, 0, 100 * VV_SEC);
    eject(&p, 1, 100 * VV_SEC); /* max_fails may put out all but one */
    VV_CHECK_INT(vv_service_state_panics(p.state), 0);
    for (int i = 0; i < 3; i++) {
        VV_CHECK(pool_outcome(&p, 2, VV_OUTCOME_CONNECT, 101 * VV_SEC) == NULL);
    }
    VV_CHECK_INT(vv_service_state_panics(p.state), 1);
    for (size_t i = 0; i < 3; i++) {
        VV_CHECK_INT(state_of(&p, i), VV_SERVER_UP);
    }
    pool_close(&p);
}

VV_TEST(an_ejected_server_is_used_when_the_others_are_down_or_draining)
{
    struct pool p;
    const struct vv_service_conf conf = pool_conf(VV_BALANCER_LEAST_CONN);
    pool_open(&p, &conf, NULL, 3);
    eject(&p, 0, 100 * VV_SEC);
    vv_server_check_result(p.set->server[1], false, 100 * VV_SEC);
    vv_server_drain(p.set->server[2], true, 100 * VV_SEC);
    VV_CHECK_INT(pool_pick(&p, 101 * VV_SEC), 0);
    /* and what it shows counts: a success brings it back before its time */
    vv_balance_done(p.set->server[0], VV_OUTCOME_OK, VV_MS, 101 * VV_SEC, NULL);
    VV_CHECK_INT(state_of(&p, 0), VV_SERVER_UP);
    pool_close(&p);
}

VV_TEST(when_checks_say_that_all_are_down_there_is_no_server)
{
    struct pool p;
    const struct vv_service_conf conf = pool_conf(VV_BALANCER_LEAST_CONN);
    pool_open(&p, &conf, NULL, 2);
    vv_server_check_result(p.set->server[0], false, VV_SEC);
    vv_server_check_result(p.set->server[1], false, VV_SEC);
    VV_CHECK_INT(state_of(&p, 0), VV_SERVER_DOWN);
    VV_CHECK_INT(pool_pick(&p, VV_SEC), -1);
    vv_server_check_result(p.set->server[1], true, 2 * VV_SEC);
    VV_CHECK_INT(pool_request(&p, 2 * VV_SEC, VV_OUTCOME_OK), 1);
    pool_close(&p);
}

VV_TEST(a_draining_server_finishes_what_it_has_and_takes_nothing_new)
{
    struct pool p;
    const struct vv_service_conf conf = pool_conf(VV_BALANCER_LEAST_CONN);
    pool_open(&p, &conf, NULL, 2);
    const int first = pool_pick(&p, VV_SEC);
    vv_server_drain(p.set->server[first], true, VV_SEC);
    VV_CHECK_STR(vv_server_state_name(state_of(&p, (size_t)first)), "draining");
    for (int i = 0; i < 10; i++) {
        VV_CHECK_INT(pool_request(&p, VV_SEC, VV_OUTCOME_OK), 1 - first);
    }
    VV_CHECK_INT(atomic_load(&p.set->server[first]->in_flight), 1);
    vv_balance_done(p.set->server[first], VV_OUTCOME_OK, VV_MS, VV_SEC, NULL);
    VV_CHECK_INT(atomic_load(&p.set->server[first]->in_flight), 0);
    vv_server_drain(p.set->server[0], true, VV_SEC);
    vv_server_drain(p.set->server[1], true, VV_SEC);
    VV_CHECK_INT(pool_pick(&p, VV_SEC), -1); /* no panic for what an operator ordered */
    pool_close(&p);
}

VV_TEST(slow_start_ramps_from_a_tenth_after_coming_back_but_not_at_first)
{
    struct pool p;
    struct vv_service_conf conf = pool_conf(VV_BALANCER_ROUND_ROBIN);
    conf.slow_start_ns = 100 * VV_SEC;
    pool_open(&p, &conf, NULL, 2);
    int got[2] = {0};
    for (int i = 0; i < 1000; i++) {
        got[pool_request(&p, VV_SEC, VV_OUTCOME_OK)]++;
    }
    VV_CHECK_INT(got[0], 500);
    vv_server_check_result(p.set->server[0], false, 10 * VV_SEC);
    vv_server_check_result(p.set->server[0], true, 1000 * VV_SEC);
    /* the share of server 0 is w / (w + 1): w = 0.1, then 0.1 + 0.9 / 2 = 0.55, then 1 */
    const struct {
        uint64_t at_s;
        int want;
    } row[] = {{1000, 1000}, {1050, 3903}, {1100, 5500}};
    for (size_t r = 0; r < VV_COUNT(row); r++) {
        got[0] = got[1] = 0;
        for (int i = 0; i < 11000; i++) {
            got[pool_request(&p, row[r].at_s * VV_SEC, VV_OUTCOME_OK)]++;
        }
        VV_CHECK(got[0] >= row[r].want - 2 && got[0] <= row[r].want + 2);
    }
    pool_close(&p);
}

VV_TEST(bad_answers_in_a_row_eject_longer_each_time)
{
    struct pool p;
    struct vv_service_conf conf = pool_conf(VV_BALANCER_ROUND_ROBIN);
    conf.outlier_consecutive = 5;
    pool_open(&p, &conf, NULL, 4);
    uint64_t now_ns = 1000 * VV_SEC;
    for (int i = 0; i < 4; i++) {
        VV_CHECK(pool_outcome(&p, 0, VV_OUTCOME_5XX, now_ns) == NULL);
    }
    VV_CHECK_STR(pool_outcome(&p, 0, VV_OUTCOME_5XX, now_ns), "consecutive");
    for (uint64_t n = 1; n <= 12; n++) { /* 30 s, 60 s ... 300 s, 300 s, 300 s */
        const uint64_t out_ns = 30 * VV_SEC * vv_min_u64(n, 10);
        VV_CHECK(!vv_server_usable(p.set->server[0], now_ns + out_ns - 1));
        VV_CHECK(vv_server_usable(p.set->server[0], now_ns + out_ns));
        now_ns += out_ns;
        int got = -1;
        while (got != 0) { /* the probe answers 500 again */
            got = pool_pick(&p, now_ns);
            vv_balance_done(p.set->server[got], got == 0 ? VV_OUTCOME_5XX : VV_OUTCOME_OK, VV_MS,
                            now_ns, NULL);
        }
    }
    pool_close(&p);
}

VV_TEST(a_server_that_stayed_up_long_enough_starts_a_new_story)
{
    struct pool p;
    struct vv_service_conf conf = pool_conf(VV_BALANCER_ROUND_ROBIN);
    conf.outlier_consecutive = 1;
    pool_open(&p, &conf, NULL, 4);
    VV_CHECK_STR(pool_outcome(&p, 0, VV_OUTCOME_5XX, 100 * VV_SEC), "consecutive");
    while (pool_request(&p, 130 * VV_SEC, VV_OUTCOME_OK) != 0) {
    }
    VV_CHECK_INT(state_of(&p, 0), VV_SERVER_UP);
    VV_CHECK_STR(pool_outcome(&p, 0, VV_OUTCOME_5XX, 159 * VV_SEC), "consecutive");
    VV_CHECK(
        !vv_server_usable(p.set->server[0], 159 * VV_SEC + 60 * VV_SEC - 1)); /* 29 s up: x 2 */
    while (pool_request(&p, 219 * VV_SEC, VV_OUTCOME_OK) != 0) {
    }
    VV_CHECK_STR(pool_outcome(&p, 0, VV_OUTCOME_5XX, 279 * VV_SEC), "consecutive");
    VV_CHECK(vv_server_usable(p.set->server[0], 279 * VV_SEC + 30 * VV_SEC)); /* 60 s up: x 1 */
    pool_close(&p);
}

VV_TEST(outliers_never_take_more_than_max_ejected_of_the_pool)
{
    struct pool p;
    struct vv_service_conf conf = pool_conf(VV_BALANCER_LEAST_CONN);
    conf.outlier_consecutive = 2;
    pool_open(&p, &conf, NULL, 6);
    int ejected = 0;
    for (size_t i = 0; i < 6; i++) {
        for (int n = 0; n < 4; n++) {
            ejected += pool_outcome(&p, i, VV_OUTCOME_5XX, 100 * VV_SEC) != NULL;
        }
    }
    VV_CHECK_INT(ejected, 3); /* half of six */
    pool_close(&p);
}

static void count_call(void *user, struct vv_server *server, const char *reason)
{
    int *calls = user;
    calls[0]++;
    calls[1] += strcmp(server->name, "server-9:80") == 0 && strcmp(reason, "success_rate") == 0;
}

VV_TEST(a_server_that_fails_far_more_often_than_the_others_is_an_outlier)
{
    struct pool p;
    struct vv_service_conf conf = pool_conf(VV_BALANCER_LEAST_CONN);
    conf.outlier_rate = 1;
    int calls[2] = {0, 0};
    pool_open(&p, &conf, NULL, 10);
    vv_balance_tick(p.state, 1 * VV_SEC, count_call, calls); /* begins the first interval */
    for (size_t i = 0; i < 10; i++) {
        for (int n = 0; n < 200; n++) { /* nine at 99 %, one at 70 % */
            const bool bad = n % 100 == 0 || (i == 9 && n % 100 < 30);
            pool_outcome(&p, i, bad ? VV_OUTCOME_5XX : VV_OUTCOME_OK, 5 * VV_SEC);
        }
    }
    vv_balance_tick(p.state, 10 * VV_SEC, count_call, calls);
    VV_CHECK_INT(calls[0], 0); /* judged every 10 s: not before 11 s */
    /* mean 96.1 %, sigma 8.7 %: the line is at 79.6 % */
    vv_balance_tick(p.state, 11 * VV_SEC, count_call, calls);
    VV_CHECK_INT(calls[0], 1);
    VV_CHECK_INT(calls[1], 1);
    VV_CHECK_INT(state_of(&p, 9), VV_SERVER_EJECTED);
    pool_close(&p);
}

VV_TEST(too_few_servers_or_requests_make_no_outlier)
{
    for (size_t servers = 4; servers <= 10; servers += 6) {
        struct pool p;
        struct vv_service_conf conf = pool_conf(VV_BALANCER_LEAST_CONN);
        conf.outlier_rate = 1;
        int calls[2] = {0, 0};
        pool_open(&p, &conf, NULL, servers);
        vv_balance_tick(p.state, 1 * VV_SEC, count_call, calls);
        for (size_t i = 0; i < servers; i++) {
            for (int n = 0; n < (servers == 4 ? 500 : 99); n++) {
                pool_outcome(&p, i, i == 0 ? VV_OUTCOME_5XX : VV_OUTCOME_OK, 5 * VV_SEC);
            }
        }
        vv_balance_tick(p.state, 11 * VV_SEC, count_call, calls);
        VV_CHECK_INT(calls[0], 0);
        pool_close(&p);
    }
}

VV_TEST(a_replaced_set_keeps_the_state_of_servers_that_stay)
{
    struct pool p;
    const struct vv_service_conf conf = pool_conf(VV_BALANCER_ROUND_ROBIN);
    pool_open(&p, &conf, NULL, 3);
    eject(&p, 0, 100 * VV_SEC);
    const int busy = pool_pick(&p, 100 * VV_SEC);
    pool_spec(&p, 3, 1);
    p.spec[1].weight = 7;
    VV_CHECK_INT(vv_service_state_set(p.state, p.spec, 4, 101 * VV_SEC), VV_OK);
    struct vv_server_set *now = vv_service_state_servers(p.state);
    VV_CHECK_INT(now->count, 4);
    VV_CHECK_INT(now->generation, p.set->generation + 1);
    for (size_t i = 0; i < 3; i++) {
        VV_CHECK(now->server[i] == p.set->server[i]);
    }
    VV_CHECK_INT(atomic_load(&now->server[1]->weight), 7);
    VV_CHECK(!vv_server_usable(now->server[0], 129 * VV_SEC));
    VV_CHECK_INT(atomic_load(&now->server[busy]->in_flight), 1);
    vv_balance_done(now->server[busy], VV_OUTCOME_OK, VV_MS, 102 * VV_SEC, NULL);
    bool seen = false; /* the picker has noticed */
    for (int i = 0; i < 20; i++) {
        struct vv_server *s = NULL;
        const struct vv_pick how = {.now_ns = 103 * VV_SEC};
        VV_CHECK_INT(vv_balance_pick(p.picker, &how, &s), VV_OK);
        seen |= s == now->server[3];
        vv_balance_done(s, VV_OUTCOME_OK, VV_MS, 103 * VV_SEC, NULL);
    }
    VV_CHECK(seen);
    vv_server_set_unref(now);
    pool_close(&p);
}

VV_TEST(another_address_or_name_is_another_server)
{
    struct pool p;
    const struct vv_service_conf conf = pool_conf(VV_BALANCER_ROUND_ROBIN);
    pool_open(&p, &conf, NULL, 2);
    const uint32_t hash = p.set->server[0]->index_hash;
    p.spec[0].addr.in4.sin_port = htons(9);
    VV_CHECK_INT(vv_service_state_set(p.state, p.spec, 2, VV_SEC), VV_OK);
    struct vv_server_set *now = vv_service_state_servers(p.state);
    VV_CHECK(now->server[0] != p.set->server[0]);
    VV_CHECK(now->server[1] == p.set->server[1]);
    VV_CHECK_INT(now->server[0]->index_hash, hash); /* it keeps its keys and cookies */
    vv_server_set_unref(now);
    pool_close(&p);
}

VV_TEST(one_name_with_two_addresses_makes_two_servers_that_hash_apart)
{
    struct pool p;
    const struct vv_service_conf conf = pool_conf(VV_BALANCER_HASH);
    pool_open(&p, &conf, NULL, 0);
    pool_spec(&p, 0, 1);
    pool_spec(&p, 1, 1);
    p.spec[1].name = p.spec[0].name;
    p.spec[2] = p.spec[0]; /* DNS may answer the same twice */
    VV_CHECK_INT(vv_service_state_set(p.state, p.spec, 3, VV_SEC), VV_OK);
    struct vv_server_set *now = vv_service_state_servers(p.state);
    VV_CHECK_INT(now->count, 2);
    VV_CHECK(now->server[0]->index_hash != now->server[1]->index_hash);
    vv_server_set_unref(now);
    pool_close(&p);
}

VV_TEST(a_drain_ordered_at_run_time_outlives_a_new_set)
{
    struct pool p;
    const struct vv_service_conf conf = pool_conf(VV_BALANCER_ROUND_ROBIN);
    pool_open(&p, &conf, NULL, 2);
    vv_server_drain(p.set->server[0], true, VV_SEC);
    VV_CHECK_INT(vv_service_state_set(p.state, p.spec, 2, VV_SEC), VV_OK);
    VV_CHECK_INT(state_of(&p, 0), VV_SERVER_DRAINING);
    p.spec[0].draining = true; /* now the file says it too, and then no longer */
    VV_CHECK_INT(vv_service_state_set(p.state, p.spec, 2, VV_SEC), VV_OK);
    p.spec[0].draining = false;
    VV_CHECK_INT(vv_service_state_set(p.state, p.spec, 2, VV_SEC), VV_OK);
    VV_CHECK_INT(state_of(&p, 0), VV_SERVER_UP);
    pool_close(&p);
}

static void free_user(void *user)
{
    ++*(int *)user;
}

VV_TEST(a_request_may_end_after_its_service_is_gone)
{
    struct pool p;
    int freed = 0;
    const struct vv_service_conf conf = pool_conf(VV_BALANCER_ROUND_ROBIN);
    pool_open(&p, &conf, NULL, 1);
    p.set->server[0]->user = &freed;
    p.set->server[0]->user_free = free_user;
    struct vv_server *s = NULL;
    const struct vv_pick how = {.now_ns = VV_SEC};
    VV_CHECK_INT(vv_balance_pick(p.picker, &how, &s), VV_OK);
    vv_server_ref(s);
    pool_close(&p);
    VV_CHECK_INT(freed, 0);
    vv_balance_done(s, VV_OUTCOME_CONNECT, 0, 2 * VV_SEC, NULL); /* the address sanitizer watches */
    VV_CHECK_INT(freed, 0);
    vv_server_unref(s);
    VV_CHECK_INT(freed, 1);
}
