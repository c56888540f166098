/* src/wire/http2_out.c - messages on their way out: heads, content, trailers, ends.
 *
 * A head is encoded at once, into `out`: nothing of it needs to be kept, and HPACK's table changes in
 * the order in which the blocks leave. All that can be wrong with it is looked for before, because
 * what the table has learnt cannot be taken back.
 *
 * Heads of a connection are much alike: a line that was in the last one too, and is in the table, is
 * known by its bytes alone (vv_h2_memo). It is neither split nor hashed, but compared. */
#include "wire/http1_int.h"
#include "wire/http2_int.h"

#define LINES_MAX (VV_H1_FIELDS_MAX + 8)
#define NAMES_BYTES 2048 /* of a usual head; longer ones take the stream's memory */

/* Nothing can be said on it any more; closed() is on its way, or the connection has failed. */
static bool gone(const struct vv_h2_inner *s)
{
    return s->bad || s->closed || s->c->dead;
}

/* ---- blocks */

struct block { /* a head that is being written into `out` */
    struct vv_h2_inner *s;
    uint8_t *at;
};

/* bytes: of all names and values. VV_ENOMEM changes nothing. */
static enum vv_err block_begin(struct block *b, struct vv_h2_inner *s, size_t bytes, size_t fields)
{
    struct vv_h2 *c = s->c;
    size_t room = VV_H2_HEADER_BYTES + VV_HPACK_BEGIN_BYTES + bytes + fields * VV_HPACK_FIELD_BYTES;
    room += room / VV_H2_FRAME_BYTES * VV_H2_HEADER_BYTES;
    uint8_t *p = vv_h2_buffer_room(c, &c->out, room);
    if (VV_UNLIKELY(p == NULL)) {
        return VV_ENOMEM;
    }
    b->s = s;
    b->at = vv_hpack_out_begin(&c->hpack_out, p + VV_H2_HEADER_BYTES);
    return VV_OK;
}

static void block_add(struct block *b, struct vv_str name, struct vv_str value, unsigned flags)
{
    b->at =
        vv_hpack_out_field(&b->s->c->hpack_out, b->at, name, value, (flags & VV_H2_SECRET) != 0);
}

/* A block that no frame holds: makes room for the header of each CONTINUATION, from behind. */
static VV_COLD uint8_t *continue_block(uint8_t *payload, size_t n, uint32_t id)
{
    const size_t more = (n - 1) / VV_H2_FRAME_BYTES;
    for (size_t i = more; i > 0; i--) {
        uint8_t *from = payload + i * VV_H2_FRAME_BYTES;
        uint8_t *to = from + i * VV_H2_HEADER_BYTES;
        const size_t part = i == more ? n - i * VV_H2_FRAME_BYTES : VV_H2_FRAME_BYTES;
        memmove(to, from, part);
        vv_h2_set_header(to - VV_H2_HEADER_BYTES, part, VV_H2_T_CONTINUATION,
                         i == more ? VV_H2_F_END_HEADERS : 0, id);
    }
    return payload + n + more * VV_H2_HEADER_BYTES;
}

static void block_end(struct block *b, bool end)
{
    struct vv_h2 *c = b->s->c;
    uint8_t *header = c->out.p + c->out.n;
    uint8_t *payload = header + VV_H2_HEADER_BYTES;
    const size_t n = (size_t)(b->at - payload);
    unsigned flags = end ? VV_H2_F_END_STREAM : 0;
    if (VV_LIKELY(n <= VV_H2_FRAME_BYTES)) {
        vv_h2_set_header(header, n, VV_H2_T_HEADERS, flags | VV_H2_F_END_HEADERS, b->s->pub.id);
    } else {
        b->at = continue_block(payload, n, b->s->pub.id);
        vv_h2_set_header(header, VV_H2_FRAME_BYTES, VV_H2_T_HEADERS, flags, b->s->pub.id);
    }
    c->out.n = (size_t)(b->at - c->out.p);
    vv_h2_pool_counts(c->pool)->frames_out++;
}

