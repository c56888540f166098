/* src/gateway/homes.h - what outlives a reload and is found by name: stores, caches, guards, canaries, who may
 * ask, faults, certificates. One place to make, settle, tick and free them.
 *
 * Threads:   control, except what each home says about itself.
 */
#ifndef VV_GATEWAY_HOMES_H
#define VV_GATEWAY_HOMES_H
#include "gateway/access.h"
#include "gateway/caches.h"
#include "gateway/canary.h"
#include "gateway/certs.h"
#include "gateway/clients.h"
#include "gateway/faults.h"
#include "gateway/guards.h"
#include "gateway/stores.h"

struct vv_homes {
    struct vv_stores *stores;
    struct vv_caches *caches;
    struct vv_guards *guards;
    struct vv_canaries *canaries;
    struct vv_access *access;
    struct vv_faults *faults;
    struct vv_certs *certs;
    struct vv_clients *clients;
};

/* On failure what was made is there: vv_homes_fini(). */
VV_MUST_CHECK enum vv_err vv_homes_init(struct vv_homes *h, struct vv_loop *control,
                                        struct vv_metrics *metrics, unsigned workers,
                                        const struct vv_settings *s);
/* Workers and runtimes are gone; harmless on zeroes. */
void vv_homes_fini(struct vv_homes *h);
/* What must be read before a runtime can be built; reterr_text (256 bytes). */
VV_MUST_CHECK enum vv_err vv_homes_prepare(struct vv_homes *h, const struct vv_settings *s,
                                           char *reterr_text);
/* Ends a start or reload; s are the settings now in force. */
void vv_homes_settle(struct vv_homes *h, const struct vv_settings *s, bool kept);
void vv_homes_tick(struct vv_homes *h, uint64_t now_ns); /* 10 Hz */
#endif
