/* src/gateway/actions/files.c - the `files` action: a folder as a site.
 *
 * What a path stands for says files_cache.c; here it is sent: conditions first, then ranges, then
 * bytes. A small file is copied behind its head, so that both leave in one write and the answers to
 * pipelined requests collect; a larger one goes by sendfile. Opening and reading may wait for the
 * disk, and the worker waits with it: names and pages that are asked for are nearly always in the
 * kernel's cache, and handing every open to another thread would cost each request two wake-ups. */
#include "gateway/actions/files_ahead.h"
#include "gateway/actions/files_cache.h"
#include "gateway/actions/files_parts.h"
#include "gateway/session.h"
#include "wire/conditional.h"
#include "wire/encoder.h"
#include <inttypes.h>
#include <stdlib.h>

#define SMALL_MAX 8192                     /* vv_answer_simple() copies as much */
#define TURN_BYTES (UINT64_C(1024) * 1024) /* of several ranges, before others have their turn */
#define FIELDS_MAX 8
#define WAIT_BYTES_MAX VV_MIB /* a request waits for the copy of a file that is not longer */

/* Of one worker. A busy site of more files than that is served well by opening them. */
static const struct vv_files_limits limits = {.entries = 1024, .fds = 1024, .bytes = 64 * VV_MIB};

struct files { /* x->state */
    struct vv_exchange *x;
    struct vv_files_entry *entry;     /* counted */
    const struct vv_files_copy *copy; /* of the entry: what is sent */
    enum vv_encoding encoding;
    bool varies; /* the answer depends on Accept-Encoding */
    bool waited; /* for a copy; once is enough */
    struct vv_files_waiter wait;
    struct vv_validators validators;
    char modified[VV_HTTP_DATE_BYTES];
    struct vv_field field[FIELDS_MAX];
    size_t field_count;
    struct vv_files_parts parts; /* several ranges */
    struct vv_buf *buf;
    struct vv_defer again;
};

static void add_field(struct files *s, struct vv_str name, struct vv_str value)
{
    VV_ASSERT(s->field_count < FIELDS_MAX);
    s->field[s->field_count++] = (struct vv_field){name, value};
}

static void set_validators(struct files *s, int64_t now_s)
{
    const struct vv_files_copy *copy = s->copy;
    s->validators.etag = (struct vv_str){copy->etag, copy->etag_bytes};
    /* Never later than the answer itself (RFC 9110 section 8.8.2.1), nor before there were dates. */
    const int64_t modified_s = copy->modified_s < now_s ? copy->modified_s : now_s;
    s->validators.modified_s = modified_s > 0 ? modified_s : 0;
    vv_http_date_format(s->validators.modified_s, s->modified);
}

/* An answer without a body of its own. */
static void answer_bare(struct vv_exchange *x, struct files *s, int status)
{
    if (status != 304) {
        vv_answer_simple(x, status, s->field, s->field_count, VV_STR(""));
        return;
    }
    /* The length of a 304 would be that of the file: say nothing instead (RFC 9110 section 8.6). */
    if (vv_answer_head(x, status, s->field, s->field_count, VV_LENGTH_UNKNOWN)) {
        vv_answer_done(x);
        vv_exchange_end(x, VV_REASON_NONE);
    }
}

static void answer_span(struct vv_exchange *x, struct files *s, int status, struct vv_range span)
{
    if (x->req.method == VV_METHOD_HEAD) {
        if (vv_answer_head(x, status, s->field, s->field_count, span.bytes)) {
            vv_answer_done(x);
            vv_exchange_end(x, VV_REASON_NONE);
        }
        return;
    }
    const struct vv_str content = vv_files_content(s->entry, s->copy, x->began_wall_ns);
    if (content.p != NULL) {
        vv_answer_simple(x, status, s->field, s->field_count,
                         (struct vv_str){content.p + span.first, (size_t)span.bytes});
        return;
    }
    if (span.bytes <= SMALL_MAX) {
        char *scratch = x->w->scratch;
        if (vv_files_read_all(s->copy->fd, scratch, span.bytes, span.first) != VV_OK) {
            vv_answer_error(x, VV_REASON_INTERNAL);
            return;
        }
        vv_answer_simple(x, status, s->field, s->field_count,
                         (struct vv_str){scratch, (size_t)span.bytes});
        return;
    }
    if (!vv_answer_head(x, status, s->field, s->field_count, span.bytes)) {
        return;
    }
    vv_answer_file(x, s->copy->fd, (off_t)span.first, span.bytes);
    vv_answer_done(x);
    (void)vv_answer_flush(x);
}