/* ---- fields */

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

static void lower(char *to, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = (char)(p[i] | ((p[i] >= 'A' && p[i] <= 'Z') << 5)); /* no branch */
    }
}

struct names { /* where names become lower case */
    struct vv_h2_inner *s;
    size_t used;
    char bytes[NAMES_BYTES];
};

static char *name_room(struct names *t, size_t n)
{
    if (VV_UNLIKELY(n > sizeof t->bytes - t->used)) {
        return vv_h2_text(t->s, n);
    }
    char *p = t->bytes + t->used;
    t->used += n;
    return p;
}

/* The fields that are sent, their names in lower case, into `line`. */
static enum vv_err take_fields(struct names *t, const struct vv_h2_field *field, size_t count,
                               struct vv_h2_field *line, size_t *ret_n, size_t *ret_bytes)
{
    if (count > LINES_MAX) {
        return VV_EINVAL;
    }
    size_t n = 0, bytes = 0;
    for (size_t i = 0; i < count; i++) {
        if ((field[i].flags & VV_H2_STABLE) == 0 && of_connection(field[i].name)) {
            continue;
        }
        line[n] = field[i];
        if ((field[i].flags & VV_H2_STABLE) == 0) {
            char *name = name_room(t, field[i].name.n);
            if (name == NULL) {
                return VV_ENOMEM;
            }
            lower(name, field[i].name.p, field[i].name.n);
            line[n].name.p = name;
        }
        bytes += field[i].name.n + field[i].value.n;
        n++;
    }
    *ret_n = n;
    *ret_bytes = bytes;
    return VV_OK;
}

/* ---- a head in the words of HTTP/1 */

#ifdef __SSE2__
/* As below, for names that end within 16 bytes, when 16 bytes may be read. */
static const char *split_name_16(const char *p, char *name)
{
    const __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    const __m128i colon = _mm_cmpeq_epi8(x, _mm_set1_epi8(':'));
    const __m128i cr = _mm_cmpeq_epi8(x, _mm_set1_epi8('\r'));
    const unsigned at = (unsigned)_mm_movemask_epi8(_mm_or_si128(colon, cr));
    /* 'A' to 'Z', as signed bytes: nothing from 0x80 on is among them. */
    const __m128i upper = _mm_and_si128(_mm_cmpgt_epi8(x, _mm_set1_epi8('A' - 1)),
                                        _mm_cmplt_epi8(x, _mm_set1_epi8('Z' + 1)));
    const __m128i low = _mm_or_si128(x, _mm_and_si128(upper, _mm_set1_epi8(0x20)));
    _mm_storeu_si128((__m128i *)(void *)name, low);
    return at != 0 ? p + __builtin_ctz(at) : NULL;
}

static const char *find_cr(const char *p, const char *end)
{
    for (; end - p >= 16; p += 16) {
        const __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        const unsigned at = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_set1_epi8('\r')));
        if (at != 0) {
            return p + __builtin_ctz(at);
        }
    }
    return p < end ? memchr(p, '\r', (size_t)(end - p)) : NULL;
}
#else
static const char *find_cr(const char *p, const char *end)
{
    return p < end ? memchr(p, '\r', (size_t)(end - p)) : NULL;
}
#endif

/* An empty line is two CR with one byte between them: looked for 16 places at a time. */
size_t vv_h2_head_text_bytes(struct vv_str text)
{
    const char *p = text.p, *end = text.p + text.n;
#ifdef __SSE2__
    const __m128i cr = _mm_set1_epi8('\r');
    for (; end - p >= 20; p += 16) {
        const __m128i here = _mm_loadu_si128((const __m128i *)(const void *)p);
        const __m128i then = _mm_loadu_si128((const __m128i *)(const void *)(p + 2));
        unsigned at = (unsigned)_mm_movemask_epi8(
            _mm_and_si128(_mm_cmpeq_epi8(here, cr), _mm_cmpeq_epi8(then, cr)));
        for (; at != 0; at &= at - 1) {
            const char *q = p + __builtin_ctz(at);
            if (q[1] == '\n' && q[3] == '\n') {
                return (size_t)(q + 4 - text.p);
            }
        }
    }
#endif
    for (; end - p >= 4; p++) {
        if (memcmp(p, "\r\n\r\n", 4) == 0) {
            return (size_t)(p + 4 - text.p);
        }
    }
    return 0;
}

