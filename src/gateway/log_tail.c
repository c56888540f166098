/* src/gateway/log_tail.c - from the access log's writer to whoever follows it on the control loop.
 *
 * The writer copies what it writes into mail for the control loop. What is on its way is bounded: a
 * control loop that is behind gets fewer lines and one that says how many are missing. Mail may
 * arrive after the tail was given up, so both hold a reference. */
#include "gateway/gateway_int.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define PENDING_MAX VV_MIB /* bytes on their way to the control loop */

struct vv_log_tail {
    _Atomic uint32_t refs; /* the gateway and every mail */
    _Atomic size_t pending;
    _Atomic uint64_t lost;
    struct vv_loop *control;
    vv_log_tail_fn *fn; /* control thread; NULL: given up */
    void *user;
};

struct lines {
    struct vv_mail mail;
    struct vv_log_tail *tail; /* counted */
    size_t n;
    char bytes[];
};

static void tail_unref(struct vv_log_tail *t)
{
    if (atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) == 1) {
        free(t);
    }
}

/* The listener may give up in the middle. */
static void say(struct vv_log_tail *t, struct vv_str line)
{
    if (t->fn != NULL) {
        t->fn(t->user, line);
    }
}

static void say_lost(struct vv_log_tail *t)
{
    const uint64_t lost = atomic_exchange_explicit(&t->lost, 0, memory_order_relaxed);
    if (lost > 0) {
        char text[96];
        const int n = snprintf(text, sizeof text,
                               "{\"level\":\"warn\",\"msg\":\"lines left out\",\"lines\":%llu}",
                               (unsigned long long)lost);
        say(t, (struct vv_str){text, (size_t)n});
    }
}

static void on_lines(struct vv_loop *loop, struct vv_mail *mail)
{
    (void)loop;
    struct lines *l = VV_CONTAINER(mail, struct lines, mail);
    struct vv_log_tail *t = l->tail;
    struct vv_str rest = {l->bytes, l->n};
    while (rest.n > 0) {
        const struct vv_str line = vv_str_cut(&rest, '\n');
        if (line.n > 0) {
            say(t, line);
        }
    }
    say_lost(t);
    atomic_fetch_sub_explicit(&t->pending, l->n, memory_order_relaxed);
    tail_unref(t);
    free(l);
}

static bool send_lines(struct vv_log_tail *t, struct vv_str text)
{
    if (atomic_load_explicit(&t->pending, memory_order_relaxed) + text.n > PENDING_MAX) {
        return false;
    }
    struct lines *l = malloc(sizeof *l + text.n);
    if (l == NULL) {
        return false;
    }
    l->mail.fn = on_lines;
    l->tail = t;
    l->n = text.n;
    memcpy(l->bytes, text.p, text.n);
    atomic_fetch_add_explicit(&t->pending, text.n, memory_order_relaxed);
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    vv_loop_post(t->control, &l->mail);
    return true;
}

/* On the writer's thread. */
static void on_written(void *user, struct vv_str text)
{
    struct vv_log_tail *t = user;
    if (!send_lines(t, text)) {
        uint64_t count = 0;
        for (struct vv_str rest = text; rest.n > 0; count++) {
            (void)vv_str_cut(&rest, '\n');
        }
        atomic_fetch_add_explicit(&t->lost, count, memory_order_relaxed);
    }
}

void vv_log_tail_free(struct vv_gateway *g)
{
    if (g->tail == NULL) {
        return;
    }
    if (g->log != NULL) {
        vv_access_log_tap(g->log, NULL, NULL);
    }
    g->tail->fn = NULL;
    tail_unref(g->tail);
    g->tail = NULL;
}

void vv_gateway_log_tail(struct vv_gateway *g, vv_log_tail_fn *fn, void *user)
{
    static const struct vv_str off = VV_STR("{\"level\":\"warn\",\"msg\":\"the access log is off: "
                                            "set access_log in the configuration\"}\n");
    vv_log_tail_free(g);
    if (fn == NULL) {
        return;
    }
    struct vv_log_tail *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return; /* nothing to be said, and no way to say so */
    }
    atomic_init(&t->refs, 1);
    t->control = g->control;
    t->fn = fn;
    t->user = user;
    g->tail = t;
    if (g->log != NULL) {
        vv_access_log_tap(g->log, on_written, t);
    } else {
        (void)send_lines(t, off); /* as mail: the caller is not ready for lines yet */
    }
}
