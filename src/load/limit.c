/* src/load/limit.c - the search is a loop over an interface, so that tests run it against arithmetic.
 * Doubling first: a limit of 30,000 is found in as many steps as one of 30, and no step is far above
 * the limit, so a server is not killed to be measured. */
#include "load/limit.h"
#include "load/report_int.h"

#include <math.h>
#include <stdio.h>

#define BACKLOG_SHARE 0.015
#define BACKLOG_MIN 6.0 /* users: below, chance decides */

void vv_load_limit_search(const struct vv_load_limit_conf *conf, vv_load_probe *probe, void *user,
                          struct vv_load_step *step, size_t *ret_count, struct vv_load_limit *ret)
{
    const size_t most = vv_min_u64(conf->steps_max, VV_LOAD_STEPS_MAX);
    double rate = conf->start;
    bool again = false;
    size_t n = 0;
    *ret = (struct vv_load_limit){0};
    while (n < most) {
        struct vv_load_step *s = &step[n];
        *s = (struct vv_load_step){.rate = rate};
        if (!probe(user, rate, s)) {
            ret->stopped = true;
            break;
        }
        n++;
        if (s->generator) {
            ret->generator = true;
            ret->missed = ret->missed > 0.0 ? fmin(ret->missed, rate) : rate;
            ret->worst = n - 1;
        } else if (s->held) {
            ret->rate = rate;
            ret->best = n - 1;
            ret->generator = false;
        } else if (ret->rate > 0.0 && !again) {
            again = true;
            continue; /* the same rate once more */
        } else {
            ret->missed = rate;
            ret->worst = n - 1;
            ret->generator = false;
        }
        again = false;
        if (ret->rate >= conf->max) {
            break;
        }
        if (ret->missed <= 0.0) {
            rate = fmin(rate * 2.0, conf->max);
        } else if (ret->rate <= 0.0) {
            rate = rate / 4.0; /* the first step missed already: look below it */
            if (rate < 0.1) {
                break;
            }
        } else if (ret->missed / ret->rate <= 1.0 + conf->precision) {
            break;
        } else {
            rate = (ret->rate + ret->missed) / 2.0;
        }
    }
    *ret_count = n;
}

/* The first second fills the server and is left out; the draining after the last arrival is no load. */
static bool piles_up(const struct vv_load_result *r, double *ret_more)
{
    size_t last = 0;
    for (size_t i = 1; i < r->window_count; i++) {
        last = r->window[i].offered > 0 ? i : last;
    }
    if (last < 2 || r->closed) {
        return false;
    }
    double arrived = 0.0;
    for (size_t i = 2; i <= last; i++) {
        arrived += (double)r->window[i].offered;
    }
    *ret_more = (double)r->window[last].in_flight - (double)r->window[1].in_flight;
    return *ret_more > fmax(BACKLOG_MIN, BACKLOG_SHARE * arrived);
}

void vv_load_step_judge(const struct vv_load_result *r, struct vv_load_judged j, double rate,
                        struct vv_load_step *ret)
{
    double more = 0.0;
    *ret = (struct vv_load_step){
        .rate = rate,
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
    } else if (ret->held && piles_up(r, &more)) {
        ret->held = false;
        (void)snprintf(ret->why, sizeof ret->why, "%.0f more users waited at the end", more);
    }
    if (ret->generator) {
        (void)snprintf(ret->why, sizeof ret->why, "the generator was the limit");
    }
}
