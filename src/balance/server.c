/* src/balance/server.c - one server: outcomes in, transitions out. The state is always worked out
 * from three independent facts (draining, down, ejected) instead of being moved along edges,
 * because an operator, a check and a request may each change their own fact at any time, in any
 * order. */
#include "balance/balance_int.h"

#include <stdlib.h>

/* A failure before any success was seen counts as this long. */
#define FAILURE_UNKNOWN_NS VV_MS

static const char *const state_names[VV_SERVER_STATE_COUNT] = {
    [VV_SERVER_UP] = "up",
    [VV_SERVER_EJECTED] = "ejected",
    [VV_SERVER_DOWN] = "down",
    [VV_SERVER_DRAINING] = "draining",
};

const char *vv_server_state_name(enum vv_server_state s)
{
    VV_ASSERT((unsigned)s < VV_SERVER_STATE_COUNT);
    return state_names[s];
}

/* The address takes part only when the name alone would not tell two servers apart: a server that
 * comes back under another address should keep its keys. */
static uint32_t hash_of(const struct vv_server_spec *spec, bool name_is_shared)
{
    uint64_t h = vv_str_hash(vv_str_from(spec->name), 0);
    if (name_is_shared) {
        h = vv_str_hash((struct vv_str){(const char *)&spec->addr.any, spec->addr.len}, h);
    }
    return (uint32_t)(h ^ (h >> 32));
}

enum vv_err vv_server_new(struct vv_service_state *s, const struct vv_server_spec *spec,
                          bool name_is_shared, struct vv_server **ret)
{
    struct vv_server *made = aligned_alloc(VV_CACHE_LINE, sizeof(*made));
    char *name = strdup(spec->name);
    if (made == NULL || name == NULL) {
        free(made);
        free(name);
        return VV_ENOMEM;
    }
    memset(made, 0, sizeof(*made));
    made->name = name;
    made->addr = spec->addr;
    made->service = s;
    made->index_hash = hash_of(spec, name_is_shared);
    atomic_init(&made->refs, 1);
    atomic_init(&made->weight, 1);
    atomic_fetch_add_explicit(&s->held, 1, memory_order_relaxed);
    *ret = made;
    return VV_OK;
}

void vv_server_ref(struct vv_server *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
}

void vv_server_unref(struct vv_server *s)
{
    if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    if (s->user_free != NULL) {
        s->user_free(s->user);
    }
    struct vv_service_state *service = s->service;
    free(s->name);
    free(s);
    vv_service_state_release(service);
}

bool vv_server_usable(const struct vv_server *server, uint64_t now_ns)
{
    return vv_server_effective(server, now_ns, 0, false) != 0;
}

/* The only writer of s->state. Coming back starts the ramp of slow start. */
static void settle(struct vv_server *s, uint64_t now_ns)
{
    const uint32_t was = atomic_load_explicit(&s->state, memory_order_relaxed);
    const uint32_t is = s->draining  ? VV_SERVER_DRAINING
                        : s->down    ? VV_SERVER_DOWN
                        : s->ejected ? VV_SERVER_EJECTED
                                     : VV_SERVER_UP;
    if (is == was) {
        return;
    }
    if (is == VV_SERVER_UP) {
        atomic_store_explicit(&s->up_since_ns, vv_max_u64(now_ns, 1), memory_order_relaxed);
    }
    atomic_store_explicit(&s->state, is, memory_order_release);
}

static void forget_failures(struct vv_server *s)
{
    s->ejected = s->probing = s->by_outlier = false;
    s->fail_next = 0;
    atomic_store_explicit(&s->fails, 0, memory_order_relaxed);
    atomic_store_explicit(&s->consecutive, 0, memory_order_relaxed);
    atomic_store_explicit(&s->ejected_until_ns, 0, memory_order_relaxed);
}

