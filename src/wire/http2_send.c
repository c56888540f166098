/* src/wire/http2_send.c - heads, content and trailers on their way out, gathered from many streams.
 *
 * nghttp2 decides which stream's content goes next (RFC 9218) and frames it; the bytes themselves
 * are referenced, not copied, above VV_H2_COPY_MAX. Below, one copy is cheaper than another slice
 * in the list, lets TLS make one record of many frames and frees the caller's memory at once.
 * Heads are copied (a hundred bytes each after HPACK), unless the stage is full. */
#include "wire/http1_int.h"
#include "wire/http2_int.h"

#define GATHER_BYTES_MAX (256 * VV_KIB) /* more would only let a late urgent stream wait */
#define NV_MAX (VV_H1_FIELDS_MAX + 8)

static struct vv_h2_inner *inner(struct vv_h2_stream *s)
{
    return (struct vv_h2_inner *)(void *)s;
}

/* ---- content */

ssize_t vv_h2_read_body(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length,
                        uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct vv_h2_inner *s = source->ptr;
    (void)buf;
    (void)user;
    if (s->queued == 0 && !s->done) {
        s->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    const size_t n = s->queued < length ? s->queued : length;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (s->done && n == s->queued) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (s->trailer != NULL) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            if (nghttp2_submit_trailer(session, id, s->trailer, s->trailer_count) != 0) {
                return NGHTTP2_ERR_CALLBACK_FAILURE;
            }
        }
    }
    return (ssize_t)n;
}

static void add_slice(struct vv_h2_gather *g, const void *p, size_t n)
{
    g->iov[g->count++] = (struct iovec){(void *)(uintptr_t)p, n};
    g->bytes += n;
}

/* Copies behind what the stage holds; the last slice grows when it ends there. */
static void add_copy(struct vv_h2_gather *g, const void *p, size_t n)
{
    char *at = g->stage + g->used;
    memcpy(at, p, n);
    g->used += n;
    struct iovec *last = g->count > 0 ? &g->iov[g->count - 1] : NULL;
    if (last != NULL && (char *)last->iov_base + last->iov_len == at) {
        last->iov_len += n;
        g->bytes += n;
    } else {
        add_slice(g, at, n);
    }
}

/* Moves n bytes of content into the gather. */
static void take_slices(struct vv_h2_inner *s, struct vv_h2_gather *g, size_t n, bool copy)
{
    s->queued -= n;
    while (n > 0) {
        struct vv_str *slice = &s->slices[s->slice_at];
        const size_t part = slice->n < n ? slice->n : n;
        if (copy) {
            add_copy(g, slice->p, part);
        } else {
            add_slice(g, slice->p, part);
        }
        slice->p += part;
        slice->n -= part;
        n -= part;
        if (slice->n == 0) {
            s->slice_at = (uint8_t)((s->slice_at + 1) % VV_H2_SLICES_MAX);
            s->slice_count--;
        }
    }
}

int vv_h2_send_body(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header,
                    size_t length, nghttp2_data_source *source, void *user)
{
    enum { HEADER_BYTES = 9 };
    struct vv_h2 *c = user;
    struct vv_h2_inner *s = source->ptr;
    struct vv_h2_gather *g = c->g;
    (void)session;
    (void)frame;
    const size_t room = g->stage_bytes - g->used;
    const bool copy = length <= VV_H2_COPY_MAX && room >= HEADER_BYTES + length;
    const bool full = g->bytes >= GATHER_BYTES_MAX || room < HEADER_BYTES ||
                      g->count + s->slice_count + 2U > VV_H2_IOV_MAX - 1 ||
                      (!copy && length <= VV_H2_COPY_MAX && g->bytes > 0);
    if (full) {
        return NGHTTP2_ERR_WOULDBLOCK; /* the same frame again with the next output */
    }
    add_copy(g, header, HEADER_BYTES);
    if (length == 0) {
        return 0;
    }
    take_slices(s, g, length, copy);
    *(copy ? &s->copied : &s->in_gather) += length;
    if (vv_list_empty(&s->gather)) {
        vv_list_push_back(&c->gathered, &s->gather);
    }
    return 0;
}

