/* src/os/tls.c - handshake, reading, writing, saying good-bye. */
#include "os/tls.h"
#include "os/sock.h"
#include "os/tls_int.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <unistd.h>

#define RECORD_SMALL                                                                               \
    4096u /* about three segments: usable after one round trip of a new connection */
#define RECORD_LARGE 16384u /* the most a record may hold, RFC 8446 section 5.1 */
#define BURST_BYTES (64u * 1024)
#define BURST_IDLE_NS VV_SEC
#define TAKE_FIRST (64u * 1024)
#define HOST_NAME_MAX_BYTES 253
#define FILE_CHUNK (64u * 1024)

static _Thread_local uint8_t staging[FILE_CHUNK]; /* small pieces of one record; parts of files */

/* ---- failures ------------------------------------------------------------------------------- */

static const struct {
    int reason;
    enum vv_tls_failure failure;
} reasons[] = {
    {SSL_R_UNSUPPORTED_PROTOCOL, VV_TLS_FAIL_VERSION},
    {SSL_R_VERSION_TOO_LOW, VV_TLS_FAIL_VERSION},
    {SSL_R_UNKNOWN_PROTOCOL, VV_TLS_FAIL_VERSION},
    {SSL_R_WRONG_SSL_VERSION, VV_TLS_FAIL_VERSION},
    {SSL_R_BAD_PROTOCOL_VERSION_NUMBER, VV_TLS_FAIL_VERSION},
    {SSL_R_NO_PROTOCOLS_AVAILABLE, VV_TLS_FAIL_VERSION},
    {SSL_R_NO_SHARED_CIPHER, VV_TLS_FAIL_CIPHER},
    {SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, VV_TLS_FAIL_CIPHER},
    {SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS, VV_TLS_FAIL_CIPHER},
    {SSL_R_NO_SUITABLE_KEY_SHARE, VV_TLS_FAIL_CIPHER},
    {SSL_R_NO_SUITABLE_GROUPS, VV_TLS_FAIL_CIPHER},
    {SSL_R_HTTP_REQUEST, VV_TLS_FAIL_NOT_TLS},
    {SSL_R_HTTPS_PROXY_REQUEST, VV_TLS_FAIL_NOT_TLS},
    {SSL_R_WRONG_VERSION_NUMBER, VV_TLS_FAIL_NOT_TLS},
    {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, VV_TLS_FAIL_CERT_MISSING},
    {SSL_R_CERTIFICATE_VERIFY_FAILED, VV_TLS_FAIL_CERT_REFUSED},
    {SSL_R_NO_APPLICATION_PROTOCOL, VV_TLS_FAIL_ALPN},
    {SSL_R_UNEXPECTED_EOF_WHILE_READING, VV_TLS_FAIL_CLOSED},
    {SSL_R_BAD_EXTENSION, VV_TLS_FAIL_PROTOCOL},
};

static enum vv_tls_failure failure_of(unsigned long e)
{
    const int reason = ERR_GET_REASON(e);
    if (reason == ERR_R_MALLOC_FAILURE) {
        return VV_TLS_FAIL_MEMORY;
    }
    if (ERR_GET_LIB(e) != ERR_LIB_SSL) {
        return VV_TLS_FAIL_PROTOCOL;
    }
    if (reason >= SSL_AD_REASON_OFFSET) {
        return VV_TLS_FAIL_ALERT;
    }
    for (size_t i = 0; i < VV_COUNT(reasons); i++) {
        if (reasons[i].reason == reason) {
            return reasons[i].failure;
        }
    }
    return VV_TLS_FAIL_PROTOCOL;
}

static enum vv_err err_of(enum vv_tls_failure f, int io_errno)
{
    switch (f) {
    case VV_TLS_FAIL_IO:
        return io_errno != 0 ? vv_err_from_errno(io_errno) : VV_ERESET;
    case VV_TLS_FAIL_CLOSED:
        return VV_ERESET;
    case VV_TLS_FAIL_MEMORY:
        return VV_ENOMEM;
    case VV_TLS_FAIL_HELLO_SIZE:
        return VV_ELIMIT;
    case VV_TLS_FAIL_CERT_MISSING:
    case VV_TLS_FAIL_CERT_REFUSED:
    case VV_TLS_FAIL_NAME:
        return VV_EACCES;
    case VV_TLS_FAIL_ALERT:
        return VV_EREFUSED;
    default:
        return VV_ESYNTAX;
    }
}

