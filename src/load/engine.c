/* src/load/engine.c - the caller's side of a run: starts the generators together, adds up what they hand
 * over, knows the plan by its own walk through the schedule, and judges whether the generator kept
 * up with it. A second is complete when every thread has handed over a later one. */
#include "load/engine.h"

#include "base/sb.h"
#include "load/engine_int.h"
#include "load/periods.h"
#include "os/clock.h"
#include "os/proc.h"
#include <stdlib.h>

#define TICK_NS (50 * VV_MS) /* how soon a stop flag is seen */
#define LEAD_NS (5 * VV_MS)  /* from go to the first start, so that all threads are awake */
#define FILES_SPARE 64       /* descriptors that are no connections */
#define FILES_WANT UINT64_C(1048576)
#define THREADS_MAX 256
#define OPEN_MAX 8 /* seconds that may be incomplete at a time; beyond, the oldest is closed */

struct open_second {
    uint64_t second;
    struct vv_load_hist *latency; /* NULL: free */
};

struct run {
    struct vv_load_shared shared;
    const struct vv_load_options *options;
    struct vv_loop *home;
    struct vv_load_result *total;
    struct vv_load_gen *gens;
    unsigned threads, ready, finished;
    enum vv_err err;
    uint64_t t0_ns, ended_ns;
    uint64_t shown; /* complete seconds so far */
    bool stop_sent;
    struct vv_load_schedule plan; /* of all threads of this agent */
    struct vv_load_start next;
    bool has_next;
    uint64_t *handled; /* per second: started or skipped on purpose */
    uint64_t *cpu_ns;  /* per second */
    size_t seconds;    /* of these arrays */
    struct open_second open[OPEN_MAX];
    struct vv_load_periods *periods;
    struct vv_load_hist *idle[OPEN_MAX]; /* cleared, for the next seconds */
    size_t idle_count;
};

static struct run *run_of(struct vv_load_gen *g)
{
    return g->run;
}

/* Room for this second in every array. */
static enum vv_err reach(struct run *run, uint64_t second)
{
    if (second >= run->seconds) {
        const size_t n = (size_t)second + 64;
        uint64_t *handled = realloc(run->handled, n * sizeof(*handled));
        run->handled = handled != NULL ? handled : run->handled;
        uint64_t *cpu_ns = realloc(run->cpu_ns, n * sizeof(*cpu_ns));
        run->cpu_ns = cpu_ns != NULL ? cpu_ns : run->cpu_ns;
        if (handled == NULL || cpu_ns == NULL) {
            return VV_ENOMEM;
        }
        for (size_t i = run->seconds; i < n; i++) {
            handled[i] = cpu_ns[i] = 0;
        }
        run->seconds = n;
    }
    return vv_load_result_windows(run->total, (size_t)second + 1);
}

/* ---- seconds ---- */

static void close_second(struct run *run, struct open_second *o)
{
    struct vv_load_window *w = &run->total->window[o->second];
    w->p50_ns = vv_load_hist_quantile(o->latency, 0.5);
    w->p95_ns = vv_load_hist_quantile(o->latency, 0.95);
    w->p99_ns = vv_load_hist_quantile(o->latency, 0.99);
    w->max_ns = vv_load_hist_max(o->latency);
    vv_load_hist_clear(o->latency);
    run->idle[run->idle_count++] = o->latency;
    o->latency = NULL;
}

static struct open_second *second_open(struct run *run, uint64_t second)
{
    struct open_second *place = NULL, *oldest = &run->open[0];
    for (size_t i = 0; i < OPEN_MAX; i++) {
        struct open_second *o = &run->open[i];
        if (o->latency == NULL) {
            place = o;
        } else if (o->second == second) {
            return o;
        } else if (oldest->latency == NULL || o->second < oldest->second) {
            oldest = o;
        }
    }
    if (place == NULL) {
        close_second(run, oldest);
        place = oldest;
    }
    place->second = second;
    place->latency = run->idle_count > 0 ? run->idle[--run->idle_count] : vv_load_hist_new();
    return place->latency != NULL ? place : NULL;
}

/* The plan's starts before this time become the offered ones of their seconds. */
static void walk_plan(struct run *run, uint64_t until_ns)
{
    while (run->has_next && run->next.at_ns < until_ns) {
        const uint64_t second = run->next.at_ns / VV_SEC;
        const struct vv_load_phase *p = &run->shared.view.phase[run->next.phase];
        if (!vv_load_phase_closed(p)) {
            if (reach(run, second) != VV_OK) {
                run->err = VV_ENOMEM;
                return;
            }
            run->total->offered++;
            run->total->window[second].offered++;
        }
        run->has_next = vv_load_schedule_next(&run->plan, &run->next);
    }
}

