/* src/cache/small.h - a small map of keys to values: what still serves when the store is away.
 *
 * Model:     byte keys to immutable items (value, content type, tags, a lifetime). Bounded by entries
 *            and by bytes. When a new item does not fit, a share of the entries (`trim`) goes at
 *            once: those whose time is over, and if that is not enough the oldest, that is those
 *            that were put longest ago. A put of a key that is there replaces it and makes it the
 *            newest; a get changes nothing. With 1,000 entries and a share of 20 % the 1,001st
 *            key makes the 200 oldest go.
 *            A lifetime of 0 is none: such an item leaves by removal or by trimming only.
 * Units:     *_ns monotonic nanoseconds, *_ms milliseconds since 1970, *_bytes of keys and items as
 *            they lie in memory, without the allocator's own.
 * Threads:   any; one lock inside, held for a look-up, or for a walk over all entries where a
 *            pattern or a tag is given. Items are immutable and counted: they may be read without
 *            the lock, and outlive their place in the map.
 * Ownership: _new/_free; an item that was returned is the caller's reference.
 * Errors:    VV_ENOMEM; VV_ELIMIT: larger than value_bytes or than the map; VV_ENOENT, VV_EEXIST:
 *            the condition does not hold. A call that fails changes nothing.
 */
#ifndef VV_CACHE_SMALL_H
#define VV_CACHE_SMALL_H
#include "base/err.h"
#include "base/str.h"
#include <stdatomic.h>

#define VV_SMALL_TAGS_MAX 32

struct vv_small;
struct vv_small_conf {    /* 0: the default */
    uint64_t entries;     /* 1,000 */
    uint64_t bytes;       /* 16 MiB */
    uint64_t value_bytes; /* largest value, 1 MiB */
    uint64_t trim_ppm;    /* 200,000: 20 % */
};

/* What is to be stored. */
struct vv_small_spec {
    struct vv_str key, value, type; /* type: of the content; empty: not known */
    const struct vv_str *tag;
    size_t tags;        /* VV_SMALL_TAGS_MAX at most */
    uint64_t ttl_ns;    /* 0: none */
    uint64_t stored_ms; /* when the value was made, for its age */
};

struct vv_small_item {     /* counted; read-only */
    _Atomic uint32_t refs; /* PRIVATE */
    uint64_t etag;         /* of value and type: equal where both are */
    uint64_t until_ns;     /* 0: no end */
    uint64_t stored_ms;
    struct vv_str key, type, value;
    size_t tags;
    struct vv_str tag[]; /* its texts lie behind it */
};
/* An item that is in no map yet: by vv_small_put() or for whoever has a value from elsewhere. */
VV_MUST_CHECK enum vv_err vv_small_item_new(const struct vv_small_spec *spec, uint64_t now_ns,
                                            struct vv_small_item **ret);
struct vv_small_item *vv_small_item_ref(struct vv_small_item *it);
void vv_small_item_unref(struct vv_small_item *it); /* NULL is fine */
bool vv_small_item_tagged(const struct vv_small_item *it, struct vv_str tag);
/* What vv_small_item.etag is. */
uint64_t vv_small_etag(struct vv_str value, struct vv_str type);

/* What must be there for a put or a removal to happen. */
enum vv_small_when {
    VV_SMALL_ALWAYS,
    VV_SMALL_ABSENT,  /* nothing; else VV_EEXIST */
    VV_SMALL_PRESENT, /* something; else VV_ENOENT */
    VV_SMALL_MATCH,   /* something with one of these etags; else VV_ENOENT */
    VV_SMALL_OTHER    /* nothing, or something with none of these etags; else VV_EEXIST */
};
struct vv_small_if {
    enum vv_small_when when;
    const uint64_t *etag;
    size_t etags;
};

VV_MUST_CHECK enum vv_err vv_small_new(const struct vv_small_conf *conf, struct vv_small **ret);
void vv_small_free(struct vv_small *m); /* items that others hold stay; NULL is fine */
/* Another bound from now on: what is too much goes with the next put. */
void vv_small_set(struct vv_small *m, const struct vv_small_conf *conf);

/* A reference; NULL: not there, or its time is over. */
struct vv_small_item *vv_small_get(struct vv_small *m, struct vv_str key, uint64_t now_ns);
/* cond NULL: always. *ret_replaced (may be NULL): there was one. */
VV_MUST_CHECK enum vv_err vv_small_put(struct vv_small *m, const struct vv_small_spec *spec,
                                       const struct vv_small_if *cond, uint64_t now_ns,
                                       bool *ret_replaced);
/* The same with an item that is made: the map takes a reference of its own. */
VV_MUST_CHECK enum vv_err vv_small_put_item(struct vv_small *m, struct vv_small_item *it,
                                            const struct vv_small_if *cond, uint64_t now_ns,
                                            bool *ret_replaced);
/* VV_OK; *ret_there (may be NULL): whether there was one. */
VV_MUST_CHECK enum vv_err vv_small_remove(struct vv_small *m, struct vv_str key,
                                          const struct vv_small_if *cond, uint64_t now_ns,
                                          bool *ret_there);
/* Forgets the key if it was put before this moment: the store does not know it any more. */
void vv_small_forget(struct vv_small *m, struct vv_str key, uint64_t before_ns);
/* Pattern as of vv_cache_glob(). Both return how many live ones went. */
size_t vv_small_remove_glob(struct vv_small *m, struct vv_str glob, uint64_t now_ns);
size_t vv_small_remove_tag(struct vv_small *m, struct vv_str tag, uint64_t now_ns);

struct vv_small_stats {
    uint64_t entries, bytes;
    uint64_t puts, expired, trims, trimmed; /* trimmed: entries that went for want of room */
};
void vv_small_stats(struct vv_small *m, struct vv_small_stats *ret);
/* Aborts when an invariant does not hold. For tests. */
void vv_small_check(struct vv_small *m);
#endif
