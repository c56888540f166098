/* src/guard/concurrency.c - Vegas on a median, with two checks against its known ways to go wrong: a
 * base that drifts up with our own queue, and growth that brings nothing. Both look at the last
 * windows together: does time follow the number in flight (then the queue is ours), does throughput
 * follow it (then more is worth sending)? */
#include "guard/concurrency.h"

#include "guard/latency.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#define LIMIT_MAX 1000000
#define SMOOTHING 0.25 /* of the median: one of 100 exponential times is off by 14 % */
#define DROP_FACTOR 0.9
#define ALPHA 3.0             /* x log10(limit): fewer waiting grows it */
#define BETA 6.0              /* x log10(limit): more waiting shrinks it */
#define BASE_RISE 0.1         /* of the way, per window with evidence */
#define BASE_RISE_AT_MIN 0.02 /* the limit cannot go lower, so nothing else can be learned */
/* A window is so many medians long: of what was sent in a short one only the quick are back, and a
 * base from them is too low for good. */
#define WINDOW_TIMES 4
#define HISTORY 16 /* windows */
#define HISTORY_MIN 8
#define SPREAD_MIN 1.25 /* most / least in flight: below, history says nothing */
/* Elasticity to the number in flight: of time 1 if the queue is ours, 0 if not; of throughput the
 * other way round. 0.9 apart is far from no opinion: at 0.3 chance alone raised the base by half in
 * 20 simulated minutes of overload, at 0.9 by a tenth, and a service three times slower is still
 * learned in half a minute. */
#define ELASTICITY_APART 0.9
#define WORTH 0.5        /* of the share by which more were sent must come back as more answers */
#define TRIAL_FACTOR 1.3 /* a limit that stands still learns nothing: it tries a little more */
#define TRIAL_WINDOWS 4

struct window {
    double in_flight, time_ns, per_s;
};

struct vv_conc {
    _Atomic uint64_t limit, in_flight, peak;
    _Atomic uint64_t refused, dropped, answered, sum_ns;
    _Atomic uint64_t window_end_ns, samples_min;
    struct vv_latency times;
    pthread_mutex_t lock; /* over the rest */
    struct vv_conc_conf conf;
    uint64_t began_ns;
    double limit_exact, base_ns, time_ns;
    struct window history[HISTORY];
    size_t windows_kept;
    uint32_t still;      /* windows since the limit last moved while all of it was used */
    uint32_t trial;      /* windows left of a trial */
    double limit_before; /* the trial */
    _Atomic uint64_t windows, grown, shrunk, base_raised, base_seen_ns, time_seen_ns;
};

static uint64_t load(const _Atomic uint64_t *p)
{
    return atomic_load_explicit(p, memory_order_relaxed);
}

static void store(_Atomic uint64_t *p, uint64_t v)
{
    atomic_store_explicit(p, v, memory_order_relaxed);
}

static void add(_Atomic uint64_t *p, uint64_t v)
{
    atomic_fetch_add_explicit(p, v, memory_order_relaxed);
}

enum vv_err vv_conc_conf_set(struct vv_conc *c, const struct vv_conc_conf *conf)
{
    if (conf->min < 1 || conf->initial < conf->min || conf->max < conf->initial ||
        conf->max > LIMIT_MAX || conf->window_ns < 10 * VV_MS || conf->window_ns > VV_HOUR ||
        conf->samples_min < 10) {
        return VV_EINVAL;
    }
    pthread_mutex_lock(&c->lock);
    c->conf = *conf;
    if (c->limit_exact <= 0) {
        c->limit_exact = (double)conf->initial;
    }
    c->limit_exact = fmin(fmax(c->limit_exact, (double)conf->min), (double)conf->max);
    store(&c->limit, (uint64_t)c->limit_exact);
    store(&c->samples_min, conf->samples_min);
    pthread_mutex_unlock(&c->lock);
    return VV_OK;
}

enum vv_err vv_conc_new(const struct vv_conc_conf *conf, struct vv_conc **ret)
{
    struct vv_conc *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return VV_ENOMEM;
    }
    pthread_mutex_init(&c->lock, NULL);
    const enum vv_err err = vv_conc_conf_set(c, conf);
    if (err != VV_OK) {
        vv_conc_free(c);
        return err;
    }
    *ret = c;
    return VV_OK;
}

void vv_conc_free(struct vv_conc *c)
{
    if (c != NULL) {
        pthread_mutex_destroy(&c->lock);
        free(c);
    }
}

