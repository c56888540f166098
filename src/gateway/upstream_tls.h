/* src/gateway/upstream_tls.h - how the servers of a service are spoken to over TLS.
 *
 * Model:     made from `tls` of a service at a load, and kept over reloads while neither the settings nor the
 *            files they name have changed: so sessions and kept-alive connections live on. Servers are
 *            secure when their URL begins with https://, which stays in their name ("https://host/ip:port"
 *            when a name was resolved); whom their certificate must name is `tls.name`, else that host.
 * Threads:   vv_service_tls_take(): control side, reads files. The rest: any.
 * Ownership: counted.
 * Errors:    VV_EINVAL, VV_ENOENT, VV_EACCES, VV_ESYNTAX: a file or a pair of them cannot be used; *why gets
 *            one line, *reterr_field the setting it is about.
 */
#ifndef VV_GATEWAY_UPSTREAM_TLS_H
#define VV_GATEWAY_UPSTREAM_TLS_H
#include "balance/server.h"
#include "gateway/settings.h"
#include "os/tls.h"

struct vv_service_tls; /* counted */

/* NULL in *ret: no server has an https:// URL and `tls` is not there. `former` may be NULL. */
VV_MUST_CHECK enum vv_err vv_service_tls_take(const struct vv_service_settings *conf,
                                              struct vv_service_tls *former,
                                              struct vv_service_tls **ret, struct vv_sb *why,
                                              const void **reterr_field);
struct vv_service_tls *vv_service_tls_ref(struct vv_service_tls *t); /* NULL is fine */
void vv_service_tls_unref(struct vv_service_tls *t);                 /* NULL is fine */

/* What is going to be said over a connection: HTTP/2 if it can be had, or HTTP/1.1 in any case (probes, and
 * requests to switch protocols). */
enum vv_service_tls_use { VV_SERVICE_TLS_REQUESTS, VV_SERVICE_TLS_PROBE };
/* vv_tls_connect() to the server over fd. VV_EINVAL: its certificate cannot be asked for (no such name). */
VV_MUST_CHECK enum vv_err vv_service_tls_connect(const struct vv_service_tls *t,
                                                 const struct vv_server *server,
                                                 enum vv_service_tls_use use, int fd,
                                                 struct vv_tls **ret);
bool vv_url_is_secure(const char *url);
/* The host in "https://host:port", "https://[host]:port" or "https://host/ip:port"; n 0: none. */
struct vv_str vv_secure_host(const char *server_name);
#endif
