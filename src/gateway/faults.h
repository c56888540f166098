/* src/gateway/faults.h - faults on purpose, ordered over the API, for a time.
 *
 * Model:     an order names routes, services or all, a fault (guard/fault.h) and an end. The proxy action
 *            asks once per exchange (vv_faults_decide) and carries out what it is told at the side of
 *            the server: balancers, breakers, retries and limits see a service that does this. A watch
 *            over all answers stops every order when the share of bad ones goes over `chaos.stop`.
 * Threads:   orders: control thread; deciding: workers, without a lock.
 */
#ifndef VV_GATEWAY_FAULTS_H
#define VV_GATEWAY_FAULTS_H
#include "base/json.h"
#include "gateway/exchange.h"
#include "guard/fault.h"

struct vv_faults;
VV_MUST_CHECK enum vv_err vv_faults_new(struct vv_metrics *metrics, struct vv_faults **ret);
void vv_faults_free(struct vv_faults *f); /* NULL is fine */
void vv_faults_conf(struct vv_faults *f, const struct vv_chaos_settings *conf);

struct vv_fault_order {
    struct vv_str route, service; /* n 0: all */
    struct vv_fault fault;        /* from_ns, until_ns absolute */
};
/* VV_EACCES: chaos is not enabled; VV_ERANGE, VV_EINVAL with reterr_text (256 bytes); VV_ELIMIT. */
VV_MUST_CHECK enum vv_err vv_faults_order(struct vv_faults *f, const struct vv_fault_order *o,
                                          uint64_t now_ns, uint32_t *ret_id, char *reterr_text);
VV_MUST_CHECK enum vv_err vv_faults_stop(struct vv_faults *f, uint32_t id); /* 0: all */
void vv_faults_tick(struct vv_faults *f, uint64_t now_ns);
void vv_faults_json(struct vv_faults *f, uint64_t now_ns, struct vv_json *j);

/* Any worker. Is anything ordered at all? One relaxed load. */
bool vv_faults_any(const struct vv_faults *f);
/* What to break in this exchange; false: nothing. */
bool vv_faults_decide(struct vv_faults *f, struct vv_exchange *x, struct vv_fault_plan *ret);
/* Every recorded answer, while something is ordered. */
void vv_faults_report(struct vv_faults *f, uint64_t now_ns, bool bad);
#endif
