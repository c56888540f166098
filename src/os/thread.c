/* src/os/thread.c - pthreads; signals are blocked around the creation because a new thread inherits
 * the mask, which leaves no moment in which it could receive one. */
#include "os/thread.h"

#include "os/proc.h"
#include <signal.h>
#include <stdio.h>

static void *run(void *arg)
{
    struct vv_thread *t = arg;
    vv_proc_name_thread(t->name);
    t->fn(t->arg);
    return NULL;
}

enum vv_err vv_thread_start(struct vv_thread *t, const char *name, void (*fn)(void *arg), void *arg)
{
    VV_ASSERT(!t->started);
    sigset_t all, old;
    (void)sigfillset(&all);
    t->fn = fn;
    t->arg = arg;
    (void)snprintf(t->name, sizeof(t->name), "%.15s", name);
    VV_ASSERT(pthread_sigmask(SIG_SETMASK, &all, &old) == 0);
    const int failed = pthread_create(&t->id, NULL, run, t);
    VV_ASSERT(pthread_sigmask(SIG_SETMASK, &old, NULL) == 0);
    if (failed != 0) {
        return VV_ELIMIT;
    }
    t->started = true;
    return VV_OK;
}

void vv_thread_join(struct vv_thread *t)
{
    if (t->started) {
        VV_ASSERT(pthread_join(t->id, NULL) == 0);
        t->started = false;
    }
}
