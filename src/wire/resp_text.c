/* src/wire/resp_text.c - words of the protocol: types, errors, redirections. */
#include "wire/resp.h"

static const char *const type_names[] = {
#define AS_NAME(id, byte, name) [VV_RESP_##id] = (name),
    VV_RESP_TYPES(AS_NAME)
#undef AS_NAME
};

static const struct {
    struct vv_str word;
    enum vv_resp_blame blame;
    const char *doc;
} errors[] = {
#define VV_RESP_ERROR(id, blame, doc)                                                              \
    [VV_RESP_E_##id] = {{#id, sizeof(#id) - 1}, VV_RESP_BLAME_##blame, (doc)},
#include "wire/resp_errors.def"
#undef VV_RESP_ERROR
};

const char *vv_resp_type_name(enum vv_resp_type t)
{
    return (unsigned)t < VV_RESP_TYPE_COUNT ? type_names[t] : "unknown";
}

enum vv_resp_error vv_resp_error_of(struct vv_str text)
{
    const struct vv_str word = vv_str_cut(&text, ' ');
    for (unsigned i = 1; i < VV_RESP_E_COUNT; i++) {
        if (vv_str_eq(errors[i].word, word)) {
            return (enum vv_resp_error)i;
        }
    }
    return VV_RESP_E_OTHER;
}

enum vv_resp_blame vv_resp_error_blame(enum vv_resp_error e)
{
    VV_ASSERT((unsigned)e < VV_RESP_E_COUNT);
    return errors[e].blame;
}

const char *vv_resp_error_name(enum vv_resp_error e)
{
    VV_ASSERT((unsigned)e < VV_RESP_E_COUNT);
    return errors[e].word.p;
}

const char *vv_resp_error_doc(enum vv_resp_error e)
{
    VV_ASSERT((unsigned)e < VV_RESP_E_COUNT);
    return errors[e].doc;
}

/* The last colon is the border: addresses of version 6 come without brackets. */
static bool cut_port(struct vv_str place, struct vv_str *host, uint64_t *port)
{
    size_t at = place.n;
    while (at > 0 && place.p[at - 1] != ':') {
        at--;
    }
    if (at == 0) {
        return false;
    }
    *host = (struct vv_str){place.p, at - 1};
    return vv_str_to_u64((struct vv_str){place.p + at, place.n - at}, port) == VV_OK && *port > 0 &&
           *port <= UINT16_MAX;
}

enum vv_err vv_resp_redirect_parse(struct vv_str text, struct vv_resp_redirect *ret)
{
    const enum vv_resp_error e = vv_resp_error_of(text);
    struct vv_resp_redirect to = {.ask = e == VV_RESP_E_ASK};
    uint64_t slot = 0, port = 0;
    if (e != VV_RESP_E_MOVED && e != VV_RESP_E_ASK) {
        return VV_ESYNTAX;
    }
    vv_str_cut(&text, ' ');
    if (vv_str_to_u64(vv_str_cut(&text, ' '), &slot) != VV_OK || slot >= 16384 || text.n == 0 ||
        !cut_port(text, &to.host, &port)) {
        return VV_ESYNTAX;
    }
    if (vv_str_eq(to.host, VV_STR("?"))) { /* the server does not know its own name */
        to.host.n = 0;
    }
    to.slot = (uint16_t)slot;
    to.port = (uint16_t)port;
    *ret = to;
    return VV_OK;
}
