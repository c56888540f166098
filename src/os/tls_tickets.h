/* src/os/tls_tickets.h - the keys that seal session tickets: shared by all workers, renewed, handed on.
 *
 * Model:     the newest key seals; it and the two before it open. A key is replaced when it is a
 *            life old, so every ticket can be opened for all of its life. A client whose ticket was
 *            sealed by an older key gets a new one.
 * Source:    RFC 5077 section 4 for the form (AES-256-CBC, HMAC-SHA-256), RFC 8446 section 4.6.1.
 * Units:     wall_ns, nanoseconds since 1970: keys outlive processes.
 * Threads:   any, all calls. Ownership: counted.
 * Errors:    VV_ENOMEM; import: VV_ESYNTAX, which changes nothing.
 */
#ifndef VV_OS_TLS_TICKETS_H
#define VV_OS_TLS_TICKETS_H
#include "base/err.h"
#include "base/str.h"

struct vv_tls_tickets;
#define VV_TLS_TICKETS_BYTES 512 /* room enough for an export */

VV_MUST_CHECK enum vv_err vv_tls_tickets_new(uint64_t life_ns, uint64_t wall_ns,
                                             struct vv_tls_tickets **ret);
struct vv_tls_tickets *vv_tls_tickets_ref(struct vv_tls_tickets *t);
void vv_tls_tickets_unref(struct vv_tls_tickets *t); /* NULL is fine */
uint64_t vv_tls_tickets_life(const struct vv_tls_tickets *t);
/* Makes a new key when it is time (a clock that was set back counts as time). True when it did. */
bool vv_tls_tickets_rotate(struct vv_tls_tickets *t, uint64_t wall_ns);
/* All keys as opaque bytes for the next generation of this process: secrets, to be passed through
 * memory or a private socket only. Returns how many bytes of `to` were used. */
size_t vv_tls_tickets_export(struct vv_tls_tickets *t, uint8_t to[VV_TLS_TICKETS_BYTES]);
/* Takes over the keys of an export. */
VV_MUST_CHECK enum vv_err vv_tls_tickets_import(struct vv_tls_tickets *t, struct vv_str bytes);
#endif
