/* tests/unit/os/test_pool.c - work happens elsewhere, done happens at home, the queue is bounded.
 */
#include "os/pool.h"
#include "vv_test.h"
#include <pthread.h>
#include <stdatomic.h>

struct task {
    struct vv_job job;
    pthread_t worked_by;
    bool worked, done;
};

static struct vv_loop *loop;
static unsigned done_count;
static atomic_int gate; /* 0: jobs wait */

static void work(struct vv_job *job)
{
    struct task *t = VV_CONTAINER(job, struct task, job);
    while (atomic_load(&gate) == 0) {
    }
    t->worked_by = pthread_self();
    t->worked = true;
}

static void done(struct vv_loop *l, struct vv_job *job)
{
    struct task *t = VV_CONTAINER(job, struct task, job);
    VV_CHECK(t->worked && l == loop);
    t->done = true;
    done_count++;
}

VV_TEST(pool_works_elsewhere_and_reports_home)
{
    struct vv_pool *pool;
    struct task t[20];
    done_count = 0;
    atomic_store(&gate, 1);
    VV_CHECK_INT(vv_loop_new(&loop), VV_OK);
    VV_CHECK_INT(vv_pool_new(3, 20, &pool), VV_OK);
    for (size_t i = 0; i < VV_COUNT(t); i++) {
        t[i] = (struct task){.job = {.work = work, .done = done}};
        VV_CHECK_INT(vv_pool_submit(pool, loop, &t[i].job), VV_OK);
    }
    while (done_count < VV_COUNT(t)) {
        vv_loop_turn(loop, VV_SEC);
    }
    for (size_t i = 0; i < VV_COUNT(t); i++) {
        VV_CHECK(t[i].done && !pthread_equal(t[i].worked_by, pthread_self()));
    }
    vv_pool_free(pool);
    vv_loop_free(loop);
}

VV_TEST(pool_refuses_when_full_and_runs_the_queue_before_it_closes)
{
    struct vv_pool *pool;
    struct task t[8];
    size_t taken = 0;
    done_count = 0;
    atomic_store(&gate, 0);
    VV_CHECK_INT(vv_loop_new(&loop), VV_OK);
    VV_CHECK_INT(vv_pool_new(1, 2, &pool), VV_OK);
    for (size_t i = 0; i < VV_COUNT(t); i++) {
        t[i] = (struct task){.job = {.work = work, .done = done}};
        const enum vv_err err = vv_pool_submit(pool, loop, &t[i].job);
        VV_CHECK(err == VV_OK || err == VV_ELIMIT);
        taken += err == VV_OK;
    }
    VV_CHECK(taken == 2 || taken == 3); /* two wait, one may be running already */
    atomic_store(&gate, 1);
    vv_pool_free(pool);
    vv_loop_turn(loop, 0);
    VV_CHECK_INT(done_count, taken);
    vv_loop_free(loop);
}

VV_TEST(pool_needs_at_least_one_thread)
{
    struct vv_pool *pool = NULL;
    VV_CHECK_INT(vv_pool_new(0, 1, &pool), VV_EINVAL);
    VV_CHECK(pool == NULL);
    vv_pool_free(NULL);
}
