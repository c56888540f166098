/* src/acme/http.h - requests to an authority, over libcurl.
 *
 * Model:     one transfer at a time, at most 30 s and 256 KiB; no redirects (a signed request says its own
 *            URL). The connection is kept for the next one. Proxies of the environment are used.
 * Threads:   one owner; blocks. Ownership: an answer's texts live until the next request.
 */
#ifndef VV_ACME_HTTP_H
#define VV_ACME_HTTP_H
#include "acme/order.h"
#include <stdatomic.h>

struct vv_acme_http;
/* `stop` is looked at about once a second during a transfer. */
VV_MUST_CHECK enum vv_err vv_acme_http_new(const atomic_bool *stop, struct vv_acme_http **ret);
void vv_acme_http_free(struct vv_acme_http *h); /* NULL is fine */
/* VV_EIO: *reterr_why (lives like an answer) says why in a line. ca_file may be NULL. */
VV_MUST_CHECK enum vv_err vv_acme_http_do(struct vv_acme_http *h, const char *ca_file,
                                          const struct vv_acme_request *r, uint64_t wall_ns,
                                          struct vv_acme_answer *ret, const char **reterr_why);
/* The field's value, RFC 9110 section 10.2.3: seconds, or a date; in nanoseconds from now. 0: neither. */
uint64_t vv_acme_retry_after(struct vv_str value, uint64_t wall_ns);
#endif
