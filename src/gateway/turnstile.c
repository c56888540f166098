/* src/gateway/turnstile.c - queues in front of services, one per worker.
 *
 * Nobody is told anything inside vv_turnstile_enter() or _leave(): who is told may end its exchange, and
 * with it others (the parts of a composed answer end together), among them the one that enters or
 * leaves. So both only put the gate on the list of work for the end of this turn, when the connection of
 * who leaves is back in its pool, too. */
#include "gateway/turnstile.h"
#include "os/loop.h"
#include <stdlib.h>

#define RETRY_NS VV_MS        /* how often who waits looks by itself */
#define UNFAIR_NS (2 * VV_MS) /* another worker's oldest may have waited so much longer */

enum { OUTSIDE, WAITING, TURNED_AWAY, IN, UNLIMITED };

struct VV_ALIGNED(64) vv_gate {
    struct vv_queue q;
    struct vv_service_guard *guard;
    struct vv_worker *w; /* set when somebody first waits here */
    struct vv_timer timer;
    struct vv_mail mail;
    struct vv_defer later;
    struct vv_list turned_away; /* made room for others, and are not told yet */
    bool pumping, scheduled;
    _Atomic bool mailed;
    _Atomic uint64_t waiting, oldest_ns; /* for the other workers; oldest 0: nobody waits */
};

enum vv_err vv_gates_new(struct vv_service_guard *g, unsigned workers)
{
    struct vv_gate *gates = aligned_alloc(64, workers * sizeof *gates);
    if (gates == NULL) {
        return VV_ENOMEM;
    }
    memset(gates, 0, workers * sizeof *gates);
    for (unsigned i = 0; i < workers; i++) {
        const struct vv_queue_conf nobody = {.capacity = 0}; /* until somebody asks */
        vv_queue_init(&gates[i].q, &nobody);
        vv_list_init(&gates[i].turned_away);
        gates[i].guard = g;
    }
    g->gates = workers;
    g->gate = gates;
    return VV_OK;
}

void vv_gates_free(struct vv_gate *gates)
{
    free(gates);
}

uint64_t vv_gates_waiting(const struct vv_service_guard *g)
{
    uint64_t sum = 0;
    for (unsigned i = 0; g->gate != NULL && i < g->gates; i++) {
        sum += atomic_load_explicit(&g->gate[i].waiting, memory_order_relaxed);
    }
    return sum;
}

/* What others see of this queue. */
static void publish(struct vv_gate *gate)
{
    uint64_t oldest = 0;
    for (size_t c = 0; c < VV_QUEUE_CLASSES && gate->q.count > 0; c++) {
        const struct vv_list *list = &gate->q.waiting[c];
        if (!vv_list_empty(list)) {
            const uint64_t since = VV_LIST_ENTRY(list->next, struct vv_waiter, node)->since_ns;
            oldest = oldest == 0 || since < oldest ? since : oldest;
        }
    }
    /* Whoever reads this also sees whose queue it is. */
    atomic_store_explicit(&gate->oldest_ns, oldest, memory_order_release);
    atomic_store_explicit(&gate->waiting, gate->q.count, memory_order_relaxed);
}

static struct vv_turn *turn_of(struct vv_waiter *w)
{
    return VV_CONTAINER(w, struct vv_turn, waiter);
}

static void tell(struct vv_turn *t, enum vv_err err)
{
    t->state = err == VV_OK ? IN : OUTSIDE;
    t->told(t, err);
}

static void hold(struct vv_service_guard *g)
{
    atomic_fetch_add_explicit(&g->refs, 1, memory_order_relaxed);
}

/* The timer runs only while somebody waits, who also keeps the guard alive. */
static void set_timer(struct vv_gate *gate)
{
    struct vv_loop *loop = gate->w->loop;
    if (gate->q.count > 0) {
        vv_loop_timer_at(loop, &gate->timer, vv_loop_now(loop) + RETRY_NS);
    } else if (gate->timer.armed) {
        vv_loop_timer_stop(loop, &gate->timer);
    }
}

/* Lets go who has to, lets in whom there is a place for. Whoever is told may leave at once, and be the
 * last who held the guard. */
static void pump(struct vv_gate *gate)
{
    struct vv_loop *loop = gate->w->loop;
    struct vv_service_guard *g = gate->guard;
    struct vv_waiter *w = NULL;
    if (gate->pumping) {
        return; /* further up the stack */
    }
    hold(g);
    gate->pumping = true;
    while (!vv_list_empty(&gate->turned_away)) {
        w = VV_LIST_ENTRY(gate->turned_away.next, struct vv_waiter, node);
        vv_list_del(&w->node);
        tell(turn_of(w), VV_ELIMIT);
    }
    while ((w = vv_queue_expire(&gate->q, vv_loop_now(loop))) != NULL) {
        tell(turn_of(w), VV_ELIMIT);
    }
    while (gate->q.count > 0 && vv_conc_enter(g->conc)) {
        w = vv_queue_pop(&gate->q, vv_loop_now(loop));
        if (w == NULL) {
            vv_conc_leave(g->conc, vv_loop_now(loop), 0, VV_CONC_IGNORED);
            break;
        }
        tell(turn_of(w), VV_OK);
    }
    gate->pumping = false;
    publish(gate);
    set_timer(gate);
    vv_service_guard_unref(g);
}

