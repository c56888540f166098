/* src/gateway/worker.h - one thread that carries traffic: its loop and everything only it touches.
 *
 * Model:     the worker accepts on its own sockets, owns its sessions, exchanges and upstream
 *            connections and writes its own counters. Others reach it only by mail. Freed objects
 *            go to a graveyard that is emptied at the end of the turn, because events and callers
 *            further up the stack may still point at them.
 * Threads:   its own, except where said. Ownership: the gateway owns workers.
 */
#ifndef VV_GATEWAY_WORKER_H
#define VV_GATEWAY_WORKER_H
#include "base/rng.h"
#include "cache/epoch.h"
#include "gateway/buf.h"
#include "gateway/runtime.h"
#include "observe/access_log.h"
#include "observe/metrics.h"
#include "os/loop.h"
#include "os/pool.h"
#include "os/tls.h"
#include "wire/date.h"
#include "wire/encoder.h"
#include "wire/http1.h"
#include "wire/http2.h"

struct vv_gateway;
struct vv_exchange;
struct vv_files_cache;
struct vv_homes;
struct vv_kv_keeper;
struct vv_store_client;

struct vv_route_stat;
struct vv_picker;
struct vv_runtime_use { /* this worker's side of a runtime; lives while current or in use */
    struct vv_runtime *rt;
    uint64_t exchanges;
    bool current;
    struct vv_route_stat **stat; /* by route index; the last one is for refused requests */
    struct vv_picker **picker;   /* by service index */
};

struct
    vv_listener { /* one listener on one worker; settings are copied, so a reload may replace them */
    struct vv_list node;
    struct vv_io io;
    struct vv_worker *worker;
    char *name, *address;
    uint32_t index; /* of the listener's name in the current settings */
    struct vv_listen_settings conf;
    struct vv_cidr *trust;
    size_t trust_count;
    struct vv_str *host; /* lower case; "*.x" allowed */
    size_t host_count;
    uint64_t sessions, sessions_max;
    uint64_t detached; /* of the sessions: without a client, not limited by its number */
    bool stopped;      /* accepts nothing more; gone with its last session */
    bool is_unix;
    struct vv_h2_conf h2_conf;               /* of connections of HTTP/2 */
    struct vv_tls_slot *tls;                 /* of the certificates' home; NULL: plain */
    struct vv_tls_stats tls_stats, tls_told; /* tls_told: what the metrics know (tls_count.h) */
    uint32_t place;                          /* of the listener among the clients */
    struct vv_timer rest;                    /* pause after running out of descriptors */
    vv_series s_accepted, s_open, s_received, s_refused_limit, s_refused_files, s_refused_memory;
};

/* What a worker counts for one route; made when the route gets its first request here. */
struct vv_route_stat {
    struct vv_hist *duration, *first_byte;
    vv_series bytes_in, bytes_out;
    struct {
        uint32_t key; /* method << 16 | status; 0: free */
        vv_series series, counted;
    } slot[8];
    vv_series degraded;              /* interned when first counted */
    vv_series cache[8], cache_saved; /* by enum vv_recall_count; interned when first counted */
};

struct vv_corpse { /* something to free at the end of the turn */
    struct vv_corpse *next;
    void (*bury)(struct vv_worker *w, struct vv_corpse *c);
};

