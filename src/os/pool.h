/* src/os/pool.h - a few threads for work that may block (files, compression, DNS fallbacks).
 *
 * Model:     a job runs on some pool thread, then `done` runs as mail on the loop that sent it.
 *            The queue is bounded: a full pool refuses (VV_ELIMIT) and the caller does without.
 * Threads:   vv_pool_submit from any loop thread. Ownership: the job is the caller's until `done`.
 */
#ifndef VV_OS_POOL_H
#define VV_OS_POOL_H
#include "os/loop.h"

struct vv_pool;
struct vv_job {
    struct vv_mail mail;                                    /* PRIVATE */
    struct vv_job *next;                                    /* PRIVATE */
    struct vv_loop *home;                                   /* PRIVATE */
    void (*work)(struct vv_job *job);                       /* on a pool thread */
    void (*done)(struct vv_loop *loop, struct vv_job *job); /* on the sender's loop */
};
VV_MUST_CHECK enum vv_err vv_pool_new(unsigned threads, size_t queue_max, struct vv_pool **ret);
void vv_pool_free(struct vv_pool *pool); /* waits for running jobs; queued ones are run too */
VV_MUST_CHECK enum vv_err vv_pool_submit(struct vv_pool *pool, struct vv_loop *home,
                                         struct vv_job *job);
#endif
