/* src/gateway/answer.c - builds answer heads straight into the batch that will be written: one pass over
 * the fields, one copy of each byte. */
#include "gateway/answer.h"
#include "gateway/admit.h"
#include "gateway/answer_more.h"
#include "gateway/fallback.h"
#include "gateway/grpc.h"
#include "gateway/recall.h"
#include "gateway/session.h"
#include "gateway/shape.h"

#define ANSWER_ROOM 512    /* status line and the fields added here */
#define COPY_BODY_MAX 8192 /* a small body is copied, so that its exchange can end at once */
#define VIA "1.1 vivace"
#define QUOTA_EXCEEDED "https://iana.org/assignments/http-problem-types#quota-exceeded"

static void put_status(struct vv_writer *w, int status, struct vv_str reason)
{
    vv_put(w, VV_STR("HTTP/1.1 "));
    vv_put_u64(w, (uint64_t)status);
    *w->at++ = ' ';
    vv_put(w, reason);
    *w->at++ = '\r';
    *w->at++ = '\n';
}

static bool bodyless(const struct vv_exchange *x, int status)
{
    return x->req.method == VV_METHOD_HEAD || status == 204 || status == 304 || status < 200;
}

/* Decides how the body is framed towards this client, and whether the connection can be kept. */
static void choose_framing(struct vv_exchange *x, int status, uint64_t length)
{
    const struct vv_session *s = x->session;
    if (status == 101) {
        x->framing = VV_ANSWER_CLOSE;
        x->close = true;
        return;
    }
    if (bodyless(x, status)) {
        x->framing = VV_ANSWER_NONE;
    } else if (length != VV_LENGTH_UNKNOWN) {
        x->framing = VV_ANSWER_LENGTH;
        x->answer_left = length;
    } else if (s->conn != NULL) {
        x->framing = VV_ANSWER_STREAM;
    } else if (x->req.minor == 0 || x->sink != NULL) {
        x->framing = VV_ANSWER_CLOSE;
        x->close = true;
    } else {
        x->framing = VV_ANSWER_CHUNKED;
    }
    if (s->conn != NULL) {
        return; /* a stream says nothing about its connection */
    }
    if (!s->body.done && (x->waiting_continue || !vv_session_can_discard(s))) {
        x->close = true;
    }
    if (s->w->draining || s->listener->stopped) {
        x->close = true;
    }
}

void vv_answer_put_connection(struct vv_writer *w, const struct vv_exchange *x)
{
    if (x->session->conn != NULL) {
        return;
    }
    if (x->status == 101) {
        vv_put(w, VV_STR("Connection: upgrade\r\n"));
    } else if (x->close) {
        vv_put(w, VV_STR("Connection: close\r\n"));
    } else if (x->req.minor == 0) {
        vv_put(w, VV_STR("Connection: keep-alive\r\n"));
    }
}

static const struct vv_edits *answer_edits(const struct vv_exchange *x)
{
    return x->route != NULL ? &x->route->answer_edits : &x->rt->answer_edits;
}

static void put_length(struct vv_writer *w, const struct vv_exchange *x, uint64_t length)
{
    if (x->framing == VV_ANSWER_CHUNKED) {
        vv_put(w, VV_STR("Transfer-Encoding: chunked\r\n"));
    } else if (length != VV_LENGTH_UNKNOWN && x->status != 204 && x->status >= 200) {
        vv_put(w, VV_STR("Content-Length: "));
        vv_put_u64(w, length);
        vv_put(w, VV_STR("\r\n"));
    }
}

/* Vary with one more member: in a line of its own where the route writes the others. */
static void put_vary(struct vv_writer *w, const struct vv_exchange *x,
                     const struct vv_h1_head *head, const struct vv_str *edit_value)
{
    static const struct vv_str name = {"Accept-Encoding", 15};
    const struct vv_edits *edits = answer_edits(x);
    bool has = false;
    bool edited = false;
    for (size_t i = 0; i < edits->count; i++) {
        if (edits->edit[i].id == VV_FIELD_VARY) {
            edited = true;
            has |= edits->edit[i].value != NULL && (vv_h1_list_has(edit_value[i], name) ||
                                                    vv_h1_list_has(edit_value[i], VV_STR("*")));
        }
    }
    if (has) {
        return;
    }
    vv_put(w, VV_STR("Vary: "));
    if (edited || head == NULL) {
        vv_put(w, name);
    } else {
        w->at += vv_vary_merge(head, name, w->at, SIZE_MAX / 2);
    }
    vv_put(w, VV_STR("\r\n"));
}

