/* src/gateway/head_writer.h - writes head lines into room that is known to be enough, and applies a
 * route's header edits. Shared by answers (answer.c) and forwarded requests (forward.c).
 *
 * Threads: one worker. Ownership: the caller's room; rendered edit values live in the exchange's arena.
 */
#ifndef VV_GATEWAY_HEAD_WRITER_H
#define VV_GATEWAY_HEAD_WRITER_H
#include "gateway/exchange.h"

struct vv_writer {
    char *at;
};

static inline void vv_put(struct vv_writer *w, struct vv_str s)
{
    if (s.n > 0) {
        memcpy(w->at, s.p, s.n);
        w->at += s.n;
    }
}

static inline void vv_put_field(struct vv_writer *w, struct vv_str name, struct vv_str value)
{
    vv_put(w, name);
    *w->at++ = ':';
    *w->at++ = ' ';
    vv_put(w, value);
    *w->at++ = '\r';
    *w->at++ = '\n';
}

static inline void vv_put_u64(struct vv_writer *w, uint64_t v)
{
    char digits[20];
    size_t n = 0;
    do {
        digits[n++] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    while (n > 0) {
        *w->at++ = digits[--n];
    }
}

/* Does an edit name this field? */
bool vv_edits_have(const struct vv_edits *edits, struct vv_str name);
/* Fills in the templates; adds what the fields will need to *ret_bytes. VV_EINVAL: a value must not stand
 * in a field; VV_ENOMEM. *ret_values is NULL when there are no edits. */
VV_MUST_CHECK enum vv_err vv_edits_render(struct vv_exchange *x, const struct vv_edits *edits,
                                          struct vv_str **ret_values, size_t *ret_bytes);
void vv_edits_put(struct vv_writer *w, const struct vv_edits *edits, const struct vv_str *values);
/* When the runtime is built: `fixed`, if these edits allow it. */
VV_MUST_CHECK enum vv_err vv_edits_fix(struct vv_edits *edits);
/* A stored block (stored.h) without the fields that edits name. No more bytes than the block has. */
void vv_edits_put_block(struct vv_writer *w, const struct vv_edits *edits, struct vv_str block);
#endif
