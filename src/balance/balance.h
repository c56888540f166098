/* src/balance/balance.h - which server gets the next request of a service.
 *
 * Model:     a *service state* (named, survives reload) has an immutable set of servers that is
 *            replaced as a whole (reload, DNS, API). Each worker thread has a *picker* per service
 *            that holds a reference on the set it knows and catches up when the generation moved.
 *            Algorithms are rows of balancers.def, one file each under balance/.
 *            A pick counts one in flight on the server; vv_balance_done() takes it back exactly
 * once. Nobody usable: servers that are only EJECTED are used all the same (panic), DRAINING and
 *            DOWN ones never: when active checks say that all are DOWN the answer is VV_ENOENT
 * (503). A server that was tried is never picked again; usable ones that were all tried: VV_ENOENT.
 * Source:    weighted least connections (default); round robin (smooth, nginx); random of two;
 *            peak EWMA x (in flight + 1), full scan to 20 servers, two choices above (Finagle);
 *            consistent hash with bounded load (Mirrokni et al. 2016, c = 1.25).
 * Units:     ns; in-flight counts are shared by all workers, so no worker sees only its own part.
 * Threads:   pickers belong to one thread; the state is shared.
 * Ownership: states, sets and servers are counted; a picker owns its references until freed.
 * Errors:    VV_ENOENT: no server may be used (all down, draining or already tried).
 */
#ifndef VV_BALANCE_BALANCE_H
#define VV_BALANCE_BALANCE_H
#include "balance/server.h"
#include "base/rng.h"

/* VV_BALANCER(id, "name", doc) in balancers.def: LEAST_CONN, ROUND_ROBIN, RANDOM_TWO, PEAK_EWMA,
 * HASH */
enum vv_balancer {
#define VV_BALANCER(id, name, doc) VV_BALANCER_##id,
#include "balance/balancers.def"
#undef VV_BALANCER
    VV_BALANCER_COUNT
};

const char *vv_balancer_name(enum vv_balancer b); /* "least_conn" */

struct vv_service_conf { /* every field 8 bytes: config rows in gateway/settings.c */
    uint64_t balancer;   /* enum vv_balancer */
    uint64_t max_fails;  /* 0: passive ejection off */
    uint64_t fail_timeout_ns;
    uint64_t slow_start_ns;       /* 0: none */
    uint64_t outlier_consecutive; /* 5xx or worse in a row that eject; 0: off */
    uint64_t outlier_rate;        /* bool: success-rate rule */
    uint64_t max_ejected_ppm;     /* of the pool */
    uint64_t bounded_load_ppm;    /* c of bounded loads: 1.25 = 1250000 */
};

struct vv_server_spec { /* how to make one server of a set */
    const char *name;
    struct vv_addr addr;
    uint32_t weight;
    bool draining;
};

struct vv_service_state;
/* now_ns: servers that are already up at start have no slow start. */
VV_MUST_CHECK enum vv_err vv_service_state_new(const char *name, struct vv_service_state **ret);
void vv_service_state_ref(struct vv_service_state *s);
void vv_service_state_unref(struct vv_service_state *s);
const char *vv_service_state_name(const struct vv_service_state *s);
/* Copies. Until the first call: least_conn, no ejection, no slow start. */
void vv_service_state_conf(struct vv_service_state *s, const struct vv_service_conf *conf);
/* Replaces the set. Servers with the same name and address keep their state, and a drain ordered at
 * run time lasts until spec.draining changes. A second entry with the same name and address is
 * ignored; weights are taken as 1..1000. */
VV_MUST_CHECK enum vv_err vv_service_state_set(struct vv_service_state *s,
                                               const struct vv_server_spec *spec, size_t count,
                                               uint64_t now_ns);
/* A counted copy of the present set, for status pages and checks. */
struct vv_server_set {
    _Atomic uint32_t refs;
    uint64_t generation;
    size_t count;
    struct vv_server **server;
    struct vv_hash_ring *ring; /* for HASH; PRIVATE */
};
struct vv_server_set *vv_service_state_servers(struct vv_service_state *s); /* never NULL */
/* Times all passive ejections were forgotten because the last useful server failed too. */
uint64_t vv_service_state_panics(const struct vv_service_state *s);
void vv_server_set_unref(struct vv_server_set *set);

struct vv_picker;
VV_MUST_CHECK enum vv_err vv_picker_new(struct vv_service_state *s, uint64_t seed,
                                        struct vv_picker **ret);
void vv_picker_free(struct vv_picker *p);
struct vv_pick {
    uint64_t now_ns;
    bool has_key;
    uint64_t key;                /* HASH: of the configured key; sticky: the cookie's server hash.
                                 * HASH without a key: a random one */
    bool sticky;                 /* key is a server's index_hash: take it when it is usable */
    struct vv_server *tried[12]; /* not these; room for every attempt one request may make */
    size_t tried_count;
};
/* On VV_OK *ret_server has one more in flight and one more reference, both ended by
 * vv_balance_done. */
VV_MUST_CHECK enum vv_err vv_balance_pick(struct vv_picker *p, const struct vv_pick *how,
                                          struct vv_server **ret_server);
/* latency_ns: to the first byte, or how long a failed attempt took; 0 when unknown. *ret_ejected
 * (may be NULL) names the reason when this outcome ejected the server. */
void vv_balance_done(struct vv_server *server, enum vv_outcome outcome, uint64_t latency_ns,
                     uint64_t now_ns, const char **ret_ejected);
/* Active checks (`up` is the state after vv_check_result) and operators. */
void vv_server_check_result(struct vv_server *server, bool up, uint64_t now_ns);
void vv_server_drain(struct vv_server *server, bool drain, uint64_t now_ns);
/* Would a pick take it now? Says nothing about panic. */
bool vv_server_usable(const struct vv_server *server, uint64_t now_ns);
/* 1 Hz, control thread: success-rate outliers; calls fn for each server it ejects. */
void vv_balance_tick(struct vv_service_state *s, uint64_t now_ns,
                     void (*fn)(void *user, struct vv_server *server, const char *reason),
                     void *user);
#endif