/* The name at p in lower case; returns its colon. NULL: there is none, or no memory. */
static const char *split_name(struct names *t, const char *p, const char *end, struct vv_str *ret)
{
    const char *colon = NULL;
#ifdef __SSE2__
    if (VV_LIKELY(end - p >= 16 && sizeof t->bytes - t->used >= 16)) {
        char *name = t->bytes + t->used;
        colon = split_name_16(p, name);
        if (VV_LIKELY(colon != NULL)) {
            *ret = (struct vv_str){name, (size_t)(colon - p)};
            t->used += ret->n;
            return *colon == ':' ? colon : NULL;
        }
    }
#endif
    colon = memchr(p, ':', (size_t)(end - p));
    if (colon == NULL || memchr(p, '\r', (size_t)(colon - p)) != NULL) {
        return NULL;
    }
    char *name = name_room(t, (size_t)(colon - p));
    if (name == NULL) {
        return NULL;
    }
    lower(name, p, (size_t)(colon - p));
    *ret = (struct vv_str){name, (size_t)(colon - p)};
    return colon;
}

struct line {
    struct vv_str raw;        /* with CR LF; n 0: not from text */
    struct vv_h2_field field; /* with number: not set */
    uint32_t number;          /* of an entry of HPACK's table, or 0 */
};

/* Is the line at p one of the next few of the last head? */
static bool recall(const struct vv_h2_memo *memo, uint32_t *at, const char *p, size_t left,
                   struct line *ret)
{
    enum { LOOK_AHEAD = 3 }; /* lines that were not said again */
    for (uint32_t i = *at; i < memo->count && i < *at + LOOK_AHEAD; i++) {
        const size_t n = memo->line[i].n;
        if (n <= left && vv_hpack_same(p, memo->text + memo->line[i].at, n)) {
            *ret = (struct line){.raw = {p, n}, .number = memo->line[i].number};
            *at = i + 1;
            return true;
        }
    }
    return false;
}

static struct vv_str value_between(const char *colon, const char *stop)
{
    const char *value = colon + 1;
    while (value < stop && *value == ' ') {
        value++;
    }
    return (struct vv_str){value, (size_t)(stop - value)};
}

/* The field lines from p to the empty one, into `line`. */
static enum vv_err split_lines(struct names *t, const char *p, const char *end, struct line *line,
                               size_t *ret_n)
{
    const struct vv_h2_memo *memo = t->s->c->memo;
    uint32_t at = 0;
    size_t n = 0;
    while (p < end && *p != '\r') {
        struct vv_str name;
        if (memo != NULL && n < LINES_MAX && recall(memo, &at, p, (size_t)(end - p), &line[n])) {
            p += line[n++].raw.n;
            continue;
        }
        const char *colon = split_name(t, p, end, &name);
        const char *stop = colon != NULL ? find_cr(colon, end) : NULL;
        if (stop == NULL || stop + 1 == end || stop[1] != '\n' || n == LINES_MAX) {
            return VV_ESYNTAX;
        }
        if (VV_LIKELY(!of_connection(name))) {
            line[n++] = (struct line){.raw = {p, (size_t)(stop + 2 - p)},
                                      .field = {name, value_between(colon, stop), 0}};
        }
        p = stop + 2;
    }
    *ret_n = n;
    return p + 2 == end ? VV_OK : VV_ESYNTAX;
}

