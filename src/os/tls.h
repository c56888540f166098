/* src/os/tls.h - one TLS connection over a non-blocking socket.
 *
 * Model:     vv_tls_handshake() until it is VV_OK, then read and write in any order, then close.
 *            Records of one call leave with one system call. Ciphertext that the socket did not take
 *            stays here (at most VV_TLS_TAKE_MAX and what frames it), so a write either takes bytes or
 *            answers VV_EAGAIN; call vv_tls_flush() or write again on VV_IO_WRITE while
 *            vv_tls_unsent() is not 0.
 *            Made for edge-triggered loops: like a read of a plain socket, VV_EAGAIN or fewer bytes than
 *            asked for mean that the next event will tell (see vv_tls_read_to_end()).
 *            The first 64 KiB after a second of silence go in records of 4 KiB, so that a client on
 *            a slow path can use the first bytes early; then of 16 KiB, for throughput.
 *            The last flight of a handshake (a client's Finished, a server's tickets) waits for the
 *            first write and goes with it, or goes when a read finds nothing: after VV_OK of the
 *            handshake read, write or flush in the same turn.
 * Source:    RFC 8446, RFC 5246.
 * Costs:     one signature on the reference machine (OpenSSL 3.0.22, `openssl speed`): P-256 24 us,
 *            RSA-2048 348 us, RSA-4096 4.7 ms. The first two are done on the loop. For larger RSA keys
 *            a context with `offload` stops a full handshake before the signature: VV_EAGAIN with
 *            VV_TLS_WAITS_WORK. Run vv_tls_handshake_work() on a pool thread, touch the connection
 *            on no other meanwhile, and go on with vv_tls_handshake() when it is done.
 * Units:     now_ns is CLOCK_MONOTONIC.
 * Threads:   one at a time. Contexts are shared.
 * Ownership: the descriptor stays the caller's; the connection holds its context.
 * Errors:    VV_EAGAIN: see vv_tls_waits(). VV_ECLOSED: the other side said that it is done (close_notify).
 *            VV_ERESET: it is gone without having said so: the last bytes may be missing.
 *            VV_ESYNTAX, VV_EACCES (certificates), VV_EIO, VV_ELIMIT, VV_ENOMEM: over; only
 *            vv_tls_free() is left, and after a write that failed, reading what came before.
 *            vv_tls_failure() and vv_tls_error() say why.
 */
#ifndef VV_OS_TLS_H
#define VV_OS_TLS_H
#include "base/arena.h"
#include "base/err.h"
#include "os/tls_context.h"
#include <sys/uio.h>

struct vv_tls;
#define VV_TLS_TAKE_MAX (128 * 1024) /* plaintext taken by one write at most */

#define VV_TLS_FAILURES(X)                                                                         \
    X(NONE, "none", "no failure")                                                                  \
    X(HELLO_SIZE, "hello_size", "the client hello is larger than allowed")                         \
    X(NOT_TLS, "not_tls", "the other side does not speak TLS")                                     \
    X(VERSION, "version", "no version of TLS in common")                                           \
    X(CIPHER, "cipher", "no cipher, group or signature in common")                                 \
    X(NAME, "name", "no certificate for the name that was asked for")                              \
    X(ALPN, "alpn", "no application protocol in common")                                           \
    X(CERT_MISSING, "cert_missing", "the other side showed no certificate")                        \
    X(CERT_REFUSED, "cert_refused", "the certificate of the other side was not accepted")          \
    X(ALERT, "alert", "the other side refused")                                                    \
    X(CLOSED, "closed", "the connection was closed before the end of the handshake")               \
    X(IO, "io", "the connection broke")                                                            \
    X(MEMORY, "memory", "out of memory")                                                           \
    X(PROTOCOL, "protocol", "a message that TLS does not allow")
enum vv_tls_failure {
#define VV_X(id, name, text) VV_TLS_FAIL_##id,
    VV_TLS_FAILURES(VV_X)
#undef VV_X
        VV_TLS_FAIL_COUNT
};
const char *vv_tls_failure_name(enum vv_tls_failure f); /* for labels: "cert_missing" */

struct vv_tls_stats { /* one writer: the worker that owns the connections */
    uint64_t handshakes, resumed, ktls;
    uint64_t done[2][2]; /* handshakes by version (enum vv_tls_version) and by resumed */
    uint64_t failed[VV_TLS_FAIL_COUNT]; /* handshakes only */
};

/* `stats` may be NULL; it outlives the connection. The handshake starts when asked for. */
VV_MUST_CHECK enum vv_err vv_tls_accept(struct vv_tls_context *server, int fd,
                                        struct vv_tls_stats *stats, struct vv_tls **ret);
/* `name` is whom we expect: a DNS name (sent, too) or an address. Copied. Does nothing yet.
 * VV_EINVAL: no such name can exist. */
VV_MUST_CHECK enum vv_err vv_tls_connect(struct vv_tls_context *client, int fd, const char *name,
                                         struct vv_tls_stats *stats, struct vv_tls **ret);
/* The same where several servers have one name: sessions are kept by `key` (copied), so that a ticket goes
 * back to the server that gave it. One key must always stand for one name: a session that is resumed is not
 * verified again. */