static void put_shaping(struct vv_writer *w, const struct vv_exchange *x,
                        const struct vv_shaping *shaping, const struct vv_h1_head *head,
                        const struct vv_str *edit_value)
{
    if (shaping->encoding != VV_ENCODING_IDENTITY) {
        vv_put_field(w, VV_STR("Content-Encoding"), vv_encodings[shaping->encoding].name);
    }
    if (shaping->vary) {
        put_vary(w, x, head, edit_value);
    }
}

static void put_common(struct vv_writer *w, struct vv_exchange *x, bool has_date, bool has_id,
                       bool has_cache_control, uint64_t length)
{
    if (!has_date) {
        vv_put_field(w, VV_STR("Date"), vv_worker_date(x->w));
    }
    if (!has_id) {
        vv_put_field(w, VV_STR("X-Request-Id"), x->id);
    }
    if (!has_cache_control && x->route != NULL && x->route->cache_control.p != NULL &&
        x->status < 400) {
        vv_put_field(w, VV_STR("Cache-Control"), x->route->cache_control);
    }
    if (x->set_cookie.n > 0) {
        vv_put_field(w, VV_STR("Set-Cookie"), x->set_cookie);
    }
    put_length(w, x, length);
    vv_recall_put_fields(w, x);
    if (vv_answer_has_more(x)) {
        vv_answer_more_put(w, x);
    }
    vv_answer_put_connection(w, x);
}

/* Is the route's Cache-Control written in the place of any other? Not for errors: ours say no-store. */
static bool cache_control_is_ours(const struct vv_exchange *x, int status)
{
    return status < 400 && x->route != NULL && x->route->cache_control_whole;
}

static void head_begins(struct vv_exchange *x, int status)
{
    x->status = status;
    x->head_sent = true;
    if (x->first_byte_ns == 0) {
        x->first_byte_ns = vv_worker_now(x->w);
    }
}

static bool no_room(struct vv_exchange *x)
{
    x->head_sent = false;
    vv_exchange_end(x, VV_REASON_NO_MEMORY);
    return false;
}

bool vv_answer_head(struct vv_exchange *x, int status, const struct vv_field *field, size_t count,
                    uint64_t length)
{
    const struct vv_edits *edits = answer_edits(x);
    struct vv_str *value = NULL;
    size_t bytes = ANSWER_ROOM + x->id.n + x->set_cookie.n;
    if (vv_edits_render(x, edits, &value, &bytes) != VV_OK) {
        return no_room(x);
    }
    for (size_t i = 0; i < count; i++) {
        bytes += field[i].name.n + field[i].value.n + 4;
    }
    if (x->route != NULL) {
        bytes += x->route->cache_control.n + 20;
    }
    const struct vv_shaping shaping = vv_shape_begin_own(x, status, field, count, value, length);
    if (shaping.encoding != VV_ENCODING_IDENTITY) {
        length = VV_LENGTH_UNKNOWN;
    }
    bytes += shaping.bytes + vv_recall_fields_bytes(x) + vv_answer_more_bytes(x);
    choose_framing(x, status, length);
    struct vv_session *s = x->session;
    struct vv_writer w = {vv_out_reserve(&s->out, &x->w->bufs, bytes)};
    const char *start = w.at;
    if (start == NULL) {
        return no_room(x);
    }
    head_begins(x, status);
    bool has_cache_control = vv_edits_have(edits, VV_STR("Cache-Control"));
    put_status(&w, status, vv_str_from(vv_h1_reason(status)));
    for (size_t i = 0; i < count; i++) {
        const bool control = vv_str_eq_nocase(field[i].name, VV_STR("Cache-Control"));
        if ((control && cache_control_is_ours(x, status)) ||
            (edits->count > 0 && vv_edits_have(edits, field[i].name))) {
            continue;
        }
        has_cache_control |= control;
        vv_put_field(&w, field[i].name, field[i].value);
    }
    vv_edits_put(&w, edits, value);
    put_shaping(&w, x, &shaping, NULL, value);
    put_common(&w, x, vv_edits_have(edits, VV_STR("Date")),
               vv_edits_have(edits, VV_STR("X-Request-Id")), has_cache_control, length);
    vv_put(&w, VV_STR("\r\n"));
    vv_session_commit_head(s, (size_t)(w.at - start));
    return true;
}