/* ---- answers */

static bool may_answer(const struct vv_h2_inner *s, int status)
{
    return !s->c->client && !s->answered && status >= 100 && status <= 599 && status != 101;
}

/* bytes: of all names and values, or more. */
static enum vv_err answer_begin(struct block *b, struct vv_h2_inner *s, int status, size_t n,
                                size_t bytes)
{
    const enum vv_err err = block_begin(b, s, bytes + VV_HPACK_FIELD_BYTES, n + 1);
    if (err == VV_OK) {
        b->at = vv_hpack_out_status(&s->c->hpack_out, b->at, status);
    }
    return err;
}

static void answer_end(struct block *b, int status, bool end)
{
    struct vv_h2_inner *s = b->s;
    const bool final = status >= 200;
    block_end(b, final && end);
    if (final) {
        s->answered = true;
        s->has_body = !end;
        s->done = end;
        if (end) {
            vv_h2_we_ended(s);
        }
    }
}

enum vv_err vv_h2_answer(struct vv_h2_stream *stream, int status, const struct vv_h2_field *field,
                         size_t count, bool end)
{
    struct vv_h2_inner *s = vv_h2_inner_of(stream);
    struct vv_h2_field line[LINES_MAX];
    struct names t;
    size_t n, bytes;
    if (!may_answer(s, status)) {
        return VV_EINVAL;
    }
    if (gone(s)) {
        return VV_OK;
    }
    t.s = s;
    t.used = 0;
    enum vv_err err = take_fields(&t, field, count, line, &n, &bytes);
    struct block b;
    if (err == VV_OK) {
        err = answer_begin(&b, s, status, n, bytes);
    }
    if (err != VV_OK) {
        return err;
    }
    for (size_t i = 0; i < n; i++) {
        block_add(&b, line[i].name, line[i].value, line[i].flags);
    }
    answer_end(&b, status, end);
    return VV_OK;
}

/* The lines of this head that are in the table now. */
static void learn(struct vv_h2 *c, const struct line *line, size_t n)
{
    if (c->memo == NULL && c->answered) {
        c->memo = vv_h2_alloc(c, sizeof *c->memo);
    }
    c->answered = true;
    struct vv_h2_memo *memo = c->memo;
    if (memo == NULL) {
        return; /* only the first head yet; no memory makes it slower and no more */
    }
    memo->count = memo->used = 0;
    for (size_t i = 0; i < n && memo->count < VV_H2_MEMO_LINES; i++) {
        const struct vv_str raw = line[i].raw;
        if (line[i].number == 0 || raw.n > sizeof memo->text - memo->used) {
            continue;
        }
        memcpy(memo->text + memo->used, raw.p, raw.n);
        memo->line[memo->count].number = line[i].number;
        memo->line[memo->count].at = (uint16_t)memo->used;
        memo->line[memo->count++].n = (uint16_t)raw.n;
        memo->used += (uint32_t)raw.n;
    }
}

/* A line that was recalled, whose entry has left for one of this very block. */
static VV_COLD void add_again(struct block *b, const struct line *l)
{
    char name[VV_H2_MEMO_BYTES];
    const char *colon = memchr(l->raw.p, ':', l->raw.n);
    const size_t n = (size_t)(colon - l->raw.p);
    lower(name, l->raw.p, n);
    block_add(b, (struct vv_str){name, n}, value_between(colon, l->raw.p + l->raw.n - 2), 0);
}

static void add_lines(struct block *b, struct line *line, size_t n)
{
    struct vv_h2 *c = b->s->c;
    bool news = false;
    for (size_t i = 0; i < n; i++) {
        struct line *l = &line[i];
        if (VV_LIKELY(l->number != 0)) {
            uint8_t *at = vv_hpack_out_again(&c->hpack_out, b->at, l->number);
            if (VV_LIKELY(at != NULL)) {
                b->at = at;
                continue;
            }
            add_again(b, l);
        } else {
            block_add(b, l->field.name, l->field.value, 0);
        }
        l->number = vv_hpack_out_last(&c->hpack_out);
        news = news || l->number != 0;
    }
    if (news) {
        learn(c, line, n);
    }
}

