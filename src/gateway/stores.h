/* src/gateway/stores.h - the named stores of a gateway: what `stores:` in the file says, kept over reloads.
 *
 * Model:     a store is found by name and counted. A reload that changes how it is reached makes a new one
 *            under the same name; the old one lives until nobody holds it. Every worker, and the control
 *            thread, has clients (store/redis.h) of its own, made when first asked for and freed on their
 *            thread when the store has gone. Servers are asked for INFO on the control thread every
 *            15 s for the metrics, and when an operator asks.
 * Threads:   control, except where said. Errors: VV_ENOENT: no such store; VV_ENOMEM.
 */
#ifndef VV_GATEWAY_STORES_H
#define VV_GATEWAY_STORES_H
#include "base/json.h"
#include "cache/small.h"
#include "gateway/settings.h"
#include "observe/metrics.h"
#include "os/loop.h"
#include "store/redis.h"

struct vv_kv;
struct vv_stores;
struct vv_worker;

struct vv_store { /* counted; read-only outside stores*.c */
    struct vv_list node;
    struct vv_stores *owner;
    char *name;
    char *prefix;                  /* of every key we write: "vz" */
    struct vv_redis_conf conf;     /* texts belong to the store */
    bool has_server;               /* false: no url, there is only the fallback in memory */
    struct vv_small_conf fallback; /* bounds of what is kept in memory for applications (kv.h) */
    _Atomic(struct vv_kv *) kv;    /* made when first used; vv_kv_free() when the store goes */
    _Atomic uint32_t refs;
    uint64_t generation; /* unlike that of every other store of this process */
};

VV_MUST_CHECK enum vv_err vv_stores_new(struct vv_loop *control, struct vv_metrics *metrics,
                                        struct vv_stores **ret);
void vv_stores_free(struct vv_stores *ss); /* workers and runtimes are gone; NULL is fine */
/* Before runtimes are built: makes what the settings name. reterr_text (256 bytes) says which file of a
 * certificate cannot be read and the like. */
VV_MUST_CHECK enum vv_err vv_stores_prepare(struct vv_stores *ss, const struct vv_settings *s,
                                            char *reterr_text);
void vv_stores_settle(struct vv_stores *ss, const struct vv_settings *s, bool kept);
void vv_stores_tick(struct vv_stores *ss, uint64_t now_ns);
/* A counted reference to the store of this name as the settings being loaded have it. */
VV_MUST_CHECK enum vv_err vv_stores_take(struct vv_stores *ss, const char *name,
                                         struct vv_store **ret);
void vv_store_unref(struct vv_store *s);           /* any thread; NULL is fine */
struct vv_store *vv_store_ref(struct vv_store *s); /* any thread */

/* Who wants to hear about keys that were read with tracking, on whichever thread it is read. Set before the
 * first client is made; `user` lives as long as the store. Runs on the client's thread. */
struct vv_store_watch {
    void (*invalidated)(void *user, struct vv_store *s, uint64_t share, struct vv_str key);
    void (*lost)(void *user, struct vv_store *s, uint64_t share);
    void *user;
};
void vv_stores_watch(struct vv_stores *ss, const struct vv_store_watch *watch);

/* The worker's client, on its thread; NULL: no memory, or the store has no server. */
struct vv_redis *vv_store_client(struct vv_worker *w, struct vv_store *s);
/* The control thread's client, without tracking. */
struct vv_redis *vv_store_control(struct vv_store *s);
/* 1 Hz, on the worker's thread: counts what its clients did, frees those whose store has gone. */
void vv_stores_second(struct vv_worker *w);
/* The worker ends: frees its clients. */
void vv_stores_leave(struct vv_worker *w);

/* One array value: what the stores are, who is connected, counters, what INFO said last, expectations that
 * do not hold. */
void vv_stores_json(struct vv_stores *ss, struct vv_json *j);
#endif