void vv_answer_begin(struct vv_exchange *x, int status, uint64_t length)
{
    choose_framing(x, status, length);
    head_begins(x, status);
}

/* Could another client have been sent this block's body in a coding? */
static bool stored_varies(const struct vv_exchange *x, struct vv_str block)
{
    const struct vv_recall *r = x->recall;
    struct vv_stored_meta copy;
    const struct vv_stored_meta *meta = &copy;
    if (r == NULL || x->route->compress == NULL) {
        return false;
    }
    if (r->role == VV_RECALL_HIT) {
        meta = vv_stored_meta(r->object);
        VV_ASSERT(vv_cache_head(r->object).p == block.p);
    } else {
        struct vv_str bytes;
        struct vv_str head;
        if (r->fill == NULL || vv_cache_fill_get_head(r->fill, &bytes, &head) != VV_OK) {
            return false;
        }
        memcpy(&copy, bytes.p, sizeof copy); /* there it lies as it comes */
    }
    return meta->compressible && meta->encoding == VV_ENCODING_IDENTITY;
}

bool vv_answer_head_stored(struct vv_exchange *x, int status, struct vv_str block, uint64_t length)
{
    vv_answer_begin(x, status, length);
    struct vv_session *s = x->session;
    const struct vv_edits *edits = &x->route->answer_edits;
    const struct vv_str fixed = edits->fixed[x->https];
    const size_t bytes = ANSWER_ROOM + block.n + x->id.n + vv_recall_fields_bytes(x) + fixed.n +
                         vv_answer_more_bytes(x);
    struct vv_writer w = {vv_out_reserve(&s->out, &x->w->bufs, bytes)};
    const char *start = w.at;
    if (start == NULL) {
        return no_room(x);
    }
    if (edits->count == 0) {
        vv_put(&w, block);
    } else {
        vv_edits_put_block(&w, edits, block);
        vv_put(&w, fixed);
    }
    if (stored_varies(x, block)) {
        vv_put(&w, VV_STR("Vary: Accept-Encoding\r\n"));
    }
    vv_put(&w, VV_STR("Via: " VIA "\r\nX-Request-Id: "));
    vv_put(&w, x->id);
    vv_put(&w, VV_STR("\r\n"));
    put_length(&w, x, length);
    vv_recall_put_fields(&w, x);
    if (vv_answer_has_more(x)) {
        vv_answer_more_put(&w, x);
    }
    vv_answer_put_connection(&w, x);
    vv_put(&w, VV_STR("\r\n"));
    vv_session_commit_head(s, (size_t)(w.at - start));
    return true;
}

static size_t fields_bytes(const struct vv_h1_head *head)
{
    size_t bytes = head->reason.n;
    for (uint32_t i = 0; i < head->fields_count; i++) {
        bytes += head->fields[i].name.n + head->fields[i].value.n + 4;
    }
    return bytes;
}

struct written { /* fields that need not be added */
    bool date, id, cache_control;
};

/* Is this field of an upstream's left out, or written in another way below? */
static bool replaced(const struct vv_exchange *x, const struct vv_h1_field *f,
                     const struct vv_shaping *shaping)
{
    switch (f->id) {
    case VV_FIELD_CONTENT_LENGTH:
        return true;
    case VV_FIELD_AGE:
        return vv_recall_writes_age(x);
    case VV_FIELD_CACHE_CONTROL:
        return cache_control_is_ours(x, x->status);
    case VV_FIELD_VARY:
        return shaping->vary;
    case VV_FIELD_ACCEPT_RANGES:
        return shaping->encoding != VV_ENCODING_IDENTITY;
    default:
        return f->hop;
    }
}

