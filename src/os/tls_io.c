/* src/os/tls_io.c - between OpenSSL and the socket.
 *
 * OpenSSL writes one record at a time; here they are gathered (one buffer for each thread, since a thread
 * works on one connection at a time) and leave with one system call. The record that is known to be the
 * last of a call is not copied: it leaves straight from OpenSSL's memory behind what is gathered. What
 * the socket does not take is kept by the connection. Measured with bench/micro/tls.c.
 *
 * With kernel TLS, OpenSSL hands over plaintext and must talk to the socket itself: everything is passed
 * on to its own socket BIO. Only sending: for TLS 1.3, OpenSSL 3.0 cannot let the kernel receive. */
#include "os/sock.h"
#include "os/tls_int.h"

#include <errno.h>
#include <openssl/bio.h>
#include <stdlib.h>

#define WIRE_BYTES (VV_TLS_TAKE_MAX + 16 * 1024) /* a write at most, and what frames its records */
/* What may wait for one connection: a write, or a flight and what it held, and answers to key updates. Whoever
 * wants more of those without taking any is after our memory. */
#define OUT_MAX (WIRE_BYTES + 128 * 1024)
#define KTLS_FIRST 72 /* BIO_CTRL_SET_KTLS and its neighbours for sending, openssl/bio.h */
#define KTLS_LAST 75

static _Thread_local struct {
    size_t n;
    uint8_t bytes[WIRE_BYTES];
} wire;

/* ---- to the socket -------------------------------------------------------------------------- */

/* Keeps what follows the first `sent` bytes of these pieces. False: out of memory. */
static bool keep_rest(struct vv_tls *t, const struct iovec *piece, size_t count, size_t sent)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        total += piece[i].iov_len;
    }
    if (total <= sent) {
        free(t->out);
        t->out = NULL;
        t->out_n = t->out_at = 0;
        return true;
    }
    uint8_t *rest = malloc(total - sent);
    if (rest == NULL) {
        return false;
    }
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t skip = vv_min_u64(sent, piece[i].iov_len);
        sent -= skip;
        if (piece[i].iov_len > skip) {
            memcpy(rest + at, (const uint8_t *)piece[i].iov_base + skip, piece[i].iov_len - skip);
            at += piece[i].iov_len - skip;
        }
    }
    free(t->out);
    t->out = rest;
    t->out_n = at;
    t->out_at = 0;
    return true;
}

static bool fail(struct vv_tls *t, enum vv_err err, int io_errno, enum vv_tls_failure why)
{
    t->over = err;
    t->io_errno = io_errno;
    t->failure = (uint8_t)why;
    wire.n = 0;
    return false;
}

/* Sends what was left, what is gathered and `last`, in this order. What does not fit is kept. False:
 * the connection is over. */
static bool send_all(struct vv_tls *t, const void *last, size_t last_n)
{
    struct iovec piece[3];
    size_t count = 0, total = 0;
    if (t->out_n > 0) {
        piece[count++] = (struct iovec){t->out + t->out_at, t->out_n};
    }
    if (wire.n > 0) {
        piece[count++] = (struct iovec){wire.bytes, wire.n};
    }
    if (last_n > 0) {
        piece[count++] = (struct iovec){(void *)(uintptr_t)last, last_n};
    }
    for (size_t i = 0; i < count; i++) {
        total += piece[i].iov_len;
    }
    if (total == 0) {
        return true;
    }
    ssize_t sent = 0;
    if (t->corked) {
        t->held = true;
    } else {
        const struct msghdr m = {.msg_iov = piece, .msg_iovlen = count};
        do {
            sent = count == 1 ? vv_sock_send(t->fd, piece[0].iov_base, total, MSG_NOSIGNAL)
                              : vv_sock_sendmsg(t->fd, &m, MSG_NOSIGNAL);
        } while (sent < 0 && errno == EINTR);
        t->held = false;
    }
    if (sent < 0 && errno != EAGAIN) {
        const enum vv_err err = errno == EPIPE ? VV_ERESET : vv_err_from_errno(errno);
        t->deaf = t->done;
        return fail(t, err, errno, VV_TLS_FAIL_IO);
    }
    sent = sent < 0 ? 0 : sent;
    if (t->out_n > 0 && count == 1 && (size_t)sent < t->out_n) { /* only what was left before */
        t->out_at += (size_t)sent;
        t->out_n -= (size_t)sent;
        return true;
    }
    if (!keep_rest(t, piece, count, (size_t)sent)) {
        return fail(t, VV_ENOMEM, 0, VV_TLS_FAIL_MEMORY);
    }
    wire.n = 0;
    return t->out_n <= OUT_MAX || fail(t, VV_ELIMIT, 0, VV_TLS_FAIL_PROTOCOL);
}