/* ---- several ranges ---- */

/* Sends until the client takes no more, or others must have their turn. */
static void send_parts(struct vv_exchange *x)
{
    struct files *s = x->state;
    for (uint64_t sent = 0; sent < TURN_BYTES;) {
        size_t n = 0;
        if (vv_files_parts_read(&s->parts, s->buf->data, s->buf->cap, &n) != VV_OK) {
            vv_answer_error(x, VV_REASON_INTERNAL); /* the head is out: cuts */
            return;
        }
        if (n == 0) {
            vv_answer_done(x);
        } else if (!vv_answer_body(x, (struct vv_str){s->buf->data, n})) {
            vv_answer_error(x, VV_REASON_NO_MEMORY);
            return;
        }
        if (vv_answer_flush(x) != VV_OK || n == 0) {
            return;
        }
        sent += n;
    }
    vv_loop_defer(x->w->loop, &s->again);
}

static void drained(struct vv_exchange *x)
{
    const struct files *s = x->state;
    if (s->buf != NULL) { /* else it was the answer before ours that left */
        send_parts(x);
    }
}

static void on_again(struct vv_loop *loop, struct vv_defer *d)
{
    (void)loop;
    send_parts(VV_CONTAINER(d, struct files, again)->x);
}

static void answer_parts(struct vv_exchange *x, struct files *s, const struct vv_ranges *ranges)
{
    s->buf = vv_buf_get(&x->w->bufs, VV_BUF_LARGE);
    if (s->buf == NULL ||
        vv_files_parts_init(&s->parts, &x->arena, s->copy->fd, ranges, s->entry->mime->type,
                            s->copy->size, vv_rng_u64(&x->w->rng)) != VV_OK) {
        vv_answer_error(x, VV_REASON_NO_MEMORY);
        return;
    }
    s->field[0].value = s->parts.content_type;
    s->again.fn = on_again;
    if (vv_answer_head(x, 206, s->field, s->field_count, s->parts.bytes)) {
        send_parts(x);
    }
}

/* ---- what is sent ---- */

/* The one Range field of a GET, if it counts; else empty (RFC 9110 section 14.2). */
static struct vv_str range_of(const struct vv_exchange *x, const struct files *s, int64_t now_s)
{
    const struct vv_h1_field *f = vv_h1_find(&x->req, VV_FIELD_RANGE);
    if (f == NULL || x->req.method != VV_METHOD_GET ||
        !vv_condition_range(&x->req, &s->validators, now_s)) {
        return (struct vv_str){NULL, 0};
    }
    for (const struct vv_h1_field *g = f + 1; g < x->req.fields + x->req.fields_count; g++) {
        if (g->id == VV_FIELD_RANGE) {
            return (struct vv_str){NULL, 0};
        }
    }
    return f->value;
}

static void answer_content(struct vv_exchange *x, struct files *s, int64_t now_s)
{
    struct vv_ranges ranges = {.count = 0};
    const struct vv_range whole = {0, s->copy->size};
    const bool identity = s->encoding == VV_ENCODING_IDENTITY;
    const enum vv_range_result wanted =
        vv_range_parse(range_of(x, s, now_s), s->copy->size, &ranges);
    if (wanted == VV_RANGE_UNSATISFIABLE) {
        s->field_count = 0;
        const struct vv_str value = vv_arena_fmt(&x->arena, "bytes */%" PRIu64, s->copy->size);
        if (value.p == NULL) {
            vv_answer_error(x, VV_REASON_NO_MEMORY);
            return;
        }
        add_field(s, VV_STR("Content-Range"), value);
        if (s->varies) {
            add_field(s, VV_STR("Vary"), VV_STR("Accept-Encoding"));
        }
        answer_bare(x, s, 416);
        return;
    }
    /* Parts name the type of the whole; where its coding would go no standard says. */
    if (wanted == VV_RANGE_IGNORE || (ranges.count > 1 && !identity)) {
        answer_span(x, s, 200, whole);
        return;
    }
    if (ranges.count > 1) {
        answer_parts(x, s, &ranges);
        return;
    }
    const struct vv_range r = ranges.range[0];
    const struct vv_str value = vv_arena_fmt(&x->arena, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64,
                                             r.first, r.first + r.bytes - 1, s->copy->size);
    if (value.p == NULL) {
        vv_answer_error(x, VV_REASON_NO_MEMORY);
        return;
    }
    add_field(s, VV_STR("Content-Range"), value);
    answer_span(x, s, 206, r);
}