static void tell_sent(struct vv_h2_inner *s)
{
    const size_t bytes = s->in_gather + s->copied;
    vv_list_del(&s->gather);
    s->in_gather = s->copied = 0;
    if (!s->bad) {
        s->c->events->sent(s->c->user, &s->pub, bytes);
    }
    if (s->closed) {
        vv_h2_finish_close(s);
    }
}

/* all: the gather has left; else only what was copied out of the callers' memory. */
static void release(struct vv_h2 *c, bool all)
{
    VV_LIST_EACH (it, &c->gathered) {
        struct vv_h2_inner *s = VV_LIST_ENTRY(it, struct vv_h2_inner, gather);
        if (all || s->in_gather == 0) {
            tell_sent(s);
        }
    }
}

VV_HOT void vv_h2_output(struct vv_h2 *c, struct vv_h2_gather *g)
{
    VV_ASSERT(!c->busy);
    VV_ASSERT(g->stage_bytes >= 1024);
    c->busy = true;
    release(c, true);
    g->count = 0;
    g->bytes = g->used = 0;
    c->g = g;
    while (!c->broken && g->bytes < GATHER_BYTES_MAX && g->count < VV_H2_IOV_MAX - 1) {
        const uint8_t *p;
        const ssize_t n = nghttp2_session_mem_send(c->session, &p);
        if (VV_UNLIKELY(n < 0)) {
            vv_h2_fail(c, c->memory_over ? VV_H2_WHY_MEMORY : VV_H2_WHY_CODE_INTERNAL);
            c->broken = true;
            break;
        }
        if (n == 0) {
            break;
        }
        if (VV_UNLIKELY((size_t)n > g->stage_bytes - g->used)) {
            add_slice(g, p, (size_t)n); /* stays until the next call of mem_send */
            break;
        }
        add_copy(g, p, (size_t)n);
    }
    release(c, false);
    c->g = NULL;
    c->busy = false;
}

static void resume(struct vv_h2_inner *s)
{
    if (s->deferred) {
        s->deferred = false;
        if (nghttp2_session_resume_data(s->c->session, (int32_t)s->pub.id) == NGHTTP2_ERR_NOMEM) {
            vv_h2_fail(s->c, VV_H2_WHY_MEMORY);
        }
    }
}

enum vv_err vv_h2_body(struct vv_h2_stream *stream, struct vv_str bytes)
{
    struct vv_h2_inner *s = inner(stream);
    if (!s->has_body || s->done) {
        return VV_EINVAL;
    }
    if (s->slice_count == VV_H2_SLICES_MAX) {
        return VV_EAGAIN;
    }
    if (bytes.n == 0 || s->bad) {
        return VV_OK;
    }
    s->slices[(s->slice_at + s->slice_count) % VV_H2_SLICES_MAX] = bytes;
    s->slice_count++;
    s->queued += bytes.n;
    resume(s);
    return VV_OK;
}

void vv_h2_end(struct vv_h2_stream *stream)
{
    struct vv_h2_inner *s = inner(stream);
    if (s->has_body && !s->done) {
        s->done = true;
        resume(s);
    }
}

size_t vv_h2_unsent(const struct vv_h2_stream *s)
{
    const struct vv_h2_inner *i = (const struct vv_h2_inner *)(const void *)s;
    return i->queued + i->in_gather + i->copied;
}

void vv_h2_consumed(struct vv_h2_stream *stream, size_t bytes)
{
    struct vv_h2_inner *s = inner(stream);
    bytes = bytes < s->held ? bytes : s->held;
    s->held -= bytes;
    if (bytes > 0 && !s->closed &&
        nghttp2_session_consume(s->c->session, (int32_t)s->pub.id, bytes) != 0) {
        vv_h2_fail(s->c, VV_H2_WHY_MEMORY);
    }
}

