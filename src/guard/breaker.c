/* src/guard/breaker.c - the state and its era are one word, so the way through a closed circuit is
 * one load, and an outcome can tell whether it belongs to the present era. An outcome of an earlier
 * one is old news: the failures that opened the circuit would otherwise fail its first probe. */
#include "guard/breaker.h"

#include "guard/slices.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define CONF_WORDS (sizeof(struct vv_breaker_conf) / sizeof(uint64_t))
#define CONF(b, field)                                                                             \
    atomic_load_explicit(&(b)->conf[offsetof(struct vv_breaker_conf, field) / sizeof(uint64_t)],   \
                         memory_order_relaxed)
#define WINDOW_MIN_NS (10 * VV_MS)
#define STATE_BITS 2
#define WAIT_FOR_PROBE_MAX_NS VV_SEC /* what to tell those who come while probes are out */
#define DOUBLINGS_MAX 20

#define EDGES(X)                                                                                   \
    X(CLOSED, OPEN)                                                                                \
    X(OPEN, HALF_OPEN)                                                                             \
    X(HALF_OPEN, CLOSED)                                                                           \
    X(HALF_OPEN, OPEN)                                                                             \
    X(OPEN, CLOSED)   /* an operator's reset */                                                    \
    X(CLOSED, CLOSED) /* the same */
#define AS_EDGE(from, to) [VV_BREAKER_##from][VV_BREAKER_##to] = true,
static const bool edge[3][3] = {EDGES(AS_EDGE)};

struct probe {
    uint64_t until_ns; /* of its lease; 0: free */
    uint32_t lease;
};

struct vv_breaker {
    _Atomic uint64_t conf[CONF_WORDS];
    _Atomic uint32_t era_state; /* era above STATE_BITS */
    _Atomic uint32_t mode;
    _Atomic uint32_t changes;
    _Atomic uint64_t since_ns, open_until_ns;
    _Atomic uint64_t probes_full_until_ns; /* HALF_OPEN: asking before is in vain */
    _Atomic uint64_t in_a_row;
    _Atomic uint64_t suspect_until_ns;
    _Atomic uint64_t opened, refused, probes, probes_lost, entered[3]; /* by state */
    struct vv_slices total, failed, slow;
    pthread_mutex_t lock; /* over changes of state, mode and conf, and over what follows */
    uint64_t reopened;    /* openings since it was last closed, but the first */
    uint64_t successes;   /* of probes */
    uint32_t leases;      /* given so far */
    struct probe probe[VV_BREAKER_PROBES_MAX];
};

static const char *const state_names[] = {[VV_BREAKER_CLOSED] = "closed",
                                          [VV_BREAKER_OPEN] = "open",
                                          [VV_BREAKER_HALF_OPEN] = "half_open"};

const char *vv_breaker_state_name(enum vv_breaker_state s)
{
    VV_ASSERT((unsigned)s < VV_COUNT(state_names));
    return state_names[s];
}

static enum vv_breaker_state state_of(uint32_t era_state)
{
    return (enum vv_breaker_state)(era_state & ((1U << STATE_BITS) - 1));
}

static uint32_t era_of(uint32_t era_state)
{
    return era_state >> STATE_BITS;
}

static uint32_t era_state(const struct vv_breaker *b)
{
    return atomic_load_explicit(&b->era_state, memory_order_acquire);
}

static void count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* The only writer of the state; under the lock. Every era begins with nothing counted. */
static void enter(struct vv_breaker *b, enum vv_breaker_state to, uint64_t now_ns)
{
    const uint32_t was = era_state(b);
    VV_ASSERT(edge[state_of(was)][to]);
    vv_slices_clear(&b->total);
    vv_slices_clear(&b->failed);
    vv_slices_clear(&b->slow);
    atomic_store_explicit(&b->in_a_row, 0, memory_order_relaxed);
    atomic_store_explicit(&b->probes_full_until_ns, 0, memory_order_relaxed);
    atomic_store_explicit(&b->since_ns, now_ns, memory_order_relaxed);
    memset(b->probe, 0, sizeof(b->probe));
    b->successes = 0;
    if (to == VV_BREAKER_CLOSED) {
        b->reopened = 0;
    }
    atomic_fetch_add_explicit(&b->changes, 1, memory_order_relaxed);
    count(&b->entered[to]);
    atomic_store_explicit(&b->era_state, (era_of(was) + 1) << STATE_BITS | (uint32_t)to,
                          memory_order_release);
}

