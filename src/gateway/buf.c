/* src/gateway/buf.c - two size classes and a bounded free list: what one turn of the loop needs is
 * there again in the next, and a burst gives its memory back (vv_bufs_trim, once a second). */
#include "gateway/buf.h"
#include "os/sock.h"
#include "os/tls.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#define FREE_SMALL_MAX 512u
#define FREE_LARGE_MAX 32u
#define FREE_KEEP 8u
#define TURN_BYTES (2u << 20) /* of a file in one turn: the others must not wait for it */

static void free_list(struct vv_buf **list, uint32_t *count, uint32_t keep)
{
    while (*count > keep) {
        struct vv_buf *b = *list;
        *list = b->next;
        free(b);
        (*count)--;
    }
}

void vv_bufs_fini(struct vv_bufs *bufs)
{
    free_list(&bufs->small, &bufs->small_count, 0);
    free_list(&bufs->large, &bufs->large_count, 0);
}

void vv_bufs_trim(struct vv_bufs *bufs)
{
    free_list(&bufs->small, &bufs->small_count,
              bufs->small_count / 2 > FREE_KEEP ? bufs->small_count / 2 : FREE_KEEP);
    free_list(&bufs->large, &bufs->large_count, bufs->large_count / 2);
}

static struct vv_buf *pop(struct vv_buf **list, uint32_t *count)
{
    struct vv_buf *b = *list;
    if (b != NULL) {
        *list = b->next;
        (*count)--;
    }
    return b;
}

struct vv_buf *vv_buf_get(struct vv_bufs *bufs, size_t bytes)
{
    struct vv_buf *b = NULL;
    size_t cap = bytes;
    if (bytes <= VV_BUF_SMALL) {
        cap = VV_BUF_SMALL;
        b = pop(&bufs->small, &bufs->small_count);
    } else if (bytes <= VV_BUF_LARGE) {
        cap = VV_BUF_LARGE;
        b = pop(&bufs->large, &bufs->large_count);
    }
    if (b == NULL) {
        if (cap > UINT32_MAX) {
            return NULL;
        }
        b = malloc(sizeof *b + cap);
        if (b == NULL) {
            return NULL;
        }
        b->cap = (uint32_t)cap;
    }
    b->next = NULL;
    b->start = b->end = 0;
    bufs->bytes += b->cap;
    return b;
}

void vv_buf_put(struct vv_bufs *bufs, struct vv_buf *b)
{
    if (b == NULL) {
        return;
    }
    bufs->bytes -= b->cap;
    if (b->cap == VV_BUF_SMALL && bufs->small_count < FREE_SMALL_MAX) {
        b->next = bufs->small;
        bufs->small = b;
        bufs->small_count++;
    } else if (b->cap == VV_BUF_LARGE && bufs->large_count < FREE_LARGE_MAX) {
        b->next = bufs->large;
        bufs->large = b;
        bufs->large_count++;
    } else {
        free(b);
    }
}

void vv_out_init(struct vv_out *o)
{
    o->count = o->at = 0;
    o->more = o->yielded = o->last = false;
    o->file = -1;
    o->file_at = 0;
    o->file_left = 0;
    o->pending = 0;
    o->sent = 0;
    o->copied = o->held = NULL;
}

void vv_out_clear(struct vv_out *o, struct vv_bufs *bufs)
{
    o->count = o->at = 0;
    o->pending = 0;
    o->file = -1;
    o->file_left = 0;
    while (o->copied != NULL) {
        struct vv_buf *b = o->copied;
        o->copied = b->next;
        vv_buf_put(bufs, b);
    }
    if (o->held != NULL) {
        vv_buf_put(bufs, o->held);
        o->held = NULL;
    }
}

void vv_out_fini(struct vv_out *o, struct vv_bufs *bufs)
{
    vv_out_clear(o, bufs);
}

char *vv_out_reserve(struct vv_out *o, struct vv_bufs *bufs, size_t bytes)
{
    if (o->file_left > 0 || o->count == VV_OUT_PIECES) {
        return NULL;
    }
    if (o->copied == NULL || vv_buf_room(o->copied) < bytes) {
        struct vv_buf *b = vv_buf_get(bufs, bytes);
        if (b == NULL) {
            return NULL;
        }
        b->next = o->copied;
        o->copied = b;
    }
    return o->copied->data + o->copied->end;
}

void vv_out_commit(struct vv_out *o, size_t bytes)
{
    if (bytes == 0) {
        return;
    }
    char *at = o->copied->data + o->copied->end;
    VV_ASSERT(vv_buf_room(o->copied) >= bytes); /* else somebody wrote more than it reserved */
    o->copied->end += (uint32_t)bytes;
    o->pending += bytes;
    struct iovec *last = o->count > o->at ? &o->piece[o->count - 1] : NULL;
    if (last != NULL && (char *)last->iov_base + last->iov_len == at) {
        last->iov_len += bytes; /* neighbours in our own block leave as one piece */
        return;
    }
    VV_ASSERT(o->count < VV_OUT_PIECES);
    o->piece[o->count++] = (struct iovec){at, bytes};
}

