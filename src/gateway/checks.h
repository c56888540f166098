/* src/gateway/checks.h - active checks: asks each server now and then whether it is well.
 *
 * Model:     one prober per server of each service with a `check`; when to ask and what results mean is
 *            balance/check.h. HTTP: GET path over a connection of its own, any status of `expect` is
 *            well; TCP: a connection that opens is well. Over TLS the server must also prove who it is. Servers that appear or leave (DNS, reload,
 *            API) gain or lose their prober at the next tick.
 * Threads:   control thread.
 */
#ifndef VV_GATEWAY_CHECKS_H
#define VV_GATEWAY_CHECKS_H
#include "gateway/runtime.h"
#include "observe/metrics.h"
#include "os/loop.h"

struct vv_checks;
VV_MUST_CHECK enum vv_err vv_checks_new(struct vv_loop *loop, struct vv_metrics *metrics,
                                        struct vv_checks **ret);
void vv_checks_free(struct vv_checks *c);
/* Matches probers to the runtime's servers and starts probes that are due; often (every 100 ms or so). */
void vv_checks_tick(struct vv_checks *c, struct vv_runtime *rt, uint64_t now_ns);
#endif
