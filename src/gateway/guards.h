/* src/gateway/guards.h - guard state that has a name: made by settings, found by name, kept over reloads.
 *
 * Model:     one table of limits for all; a breaker for every pair of a class and a service
 *            ("ai_service:optimizer"); for every service its retry budget, hedge delay and places.
 *            Runtimes hold them counted through routes and services; the registry lists what is alive.
 *            A reload that changes rules changes them in place at vv_guards_settle(); counts, states and
 *            whoever waits stay.
 * Threads:   control, except vv_*_unref() (any) and what src/guard says about its own.
 * Errors:    VV_ENOMEM.
 */
#ifndef VV_GATEWAY_GUARDS_H
#define VV_GATEWAY_GUARDS_H
#include "base/json.h"
#include "gateway/settings.h"
#include "guard/breaker.h"
#include "guard/budget.h"
#include "guard/concurrency.h"
#include "guard/limit.h"
#include "guard/queue.h"
#include "observe/metrics.h"

struct vv_guards;
struct vv_sharing;
struct vv_worker;

struct vv_fail_rules { /* what counts as a failure, out of texts such as "connect", "503", "5xx" */
    bool connect, timeout, broken;
    uint64_t status[10]; /* bit s % 64 of word s / 64 */
};
static inline bool vv_fail_status(const struct vv_fail_rules *r, int status)
{
    return status >= 0 && status < 640 && (r->status[status / 64] >> (status % 64) & 1) != 0;
}
/* VV_ESYNTAX: *reterr_bad (may be NULL) is the text that is none of them. */
VV_MUST_CHECK enum vv_err vv_fail_rules_parse(const struct vv_conf_list *on,
                                              struct vv_fail_rules *ret, const char **reterr_bad);

struct vv_named_breaker {
    struct vv_guards *owner;
    char *name, *class_name, *service; /* name: "class:service" */
    struct vv_breaker *breaker;
    struct vv_list node;
    _Atomic uint32_t refs;    /* 0: the control thread frees it at its next tick */
    _Atomic uint32_t changes; /* of its view, as the control thread last saw it */
    char *share;              /* the store in which gateways warn each other; NULL: none. Control */
    struct vv_breaker_conf wanted; /* PRIVATE */
    char *share_wanted;            /* PRIVATE */
    bool fresh;                    /* PRIVATE: made by the reload under way */
};

struct vv_gate; /* one worker's queue for one service: turnstile.h */
struct vv_service_guard {
    struct vv_guards *owner;
    char *name;
    struct vv_budget *budget;
    /* Made when settings first ask for them, and there for good: requests whose settings do not ask for
     * them do not look. */
    _Atomic(struct vv_hedge *) hedge;
    _Atomic(struct vv_conc *) conc;
    struct vv_gate *gate; /* one per worker; there when conc is */
    unsigned gates;
    bool limited; /* the settings in force ask for places; control */
    struct vv_list node;
    _Atomic uint32_t refs;
    /* PRIVATE: what a reload under way asks for */
    bool limited_wanted;
    struct vv_budget_conf budget_wanted;
    struct vv_hedge_conf hedge_wanted;
    struct vv_conc_conf conc_wanted;
};

VV_MUST_CHECK enum vv_err vv_guards_new(struct vv_metrics *metrics, unsigned workers,
                                        uint64_t limit_keys, struct vv_guards **ret);
/* Every runtime and worker is gone; NULL is fine. */
void vv_guards_free(struct vv_guards *gs);
struct vv_limits *vv_guards_limits(struct vv_guards *gs);
struct vv_sharing *vv_guards_sharing(struct vv_guards *gs); /* limit_share.h */
/* Counted references; made when they are not there. What is there keeps its rules until settled. */
VV_MUST_CHECK enum vv_err vv_guards_breaker(struct vv_guards *gs,
                                            const struct vv_breaker_settings *conf,
                                            const char *service, struct vv_named_breaker **ret);
VV_MUST_CHECK enum vv_err vv_guards_service(struct vv_guards *gs,
                                            const struct vv_service_settings *conf,
                                            struct vv_service_guard **ret);
void vv_named_breaker_unref(struct vv_named_breaker *b); /* NULL is fine */
void vv_service_guard_unref(struct vv_service_guard *g); /* NULL is fine */
/* Ends a start or reload. kept: new rules come into force; else everything stays as it was. */
void vv_guards_settle(struct vv_guards *gs, bool kept);
/* 10 Hz: frees what nobody holds. */
void vv_guards_tick(struct vv_guards *gs, uint64_t now_ns);
struct vv_named_breaker *vv_guards_find_breaker(struct vv_guards *gs, struct vv_str name);
/* The first (b NULL) or next one; NULL: the end. */
struct vv_named_breaker *vv_guards_next_breaker(struct vv_guards *gs,
                                                const struct vv_named_breaker *b);
struct vv_service_guard *vv_guards_next_service(struct vv_guards *gs,
                                                const struct vv_service_guard *g);

/* Which priorities are turned away because the gateway itself is short of memory or CPU: this class and
 * the less important ones. VV_QUEUE_CLASSES: none. Any thread. */
unsigned vv_guards_shed_from(const struct vv_guards *gs);
void vv_guards_shed(struct vv_guards *gs, unsigned from);
#endif
