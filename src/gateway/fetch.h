/* src/gateway/fetch.h - the leader's side: what an origin's answer does to the cache, and exchanges
 * without a client.
 *
 * Model:     a detached session has no socket; what is written to it is dropped. On it run requests
 *            of our own (renewing, warming), and fetches whose client has become a follower.
 * Threads:   one worker.
 */
#ifndef VV_GATEWAY_FETCH_H
#define VV_GATEWAY_FETCH_H
#include "gateway/exchange.h"

enum vv_fetch_why { VV_FETCH_STALE, VV_FETCH_REFRESH, VV_FETCH_WARM };

/* Runs a request without a client: `head` is a whole request head. VV_ESYNTAX: it is none; VV_ENOENT: the
 * worker has no listener. STALE and REFRESH ask the origin although the stored answer may be fresh. */
VV_MUST_CHECK enum vv_err vv_fetch_begin(struct vv_worker *w, struct vv_str head,
                                         enum vv_fetch_why why);
/* The same for the resource of a client's request. */
VV_MUST_CHECK enum vv_err vv_fetch_behind(struct vv_exchange *x, enum vv_fetch_why why);

enum vv_fetch_verdict {
    VV_FETCH_PASS,   /* not for the cache: goes to the client as it is */
    VV_FETCH_KEEP,   /* body goes to the fill: continue on vv_fetch_detach() */
    VV_FETCH_SERVE,  /* the attempt ends, then vv_recall_serve() answers from the cache */
    VV_FETCH_REPEAT, /* ask again without conditions */
};
/* A final head has come for a request that may be cached. */
enum vv_fetch_verdict vv_fetch_head(struct vv_exchange *x, const struct vv_h1_head *h);
/* After VV_FETCH_KEEP: the exchange without a client on which the fetch goes on; x is its follower now
 * unless it is that exchange itself. */
struct vv_exchange *vv_fetch_exchange(struct vv_exchange *x);
/* Body of a detached fetch. Not VV_OK: it cannot be kept, the fill has failed; x->recall->fetch is the
 * client that may take the fetch back (vv_proxy_take_back). */
VV_MUST_CHECK enum vv_err vv_fetch_body(struct vv_exchange *x, struct vv_str bytes);
/* The body is complete: it is published. */
void vv_fetch_done(struct vv_exchange *x);
/* The origin cannot be asked. True: vv_recall_serve() sends a stale answer instead. */
VV_MUST_CHECK bool vv_fetch_failed(struct vv_exchange *x);

/* session.c: a session without a socket, for the client of `like` (NULL: for ourselves); NULL: no memory. */
struct vv_session *vv_session_detached(struct vv_listener *l, const struct vv_session *like);
/* actions/proxy.c: x goes on by itself where its fetch had to give up. */
void vv_proxy_take_back(struct vv_exchange *x);
#endif
