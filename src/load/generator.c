/* src/load/generator.c - a generator thread: starts users when their time has come, turns the loop, and
 * hands what it measured to the caller once a second. Starts are looked at before every turn, so
 * under load they cost nothing extra; when there is little to do an alarm wakes the loop for the
 * next one. Alarms closer together than SLICE_NS are not worth their system calls: such starts
 * share one, at most that much late. */
#include "load/engine_int.h"

#include "os/clock.h"
#include <stdlib.h>

#define SLICE_NS (50 * VV_US)
#define STARTS_MAX 64     /* before answers are looked at again: a burst needs connections */
#define ABANDON_NS VV_SEC /* after a stop, for what is in flight */
#define DRAIN_NS (10 * VV_MINUTE) /* after the end, for users in the middle of their flow */

static void batch_free(struct vv_load_batch *b)
{
    if (b != NULL) {
        vv_load_result_free(b->r);
        vv_load_hist_free(b->latency);
        free(b);
    }
}

static struct vv_load_batch *batch_new(struct vv_load_gen *g)
{
    struct vv_load_batch *b = calloc(1, sizeof(*b));
    if (b == NULL) {
        return NULL;
    }
    b->latency = vv_load_hist_new();
    if (b->latency == NULL || vv_load_result_new(&g->shared->view, &b->r) != VV_OK) {
        batch_free(b);
        return NULL;
    }
    b->gen = g;
    b->next = g->batches;
    g->batches = b;
    return b;
}

static void batch_empty(struct vv_load_batch *b)
{
    vv_load_result_clear(b->r);
    vv_load_hist_clear(b->latency);
    b->started[0] = b->started[1] = b->skipped[0] = b->skipped[1] = 0;
    b->begun = b->in_flight = 0;
}

static void on_back(struct vv_loop *loop, struct vv_mail *mail)
{
    struct vv_load_batch *b = VV_CONTAINER(mail, struct vv_load_batch, mail);
    (void)loop;
    batch_empty(b);
    b->spare = b->gen->spare;
    b->gen->spare = b;
}

/* Counters that run on belong to a batch as what was added since the last one. */
static void take_counters(struct vv_load_gen *g, struct vv_load_batch *b)
{
    const uint64_t cpu_ns = vv_clock_thread();
    b->r->cpu_ns = cpu_ns - g->cpu_ns;
    b->r->bytes_in = g->client.bytes_in - g->in_bytes;
    b->r->bytes_out = g->client.bytes_out - g->out_bytes;
    b->r->connections = g->client.connections - g->connections;
    b->r->tls_handshakes = g->client.tls_stats.handshakes - g->handshakes;
    b->r->tls_resumed = g->client.tls_stats.resumed - g->resumed;
    memcpy(b->r->tls_error, g->client.tls_error, sizeof(b->r->tls_error));
    b->in_flight = g->alive;
    g->cpu_ns = cpu_ns;
    g->in_bytes = g->client.bytes_in;
    g->out_bytes = g->client.bytes_out;
    g->connections = g->client.connections;
    g->handshakes = g->client.tls_stats.handshakes;
    g->resumed = g->client.tls_stats.resumed;
}

/* The second is over: its batch goes to the caller. Without memory for another one it stays, and
 * its second becomes longer. */
static void hand_over(struct vv_load_gen *g, uint64_t second)
{
    struct vv_load_batch *b = g->batch, *fresh = g->spare;
    if (fresh != NULL) {
        g->spare = fresh->spare;
    } else {
        fresh = batch_new(g);
    }
    if (fresh == NULL) {
        return;
    }
    take_counters(g, b);
    fresh->second = second;
    g->batch = fresh;
    b->mail.fn = g->shared->on_batch;
    vv_loop_post(g->shared->home, &b->mail);
}

static void follow_seconds(struct vv_load_gen *g, uint64_t now_ns)
{
    const uint64_t second = now_ns > g->t0_ns ? (now_ns - g->t0_ns) / VV_SEC : 0;
    if (second > g->batch->second) {
        hand_over(g, second);
    }
}

/* Begins whatever is due and sets the alarm for what comes next. False: more is due already. */
static bool start_due(struct vv_load_gen *g)
{
    uint64_t now_ns = vv_loop_refresh(g->loop);
    follow_seconds(g, now_ns);
    for (unsigned n = 0; g->has_next && g->t0_ns + g->next.at_ns <= now_ns; n++) {
        if (n == STARTS_MAX) {
            return false;
        }
        vv_load_users_start(g, &g->next, now_ns);
        g->has_next = vv_load_schedule_next(&g->schedule, &g->next);
        now_ns = vv_loop_refresh(g->loop);
        follow_seconds(g, now_ns);
    }
    if (g->has_next) {
        const uint64_t at_ns = vv_max_u64(g->t0_ns + g->next.at_ns, now_ns + SLICE_NS);
        if (g->alarm.at_ns == 0 || at_ns < g->alarm.at_ns) {
            vv_alarm_at(&g->alarm, at_ns);
        }
    }
    return true;
}

static void on_alarm(struct vv_loop *loop, struct vv_alarm *alarm)
{
    (void)loop; /* it was only to wake up: starts are looked at before the next turn */
    (void)alarm;
}