static void put_out(struct vv_server *s, uint64_t for_ns, bool by_outlier, uint64_t now_ns)
{
    s->ejected = true;
    s->probing = false;
    s->by_outlier = by_outlier;
    s->ejected_for_ns = for_ns;
    atomic_store_explicit(&s->ejected_until_ns, now_ns + for_ns, memory_order_relaxed);
    settle(s, now_ns);
}

/* Counts the set's servers, and those other than `but` that are proven to work. */
static size_t count_up(const struct vv_server_set *set, const struct vv_server *but,
                       size_t *ret_out)
{
    size_t up = 0;
    size_t out = 0;
    for (size_t i = 0; set != NULL && i < set->count; i++) {
        const struct vv_server *s = set->server[i];
        const uint32_t state = atomic_load_explicit(&s->state, memory_order_relaxed);
        up += s != but && state == VV_SERVER_UP;
        out += state == VV_SERVER_EJECTED || state == VV_SERVER_DOWN;
    }
    *ret_out = out;
    return up;
}

/* Every server failed: that is more likely the network or the requests than all of them at once. */
static void panic(struct vv_service_state *service, uint64_t now_ns)
{
    atomic_fetch_add_explicit(&service->panics, 1, memory_order_relaxed);
    for (size_t i = 0; service->set != NULL && i < service->set->count; i++) {
        struct vv_server *s = service->set->server[i];
        if (s->ejected) {
            forget_failures(s);
            settle(s, now_ns);
        }
    }
}

/* How long this ejection by the outlier rule lasts. Counts it. */
static uint64_t outlier_time(struct vv_server *s, uint64_t now_ns)
{
    uint32_t times = atomic_load_explicit(&s->ejections, memory_order_relaxed);
    const uint64_t up_ns = atomic_load_explicit(&s->up_since_ns, memory_order_relaxed);
    if (!s->ejected && vv_since(up_ns, now_ns) >= s->ejected_for_ns) {
        times = 0; /* it stayed up for as long as it had been out: a new story */
    }
    times += times < VV_EJECT_TIMES_MAX;
    atomic_store_explicit(&s->ejections, times, memory_order_relaxed);
    return s->service->conf.fail_timeout_ns * times;
}

bool vv_server_eject_outlier(struct vv_server *s, uint64_t now_ns)
{
    const struct vv_service_state *service = s->service;
    const struct vv_service_conf *conf = &service->conf;
    size_t out = 0;
    if (s->ejected || s->down || s->draining || conf->fail_timeout_ns == 0 ||
        count_up(service->set, s, &out) == 0) {
        return false;
    }
    /* One may always go, as long as another stays: half of a pool of three is one, not none. */
    if (out > 0 && (out + 1) * VV_PPM > service->set->count * conf->max_ejected_ppm) {
        return false;
    }
    atomic_store_explicit(&s->consecutive, 0, memory_order_relaxed);
    put_out(s, outlier_time(s, now_ns), true, now_ns);
    return true;
}

/* Remembers when the last failures were, so that "n inside a window" is exact for any window. */
static bool too_many_fails(struct vv_server *s, const struct vv_service_conf *conf, uint64_t now_ns)
{
    const uint32_t max = (uint32_t)vv_min_u64(conf->max_fails, VV_MAX_FAILS);
    s->fail_at_ns[s->fail_next % VV_MAX_FAILS] = now_ns;
    s->fail_next++;
    const uint32_t known = (uint32_t)vv_min_u64(s->fail_next, VV_MAX_FAILS);
    uint32_t inside = 0;
    while (inside < known) {
        const uint64_t at_ns = s->fail_at_ns[(s->fail_next - 1 - inside) % VV_MAX_FAILS];
        if (vv_since(at_ns, now_ns) > conf->fail_timeout_ns) {
            break;
        }
        inside++;
    }
    atomic_store_explicit(&s->fails, inside, memory_order_relaxed);
    return max > 0 && inside >= max;
}

