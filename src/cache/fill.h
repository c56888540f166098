/* src/cache/fill.h - one fetch for many askers: a leader appends, followers read behind it.
 *
 * Model:     exactly one fill per key at a time. The leader gives metadata and head, appends the
 *            body and finishes or fails; finishing publishes the object and then takes the fill out
 *            of the map. A follower may join at any time before the end, also when the head is
 *            there; it reads from any offset and waits for more by event, never by polling. A key
 *            marked as passing is never coalesced (hit-for-miss).
 *            An answer of unknown length that outgrows what an object may be goes on as a
 *            transient: nothing is published, everybody who joined reads to the end. All
 *            transients together may take half the budget.
 * Threads:   any; a fill has a lock of its own, held for a few instructions.
 * Ownership: begin gives a reference to leader and follower alike: vv_cache_fill_unref(). Slices
 *            read from a fill live as long as the reference. The waiter is the caller's storage.
 * Errors:    VV_ELIMIT: too large, or not to be kept (said at each function); VV_ENOMEM.
 */
#ifndef VV_CACHE_FILL_H
#define VV_CACHE_FILL_H
#include "cache/store.h"
#include "os/loop.h"

#define VV_CACHE_WAITERS_MAX 10000 /* of one fill, at one time */

struct vv_cache_fill;

enum vv_cache_role { VV_CACHE_LEAD, VV_CACHE_FOLLOW, VV_CACHE_PASS };

struct vv_cache_waiter {
    struct vv_mail mail;  /* .fn is set by the caller: called once on `loop` for each wait */
    struct vv_loop *loop; /* set by the caller */
    struct vv_list node;  /* PRIVATE from here on */
    struct vv_cache_fill *fill;
    bool armed;
};

/* LEAD and FOLLOW set *ret_fill; PASS (the key is marked) does not. */
VV_MUST_CHECK enum vv_err vv_cache_fill_begin(struct vv_cache *c, struct vv_str key,
                                              uint64_t now_ns, enum vv_cache_role *ret_role,
                                              struct vv_cache_fill **ret_fill);
void vv_cache_fill_ref(struct vv_cache_fill *f);
void vv_cache_fill_unref(struct vv_cache_fill *f);

/* --- the leader --- */
/* Before the first byte. expected: the body's length or 0; refused at once when it cannot be kept,
 * while no follower has seen anything. */
VV_MUST_CHECK enum vv_err vv_cache_fill_head(struct vv_cache_fill *f, const void *meta,
                                             size_t meta_n, struct vv_str head, uint64_t expected,
                                             uint64_t now_ns);
/* On an error nothing was appended and the leader calls vv_cache_fill_fail(). VV_ELIMIT: the
 * transients take too much. */
VV_MUST_CHECK enum vv_err vv_cache_fill_append(struct vv_cache_fill *f, struct vv_str bytes,
                                               uint64_t now_ns);
/* Publishes; spec's key, hash, body and born are the fill's own. Followers read on to the end also
 * when the object was refused, which is what the result says (VV_ELIMIT also for a transient). */
VV_MUST_CHECK enum vv_err vv_cache_fill_finish(struct vv_cache_fill *f,
                                               const struct vv_cache_spec *spec, uint64_t now_ns);
/* The end without publishing: followers read on to the end, the next to begin leads. */
void vv_cache_fill_end(struct vv_cache_fill *f);
/* Tells everybody once, with `why` as it is (not VV_OK, not VV_EAGAIN); the next to begin leads. */
void vv_cache_fill_fail(struct vv_cache_fill *f, enum vv_err why);
/* The key was purged since the fetch began: what it brings is not published. */
bool vv_cache_fill_doomed(const struct vv_cache_fill *f);
/* Until then nobody waits for anybody on this key. */
void vv_cache_fill_mark(struct vv_cache *c, struct vv_str key, uint64_t until_ns);

/* --- followers --- */
/* VV_EAGAIN: not there yet. */
VV_MUST_CHECK enum vv_err vv_cache_fill_get_head(struct vv_cache_fill *f, struct vv_str *ret_meta,
                                                 struct vv_str *ret_head);
/* VV_OK with bytes; VV_OK without: the end; VV_EAGAIN: not there yet; else why the fill failed. */
VV_MUST_CHECK enum vv_err vv_cache_fill_read(struct vv_cache_fill *f, uint64_t offset,
                                             struct vv_str *ret);
/* Mail comes when there is more than `offset` bytes (or, with want_head, a head) or an end.
 * VV_EEXIST: that is the case already, no mail will come. VV_ELIMIT: too many wait. */
VV_MUST_CHECK enum vv_err vv_cache_fill_wait(struct vv_cache_fill *f, struct vv_cache_waiter *w,
                                             bool want_head, uint64_t offset);
/* True: no mail will come, the storage is free. False: the mail is on its way and the storage has
 * to stay until it was delivered. */
bool vv_cache_fill_stop(struct vv_cache_waiter *w);
#endif
