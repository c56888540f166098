/* src/cache/snapshot.h - the cache's content as a file: written at stop, read back at start.
 *
 * Model:     a head with version and clocks, then one record per object, each with its own checksum
 *            (xxh3). A record that does not check out is skipped and counted, and reading goes on
 *            at the next record; so a cut or damaged file costs what is damaged.
 *            Monotonic times do not survive a restart: keep_until is shifted by the difference of
 *            both clocks. The caller's metadata is opaque: it keeps wall time or fixes itself.
 * Threads:   any; blocks: control side only. Writing holds the writer lock while it copies.
 * Errors:    VV_EIO and the like for the file, VV_ESYNTAX for one that is not a snapshot.
 */
#ifndef VV_CACHE_SNAPSHOT_H
#define VV_CACHE_SNAPSHOT_H
#include "cache/store.h"

struct vv_cache_loaded {
    uint64_t loaded, damaged, expired, refused;
};

struct vv_cache_clock { /* one moment on both clocks */
    uint64_t now_ns, wall_ns;
};

/* Replaces the file atomically; *ret_objects may be NULL. */
VV_MUST_CHECK enum vv_err vv_cache_save(struct vv_cache *c, const char *path,
                                        struct vv_cache_clock clock, uint64_t *ret_objects);
VV_MUST_CHECK enum vv_err vv_cache_load(struct vv_cache *c, const char *path,
                                        struct vv_cache_clock clock, struct vv_cache_loaded *ret);
/* The same from memory; any bytes may come. */
VV_MUST_CHECK enum vv_err vv_cache_load_bytes(struct vv_cache *c, struct vv_str bytes,
                                              struct vv_cache_clock clock,
                                              struct vv_cache_loaded *ret);
#endif