static void put_fields(struct vv_writer *w, const struct vv_exchange *x,
                       const struct vv_h1_head *head, const struct vv_shaping *shaping,
                       struct written *ret)
{
    const struct vv_edits *edits = answer_edits(x);
    for (uint32_t i = 0; i < head->fields_count; i++) {
        const struct vv_h1_field *f = &head->fields[i];
        if (replaced(x, f, shaping) || (edits->count > 0 && vv_edits_have(edits, f->name))) {
            if (head->status == 101 && f->id == VV_FIELD_UPGRADE) {
                vv_put_field(w, f->name, f->value);
            }
            continue;
        }
        ret->date |= f->id == VV_FIELD_DATE;
        ret->id |= f->id == VV_FIELD_X_REQUEST_ID;
        ret->cache_control |= f->id == VV_FIELD_CACHE_CONTROL;
        if (f->id == VV_FIELD_ETAG && shaping->weak) {
            vv_put(w, VV_STR("ETag: "));
            vv_put(w, vv_encoding_etag_prefix(f->value));
            vv_put(w, f->value);
            vv_put(w, VV_STR("\r\n"));
            continue;
        }
        vv_put_field(w, f->name, f->value);
    }
}

bool vv_answer_head_from(struct vv_exchange *x, const struct vv_h1_head *head)
{
    const struct vv_edits *edits = answer_edits(x);
    struct vv_str *value = NULL;
    /* Head and fields lie in one block of head_bytes, so that bounds them without a walk. */
    size_t bytes = ANSWER_ROOM + x->id.n + x->set_cookie.n + head->head_bytes +
                   head->fields_count * 2 + vv_recall_fields_bytes(x) + vv_answer_more_bytes(x) +
                   (x->route != NULL ? x->route->cache_control.n : 0);
    if (vv_edits_render(x, edits, &value, &bytes) != VV_OK) {
        return no_room(x);
    }
    const bool length_known =
        head->framing == VV_H1_BODY_LENGTH || head->framing == VV_H1_BODY_NONE;
    uint64_t length = length_known ? head->content_length : VV_LENGTH_UNKNOWN;
    const struct vv_shaping shaping = vv_shape_begin(x, head, value);
    const bool encoded = shaping.encoding != VV_ENCODING_IDENTITY;
    choose_framing(x, head->status, encoded ? VV_LENGTH_UNKNOWN : length);
    if (encoded || (x->framing == VV_ANSWER_NONE && !head->has_content_length)) {
        length = VV_LENGTH_UNKNOWN; /* HEAD and 304 repeat a length only when the server gave one */
    }
    struct vv_session *s = x->session;
    struct vv_writer w = {vv_out_reserve(&s->out, &x->w->bufs, bytes + shaping.bytes)};
    const char *start = w.at;
    if (start == NULL) {
        return no_room(x);
    }
    head_begins(x, head->status);
    struct written has = {false, false, false};
    put_status(&w, head->status, head->reason);
    put_fields(&w, x, head, &shaping, &has);
    if (edits->count == 0 || !vv_edits_have(edits, VV_STR("Via"))) {
        vv_put(&w, VV_STR("Via: " VIA "\r\n"));
    }
    if (edits->count > 0) {
        has.date |= vv_edits_have(edits, VV_STR("Date"));
        has.id |= vv_edits_have(edits, VV_STR("X-Request-Id"));
        has.cache_control |= vv_edits_have(edits, VV_STR("Cache-Control"));
        vv_edits_put(&w, edits, value);
    }
    put_shaping(&w, x, &shaping, head, value);
    put_common(&w, x, has.date, has.id, has.cache_control, length);
    vv_put(&w, VV_STR("\r\n"));
    vv_session_commit_head(s, (size_t)(w.at - start));
    return true;
}

bool vv_answer_interim(struct vv_exchange *x, const struct vv_h1_head *head)
{
    struct vv_session *s = x->session;
    struct vv_writer w = {vv_out_reserve(&s->out, &x->w->bufs, ANSWER_ROOM + fields_bytes(head))};
    const char *start = w.at;
    if (start == NULL) {
        return no_room(x);
    }
    put_status(&w, head->status, head->reason);
    for (uint32_t i = 0; i < head->fields_count; i++) {
        if (!head->fields[i].hop) {
            vv_put_field(&w, head->fields[i].name, head->fields[i].value);
        }
    }
    vv_put(&w, VV_STR("\r\n"));
    vv_session_commit_head(s, (size_t)(w.at - start));
    if (head->status == 100 && x->waiting_continue) {
        x->waiting_continue = false;
        vv_body_wait(x);
    }
    return true;
}

