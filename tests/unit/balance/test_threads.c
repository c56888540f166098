/* tests/unit/balance/test_threads.c - workers pick while the set, the states and the conf change.
 * Under the thread sanitizer this finds races; everywhere it checks that all counts come back to
 * zero. */
#include "pool.h"

#include <pthread.h>

#define WORKERS 3
#define REQUESTS 4000

struct work {
    struct vv_service_state *state;
    uint64_t seed;
    uint64_t picked;
};

static void *worker(void *arg)
{
    struct work *w = arg;
    struct vv_picker *picker = NULL;
    struct vv_server *held[4] = {NULL};
    if (vv_picker_new(w->state, w->seed, &picker) != VV_OK) {
        return NULL;
    }
    for (uint64_t i = 0; i < REQUESTS; i++) {
        const uint64_t now_ns = i * VV_MS;
        const struct vv_pick how = {.now_ns = now_ns, .has_key = true, .key = i};
        struct vv_server **slot = &held[i % 4];
        if (*slot != NULL) {
            vv_balance_done(*slot, i % 7 == 0 ? VV_OUTCOME_CONNECT : VV_OUTCOME_OK, VV_MS, now_ns,
                            NULL);
            *slot = NULL;
        }
        if (vv_balance_pick(picker, &how, slot) == VV_OK) {
            w->picked++;
        }
    }
    for (size_t i = 0; i < 4; i++) {
        if (held[i] != NULL) {
            vv_balance_done(held[i], VV_OUTCOME_OK, VV_MS, REQUESTS * VV_MS, NULL);
        }
    }
    vv_picker_free(picker);
    return NULL;
}

VV_TEST(counts_come_back_to_zero_when_everything_changes_at_once)
{
    struct pool p;
    struct vv_service_conf conf = pool_conf(VV_BALANCER_LEAST_CONN);
    conf.outlier_consecutive = 5;
    conf.outlier_rate = 1;
    conf.fail_timeout_ns = 100 * VV_MS;
    pthread_t thread[WORKERS];
    struct work work[WORKERS];
    pool_open(&p, &conf, NULL, 6);
    for (uint64_t i = 0; i < WORKERS; i++) {
        work[i] = (struct work){.state = p.state, .seed = i};
        VV_CHECK_INT(pthread_create(&thread[i], NULL, worker, &work[i]), 0);
    }
    for (uint64_t i = 0; i < 300; i++) {
        conf.balancer = i % VV_BALANCER_COUNT;
        vv_service_state_conf(p.state, &conf);
        VV_CHECK_INT(vv_service_state_set(p.state, p.spec, 4 + i % 3, i * VV_MS), VV_OK);
        vv_server_check_result(p.set->server[i % 4], i % 3 != 0, i * VV_MS);
        vv_server_drain(p.set->server[(i + 1) % 4], i % 5 == 0, i * VV_MS);
        vv_balance_tick(p.state, i * VV_SEC, NULL, NULL);
    }
    for (size_t i = 0; i < WORKERS; i++) {
        VV_CHECK_INT(pthread_join(thread[i], NULL), 0);
        VV_CHECK(work[i].picked > 0);
    }
    for (size_t i = 0; i < p.set->count; i++) {
        VV_CHECK_INT(atomic_load(&p.set->server[i]->in_flight), 0);
    }
    pool_close(&p);
}