VV_HOT enum vv_err vv_h2_answer_text(struct vv_h2_stream *stream, struct vv_str head, bool end)
{
    enum { STATUS_END = 12 }; /* of "HTTP/1.1 200" */
    struct vv_h2_inner *s = vv_h2_inner_of(stream);
    struct line line[LINES_MAX];
    struct names t;
    size_t n;
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
    if (gone(s)) {
        return VV_OK;
    }
    t.s = s;
    t.used = 0;
    enum vv_err err = split_lines(&t, lf + 1, head.p + head.n, line, &n);
    struct block b;
    if (err == VV_OK) {
        err = answer_begin(&b, s, status, n, head.n);
    }
    if (err != VV_OK) {
        return err;
    }
    add_lines(&b, line, n);
    answer_end(&b, status, end);
    return VV_OK;
}

/* ---- requests */

static size_t put_pseudo(const struct vv_h2_request *r, struct vv_h2_field *line, size_t *bytes)
{
    const struct vv_h2_field pseudo[] = {
        {VV_STR(":method"), r->method, 0},       {VV_STR(":scheme"), r->scheme, 0},
        {VV_STR(":authority"), r->authority, 0}, {VV_STR(":path"), r->path, 0},
        {VV_STR(":protocol"), r->protocol, 0},
    };
    size_t n = 0;
    for (size_t i = 0; i < VV_COUNT(pseudo); i++) {
        if (pseudo[i].value.n > 0) {
            *bytes += pseudo[i].name.n + pseudo[i].value.n;
            line[n++] = pseudo[i];
        }
    }
    return n;
}

enum vv_err vv_h2_request(struct vv_h2 *c, void *stream_user, const struct vv_h2_request *r,
                          struct vv_h2_stream **ret)
{
    struct vv_h2_field line[LINES_MAX + 5];
    struct names t;
    size_t n, bytes, pseudo_bytes = 0;
    if (!vv_h2_can_open(c)) {
        return VV_ELIMIT;
    }
    struct vv_h2_inner *s = vv_h2_stream_new(c, c->next_id);
    if (s == NULL) {
        return VV_ENOMEM;
    }
    const size_t pseudo = put_pseudo(r, line, &pseudo_bytes);
    t.s = s;
    t.used = 0;
    enum vv_err err = take_fields(&t, r->field, r->count, line + pseudo, &n, &bytes);
    struct block b;
    if (err == VV_OK) {
        err = block_begin(&b, s, bytes + pseudo_bytes, n + pseudo);
    }
    if (err != VV_OK) {
        vv_h2_forget(s);
        vv_h2_stream_free(s);
        return err;
    }
    for (size_t i = 0; i < n + pseudo; i++) {
        block_add(&b, line[i].name, line[i].value, line[i].flags);
    }
    block_end(&b, r->end);
    c->next_id += 2;
    s->pub.user = stream_user;
    s->told = s->answered = true;
    s->has_body = !r->end;
    s->done = s->ended = r->end;
    s->tunnel = vv_str_eq(r->method, VV_STR("CONNECT"));
    s->head_method = vv_str_eq(r->method, VV_STR("HEAD"));
    c->streams_told++;
    *ret = &s->pub;
    return VV_OK;
}

/* ---- content */

enum vv_err vv_h2_body(struct vv_h2_stream *stream, struct vv_str bytes)
{
    struct vv_h2_inner *s = vv_h2_inner_of(stream);
    if (!s->has_body || s->done) {
        return VV_EINVAL;
    }
    if (s->slice_count == VV_H2_SLICES_MAX) {
        return VV_EAGAIN;
    }
    if (bytes.n == 0 || gone(s)) {
        return VV_OK;
    }
    s->slices[(s->slice_at + s->slice_count) % VV_H2_SLICES_MAX] = bytes;
    s->slice_count++;
    s->queued += bytes.n;
    vv_h2_ready(s);
    return VV_OK;
}

