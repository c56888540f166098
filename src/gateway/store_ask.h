/* src/gateway/store_ask.h - questions of an operator to the servers of a store: what they say now, whether
 * they are as expected, when keys expire.
 *
 * Model:     a question is begun, and its `done` runs once when all servers have answered or their time is
 *            over (a few seconds at most); nothing blocks. What was found is written as JSON then.
 * Threads:   control. Ownership: the question is the caller's until `done` ran or it was ended.
 * Errors:    VV_ENOENT: no store of this name; VV_EUNSUPPORTED: it has no server; VV_ENOMEM.
 */
#ifndef VV_GATEWAY_STORE_ASK_H
#define VV_GATEWAY_STORE_ASK_H
#include "gateway/stores.h"

struct vv_store_ask {
    void (*done)(struct vv_store_ask *ask); /* not within vv_stores_ask() */
    bool check;                             /* parameters, too */
    /* PRIVATE */
    struct vv_list node;
    struct vv_store *store;
    uint64_t round;
};
VV_MUST_CHECK enum vv_err vv_stores_ask(struct vv_stores *ss, struct vv_str name,
                                        struct vv_store_ask *ask);
void vv_store_ask_end(struct vv_store_ask *ask); /* harmless when it is done */
/* Members of an open object about a store: "name", "state", "servers" with what INFO said. */
void vv_store_info_json(struct vv_store *s, struct vv_json *j);
/* Members: "holds", "checks" (of each parameter and server), "warnings". */
void vv_store_check_json(struct vv_store *s, struct vv_json *j);

#define VV_STORE_WALK_KEYS 100000 /* most keys of one walk */
#define VV_STORE_WALK_GROUPS 64
#define VV_STORE_WALK_SOON 100
struct vv_store_walk {                     /* a bounded look at keys and when they expire */
    void (*done)(struct vv_store_walk *w); /* not within vv_stores_walk() */
    char prefix[256];                      /* of keys; "": the store's own */
    size_t keys_max;                       /* at most VV_STORE_WALK_KEYS */
    size_t soon_max;                       /* soonest expiries that are kept */
    /* PRIVATE */
    struct vv_list node;
    struct vv_store *store;
    struct store_walk *work;
};
VV_MUST_CHECK enum vv_err vv_stores_walk(struct vv_stores *ss, struct vv_str name,
                                         struct vv_store_walk *w);
/* Ends it, and frees what it found; harmless when it never began. */
void vv_store_walk_end(struct vv_store_walk *w);
/* Members: "prefix", "keys", "whole" (were all keys seen), "groups", "soonest". */
void vv_store_walk_json(const struct vv_store_walk *w, struct vv_json *j);

/* For a line of a status page. */
struct vv_stores_summary {
    uint32_t stores, away, broken; /* broken: expectations that do not hold */
};
struct vv_stores_summary vv_stores_summary(const struct vv_stores *ss);
/* One array value: name, state and address of each. */
void vv_stores_health_json(const struct vv_stores *ss, struct vv_json *j);
#endif
