/* src/gateway/session_body.c - the request body of an HTTP/1 connection: pulled run by run out of what has
 * been read, behind its head or in a block of its own. */
#include "gateway/door.h"
#include "gateway/session_h2.h"
#include "gateway/session_int.h"
#include "gateway/session_pace.h"

/* Room for more body. What was handed out before is used up: the former bytes may go, except the
 * head's. A long body gets a large block of its own. */
struct vv_buf *vv_session_room_for_body(struct vv_session *s)
{
    if (s->more == NULL) {
        const bool fits = vv_buf_room(s->in) > 0 && s->body.framing == VV_H1_BODY_LENGTH &&
                          s->body.left <= vv_buf_room(s->in);
        if (fits) {
            return s->in;
        }
        const bool large = s->body.framing != VV_H1_BODY_LENGTH || s->body.left > VV_BUF_SMALL;
        s->more = vv_buf_get(&s->w->bufs, large ? VV_BUF_LARGE : VV_BUF_SMALL);
        s->at = 0;
        return s->more;
    }
    s->more->start = s->more->end = 0;
    s->at = 0;
    return s->more;
}

enum vv_err vv_session_body_failed(struct vv_exchange *x, enum vv_reason reason)
{
    if (reason == VV_REASON_CLIENT_CLOSED) {
        vv_exchange_end(x, reason);
    } else {
        vv_answer_error(x, reason);
    }
    return VV_ECLOSED;
}

/* One run of data out of what has been read; VV_EAGAIN when all of it is used. */
enum vv_err vv_session_body_take(struct vv_session *s, struct vv_str *ret)
{
    struct vv_request_body *b = &s->body;
    const struct vv_buf *buf = s->more != NULL ? s->more : s->in;
    const struct vv_str here = {buf->data + s->at, buf->end - s->at};
    *ret = (struct vv_str){NULL, 0};
    switch (b->framing) {
    case VV_H1_BODY_LENGTH:
        ret->p = here.p;
        ret->n = here.n < b->left ? here.n : (size_t)b->left;
        s->at += (uint32_t)ret->n;
        b->left -= ret->n;
        b->done = b->left == 0;
        break;
    case VV_H1_BODY_CHUNKED:
        for (size_t used = 1; ret->n == 0 && !b->chunked.done && used > 0;) {
            const struct vv_str rest = {buf->data + s->at, buf->end - s->at};
            const enum vv_err err = vv_h1_chunked_next(&b->chunked, rest, &used, ret);
            s->at += (uint32_t)used;
            if (err == VV_ESYNTAX) {
                return err;
            }
        }
        b->done = b->chunked.done;
        break;
    case VV_H1_BODY_TUNNEL:
        *ret = here;
        s->at += (uint32_t)here.n;
        break;
    case VV_H1_BODY_NONE:
    case VV_H1_BODY_CLOSE:
        b->done = true;
        break;
    }
    b->bytes += ret->n;
    return ret->n > 0 || b->done ? VV_OK : VV_EAGAIN;
}

void vv_body_wait(struct vv_exchange *x)
{
    struct vv_session *s = x->session;
    vv_session_body_owed(x);
    if (s->body_wait_ns != 0) {
        vv_session_arm(s);
    }
}

enum vv_err vv_body_next(struct vv_exchange *x, struct vv_str *ret_data)
{
    struct vv_session *s = x->session;
    s->body_wait_ns = 0;
    if (x->body_kept_at < x->body_kept.n) {
        *ret_data =
            (struct vv_str){x->body_kept.p + x->body_kept_at, x->body_kept.n - x->body_kept_at};
        x->body_kept_at = x->body_kept.n;
        return VV_OK;
    }
    if (s->conn != NULL) {
        const enum vv_err err = vv_session_h2_body(x, ret_data);
        if (err == VV_OK) {
            vv_session_body_came(s, ret_data->n);
        }
        return err;
    }
    for (;;) {
        if (s->body.done) {
            *ret_data = (struct vv_str){NULL, 0};
            return VV_OK;
        }
        enum vv_err err = vv_session_body_take(s, ret_data);
        if (err == VV_ESYNTAX) {
            vv_session_refused_for(x, s->body.chunked.error);
            return vv_session_body_failed(x, VV_REASON_BAD_BODY);
        }
        if (err == VV_OK) {
            x->waiting_continue = false; /* it sends without having been told to */
            vv_session_body_came(s, ret_data->n);
            return s->body.bytes > x->body_bytes_max
                       ? vv_session_body_failed(x, VV_REASON_BODY_TOO_LARGE)
                       : VV_OK;
        }
        struct vv_buf *b = vv_session_room_for_body(s);
        if (b == NULL) {
            return vv_session_body_failed(x, VV_REASON_NO_MEMORY);
        }
        err = vv_session_read(s, b);
        if (err == VV_EAGAIN) {
            if (s->body.framing == VV_H1_BODY_TUNNEL) { /* silent ones hold no block */
                vv_buf_put(&s->w->bufs, s->more);
                s->more = NULL;
                s->at = s->in->end;
            } else if (!x->waiting_continue) { /* who waits for our 100 is not slow */
                vv_body_wait(x);
            }
            return VV_EAGAIN;
        }
        if (err == VV_ECLOSED && s->body.framing == VV_H1_BODY_TUNNEL) {
            s->body.done = true;
        } else if (err != VV_OK) {
            return vv_session_body_failed(x, VV_REASON_CLIENT_CLOSED);
        }
    }
}

bool vv_body_rewind(struct vv_exchange *x)
{
    struct vv_session *s = x->session;
    if (x->body_kept.p != NULL) {
        x->body_kept_at = 0;
        return true;
    }
    if (s->conn != NULL) {
        return s->body.bytes == 0;
    }
    if (s->more != NULL || s->body.framing == VV_H1_BODY_TUNNEL) {
        return false;
    }
    s->body = (struct vv_request_body){
        .framing = x->req.framing,
        .left = x->req.content_length,
        .done = x->req.framing == VV_H1_BODY_NONE ||
                (x->req.framing == VV_H1_BODY_LENGTH && x->req.content_length == 0)};
    vv_h1_chunked_init(&s->body.chunked);
    s->at = s->in->start + (uint32_t)x->req.head_bytes;
    return true;
}
