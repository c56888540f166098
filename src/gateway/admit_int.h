/* src/gateway/admit_int.h - compiled limits and what was decided by them, for admit.c, the files that tell
 * about it (admit_look.c, limit_fields.c) and their tests.
 *
 * Threads:   plans are immutable after vv_limit_plan_new(), but for the numbers of series, which every
 *            worker finds out alike.
 * Ownership: items belong to their plan, a plan to its runtime; an admission lies in the exchange's arena.
 */
#ifndef VV_GATEWAY_ADMIT_INT_H
#define VV_GATEWAY_ADMIT_INT_H
#include "gateway/admit.h"
#include "os/sock.h"
#include <stdatomic.h>

#define VV_LIMIT_PARTS 3      /* rate, quota, in flight */
#define VV_LIMIT_PLAN_PARTS 5 /* of one list together; three lists make one decision */

enum vv_limit_per { VV_PER_CLIENT, VV_PER_KEY, VV_PER_ALL, VV_PER_TEMPLATE };
enum vv_limit_result { VV_LIMIT_ALLOWED, VV_LIMIT_REFUSED, VV_LIMIT_DRY, VV_LIMIT_RESULTS };

struct vv_limit_part {
    struct vv_limit limit;
    char *label;  /* "web-quota" in quotes: a string of structured fields and of JSON alike */
    char *policy; /* as RateLimit-Policy says it: "web";q=201;w=3 */
    uint16_t label_bytes, policy_bytes;
};

struct vv_limit_item { /* one entry of a list of limits */
    const struct vv_limit_settings *conf;
    char *name;
    enum vv_limit_per per;
    struct vv_template *key; /* VV_PER_TEMPLATE */
    size_t parts;
    struct vv_limit_part part[VV_LIMIT_PARTS];
    struct vv_cidr *allow;
    size_t allow_count;
    _Atomic vv_series series[VV_LIMIT_RESULTS]; /* 0: not interned yet */
};

struct vv_limit_plan {
    char *scope;
    bool has_template;
    size_t count;
    struct vv_limit_item item[];
};

#define VV_ADMIT_LISTS 3 /* listener, route, the caller's plan */
struct vv_admit_question {
    struct vv_limits *limits;
    const struct vv_limit_plan *list[VV_ADMIT_LISTS]; /* NULL: none */
    bool has_plan;                                    /* leaves out what is counted per client */
    bool stranger; /* leaves out all else: who is not let in must not use up what others may have */
    struct vv_str client;                /* address as text */
    const struct vv_addr *peer;          /* the same, if it is at hand; NULL: the text is read */
    struct vv_str caller;                /* id; n 0: nobody known */
    const struct vv_template_vars *vars; /* needed where a list has templates */
    struct vv_arena *arena;
    uint64_t now_ns;
};

struct vv_admit_held { /* places of a limit that only watches */
    struct vv_admit_held *next;
    struct vv_limit_grant grant;
};
struct vv_admit_told {
    const struct vv_limit_item *item;
    const struct vv_limit_part *part;
    struct vv_limit_answer answer;
};
struct vv_admission {
    struct vv_limit_grant grant;
    struct vv_admit_held *held;
    bool allowed, holds, legacy;
    int status;        /* of the refusal */
    uint64_t retry_ns; /* if refused: 0 unknown, VV_LIMIT_NEVER */
    size_t watched;    /* limits that only watch and would have refused */
    size_t count;
    struct vv_admit_told told[];
};

/* The decision without its phase. *ret is NULL when no limit applied. Calls `count` (may be NULL) for every
 * limit that decided. VV_ENOMEM: the arena is full; nothing was charged by limits that refuse. */
typedef void vv_admit_count_fn(void *user, const struct vv_limit_item *item,
                               enum vv_limit_result result);
VV_MUST_CHECK enum vv_err vv_admit_decide(const struct vv_admit_question *q,
                                          vv_admit_count_fn *count, void *user,
                                          struct vv_admission **ret);
void vv_admission_release(struct vv_limits *l, struct vv_admission *a, uint64_t now_ns);
/* The key of this limit for who asks, into room[VV_ADMIT_KEY] or the arena. False: an allowed address,
 * not limited. */
#define VV_ADMIT_KEY 24
VV_MUST_CHECK bool vv_admit_key(const struct vv_admit_question *q, const struct vv_limit_item *item,
                                char *room, struct vv_str *ret);
/* Fields of an admission: what vv_admit_put_fields() writes, and no more than this many bytes. */
size_t vv_admission_fields_bytes(const struct vv_admission *a);
void vv_admission_put_fields(struct vv_writer *w, const struct vv_admission *a);
#endif