void vv_h2_reset(struct vv_h2_stream *stream, enum vv_h2_code code)
{
    struct vv_h2_inner *s = inner(stream);
    if (s->closed || s->close_why != VV_H2_FINE) {
        return;
    }
    s->bad = true;
    s->close_why = VV_H2_WHY_CALLER;
    s->close_code = (uint32_t)code;
    vv_h2_pool_counts(s->c->pool)->reason[VV_H2_WHY_CALLER]++;
    if (nghttp2_submit_rst_stream(s->c->session, NGHTTP2_FLAG_NONE, (int32_t)s->pub.id,
                                  (uint32_t)code) != 0) {
        vv_h2_fail(s->c, VV_H2_WHY_MEMORY);
    }
}

void vv_h2_prioritise(struct vv_h2_stream *stream, unsigned urgency, bool incremental)
{
    struct vv_h2_inner *s = inner(stream);
    s->urgency = (uint8_t)(urgency < 7 ? urgency : 7);
    s->incremental = incremental;
    vv_h2_apply_priority(s, true);
}

void vv_h2_prioritise_as(struct vv_h2_stream *stream, struct vv_str priority)
{
    struct vv_h2_inner *s = inner(stream);
    if (vv_h2_take_priority(s, priority)) {
        vv_h2_apply_priority(s, true);
    }
}

void vv_h2_apply_priority(struct vv_h2_inner *s, bool ours)
{
    if (s->closed || s->c->client) {
        return;
    }
    const nghttp2_extpri pri = {.urgency = s->urgency, .inc = s->incremental};
    /* Fails for a stream that is gone only. */
    (void)nghttp2_session_change_extpri_stream_priority(s->c->session, (int32_t)s->pub.id, &pri,
                                                        ours);
}

struct vv_str vv_h2_protocol(const struct vv_h2_stream *s)
{
    return ((const struct vv_h2_inner *)(const void *)s)->protocol;
}

/* ---- heads */

/* By length first: most names are none of these at a glance. */
static bool of_connection(struct vv_str name)
{
    switch (name.n) {
    case 7:
        return vv_str_eq_nocase(name, VV_STR("upgrade"));
    case 10:
        return vv_str_eq_nocase(name, VV_STR("connection")) ||
               vv_str_eq_nocase(name, VV_STR("keep-alive"));
    case 16:
        return vv_str_eq_nocase(name, VV_STR("proxy-connection"));
    case 17:
        return vv_str_eq_nocase(name, VV_STR("transfer-encoding"));
    default:
        return false;
    }
}

static nghttp2_nv nv_of(struct vv_str name, struct vv_str value, uint8_t flags)
{
    return (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name.p,
        .value = (uint8_t *)(uintptr_t)(value.p != NULL ? value.p : ""),
        .namelen = name.n,
        .valuelen = value.n,
        .flags = (uint8_t)(flags | NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE),
    };
}

static void lower(char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        p[i] = (char)(p[i] | ((p[i] >= 'A' && p[i] <= 'Z') << 5)); /* no branch */
    }
}

/* Adds the fields to nv, from *at on. */
static enum vv_err put_fields(struct vv_h2_inner *s, nghttp2_nv *nv, size_t *at,
                              const struct vv_h2_field *field, size_t count)
{
    if (count > NV_MAX - *at) {
        return VV_EINVAL;
    }
    for (size_t i = 0; i < count; i++) {
        const struct vv_h2_field *f = &field[i];
        const uint8_t flags =
            (f->flags & VV_H2_SECRET) != 0 ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE;
        if ((f->flags & VV_H2_STABLE) != 0) {
            nv[(*at)++] = nv_of(f->name, f->value, flags);
            continue;
        }
        if (of_connection(f->name)) {
            continue;
        }
        char *copy = vv_h2_text(s, f->name.n + f->value.n);
        if (copy == NULL) {
            return VV_ENOMEM;
        }
        memcpy(copy, f->name.p, f->name.n);
        lower(copy, f->name.n);
        if (f->value.n > 0) {
            memcpy(copy + f->name.n, f->value.p, f->value.n);
        }
        nv[(*at)++] = nv_of((struct vv_str){copy, f->name.n},
                            (struct vv_str){copy + f->name.n, f->value.n}, flags);
    }
    return VV_OK;
}