bool vv_answer_body(struct vv_exchange *x, struct vv_str bytes)
{
    struct vv_out *o = &x->session->out;
    if (bytes.n == 0 || x->framing == VV_ANSWER_NONE) {
        return true;
    }
    if (x->shape != NULL) {
        return vv_shape_take(x, bytes);
    }
    if (x->framing == VV_ANSWER_CHUNKED) {
        if (o->count + 4 > VV_OUT_PIECES) {
            return false;
        }
        char *to = vv_out_reserve(o, &x->w->bufs, 24);
        if (to == NULL) {
            return false;
        }
        vv_out_commit(o, vv_h1_chunk_head(to, bytes.n));
        if (!vv_out_borrow(o, bytes) || !vv_out_copy(o, &x->w->bufs, VV_STR("\r\n"))) {
            return false;
        }
    } else if (!vv_out_borrow(o, bytes)) {
        return false;
    }
    x->bytes_out += bytes.n;
    if (x->framing == VV_ANSWER_LENGTH) {
        VV_ASSERT(bytes.n <= x->answer_left);
        x->answer_left -= bytes.n;
    }
    return true;
}

void vv_answer_file(struct vv_exchange *x, int fd, off_t at, uint64_t bytes)
{
    if (x->framing == VV_ANSWER_NONE || bytes == 0) {
        return;
    }
    VV_ASSERT(x->framing == VV_ANSWER_LENGTH && bytes == x->answer_left);
    vv_out_file(&x->session->out, fd, at, bytes);
    x->answer_left = 0;
    x->bytes_out += bytes;
}

/* The end of a chunked body, with trailers for a client that takes them (RFC 9110 6.5.1). */
static struct vv_str last_chunk(struct vv_exchange *x)
{
    static const struct vv_str bare = {"0\r\n\r\n", 5};
    if (x->trailer_count == 0 || !x->req.te_trailers) {
        return bare;
    }
    struct vv_str text = VV_STR("");
    for (size_t i = 0; i < x->trailer_count; i++) {
        text =
            vv_arena_fmt(&x->arena, VV_STR_FMT VV_STR_FMT ": " VV_STR_FMT "\r\n", VV_STR_ARG(text),
                         VV_STR_ARG(x->trailer[i].name), VV_STR_ARG(x->trailer[i].value));
    }
    text = vv_arena_fmt(&x->arena, "0\r\n" VV_STR_FMT "\r\n", VV_STR_ARG(text));
    return text.p != NULL ? text : bare;
}

void vv_answer_done(struct vv_exchange *x)
{
    if (x->shape != NULL && !x->body_done && !vv_shape_finish(x)) {
        x->close = true; /* the stream is not complete, nor will the body look so */
    } else if (x->framing == VV_ANSWER_CHUNKED && !x->body_done) {
        if (!vv_out_copy(&x->session->out, &x->w->bufs, last_chunk(x))) {
            x->close =
                true; /* no room for five bytes: the client sees a cut body, never a short one */
        }
    }
    x->body_done = true;
}

/* The worker's other clients have their turn; then drained() goes on. */
static enum vv_err yield(struct vv_exchange *x)
{
    x->session->blocked = true;
    vv_loop_defer(x->w->loop, &x->session->again);
    return VV_EAGAIN;
}

enum vv_err vv_answer_flush(struct vv_exchange *x)
{
    bool hold = false;
    if (x->shape == NULL || x->body_done) {
        return vv_answer_send(x);
    }
    vv_shape_pause(x, &hold);
    const enum vv_err err = hold ? VV_OK : vv_answer_send(x);
    return err == VV_OK && vv_shape_tired(x) ? yield(x) : err;
}

