/* src/os/tls_int.h - what the TLS files share behind their contracts. */
#ifndef VV_OS_TLS_INT_H
#define VV_OS_TLS_INT_H
#include "os/tls.h"
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>

/* ---- certificates ---- */
struct vv_tls_cert {
    X509 *x509;
    EVP_PKEY *key;
    STACK_OF(X509) * chain;
    char **names;
    char *subject, *issuer;
    uint8_t *staple;
    size_t staple_n;
    unsigned problems; /* those that do not depend on the time */
    atomic_uint refs;
    struct vv_tls_cert_info info;
};
uint64_t vv_tls_wall_of(const ASN1_TIME *t); /* clamped: 0 .. UINT64_MAX */
void vv_tls_fingerprint(const X509 *x, char out[VV_TLS_FINGERPRINT]);
/* RFC 2253 text, malloc(); NULL when memory is out. */
char *vv_tls_name_text(const X509_NAME *name);
/* "…: reason of OpenSSL" from the oldest entry of its queue, which is emptied. */
void vv_tls_say(struct vv_sb *why, const char *what);
void vv_tls_staple_check(struct vv_tls_cert *c, const char *name, struct vv_str der,
                         struct vv_sb *why);

/* ---- contexts ---- */
struct vv_tls_group { /* certificates that one set of names shares */
    SSL_CTX *ssl;
    struct vv_tls_cert *cert[VV_TLS_KEY_COUNT];
    bool slow; /* its signature is worth a thread of its own, unless the client takes ECDSA */
};
struct vv_tls_sni { /* a name; wildcards begin with their dot */
    const char *name;
    size_t n;
    struct vv_tls_cert *cert[VV_TLS_KEY_COUNT];
    struct vv_tls_group *group;
};
struct vv_tls_session { /* last session of a name, taken out while it is tried */
    char *name;
    SSL_SESSION *session;
    uint64_t used;
};
struct vv_tls_context {
    atomic_uint refs;
    bool server, ktls, offload, strict_names, insecure;
    struct vv_tls_cert *(*challenge)(void *user, struct vv_str name);
    void *challenge_user;
    size_t hello_bytes_max;
    struct vv_tls_tickets *tickets;
    struct vv_tls_cert **certs;
    size_t cert_count;
    struct vv_tls_group **groups; /* [0] is the default; a client has only that one */
    size_t group_count;
    struct vv_tls_sni *sni; /* open addressing, sni_mask + 1 places */
    size_t sni_mask;
    uint8_t alpn[VV_TLS_ALPN_MAX * 256]; /* as on the wire */
    size_t alpn_n;
    pthread_mutex_t sessions_lock;
    struct vv_tls_session *sessions;
    size_t sessions_max;
    uint64_t sessions_used;
};
struct vv_tls_group *vv_tls_context_group(const struct vv_tls_context *c, struct vv_str name);
SSL_SESSION *vv_tls_session_take(struct vv_tls_context *c, const char *name);        /* or NULL */
void vv_tls_session_put(struct vv_tls_context *c, const char *name, SSL_SESSION *s); /* copies */
/* Parts shared by both sides. */
struct vv_tls_context *vv_tls_context_make(bool server);
enum vv_err vv_tls_context_alpn(struct vv_tls_context *c, const char *const *alpn, size_t count,
                                struct vv_sb *why);
SSL_CTX *vv_tls_ssl_new(struct vv_tls_context *c, enum vv_tls_version version_min);
bool vv_tls_ssl_use(SSL_CTX *ssl, const struct vv_tls_cert *cert);

/* ---- tickets ---- */
int vv_tls_tickets_callback(SSL *ssl, unsigned char *name, unsigned char *iv,
                            EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seal);

/* ---- connections ---- */
struct vv_tls {
    SSL *ssl;
    struct vv_tls_context *context;
    struct vv_tls_stats *stats;
    BIO *kernel;  /* with kernel TLS: the socket as OpenSSL sees it; otherwise NULL */
    char *name;   /* client: whom we expect; server: what was asked for */
    char *key;    /* client: under which its session is kept */
    uint8_t *out; /* ciphertext for the socket */
    size_t out_n, out_at;
    size_t hello_seen, burst, take, retry;
    uint64_t wrote_ns;
    unsigned long ssl_error;
    int fd, io_errno;
    enum vv_err over; /* VV_OK while it can be used */
    uint8_t failure, waits;
    bool done, resumed, held;         /* held: `out` was never tried on the socket */
    const struct vv_tls_group *group; /* server: of the name that was asked for */
    bool hello_done, worked, may_work, takes_ecdsa;
    bool to_end, drained, end; /* the socket has nothing more for now; for ever */
    bool direct, corked;       /* the next record goes out at once; nothing goes out */
    bool ktls, said_done;      /* close_notify was sent */
    bool challenge;            /* an authority looks whether a name is ours */
    bool more;                 /* reading again needs no event */
    bool deaf; /* over, because the other side takes nothing: what it said before can be read */
    enum vv_err worked_err;
    struct vv_arena *peer_memory; /* of `peer`; NULL: nobody asked yet */
    struct vv_tls_peer *peer;
};
void vv_tls_peer_forget(struct vv_tls *t);
BIO *vv_tls_bio_new(struct vv_tls *t); /* NULL: out of memory */
/* Sends what is gathered for `t` and what was left before. VV_EAGAIN: something is left. */
enum vv_err vv_tls_wire_flush(struct vv_tls *t);
bool vv_tls_wire_push(struct vv_tls *t); /* sends only when something is gathered; false: over */
bool vv_tls_wire_hold(struct vv_tls *t); /* keeps it for the next write instead; false: no memory */
#endif