bool vv_conc_enter(struct vv_conc *c)
{
    uint64_t in_flight = load(&c->in_flight);
    do {
        if (in_flight >= load(&c->limit)) {
            add(&c->refused, 1);
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&c->in_flight, &in_flight, in_flight + 1,
                                                    memory_order_relaxed, memory_order_relaxed));
    if (in_flight + 1 > load(&c->peak)) {
        store(&c->peak, in_flight + 1); /* a race loses a count or two: good enough for "half" */
    }
    return true;
}

/* What the kept windows say: slope of y on the number in flight, and the means. */
struct trend {
    bool known;
    double slope, mean_in_flight, mean_y;
};

static struct trend trend_of(const struct vv_conc *c, bool of_time)
{
    const size_t n = c->windows_kept < HISTORY ? c->windows_kept : HISTORY;
    double least = INFINITY;
    double most = 0;
    double sx = 0;
    double sy = 0;
    double sxx = 0;
    double sxy = 0;
    for (size_t i = 0; i < n; i++) {
        const double x = c->history[i].in_flight;
        const double y = of_time ? c->history[i].time_ns : c->history[i].per_s;
        least = fmin(least, x);
        most = fmax(most, x);
        sx += x;
        sy += y;
        sxx += x * x;
        sxy += x * y;
    }
    const double count = (double)n;
    const double spread = sxx - sx * sx / count;
    if (n < HISTORY_MIN || most < least * SPREAD_MIN || spread <= 0) {
        return (struct trend){.known = false};
    }
    return (struct trend){.known = true,
                          .slope = (sxy - sx * sy / count) / spread,
                          .mean_in_flight = sx / count,
                          .mean_y = sy / count};
}

/* Under load times may be long because of us. They are not when more in flight brings more answers
 * instead of longer times. Little's law makes the two elasticities add up to one, so their
 * difference says the same thing twice, with less noise. */
static bool time_is_not_ours(const struct vv_conc *c)
{
    const struct trend time = trend_of(c, true);
    const struct trend rate = trend_of(c, false);
    return time.known && rate.known &&
           time.slope * time.mean_in_flight / time.mean_y + ELASTICITY_APART <
               rate.slope * rate.mean_in_flight / rate.mean_y;
}

static void judge_base(struct vv_conc *c, bool low_load)
{
    if (c->base_ns <= 0 || c->time_ns < c->base_ns) {
        c->base_ns = c->time_ns;
        return;
    }
    double rise = 0;
    if (low_load || time_is_not_ours(c)) {
        rise = BASE_RISE;
    } else if (c->limit_exact <= (double)c->conf.min) {
        rise = BASE_RISE_AT_MIN;
    }
    if (rise > 0) {
        c->base_ns += rise * (c->time_ns - c->base_ns);
        add(&c->base_raised, 1);
    }
}

/* More in flight has lately meant longer times and hardly more answers. */
static bool more_brought_nothing(const struct vv_conc *c)
{
    const struct trend rate = trend_of(c, false);
    return rate.known && rate.slope * rate.mean_in_flight < WORTH * rate.mean_y;
}

static void set_limit(struct vv_conc *c, double limit)
{
    c->limit_exact = fmin(fmax(limit, (double)c->conf.min), (double)c->conf.max);
    store(&c->limit, (uint64_t)c->limit_exact);
}

static void judge_limit(struct vv_conc *c, double in_flight, uint64_t peak, bool dropped)
{
    const double was = c->limit_exact;
    const double step = fmax(1, log10(was));
    const double waiting = in_flight * (1 - c->base_ns / c->time_ns);
    double next = was;
    if (dropped) {
        next = was * DROP_FACTOR;
    } else if (waiting > BETA * step) {
        next = was - fmax(step, (waiting - BETA * step) / 2);
    } else if (waiting < ALPHA * step && (double)peak * 2 >= was) {
        const struct trend t = trend_of(c, false);
        if (!t.known || t.slope > 0) {
            next = was + (waiting < step ? BETA * step : step);
        }
    } else if (waiting > ALPHA * step && (double)peak + 1 > was && more_brought_nothing(c)) {
        next = was - step / 4; /* they could as well wait here, where they can be let go */
    }
    add(&c->grown, next > was);
    add(&c->shrunk, next < was);
    c->still = next >= was && next <= was && (double)peak + 1 > was ? c->still + 1 : 0;
    set_limit(c, next);
}

/* Between growing and shrinking, a limit that is used up stays where it is, and with it everything
 * that could tell whether `base` is still right. So every now and then it is more for a few windows:
 * load is never held back to learn. False: no trial is on. */
