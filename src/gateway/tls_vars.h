/* src/gateway/tls_vars.h - what templates and rules of access may say about a client's TLS connection.
 *
 * Threads:   the worker of the exchange. Ownership: texts live as long as the exchange.
 */
#ifndef VV_GATEWAY_TLS_VARS_H
#define VV_GATEWAY_TLS_VARS_H
#include "gateway/exchange.h"
#include "gateway/template.h"
#include "os/tls.h"

/* For struct vv_template_vars; `exchange` is a struct vv_exchange. p NULL: there is none. */
struct vv_str vv_tls_vars(void *exchange, enum vv_template_tls what);
/* The certificate the client showed; NULL: none, or no TLS. */
const struct vv_tls_peer *vv_tls_client(const struct vv_exchange *x);
#endif
