/* src/gateway/shape.c - the encoder writes into a block of its own with room in front for the line of a
 * chunk, so that a block leaves as one piece whatever its size turns out to be. */
#include "gateway/shape.h"
#include "gateway/answer.h"
#include "gateway/recall.h"
#include "gateway/session.h"

#define CHUNK_FRONT 8                /* "10000" and its line end */
#define CHUNK_BACK 2                 /* the line end behind the data */
#define FLUSH_NS (10 * VV_MS)        /* of an answer whose length is known */
#define TURN_BYTES (128u * 1024u)    /* of input: then the others have their turn */
#define OWN_BYTES_MAX (256u * 1024u) /* of an answer that is encoded in one go */
#define HEAD_ROOM 96                 /* "Content-Encoding", "Vary", "W/" */

struct vv_shape {
    struct vv_exchange *x;
    struct vv_encoder *encoder;
    struct vv_buf *block; /* being filled; NULL: none */
    uint64_t in_left;     /* UINT64_MAX: not known */
    uint64_t in_bytes, out_bytes;
    size_t turn_bytes;
    enum vv_encoding encoding;
    bool filled;   /* a block was full: the next one is large */
    bool dirty;    /* the encoder has taken what the client cannot decode yet */
    bool given;    /* a block lies in the batch that has not left */
    bool finished; /* the stream is complete */
    struct vv_defer idle;
    struct vv_timer late;
};

/* ---- deciding ---- */

static bool is_edited(const struct vv_exchange *x, struct vv_str name)
{
    const struct vv_edits *edits = &x->route->answer_edits;
    return edits->count > 0 && vv_edits_have(edits, name);
}

static void add_edits(const struct vv_exchange *x, const struct vv_str *value,
                      struct vv_encoding_facts *facts)
{
    const struct vv_edits *edits = &x->route->answer_edits;
    for (size_t i = 0; i < edits->count; i++) {
        const struct vv_edit *e = &edits->edit[i];
        if (e->value != NULL) {
            vv_encoding_facts_add(facts, (enum vv_field_id)e->id, e->name, value[i]);
        }
    }
}

/* What the answer will say of itself when the route's edits have been made. */
static struct vv_encoding_facts final_facts(const struct vv_exchange *x,
                                            const struct vv_h1_head *head,
                                            const struct vv_str *edit_value)
{
    if (x->route->answer_edits.count == 0) {
        return vv_encoding_facts_of(head);
    }
    struct vv_encoding_facts facts = {.status = head->status,
                                      .length = head->has_content_length ? head->content_length
                                                                         : UINT64_MAX};
    for (uint32_t i = 0; i < head->fields_count; i++) {
        const struct vv_h1_field *f = &head->fields[i];
        if (!is_edited(x, f->name)) {
            vv_encoding_facts_add(&facts, (enum vv_field_id)f->id, f->name, f->value);
        }
    }
    add_edits(x, edit_value, &facts);
    return facts;
}