bool vv_out_copy(struct vv_out *o, struct vv_bufs *bufs, struct vv_str s)
{
    if (s.n == 0) {
        return true;
    }
    char *to = vv_out_reserve(o, bufs, s.n);
    if (to == NULL) {
        return false;
    }
    memcpy(to, s.p, s.n);
    vv_out_commit(o, s.n);
    return true;
}

bool vv_out_borrow(struct vv_out *o, struct vv_str s)
{
    if (s.n == 0) {
        return true;
    }
    if (o->count == VV_OUT_PIECES || o->file_left > 0) {
        return false;
    }
    o->piece[o->count++] = (struct iovec){(void *)(uintptr_t)s.p, s.n};
    o->pending += s.n;
    return true;
}

void vv_out_file(struct vv_out *o, int fd, off_t at, uint64_t bytes)
{
    VV_ASSERT(o->file_left == 0);
    o->file = fd;
    o->file_at = at;
    o->file_left = bytes;
}

void vv_out_hold(struct vv_out *o, struct vv_buf *b)
{
    VV_ASSERT(o->held == NULL);
    o->held = b;
}

bool vv_out_give(struct vv_out *o, struct vv_buf *b)
{
    if (!vv_out_borrow(o, (struct vv_str){b->data + b->start, vv_buf_len(b)})) {
        return false;
    }
    b->next = o->copied; /* what is copied next goes behind it, into its free end */
    o->copied = b;
    return true;
}

static enum vv_err send_error(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK ? VV_EAGAIN : vv_err_from_errno(errno);
}

/* Takes `n` bytes that have left off the front. */
void vv_out_advance(struct vv_out *o, size_t n)
{
    o->pending -= n;
    o->sent += n;
    while (n > 0) {
        struct iovec *p = &o->piece[o->at];
        if (n < p->iov_len) {
            p->iov_base = (char *)p->iov_base + n;
            p->iov_len -= n;
            return;
        }
        n -= p->iov_len;
        o->at++;
    }
}

static enum vv_err flush_pieces(struct vv_out *o, int fd)
{
    while (o->pending > 0) {
        ssize_t n;
        const int flags = MSG_NOSIGNAL | (o->file_left > 0 || o->more ? MSG_MORE : 0);
        if (o->count - o->at == 1) {
            n = vv_sock_send(fd, o->piece[o->at].iov_base, o->piece[o->at].iov_len, flags);
        } else {
            struct msghdr m = {.msg_iov = &o->piece[o->at], .msg_iovlen = o->count - o->at};
            n = vv_sock_sendmsg(fd, &m, flags);
        }
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return send_error();
        }
        vv_out_advance(o, (size_t)n);
    }
    return VV_OK;
}

static enum vv_err flush_file(struct vv_out *o, int fd)
{
    size_t budget = TURN_BYTES;
    while (o->file_left > 0) {
        if (budget == 0) {
            o->yielded = true;
            return VV_EAGAIN;
        }
        const size_t want = o->file_left < budget ? (size_t)o->file_left : budget;
        const ssize_t n = sendfile(fd, o->file, &o->file_at, want);
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return send_error();
        }
        if (n == 0) {
            return VV_EIO; /* the file became shorter under us: the promised length is lost */
        }
        o->file_left -= (uint64_t)n;
        o->sent += (uint64_t)n;
        budget -= (size_t)n;
    }
    return VV_OK;
}

/* What the socket does not take at once is kept as records: our bytes have been read by then, but who
 * lent them waits until they have left, as without TLS. */
static enum vv_err flush_tls(struct vv_out *o, struct vv_tls *tls, uint64_t now_ns)
{
    size_t budget = TURN_BYTES;
    while (o->pending > 0) {
        size_t n = 0;
        const unsigned flags = o->last && o->file_left == 0 ? VV_TLS_LAST : 0;
        const enum vv_err err =
            vv_tls_write(tls, &o->piece[o->at], (size_t)(o->count - o->at), flags, now_ns, &n);
        if (err != VV_OK) {
            return err;
        }
        vv_out_advance(o, n);
    }
    while (o->file_left > 0) {
        size_t n = 0;
        if (budget == 0) {
            o->yielded = true;
            return VV_EAGAIN;
        }
        const size_t want = (size_t)vv_min_u64(o->file_left, budget);
        const enum vv_err err =
            vv_tls_sendfile(tls, o->file, (uint64_t)o->file_at, want, now_ns, &n);
        if (err != VV_OK) {
            return err == VV_ERANGE ? VV_EIO : err;
        }
        o->file_at += (off_t)n;
        o->file_left -= n;
        o->sent += n;
        budget -= n;
    }
    return vv_tls_unsent(tls) > 0 ? vv_tls_flush(tls) : VV_OK;
}

enum vv_err vv_out_flush(struct vv_out *o, struct vv_bufs *bufs, int fd, struct vv_tls *tls,
                         uint64_t now_ns)
{
    o->yielded = false;
    enum vv_err err = VV_OK;
    if (tls != NULL) {
        err = flush_tls(o, tls, now_ns);
    } else {
        err = flush_pieces(o, fd);
        if (err == VV_OK && o->file_left > 0) {
            err = flush_file(o, fd);
        }
    }
    if (err == VV_OK) {
        vv_out_clear(o, bufs);
    }
    return err;
}