struct vv_worker {
    struct vv_loop *loop;
    struct vv_gateway *gateway;
    const struct vv_homes *homes; /* named state; NULL only in tests */
    unsigned index;
    struct vv_shard *shard;
    struct vv_metrics *metrics;
    struct vv_access_appender *log; /* NULL: off */
    struct vv_rng rng;
    struct vv_bufs bufs;
    struct vv_encoders encoders; /* of answers that are compressed on their way */
    struct vv_runtime_use *use;  /* the current runtime */
    struct vv_list listeners, sessions;
    struct vv_list resp_fronts; /* stores served as Redis (resp_front.h) */
    struct vv_upstreams *upstreams;
    struct vv_kv_keeper *kv_keepers;        /* repeats what stores missed (kv.h); NULL: none */
    bool kv_left;                           /* no new ones */
    struct vv_store_client *stores;         /* clients of this worker (stores.h); NULL: none yet */
    uint64_t level_bytes;                   /* on their way to levels of caches */
    struct vv_list level_jobs;              /* being packed for them */
    struct vv_h2_pool *h2_pool;             /* NULL: no connection yet */
    struct vv_h2_counts h2_counts, h2_told; /* h2_told: what the metrics know */
    struct vv_epoch *epoch;         /* of all caches; NULL: a worker that never looks into one */
    struct vv_epoch_reader *reader; /* online while the loop works, offline while it sleeps */
    struct vv_pool *pool;           /* shared blocking pool */
    struct vv_files_cache *files;   /* NULL: no file was asked for yet */
    struct vv_exchange *spare;      /* free exchanges */
    unsigned spare_count;
    struct vv_corpse *corpses;
    struct vv_defer bury;
    struct vv_timer second; /* 1 Hz housekeeping */
    struct vv_h1_head
        answer; /* scratch: an upstream's head is used up in the call that parsed it */
    bool draining;
    vv_series s_in_flight, s_files_open, s_files_bytes;
    vv_series s_tcp_resent[2]; /* by enum vv_tcp_side; 0: nobody was looked at yet */
    struct vv_hist *tcp_rtt[2];
    uint64_t files_open, files_bytes; /* as they were last told to the metrics */
    vv_series s_encoded_in[VV_ENCODING_COUNT], s_encoded_out[VV_ENCODING_COUNT]; /* 0: not yet */
    uint64_t sessions_open, requests, turns, busy_ns; /* vv_worker_count(): others read them */
    uint64_t date_s;
    char date[VV_HTTP_DATE_BYTES];
    char *scratch; /* VV_WORKER_SCRATCH bytes for building heads */
};
#define VV_WORKER_SCRATCH (128 * 1024)
#define VV_WORKER_ENCODERS_BYTES (64u << 20) /* beyond that, answers go out as they are */
#define VV_WORKER_ENCODERS_IDLE (4u << 20)   /* kept while nothing is compressed */

struct vv_worker_options {
    unsigned index;
    struct vv_metrics *metrics;
    struct vv_pool *pool;
    const struct vv_homes *homes; /* outlive the worker; NULL: none, and no caches */
};
VV_MUST_CHECK enum vv_err vv_worker_new(struct vv_gateway *g, const struct vv_worker_options *o,
                                        struct vv_worker **ret);
void vv_worker_free(struct vv_worker *w);
/* On the worker's thread: takes a reference of rt. */
enum vv_err vv_worker_adopt(struct vv_worker *w, struct vv_runtime *rt);
void vv_worker_release_use(struct vv_worker *w, struct vv_runtime_use *use);
void vv_worker_bury(struct vv_worker *w, struct vv_corpse *c);
/* The Date field's value of this turn. */
struct vv_str vv_worker_date(struct vv_worker *w);
struct vv_route_stat *vv_worker_stat(struct vv_worker *w, struct vv_runtime_use *use,
                                     const struct vv_route *route);
static inline uint64_t vv_worker_now(const struct vv_worker *w)
{
    return vv_loop_now(w->loop);
}

/* Adds to one of the words that the control thread reads. */
static inline void vv_worker_count(uint64_t *word, uint64_t n) /* NOLINT: *word is written */
{
    __atomic_store_n(word, *word + n, __ATOMIC_RELAXED);
}

/* listener.c */
VV_MUST_CHECK enum vv_err vv_listener_open(struct vv_worker *w,
                                           const struct vv_listen_settings *conf, uint32_t index,
                                           int fd);
/* Replaces the settings of a listener that stays. */
enum vv_err vv_listener_update(struct vv_listener *l, const struct vv_listen_settings *conf,
                               uint32_t index);
void vv_listener_stop(struct vv_listener *l);
void vv_listener_session_ended(struct vv_listener *l);
bool vv_listener_trusts(const struct vv_listener *l, const struct vv_addr *peer);
bool vv_listener_serves_host(const struct vv_listener *l, struct vv_str host);
#endif