static bool try_more(struct vv_conc *c, bool dropped)
{
    if (c->trial > 0) {
        c->trial--;
        if (c->trial == 0 || dropped) {
            c->trial = 0;
            set_limit(c, c->limit_before);
        }
        return true;
    }
    if (c->still >= HISTORY - TRIAL_WINDOWS) {
        c->still = 0;
        c->trial = TRIAL_WINDOWS;
        c->limit_before = c->limit_exact;
        set_limit(c, fmax(c->limit_exact * TRIAL_FACTOR, c->limit_exact + 2));
        return true;
    }
    return false;
}

/* Under the lock. Takes the counts of the window and begins the next one, or lets it go on. */
static void judge(struct vv_conc *c, uint64_t now_ns)
{
    uint64_t samples = 0;
    const uint64_t median_ns = vv_latency_quantile(&c->times, VV_PPM / 2, &samples);
    if (now_ns - c->began_ns < WINDOW_TIMES * median_ns && load(&c->dropped) == 0) {
        store(&c->window_end_ns, c->began_ns + WINDOW_TIMES * median_ns);
        return;
    }
    const uint64_t answered = atomic_exchange_explicit(&c->answered, 0, memory_order_relaxed);
    const uint64_t sum_ns = atomic_exchange_explicit(&c->sum_ns, 0, memory_order_relaxed);
    const uint64_t dropped = atomic_exchange_explicit(&c->dropped, 0, memory_order_relaxed);
    const uint64_t peak =
        atomic_exchange_explicit(&c->peak, load(&c->in_flight), memory_order_relaxed);
    const double length_ns = (double)vv_max_u64(now_ns - c->began_ns, 1);
    const double in_flight = (double)sum_ns / length_ns; /* Little: rate x time */
    vv_latency_turn(&c->times);
    vv_latency_turn(&c->times); /* both halves: a window stands alone */
    if (median_ns > 0) {
        c->time_ns = c->time_ns <= 0 ? (double)median_ns
                                     : c->time_ns + SMOOTHING * ((double)median_ns - c->time_ns);
        c->history[c->windows_kept++ % HISTORY] =
            (struct window){.in_flight = (double)peak, /* means are noisy: a spread of noise */
                            .time_ns = (double)median_ns,
                            .per_s = (double)answered * (double)VV_SEC / length_ns};
        judge_base(c, (double)peak * 2 < c->limit_exact);
    }
    if (!try_more(c, dropped > 0) && (c->time_ns > 0 || dropped > 0)) {
        judge_limit(c, c->time_ns > 0 ? in_flight : 0, peak, dropped > 0);
    }
    store(&c->base_seen_ns, (uint64_t)c->base_ns);
    store(&c->time_seen_ns, (uint64_t)c->time_ns);
    add(&c->windows, 1);
    c->began_ns = now_ns;
    store(&c->window_end_ns, now_ns + c->conf.window_ns);
}

void vv_conc_leave(struct vv_conc *c, uint64_t now_ns, uint64_t took_ns,
                   enum vv_conc_outcome outcome)
{
    const uint64_t was = atomic_fetch_sub_explicit(&c->in_flight, 1, memory_order_relaxed);
    VV_ASSERT(was > 0);
    if (outcome == VV_CONC_IGNORED) {
        return;
    }
    if (outcome == VV_CONC_DROPPED) {
        add(&c->dropped, 1);
    } else {
        vv_latency_add(&c->times, took_ns);
        add(&c->answered, 1);
        add(&c->sum_ns, took_ns);
    }
    const uint64_t end_ns = load(&c->window_end_ns);
    if (now_ns < end_ns || load(&c->answered) + load(&c->dropped) < load(&c->samples_min) ||
        pthread_mutex_trylock(&c->lock) != 0) {
        return;
    }
    if (end_ns == 0) { /* the very first: there is no window yet */
        c->began_ns = now_ns;
        store(&c->window_end_ns, now_ns + c->conf.window_ns);
    } else if (load(&c->window_end_ns) == end_ns) {
        judge(c, now_ns);
    }
    pthread_mutex_unlock(&c->lock);
}

void vv_conc_look(const struct vv_conc *c, struct vv_conc_view *ret)
{
    *ret = (struct vv_conc_view){.limit = load(&c->limit),
                                 .in_flight = load(&c->in_flight),
                                 .base_ns = load(&c->base_seen_ns),
                                 .time_ns = load(&c->time_seen_ns),
                                 .refused = load(&c->refused),
                                 .windows = load(&c->windows),
                                 .grown = load(&c->grown),
                                 .shrunk = load(&c->shrunk),
                                 .base_raised = load(&c->base_raised)};
}