static void fresh_errors(void)
{
    if (ERR_peek_error() != 0) { /* left by somebody else; SSL_get_error() would think it ours */
        ERR_clear_error();
    }
}

/* What an operation of OpenSSL that gave `result` <= 0 means. */
static enum vv_err judge(struct vv_tls *t, int result)
{
    const int e = SSL_get_error(t->ssl, result);
    if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) {
        t->waits = e == SSL_ERROR_WANT_READ ? VV_TLS_WAITS_READ : VV_TLS_WAITS_WRITE;
        return VV_EAGAIN;
    }
    if (e == SSL_ERROR_WANT_X509_LOOKUP) {
        t->waits = VV_TLS_WAITS_WORK;
        return VV_EAGAIN;
    }
    if (e == SSL_ERROR_ZERO_RETURN) {
        return VV_ECLOSED;
    }
    if (t->over == VV_OK) {
        t->ssl_error = ERR_peek_error();
        if (t->failure == VV_TLS_FAIL_NONE) {
            t->failure = (uint8_t)(e == SSL_ERROR_SSL ? failure_of(t->ssl_error)
                                   : t->end           ? VV_TLS_FAIL_CLOSED
                                                      : VV_TLS_FAIL_IO);
        }
        t->over = err_of(t->failure, t->io_errno);
    }
    ERR_clear_error();
    return t->over;
}

/* ---- life ----------------------------------------------------------------------------------- */

static enum vv_err make(struct vv_tls_context *c, int fd, struct vv_tls_stats *stats,
                        struct vv_tls **ret)
{
    struct vv_tls *t = calloc(1, sizeof(*t));
    if (t == NULL) {
        return VV_ENOMEM;
    }
    t->fd = fd;
    t->stats = stats;
    t->take = TAKE_FIRST;
    t->context = vv_tls_context_ref(c);
    t->ssl = SSL_new(c->groups[0]->ssl);
    BIO *b = t->ssl != NULL ? vv_tls_bio_new(t) : NULL;
    if (b == NULL) {
        ERR_clear_error();
        vv_tls_free(t);
        return VV_ENOMEM;
    }
    SSL_set_app_data(t->ssl, t);
    SSL_set_bio(t->ssl, b, b);
    if (c->ktls) {
        t->kernel = BIO_new_socket(fd, BIO_NOCLOSE);
    }
    *ret = t;
    return VV_OK;
}

enum vv_err vv_tls_accept(struct vv_tls_context *server, int fd, struct vv_tls_stats *stats,
                          struct vv_tls **ret)
{
    VV_ASSERT(server->server);
    const enum vv_err err = make(server, fd, stats, ret);
    if (err == VV_OK) {
        SSL_set_accept_state((*ret)->ssl);
    }
    return err;
}