void vv_h2_end(struct vv_h2_stream *stream)
{
    struct vv_h2_inner *s = vv_h2_inner_of(stream);
    if (!s->has_body || s->done) {
        return;
    }
    s->done = true;
    if (s->queued > 0 || gone(s)) {
        return; /* the last of the content will say it */
    }
    if (s->trailer == NULL) {
        vv_h2_put_frame(s->c, VV_H2_T_DATA, VV_H2_F_END_STREAM, s->pub.id, NULL, 0);
    } else if (vv_h2_put_trailer(s) != VV_OK) {
        vv_h2_fail(s->c, VV_H2_WHY_MEMORY);
        return;
    }
    vv_h2_we_ended(s);
}

enum vv_err vv_h2_put_trailer(struct vv_h2_inner *s)
{
    const struct vv_h2_trailer *trailer = s->trailer;
    size_t bytes = 0;
    for (size_t i = 0; i < trailer->count; i++) {
        bytes += trailer->field[i].name.n + trailer->field[i].value.n;
    }
    struct block b;
    const enum vv_err err = block_begin(&b, s, bytes, trailer->count);
    if (err != VV_OK) {
        return err;
    }
    for (size_t i = 0; i < trailer->count; i++) {
        block_add(&b, trailer->field[i].name, trailer->field[i].value, trailer->field[i].flags);
    }
    block_end(&b, true);
    return VV_OK;
}

/* Copies what is not stable into the stream's memory. */
static enum vv_err keep_fields(struct vv_h2_inner *s, const struct vv_h2_field *field, size_t n)
{
    struct vv_h2_trailer *trailer = vv_h2_alloc(s->c, sizeof *trailer + n * sizeof *field);
    if (trailer == NULL) {
        return VV_ENOMEM;
    }
    trailer->count = n;
    for (size_t i = 0; i < n; i++) {
        struct vv_h2_field *f = &trailer->field[i];
        *f = field[i];
        if ((f->flags & VV_H2_STABLE) == 0) {
            char *copy = vv_h2_text(s, f->name.n + f->value.n);
            if (copy == NULL) {
                vv_h2_dealloc(s->c, trailer);
                return VV_ENOMEM;
            }
            memcpy(copy, f->name.p, f->name.n);
            if (f->value.n > 0) {
                memcpy(copy + f->name.n, f->value.p, f->value.n);
            }
            f->name.p = copy;
            f->value.p = copy + f->name.n;
        }
    }
    s->trailer = trailer;
    return VV_OK;
}

enum vv_err vv_h2_end_trailers(struct vv_h2_stream *stream, const struct vv_h2_field *field,
                               size_t count)
{
    struct vv_h2_inner *s = vv_h2_inner_of(stream);
    struct vv_h2_field line[LINES_MAX];
    struct names t;
    size_t n, bytes;
    if (!s->has_body || s->done) {
        return VV_EINVAL;
    }
    t.s = s;
    t.used = 0;
    enum vv_err err = gone(s) ? VV_OK : take_fields(&t, field, count, line, &n, &bytes);
    if (err == VV_OK && !gone(s) && n > 0) {
        err = keep_fields(s, line, n);
    }
    if (err == VV_OK) {
        vv_h2_end(stream);
    }
    return err;
}

size_t vv_h2_unsent(const struct vv_h2_stream *s)
{
    const struct vv_h2_inner *i = (const struct vv_h2_inner *)(const void *)s;
    return i->queued + i->in_gather + i->copied;
}

struct vv_str vv_h2_protocol(const struct vv_h2_stream *s)
{
    return ((const struct vv_h2_inner *)(const void *)s)->protocol;
}
