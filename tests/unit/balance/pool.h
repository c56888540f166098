/* tests/unit/balance/pool.h - a service with n servers and one picker, for the tests of balance/.
 */
#ifndef POOL_H
#define POOL_H
#include "balance/balance.h"
#include "vv_test.h"

#include <arpa/inet.h>
#include <stdio.h>

#define POOL_MAX 64

struct pool {
    struct vv_service_state *state;
    struct vv_picker *picker;
    struct vv_server_set *set;
    char name[POOL_MAX][24];
    struct vv_server_spec spec[POOL_MAX];
    size_t count;
};

/* The figures of the seed: three failures inside 30 s, half of the pool at most. */
static inline struct vv_service_conf pool_conf(enum vv_balancer balancer)
{
    return (struct vv_service_conf){.balancer = balancer,
                                    .max_fails = 3,
                                    .fail_timeout_ns = 30 * VV_SEC,
                                    .max_ejected_ppm = VV_PPM / 2,
                                    .bounded_load_ppm = 1250000};
}

static inline void pool_spec(struct pool *p, size_t i, uint32_t weight)
{
    snprintf(p->name[i], sizeof(p->name[i]), "server-%zu:80", i);
    p->spec[i] = (struct vv_server_spec){.name = p->name[i], .weight = weight};
    p->spec[i].addr.in4.sin_family = AF_INET;
    p->spec[i].addr.in4.sin_port = htons((uint16_t)(1000 + i));
    p->spec[i].addr.in4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    p->spec[i].addr.len = sizeof(struct sockaddr_in);
}

static inline void pool_open(struct pool *p, const struct vv_service_conf *conf,
                             const uint32_t *weights, size_t count)
{
    p->count = count;
    for (size_t i = 0; i < count; i++) {
        pool_spec(p, i, weights != NULL ? weights[i] : 1);
    }
    VV_CHECK_INT(vv_service_state_new("pool", &p->state), VV_OK);
    vv_service_state_conf(p->state, conf);
    VV_CHECK_INT(vv_service_state_set(p->state, p->spec, count, 0), VV_OK);
    VV_CHECK_INT(vv_picker_new(p->state, 1, &p->picker), VV_OK);
    p->set = vv_service_state_servers(p->state);
}

static inline void pool_close(struct pool *p)
{
    vv_picker_free(p->picker);
    vv_server_set_unref(p->set);
    vv_service_state_unref(p->state);
}

/* Which server is picked; -1: none. The request stays in flight. */
static inline int pool_pick(struct pool *p, uint64_t now_ns)
{
    struct vv_server *s = NULL;
    const struct vv_pick how = {.now_ns = now_ns};
    if (vv_balance_pick(p->picker, &how, &s) != VV_OK) {
        return -1;
    }
    for (size_t i = 0; i < p->set->count; i++) {
        if (p->set->server[i] == s) {
            return (int)i;
        }
    }
    return -2;
}

/* One whole request to whoever is picked. */
static inline int pool_request(struct pool *p, uint64_t now_ns, enum vv_outcome outcome)
{
    const int i = pool_pick(p, now_ns);
    if (i >= 0) {
        vv_balance_done(p->set->server[i], outcome, VV_MS, now_ns, NULL);
    }
    return i;
}

/* An attempt at one given server, as if it had been picked. */
static inline const char *pool_outcome(struct pool *p, size_t i, enum vv_outcome outcome,
                                       uint64_t now_ns)
{
    const char *why = NULL;
    atomic_fetch_add(&p->set->server[i]->in_flight, 1);
    vv_server_ref(p->set->server[i]);
    vv_balance_done(p->set->server[i], outcome, VV_MS, now_ns, &why);
    return why;
}
#endif
