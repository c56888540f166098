/* src/gateway/buf.h - byte buffers of one worker, and what waits to be written to a socket.
 *
 * Model:     a buffer is one block of VV_BUF_SMALL or VV_BUF_LARGE bytes with a filled window
 *            [start, end). Blocks go back to the worker's free list, so an idle connection holds
 *            none. An *out* is one batch for one socket: pieces that were copied into its own
 *            block, pieces borrowed from elsewhere, then maybe a part of a file. A batch must have
 *            left completely before borrowed bytes may change: whoever lends them waits for
 *            VV_OK from vv_out_flush(). That is the back-pressure: nothing else is queued.
 * Units:     bytes. Threads: one worker.
 * Ownership: vv_buf_get/_put borrow and return; vv_out_hold() hands a block to the batch.
 * Errors:    NULL or false when memory is out.
 */
#ifndef VV_GATEWAY_BUF_H
#define VV_GATEWAY_BUF_H
#include "base/err.h"
#include "base/str.h"
#include <sys/types.h>
#include <sys/uio.h>

struct vv_tls;

#define VV_BUF_SMALL (16 * 1024)
#define VV_BUF_LARGE (64 * 1024)

struct vv_buf {
    struct vv_buf *next;
    uint32_t cap, start, end;
    char data[];
};

struct vv_bufs { /* a worker's free lists */
    struct vv_buf *small, *large;
    uint32_t small_count, large_count;
    uint64_t bytes; /* handed out now */
};

void vv_bufs_fini(struct vv_bufs *bufs);
void vv_bufs_trim(struct vv_bufs *bufs); /* gives half of what is idle back to the system */
/* At least `bytes` of room: one of the two classes, or an odd size that is not pooled. */
VV_MUST_CHECK struct vv_buf *vv_buf_get(struct vv_bufs *bufs, size_t bytes);
void vv_buf_put(struct vv_bufs *bufs, struct vv_buf *b); /* NULL is fine */

static inline size_t vv_buf_len(const struct vv_buf *b)
{
    return b->end - b->start;
}
static inline size_t vv_buf_room(const struct vv_buf *b)
{
    return b->cap - b->end;
}

#define VV_OUT_PIECES 16
struct vv_out {
    uint16_t count, at; /* pieces, and the first one that has not left */
    bool last;          /* nothing follows this batch on the connection */
    bool more;          /* the caller will flush again at once: let the kernel wait (MSG_MORE) */
    bool yielded;       /* VV_EAGAIN because others must have their turn: flush again later, the
                                 * socket will not say so */
    int file;           /* -1: none; borrowed */
    off_t file_at;
    uint64_t file_left;
    size_t pending;        /* bytes of pieces that have not left */
    uint64_t sent;         /* bytes since the start of the connection */
    struct vv_buf *copied; /* copied pieces live here, a chain */
    struct vv_buf *held;   /* returned with the batch */
    struct iovec piece[VV_OUT_PIECES];
};

void vv_out_init(struct vv_out *o);
void vv_out_fini(struct vv_out *o, struct vv_bufs *bufs);
static inline bool vv_out_empty(const struct vv_out *o)
{
    return o->count == 0 && o->file_left == 0;
}
/* Room for `bytes` to be written in place and then committed with vv_out_commit(); NULL: the
 * batch has all its pieces (flush first) or memory is out. */
VV_MUST_CHECK char *vv_out_reserve(struct vv_out *o, struct vv_bufs *bufs, size_t bytes);
void vv_out_commit(struct vv_out *o, size_t bytes);
VV_MUST_CHECK bool vv_out_copy(struct vv_out *o, struct vv_bufs *bufs, struct vv_str s);
VV_MUST_CHECK bool vv_out_borrow(struct vv_out *o, struct vv_str s);
void vv_out_file(struct vv_out *o, int fd, off_t at, uint64_t bytes); /* last in a batch */
void vv_out_hold(struct vv_out *o, struct vv_buf *b);
/* The filled part of `b` as a piece; the block goes back when the batch has left. False: the batch has
 * all its pieces, the block is still the caller's. */
VV_MUST_CHECK bool vv_out_give(struct vv_out *o, struct vv_buf *b);
/* VV_OK: all has left, the batch is empty again, blocks are returned. VV_EAGAIN: wait for the socket.
 * Otherwise the connection is gone. tls: NULL on a plain connection. */
VV_MUST_CHECK enum vv_err vv_out_flush(struct vv_out *o, struct vv_bufs *bufs, int fd,
                                       struct vv_tls *tls, uint64_t now_ns);
/* Empties it and returns its blocks: all has left in another way. */
void vv_out_clear(struct vv_out *o, struct vv_bufs *bufs);
/* Takes n bytes off the front that have left in another way. */
void vv_out_advance(struct vv_out *o, size_t n);
#endif
