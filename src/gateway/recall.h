/* src/gateway/recall.h - RECALL and STORE: is the answer here, is somebody fetching it, shall it be kept?
 *
 * Model:     the RECALL phase builds the key and looks up. Fresh: the action `cached` answers from the
 *            object. Else the request leads a fetch (the proxy action with a fill), follows another's
 *            fill, or passes. Until the head of the answer is there a leader is an ordinary proxied
 *            exchange; when the answer is to be kept, the fetch goes on in an exchange without a
 *            client and the leader's client becomes a follower, so that neither a slow nor a lost
 *            client holds up the others. Followers that are told of a failure look again once.
 *            A request without a client (renewing in the background, warming) is an exchange on a
 *            detached session; what it answers goes nowhere.
 * Source:    RFC 9111 sections 3, 4; RFC 5861; RFC 9211. Threads: one worker; fills wake by mail.
 * Ownership: everything lies in the exchange's arena and ends with vv_recall_end().
 */
#ifndef VV_GATEWAY_RECALL_H
#define VV_GATEWAY_RECALL_H
#include "cache/fill.h"
#include "cache/status.h"
#include "gateway/exchange.h"
#include "gateway/head_writer.h"
#include "gateway/stored.h"

/* What answer.c adds to every answer of a cached route: Age, Cache-Status and the field of `show`. */
size_t vv_recall_fields_bytes(const struct vv_exchange *x);
void vv_recall_put_fields(struct vv_writer *w, struct vv_exchange *x);

/* What forward.c leaves out of, and adds to, the request of a leader. */
bool vv_recall_drops_field(const struct vv_exchange *x, const struct vv_h1_field *f);
struct vv_str vv_recall_conditions(const struct vv_exchange *x);
#endif
