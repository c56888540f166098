/* src/os/pool.c - one queue under one lock: jobs here take long, so the lock does not matter. */
#include "os/pool.h"

#include "os/thread.h"
#include <pthread.h>
#include <stdlib.h>

#define THREADS_MAX 256

struct vv_pool {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct vv_job *first, *last; /* guarded by lock */
    size_t queued, queue_max;
    bool closing;
    unsigned threads;
    struct vv_thread thread[];
};

static void deliver(struct vv_loop *loop, struct vv_mail *mail)
{
    struct vv_job *job = VV_CONTAINER(mail, struct vv_job, mail);
    job->done(loop, job);
}

/* The next job, waiting for one; NULL when the pool closes and nothing is left. */
static struct vv_job *next_job(struct vv_pool *pool)
{
    VV_ASSERT(pthread_mutex_lock(&pool->lock) == 0);
    while (pool->first == NULL && !pool->closing) {
        pthread_cond_wait(&pool->more, &pool->lock);
    }
    struct vv_job *job = pool->first;
    if (job != NULL) {
        pool->first = job->next;
        pool->last = pool->first != NULL ? pool->last : NULL;
        pool->queued--;
    }
    VV_ASSERT(pthread_mutex_unlock(&pool->lock) == 0);
    return job;
}

static void run(void *arg)
{
    struct vv_pool *pool = arg;
    struct vv_job *job;
    while ((job = next_job(pool)) != NULL) {
        job->work(job);
        vv_loop_post(job->home, &job->mail);
    }
}

enum vv_err vv_pool_new(unsigned threads, size_t queue_max, struct vv_pool **ret)
{
    if (threads == 0 || threads > THREADS_MAX) {
        return VV_EINVAL;
    }
    struct vv_pool *pool = calloc(1, sizeof(*pool) + threads * sizeof(pool->thread[0]));
    if (pool == NULL) {
        return VV_ENOMEM;
    }
    VV_ASSERT(pthread_mutex_init(&pool->lock, NULL) == 0);
    VV_ASSERT(pthread_cond_init(&pool->more, NULL) == 0);
    pool->queue_max = queue_max;
    for (pool->threads = 0; pool->threads < threads; pool->threads++) {
        const enum vv_err err = vv_thread_start(&pool->thread[pool->threads], "vv-pool", run, pool);
        if (err != VV_OK) {
            vv_pool_free(pool);
            return err;
        }
    }
    *ret = pool;
    return VV_OK;
}

void vv_pool_free(struct vv_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    VV_ASSERT(pthread_mutex_lock(&pool->lock) == 0);
    pool->closing = true;
    pthread_cond_broadcast(&pool->more);
    VV_ASSERT(pthread_mutex_unlock(&pool->lock) == 0);
    for (unsigned i = 0; i < pool->threads; i++) {
        vv_thread_join(&pool->thread[i]);
    }
    pthread_cond_destroy(&pool->more);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

enum vv_err vv_pool_submit(struct vv_pool *pool, struct vv_loop *home, struct vv_job *job)
{
    enum vv_err err = VV_ELIMIT;
    VV_ASSERT(pthread_mutex_lock(&pool->lock) == 0);
    if (pool->queued < pool->queue_max && !pool->closing) {
        job->mail = (struct vv_mail){.fn = deliver};
        job->home = home;
        job->next = NULL;
        if (pool->last != NULL) {
            pool->last->next = job;
        } else {
            pool->first = job;
        }
        pool->last = job;
        pool->queued++;
        pthread_cond_signal(&pool->more);
        err = VV_OK;
    }
    VV_ASSERT(pthread_mutex_unlock(&pool->lock) == 0);
    return err;
}
