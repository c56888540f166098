/* src/balance/outlier.c - the success-rate rule: who fails clearly more often than the others? It
 * needs company and numbers to mean anything, so it is silent for small pools and little traffic.
 */
#include "balance/balance_int.h"

#include <math.h>

/* Envoy's figures. */
#define HOSTS_MIN 5
#define REQUESTS_MIN 100
#define SIGMAS 1.9

/* Share of good outcomes since the last judgement; false when there were too few to say. */
static bool success_rate(const struct vv_server *s, double *ret)
{
    const uint64_t ok = atomic_load_explicit(&s->ok_total, memory_order_relaxed) - s->ok_seen;
    const uint64_t bad = atomic_load_explicit(&s->bad_total, memory_order_relaxed) - s->bad_seen;
    if (ok + bad < REQUESTS_MIN) {
        return false;
    }
    *ret = (double)ok / (double)(ok + bad);
    return true;
}

/* The rate below which a server is an outlier; negative when nobody can be one. */
static double threshold(const struct vv_server_set *set)
{
    size_t hosts = 0;
    double sum = 0;
    double squares = 0;
    for (size_t i = 0; i < set->count; i++) {
        double rate;
        if (success_rate(set->server[i], &rate)) {
            hosts++;
            sum += rate;
            squares += rate * rate;
        }
    }
    if (hosts < HOSTS_MIN) {
        return -1;
    }
    const double mean = sum / (double)hosts;
    const double variance = squares / (double)hosts - mean * mean;
    return mean - SIGMAS * sqrt(variance > 0 ? variance : 0);
}

void vv_balance_tick(struct vv_service_state *s, uint64_t now_ns,
                     void (*fn)(void *user, struct vv_server *server, const char *reason),
                     void *user)
{
    if (now_ns < s->judge_ns) {
        return;
    }
    const bool first = s->judge_ns == 0;
    s->judge_ns = now_ns + VV_OUTLIER_EVERY_NS;
    struct vv_server_set *set = vv_service_state_servers(s);
    pthread_mutex_lock(&s->lock);
    const bool wanted = s->conf.outlier_rate != 0;
    pthread_mutex_unlock(&s->lock);
    const double least = wanted && !first ? threshold(set) : -1;
    for (size_t i = 0; i < set->count; i++) {
        struct vv_server *server = set->server[i];
        double rate;
        if (success_rate(server, &rate) && rate < least - 1e-9) {
            pthread_mutex_lock(&s->lock);
            const bool ejected = vv_server_eject_outlier(server, now_ns);
            pthread_mutex_unlock(&s->lock);
            if (ejected && fn != NULL) {
                fn(user, server, "success_rate");
            }
        }
        server->ok_seen = atomic_load_explicit(&server->ok_total, memory_order_relaxed);
        server->bad_seen = atomic_load_explicit(&server->bad_total, memory_order_relaxed);
    }
    vv_server_set_unref(set);
}
