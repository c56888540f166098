/* src/gateway/body_keep.c - reads a small request body whole before anything else: it is part of a key. */
#include "gateway/recall.h"
#include "gateway/session.h"

#define KEEP_MAX (64u * 1024u)

struct keep {
    char *to;
    size_t n, size;
    void (*then)(struct vv_exchange *x);
};

/* True: the exchange waits for more, or has ended. */
static bool gather(struct vv_exchange *x, struct keep *k)
{
    for (;;) {
        struct vv_str run = {NULL, 0};
        const enum vv_err err = vv_body_next(x, &run);
        if (err != VV_OK) {
            return true;
        }
        memcpy(k->to + k->n, run.p != NULL ? run.p : "", run.n);
        k->n += run.n;
        if (x->session->body.done) {
            x->body_kept = (struct vv_str){k->to, k->n};
            x->action = NULL;
            x->state = NULL;
            return false;
        }
    }
}

static void body(struct vv_exchange *x)
{
    const struct keep *k = x->state;
    if (!gather(x, x->state)) {
        k->then(x);
    }
}

static const struct vv_action action_keep = {.name = "keep", .body = body};

bool vv_body_keep_then(struct vv_exchange *x, uint64_t bytes_max,
                       void (*then)(struct vv_exchange *x))
{
    if (x->req.framing != VV_H1_BODY_LENGTH || x->req.content_length > bytes_max ||
        x->req.expect_continue) {
        return false;
    }
    struct keep *k = vv_arena_zalloc(&x->arena, sizeof *k);
    if (k == NULL) {
        return false;
    }
    k->size = (size_t)x->req.content_length;
    k->to = vv_arena_alloc(&x->arena, k->size + 1);
    if (k->to == NULL) {
        return false;
    }
    k->then = then;
    x->action = &action_keep;
    x->state = k;
    return gather(x, k);
}

bool vv_body_keep(struct vv_exchange *x)
{
    return vv_body_keep_then(x, KEEP_MAX, vv_exchange_resume);
}
