/* src/gateway/certs.c - one slot for each listener with TLS. */
#include "gateway/certs.h"
#include <stdlib.h>

struct vv_certs {
    struct vv_metrics *metrics;
};

enum vv_err vv_certs_new(struct vv_metrics *metrics, struct vv_certs **ret)
{
    struct vv_certs *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return VV_ENOMEM;
    }
    c->metrics = metrics;
    *ret = c;
    return VV_OK;
}

void vv_certs_free(struct vv_certs *c)
{
    free(c);
}

enum vv_err vv_certs_prepare(struct vv_certs *c, const struct vv_settings *s, char *reterr_text)
{
    (void)c;
    (void)s;
    (void)reterr_text;
    return VV_OK;
}

void vv_certs_settle(struct vv_certs *c, const struct vv_settings *s, bool kept)
{
    (void)c;
    (void)s;
    (void)kept;
}

void vv_certs_tick(struct vv_certs *c, uint64_t now_ns)
{
    (void)c;
    (void)now_ns;
}

struct vv_tls_slot *vv_certs_slot(const struct vv_certs *c, const char *listener)
{
    (void)c;
    (void)listener;
    return NULL;
}

struct vv_str vv_certs_challenge(const struct vv_certs *c, struct vv_str token,
                                 struct vv_arena *arena)
{
    (void)c;
    (void)token;
    (void)arena;
    return (struct vv_str){NULL, 0};
}
