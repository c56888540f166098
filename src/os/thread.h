/* src/os/thread.h - start and join threads that have a name and leave signals alone.
 *
 * Model:     a thread starts with every signal blocked, so that signals reach only the thread that
 *            waits for them on purpose.
 * Ownership: the caller's storage; it must stay until vv_thread_join().
 * Errors:    VV_ELIMIT when the system refuses another thread.
 */
#ifndef VV_OS_THREAD_H
#define VV_OS_THREAD_H
#include "base/err.h"
#include <pthread.h>

struct vv_thread { /* PRIVATE fields; zeroed: not started */
    pthread_t id;
    void (*fn)(void *arg);
    void *arg;
    char name[16];
    bool started;
};

/* `name` is cut to 15 bytes, the kernel's limit. */
VV_MUST_CHECK enum vv_err vv_thread_start(struct vv_thread *t, const char *name,
                                          void (*fn)(void *arg), void *arg);
void vv_thread_join(struct vv_thread *t); /* does nothing when it was not started */
#endif