static int level_of(const struct vv_compress_plan *plan, enum vv_encoding encoding, bool ahead)
{
    static const int in_passing[VV_ENCODING_COUNT] = {[VV_ENCODING_BR] = VV_ENCODER_LEVEL_BR,
                                                      [VV_ENCODING_ZSTD] = VV_ENCODER_LEVEL_ZSTD,
                                                      [VV_ENCODING_GZIP] = VV_ENCODER_LEVEL_GZIP};
    return plan->level != 0 || ahead ? plan->level : in_passing[encoding];
}

/* The copy that the gateway makes. *ret_wait: it is being made, and this request waits for it. */
static const struct vv_files_copy *choose_made(struct vv_exchange *x, struct files *s,
                                               enum vv_encoding encoding, bool *ret_hopeless,
                                               bool *ret_wait)
{
    const struct vv_compress_settings *conf = &x->route->conf->compress;
    const bool ahead = conf->ahead != 0;
    const struct vv_files_maker maker = {.pool = x->w->pool,
                                         .loop = x->w->loop,
                                         .level = level_of(x->route->compress, encoding, ahead),
                                         .ratio_max_ppm = ahead ? conf->ratio_max_ppm : VV_PPM,
                                         .wall_ns = x->began_wall_ns};
    const struct vv_files_copy *copy = vv_files_ahead(s->entry, encoding, &maker, ret_hopeless);
    *ret_wait = copy == NULL && !ahead && !s->waited && s->copy->size <= WAIT_BYTES_MAX &&
                vv_files_await(s->entry, encoding, &s->wait);
    return copy;
}

enum choice { CHOSEN, WAITING, UNACCEPTABLE };

/* Which representation the client gets. UNACCEPTABLE: none of what there is, or may soon be. */
static enum choice choose_copy(struct vv_exchange *x, struct files *s)
{
    struct vv_files_entry *e = s->entry;
    const struct vv_compress_plan *plan = x->route->compress;
    const bool siblings = x->route->conf->files.precompressed && e->mime->compressible;
    struct vv_encoding_verdict verdict = {.encoding = VV_ENCODING_IDENTITY};
    enum vv_encoding order[VV_ENCODING_COUNT];
    s->copy = &e->file[VV_ENCODING_IDENTITY];
    s->encoding = VV_ENCODING_IDENTITY;
    if (plan != NULL) {
        const struct vv_encoding_facts facts = {
            .status = 200, .length = s->copy->size, .type = e->mime->type};
        verdict = vv_encoding_decide(&plan->rules, &x->req, &facts);
    }
    s->varies = siblings || verdict.vary;
    if (!s->varies) {
        return CHOSEN; /* there is one representation: take it or leave it */
    }
    bool soon = false;
    const size_t count = vv_encoding_order(&x->req, order);
    for (size_t i = 0; i < count; i++) {
        bool hopeless = true;
        bool wait = false;
        if (order[i] == VV_ENCODING_IDENTITY) {
            return CHOSEN;
        }
        const struct vv_files_copy *copy = siblings ? vv_files_sibling(e, order[i]) : NULL;
        if (copy == NULL && order[i] == verdict.encoding) {
            copy = choose_made(x, s, order[i], &hopeless, &wait);
        }
        if (wait) {
            return WAITING;
        }
        if (copy != NULL) {
            s->copy = copy;
            s->encoding = order[i];
            return CHOSEN;
        }
        soon = soon || !hopeless;
    }
    /* The file itself rather than a refusal that will not be one in a moment. */
    return soon ? CHOSEN : UNACCEPTABLE;
}

static void answer_file(struct vv_exchange *x, struct files *s)
{
    const int64_t now_s = (int64_t)(x->began_wall_ns / VV_SEC);
    const enum choice choice = choose_copy(x, s);
    if (choice == WAITING) {
        return;
    }
    if (choice == UNACCEPTABLE) {
        add_field(s, VV_STR("Vary"), VV_STR("Accept-Encoding"));
        answer_bare(x, s, 406);
        return;
    }
    set_validators(s, now_s);
    const enum vv_condition condition = vv_condition_judge(&x->req, &s->validators, now_s);
    if (condition == VV_CONDITION_SEND) {
        add_field(s, VV_STR("Content-Type"), s->entry->mime->type); /* first: answer_parts() */
    }
    add_field(s, VV_STR("ETag"), s->validators.etag);
    if (s->varies) {
        add_field(s, VV_STR("Vary"), VV_STR("Accept-Encoding"));
    }
    if (condition != VV_CONDITION_SEND) {
        answer_bare(x, s, condition == VV_CONDITION_NOT_MODIFIED ? 304 : 412);
        return;
    }
    add_field(s, VV_STR("Last-Modified"), (struct vv_str){s->modified, sizeof s->modified});
    add_field(s, VV_STR("Accept-Ranges"), VV_STR("bytes"));
    if (s->encoding != VV_ENCODING_IDENTITY) {
        add_field(s, VV_STR("Content-Encoding"), vv_encodings[s->encoding].name);
    }
    answer_content(x, s, now_s);
}

