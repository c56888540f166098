/* src/gateway/challenge.c - one comparison for all other requests. */
#include "gateway/challenge.h"
#include "gateway/homes.h"

#define PREFIX VV_STR("/.well-known/acme-challenge/")

bool vv_challenge_early(struct vv_exchange *x)
{
    if (VV_LIKELY(x->path.n <= PREFIX.n || x->path.p[1] != '.') ||
        !vv_str_starts(x->path, PREFIX) || x->w->homes == NULL ||
        (x->req.method != VV_METHOD_GET && x->req.method != VV_METHOD_HEAD)) {
        return false;
    }
    const struct vv_str token = {x->path.p + PREFIX.n, x->path.n - PREFIX.n};
    const struct vv_str text = vv_certs_challenge(x->w->homes->certs, token, &x->arena);
    if (text.n == 0) {
        return false;
    }
    const struct vv_field type = {VV_STR("Content-Type"), VV_STR("application/octet-stream")};
    vv_answer_simple(x, 200, &type, 1, text);
    return true;
}