/* Quantiles of seconds that every thread has left behind; reports them. */
static void close_complete(struct run *run)
{
    uint64_t complete = UINT64_MAX;
    for (unsigned i = 0; i < run->threads; i++) {
        if (!run->gens[i].done) {
            complete = vv_min_u64(complete, run->gens[i].delivered);
        }
    }
    for (size_t i = 0; i < OPEN_MAX; i++) {
        if (run->open[i].latency != NULL && run->open[i].second < complete) {
            close_second(run, &run->open[i]);
        }
    }
    if (complete == UINT64_MAX || complete <= run->shown) {
        return;
    }
    run->shown = complete;
    vv_load_periods_close(run->periods, run->total->started_unix_ns + complete * VV_SEC);
    walk_plan(run, complete * VV_SEC);
    run->total->duration_ns = complete * VV_SEC;
    if (run->options->progress != NULL && !run->stop_sent &&
        run->options->progress(run->options->user, run->total)) {
        run->total->interrupted = true;
    }
}

/* ---- what threads say ---- */

static void add_window(struct run *run, const struct vv_load_batch *b)
{
    struct vv_load_window *const window = run->total->window;
    struct vv_load_window *w = &window[b->second];
    w->completed += b->r->answers;
    w->failed += b->r->failed;
    w->late += b->r->late;
    w->bytes_in += b->r->bytes_in;
    w->in_flight += b->in_flight;
    w->offered += b->begun;
    w->started += b->started[1] + b->begun;
    run->total->offered += b->begun;
    run->handled[b->second] += b->started[1] + b->skipped[1] + b->begun;
    run->cpu_ns[b->second] += b->r->cpu_ns;
    if (b->second > 0) {
        window[b->second - 1].started += b->started[0];
        run->handled[b->second - 1] += b->started[0] + b->skipped[0];
    }
}

/* Totals are those of the endpoints: the threads record each latency once. */
static void add_totals(struct vv_load_result *total, const struct vv_load_result *r)
{
    for (size_t i = 0; i < r->view.endpoint_count; i++) {
        const struct vv_load_endpoint_result *e = &r->endpoint[i];
        if (e->answers > 0) {
            vv_load_hist_merge(total->latency, e->latency);
            vv_load_hist_merge(total->service, e->service);
            vv_load_hist_merge(total->first_byte, e->first_byte);
        }
    }
}

static void on_batch(struct vv_loop *loop, struct vv_mail *mail)
{
    struct vv_load_batch *b = VV_CONTAINER(mail, struct vv_load_batch, mail);
    struct run *run = run_of(b->gen);
    (void)loop;
    struct open_second *o = reach(run, b->second) == VV_OK ? second_open(run, b->second) : NULL;
    const uint64_t at_ns = run->total->started_unix_ns + b->second * VV_SEC;
    if (o == NULL || vv_load_result_merge(run->total, b->r) != VV_OK ||
        vv_load_periods_add(run->periods, at_ns, b->r) != VV_OK) {
        run->err = VV_ENOMEM;
    } else {
        add_window(run, b);
        add_totals(run->total, b->r);
        vv_load_hist_merge(o->latency, b->latency);
    }
    b->gen->delivered = b->second + 1;
    if (b->final) {
        b->gen->done = true;
        run->finished++;
    } else {
        vv_load_batch_return(b);
    }
    close_complete(run);
}

static void on_ready(struct vv_loop *loop, struct vv_mail *mail)
{
    struct vv_load_gen *g = VV_CONTAINER(mail, struct vv_load_gen, ready);
    (void)loop;
    run_of(g)->ready++;
    if (g->err != VV_OK) {
        run_of(g)->err = g->err;
    }
}

/* ---- the run ---- */

/* Connections that the plan surely needs; 0: nobody can know. */
static uint64_t connections_needed(const struct vv_load_view *v)
{
    uint64_t most = 0;
    for (size_t i = 0; i < v->phase_count; i++) {
        const struct vv_load_phase *p = &v->phase[i];
        most = vv_max_u64(most, vv_max_u64(vv_load_phase_users_max(p), p->users_max));
    }
    return v->pool > 0 && v->pool != UINT64_MAX ? vv_min_u64(most, v->pool) : most;
}

