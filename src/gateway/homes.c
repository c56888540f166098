/* src/gateway/homes.c - the homes of named state, all at once. */
#include "gateway/homes.h"
#include "gateway/limit_share.h"
#include "os/clock.h"

#define CLIENTS_ROOM (1u << 18) /* 16 MiB when all of it is used */

static struct vv_cache_clock clock_now(void)
{
    return (struct vv_cache_clock){vv_clock_now(), vv_clock_wall()};
}

enum vv_err vv_homes_init(struct vv_homes *h, struct vv_loop *control, struct vv_metrics *metrics,
                          unsigned workers, const struct vv_settings *s)
{
    enum vv_err err = vv_stores_new(control, metrics, &h->stores);
    if (err == VV_OK) {
        err = vv_caches_new(metrics, &h->caches);
    }
    if (err == VV_OK) {
        vv_caches_share(h->caches, h->stores, control);
        err = vv_guards_new(metrics, workers, s->overload.keys, &h->guards);
    }
    if (err == VV_OK) {
        vv_sharing_begin(vv_guards_sharing(h->guards), control, h->stores);
    }
    if (err == VV_OK) {
        err = vv_canaries_new(metrics, workers, &h->canaries);
    }
    if (err == VV_OK) {
        err = vv_access_new(metrics, &h->access);
    }
    if (err == VV_OK) {
        err = vv_faults_new(metrics, &h->faults);
    }
    if (err == VV_OK) {
        err = vv_clients_new(CLIENTS_ROOM, vv_entropy_u64(), &h->clients);
    }
    return err == VV_OK ? vv_certs_new(metrics, &h->certs) : err;
}

void vv_homes_fini(struct vv_homes *h)
{
    vv_certs_free(h->certs);
    vv_clients_free(h->clients);
    vv_faults_free(h->faults);
    vv_access_free(h->access);
    vv_canaries_free(h->canaries);
    vv_guards_free(h->guards);
    vv_caches_free(h->caches);
    vv_stores_free(h->stores); /* last: others hold references */
}

enum vv_err vv_homes_prepare(struct vv_homes *h, const struct vv_settings *s, char *reterr_text)
{
    enum vv_err err = vv_stores_prepare(h->stores, s, reterr_text);
    if (err == VV_OK) {
        err = vv_access_prepare(h->access, &s->access, reterr_text);
    }
    return err == VV_OK ? vv_certs_prepare(h->certs, s, reterr_text) : err;
}

void vv_homes_settle(struct vv_homes *h, const struct vv_settings *s, bool kept)
{
    vv_stores_settle(h->stores, s, kept);
    vv_caches_settle(h->caches, kept, clock_now());
    vv_guards_settle(h->guards, kept);
    vv_canaries_settle(h->canaries, kept);
    vv_access_settle(h->access, kept);
    vv_faults_conf(h->faults, &s->chaos);
    vv_certs_settle(h->certs, s, kept);
}

void vv_homes_tick(struct vv_homes *h, uint64_t now_ns)
{
    vv_stores_tick(h->stores, now_ns);
    vv_caches_tick(h->caches, now_ns);
    vv_guards_tick(h->guards, now_ns);
    vv_canaries_tick(h->canaries, now_ns);
    vv_access_tick(h->access, now_ns);
    vv_faults_tick(h->faults, now_ns);
    vv_certs_tick(h->certs, now_ns);
}
