/* src/gateway/kv_int.h - what the files of kv share: the home of a store, a job at its servers, a purge's run.
 * Inside kv*.c only. Contracts: kv.h. */
#ifndef VV_GATEWAY_KV_INT_H
#define VV_GATEWAY_KV_INT_H
#include "base/arena.h"
#include "gateway/kv.h"
#include "gateway/kv_head.h"
#include "gateway/kv_notes.h"
#include "gateway/worker.h"

#define VV_KV_STRIPES 256
#define VV_KV_STEP_NS (500 * VV_MS) /* deadline of a step of a purge: it may be a large one */

/* What came of an operation, for the metrics. VV_KV_RESULT(id, name) */
#define VV_KV_RESULTS(X)                                                                           \
    X(HIT, "hit")                                                                                  \
    X(MISS, "miss")                                                                                \
    X(STORED, "stored")                                                                            \
    X(REMOVED, "removed")                                                                          \
    X(ABSENT, "absent")                                                                            \
    X(CONDITION, "condition")                                                                      \
    X(TOO_LARGE, "too_large")                                                                      \
    X(FAILED, "failed")
enum vv_kv_result {
#define VV_KV_AS_ENUM(id, name) VV_KV_R_##id,
    VV_KV_RESULTS(VV_KV_AS_ENUM)
#undef VV_KV_AS_ENUM
        VV_KV_RESULT_COUNT
};

struct vv_kv {
    struct vv_store *store; /* it lives with it */
    struct vv_small *small;
    struct vv_kv_notes *notes;
    struct vv_str objects, tags; /* what keys of Redis begin with */
    _Atomic bool kept;           /* some worker repeats what is noted */
    /* Counts of writes by key: an answer that is older than one of them is not kept in memory. */
    _Atomic uint32_t wrote[VV_KV_STRIPES], purged;
    _Atomic vv_series series[VV_KV_VERBS + 1][VV_KV_RESULT_COUNT][VV_KV_LEVELS];
    char text[];
};

/* Counts one; VV_KV_VERBS as verb: a repeated write. */
void vv_kv_count(struct vv_worker *w, struct vv_kv *kv, enum vv_kv_verb verb, enum vv_kv_result r,
                 enum vv_kv_level level);
void vv_kv_wrote(struct vv_kv *kv, struct vv_str key);
/* Somebody is to tell the store what is noted. */
void vv_kv_keep(struct vv_worker *w, struct vv_kv *kv);

struct vv_kv_part { /* one command of a job */
    struct vv_redis_op op;
    struct vv_kv_job *job;
    int64_t integer;
    bool failed, nil, begun;
};

struct vv_kv_job {
    struct vv_kv_op *op; /* NULL: nobody waits */
    struct vv_kv *kv;
    struct vv_worker *w;
    void (*finish)(struct vv_kv_job *job); /* the answers are there; frees the job */
    void *user;
    enum vv_kv_verb verb;
    struct vv_str key;          /* in the arena */
    struct vv_small_if cond;    /* the same */
    struct vv_small_item *item; /* PUT; GET: what came */
    uint64_t began_ns;
    uint32_t writes; /* of the key, when it began */
    unsigned left;   /* commands whose end is to come */
    bool failed;     /* the first command, or one it needs, was not answered or refused */
    bool tags_failed;
    char *bytes; /* GET: the string as it comes */
    size_t bytes_n, bytes_max;
    bool too_large;
    size_t parts;
    struct vv_kv_part *part; /* the first one decides */
    struct vv_arena arena;
};
/* Sends it. False: it did not begin, nothing will run, the job is not freed. */
VV_MUST_CHECK bool vv_kv_job_send(struct vv_kv_job *job);
/* What is asked for, of texts that are copied. PUT: an item's reference is taken. NULL: no memory. */
struct vv_kv_job *vv_kv_job_new(struct vv_worker *w, struct vv_kv *kv, enum vv_kv_verb verb,
                                struct vv_str key, struct vv_small_item *item,
                                const struct vv_small_if *cond);
void vv_kv_job_free(struct vv_kv_job *job);
uint32_t vv_kv_writes(struct vv_kv *kv, struct vv_str key);

/* kv_purge.c: carries out one purge at the store, step by step. */
struct vv_kv_run;
/* `finish` once, later; `user` NULL when nobody waits any more. NULL: it did not begin. */
struct vv_kv_run *vv_kv_run_start(struct vv_worker *w, struct vv_kv *kv, bool is_tag,
                                  struct vv_str what,
                                  void (*finish)(void *user, bool ok, uint64_t count), void *user);
#endif