static void open_it(struct vv_breaker *b, uint64_t now_ns)
{
    uint64_t wait_ns = CONF(b, open_ns);
    const uint64_t most_ns = vv_max_u64(CONF(b, open_ns_max), wait_ns);
    for (uint64_t i = 0; i < vv_min_u64(b->reopened, DOUBLINGS_MAX) && wait_ns < most_ns; i++) {
        wait_ns *= 2;
    }
    wait_ns = vv_min_u64(wait_ns, most_ns);
    atomic_store_explicit(&b->open_until_ns, now_ns + wait_ns, memory_order_relaxed);
    count(&b->opened);
    enter(b, VV_BREAKER_OPEN, now_ns);
}

static bool conf_good(const struct vv_breaker_conf *c)
{
    return c->window_ns >= WINDOW_MIN_NS && c->volume_min > 0 && c->open_ns > 0 &&
           c->open_ns < 366 * VV_DAY && c->open_ns_max < 366 * VV_DAY && c->probes > 0 &&
           c->probes <= VV_BREAKER_PROBES_MAX && c->probe_successes > 0 && c->probe_lease_ns > 0 &&
           c->fail_ppm_max <= VV_PPM && c->slow_ppm_max <= VV_PPM &&
           (c->slow_ns == 0) == (c->slow_ppm_max == 0);
}

enum vv_err vv_breaker_conf_set(struct vv_breaker *b, const struct vv_breaker_conf *conf)
{
    uint64_t word[CONF_WORDS];
    if (!conf_good(conf)) {
        return VV_EINVAL;
    }
    memcpy(word, conf, sizeof(word));
    pthread_mutex_lock(&b->lock);
    if (CONF(b, window_ns) != conf->window_ns) { /* slices of another length mean nothing */
        vv_slices_clear(&b->total);
        vv_slices_clear(&b->failed);
        vv_slices_clear(&b->slow);
    }
    for (size_t i = 0; i < CONF_WORDS; i++) {
        atomic_store_explicit(&b->conf[i], word[i], memory_order_relaxed);
    }
    pthread_mutex_unlock(&b->lock);
    return VV_OK;
}

enum vv_err vv_breaker_new(const struct vv_breaker_conf *conf, uint64_t now_ns,
                           struct vv_breaker **ret)
{
    struct vv_breaker *b = calloc(1, sizeof(*b));
    if (b == NULL) {
        return VV_ENOMEM;
    }
    pthread_mutex_init(&b->lock, NULL);
    atomic_init(&b->since_ns, now_ns);
    const enum vv_err err = vv_breaker_conf_set(b, conf);
    if (err != VV_OK) {
        vv_breaker_free(b);
        return err;
    }
    *ret = b;
    return VV_OK;
}

void vv_breaker_free(struct vv_breaker *b)
{
    if (b != NULL) {
        pthread_mutex_destroy(&b->lock);
        free(b);
    }
}

