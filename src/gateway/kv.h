/* src/gateway/kv.h - keys and values in a named store, for applications: the store first, memory as fallback.
 *
 * Model:     each store has a small map in this process (cache/small.h), shared by the workers. While the store's
 *            servers answer, they are the truth, and what was put or read goes to memory too. When they do
 *            not (refused, breaker open, no answer in time, an error), memory answers, at once or after one
 *            deadline; a write is applied to memory and its key is noted. Noted keys are the other way
 *            round: memory is their truth, until a worker has told the store what memory holds, or that
 *            it holds nothing. So a key's newest write wins, whatever was in between, and a delete is not
 *            lost, even when memory had to drop the entry. 65,536 keys and 8 MiB of them are noted; beyond that
 *            all objects of the store are removed when it is back, because then nobody knows which
 *            are old. Purges that could not be carried out are kept in order (64, then the same).
 *            What is lost: values that memory had no room for; notes when the process ends; and when two
 *            gateways wrote a key while apart, the one that comes back last wins.
 *            A purge takes effect here at once and in other gateways when the store has carried it out; what
 *            they hold in memory goes when they next ask the store for it, or with its lifetime.
 *            A store without servers is memory only.
 * In Redis:  PREFIX:kv:NAME:o:KEY, a string: head (etag, times, type, tags) and value; its lifetime is the key's.
 *            PREFIX:kv:NAME:t:TAG, a sorted set: keys by the millisecond they end at; it lives as long
 *            as the longest of them. A pattern is carried out by SCAN in steps, on every server.
 * Threads:   the worker's. Ownership: an operation and its texts are the caller's and stay until it is answered
 *            or abandoned. It keeps the store alive by itself.
 * Errors:    of an operation; a store that is away is none: op->level says who answered.
 */
#ifndef VV_GATEWAY_KV_H
#define VV_GATEWAY_KV_H
#include "cache/small.h"
#include "gateway/stores.h"

#define VV_KV_KEY_MAX 512
#define VV_KV_TAG_MAX 128
#define VV_KV_ETAGS_MAX 16 /* of a condition */

struct vv_kv;
struct vv_kv_job;

enum vv_kv_verb {
    VV_KV_GET,
    VV_KV_PUT,
    VV_KV_DELETE,
    VV_KV_PURGE_GLOB, /* key is a pattern as of vv_cache_glob() */
    VV_KV_PURGE_TAG,  /* key is a tag */
    VV_KV_VERBS
};
enum vv_kv_level { VV_KV_STORE, VV_KV_MEMORY, VV_KV_LEVELS };
const char *vv_kv_level_name(enum vv_kv_level l); /* "redis", "memory" */

struct vv_kv_op {
    enum vv_kv_verb verb;
    struct vv_str key;
    struct vv_str value, type; /* PUT */
    const struct vv_str *tag;  /* PUT */
    size_t tags;
    uint64_t ttl_ns;         /* PUT; 0: none */
    struct vv_small_if cond; /* PUT, DELETE; the store judges it in one step with the write */
    void (*done)(struct vv_kv_op *op);
    void *user;
    /* Out. VV_OK; VV_ENOENT, VV_EEXIST: the condition, or of GET: nothing there; VV_ELIMIT: key, tag or
     * value are too large, or etags too many; VV_EAGAIN: too many purges are being carried out; VV_ENOMEM. */
    enum vv_err err;
    enum vv_kv_level level; /* who answered */
    bool there;     /* PUT: there was one before; DELETE: it was there, as the level knows */
    uint64_t count; /* purges: how many went; with VV_KV_MEMORY: of those in memory */
    struct vv_small_item *item; /* GET, VV_OK: the caller's reference; until_ns is of this clock */
    struct vv_kv_job *job;      /* PRIVATE */
};

/* True: the answer is in op, `done` does not run. False: `done` will run, later. */
VV_MUST_CHECK bool vv_kv_do(struct vv_worker *w, struct vv_store *s, struct vv_kv_op *op);
/* Nobody waits any more: `done` does not run. A write is finished all the same. Nothing once answered. */
void vv_kv_abandon(struct vv_kv_op *op);

/* The store's home of all this, made when first asked for; NULL: no memory. */
struct vv_kv *vv_kv_of(struct vv_store *s);
struct vv_small *vv_kv_small(struct vv_kv *kv);
void vv_kv_free(struct vv_kv *kv); /* the store goes; NULL is fine */
/* The worker ends: what it was repeating is left to others. Before its clients go. */
void vv_kv_leave(struct vv_worker *w);

struct vv_collect;
/* Gauges of the store, if applications have used it. The control thread. */
void vv_kv_collect(struct vv_collect *c, const struct vv_store *s);
struct vv_kv_stats {
    uint64_t entries, bytes;        /* in memory */
    uint64_t noted, purges_waiting; /* for the store to hear when it is back */
};
void vv_kv_stats(struct vv_kv *kv, struct vv_kv_stats *ret);
#endif
