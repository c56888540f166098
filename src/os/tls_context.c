/* src/os/tls_context.c - what server and client contexts share: suites, protocols, counting, the slot.
 *
 * Suites: only those with ephemeral keys and authenticated encryption; AES-128 first, because it is the
 * fastest where the processor has it and no weaker in practice; a client that puts ChaCha20 first (it has
 * no AES instructions) gets it. */
#include "os/tls_context.h"
#include "os/tls_int.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define SUITES_13 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define SUITES_12                                                                                  \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"                                   \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"                                   \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define GROUPS "X25519:P-256:P-384:X448:P-521"
#define SIGNATURES                                                                                 \
    "ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:ed25519:"                                              \
    "RSA-PSS+SHA256:RSA-PSS+SHA384:RSA-PSS+SHA512:RSA+SHA256:RSA+SHA384:RSA+SHA512"

/* ---- common parts --------------------------------------------------------------------------- */

struct vv_tls_context *vv_tls_context_make(bool server)
{
    struct vv_tls_context *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return NULL;
    }
    if (pthread_mutex_init(&c->sessions_lock, NULL) != 0) {
        free(c);
        return NULL;
    }
    atomic_init(&c->refs, 1);
    c->server = server;
    return c;
}

enum vv_err vv_tls_context_alpn(struct vv_tls_context *c, const char *const *alpn, size_t count,
                                struct vv_sb *why)
{
    if (count > VV_TLS_ALPN_MAX) {
        vv_sb_addf(why, "more than %d application protocols", VV_TLS_ALPN_MAX);
        return VV_EINVAL;
    }
    for (size_t i = 0; i < count; i++) {
        const size_t n = strlen(alpn[i]);
        if (n == 0 || n > 255) {
            vv_sb_adds(why, "the name of an application protocol has 1 to 255 bytes");
            return VV_EINVAL;
        }
        c->alpn[c->alpn_n++] = (uint8_t)n;
        memcpy(c->alpn + c->alpn_n, alpn[i], n);
        c->alpn_n += n;
    }
    return VV_OK;
}

SSL_CTX *vv_tls_ssl_new(struct vv_tls_context *c, enum vv_tls_version version_min)
{
    SSL_CTX *ssl = SSL_CTX_new(c->server ? TLS_server_method() : TLS_client_method());
    if (ssl == NULL) {
        return NULL;
    }
    const int min = version_min == VV_TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
    uint64_t options = SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_ANTI_REPLAY |
                       SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA;
    options |= c->ktls ? SSL_OP_ENABLE_KTLS : 0;
    SSL_CTX_set_options(ssl, options);
    SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_clear_mode(ssl, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_read_ahead(ssl, 1);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    if (SSL_CTX_set_min_proto_version(ssl, min) != 1 ||
        SSL_CTX_set_cipher_list(ssl, SUITES_12) != 1 ||
        SSL_CTX_set_ciphersuites(ssl, SUITES_13) != 1 ||
        SSL_CTX_set1_groups_list(ssl, GROUPS) != 1 ||
        SSL_CTX_set1_sigalgs_list(ssl, SIGNATURES) != 1) {
        SSL_CTX_free(ssl);
        return NULL;
    }
    return ssl;
}

bool vv_tls_ssl_use(SSL_CTX *ssl, const struct vv_tls_cert *cert)
{
    return SSL_CTX_use_cert_and_key(ssl, cert->x509, cert->key, cert->chain, 1) == 1;
}

static pthread_once_t ktls_once = PTHREAD_ONCE_INIT;
static bool ktls_there;

/* A kernel that knows the protocol refuses an unconnected socket; one that does not has never heard of it. */
static void ktls_ask(void)
{
#ifdef TCP_ULP
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        ktls_there =
            setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) == 0 || errno == ENOTCONN;
        close(fd);
    }
#endif
}

bool vv_tls_ktls_possible(void)
{
    pthread_once(&ktls_once, ktls_ask);
    return ktls_there;
}

struct vv_tls_context *vv_tls_context_ref(struct vv_tls_context *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void vv_tls_context_unref(struct vv_tls_context *c)
{
    if (c == NULL || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < c->group_count; i++) {
        SSL_CTX_free(c->groups[i]->ssl);
        free(c->groups[i]);
    }
    for (size_t i = 0; i < c->cert_count; i++) {
        vv_tls_cert_unref(c->certs[i]);
    }
    for (size_t i = 0; i < c->sessions_max && c->sessions != NULL; i++) {
        free(c->sessions[i].name);
        SSL_SESSION_free(c->sessions[i].session);
    }
    vv_tls_tickets_unref(c->tickets);
    pthread_mutex_destroy(&c->sessions_lock);
    free(c->groups);
    free(c->certs);
    free(c->sni);
    free(c->sessions);
    free(c);
}

/* ---- the slot ------------------------------------------------------------------------------- */

/* A lock, because "load the pointer, then count up" needs one to be right, and it is taken once for a
 * handshake. */
struct vv_tls_slot {
    pthread_mutex_t lock;
    struct vv_tls_context *now;
};

enum vv_err vv_tls_slot_new(struct vv_tls_slot **ret)
{
    struct vv_tls_slot *s = calloc(1, sizeof(*s));
    if (s == NULL || pthread_mutex_init(&s->lock, NULL) != 0) {
        free(s);
        return VV_ENOMEM;
    }
    *ret = s;
    return VV_OK;
}

void vv_tls_slot_free(struct vv_tls_slot *slot)
{
    if (slot != NULL) {
        vv_tls_context_unref(slot->now);
        pthread_mutex_destroy(&slot->lock);
        free(slot);
    }
}

void vv_tls_slot_set(struct vv_tls_slot *slot, struct vv_tls_context *c)
{
    vv_tls_context_ref(c);
    pthread_mutex_lock(&slot->lock);
    struct vv_tls_context *old = slot->now;
    slot->now = c;
    pthread_mutex_unlock(&slot->lock);
    vv_tls_context_unref(old);
}

struct vv_tls_context *vv_tls_slot_get(struct vv_tls_slot *slot)
{
    pthread_mutex_lock(&slot->lock);
    struct vv_tls_context *c = slot->now != NULL ? vv_tls_context_ref(slot->now) : NULL;
    pthread_mutex_unlock(&slot->lock);
    return c;
}