/* Under the lock, HALF_OPEN. No more probes than are still needed, none beyond the free places. */
static bool take_probe(struct vv_breaker *b, uint64_t now_ns, struct vv_breaker_permit *ret)
{
    const uint64_t needed =
        CONF(b, probe_successes); /* a new conf may want fewer than there were */
    const uint64_t places =
        vv_min_u64(CONF(b, probes), needed > b->successes ? needed - b->successes : 1);
    uint64_t out = 0;
    uint64_t first_ns = UINT64_MAX;
    size_t at = VV_BREAKER_PROBES_MAX;
    for (size_t i = 0; i < VV_BREAKER_PROBES_MAX; i++) {
        struct probe *p = &b->probe[i];
        if (p->until_ns != 0 && p->until_ns <= now_ns) {
            p->until_ns = 0;
            count(&b->probes_lost);
        }
        if (p->until_ns != 0) {
            out++;
            first_ns = vv_min_u64(first_ns, p->until_ns);
        } else if (at == VV_BREAKER_PROBES_MAX) {
            at = i;
        }
    }
    if (out >= places) {
        atomic_store_explicit(&b->probes_full_until_ns, first_ns, memory_order_relaxed);
        return false;
    }
    b->probe[at] =
        (struct probe){.until_ns = now_ns + CONF(b, probe_lease_ns), .lease = ++b->leases};
    *ret = (struct vv_breaker_permit){
        .era = era_of(era_state(b)), .lease = b->leases, .probe = (uint8_t)(at + 1)};
    count(&b->probes);
    return true;
}

static bool refuse(struct vv_breaker *b, uint64_t wait_ns, uint64_t *reterr_wait_ns)
{
    count(&b->refused);
    *reterr_wait_ns = wait_ns;
    return false;
}

/* OPEN or HALF_OPEN: how long asking would be in vain; 0: ask. */
static uint64_t wait_in_vain(struct vv_breaker *b, enum vv_breaker_state state, uint64_t now_ns)
{
    const bool open = state == VV_BREAKER_OPEN;
    const uint64_t until_ns = atomic_load_explicit(
        open ? &b->open_until_ns : &b->probes_full_until_ns, memory_order_relaxed);
    const uint64_t wait_ns = until_ns > now_ns ? until_ns - now_ns : 0;
    return open ? wait_ns : vv_min_u64(wait_ns, WAIT_FOR_PROBE_MAX_NS);
}

/* Not CLOSED when it was looked at. */
static bool admit_probe(struct vv_breaker *b, enum vv_breaker_state seen, uint64_t now_ns,
                        struct vv_breaker_permit *ret, uint64_t *reterr_wait_ns)
{
    uint64_t wait_ns = wait_in_vain(b, seen, now_ns);
    if (wait_ns > 0) {
        return refuse(b, wait_ns, reterr_wait_ns);
    }
    pthread_mutex_lock(&b->lock);
    if (state_of(era_state(b)) == VV_BREAKER_OPEN &&
        wait_in_vain(b, VV_BREAKER_OPEN, now_ns) == 0) {
        enter(b, VV_BREAKER_HALF_OPEN, now_ns);
    }
    const uint32_t now_is = era_state(b);
    bool admitted = state_of(now_is) == VV_BREAKER_CLOSED;
    if (admitted) {
        *ret = (struct vv_breaker_permit){.era = era_of(now_is)};
    } else {
        admitted = state_of(now_is) == VV_BREAKER_HALF_OPEN && take_probe(b, now_ns, ret);
        wait_ns = wait_in_vain(b, state_of(now_is), now_ns);
    }
    pthread_mutex_unlock(&b->lock);
    return admitted || refuse(b, wait_ns, reterr_wait_ns);
}

bool vv_breaker_admit(struct vv_breaker *b, uint64_t now_ns, struct vv_breaker_permit *ret,
                      uint64_t *reterr_wait_ns)
{
    const uint32_t mode = atomic_load_explicit(&b->mode, memory_order_relaxed);
    const uint32_t seen = era_state(b);
    if (VV_UNLIKELY(mode == VV_BREAKER_FORCED_OPEN)) {
        return refuse(b, 0, reterr_wait_ns);
    }
    if (VV_LIKELY(state_of(seen) == VV_BREAKER_CLOSED || mode == VV_BREAKER_FORCED_CLOSED)) {
        *ret = (struct vv_breaker_permit){.era = era_of(seen)};
        return true;
    }
    return admit_probe(b, state_of(seen), now_ns, ret, reterr_wait_ns);
}