VV_MUST_CHECK enum vv_err vv_tls_connect_keyed(struct vv_tls_context *client, int fd,
                                               const char *name, const char *key,
                                               struct vv_tls_stats *stats, struct vv_tls **ret);
void vv_tls_free(struct vv_tls *t); /* NULL is fine; says nothing to the other side */

VV_MUST_CHECK enum vv_err vv_tls_handshake(struct vv_tls *t);
void vv_tls_handshake_work(struct vv_tls *t); /* on a pool thread; see Costs */
enum { VV_TLS_WAITS_READ = 1, VV_TLS_WAITS_WRITE = 2, VV_TLS_WAITS_WORK = 4 };
unsigned vv_tls_waits(const struct vv_tls *t); /* for what, after VV_EAGAIN */

/* VV_OK: *ret_bytes > 0. Fills `room` as far as there are bytes. */
VV_MUST_CHECK enum vv_err vv_tls_read(struct vv_tls *t, void *to, size_t room, size_t *ret_bytes);
/* Plaintext or unread records are here already: reading again needs no event. */
bool vv_tls_has_more(const struct vv_tls *t);

/* VV_IO_RDHUP or VV_IO_HUP was seen, so no event will come after the last byte: from now on short
 * reads of the socket are not taken for its end. */
void vv_tls_read_to_end(struct vv_tls *t);

enum { VV_TLS_LAST = 1 }; /* close_notify goes with the last byte, once all were taken */
/* VV_OK: *ret_bytes > 0 bytes from the front were taken (fewer than offered: offer the rest
 * after VV_IO_WRITE). After VV_EAGAIN the same bytes must be offered again. */
VV_MUST_CHECK enum vv_err vv_tls_write(struct vv_tls *t, const struct iovec *iov, size_t count,
                                       unsigned flags, uint64_t now_ns, size_t *ret_bytes);
/* The same for a part of a file; with kernel TLS the bytes do not pass through here. May block on the
 * disk, as sendfile(2) does. VV_ERANGE: the file ends before offset + bytes. */
VV_MUST_CHECK enum vv_err vv_tls_sendfile(struct vv_tls *t, int file_fd, uint64_t offset,
                                          size_t bytes, uint64_t now_ns, size_t *ret_bytes);
VV_MUST_CHECK enum vv_err vv_tls_flush(struct vv_tls *t); /* VV_OK: nothing is left here */
size_t vv_tls_unsent(const struct vv_tls *t);
/* Says that we are done. VV_EAGAIN: flush before closing the socket. Harmless before the handshake
 * ended and after a failure. */
enum vv_err vv_tls_close(struct vv_tls *t);
/* Gives buffers back that an idle connection does not need; the next read or write gets new ones. */
void vv_tls_idle(struct vv_tls *t);

/* After the handshake; texts live as long as the connection. */
const char *vv_tls_protocol(const struct vv_tls *t); /* "TLSv1.3" */
const char *vv_tls_cipher(const struct vv_tls *t);   /* "TLS_AES_128_GCM_SHA256" */
struct vv_str vv_tls_alpn(const struct vv_tls *t);   /* .n 0: none agreed */
struct vv_str
vv_tls_name(const struct vv_tls *t); /* asked for by the client, lower case; .n 0: none */
bool vv_tls_resumed(const struct vv_tls *t);
bool vv_tls_ktls(const struct vv_tls *t); /* the kernel encrypts */
enum vv_tls_failure vv_tls_failure(const struct vv_tls *t);
/* One line for logs, without secrets: "certificate of the other side ...: expired". Returns buf. */
#define VV_TLS_ERROR_TEXT 256
const char *vv_tls_error(const struct vv_tls *t, char buf[VV_TLS_ERROR_TEXT]);

/* Who is on the other side, from a certificate that was verified (or not asked to be, for an
 * insecure client). */
enum vv_tls_san { VV_TLS_SAN_DNS, VV_TLS_SAN_EMAIL, VV_TLS_SAN_URI, VV_TLS_SAN_IP };
struct vv_tls_san_name {
    enum vv_tls_san kind;
    struct vv_str name; /* no control characters: names with one are left out */
};
struct vv_tls_peer {
    bool present;
    struct vv_str subject, issuer; /* RFC 2253 */
    struct vv_str common_name;     /* the last one of the subject; .n 0: none */
    struct vv_str serial;          /* hexadecimal, upper case */
    const struct vv_tls_san_name *sans;
    size_t san_count;
    uint64_t not_after_wall_ns;
    char fingerprint[VV_TLS_FINGERPRINT];
};
/* VV_OK with present false: no certificate. Memory is the arena's. VV_ELIMIT: more than 64 names. */
VV_MUST_CHECK enum vv_err vv_tls_peer(const struct vv_tls *t, struct vv_arena *arena,
                                      struct vv_tls_peer *ret);
/* The same, read at the first call and kept as long as the connection. NULL: no certificate, or its names
 * cannot be read. */
const struct vv_tls_peer *vv_tls_identity(struct vv_tls *t);
#endif