static void on_go(struct vv_loop *loop, struct vv_mail *mail)
{
    (void)loop;
    VV_CONTAINER(mail, struct vv_load_gen, go)->going = true;
}

static void on_stop(struct vv_loop *loop, struct vv_mail *mail)
{
    struct vv_load_gen *g = VV_CONTAINER(mail, struct vv_load_gen, stop);
    g->going = true; /* also when it came first */
    g->stopping = true;
    g->has_next = false;
    g->stop_ns = vv_loop_now(loop) + ABANDON_NS;
    vv_load_users_end(g, false);
}

static void generate(struct vv_load_gen *g)
{
    const uint64_t length_ns =
        vv_load_schedule_length(g->shared->view.phase, g->shared->view.phase_count);
    const uint64_t end_ns = g->t0_ns + length_ns;
    if (!g->stopping) {
        g->stop_ns = end_ns + DRAIN_NS;
        g->has_next = vv_load_schedule_next(&g->schedule, &g->next);
    }
    for (;;) {
        const bool idle = start_due(g);
        const uint64_t now_ns = vv_loop_now(g->loop);
        /* A plan that ends in a pause lasts until its end, too. */
        if (!g->has_next && g->alive == 0 && (now_ns >= end_ns || g->stopping)) {
            return;
        }
        if (now_ns >= g->stop_ns) {
            vv_load_users_end(g, true);
            return;
        }
        const uint64_t second_ns = g->t0_ns + (g->batch->second + 1) * VV_SEC;
        uint64_t wake_ns = vv_min_u64(second_ns, g->stop_ns);
        wake_ns = now_ns < end_ns ? vv_min_u64(wake_ns, end_ns) : wake_ns;
        vv_loop_turn(g->loop, idle && wake_ns > now_ns ? wake_ns - now_ns : 0);
    }
}

/* What a thread sets up by itself; names are looked up and certificates read before the clock starts. */
static enum vv_err set_up(struct vv_load_gen *g)
{
    enum vv_err err = vv_dns_new(g->loop, &g->dns);
    if (err == VV_OK) {
        err = vv_alarm_open(g->loop, &g->alarm, on_alarm);
    }
    if (err == VV_OK && (g->shared->view.tls || g->shared->view.tls_ca != NULL)) {
        err = vv_load_users_trust(g);
    }
    if (err == VV_OK) {
        vv_load_users_resolve(g);
    }
    return err;
}

void vv_load_gen_main(void *gen)
{
    struct vv_load_gen *g = gen;
    g->err = set_up(g);
    g->ready.fn = g->shared->on_ready;
    const bool fine = g->err == VV_OK;
    vv_loop_post(g->shared->home, &g->ready);
    while (fine && !g->going) {
        vv_loop_turn(g->loop, VV_SEC);
    }
    if (fine) {
        g->cpu_ns = vv_clock_thread();
        generate(g);
        take_counters(g, g->batch);
    }
    vv_load_users_free(g);
    vv_alarm_close(g->loop, &g->alarm);
    vv_dns_free(g->dns);
    if (fine) { /* a thread that never began has no second to tell of: the run has no clock yet */
        g->batch->final = true;
        g->batch->mail.fn = g->shared->on_batch;
        vv_loop_post(g->shared->home, &g->batch->mail);
    }
}

void vv_load_batch_return(struct vv_load_batch *b)
{
    b->mail.fn = on_back;
    vv_loop_post(b->gen->loop, &b->mail);
}

enum vv_err vv_load_gen_init(struct vv_load_gen *g, const struct vv_load_shared *shared,
                             unsigned part)
{
    *g = (struct vv_load_gen){.shared = shared, .part = part};
    g->go.fn = on_go;
    g->stop.fn = on_stop;
    vv_list_init(&g->free_conns);
    vv_rng_init(&g->rng, shared->seed + (part + 1) * UINT64_C(0x9e3779b97f4a7c15));
    vv_load_schedule_init(&g->schedule, shared->view.phase, shared->view.phase_count, part,
                          shared->parts, shared->seed);
    enum vv_err err = vv_loop_new(&g->loop);
    if (err == VV_OK) {
        err = vv_load_client_init(&g->client, g->loop);
    }
    g->phase_at_ns = calloc(shared->view.phase_count + 1, sizeof(g->phase_at_ns[0]));
    g->phase_alive = calloc(shared->view.phase_count + 1, sizeof(g->phase_alive[0]));
    g->batch = err == VV_OK ? batch_new(g) : NULL;
    if (err == VV_OK && (g->phase_at_ns == NULL || g->phase_alive == NULL || g->batch == NULL)) {
        err = VV_ENOMEM;
    }
    for (size_t i = 0; err == VV_OK && i < shared->view.phase_count; i++) {
        g->phase_at_ns[i + 1] = g->phase_at_ns[i] + shared->view.phase[i].duration_ns;
    }
    return err; /* the caller ends in vv_load_gen_fini() either way */
}

void vv_load_gen_fini(struct vv_load_gen *g)
{
    while (g->batches != NULL) {
        struct vv_load_batch *b = g->batches;
        g->batches = b->next;
        batch_free(b);
    }
    vv_load_client_fini(&g->client);
    vv_loop_free(g->loop);
    free(g->phase_at_ns);
    free(g->phase_alive);
}