static enum vv_err find_descriptors(struct run *run)
{
    const struct vv_load_options *o = run->options;
    const uint64_t parts = o->parts > 0 ? o->parts : 1;
    const uint64_t needed = (connections_needed(&run->shared.view) + parts - 1) / parts;
    uint64_t have = 0;
    vv_proc_raise_nofile(FILES_WANT, &have);
    const uint64_t spare = FILES_SPARE + 8 * run->threads;
    uint64_t most = have > spare ? have - spare : 0;
    if (o->connections_max > 0) {
        most = vv_min_u64(most, o->connections_max);
    } else if (needed > most) {
        return VV_EFILES;
    }
    run->shared.connections_max = most / run->threads;
    return run->shared.connections_max > 0 ? VV_OK : VV_EFILES;
}

/* Fewer threads than users or connections: a thread without any could not do its part. */
static unsigned useful_threads(const struct vv_load_view *v, unsigned asked)
{
    uint64_t n = asked == 0 ? 1 : asked > THREADS_MAX ? THREADS_MAX : asked;
    if (v->pool > 0) {
        n = vv_min_u64(n, v->pool);
    }
    for (size_t i = 0; i < v->phase_count; i++) {
        if (v->phase[i].users_max > 0) {
            n = vv_min_u64(n, v->phase[i].users_max);
        }
    }
    return (unsigned)n;
}

static enum vv_err start_threads(struct run *run)
{
    const struct vv_load_options *o = run->options;
    const unsigned first = o->parts > 0 ? o->part * run->threads : 0;
    for (unsigned i = 0; i < run->threads; i++) {
        struct vv_load_gen *g = &run->gens[i];
        const enum vv_err err = vv_load_gen_init(g, &run->shared, first + i);
        g->run = run;
        if (err != VV_OK) {
            return err;
        }
    }
    for (unsigned i = 0; i < run->threads; i++) {
        struct vv_load_gen *g = &run->gens[i];
        const enum vv_err err = vv_thread_start(&g->thread, "load", vv_load_gen_main, g);
        if (err != VV_OK) {
            return err;
        }
    }
    while (run->ready < run->threads) {
        vv_loop_turn(run->home, TICK_NS);
    }
    for (unsigned i = 0; run->err != VV_OK && o->why != NULL && i < run->threads; i++) {
        if (run->gens[i].client.tls_error[0] != '\0') {
            vv_sb_adds(o->why, run->gens[i].client.tls_error);
            break;
        }
    }
    return run->err;
}

static void send_stop(struct run *run)
{
    run->stop_sent = true;
    run->ended_ns = vv_clock_now();
    for (unsigned i = 0; i < run->threads; i++) {
        struct vv_load_gen *g = &run->gens[i];
        if (g->thread.started && !g->done) {
            vv_loop_post(g->loop, &g->stop);
        }
    }
}

static void go(struct run *run)
{
    const uint64_t wall_ns = vv_clock_wall(), wanted_ns = run->options->start_unix_ns;
    const uint64_t wait_ns = wanted_ns > wall_ns + LEAD_NS ? wanted_ns - wall_ns : LEAD_NS;
    run->t0_ns = vv_clock_now() + wait_ns;
    run->total->started_unix_ns = wall_ns + wait_ns;
    for (unsigned i = 0; i < run->threads; i++) {
        run->gens[i].t0_ns = run->t0_ns;
        vv_loop_post(run->gens[i].loop, &run->gens[i].go);
    }
}

static void wait_for_threads(struct run *run)
{
    const volatile int *stop = run->options->stop;
    while (run->finished < run->threads) {
        vv_loop_turn(run->home, TICK_NS);
        if (stop != NULL && *stop != 0) {
            run->total->interrupted = true;
        }
        if (!run->stop_sent && (run->total->interrupted || run->err != VV_OK)) {
            send_stop(run);
        }
    }
}

/* Did every full second get its starts? */
static const char *judge(const struct run *run, uint64_t until_ns)
{
    const struct vv_load_result *r = run->total;
    for (size_t i = 0; i < r->window_count && (i + 1) * VV_SEC <= until_ns; i++) {
        if ((double)run->handled[i] < 0.99 * (double)r->window[i].offered) {
            const double all_ns = (double)run->threads * (double)VV_SEC;
            return (double)run->cpu_ns[i] > 0.95 * all_ns ? VV_LOAD_INVALID_CPU
                                                          : VV_LOAD_INVALID_LATE;
        }
    }
    return NULL;
}

