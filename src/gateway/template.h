/* src/gateway/template.h - small texts with values of the request in them, compiled once.
 *
 * Model:     literal text, `$name` variables, `{param}` of the route's path pattern, `$$` a dollar.
 *            Variables: $host $uri (path and query) $path $query $scheme $method $client_ip
 *            $request_id $rest $route $user $plan (of the caller), $header.NAME, $query.NAME, $cookie.NAME,
 *            $tls.NAME (VV_TEMPLATE_TLS; empty without TLS), and $body in the key of a cache. A name ends where its letters end; braces that do not hold exactly a
 *            name are text. A value that the request does not have is empty.
 *            No value can break out of where it is put: no control byte of a value ever gets into
 *            the output, and what that means is the mode's business.
 * Source:    RFC 3986 sections 2 and 3.3 (URI bytes, dot segments), RFC 9110 5.5 (field values).
 * Threads:   immutable after vv_template_new(); rendering is pure.
 * Ownership: the template owns a copy of its text; output lives in the arena, or in the template
 *            when it has no variables.
 * Errors:    VV_ESYNTAX at compile with place and reason; VV_EINVAL at render when a value must not
 *            be put there; VV_ENOMEM when the arena is full.
 */
#ifndef VV_GATEWAY_TEMPLATE_H
#define VV_GATEWAY_TEMPLATE_H
#include "base/arena.h"
#include "gateway/routes.h"

/* $tls.NAME: of the connection; client_*: of the certificate the client showed, which was verified. */
#define VV_TEMPLATE_TLS(X)                                                                         \
    X(VERSION, "version", "TLSv1.3")                                                               \
    X(CIPHER, "cipher", "TLS_AES_128_GCM_SHA256")                                                  \
    X(NAME, "name", "what the client asked for")                                                   \
    X(RESUMED, "resumed", "yes or no")                                                             \
    X(CLIENT, "client", "subject, RFC 2253")                                                       \
    X(CLIENT_NAME, "client_name", "common name")                                                   \
    X(CLIENT_SAN, "client_san", "other names: DNS:a.example,URI:spiffe://b")                       \
    X(CLIENT_ISSUER, "client_issuer", "subject of who signed it")                                  \
    X(CLIENT_SERIAL, "client_serial", "hexadecimal")                                               \
    X(CLIENT_FINGERPRINT, "client_fingerprint", "SHA-256, hexadecimal")                            \
    X(CLIENT_END, "client_end", "when it ends, RFC 3339")
enum vv_template_tls {
#define VV_X(id, name, doc) VV_TEMPLATE_TLS_##id,
    VV_TEMPLATE_TLS(VV_X)
#undef VV_X
        VV_TEMPLATE_TLS_COUNT
};

struct vv_template;
struct vv_template_error {
    size_t at;        /* byte offset in the text */
    const char *text; /* static: what is wrong and what would be right */
};
VV_MUST_CHECK enum vv_err vv_template_new(const char *text, struct vv_template **ret,
                                          struct vv_template_error *reterr);
void vv_template_free(struct vv_template *t);
bool vv_template_is_constant(const struct vv_template *t);
bool vv_template_has_body(const struct vv_template *t); /* $body, which only a key may have */
bool vv_template_names_header(const struct vv_template *t, struct vv_str name);
/* The i-th {param}, for checks against the path pattern; p NULL: there are no more. */
struct vv_str vv_template_param(const struct vv_template *t, size_t i);

struct vv_template_vars { /* slices may be empty */
    struct vv_str host, path, query, scheme, method, client_ip, request_id, rest, route;
    struct vv_str caller, plan;         /* $user, $plan: p NULL where nobody is known */
    const struct vv_route_match *match; /* for {param}; NULL: none */
    struct vv_str (*header)(void *user, struct vv_str name);     /* p NULL: absent; may be NULL */
    struct vv_str (*tls)(void *user, enum vv_template_tls what); /* the same */
    void *user;
};

enum vv_template_mode {
    VV_TEMPLATE_FIELD, /* a header value: control bytes (but HTAB) are refused, the text's own too */
    VV_TEMPLATE_URI,   /* a redirect target or a path: what may not stand in a URI is
                        * percent-encoded; values of headers, cookies and query parameters are one
                        * path segment (also / ? # & are encoded) and refused when "." or "..";
                        * values cannot make the target begin with "//" */
    VV_TEMPLATE_TEXT,  /* a body, or what is hashed: values with CR, LF or NUL are refused */
    VV_TEMPLATE_KEY, /* a key of a cache: values stand between bytes that no value holds, an absent
                        * one is another such byte, so that two values never run into each other;
                        * $method of HEAD is GET, $body renders nothing: the caller appends it */
};
VV_MUST_CHECK enum vv_err vv_template_render(const struct vv_template *t,
                                             const struct vv_template_vars *vars,
                                             struct vv_arena *arena, enum vv_template_mode mode,
                                             struct vv_str *ret);
#endif