static bool over(uint64_t part, uint64_t total, uint64_t ppm_max)
{
    return ppm_max > 0 && part * VV_PPM > total * ppm_max;
}

static bool must_open(struct vv_breaker *b, uint64_t now_ns, uint64_t in_a_row)
{
    const uint64_t limit = CONF(b, consecutive);
    if (in_a_row > 0 && now_ns < atomic_load_explicit(&b->suspect_until_ns, memory_order_relaxed)) {
        return true;
    }
    if (limit > 0 && in_a_row >= limit) {
        return true;
    }
    const uint64_t slice_ns = CONF(b, window_ns) / VV_SLICES;
    const uint64_t total = vv_slices_sum(&b->total, slice_ns, now_ns);
    return total >= CONF(b, volume_min) &&
           (over(vv_slices_sum(&b->failed, slice_ns, now_ns), total, CONF(b, fail_ppm_max)) ||
            over(vv_slices_sum(&b->slow, slice_ns, now_ns), total, CONF(b, slow_ppm_max)));
}

static void trip(struct vv_breaker *b, uint64_t now_ns, uint32_t era)
{
    pthread_mutex_lock(&b->lock);
    const uint32_t is = era_state(b);
    if (era_of(is) == era && state_of(is) == VV_BREAKER_CLOSED &&
        atomic_load_explicit(&b->mode, memory_order_relaxed) == VV_BREAKER_AUTO) {
        open_it(b, now_ns);
    }
    pthread_mutex_unlock(&b->lock);
}

/* CLOSED. Only a failure or a slow call can raise a share, so only these are judged. */
static void report_closed(struct vv_breaker *b, uint64_t now_ns, uint32_t era, bool failed,
                          uint64_t took_ns)
{
    const uint64_t slice_ns = CONF(b, window_ns) / VV_SLICES;
    const uint64_t slow_ns = CONF(b, slow_ns);
    const bool slow = slow_ns > 0 && took_ns >= slow_ns;
    uint64_t in_a_row = 0;
    vv_slices_add(&b->total, slice_ns, now_ns, 1);
    if (slow) {
        vv_slices_add(&b->slow, slice_ns, now_ns, 1);
    }
    if (failed) {
        vv_slices_add(&b->failed, slice_ns, now_ns, 1);
        in_a_row = atomic_fetch_add_explicit(&b->in_a_row, 1, memory_order_relaxed) + 1;
    } else if (atomic_load_explicit(&b->in_a_row, memory_order_relaxed) != 0) {
        atomic_store_explicit(&b->in_a_row, 0, memory_order_relaxed);
    }
    if ((failed || slow) && must_open(b, now_ns, in_a_row)) {
        trip(b, now_ns, era);
    }
}

static void report_probe(struct vv_breaker *b, uint64_t now_ns, const struct vv_breaker_permit *p,
                         enum vv_breaker_outcome outcome, bool slow)
{
    pthread_mutex_lock(&b->lock);
    struct probe *probe = &b->probe[p->probe - 1];
    const uint32_t is = era_state(b);
    /* A lease that ran out may be somebody else's by now. */
    if (era_of(is) == p->era && state_of(is) == VV_BREAKER_HALF_OPEN && probe->until_ns != 0 &&
        probe->lease == p->lease) {
        probe->until_ns = 0;
        atomic_store_explicit(&b->probes_full_until_ns, 0, memory_order_relaxed);
        if (outcome == VV_BREAKER_FAILED || (outcome == VV_BREAKER_OK && slow)) {
            b->reopened++;
            open_it(b, now_ns);
        } else if (outcome == VV_BREAKER_OK && ++b->successes >= CONF(b, probe_successes)) {
            enter(b, VV_BREAKER_CLOSED, now_ns);
        }
    }
    pthread_mutex_unlock(&b->lock);
}