static void on_later(struct vv_loop *loop, struct vv_defer *d)
{
    (void)loop;
    struct vv_gate *gate = VV_CONTAINER(d, struct vv_gate, later);
    struct vv_service_guard *g = gate->guard;
    gate->scheduled = false;
    pump(gate);
    vv_service_guard_unref(g);
}

/* At the end of this turn. */
static void schedule(struct vv_gate *gate)
{
    if (!gate->scheduled) {
        gate->scheduled = true;
        hold(gate->guard);
        gate->later.fn = on_later;
        vv_loop_defer(gate->w->loop, &gate->later);
    }
}

static void on_timer(struct vv_loop *loop, struct vv_timer *t)
{
    (void)loop;
    pump(VV_CONTAINER(t, struct vv_gate, timer));
}

static void on_mail(struct vv_loop *loop, struct vv_mail *mail)
{
    (void)loop;
    struct vv_gate *gate = VV_CONTAINER(mail, struct vv_gate, mail);
    struct vv_service_guard *g = gate->guard;
    atomic_store_explicit(&gate->mailed, false, memory_order_release);
    if (gate->q.count > 0) {
        pump(gate);
    }
    vv_service_guard_unref(g);
}

static void wake(struct vv_gate *gate)
{
    if (atomic_exchange_explicit(&gate->mailed, true, memory_order_acq_rel)) {
        return;
    }
    hold(gate->guard);
    gate->mail.fn = on_mail;
    vv_loop_post(gate->w->loop, &gate->mail);
}

/* A place is free: for who waits here, or for another worker's who waited clearly longer. */
static void pass_on(struct vv_service_guard *g, struct vv_gate *own)
{
    struct vv_gate *best = NULL;
    uint64_t oldest = own->q.count > 0
                          ? atomic_load_explicit(&own->oldest_ns, memory_order_relaxed) - UNFAIR_NS
                          : UINT64_MAX;
    for (unsigned i = 0; i < g->gates; i++) {
        const uint64_t since = atomic_load_explicit(&g->gate[i].oldest_ns, memory_order_acquire);
        if (&g->gate[i] != own && since != 0 && since < oldest) {
            best = &g->gate[i];
            oldest = since;
        }
    }
    if (best != NULL) {
        wake(best);
    } else if (own->q.count > 0) {
        schedule(own);
    }
}

enum vv_err vv_turnstile_enter(struct vv_turn *t, struct vv_worker *w, struct vv_service_guard *g,
                               const struct vv_concurrency_settings *conf, uint32_t class)
{
    const uint64_t now = vv_worker_now(w);
    t->guard = g;
    t->w = w;
    t->since_ns = now;
    if (g == NULL || conf->enabled == 0) {
        t->state = UNLIMITED;
        return VV_OK;
    }
    struct vv_gate *gate = &g->gate[w->index];
    if (gate->q.count == 0 && vv_conc_enter(g->conc)) {
        t->state = IN;
        return VV_OK;
    }
    if (gate->w == NULL) {
        gate->w = w;
        vv_timer_init(&gate->timer, on_timer);
    }
    gate->q.conf = (struct vv_queue_conf){.target_ns = conf->target_ns,
                                          .interval_ns = conf->interval_ns,
                                          .wait_max_ns = conf->wait_ns,
                                          .capacity = conf->queue,
                                          .keep_min = 1};
    vv_waiter_init(&t->waiter);
    struct vv_waiter *out = vv_queue_push(&gate->q, &t->waiter, class, now);
    if (out == &t->waiter) {
        t->state = OUTSIDE;
        return VV_ELIMIT;
    }
    t->state = WAITING;
    publish(gate);
    if (!gate->timer.armed) {
        vv_loop_timer_at(w->loop, &gate->timer, now + RETRY_NS);
    }
    if (out != NULL) {
        turn_of(out)->state = TURNED_AWAY;
        vv_list_push_back(&gate->turned_away, &out->node);
        schedule(gate);
    }
    return VV_EAGAIN;
}

void vv_turnstile_leave(struct vv_turn *t, uint64_t took_ns, enum vv_conc_outcome outcome)
{
    const uint8_t state = t->state;
    t->state = OUTSIDE;
    if (state == WAITING) {
        struct vv_gate *gate = &t->guard->gate[t->w->index];
        vv_queue_remove(&gate->q, &t->waiter);
        publish(gate);
        if (gate->q.count == 0) {
            set_timer(gate);
        }
    } else if (state == TURNED_AWAY) {
        vv_list_del(&t->waiter.node);
    } else if (state == IN) {
        vv_conc_leave(t->guard->conc, vv_worker_now(t->w), took_ns, outcome);
        pass_on(t->guard, &t->guard->gate[t->w->index]);
    }
}
