/* src/guard/budget.h - how much may be asked twice: the budget of retries and hedges, how long to
 * wait before a retry, when to hedge.
 *
 * Model:     in a sliding window, what was asked again stays at or below a share of the first
 *            requests plus a floor per second. Retries and hedges draw on the same budget, so a
 *            service that fails altogether gets that much more load and no more.
 *            Waiting before retry n is "full jitter": anything from 0 to base x 2^n, capped.
 *            A hedge goes out after the observed quantile (95 %) of answer times.
 * Source:    budget: Finagle's RetryBudget (20 %, 10 per second, 10 s). Jitter: M. Brooker,
 *            Exponential Backoff and Jitter (2015). Hedging: Dean and Barroso, The Tail at Scale
 *            (2013).
 * Units:     *_ns monotonic nanoseconds, *_ppm parts per million.
 * Threads:   any thread at any time; a deposit and an observation take no lock.
 * Ownership: _new/_free; kept by name across reloads, conf is copied.
 * Errors:    VV_EINVAL for a conf out of range, VV_ENOMEM. */
#ifndef VV_GUARD_BUDGET_H
#define VV_GUARD_BUDGET_H
#include "base/err.h"
#include "base/rng.h"

struct vv_budget_conf {
    uint64_t share_ppm;   /* of the first requests; at most 10 x VV_PPM */
    uint64_t floor_per_s; /* so that a quiet service may be retried at all */
    uint64_t window_ns;   /* at least 10 ms; the floor of all of it may be drawn at once */
};

struct vv_budget_view {
    uint64_t requests, again;  /* in the window */
    uint64_t granted, refused; /* since the start */
};

struct vv_budget;
VV_MUST_CHECK enum vv_err vv_budget_new(const struct vv_budget_conf *conf, struct vv_budget **ret);
void vv_budget_free(struct vv_budget *b);
/* Counts stay, unless the window changes. */
VV_MUST_CHECK enum vv_err vv_budget_conf_set(struct vv_budget *b,
                                             const struct vv_budget_conf *conf);
void vv_budget_deposit(struct vv_budget *b, uint64_t now_ns); /* a request goes out first time */
/* True: one retry or hedge may go out, and was charged. */
VV_MUST_CHECK bool vv_budget_take(struct vv_budget *b, uint64_t now_ns);
void vv_budget_look(struct vv_budget *b, uint64_t now_ns, struct vv_budget_view *ret);

/* Before retry `retry` (0 is the first): uniform in [0, min(cap_ns, base_ns x 2^retry)]. */
uint64_t vv_backoff_ns(struct vv_rng *rng, uint32_t retry, uint64_t base_ns, uint64_t cap_ns);

struct vv_hedge_conf {
    uint64_t quantile_ppm;   /* 950000; below VV_PPM */
    uint64_t samples_min;    /* answers to know before anything is hedged; 1 or more */
    uint64_t min_ns, max_ns; /* the delay stays between */
    uint64_t period_ns;      /* one to two of these are remembered; at least 100 ms */
};

struct vv_hedge;
VV_MUST_CHECK enum vv_err vv_hedge_new(const struct vv_hedge_conf *conf, struct vv_hedge **ret);
void vv_hedge_free(struct vv_hedge *h);
/* What was seen stays; the delay follows with the next answer. */
VV_MUST_CHECK enum vv_err vv_hedge_conf_set(struct vv_hedge *h, const struct vv_hedge_conf *conf);
/* An answer of a first request; of one that lost to its hedge, the time at which it was given up:
 * leaving these out would shorten the delay with every hedge. */
void vv_hedge_observe(struct vv_hedge *h, uint64_t now_ns, uint64_t took_ns);
uint64_t vv_hedge_delay_ns(const struct vv_hedge *h); /* UINT64_MAX: do not hedge, not known yet */
#endif