enum vv_err vv_answer_send(struct vv_exchange *x)
{
    const enum vv_err err = vv_session_flush(x->session);
    if (err == VV_OK && x->body_done) {
        vv_exchange_end(x, VV_REASON_NONE);
    } else if (err != VV_OK && err != VV_EAGAIN) {
        vv_exchange_end(x, VV_REASON_CLIENT_CLOSED);
    }
    return err;
}

void vv_answer_simple(struct vv_exchange *x, int status, const struct vv_field *field, size_t count,
                      struct vv_str body)
{
    if (!vv_answer_head(x, status, field, count, body.n)) {
        return;
    }
    struct vv_session *s = x->session;
    if (body.n <= COPY_BODY_MAX && x->shape == NULL) {
        if (x->framing == VV_ANSWER_LENGTH) {
            if (!vv_out_copy(&s->out, &x->w->bufs, body)) {
                vv_exchange_end(x, VV_REASON_NO_MEMORY);
                return;
            }
            x->bytes_out += body.n;
            x->answer_left = 0;
        }
        x->body_done = true;
        vv_exchange_end(x, VV_REASON_NONE);
        return;
    }
    if (!vv_answer_body(x, body)) {
        vv_exchange_end(x, VV_REASON_NO_MEMORY);
        return;
    }
    vv_answer_done(x);
    (void)vv_answer_flush(x);
}

static struct vv_str problem_body(struct vv_exchange *x, int status, enum vv_reason reason)
{
    const struct vv_reason_info *why = &vv_reasons[reason];
    const char *title = vv_h1_reason(status);
    if (x->refused != NULL) {
        return vv_arena_fmt(&x->arena,
                            "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"detail\":"
                            "\"%s (%s)\",\"reason\":\"%s\",\"request_id\":\"" VV_STR_FMT "\"}\n",
                            title, status, x->refused->text, x->refused->section, x->refused->id,
                            VV_STR_ARG(x->id));
    }
    const bool limited = reason == VV_REASON_LIMITED;
    const struct vv_str violated = limited ? vv_admit_violated(x) : VV_STR("");
    return vv_arena_fmt(&x->arena,
                        "{\"type\":\"%s\",\"title\":\"%s\",\"status\":%d,\"detail\":"
                        "\"%s\",\"reason\":\"%s\"%s" VV_STR_FMT "%s,\"request_id\":\"" VV_STR_FMT
                        "\"}\n",
                        limited ? QUOTA_EXCEEDED : "about:blank", title, status, why->text,
                        why->name, limited ? ",\"violated-policies\":[" : "", VV_STR_ARG(violated),
                        limited ? "]" : "", VV_STR_ARG(x->id));
}

void vv_answer_error(struct vv_exchange *x, enum vv_reason reason)
{
    const struct vv_reason_info *why = &vv_reasons[reason];
    const int status = x->refused != NULL            ? x->refused->status
                       : reason == VV_REASON_LIMITED ? vv_admit_status(x)
                                                     : why->status;
    x->reason = reason;
    if (x->head_sent || status == 0) {
        vv_exchange_end(x, reason);
        return;
    }
    if (x->action != NULL && x->action->cancel != NULL) {
        x->action->cancel(x);
        x->action = NULL;
    }
    if (status > 500 && reason != VV_REASON_LIMITED && x->route != NULL &&
        x->route->conf->fallback.kind != VV_FALLBACK_NONE && vv_fallback(x, reason, 0)) {
        return;
    }
    if (vv_grpc_answer_error(x, status, reason)) {
        return;
    }
    const struct vv_str body = problem_body(x, status, reason);
    if (body.p == NULL) {
        vv_exchange_end(x, VV_REASON_NO_MEMORY);
        return;
    }
    struct vv_field field[4] = {{VV_STR("Content-Type"), VV_STR("application/problem+json")},
                                {VV_STR("Cache-Control"), VV_STR("no-store")}};
    size_t count = 2;
    if (status == 405 && x->allow.p != NULL) {
        field[count++] = (struct vv_field){VV_STR("Allow"), x->allow};
    }
    const struct vv_str retry = vv_answer_retry_after(x, status);
    if (retry.n > 0) {
        field[count++] = (struct vv_field){VV_STR("Retry-After"), retry};
    }
    vv_answer_simple(x, status, field, count, body);
}
