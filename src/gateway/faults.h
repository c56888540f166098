/* src/gateway/faults.h - faults on purpose, ordered over the API, for a time.
 *
 * Model:     an order names a route, a service, both or neither (all), a fault (guard/fault.h) and an end.
 *            Every attempt to ask a server draws once (fault_points.h), at the side of the server, so
 *            that balancers, breakers, retries and limits see a service that does this. The shares of
 *            orders that can meet in one request are `chaos.max_share` at most, together. A watch
 *            over all answers ends every order when the share of bad ones goes over `chaos.stop`.
 * Threads:   orders, ends, JSON: control thread; deciding and reporting: workers, without a lock.
 * Ownership: an order's texts are copied. Errors: a call that fails changes nothing.
 */
#ifndef VV_GATEWAY_FAULTS_H
#define VV_GATEWAY_FAULTS_H
#include "base/json.h"
#include "gateway/exchange.h"
#include "guard/fault.h"

struct vv_faults;
VV_MUST_CHECK enum vv_err vv_faults_new(struct vv_metrics *metrics, struct vv_faults **ret);
void vv_faults_free(struct vv_faults *f); /* no worker is left; NULL is fine */
/* The rules from now on. Not enabled: what is ordered ends. */
void vv_faults_conf(struct vv_faults *f, const struct vv_chaos_settings *conf);

struct vv_fault_order {
    struct vv_str route, service; /* n 0: all */
    struct vv_fault fault;        /* from_ns, until_ns absolute */
};
/* VV_EACCES: chaos is not enabled; VV_ERANGE: share or time are more than allowed; VV_EINVAL: the fault
 * makes no sense; VV_ELIMIT: too many orders. reterr_text (256 bytes) says it to a user. */
VV_MUST_CHECK enum vv_err vv_faults_order(struct vv_faults *f, const struct vv_fault_order *o,
                                          uint64_t now_ns, uint32_t *ret_id, char *reterr_text);
VV_MUST_CHECK enum vv_err vv_faults_stop(struct vv_faults *f, uint32_t id); /* 0: all; VV_ENOENT */
void vv_faults_tick(struct vv_faults *f, uint64_t now_ns);
size_t vv_faults_active(const struct vv_faults *f);
/* An object: "enabled", the rules, "watch", "active" and the last that "ended", newest last. */
void vv_faults_json(struct vv_faults *f, uint64_t now_ns, struct vv_json *j);

/* Any worker. Is anything ordered at all? One relaxed load. */
bool vv_faults_any(const struct vv_faults *f);
/* What to break in this attempt of x; false: nothing. */
bool vv_faults_decide(struct vv_faults *f, struct vv_exchange *x, struct vv_fault_plan *ret);
/* Every recorded answer, while something is ordered. */
void vv_faults_report(struct vv_faults *f, uint64_t now_ns, bool bad);
#endif