static void on_copy(struct vv_files_waiter *w)
{
    struct files *s = VV_CONTAINER(w, struct files, wait);
    s->waited = true;
    answer_file(s->x, s);
}

/* The same path with a slash behind it, so that relative references on the page work. The client must
 * not take it for another host: the path begins with exactly one slash, since empty names are not
 * found, and a backslash, which browsers read as a slash, is encoded. */
static void redirect_to_folder(struct vv_exchange *x, struct files *s)
{
    const struct vv_str path = x->path;
    const struct vv_str query = x->req.query;
    char *to = vv_arena_alloc(&x->arena, 3 * path.n + query.n + 2);
    if (to == NULL) {
        vv_answer_error(x, VV_REASON_NO_MEMORY);
        return;
    }
    size_t n = 0;
    for (size_t i = 0; i < path.n; i++) {
        if (path.p[i] == '\\') {
            memcpy(to + n, "%5C", 3);
            n += 3;
        } else {
            to[n++] = path.p[i];
        }
    }
    to[n++] = '/';
    if (query.p != NULL) {
        to[n++] = '?';
        memcpy(to + n, query.p, query.n);
        n += query.n;
    }
    add_field(s, VV_STR("Location"), (struct vv_str){to, n});
    vv_answer_simple(x, 308, s->field, s->field_count, VV_STR(""));
}

/* The cache of this worker, made for its first request; NULL: memory is out. */
static struct vv_files_cache *cache_of(struct vv_worker *w)
{
    if (VV_UNLIKELY(w->files == NULL) && vv_files_cache_new(w->loop, &limits, &w->files) != VV_OK) {
        return NULL;
    }
    return w->files;
}

static enum vv_reason reason_of(enum vv_err err)
{
    switch (err) {
    case VV_ENOENT:
        return VV_REASON_NOT_FOUND;
    case VV_EACCES:
        return VV_REASON_FORBIDDEN;
    case VV_ESYNTAX:
        return VV_REASON_BAD_PATH;
    case VV_ENOMEM:
        return VV_REASON_NO_MEMORY;
    case VV_EFILES:
        return VV_REASON_OVERLOADED;
    default:
        return VV_REASON_INTERNAL;
    }
}

static void start(struct vv_exchange *x)
{
    const struct vv_route *route = x->route;
    if (x->req.method != VV_METHOD_GET && x->req.method != VV_METHOD_HEAD) {
        x->allow = VV_STR("GET, HEAD");
        vv_answer_error(x, VV_REASON_METHOD);
        return;
    }
    struct files *s = vv_arena_zalloc(&x->arena, sizeof *s);
    if (s == NULL) {
        vv_answer_error(x, VV_REASON_NO_MEMORY);
        return;
    }
    s->x = x;
    s->wait.fn = on_copy;
    vv_list_init(&s->wait.node);
    x->state = s;
    struct vv_files_cache *cache = cache_of(x->w);
    const struct vv_files_ask ask = {
        .conf = &route->conf->files,
        .arena = &x->arena,
        .path = vv_files_path(route->conf->path, x->path, x->match.rest),
        .root_fd = route->root_fd,
        .route = route->index,
        .generation = x->rt->generation,
        .now_ns = vv_worker_now(x->w),
        .wall_ns = x->began_wall_ns,
    };
    const enum vv_err err = cache != NULL ? vv_files_get(cache, &ask, &s->entry) : VV_ENOMEM;
    if (err != VV_OK) {
        vv_answer_error(x, reason_of(err));
    } else if (s->entry->folder) {
        redirect_to_folder(x, s);
    } else {
        answer_file(x, s);
    }
}

static void cancel(struct vv_exchange *x)
{
    struct files *s = x->state;
    if (s == NULL) {
        return;
    }
    x->state = NULL;
    vv_loop_defer_stop(&s->again);
    vv_list_del(&s->wait.node);
    vv_buf_put(&x->w->bufs, s->buf);
    vv_files_put(s->entry);
}

const struct vv_action vv_action_files = {
    .name = "files", .start = start, .drained = drained, .cancel = cancel};
