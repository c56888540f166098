/* src/load/limit.c - the search is a loop over an interface, so that tests run it against arithmetic.
 * Doubling first: a limit of 30,000 is found in as many steps as one of 30, and no step is far above
 * the limit, so a server is not killed to be measured. Halving cannot take a wrong answer back: a
 * miss by chance would cap everything after it, so both ends are tried once more at the end, for
 * longer, and an end that turns out the other way reopens the interval on its side. */
#include "load/limit.h"
#include "load/report_int.h"

#include <math.h>
#include <stdio.h>

#define BACKLOG_SHARE 0.015
#define BACKLOG_MIN 6.0 /* users: below, chance decides */

/* Overlong steps that check what the search came to, and how often it may go on after them. */
#define CONFIRM_TIMES 2
#define ROUNDS_MAX 3
#define RATE_MIN 0.1
#define GUESSES_MAX 4  /* then only halves, which surely end */
#define CLEAR_MISS 0.8 /* of what was asked: a server this far behind had no hiccup */
#define QUARTER 0.25   /* the longest stride downwards */

enum outcome { HELD, MISSED, OVER };

struct search {
    const struct vv_load_limit_conf *conf;
    vv_load_probe *probe;
    void *user;
    struct vv_load_step *step;
    size_t n, most;
    unsigned times; /* length of the next steps */
    struct vv_load_limit *ret;
};

/* One step, noted in what is known. */
static enum outcome run(struct search *s, double rate)
{
    struct vv_load_limit *l = s->ret;
    if (s->n == s->most) {
        return OVER;
    }
    struct vv_load_step *step = &s->step[s->n];
    *step = (struct vv_load_step){.rate = rate, .times = s->times};
    if (!s->probe(s->user, rate, step)) {
        l->stopped = true;
        return OVER;
    }
    s->n++;
    if (step->held && !step->generator) {
        l->rate = rate;
        l->best = s->n - 1;
        return HELD;
    }
    l->missed = rate;
    l->worst = s->n - 1;
    l->generator = step->generator;
    return MISSED;
}

/* A miss is believed when it happens twice in a row, the server's as well as the generator's. One
 * before anything held is believed at once, since the search only looks for its lower end then, and
 * so is one by far. */
static enum outcome decide(struct search *s, double rate)
{
    const struct vv_load_limit before = *s->ret;
    const enum outcome first = run(s, rate);
    if (first != MISSED || before.rate <= 0.0) {
        return first;
    }
    const double sustained = s->step[s->n - 1].sustained;
    if (!s->ret->generator && sustained > 0.0 && sustained < CLEAR_MISS * rate) {
        return first;
    }
    const struct vv_load_limit missed = *s->ret;
    s->ret->missed = before.missed;
    s->ret->worst = before.worst;
    s->ret->generator = before.generator;
    const enum outcome second = run(s, rate);
    if (second == OVER && !s->ret->stopped) {
        *s->ret = missed; /* no steps are left to doubt it */
    }
    return second;
}

/* Some rate that holds, at or below this one. */
static enum outcome go_down(struct search *s, double rate, double share)
{
    enum outcome o = run(s, rate);
    while (o == MISSED && rate * share >= RATE_MIN) {
        rate *= share;
        share = fmax(share * share, QUARTER);
        o = run(s, rate);
    }
    return o;
}

static enum outcome go_up(struct search *s, double factor)
{
    enum outcome o = HELD;
    while (o == HELD && s->ret->missed <= 0.0 && s->ret->rate < s->conf->max) {
        o = decide(s, fmin(s->ret->rate * factor, s->conf->max));
    }
    return o;
}

static bool inside(const struct vv_load_limit *l, double rate, double margin)
{
    return rate > l->rate * (1.0 + margin) && rate < l->missed * (1.0 - margin);
}

/* The next rate to try. What a server got done while it had too much is nearly what it can do at all:
 * just below and just above that the interval closes in two steps. The margins are unequal since a
 * step still holds a little above the capacity. */
static double between(const struct search *s, bool guess)
{
    const struct vv_load_limit *l = s->ret;
    const double precision = s->conf->precision, margin = precision / 4.0;
    const double sustained = s->step[l->worst].sustained;
    const double below = sustained * (1.0 - 0.5 * precision);
    const double above = sustained * (1.0 + 1.5 * precision);
    if (guess && inside(l, below, margin)) {
        return below;
    }
    return guess && inside(l, above, margin) ? above : (l->rate + l->missed) / 2.0;
}