static bool put_status(struct vv_h2_inner *s, nghttp2_nv *nv, int status)
{
    char *text = vv_h2_text(s, 3);
    if (text == NULL) {
        return false;
    }
    text[0] = (char)('0' + status / 100);
    text[1] = (char)('0' + status / 10 % 10);
    text[2] = (char)('0' + status % 10);
    *nv = nv_of(VV_STR(":status"), (struct vv_str){text, 3}, NGHTTP2_NV_FLAG_NONE);
    return true;
}

/* nv and what it points at stay until HPACK has seen it: in the stream's memory, or stable. */
static enum vv_err submit_answer(struct vv_h2_inner *s, int status, const nghttp2_nv *nv, size_t n,
                                 bool end)
{
    const int32_t id = (int32_t)s->pub.id;
    nghttp2_data_provider body = {.source = {.ptr = s}, .read_callback = vv_h2_read_body};
    int failed;
    if (status < 200) {
        failed = nghttp2_submit_headers(s->c->session, NGHTTP2_FLAG_NONE, id, NULL, nv, n, NULL);
        return failed != 0 ? VV_ENOMEM : VV_OK;
    }
    failed = nghttp2_submit_response(s->c->session, id, nv, n, end ? NULL : &body);
    if (failed != 0) {
        return VV_ENOMEM;
    }
    s->answered = s->done = true;
    if (!end) {
        s->has_body = true;
        s->done = false;
    }
    return VV_OK;
}

static bool may_answer(const struct vv_h2_inner *s, int status)
{
    return !s->c->client && !s->answered && status >= 100 && status <= 599 && status != 101;
}

enum vv_err vv_h2_answer(struct vv_h2_stream *stream, int status, const struct vv_h2_field *field,
                         size_t count, bool end)
{
    struct vv_h2_inner *s = inner(stream);
    nghttp2_nv nv[NV_MAX];
    size_t n = 1;
    if (!may_answer(s, status)) {
        return VV_EINVAL;
    }
    if (s->bad || s->closed) {
        return VV_OK;
    }
    if (!put_status(s, nv, status)) {
        return VV_ENOMEM;
    }
    const enum vv_err err = put_fields(s, nv, &n, field, count);
    return err != VV_OK ? err : submit_answer(s, status, nv, n, end);
}

/* "HTTP/1.1 200 OK\r\nName: value\r\n\r\n", copied as a whole; names become lower case in place. */
static enum vv_err split_text(char *p, const char *end, nghttp2_nv *nv, size_t *at)
{
    while (p < end && *p != '\r') {
        char *colon = memchr(p, ':', (size_t)(end - p));
        char *stop = colon != NULL ? memchr(colon, '\r', (size_t)(end - colon)) : NULL;
        if (stop == NULL || memchr(p, '\r', (size_t)(colon - p)) != NULL || stop + 1 == end ||
            stop[1] != '\n' || *at == NV_MAX) {
            return VV_ESYNTAX;
        }
        char *value = colon + 1;
        while (value < stop && *value == ' ') {
            value++;
        }
        const struct vv_str name = {p, (size_t)(colon - p)};
        if (!of_connection(name)) {
            lower(p, name.n);
            nv[(*at)++] =
                nv_of(name, (struct vv_str){value, (size_t)(stop - value)}, NGHTTP2_NV_FLAG_NONE);
        }
        p = stop + 2;
    }
    return p + 2 == end ? VV_OK : VV_ESYNTAX;
}

