/* src/gateway/certs.h - the certificates of the listeners: read, watched, swapped, handed on.
 *
 * Model:     a listener with `tls` has a slot by its name; the slot holds the context that new
 *            connections get. A reload, a file that changed, a renewed certificate make a new context;
 *            connections keep the one they began with. One set of ticket keys serves all listeners and
 *            workers and goes on to the next generation of the process.
 *            Challenges of an authority (RFC 8555) are answered from here: over HTTP on every listener
 *            without TLS, over TLS-ALPN-01 by the listeners' contexts.
 * Threads:   control, except vv_certs_slot() and vv_certs_challenge(), which are for all.
 * Ownership: slots live as long as the home.
 * Errors:    a certificate that cannot be used at a start or reload: VV_ECONFIG with one line of why.
 *            Later the former context stays in force, and the log says so.
 */
#ifndef VV_GATEWAY_CERTS_H
#define VV_GATEWAY_CERTS_H
#include "base/arena.h"
#include "base/json.h"
#include "gateway/settings.h"
#include "observe/metrics.h"
#include "os/tls_context.h"

struct vv_certs;
VV_MUST_CHECK enum vv_err vv_certs_new(struct vv_metrics *metrics, struct vv_certs **ret);
void vv_certs_free(struct vv_certs *c); /* NULL is fine */
/* Reads what the settings name; reterr_text (256 bytes). */
VV_MUST_CHECK enum vv_err vv_certs_prepare(struct vv_certs *c, const struct vv_settings *s,
                                           char *reterr_text);
/* Ends a start or reload: the prepared contexts are in force (kept) or forgotten. */
void vv_certs_settle(struct vv_certs *c, const struct vv_settings *s, bool kept);
void vv_certs_tick(struct vv_certs *c, uint64_t now_ns); /* 10 Hz: files, ticket keys */
/* Where what we make ourselves is kept, by default: NAME in $STATE_DIRECTORY, else in .vivace beside the file.
 * False: the path is too long. */
bool vv_certs_state_dir(const struct vv_settings *s, const char *name, char *path, size_t bytes);
/* Where `local` keeps its files by these settings; false: the path is too long. */
bool vv_certs_local_dir(const struct vv_settings *s, const struct vv_tls_settings *t, char *path,
                        size_t bytes);

/* Ticket keys for the next process: one line of text, a secret. The generation rises when they change. */
uint64_t vv_certs_keys_generation(const struct vv_certs *c);
void vv_certs_keys_export(struct vv_certs *c, struct vv_sb *out);
/* Before the first handshake. What cannot be used is left out. */
void vv_certs_keys_import(struct vv_certs *c, struct vv_str text);

/* Of an authority: orders a new certificate, or has the present one revoked. VV_ENOENT: not wanted from one;
 * VV_EAGAIN: not finished with the last wish. */
VV_MUST_CHECK enum vv_err vv_certs_renew(struct vv_certs *c, const char *name);
VV_MUST_CHECK enum vv_err vv_certs_revoke(struct vv_certs *c, const char *name);

/* Members of an open object: "listeners", each with its certificates, and "acme". */
void vv_certs_json(const struct vv_certs *c, struct vv_json *j);
/* NULL: no TLS on the listener of this name. */
struct vv_tls_slot *vv_certs_slot(const struct vv_certs *c, const char *listener);
/* The answer to a challenge over HTTP, in the arena; n 0: no such token. */
struct vv_str vv_certs_challenge(const struct vv_certs *c, struct vv_str token,
                                 struct vv_arena *arena);
#endif