enum vv_err vv_tls_wire_flush(struct vv_tls *t)
{
    if (wire.n == 0 && t->out_n == 0) {
        return VV_OK;
    }
    if (!send_all(t, NULL, 0)) {
        return t->over;
    }
    return t->out_n > 0 ? VV_EAGAIN : VV_OK;
}

bool vv_tls_wire_push(struct vv_tls *t)
{
    return wire.n == 0 || send_all(t, NULL, 0);
}

bool vv_tls_wire_hold(struct vv_tls *t)
{
    if (wire.n == 0) {
        return true;
    }
    t->corked = true;
    const bool ok = send_all(t, NULL, 0);
    t->corked = false;
    return ok;
}

/* ---- as OpenSSL sees it ---------------------------------------------------------------------- */

static int write_kernel(BIO *b, struct vv_tls *t, const char *p, int n)
{
    const int done = BIO_write(t->kernel, p, n);
    BIO_clear_retry_flags(b);
    if (done <= 0 && BIO_should_retry(t->kernel)) {
        BIO_set_retry_write(b);
    }
    return done;
}

static int bio_write(BIO *b, const char *p, int n)
{
    struct vv_tls *t = BIO_get_data(b);
    BIO_clear_retry_flags(b);
    if (n <= 0 || t->over != VV_OK) {
        return -1;
    }
    if (t->kernel != NULL && BIO_get_ktls_send(t->kernel)) {
        return write_kernel(b, t, p, n);
    }
    if (t->direct) {
        return send_all(t, p, (size_t)n) ? n : -1;
    }
    if ((size_t)n > sizeof(wire.bytes) - wire.n && !send_all(t, NULL, 0)) {
        return -1;
    }
    if ((size_t)n > sizeof(wire.bytes) - wire.n) {
        return -1; /* no flight of OpenSSL is that long */
    }
    memcpy(wire.bytes + wire.n, p, (size_t)n);
    wire.n += (size_t)n;
    return n;
}

static int bio_read(BIO *b, char *p, int n)
{
    struct vv_tls *t = BIO_get_data(b);
    ssize_t got;
    BIO_clear_retry_flags(b);
    if (t->end) {
        return 0;
    }
    if (t->drained) {
        BIO_set_retry_read(b);
        return -1;
    }
    if (t->context->server && !t->hello_done && t->hello_seen >= t->context->hello_bytes_max) {
        t->failure = VV_TLS_FAIL_HELLO_SIZE;
        return -1;
    }
    do {
        got = vv_sock_recv(t->fd, p, (size_t)n);
    } while (got < 0 && errno == EINTR);
    if (got > 0) {
        t->drained = got < n && !t->to_end;
        t->hello_seen += t->hello_done ? 0 : (size_t)got;
    } else if (got < 0 && errno == EAGAIN) {
        t->drained = true;
        BIO_set_retry_read(b);
    } else if (got < 0) {
        t->io_errno = errno;
    } else {
        t->end = true;
    }
    return (int)got;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *p)
{
    struct vv_tls *t = BIO_get_data(b);
    switch (cmd) {
    case BIO_CTRL_FLUSH: /* before the kernel takes over, what was gathered must be gone */
        return t->kernel == NULL || vv_tls_wire_flush(t) == VV_OK;
    case BIO_CTRL_DUP:
        return 1;
    case BIO_CTRL_EOF:
        return t->end;
    case BIO_C_GET_FD:
        if (p != NULL) {
            *(int *)p = t->fd;
        }
        return t->fd;
    default:
        break;
    }
    const bool sending = cmd != KTLS_FIRST || num != 0;
    if (t->kernel != NULL && cmd >= KTLS_FIRST && cmd <= KTLS_LAST && sending) {
        return BIO_ctrl(t->kernel, cmd, num, p);
    }
    return 0;
}

static pthread_once_t method_once = PTHREAD_ONCE_INIT;
static BIO_METHOD *method;

static void make_method(void)
{
    const int kind = BIO_get_new_index() | BIO_TYPE_SOURCE_SINK | BIO_TYPE_DESCRIPTOR;
    method = BIO_meth_new(kind, "vivace");
    if (method != NULL) {
        BIO_meth_set_write(method, bio_write);
        BIO_meth_set_read(method, bio_read);
        BIO_meth_set_ctrl(method, bio_ctrl);
    }
}

BIO *vv_tls_bio_new(struct vv_tls *t)
{
    pthread_once(&method_once, make_method);
    BIO *b = method != NULL ? BIO_new(method) : NULL;
    if (b != NULL) {
        BIO_set_data(b, t);
        BIO_set_init(b, 1);
    }
    return b;
}