static void conclude(struct run *run)
{
    struct vv_load_result *r = run->total;
    uint64_t until_ns = r->planned_ns, sent_ns = 0;
    if (run->stop_sent) {
        until_ns = run->ended_ns > run->t0_ns ? run->ended_ns - run->t0_ns : 0;
        until_ns = vv_min_u64(until_ns, r->planned_ns);
    }
    walk_plan(run, until_ns);
    for (size_t i = 0; i < OPEN_MAX; i++) {
        if (run->open[i].latency != NULL) {
            close_second(run, &run->open[i]);
        }
    }
    for (unsigned i = 0; i < run->threads; i++) {
        sent_ns = vv_max_u64(sent_ns, run->gens[i].last_sent_ns);
    }
    /* Users may send beyond the last phase; what they did is part of the time, too. */
    const uint64_t busy_ns = sent_ns > run->t0_ns ? sent_ns - run->t0_ns : 0;
    r->duration_ns = vv_max_u64(until_ns, busy_ns);
    r->invalid = run->options->allow_late ? NULL : judge(run, until_ns);
    r->intermediate = vv_load_periods_take(run->periods);
}

static enum vv_err prepare(struct run *run, const struct vv_load_plan *plan)
{
    const struct vv_load_options *o = run->options;
    struct vv_load_shared *s = &run->shared;
    s->plan = plan;
    vv_load_plan_view(plan, &s->view);
    s->on_ready = on_ready;
    s->on_batch = on_batch;
    s->seed = o->seed != 0 ? o->seed : vv_entropy_u64();
    run->threads = useful_threads(&s->view, o->threads);
    s->parts = (o->parts > 0 ? o->parts : 1) * run->threads;
    run->gens = calloc(run->threads, sizeof(run->gens[0]));
    /* The same starts in one walk: agent k of n with t threads has the parts k*t .. k*t+t-1. */
    vv_load_schedule_init(&run->plan, s->view.phase, s->view.phase_count, 0, 1, s->seed);
    vv_load_schedule_parts(&run->plan, o->parts > 0 ? o->part * run->threads : 0, run->threads,
                           s->parts);
    run->has_next = vv_load_schedule_next(&run->plan, &run->next);
    enum vv_err err = run->gens == NULL ? VV_ENOMEM : find_descriptors(run);
    if (err == VV_OK) {
        err = vv_loop_new(&run->home);
        s->home = run->home;
    }
    if (err == VV_OK) {
        err = vv_load_result_new(&s->view, &run->total);
    }
    if (err == VV_OK) {
        run->periods = vv_load_periods_new(&s->view);
        err = run->periods != NULL ? VV_OK : VV_ENOMEM;
    }
    if (err == VV_OK && o->period_states) {
        vv_load_periods_keep_states(run->periods);
    }
    for (size_t i = 0; err == VV_OK && i < s->view.phase_count; i++) {
        run->total->closed = run->total->closed || vv_load_phase_closed(&s->view.phase[i]);
    }
    if (err == VV_OK) { /* known before the first progress */
        run->total->planned_ns = vv_load_schedule_length(s->view.phase, s->view.phase_count);
        run->total->threads = run->threads;
    }
    return err;
}

static void clean_up(struct run *run)
{
    for (unsigned i = 0; run->gens != NULL && i < run->threads; i++) {
        vv_thread_join(&run->gens[i].thread);
    }
    for (unsigned i = 0; run->gens != NULL && i < run->threads; i++) {
        vv_load_gen_fini(&run->gens[i]);
    }
    for (size_t i = 0; i < OPEN_MAX; i++) {
        vv_load_hist_free(run->open[i].latency);
    }
    while (run->idle_count > 0) {
        vv_load_hist_free(run->idle[--run->idle_count]);
    }
    vv_load_periods_free(run->periods);
    free(run->gens);
    free(run->handled);
    free(run->cpu_ns);
    vv_loop_free(run->home);
}

enum vv_err vv_load_run(const struct vv_load_plan *plan, const struct vv_load_options *options,
                        struct vv_load_result **ret)
{
    struct run run = {.options = options};
    enum vv_err err = prepare(&run, plan);
    if (err == VV_OK) {
        err = start_threads(&run);
        if (err == VV_OK) {
            go(&run);
            wait_for_threads(&run);
            conclude(&run);
            err = run.err;
        } else {
            send_stop(&run);
        }
    }
    clean_up(&run);
    if (err != VV_OK) {
        vv_load_result_free(run.total);
        return err;
    }
    *ret = run.total;
    return VV_OK;
}