/* Does If-None-Match name the tag as it is, without "W/"? Then the client holds the bytes unchanged. */
static bool names_strong(const struct vv_h1_head *req, struct vv_str tag)
{
    for (uint32_t i = 0; i < req->fields_count; i++) {
        const struct vv_str v = req->fields[i].value;
        if (req->fields[i].id != VV_FIELD_IF_NONE_MATCH) {
            continue;
        }
        for (size_t at = 0; at + tag.n <= v.n; at++) {
            const bool weak = at >= 2 && v.p[at - 2] == 'W' && v.p[at - 1] == '/';
            if (!weak && memcmp(v.p + at, tag.p, tag.n) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* A 304 speaks of the 200 the client has: the same Vary, and the tag in the form that it was sent in. */
static void not_modified(const struct vv_exchange *x, const struct vv_h1_head *head,
                         const struct vv_encoding_facts *facts, struct vv_shaping *s)
{
    const struct vv_encoding_rules *rules = &x->route->compress->rules;
    const struct vv_recall *r = x->recall;
    if (facts->encoded || facts->no_transform || rules->prefer_count == 0) {
        return;
    }
    if (r != NULL && r->role == VV_RECALL_HIT && r->object != NULL) {
        s->vary = vv_stored_meta(r->object)->compressible;
    } else {
        s->vary = facts->type.n == 0 || vv_encoding_type_fits(rules, facts->type);
    }
    const struct vv_h1_field *tag = vv_h1_find(head, VV_FIELD_ETAG);
    s->weak = s->vary && tag != NULL && vv_shape_asked(x) && !names_strong(&x->req, tag->value);
}

/* ---- the stream ---- */

static vv_series series_of(struct vv_worker *w, enum vv_metric id, enum vv_encoding encoding)
{
    return vv_metrics_series(w->metrics, id, &vv_encodings[encoding].name, 1);
}

static void count(const struct vv_shape *sh)
{
    struct vv_worker *w = sh->x->w;
    if (w->s_encoded_in[sh->encoding] == 0) { /* interning takes a lock: once */
        w->s_encoded_in[sh->encoding] = series_of(w, VV_METRIC_COMPRESS_IN, sh->encoding);
        w->s_encoded_out[sh->encoding] = series_of(w, VV_METRIC_COMPRESS_OUT, sh->encoding);
    }
    vv_metric_add(w->shard, w->s_encoded_in[sh->encoding], sh->in_bytes);
    vv_metric_add(w->shard, w->s_encoded_out[sh->encoding], sh->out_bytes);
}

/* The block becomes a chunk of the answer. */
static bool give(struct vv_shape *sh)
{
    struct vv_exchange *x = sh->x;
    struct vv_buf *b = sh->block;
    const size_t n = b->end - CHUNK_FRONT;
    if (n == 0) {
        return true;
    }
    b->start = CHUNK_FRONT;
    if (x->framing == VV_ANSWER_CHUNKED) {
        char line[24];
        const size_t line_n = vv_h1_chunk_head(line, n);
        b->start -= (uint32_t)line_n;
        memcpy(b->data + b->start, line, line_n);
        memcpy(b->data + b->end, "\r\n", CHUNK_BACK);
        b->end += CHUNK_BACK;
    }
    if (!vv_out_give(&x->session->out, b)) {
        return false;
    }
    sh->block = NULL;
    sh->given = true;
    sh->out_bytes += n;
    x->bytes_out += n;
    return true;
}

static bool fresh_block(struct vv_shape *sh)
{
    const bool large = sh->filled || (sh->in_left != UINT64_MAX && sh->in_left > VV_BUF_SMALL);
    sh->block = vv_buf_get(&sh->x->w->bufs, large ? VV_BUF_LARGE : VV_BUF_SMALL);
    if (sh->block == NULL) {
        return false;
    }
    sh->block->start = sh->block->end = CHUNK_FRONT;
    return true;
}

static bool encode(struct vv_shape *sh, struct vv_str in, enum vv_encoder_op op)
{
    for (;;) {
        if (sh->block == NULL && !fresh_block(sh)) {
            return false;
        }
        struct vv_buf *b = sh->block;
        size_t n = 0;
        if (vv_buf_room(b) <= CHUNK_BACK) { /* the last run filled it to the brim */
            if (!give(sh)) {
                return false;
            }
            continue;
        }
        const enum vv_err err = vv_encoder_feed(sh->encoder, &in, op, b->data + b->end,
                                                vv_buf_room(b) - CHUNK_BACK, &n);
        b->end += (uint32_t)n;
        if (err == VV_OK) {
            break;
        }
        sh->filled = true;
        if (err != VV_EAGAIN || !give(sh)) {
            return false;
        }
    }
    sh->dirty = op == VV_ENCODER_MORE;
    sh->finished = op == VV_ENCODER_FINISH;
    return op == VV_ENCODER_MORE || give(sh);
}

/* The client gets what there is. */
static void flush(struct vv_shape *sh)
{
    struct vv_exchange *x = sh->x;
    if (x->body_done) {
        return; /* all of it is on its way already */
    }
    if (sh->dirty && !encode(sh, (struct vv_str){NULL, 0}, VV_ENCODER_FLUSH)) {
        vv_exchange_end(x, VV_REASON_NO_MEMORY);
        return;
    }
    sh->given = false;
    if (!x->session
             ->blocked) { /* else it leaves with the batch, and drained() is called for that */
        (void)vv_answer_send(x);
    }
}

static void on_idle(struct vv_loop *loop, struct vv_defer *d)
{
    (void)loop;
    flush(VV_CONTAINER(d, struct vv_shape, idle));
}

static void on_late(struct vv_loop *loop, struct vv_timer *t)
{
    (void)loop;
    flush(VV_CONTAINER(t, struct vv_shape, late));
}

/* False: no encoder is to be had; the answer goes out as it is. */
static bool start(struct vv_exchange *x, enum vv_encoding encoding, uint64_t length)
{
    struct vv_shape *sh = vv_arena_zalloc(&x->arena, sizeof *sh);
    if (sh == NULL || vv_encoder_begin(&x->w->encoders, encoding, x->route->compress->level, length,
                                       &sh->encoder) != VV_OK) {
        return false;
    }
    sh->x = x;
    sh->encoding = encoding;
    sh->in_left = length;
    sh->idle.fn = on_idle;
    vv_list_init(&sh->idle.node);
    vv_timer_init(&sh->late, on_late);
    x->shape = sh;
    return true;
}

static struct vv_shaping decide(struct vv_exchange *x, const struct vv_encoding_facts *facts)
{
    struct vv_shaping s = {.encoding = VV_ENCODING_IDENTITY};
    const struct vv_encoding_verdict verdict =
        vv_encoding_decide(&x->route->compress->rules, &x->req, facts);
    s.vary = verdict.vary;
    /* A client of HTTP/1.0 would have to take the end of the connection for the end of the body. */
    if (verdict.encoding == VV_ENCODING_IDENTITY || x->req.minor == 0) {
        return s;
    }
    if (x->req.method != VV_METHOD_HEAD && !start(x, verdict.encoding, facts->length)) {
        return s;
    }
    s.encoding = verdict.encoding;
    s.weak = true;
    return s;
}

static bool applies(const struct vv_exchange *x)
{
    return x->route != NULL && x->route->compress != NULL && !x->session->detached;
}

struct vv_shaping vv_shape_begin(struct vv_exchange *x, const struct vv_h1_head *head,
                                 const struct vv_str *edit_value)
{
    struct vv_shaping s = {.encoding = VV_ENCODING_IDENTITY};
    if (!applies(x)) {
        return s;
    }
    const struct vv_encoding_facts facts = final_facts(x, head, edit_value);
    if (head->status == 304) {
        not_modified(x, head, &facts, &s);
    } else {
        s = decide(x, &facts);
    }
    if (s.vary) {
        s.bytes = HEAD_ROOM;
        for (uint32_t i = 0; i < head->fields_count;
             i++) { /* merging may put a space behind a comma */
            s.bytes += head->fields[i].id == VV_FIELD_VARY ? head->fields[i].value.n : 0;
        }
    }
    return s;
}

struct vv_shaping vv_shape_begin_own(struct vv_exchange *x, int status,
                                     const struct vv_field *field, size_t field_count,
                                     const struct vv_str *edit_value, uint64_t length)
{
    struct vv_shaping s = {.encoding = VV_ENCODING_IDENTITY};
    if (!applies(x) || x->action != &vv_action_respond || x->reason != VV_REASON_NONE ||
        length > OWN_BYTES_MAX) {
        return s;
    }
    struct vv_encoding_facts facts = {.status = status, .length = length};
    for (size_t i = 0; i < field_count; i++) {
        if (!is_edited(x, field[i].name)) {
            vv_encoding_facts_add(&facts, vv_field_lookup(field[i].name), field[i].name,
                                  field[i].value);
        }
    }
    add_edits(x, edit_value, &facts);
    s = decide(x, &facts);
    s.bytes = s.vary ? HEAD_ROOM : 0;
    return s;
}

bool vv_shape_take(struct vv_exchange *x, struct vv_str bytes)
{
    struct vv_shape *sh = x->shape;
    enum vv_encoder_op op = VV_ENCODER_MORE;
    if (sh->finished) {
        return false; /* more than was announced */
    }
    sh->in_bytes += bytes.n;
    sh->turn_bytes += bytes.n;
    if (sh->in_left != UINT64_MAX) {
        sh->in_left -= vv_min_u64(bytes.n, sh->in_left);
        op = sh->in_left == 0 ? VV_ENCODER_FINISH : VV_ENCODER_MORE;
    }
    return encode(sh, bytes, op);
}

void vv_shape_pause(struct vv_exchange *x, bool *ret_hold)
{
    struct vv_shape *sh = x->shape;
    *ret_hold = !sh->given;
    sh->given = false;
    if (sh->in_left == UINT64_MAX) {
        vv_loop_defer(x->w->loop, &sh->idle);
    } else if (!sh->late.armed) {
        vv_loop_timer_at(x->w->loop, &sh->late, vv_worker_now(x->w) + FLUSH_NS);
    }
}

bool vv_shape_tired(struct vv_exchange *x)
{
    if (x->shape->turn_bytes < TURN_BYTES) {
        return false;
    }
    x->shape->turn_bytes = 0;
    return true;
}

bool vv_shape_finish(struct vv_exchange *x)
{
    struct vv_shape *sh = x->shape;
    if (!sh->finished && !encode(sh, (struct vv_str){NULL, 0}, VV_ENCODER_FINISH)) {
        return false;
    }
    return sh->in_left == 0 || sh->in_left == UINT64_MAX;
}

void vv_shape_end(struct vv_exchange *x)
{
    struct vv_shape *sh = x->shape;
    if (sh == NULL) {
        return;
    }
    x->shape = NULL;
    vv_loop_defer_stop(&sh->idle);
    vv_loop_timer_stop(x->w->loop, &sh->late);
    vv_buf_put(&x->w->bufs, sh->block);
    vv_encoder_end(&x->w->encoders, sh->encoder);
    count(sh);
}
