/* src/os/tls_context.h - what connections of one kind have in common: certificates, versions, who is trusted.
 *
 * Model:     immutable once made. A server's context chooses certificates by the name the client asks
 *            for: exact, then wildcard of one label, then the first certificate given. Certificates of
 *            several kinds of key may have one name; the client's abilities choose among them. Of two
 *            with the same kind and name, the first given wins. A change is a new context in the slot;
 *            connections keep theirs.
 *            Only TLS 1.2 and 1.3, only suites with forward secrecy and authenticated encryption, no
 *            renegotiation, no compression, no early data.
 * Source:    RFC 8446, RFC 5246, RFC 6066 section 3 (names), RFC 7301 (protocols), RFC 9325
 *            (recommendations).
 * Threads:   making: control side (reads files, may take milliseconds for each set of certificates);
 *            a context is shared by all threads; the slot may be used by all.
 * Ownership: counted; configurations are copied, certificates and tickets are counted up.
 * Errors:    VV_ENOMEM, VV_EINVAL, and of files VV_ENOENT, VV_EACCES, VV_ESYNTAX; *why gets one line.
 */
#ifndef VV_OS_TLS_CONTEXT_H
#define VV_OS_TLS_CONTEXT_H
#include "os/tls_cert.h"
#include "os/tls_tickets.h"

struct vv_tls_context;
enum vv_tls_version { VV_TLS_1_2, VV_TLS_1_3 };
enum vv_tls_ask { VV_TLS_ASK_NONE, VV_TLS_ASK_OPTIONAL, VV_TLS_ASK_REQUIRED };
#define VV_TLS_HELLO_BYTES 16384 /* of a client hello, unless the configuration says otherwise */
#define VV_TLS_ALPN_MAX 8
#define VV_TLS_ALPN_CHALLENGE "acme-tls/1"

struct vv_tls_server_conf {
    struct vv_tls_cert *const *certs; /* at least one */
    size_t cert_count;
    const char *const *alpn; /* best first; none: the client's wish is not answered */
    size_t alpn_count;
    struct vv_tls_tickets *tickets; /* NULL: sessions are not resumed */
    const char *client_ca_file;     /* PEM; with ask */
    enum vv_tls_ask ask;            /* a certificate that is presented must always verify */
    enum vv_tls_version version_min;
    size_t hello_bytes_max; /* 0: VV_TLS_HELLO_BYTES */
    bool strict_names;      /* refuse names that no certificate has */
    bool ktls;              /* let the kernel encrypt, when it can */
    bool offload;           /* stop before slow signatures: vv_tls_handshake() */
    /* Proves to an authority that a name is ours (RFC 8737): the certificate for a client that offers
     * only VV_TLS_ALPN_CHALLENGE, counted for the caller; NULL: no such name. Called on any thread.
     * That client is asked for no certificate; nothing may be said on its connection. May be NULL. */
    struct vv_tls_cert *(*challenge)(void *user, struct vv_str name);
    void *challenge_user; /* outlives the context */
};
VV_MUST_CHECK enum vv_err vv_tls_server_new(const struct vv_tls_server_conf *conf,
                                            struct vv_sb *why, struct vv_tls_context **ret);

struct vv_tls_client_conf {
    const char *ca_file;      /* PEM; NULL: those of the system */
    struct vv_tls_cert *cert; /* shown when asked for; may be NULL */
    const char *const *alpn;
    size_t alpn_count;
    size_t sessions_max; /* names whose last session is kept; 0: none */
    enum vv_tls_version version_min;
    bool insecure; /* do not verify who answers */
    bool ktls;
};
VV_MUST_CHECK enum vv_err vv_tls_client_new(const struct vv_tls_client_conf *conf,
                                            struct vv_sb *why, struct vv_tls_context **ret);

struct vv_tls_context *vv_tls_context_ref(struct vv_tls_context *c);
void vv_tls_context_unref(struct vv_tls_context *c); /* NULL is fine */
/* The certificate of a kind that a client asking for `name` would get, or NULL; for explain and tests. */
const struct vv_tls_cert *vv_tls_context_cert(const struct vv_tls_context *c, struct vv_str name,
                                              enum vv_tls_key key);
bool vv_tls_ktls_possible(void); /* does this kernel take TLS records? Asked once. */

/* A place that always holds the current context. */
struct vv_tls_slot;
VV_MUST_CHECK enum vv_err vv_tls_slot_new(struct vv_tls_slot **ret);
void vv_tls_slot_free(struct vv_tls_slot *slot);                          /* NULL is fine */
void vv_tls_slot_set(struct vv_tls_slot *slot, struct vv_tls_context *c); /* counts c up */
struct vv_tls_context *
vv_tls_slot_get(struct vv_tls_slot *slot); /* counted for the caller, or NULL */
#endif