static const char *judge_failure(struct vv_server *s, enum vv_outcome outcome, uint64_t now_ns)
{
    struct vv_service_state *service = s->service;
    const struct vv_service_conf *conf = &service->conf;
    const uint32_t in_row = atomic_fetch_add_explicit(&s->consecutive, 1, memory_order_relaxed) + 1;
    const bool transport = outcome != VV_OUTCOME_5XX;
    if (s->ejected) {
        if (s->probing && (transport || s->by_outlier)) {
            const uint64_t for_ns = s->by_outlier ? outlier_time(s, now_ns) : s->ejected_for_ns;
            put_out(s, for_ns, s->by_outlier, now_ns);
        } else if (s->probing) {
            forget_failures(s); /* max_fails is about transport, and that works again */
            settle(s, now_ns);
        }
        return NULL;
    }
    if (transport && conf->max_fails > 0 && conf->fail_timeout_ns > 0 &&
        too_many_fails(s, conf, now_ns)) {
        size_t out;
        if (count_up(service->set, s, &out) > 0) {
            put_out(s, conf->fail_timeout_ns, false, now_ns);
            return "max_fails";
        }
        forget_failures(s);
        panic(service, now_ns);
        return NULL;
    }
    if (conf->outlier_consecutive > 0 && in_row >= conf->outlier_consecutive &&
        vv_server_eject_outlier(s, now_ns)) {
        return "consecutive";
    }
    return NULL;
}

/* Peak EWMA: jumps up at once, comes down with time. The weight of a sample grows with the time
 * since the last one as x / (1 + x), x in decay times: within a fifth of 1 - exp(-x), and free of
 * libm. Loads and stores are separate: two workers at once lose one sample, which no mean notices.
 */
static void observe(struct vv_server *s, uint64_t latency_ns, uint64_t now_ns)
{
    const uint64_t old_ns = atomic_load_explicit(&s->ewma_ns, memory_order_relaxed);
    const uint64_t at_ns = atomic_load_explicit(&s->ewma_at_ns, memory_order_relaxed);
    uint64_t new_ns = latency_ns;
    if (old_ns > latency_ns) {
        const double dt = (double)vv_since(at_ns, now_ns);
        const double gain = dt / (dt + (double)VV_EWMA_DECAY_NS);
        new_ns = old_ns - (uint64_t)((double)(old_ns - latency_ns) * gain);
    }
    atomic_store_explicit(&s->ewma_ns, new_ns, memory_order_relaxed);
    atomic_store_explicit(&s->ewma_at_ns, now_ns, memory_order_relaxed);
}

/* Mean of the servers' latencies: what a success takes in this service. */
static uint64_t mean_latency(const struct vv_server_set *set)
{
    uint64_t sum_ns = 0;
    uint64_t known = 0;
    for (size_t i = 0; set != NULL && i < set->count; i++) {
        const uint64_t one_ns =
            atomic_load_explicit(&set->server[i]->ewma_ns, memory_order_relaxed);
        sum_ns += one_ns;
        known += one_ns > 0;
    }
    return known > 0 ? sum_ns / known : FAILURE_UNKNOWN_NS;
}

static VV_COLD const char *failed(struct vv_server *s, enum vv_outcome outcome, uint64_t latency_ns,
                                  uint64_t now_ns)
{
    atomic_fetch_add_explicit(&s->bad_total, 1, memory_order_relaxed);
    pthread_mutex_lock(&s->service->lock);
    const uint64_t mean_ns = mean_latency(s->service->set);
    const char *ejected = judge_failure(s, outcome, now_ns);
    pthread_mutex_unlock(&s->service->lock);

    observe(s, vv_max_u64(latency_ns, mean_ns), now_ns);
    if (latency_ns < mean_ns) {
        const uint64_t until_ns = atomic_load_explicit(&s->debt_until_ns, memory_order_relaxed);
        const uint64_t next_ns = vv_max_u64(until_ns, now_ns) + (mean_ns - latency_ns);
        atomic_store_explicit(&s->debt_until_ns,
                              vv_min_u64(next_ns, now_ns + VV_PLACES_MAX * mean_ns),
                              memory_order_relaxed);
    }
    return ejected;
}

