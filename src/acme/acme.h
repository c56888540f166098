/* src/acme/acme.h - certificates that look after themselves: ordered from an authority, kept, renewed.
 *
 * Model:     a list of names is wanted; each name has one certificate of its own, so that one name that
 *            cannot be proved holds up no other. A certificate is a file of the store, its key before
 *            its chain, replaced by one rename: vv_acme_file(). It is renewed when two thirds of its
 *            life are over. While the authority cannot be reached or refuses, the file stays what it
 *            is, and the next try comes later each time; after a few failures the next authority of
 *            the list is asked.
 *            Gateways with the same store (same directory, local or shared) order once: a lock in the
 *            store lets one of them work, the others see the new file within seconds. Tokens of
 *            challenges are in the store too, so any of them can answer the authority.
 *            What happens, happens on a thread of its own that may block (names, network, disk).
 * Source:    RFC 8555 (ACME), RFC 8737 (TLS-ALPN-01), RFC 8738 (addresses).
 * Units:     *_ns monotonic, *_wall_ns since 1970.
 * Threads:   new, free, conf, tick, status: control. challenge, challenge_cert, busy: any thread.
 *            ask, revoke, file, generation: any thread.
 * Ownership: everything given is copied.
 * Errors:    as said; what goes wrong later is an event (vv_acme_tick) and part of the status.
 */
#ifndef VV_ACME_ACME_H
#define VV_ACME_ACME_H
#include "base/arena.h"
#include "base/json.h"
#include "observe/metrics.h"
#include "os/tls_cert.h"

#define VV_ACME_LETSENCRYPT "https://acme-v02.api.letsencrypt.org/directory"
#define VV_ACME_NAME_MAX 254 /* a name with its NUL */
#define VV_ACME_PATH_MAX 768

enum vv_acme_challenge {
    VV_ACME_ANY, /* over HTTP first, after a failure the other one */
    VV_ACME_HTTP,
    VV_ACME_TLS_ALPN
};

struct vv_acme_conf {
    const char *store;             /* a directory; made (0700) when it is not there */
    const char *const *directory;  /* URLs, best first */
    size_t directory_count;        /* 0: VV_ACME_LETSENCRYPT */
    const char *email;             /* told to the authority; NULL: nothing */
    const char *ca_file;           /* whom to trust as the authority's server; NULL: the system's */
    const char *eab_key, *eab_mac; /* external account: its id, its key in base64url; or NULL */
    bool agree;                    /* to the authority's terms */
    enum vv_acme_challenge challenge;
    uint64_t retry_ns; /* pause after the first failure */
    const char *const *name;
    size_t name_count;
};

/* NULL: the name can have a certificate by these challenges; otherwise why not (a sentence's end:
 * "example.*: ..."). For the check of a configuration. */
const char *vv_acme_name_problem(const char *name, enum vv_acme_challenge challenge);

/* Where the certificate of a name lies in a store, in lower case; for who looks before the store is in
 * force. The file need not be there. */
void vv_acme_path(const char *store, const char *name, char path[VV_ACME_PATH_MAX]);

struct vv_acme;
VV_MUST_CHECK enum vv_err vv_acme_new(struct vv_metrics *metrics, struct vv_acme **ret);
void vv_acme_free(struct vv_acme *a); /* breaks off what is under way; NULL is fine */
/* What is wanted from now on; no names: nothing. The thread begins with the first names. VV_EACCES and
 * other errors of files: the store cannot be used, *why gets one line; the former wishes stay. */
VV_MUST_CHECK enum vv_err vv_acme_conf(struct vv_acme *a, const struct vv_acme_conf *conf,
                                       struct vv_sb *why);

/* Where the certificate of a name lies or will lie, by the configuration in force: PEM, key and chain in one
 * file (for vv_tls_cert_load() with key NULL). False: the name is not wanted. */
bool vv_acme_file(struct vv_acme *a, const char *name, char path[VV_ACME_PATH_MAX]);
/* Rises whenever some file of vv_acme_file() became another one, also by another gateway. */
uint64_t vv_acme_generation(const struct vv_acme *a);

/* What happened since the last call, oldest first; at most 256 are kept. */
enum vv_acme_level { VV_ACME_INFO, VV_ACME_WARN };
typedef void vv_acme_event_fn(void *user, enum vv_acme_level level, const char *name,
                              const char *text);
void vv_acme_tick(struct vv_acme *a, vv_acme_event_fn *fn, void *user);

/* The answer to /.well-known/acme-challenge/TOKEN, in the arena; n 0: no such token. A token of
 * this process costs a look into memory. Others are looked for in the store at most 50 times a second,
 * and only if the token has the form of one. */
struct vv_str vv_acme_challenge(struct vv_acme *a, struct vv_str token, struct vv_arena *arena);
/* The certificate to show to who asks for `name` with VV_TLS_ALPN_CHALLENGE, counted for the caller; NULL: none. Rules
 * as above. Call it when vv_acme_busy(), which costs nothing. */
struct vv_tls_cert *vv_acme_challenge_cert(struct vv_acme *a, struct vv_str name);
bool vv_acme_busy(const struct vv_acme *a); /* are names wanted at all? */

/* Asks for a new certificate now, whatever its age. VV_ENOENT: the name is not wanted. */
VV_MUST_CHECK enum vv_err vv_acme_ask(struct vv_acme *a, const char *name);
/* Asks the authority to revoke the certificate of a name; the file becomes NAME.revoked.pem, and if the name is
 * still wanted a certificate with a fresh key is ordered. What came of it is an event and
 * in the status. VV_ENOENT: no certificate there; VV_EAGAIN: not finished with the last wish. */
VV_MUST_CHECK enum vv_err vv_acme_revoke(struct vv_acme *a, const char *name);

/* An array: of each name {name, state: "none"|"valid"|"expired"|"revoked", file, not_before,
 * not_after, renew_at (RFC 3339 texts or null), authority, working: bool, failures, retry_in (seconds or
 * null), error: text or null}. */
void vv_acme_status(struct vv_acme *a, struct vv_json *j);
#endif