void vv_breaker_report(struct vv_breaker *b, uint64_t now_ns, const struct vv_breaker_permit *p,
                       enum vv_breaker_outcome outcome, uint64_t took_ns)
{
    const uint32_t is = era_state(b);
    if (era_of(is) != p->era) {
        return;
    }
    if (p->probe != 0) {
        const uint64_t slow_ns = CONF(b, slow_ns);
        report_probe(b, now_ns, p, outcome, slow_ns > 0 && took_ns >= slow_ns);
    } else if (state_of(is) == VV_BREAKER_CLOSED && outcome != VV_BREAKER_UNKNOWN) {
        report_closed(b, now_ns, p->era, outcome == VV_BREAKER_FAILED, took_ns);
    }
}

void vv_breaker_suspect(struct vv_breaker *b, uint64_t until_ns)
{
    atomic_store_explicit(&b->suspect_until_ns, until_ns, memory_order_relaxed);
}

void vv_breaker_force(struct vv_breaker *b, enum vv_breaker_mode mode, uint64_t now_ns)
{
    pthread_mutex_lock(&b->lock);
    atomic_store_explicit(&b->mode, (uint32_t)mode, memory_order_relaxed);
    atomic_store_explicit(&b->since_ns, now_ns, memory_order_relaxed);
    atomic_fetch_add_explicit(&b->changes, 1, memory_order_relaxed);
    pthread_mutex_unlock(&b->lock);
}

void vv_breaker_reset(struct vv_breaker *b, uint64_t now_ns)
{
    pthread_mutex_lock(&b->lock);
    atomic_store_explicit(&b->mode, (uint32_t)VV_BREAKER_AUTO, memory_order_relaxed);
    enter(b, VV_BREAKER_CLOSED, now_ns);
    pthread_mutex_unlock(&b->lock);
}

void vv_breaker_look(struct vv_breaker *b, uint64_t now_ns, struct vv_breaker_view *ret)
{
    pthread_mutex_lock(&b->lock); /* for a consistent picture; nobody looks often */
    const uint64_t slice_ns = CONF(b, window_ns) / VV_SLICES;
    const uint64_t until_ns = atomic_load_explicit(&b->open_until_ns, memory_order_relaxed);
    const uint64_t suspect_ns = atomic_load_explicit(&b->suspect_until_ns, memory_order_relaxed);
    *ret = (struct vv_breaker_view){
        .state = state_of(era_state(b)),
        .mode = (enum vv_breaker_mode)atomic_load_explicit(&b->mode, memory_order_relaxed),
        .changes = atomic_load_explicit(&b->changes, memory_order_relaxed),
        .since_ns = atomic_load_explicit(&b->since_ns, memory_order_relaxed),
        .suspect_until_ns = suspect_ns > now_ns ? suspect_ns : 0,
        .in_a_row = atomic_load_explicit(&b->in_a_row, memory_order_relaxed),
        .total = vv_slices_sum(&b->total, slice_ns, now_ns),
        .failed = vv_slices_sum(&b->failed, slice_ns, now_ns),
        .slow = vv_slices_sum(&b->slow, slice_ns, now_ns),
        .opened = atomic_load_explicit(&b->opened, memory_order_relaxed),
        .refused = atomic_load_explicit(&b->refused, memory_order_relaxed),
        .probes = atomic_load_explicit(&b->probes, memory_order_relaxed),
        .probes_lost = atomic_load_explicit(&b->probes_lost, memory_order_relaxed)};
    for (size_t i = 0; i < VV_COUNT(ret->entered); i++) {
        ret->entered[i] = atomic_load_explicit(&b->entered[i], memory_order_relaxed);
    }
    if (ret->state == VV_BREAKER_OPEN) {
        ret->open_until_ns = until_ns;
        ret->state = now_ns >= until_ns ? VV_BREAKER_HALF_OPEN : VV_BREAKER_OPEN;
    }
    pthread_mutex_unlock(&b->lock);
}