static enum outcome narrow(struct search *s)
{
    const struct vv_load_limit *l = s->ret;
    enum outcome o = HELD;
    for (unsigned n = 0;
         o != OVER && l->missed > 0.0 && l->missed / l->rate > 1.0 + s->conf->precision; n++) {
        o = decide(s, between(s, n < GUESSES_MAX));
    }
    return o;
}

/* Both ends of the interval once more, for longer. True: that is the answer. Otherwise one end was
 * chance, and the interval is open on that side; long steps find its new end. */
static bool confirm(struct search *s)
{
    struct vv_load_limit *l = s->ret;
    const double precision = s->conf->precision;
    const struct vv_load_limit found = *l;
    s->times = CONFIRM_TIMES;
    enum outcome o = decide(s, found.missed);
    if (o == HELD) {
        l->missed = 0.0;
        l->generator = false;
        return go_up(s, 1.0 + 4.0 * precision) == OVER;
    }
    if (o == OVER) {
        return true;
    }
    o = decide(s, found.rate);
    if (o == MISSED && !l->generator) {
        l->rate = 0.0;
        return go_down(s, found.rate * (1.0 - 2.0 * precision), 1.0 - 2.0 * precision) != HELD;
    }
    l->confirmed = o == HELD;
    return true;
}

void vv_load_limit_search(const struct vv_load_limit_conf *conf, vv_load_probe *probe, void *user,
                          struct vv_load_step *step, size_t *ret_count, struct vv_load_limit *ret)
{
    struct search s = {.conf = conf,
                       .probe = probe,
                       .user = user,
                       .step = step,
                       .times = 1,
                       .most = vv_min_u64(conf->steps_max, VV_LOAD_STEPS_MAX),
                       .ret = ret};
    *ret = (struct vv_load_limit){0};
    bool done = go_down(&s, conf->start, QUARTER) != HELD || go_up(&s, 2.0) == OVER;
    for (unsigned rounds = 0; !done; rounds++) {
        done = narrow(&s) == OVER || ret->missed <= 0.0 || ret->generator || rounds == ROUNDS_MAX ||
               confirm(&s);
    }
    *ret_count = s.n;
}

/* What happened between the first second, which fills the server, and the last arrival, after which
 * draining is no load. */
struct middle {
    double seconds, arrived, answered;
    double more; /* users that wait at its end and did not at its beginning */
};

/* False: too short, or users were at work who wait for their answers. */
static bool middle_of(const struct vv_load_result *r, struct middle *ret)
{
    size_t last = 0;
    for (size_t i = 1; i < r->window_count; i++) {
        last = r->window[i].offered > 0 ? i : last;
    }
    *ret = (struct middle){0};
    if (last < 2 || r->closed) {
        return false;
    }
    for (size_t i = 2; i <= last; i++) {
        ret->arrived += (double)r->window[i].offered;
        ret->answered += (double)r->window[i].completed;
    }
    ret->seconds = (double)(last - 1);
    ret->more = (double)r->window[last].in_flight - (double)r->window[1].in_flight;
    return true;
}

void vv_load_step_judge(const struct vv_load_result *r, struct vv_load_judged j, double rate,
                        struct vv_load_step *ret)
{
    struct middle m;
    *ret = (struct vv_load_step){
        .rate = rate,
        .times = ret->times,
        .achieved = vv_load_value(r, "throughput"),
        .p50_ms = vv_load_value(r, "p50"),
        .p95_ms = vv_load_value(r, "p95"),
        .p99_ms = vv_load_value(r, "p99"),
        .generator = r->invalid != NULL,
        .held = true,
    };
    ret->users = ret->achieved * vv_load_value(r, "vivace.service.mean") / 1000.0;
    for (size_t i = 0; i < j.count && ret->held; i++) {
        if (j.verdict[i].gate->strict && !j.verdict[i].held) {
            struct vv_load_gate_line line;
            vv_load_gate_line(&j.verdict[i], &line);
            ret->held = false;
            (void)snprintf(ret->why, sizeof ret->why, "%.50s %.40s", line.metric, line.measured);
        }
    }
    if (r->answers == 0 || r->failed >= r->requests) {
        ret->held = false;
        (void)snprintf(ret->why, sizeof ret->why, "nothing succeeded");
    } else if (middle_of(r, &m) && m.more > fmax(BACKLOG_MIN, BACKLOG_SHARE * m.arrived)) {
        ret->sustained = m.answered / m.seconds;
        if (ret->held) {
            (void)snprintf(ret->why, sizeof ret->why, "%.0f more users waited at the end", m.more);
        }
        ret->held = false;
    }
    if (ret->generator) {
        (void)snprintf(ret->why, sizeof ret->why, "the generator was the limit");
    }
}
