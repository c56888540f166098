/* src/gateway/actions/files_ahead.h - compressed copies of files, made in the background.
 *
 * Model:     the first request that would take a coding for which there is no sibling orders a copy;
 *            a thread of the pool makes it while the request, and those until it is ready, get the
 *            file. A copy that is not small enough is not kept and not made again while the file
 *            stays as it is. A file that changed meanwhile is left for the next request. A request
 *            may wait for the copy; none ever pays for the encoder on its worker.
 * Bounds:    the bytes of the cache (files_cache.h), files up to VV_FILES_AHEAD_MAX, a few at once.
 * Threads:   one worker; the work itself on the pool. Ownership: a job holds its entry.
 */
#ifndef VV_GATEWAY_ACTIONS_FILES_AHEAD_H
#define VV_GATEWAY_ACTIONS_FILES_AHEAD_H
#include "gateway/actions/files_cache.h"
#include "os/pool.h"

#define VV_FILES_AHEAD_MAX (16 * VV_MIB)

struct vv_files_maker {
    struct vv_pool *pool;
    struct vv_loop *loop;
    int level;              /* 0: the best of the range */
    uint64_t ratio_max_ppm; /* of the file's size */
    uint64_t wall_ns;
};
/* The copy in this coding; NULL: there is none yet, or none worth having (*ret_hopeless). The file's
 * size and type were found fit (wire/encoding.h). */
const struct vv_files_copy *vv_files_ahead(struct vv_files_entry *e, enum vv_encoding encoding,
                                           const struct vv_files_maker *m, bool *ret_hopeless);
struct vv_files_waiter {
    struct vv_list node;
    void (*fn)(struct vv_files_waiter *w); /* the copy is there, or will not be */
};
/* Waits for a copy that is being made; false: none is. vv_list_del(&w->node) waits no longer. */
VV_MUST_CHECK bool vv_files_await(struct vv_files_entry *e, enum vv_encoding encoding,
                                  struct vv_files_waiter *w);
/* Lets go of jobs that have run and whose end nobody will tell any more: the loop has stopped and the
 * pool is gone. Before vv_files_cache_free(). */
void vv_files_ahead_stop(struct vv_files_cache *c);

/* The encoder's work by itself, for tests: compresses `size` bytes of `fd` into at most `cap` bytes.
 * VV_ELIMIT: it needs more; VV_EIO: the file is shorter; VV_ENOMEM. *ret is the caller's, free(). */
VV_MUST_CHECK enum vv_err vv_files_compress(int fd, uint64_t size, enum vv_encoding encoding,
                                            int level, size_t cap, char **ret, size_t *ret_n);
#endif
