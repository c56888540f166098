/* src/gateway/answer.h - for phases and actions that write an answer's head themselves: the pieces of
 * which vv_answer_head() is made, and the short way of a cache hit.
 *
 * Threads:   one worker. Errors: false: the exchange has been ended; do nothing more.
 */
#ifndef VV_GATEWAY_ANSWER_H
#define VV_GATEWAY_ANSWER_H
#include "gateway/exchange.h"
#include "gateway/head_writer.h"

/* Decides how the body is framed and whether the connection is kept; the head is about to be written. */
void vv_answer_begin(struct vv_exchange *x, int status, uint64_t length);
/* The Connection field, if this answer needs one: after vv_answer_begin(), 24 bytes. */
void vv_answer_put_connection(struct vv_writer *w, const struct vv_exchange *x);
/* A head out of a stored block (stored.h): status line and fields with their line ends, no empty line,
 * no X-Request-Id. Adds Via, X-Request-Id, length or framing, what the cache says, Connection. For a
 * route whose edits of answers are fixed (none at all are) and without `expires`, and an exchange without
 * set_cookie. Where the route could have sent the stored object compressed, Vary says so. */
VV_MUST_CHECK bool vv_answer_head_stored(struct vv_exchange *x, int status, struct vv_str block,
                                         uint64_t length);
/* vv_answer_flush() without waiting for more to compress. */
enum vv_err vv_answer_send(struct vv_exchange *x);
/* Nothing is to be changed in the fields of this exchange's answers: vv_answer_head_stored() may be used. */
static inline bool vv_answer_is_plain(const struct vv_exchange *x)
{
    return x->route != NULL &&
           (x->route->answer_edits.count == 0 ||
            x->route->answer_edits.fixed[x->https].p != NULL) &&
           x->route->cache_control.p == NULL && x->set_cookie.n == 0;
}
#endif