static VV_COLD void probe_ended(struct vv_server *s, bool proven, uint64_t now_ns)
{
    pthread_mutex_lock(&s->service->lock);
    if (s->ejected && s->probing && proven) {
        forget_failures(s);
        settle(s, now_ns);
    } else if (s->ejected && s->probing) {
        s->probing = false; /* the client left: the next request probes */
        atomic_store_explicit(&s->ejected_until_ns, now_ns, memory_order_relaxed);
    }
    pthread_mutex_unlock(&s->service->lock);
}

bool vv_server_claim(struct vv_server *s, bool panicking, uint64_t fail_timeout_ns, uint64_t now_ns)
{
    if (VV_LIKELY(atomic_load_explicit(&s->state, memory_order_relaxed) == VV_SERVER_UP)) {
        return true;
    }
    pthread_mutex_lock(&s->service->lock);
    bool mine = !s->down && !s->draining;
    if (mine && s->ejected) {
        mine =
            panicking || now_ns >= atomic_load_explicit(&s->ejected_until_ns, memory_order_relaxed);
        s->probing |= mine;
        if (mine && !panicking) {
            atomic_store_explicit(&s->ejected_until_ns, now_ns + vv_max_u64(fail_timeout_ns, 1),
                                  memory_order_relaxed);
        }
    }
    pthread_mutex_unlock(&s->service->lock);
    return mine;
}

void vv_balance_done(struct vv_server *server, enum vv_outcome outcome, uint64_t latency_ns,
                     uint64_t now_ns, const char **ret_ejected)
{
    const char *ejected = NULL;
    if (VV_LIKELY(outcome == VV_OUTCOME_OK)) {
        atomic_fetch_add_explicit(&server->ok_total, 1, memory_order_relaxed);
        if (atomic_load_explicit(&server->consecutive, memory_order_relaxed) != 0) {
            atomic_store_explicit(&server->consecutive, 0, memory_order_relaxed);
        }
        if (latency_ns > 0) {
            observe(server, latency_ns, now_ns);
        }
    } else if (outcome != VV_OUTCOME_ABANDONED) {
        ejected = failed(server, outcome, latency_ns, now_ns);
    }
    if (VV_UNLIKELY(atomic_load_explicit(&server->state, memory_order_relaxed) ==
                    VV_SERVER_EJECTED) &&
        (outcome == VV_OUTCOME_OK || outcome == VV_OUTCOME_ABANDONED)) {
        probe_ended(server, outcome == VV_OUTCOME_OK, now_ns);
    }
    const uint32_t before = atomic_fetch_sub_explicit(&server->in_flight, 1, memory_order_relaxed);
    VV_ASSERT(before > 0);
    if (ret_ejected != NULL) {
        *ret_ejected = ejected;
    }
    vv_server_unref(server);
}

void vv_server_check_result(struct vv_server *server, bool up, uint64_t now_ns)
{
    pthread_mutex_lock(&server->service->lock);
    if (up && server->down) {
        forget_failures(server); /* the check has just shown that it answers */
    }
    server->down = !up;
    settle(server, now_ns);
    pthread_mutex_unlock(&server->service->lock);
}

void vv_server_set_draining(struct vv_server *s, bool drain, uint64_t now_ns)
{
    s->draining = drain;
    settle(s, now_ns);
}

void vv_server_drain(struct vv_server *server, bool drain, uint64_t now_ns)
{
    pthread_mutex_lock(&server->service->lock);
    vv_server_set_draining(server, drain, now_ns);
    pthread_mutex_unlock(&server->service->lock);
}