/* Whom the certificate must name, and whom we ask for. */
static bool expect(struct vv_tls *t, const char *name)
{
    struct vv_addr a;
    const bool ip = vv_addr_from_ip(vv_str_from(name), 0, &a);
    if (!t->context->insecure) {
        X509_VERIFY_PARAM *p = SSL_get0_param(t->ssl);
        X509_VERIFY_PARAM_set_hostflags(p, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        if ((ip ? X509_VERIFY_PARAM_set1_ip_asc(p, name)
                : X509_VERIFY_PARAM_set1_host(p, name, 0)) != 1) {
            return false;
        }
    }
    return ip || SSL_set_tlsext_host_name(t->ssl, name) == 1; /* addresses are no names: RFC 6066 */
}

enum vv_err vv_tls_connect(struct vv_tls_context *client, int fd, const char *name,
                           struct vv_tls_stats *stats, struct vv_tls **ret)
{
    return vv_tls_connect_keyed(client, fd, name, name, stats, ret);
}

enum vv_err vv_tls_connect_keyed(struct vv_tls_context *client, int fd, const char *name,
                                 const char *key, struct vv_tls_stats *stats, struct vv_tls **ret)
{
    VV_ASSERT(!client->server);
    struct vv_tls *t = NULL;
    if (name[0] == '\0' || strlen(name) > HOST_NAME_MAX_BYTES) {
        return VV_EINVAL;
    }
    const enum vv_err err = make(client, fd, stats, &t);
    if (err != VV_OK) {
        return err;
    }
    t->name = strdup(name);
    t->key = strdup(key);
    if (t->name == NULL || t->key == NULL || !expect(t, name)) {
        ERR_clear_error();
        vv_tls_free(t);
        return VV_ENOMEM;
    }
    SSL_SESSION *last = vv_tls_session_take(client, key);
    if (last != NULL) {
        SSL_set_session(t->ssl, last);
        SSL_SESSION_free(last);
    }
    SSL_set_connect_state(t->ssl);
    *ret = t;
    return VV_OK;
}

void vv_tls_free(struct vv_tls *t)
{
    if (t == NULL) {
        return;
    }
    SSL_free(t->ssl);
    BIO_free(t->kernel);
    ERR_clear_error();
    vv_tls_context_unref(t->context);
    vv_tls_peer_forget(t);
    free(t->name);
    free(t->key);
    free(t->out);
    free(t);
}

/* ---- handshake ------------------------------------------------------------------------------ */

static enum vv_err count_failure(struct vv_tls *t)
{
    if (t->stats != NULL) {
        t->stats->failed[t->failure]++;
    }
    return t->over;
}

static enum vv_err finish(struct vv_tls *t)
{
    t->done = true;
    t->hello_done = true;
    t->resumed = SSL_session_reused(t->ssl) == 1;
    t->ktls = t->kernel != NULL && BIO_get_ktls_send(t->kernel);
    if (!t->context->server && t->resumed && SSL_version(t->ssl) == TLS1_2_VERSION) {
        SSL_SESSION *s = SSL_get0_session(t->ssl); /* 1.3 gives new tickets, 1.2 need not */
        vv_tls_session_put(t->context, t->key, s);
    }
    if (t->stats != NULL) {
        t->stats->handshakes++;
        t->stats->resumed += t->resumed;
        t->stats->ktls += t->ktls;
        t->stats->done[SSL_version(t->ssl) == TLS1_3_VERSION][t->resumed]++;
    }
    return VV_OK;
}

static int step(struct vv_tls *t)
{
    fresh_errors();
    t->drained = false;
    return SSL_do_handshake(t->ssl);
}

void vv_tls_handshake_work(struct vv_tls *t)
{
    t->may_work = true;
    t->corked = true;
    const int result = step(t);
    t->worked_err = result == 1 ? VV_OK : judge(t, result);
    if (!vv_tls_wire_hold(t)) { /* the wire is this thread's: nothing may stay in it */
        t->worked_err = t->over;
    }
    t->corked = false;
    t->worked = true;
}

enum vv_err vv_tls_handshake(struct vv_tls *t)
{
    if (t->over != VV_OK || t->done) {
        return t->over;
    }
    t->waits = 0;
    enum vv_err err;
    if (t->worked) {
        err = t->worked_err;
        t->worked = false;
    } else {
        if (t->out_n > 0 && !t->held && vv_tls_wire_flush(t) == VV_EAGAIN) {
            t->waits = VV_TLS_WAITS_WRITE;
            return VV_EAGAIN;
        }
        const int result = step(t);
        err = result == 1 ? VV_OK : judge(t, result);
    }
    if (err == VV_OK) {
        return vv_tls_wire_hold(t) ? finish(t) : count_failure(t);
    }
    const enum vv_err over = t->over; /* an alert that cannot be sent is not why it failed */
    const enum vv_tls_failure why = t->failure;
    const enum vv_err flushed = vv_tls_wire_flush(t);
    if (over != VV_OK) {
        t->over = over;
        t->failure = (uint8_t)why;
        return count_failure(t);
    }
    if (err == VV_ECLOSED) {
        t->over = VV_ERESET;
        t->failure = VV_TLS_FAIL_CLOSED;
    }
    if (t->over != VV_OK) {
        return count_failure(t);
    }
    t->waits |= flushed == VV_EAGAIN ? VV_TLS_WAITS_WRITE : 0;
    return VV_EAGAIN;
}

unsigned vv_tls_waits(const struct vv_tls *t)
{
    return t->waits;
}

/* ---- reading -------------------------------------------------------------------------------- */

enum vv_err vv_tls_read(struct vv_tls *t, void *to, size_t room, size_t *ret_bytes)
{
    size_t n = 0, got = 0;
    int result = 1;
    if (t->over != VV_OK && !t->deaf) {
        return t->over;
    }
    VV_ASSERT(t->done && room > 0);
    fresh_errors();
    t->drained = false;
    t->waits = 0;
    do {
        result = SSL_read_ex(t->ssl, (uint8_t *)to + n, room - n, &got);
        n += result == 1 ? got : 0;
    } while (result == 1 && n < room && (!t->drained || SSL_has_pending(t->ssl)));
    enum vv_err err = result == 1 ? VV_OK : judge(t, result);
    if (t->deaf && err == VV_EAGAIN) {
        err = t->over; /* nothing more will come */
    }
    t->more = err == VV_OK ? t->to_end || SSL_has_pending(t->ssl) == 1 : err != VV_EAGAIN;
    if (n > 0) { /* deliver what came before an end; the next call says why */
        *ret_bytes = n;
        return vv_tls_wire_push(t) ? VV_OK : t->over;
    }
    const enum vv_err over = t->over;
    const enum vv_err flushed =
        vv_tls_wire_flush(t); /* what was held, and answers to key updates */
    if (flushed == VV_EAGAIN) {
        t->waits |= VV_TLS_WAITS_WRITE;
    }
    return over == VV_OK && t->over != VV_OK ? t->over : err;
}

void vv_tls_read_to_end(struct vv_tls *t)
{
    t->to_end = true;
    t->more = true;
}

bool vv_tls_has_more(const struct vv_tls *t)
{
    return t->more;
}

/* ---- writing -------------------------------------------------------------------------------- */

struct source { /* where we are in the caller's pieces */
    const struct iovec *iov;
    size_t count, at; /* at: of iov[0] */
};

/* The next `limit` bytes as one piece: as they lie, or copied together when a piece is shorter. */
static const void *next_piece(struct source *s, size_t limit, size_t *ret_n)
{
    while (s->count > 0 && s->at == s->iov->iov_len) {
        s->iov++;
        s->count--;
        s->at = 0;
    }
    if (s->count == 0) {
        *ret_n = 0;
        return NULL;
    }
    const uint8_t *p = (const uint8_t *)s->iov->iov_base + s->at;
    const size_t whole = s->iov->iov_len - s->at;
    if (whole >= limit || s->count == 1) {
        *ret_n = vv_min_u64(whole, limit);
        return p;
    }
    size_t n = 0, at = s->at;
    for (size_t i = 0; i < s->count && n < limit; i++, at = 0) {
        const size_t part = vv_min_u64(limit - n, s->iov[i].iov_len - at);
        if (part > 0) {
            memcpy(staging + n, (const uint8_t *)s->iov[i].iov_base + at, part);
            n += part;
        }
    }
    *ret_n = n;
    return staging;
}

static void advance(struct source *s, size_t n)
{
    while (n > 0 && s->count > 0) {
        const size_t part = vv_min_u64(n, s->iov->iov_len - s->at);
        s->at += part;
        n -= part;
        if (s->at == s->iov->iov_len) {
            s->iov++;
            s->count--;
            s->at = 0;
        }
    }
}

static void say_done(struct vv_tls *t)
{
    if (!t->said_done) {
        fresh_errors();
        t->said_done = true;
        if (SSL_shutdown(t->ssl) < 0) {
            ERR_clear_error();
        }
    }
}

static enum vv_err start_write(struct vv_tls *t, uint64_t now_ns)
{
    if (t->over != VV_OK) {
        return t->over;
    }
    VV_ASSERT(t->done);
    fresh_errors();
    t->waits = 0;
    if (t->out_n > 0 && !t->held) {
        const enum vv_err err = vv_tls_wire_flush(t);
        if (err != VV_OK) {
            t->waits = VV_TLS_WAITS_WRITE;
            return err;
        }
    }
    if (now_ns - t->wrote_ns > BURST_IDLE_NS) {
        t->burst = 0;
    }
    t->wrote_ns = now_ns;
    return VV_OK;
}

/* How much one write may take follows how much the socket takes: a slow client costs little memory, and
 * a fast one gets few system calls. */
static void learn(struct vv_tls *t, size_t took)
{
    if (t->out_n > 0 && !t->held) {
        t->take = vv_max_u64(t->take / 2, RECORD_LARGE);
    } else if (took == t->take) {
        t->take = vv_min_u64(t->take * 2, VV_TLS_TAKE_MAX);
    }
}

enum vv_err vv_tls_write(struct vv_tls *t, const struct iovec *iov, size_t count, unsigned flags,
                         uint64_t now_ns, size_t *ret_bytes)
{
    struct source s = {iov, count, 0};
    size_t total = 0, took = 0;
    enum vv_err err = start_write(t, now_ns);
    if (err != VV_OK) {
        return err;
    }
    for (size_t i = 0; i < count; i++) {
        total += iov[i].iov_len;
    }
    VV_ASSERT(total > 0);
    const size_t most = vv_min_u64(total, t->take);
    const bool last = (flags & VV_TLS_LAST) != 0 && most == total;
    while (took < most && err == VV_OK) {
        size_t limit = t->burst < BURST_BYTES ? RECORD_SMALL : RECORD_LARGE, n, done = 0;
        limit = t->retry > 0 ? t->retry : vv_min_u64(limit, most - took);
        const void *p = next_piece(&s, limit, &n);
        t->direct = took + n == most && !last;
        const int result = SSL_write_ex(t->ssl, p, n, &done);
        t->direct = false;
        t->retry = result == 1 ? 0 : n;
        if (result != 1) {
            err = judge(t, result);
            break;
        }
        advance(&s, done);
        took += done;
        t->burst += done;
    }
    if (t->over == VV_OK && last && took == total) {
        say_done(t);
    }
    if (!vv_tls_wire_push(t) || t->over != VV_OK) {
        return t->over;
    }
    if (took == 0) {
        return err;
    }
    learn(t, took);
    *ret_bytes = took;
    return VV_OK;
}

enum vv_err vv_tls_sendfile(struct vv_tls *t, int file_fd, uint64_t offset, size_t bytes,
                            uint64_t now_ns, size_t *ret_bytes)
{
    VV_ASSERT(bytes > 0 && offset <= INT64_MAX);
    if (t->ktls) {
        const enum vv_err err = start_write(t, now_ns);
        if (err != VV_OK) {
            return err;
        }
        const ossl_ssize_t n = SSL_sendfile(t->ssl, file_fd, (off_t)offset, bytes, 0);
        if (n > 0) {
            *ret_bytes = (size_t)n;
            return VV_OK;
        }
        return n == 0 ? VV_ERANGE : judge(t, (int)n);
    }
    if (t->over != VV_OK) {
        return t->over;
    }
    const ssize_t got = pread(file_fd, staging, vv_min_u64(bytes, FILE_CHUNK), (off_t)offset);
    if (got <= 0) {
        return got == 0 ? VV_ERANGE : vv_err_from_errno(errno);
    }
    const struct iovec one = {staging, (size_t)got};
    return vv_tls_write(t, &one, 1, 0, now_ns, ret_bytes);
}

enum vv_err vv_tls_flush(struct vv_tls *t)
{
    if (t->over != VV_OK) {
        return t->over;
    }
    const enum vv_err err = vv_tls_wire_flush(t);
    t->waits = err == VV_EAGAIN ? VV_TLS_WAITS_WRITE : 0;
    return err;
}

size_t vv_tls_unsent(const struct vv_tls *t)
{
    return t->out_n;
}

enum vv_err vv_tls_close(struct vv_tls *t)
{
    if (!t->done || t->over != VV_OK) {
        return VV_OK;
    }
    say_done(t);
    return vv_tls_flush(t);
}

void vv_tls_idle(struct vv_tls *t)
{
    if (t->done && t->over == VV_OK && SSL_free_buffers(t->ssl) != 1) {
        fresh_errors(); /* something is in them: they stay */
    }
}
