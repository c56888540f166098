/* src/gateway/tls_vars.c - from a connection's TLS to text. The certificate is read once for a connection. */
#include "gateway/tls_vars.h"
#include "gateway/keys.h"
#include "gateway/session.h"

static const struct vv_str nothing = {NULL, 0};

/* The stream of a connection has that of the connection. */
static struct vv_tls *tls_of(const struct vv_exchange *x)
{
    return vv_session_tls(x->session);
}

const struct vv_tls_peer *vv_tls_client(const struct vv_exchange *x)
{
    struct vv_tls *t = tls_of(x);
    return t != NULL ? vv_tls_identity(t) : NULL;
}

/* A comma ends a name here, so a name that has one is left out. */
static struct vv_str other_names(struct vv_exchange *x, const struct vv_tls_peer *p)
{
    static const char *const kinds[] = {"DNS:", "email:", "URI:", "IP:"};
    size_t room = 1, n = 0;
    for (size_t i = 0; i < p->san_count; i++) {
        room += p->sans[i].name.n + sizeof "email:";
    }
    char *text = vv_arena_alloc(&x->arena, room);
    for (size_t i = 0; text != NULL && i < p->san_count; i++) {
        const struct vv_str name = p->sans[i].name, kind = vv_str_from(kinds[p->sans[i].kind]);
        if (vv_str_find_char(name, ',') >= 0) {
            continue;
        }
        if (n > 0) {
            text[n++] = ',';
        }
        memcpy(text + n, kind.p, kind.n);
        memcpy(text + n + kind.n, name.p, name.n);
        n += kind.n + name.n;
    }
    return text != NULL && n > 0 ? (struct vv_str){text, n} : nothing;
}

static struct vv_str of_client(struct vv_exchange *x, enum vv_template_tls what)
{
    const struct vv_tls_peer *p = vv_tls_client(x);
    char end[VV_UTC_BYTES];
    if (p == NULL) {
        return nothing;
    }
    switch (what) {
    case VV_TEMPLATE_TLS_CLIENT:
        return p->subject;
    case VV_TEMPLATE_TLS_CLIENT_NAME:
        return p->common_name.n > 0 ? p->common_name : nothing;
    case VV_TEMPLATE_TLS_CLIENT_SAN:
        return other_names(x, p);
    case VV_TEMPLATE_TLS_CLIENT_ISSUER:
        return p->issuer;
    case VV_TEMPLATE_TLS_CLIENT_SERIAL:
        return p->serial;
    case VV_TEMPLATE_TLS_CLIENT_FINGERPRINT:
        return vv_str_from(p->fingerprint);
    default:
        return vv_arena_str(
            &x->arena, vv_str_from(vv_utc_format((int64_t)(p->not_after_wall_ns / VV_SEC), end)));
    }
}

struct vv_str vv_tls_vars(void *exchange, enum vv_template_tls what)
{
    struct vv_exchange *x = exchange;
    const struct vv_tls *t = tls_of(x);
    if (t == NULL) {
        return nothing;
    }
    switch (what) {
    case VV_TEMPLATE_TLS_VERSION:
        return vv_str_from(vv_tls_protocol(t));
    case VV_TEMPLATE_TLS_CIPHER:
        return vv_str_from(vv_tls_cipher(t));
    case VV_TEMPLATE_TLS_NAME:
        return vv_tls_name(t);
    case VV_TEMPLATE_TLS_RESUMED:
        return vv_tls_resumed(t) ? VV_STR("yes") : VV_STR("no");
    default:
        return of_client(x, what);
    }
}
