/* src/gateway/coherence_int.h - the parts of coherence.c: records that judge, the log as it is read, and what
 * waits to be added to it. Not for others.
 *
 * Model:     coherence_records.c: what is known of the log as an index, so that judging costs a look-up for
 *            the key, its tags and each length of prefix in use, however many records there are.
 *            coherence_link.c: reads the stream on a connection of its own, says what came, and up to when
 *            nothing else can have come. coherence_wait.c: purges of this gateway from the moment they are
 *            made until they have been read back.
 * Units:     ids are milliseconds << 20 | number. Threads: records and waiting are under the owner's lock,
 *            the link is the control thread's.
 */
#ifndef VV_GATEWAY_COHERENCE_INT_H
#define VV_GATEWAY_COHERENCE_INT_H
#include "gateway/coherence.h"
#include <pthread.h>

enum vv_record_what {
    VV_RECORD_URL,
    VV_RECORD_PATTERN,
    VV_RECORD_TAG,
    VV_RECORD_ALL,
    VV_RECORD_BEGIN, /* what was before is not known: judges like ALL */
    VV_RECORD_COUNT
};
extern const char *const vv_record_names[VV_RECORD_COUNT];

struct vv_record { /* one purge */
    uint64_t id;
    enum vv_record_what what;
    struct vv_str value;
    bool soft;
    uint64_t gateway, number; /* who made it, and its own count; 0: unknown */
};

/* ---- ids ---- */
#define VV_RECORD_ID_MAX 48 /* bytes of an id as text, with NUL */
VV_MUST_CHECK bool vv_record_id_read(struct vv_str text, uint64_t *ret);
struct vv_str vv_record_id_write(uint64_t id, char *out); /* into VV_RECORD_ID_MAX bytes */

/* ---- what is known of the log (coherence_records.c) ---- */
struct vv_records;
/* seed: of the hashes of keys and prefixes. NULL: no memory. */
struct vv_records *vv_records_new(size_t max, uint64_t seed);
void vv_records_free(struct vv_records *rs); /* NULL is fine */
/* Ids ascend. Cannot fail: without memory everything older than the record is gone. */
void vv_records_add(struct vv_records *rs, const struct vv_record *rec);
/* Forgets all; what was written before `floor` is gone. */
void vv_records_clear(struct vv_records *rs, uint64_t floor);
enum vv_coherence_verdict vv_records_judge(const struct vv_records *rs,
                                           const struct vv_packed_head *h);
size_t vv_records_count(const struct vv_records *rs);
uint64_t vv_records_floor(const struct vv_records *rs);
/* Does one purge fit, whenever it was made? tag: vv_cache_tag() of its value. */
bool vv_record_fits(enum vv_record_what what, struct vv_str value, uint64_t tag,
                    const struct vv_packed_head *h);

/* ---- what waits (coherence_wait.c) ---- */
struct vv_wait_events {
    void (*added)(void *user); /* one is in the log */
    void (*failed)(void *user, const char *why);
    void *user;
};
struct vv_wait {
    struct vv_list list; /* in the order in which they were made */
    struct vv_loop *loop;
    struct vv_store *store;
    pthread_mutex_t *lock; /* the owner's */
    struct vv_str key;     /* of the stream; the owner's */
    uint64_t gateway, next_number, timeout_ns;
    size_t count, sent; /* under way of them */
    bool all_due;       /* everything is to be purged, which has no place in the list yet */
    _Atomic uint64_t dropped;
    struct vv_wait_events events;
};
void vv_wait_init(struct vv_wait *w); /* the fields that the owner has not set */
void vv_wait_fini(struct vv_wait *w); /* control */
/* Under the lock. Cannot fail: without memory, or with too many, one purge of everything waits instead. */
void vv_wait_add(struct vv_wait *w, const struct vv_purge *p);
enum vv_coherence_verdict vv_wait_judge(const struct vv_wait *w, const struct vv_packed_head *h);
/* Control, not under the lock. */
void vv_wait_send(struct vv_wait *w);
/* Our own record was read back. */
void vv_wait_seen(struct vv_wait *w, uint64_t number);
/* The log was read up to `last`: what was answered with less and did not come has been lost and goes again.
 * UINT64_MAX: all that has not been read back. */
void vv_wait_again(struct vv_wait *w, uint64_t last);

/* ---- the log as it is read (coherence_link.c) ---- */
struct vv_link;
struct vv_link_events {
    /* A record, in order. */
    void (*record)(void *user, const struct vv_record *rec);
    /* The log is not the one that was read until now, or records were missed: it is read anew from its first
     * record, which comes next. */
    void (*lost)(void *user);
    /* Everything that was in the log at that instant has been handed out. */
    void (*proof)(void *user, uint64_t at_ns);
    void (*failed)(void *user, const char *why);
    void *user;
};
struct vv_link_conf {
    struct vv_loop *loop;
    struct vv_store *store;
    struct vv_str key;
    uint64_t gateway;
    uint64_t block_ns; /* XREAD BLOCK */
    uint64_t grace_ns; /* its deadline is so much later */
};
VV_MUST_CHECK enum vv_err vv_link_new(const struct vv_link_conf *conf,
                                      const struct vv_link_events *events, struct vv_link **ret);
void vv_link_free(struct vv_link *l); /* not from its own callbacks; NULL is fine */
const char *vv_link_state(const struct vv_link *l);

/* The XADD of one record: args for VV_RECORD_ARGS, small texts in `text`, which stays as long. */
#define VV_RECORD_ARGS 16
#define VV_RECORD_TEXT 160
size_t vv_record_args(const struct vv_record *rec, struct vv_str key, struct vv_str id, char *text,
                      struct vv_str *args);
#endif
