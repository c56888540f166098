/* src/gateway/turnstile.h - waiting for a place at a service that takes only so many at once.
 *
 * Model:     vv_turnstile_enter() gives a place at once, or has the exchange wait in this worker's queue
 *            for the service (guard/queue.h: classes, controlled delay, newest first when late), or
 *            refuses. A place that is given back goes to who waits here; when another worker's oldest
 *            has waited longer, to that one, by mail.
 * Threads:   one worker; the number of places is shared.
 */
#ifndef VV_GATEWAY_TURNSTILE_H
#define VV_GATEWAY_TURNSTILE_H
#include "gateway/guards.h"
#include "gateway/worker.h"

struct vv_turn { /* one that wants in; embedded by the caller, zeroed is "outside" */
    struct vv_service_guard *guard;
    struct vv_worker *w;
    struct vv_waiter waiter;
    uint8_t state;     /* PRIVATE */
    uint64_t since_ns; /* when it asked */
    /* Runs later when enter said VV_EAGAIN, out of the loop and never inside enter or leave: VV_OK, it is in;
     * VV_ELIMIT, it waited in vain. It may end t and whatever else. */
    void (*told)(struct vv_turn *t, enum vv_err err);
};

/* `conf`: the rules of the queue from now on. VV_OK: it is in. VV_EAGAIN: it waits for told(). VV_ELIMIT: neither. */
VV_MUST_CHECK enum vv_err vv_turnstile_enter(struct vv_turn *t, struct vv_worker *w,
                                             struct vv_service_guard *g,
                                             const struct vv_concurrency_settings *conf,
                                             uint32_t class);
/* It leaves, wherever it is (in, waiting, outside). took_ns: to the first byte. */
void vv_turnstile_leave(struct vv_turn *t, uint64_t took_ns, enum vv_conc_outcome outcome);

/* Queues of one service, one per worker; guards.c makes and frees them. */
VV_MUST_CHECK enum vv_err vv_gates_new(struct vv_service_guard *g, unsigned workers);
void vv_gates_free(struct vv_gate *gates);
uint64_t vv_gates_waiting(const struct vv_service_guard *g); /* of all workers; any thread */
#endif
