/* src/gateway/gateway_int.h - the gateway's own fields, for the files of this folder that describe it. */
#ifndef VV_GATEWAY_GATEWAY_INT_H
#define VV_GATEWAY_GATEWAY_INT_H
#include "gateway/checks.h"
#include "gateway/gateway.h"
#include "gateway/homes.h"
#include "gateway/names.h"
#include "gateway/resp_front.h"
#include "gateway/worker.h"
#include "os/pool.h"
#include "os/thread.h"

struct vv_gateway {
    struct vv_loop *control;
    struct vv_metrics *metrics;
    struct vv_homes homes; /* outlive runtimes and workers */
    struct vv_runtime *rt;
    struct vv_names *names;
    struct vv_checks *checks;
    struct vv_pool *pool;
    struct vv_access_log *log;
    unsigned worker_count, running, adopted;
    struct vv_worker **worker;
    struct vv_thread *thread;
    struct vv_list sockets; /* listeners' descriptors, owned here */
    struct vv_resp_home *resp;
    bool draining, started;
    uint64_t drain_until_ns;
    void (*ready)(void *user);
    void *ready_user;
    void (*drained)(void *user);
    void *drained_user;
    uint64_t start_deadline_ns;
    struct vv_timer timer; /* 100 ms: checks, drain, start */
    struct vv_log_tail *tail;
    struct vv_warming *warming; /* NULL: nothing was ever warmed */
    struct vv_shed_watch *shed; /* NULL: not looked yet */
};

void vv_log_tail_free(struct vv_gateway *g); /* log_tail.c */
/* cache_ask.c: the host and port of "scheme://host:port/path". */
struct vv_str vv_url_authority(struct vv_str url);
void vv_warm_tick(struct vv_gateway *g, uint64_t now_ns); /* warm.c */
void vv_warm_free(struct vv_gateway *g);
#endif
