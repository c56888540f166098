/* src/gateway/shape.h - SHAPE: compresses an answer on its way to the client.
 *
 * Model:     while a head is written, vv_shape_begin() decides by the answer's final fields what the head
 *            must say and whether the body passes an encoder. Body bytes are taken at once: what comes
 *            out collects in a block that is given to the batch when it is full, when the action has
 *            nothing more for the moment, or at the end. An answer of unknown length is flushed at the
 *            end of the turn (an event stream is not held up); one of known length after 10 ms.
 * Source:    RFC 9110 8.4, 8.8.3, 12.5.3, 12.5.5; wire/encoding.h has the rules.
 * Threads:   one worker. Ownership: lies in the exchange's arena; vv_shape_end() lets go of the rest.
 * Errors:    false: memory is out or the encoder broke; the answer must be cut.
 */
#ifndef VV_GATEWAY_SHAPE_H
#define VV_GATEWAY_SHAPE_H
#include "gateway/exchange.h"

struct vv_shaping {            /* what the head must say */
    enum vv_encoding encoding; /* of the body; IDENTITY: as it is */
    bool vary;                 /* Vary names Accept-Encoding */
    bool weak;                 /* a strong entity tag becomes weak */
    size_t bytes;              /* room that the changes need */
};

/* Decides about an answer with the fields of `head` under the route's edits, whose values are
 * rendered. The exchange gets its encoder unless the answer has no body to send. */
struct vv_shaping vv_shape_begin(struct vv_exchange *x, const struct vv_h1_head *head,
                                 const struct vv_str *edit_value);
/* The same for an answer of our own. */
struct vv_shaping vv_shape_begin_own(struct vv_exchange *x, int status,
                                     const struct vv_field *field, size_t field_count,
                                     const struct vv_str *edit_value, uint64_t length);
/* Takes a run of the body. */
VV_MUST_CHECK bool vv_shape_take(struct vv_exchange *x, struct vv_str bytes);
/* Nothing more for now: *ret_hold: the batch need not leave yet. */
void vv_shape_pause(struct vv_exchange *x, bool *ret_hold);
/* The body is complete. */
VV_MUST_CHECK bool vv_shape_finish(struct vv_exchange *x);
/* Has it had its share of this turn? Asking starts the next share. */
bool vv_shape_tired(struct vv_exchange *x);
/* The exchange ends. */
void vv_shape_end(struct vv_exchange *x);
/* Could this client get a coding on this route, as far as its request says? */
static inline bool vv_shape_asked(const struct vv_exchange *x)
{
    return x->route->compress != NULL && vv_h1_find(&x->req, VV_FIELD_ACCEPT_ENCODING) != NULL;
}
#endif