enum vv_err vv_h2_answer_text(struct vv_h2_stream *stream, struct vv_str head, bool end)
{
    enum { STATUS_END = 12 }; /* of "HTTP/1.1 200" */
    struct vv_h2_inner *s = inner(stream);
    nghttp2_nv nv[NV_MAX];
    size_t n = 1;
    const char *lf = head.n > STATUS_END ? memchr(head.p, '\n', head.n) : NULL;
    if (lf == NULL || lf - head.p <= STATUS_END || memcmp(head.p, "HTTP/1.", 7) != 0) {
        return VV_ESYNTAX;
    }
    int status = 0;
    for (const char *p = head.p + 9; p < head.p + STATUS_END; p++) {
        if (!vv_h1_is(*p, VV_H1_C_DIGIT)) {
            return VV_ESYNTAX;
        }
        status = status * 10 + (*p - '0');
    }
    if (!may_answer(s, status)) {
        return VV_EINVAL;
    }
    if (s->bad || s->closed) {
        return VV_OK;
    }
    char *copy = vv_h2_text(s, head.n);
    if (copy == NULL) {
        return VV_ENOMEM;
    }
    memcpy(copy, head.p, head.n);
    nv[0] = nv_of(VV_STR(":status"), (struct vv_str){copy + 9, 3}, NGHTTP2_NV_FLAG_NONE);
    const enum vv_err err = split_text(copy + (lf + 1 - head.p), copy + head.n, nv, &n);
    return err != VV_OK ? err : submit_answer(s, status, nv, n, end);
}

enum vv_err vv_h2_end_trailers(struct vv_h2_stream *stream, const struct vv_h2_field *field,
                               size_t count)
{
    struct vv_h2_inner *s = inner(stream);
    if (!s->has_body || s->done) {
        return VV_EINVAL;
    }
    if (count == 0 || s->bad) {
        vv_h2_end(stream);
        return VV_OK;
    }
    nghttp2_nv nv[NV_MAX];
    size_t n = 0;
    const enum vv_err err = put_fields(s, nv, &n, field, count);
    if (err != VV_OK) {
        return err;
    }
    if (n > 0) {
        s->trailer = vv_h2_alloc(s->c, n * sizeof *nv);
        if (s->trailer == NULL) {
            return VV_ENOMEM;
        }
        memcpy(s->trailer, nv, n * sizeof *nv);
        s->trailer_count = n;
    }
    vv_h2_end(stream);
    return VV_OK;
}

static enum vv_err put_request(struct vv_h2_inner *s, const struct vv_h2_request *r, nghttp2_nv *nv,
                               size_t *ret_n)
{
    const struct vv_h2_field pseudo[] = {
        {VV_STR(":method"), r->method, 0},       {VV_STR(":scheme"), r->scheme, 0},
        {VV_STR(":authority"), r->authority, 0}, {VV_STR(":path"), r->path, 0},
        {VV_STR(":protocol"), r->protocol, 0},
    };
    for (size_t i = 0; i < VV_COUNT(pseudo); i++) {
        if (pseudo[i].value.n > 0) {
            const enum vv_err err = put_fields(s, nv, ret_n, &pseudo[i], 1);
            if (err != VV_OK) {
                return err;
            }
        }
    }
    return put_fields(s, nv, ret_n, r->field, r->count);
}

enum vv_err vv_h2_request(struct vv_h2 *c, void *stream_user, const struct vv_h2_request *r,
                          struct vv_h2_stream **ret)
{
    if (!vv_h2_can_open(c)) {
        return VV_ELIMIT;
    }
    struct vv_h2_inner *s = vv_h2_stream_new(c, 0);
    if (s == NULL) {
        return VV_ENOMEM;
    }
    nghttp2_nv nv[NV_MAX];
    size_t n = 0;
    const enum vv_err err = put_request(s, r, nv, &n);
    if (err != VV_OK) {
        vv_h2_stream_free(s);
        return err;
    }
    nghttp2_data_provider body = {.source = {.ptr = s}, .read_callback = vv_h2_read_body};
    const int32_t id = nghttp2_submit_request(c->session, NULL, nv, n, r->end ? NULL : &body, s);
    if (id < 0) {
        vv_h2_stream_free(s);
        return id == NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE ? VV_ELIMIT : VV_ENOMEM;
    }
    s->pub.id = (uint32_t)id;
    s->pub.user = stream_user;
    s->told = s->answered = true;
    s->has_body = !r->end;
    s->done = r->end;
    s->head_method = vv_str_eq(r->method, VV_STR("HEAD"));
    c->streams_told++;
    *ret = &s->pub;
    return VV_OK;
}
