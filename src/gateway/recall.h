/* src/gateway/recall.h - RECALL and STORE: is the answer here, is somebody fetching it, shall it be kept?
 *
 * Model:     the RECALL phase builds the key and looks up. Fresh: the action `cached` answers from the
 *            object. Else the request leads a fetch (the proxy action with a fill), follows another's
 *            fill, or passes. Until the head of the answer is there a leader is an ordinary proxied
 *            exchange; when the answer is to be kept, the fetch goes on in an exchange without a
 *            client (fetch.h) and the leader's client becomes a follower, so that neither a slow nor a
 *            lost client holds up the others. Followers that are told of a failure look again once.
 * Source:    RFC 9111 sections 3, 4; RFC 5861; RFC 9211. Threads: one worker; fills wake by mail.
 * Ownership: lies in the exchange's arena, lets go of everything in vv_recall_end().
 */
#ifndef VV_GATEWAY_RECALL_H
#define VV_GATEWAY_RECALL_H
#include "cache/fill.h"
#include "cache/status.h"
#include "gateway/exchange.h"
#include "gateway/head_writer.h"
#include "gateway/stored.h"

enum vv_recall_role {
    VV_RECALL_PASS,   /* an ordinary proxied exchange */
    VV_RECALL_HIT,    /* answered from `object` */
    VV_RECALL_LEAD,   /* fetches into `fill` */
    VV_RECALL_FOLLOW, /* answered from `fill` */
};

/* VV_RECALL_COUNT(id, name): the label `result` of vivace_cache_requests_total. */
#define VV_RECALL_COUNTS(X)                                                                        \
    X(HIT, "hit")                                                                                  \
    X(STALE, "stale")                                                                              \
    X(UPDATING, "updating")                                                                        \
    X(REVALIDATED, "revalidated")                                                                  \
    X(EXPIRED, "expired")                                                                          \
    X(MISS, "miss")                                                                                \
    X(BYPASS, "bypass")                                                                            \
    X(COALESCED, "coalesced")
enum vv_recall_count {
#define VV_RECALL_COUNT(id, name) VV_RECALL_COUNT_##id,
    VV_RECALL_COUNTS(VV_RECALL_COUNT)
#undef VV_RECALL_COUNT
        VV_RECALL_COUNT_COUNT
};

struct vv_follow;
struct vv_level_read;
struct vv_recall {
    const struct vv_cache_plan *plan;
    struct vv_cache *memory;
    struct vv_str key;
    uint64_t hash;
    const struct vv_cache_object *object; /* found; counted if `counted` */
    struct vv_cache_fill *fill;           /* counted */
    struct vv_follow *follow;             /* waits for the fill */
    struct vv_exchange *fetch;            /* the fetch this client began and may take back */
    int64_t request_ms;                   /* when the origin was asked */
    uint64_t born;                        /* vv_cache_born() when the origin was asked */
    uint64_t log;                         /* the same of the purge log (levels.h) */
    uint64_t marker, marker_names;        /* found in a level: see levels.h; 0: none */
    uint8_t marker_at;                    /* in which levels: a bit for each */
    uint64_t lease;                       /* this gateway fetches for all (lease.h); 0: no */
    struct vv_level_read *level;          /* asks the levels; NULL: not now */
    struct vv_kept *kept;                 /* what a detached fetch will publish */
    struct vv_parts *parts;               /* several ranges; NULL: at most one */
    uint64_t at, end;                     /* bytes of the body: next to send, first not to send */
    struct vv_str conditions;             /* what a leader asks the origin with */
    struct vv_cache_status status;
    struct vv_use use;
    int64_t age_s; /* what Age says; negative: no Age */
    uint8_t role, looks;
    bool counted, soft;
    bool whole;         /* the client gets the whole body, from its first byte */
    bool failed;        /* the origin failed for somebody: stale answers count as allowed */
    bool finished;      /* the fill was finished or failed */
    bool from_fill;     /* a leader's client that reads behind its own fetch */
    bool refresh;       /* a background renewal: what is fresh is asked for as well */
    bool levels_failed; /* what a level began to give broke off: they are not asked again */
    bool invalidates;
    struct vv_cc cc; /* directives of the request */
};

/* The phase. True: the exchange was answered, or goes on by itself. */
VV_MUST_CHECK bool vv_recall(struct vv_exchange *x);
/* Once more, after what was waited for has failed. Answers or proxies. */
void vv_recall_again(struct vv_exchange *x);
/* A leader whom no level could help: the origin is asked. */
void vv_recall_missed(struct vv_exchange *x);
/* r->object is stale, but may be sent while it is renewed: does so. The lead is over. */
void vv_recall_serve_renewing(struct vv_exchange *x);
/* Sends the request to the origin as the present role says. */
void vv_recall_proxy(struct vv_exchange *x);
/* The exchange ends: a fill without an end fails. */
void vv_recall_end(struct vv_exchange *x);
/* The answer is sent from r->object, whatever its age. */
void vv_recall_serve(struct vv_exchange *x);
/* May the stored answer stand in for a failure? status 0: no answer came. Then vv_recall_serve(). */
VV_MUST_CHECK bool vv_recall_instead(struct vv_exchange *x, int status);
/* Looks up once more: r->object and r->use say what is there now. */
void vv_recall_find(struct vv_exchange *x);
int64_t vv_recall_now_ms(const struct vv_exchange *x);
/* Reads the object's head block into an arena copy; NULL: memory is out. */
struct vv_h1_head *vv_recall_head(struct vv_exchange *x, struct vv_str block, uint64_t length);
/* Forgets what an unsafe request may have changed (RFC 9111 section 4.4). */
void vv_recall_invalidate(struct vv_exchange *x, const struct vv_h1_head *answer);

/* What answer.c adds to every answer of a cached route: Age, Cache-Status and the field of `show`. */
size_t vv_recall_fields_bytes(const struct vv_exchange *x);
void vv_recall_put_fields(struct vv_writer *w, struct vv_exchange *x);
/* Is Age written above? Then an upstream's own must not be. */
static inline bool vv_recall_writes_age(const struct vv_exchange *x)
{
    return x->recall != NULL && x->recall->age_s >= 0;
}

/* What forward.c leaves out of, and adds to, the request of a leader. */
bool vv_recall_drops_field(const struct vv_exchange *x, const struct vv_h1_field *f);
struct vv_str vv_recall_conditions(const struct vv_exchange *x);

/* actions/cached.c: becomes the exchange's action and sends from r->object or r->fill. */
void vv_cached_start(struct vv_exchange *x);
/* The same for the client whose request led the fetch, in two steps: the head as the origin gave it, with
 * what is not kept; then the body out of the fill. False: the exchange has ended. */
VV_MUST_CHECK bool vv_cached_lead(struct vv_exchange *x, struct vv_h1_head *origin);
void vv_cached_lead_body(struct vv_exchange *x);
/* Stops waiting; the exchange ends or goes another way. */
void vv_cached_stop(struct vv_exchange *x);
#endif
