/* src/trace/span.c - packed: a fixed part copied whole, then lengths and bytes. Native byte order: a
 * packed span never leaves the machine. Numbers are copied, never pointed at, so no alignment is
 * asked of the bytes. */
#include "trace/span.h"

#define MAGIC 0x5641

struct fixed { /* no holes: its bytes are copied */
    uint16_t magic;
    uint16_t bytes; /* of the whole, less one: VV_SPAN_PACKED_MAX fits */
    uint8_t kind, status, flags, attr_count;
    uint64_t start_ns, end_ns;
    uint8_t trace_id[VV_TRACE_ID_BYTES], span_id[VV_SPAN_ID_BYTES], parent_id[VV_SPAN_ID_BYTES];
    uint16_t http_status, dropped;
    uint16_t text[5]; /* lengths: service, name, route, state, message */
    uint16_t zero;
};
_Static_assert(sizeof(struct fixed) == 72, "no holes");
_Static_assert(VV_SPAN_PACKED_MAX <= UINT16_MAX, "lengths are 16 bits");
_Static_assert(VV_SPAN_ATTRS_MAX <= UINT8_MAX, "the count is 8 bits");

static const char *const key_text[VV_KEY_COUNT] = {
    "",
#define VV_SPAN_KEY(id, text) text,
#include "trace/span_keys.def"
#undef VV_SPAN_KEY
};

const char *vv_span_key_text(enum vv_span_key key)
{
    return (unsigned)key < VV_KEY_COUNT ? key_text[key] : "";
}

enum vv_span_key vv_span_key_find(struct vv_str text)
{
    for (size_t k = 1; k < VV_KEY_COUNT; k++) {
        if (text.n == strlen(key_text[k]) && memcmp(text.p, key_text[k], text.n) == 0) {
            return (enum vv_span_key)k;
        }
    }
    return VV_KEY_OTHER;
}

/* ---------------------------------------------------------------- packing */

static uint16_t cut(struct vv_str s)
{
    return (uint16_t)vv_min_u64(s.n, VV_SPAN_TEXT_MAX);
}

static bool has_text(uint8_t type)
{
    return type == VV_ATTR_STR || type == VV_ATTR_ANY || type == VV_ATTR_LINK;
}

/* type, key, [length of the name, name], then 8 bytes or a length and bytes */
static size_t attr_bytes(const struct vv_span_attr *a)
{
    size_t n = 2 + (a->key == VV_KEY_OTHER ? 2 + (size_t)cut(a->name) : 0);
    n += has_text(a->type) ? 2 + (size_t)cut(a->str) : a->type == VV_ATTR_BOOL ? 1 : 8;
    return n;
}

/* JSON that is cut is no JSON, and a cut link is no link: such rows go whole. */
static bool fits(const struct vv_span_attr *a)
{
    return a->type < VV_ATTR_TYPE_COUNT && a->key < VV_KEY_COUNT &&
           (a->type != VV_ATTR_ANY || a->str.n <= VV_SPAN_TEXT_MAX) &&
           (a->type != VV_ATTR_LINK || a->str.n == VV_TRACE_ID_BYTES + VV_SPAN_ID_BYTES);
}

/* Which attributes go in: the fit ones before the first that has no room. An event is always fit, so
 * that no row changes its owner by a row left out in between. */
struct vv_span_room vv_span_measure(const struct vv_span *s)
{
    struct vv_span_room r = {.bytes = sizeof(struct fixed)};
    const struct vv_str texts[5] = {s->service, s->name, s->route, s->state, s->message};
    for (size_t i = 0; i < 5; i++) {
        r.bytes += vv_min_u64(cut(texts[i]), i < 3 ? VV_SPAN_TEXT_MAX / 4 : VV_SPAN_TEXT_MAX / 2);
    }
    for (size_t i = 0; i < s->attr_count; i++) {
        const struct vv_span_attr *a = &s->attrs[i];
        const size_t n = attr_bytes(a);
        r.rows = i;
        if (!fits(a)) {
            continue;
        }
        if (r.attrs == VV_SPAN_ATTRS_MAX || r.bytes + n > VV_SPAN_PACKED_MAX) {
            break;
        }
        r.bytes += n;
        r.attrs++;
        r.rows = i + 1;
    }
    r.dropped = s->attr_count - r.attrs;
    return r;
}

size_t vv_span_packed_bytes(const struct vv_span *s)
{
    return vv_span_measure(s).bytes;
}

static uint8_t *put(uint8_t *at, const void *from, size_t n)
{
    if (n > 0) {
        memcpy(at, from, n);
    }
    return at + n;
}

static uint8_t *put_text(uint8_t *at, struct vv_str s)
{
    const uint16_t n = cut(s);
    return put(put(at, &n, sizeof n), s.p, n);
}

static uint8_t *put_attr(uint8_t *at, const struct vv_span_attr *a)
{
    *at++ = a->type;
    *at++ = a->key;
    if (a->key == VV_KEY_OTHER) {
        at = put_text(at, a->name);
    }
    if (has_text(a->type)) {
        return put_text(at, a->str);
    }
    if (a->type == VV_ATTR_BOOL) {
        *at++ = a->b ? 1 : 0;
        return at;
    }
    return put(at, &a->i64, sizeof a->i64); /* a double has the same eight bytes */
}

void vv_span_pack_measured(const struct vv_span *s, const struct vv_span_room *room, uint8_t *buf)
{
    const struct vv_str texts[5] = {s->service, s->name, s->route, s->state, s->message};
    struct fixed f = {
        .magic = MAGIC,
        .bytes = (uint16_t)(room->bytes - 1),
        .kind = s->kind < VV_SPAN_KIND_COUNT ? s->kind : VV_SPAN_KIND_UNSET,
        .status = s->status < VV_SPAN_STATUS_COUNT ? s->status : VV_SPAN_UNSET,
        .flags = s->flags,
        .attr_count = (uint8_t)room->attrs,
        .start_ns = s->start_ns,
        .end_ns = vv_max_u64(s->start_ns, s->end_ns),
        .http_status = s->http_status,
        .dropped = (uint16_t)vv_min_u64((uint64_t)s->dropped + room->dropped, UINT16_MAX),
    };
    memcpy(f.trace_id, s->trace_id, sizeof f.trace_id);
    memcpy(f.span_id, s->span_id, sizeof f.span_id);
    memcpy(f.parent_id, s->parent_id, sizeof f.parent_id);
    uint8_t *at = buf + sizeof f;
    for (size_t i = 0; i < 5; i++) {
        const size_t most = i < 3 ? VV_SPAN_TEXT_MAX / 4 : VV_SPAN_TEXT_MAX / 2;
        f.text[i] = (uint16_t)vv_min_u64(texts[i].n, most);
        at = put(at, texts[i].p, f.text[i]);
    }
    memcpy(buf, &f, sizeof f);
    for (size_t i = 0; i < room->rows; i++) {
        at = fits(&s->attrs[i]) ? put_attr(at, &s->attrs[i]) : at;
    }
    VV_ASSERT((size_t)(at - buf) == room->bytes);
}

size_t vv_span_pack(const struct vv_span *s, uint8_t *buf)
{
    const struct vv_span_room room = vv_span_measure(s);
    vv_span_pack_measured(s, &room, buf);
    return room.bytes;
}

/* ---------------------------------------------------------------- unpacking */

static bool read_fixed(struct vv_str packed, struct fixed *f)
{
    if (packed.n < sizeof *f) {
        return false;
    }
    memcpy(f, packed.p, sizeof *f);
    return f->magic == MAGIC && (size_t)f->bytes + 1 == packed.n &&
           packed.n <= VV_SPAN_PACKED_MAX && f->kind < VV_SPAN_KIND_COUNT &&
           f->status < VV_SPAN_STATUS_COUNT && f->zero == 0 && f->attr_count <= VV_SPAN_ATTRS_MAX &&
           f->start_ns <= f->end_ns;
}

enum vv_err vv_span_peek(struct vv_str packed, struct vv_span_brief *ret)
{
    struct fixed f;
    if (!read_fixed(packed, &f)) {
        return VV_ESYNTAX;
    }
    *ret = (struct vv_span_brief){
        .trace_id = (const uint8_t *)packed.p + offsetof(struct fixed, trace_id),
        .start_ns = f.start_ns,
        .end_ns = f.end_ns,
        .kind = f.kind,
        .status = f.status,
        .flags = f.flags,
        .http_status = f.http_status,
        .root =
            (f.flags & VV_SPAN_F_ENTRY) != 0 || vv_trace_id_zero(f.parent_id, sizeof f.parent_id),
    };
    return VV_OK;
}

static bool take(struct vv_str *rest, void *ret, size_t n)
{
    if (rest->n < n) {
        return false;
    }
    memcpy(ret, rest->p, n);
    rest->p += n;
    rest->n -= n;
    return true;
}

static bool take_slice(struct vv_str *rest, size_t n, struct vv_str *ret)
{
    if (rest->n < n) {
        return false;
    }
    *ret = (struct vv_str){rest->p, n};
    rest->p += n;
    rest->n -= n;
    return true;
}

static bool take_text(struct vv_str *rest, struct vv_str *ret)
{
    uint16_t n;
    return take(rest, &n, sizeof n) && take_slice(rest, n, ret);
}

static bool take_attr(struct vv_str *rest, struct vv_span_attr *a)
{
    uint8_t head[2];
    *a = (struct vv_span_attr){0};
    if (!take(rest, head, sizeof head) || head[0] >= VV_ATTR_TYPE_COUNT ||
        head[1] >= VV_KEY_COUNT) {
        return false;
    }
    a->type = head[0];
    a->key = head[1];
    if (a->key != VV_KEY_OTHER) {
        a->name = vv_str_from(key_text[a->key]);
    } else if (!take_text(rest, &a->name)) {
        return false;
    }
    if (has_text(a->type)) {
        return take_text(rest, &a->str) && fits(a);
    }
    if (a->type == VV_ATTR_BOOL) {
        uint8_t b;
        const bool ok = take(rest, &b, 1) && b <= 1;
        a->b = ok && b == 1;
        return ok;
    }
    return take(rest, &a->i64, sizeof a->i64);
}

enum vv_err vv_span_unpack(struct vv_str packed, struct vv_span *ret, struct vv_span_attr *attrs)
{
    struct fixed f;
    struct vv_span s = {0};
    struct vv_str *const texts[5] = {&s.service, &s.name, &s.route, &s.state, &s.message};
    if (!read_fixed(packed, &f)) {
        return VV_ESYNTAX;
    }
    struct vv_str rest = {packed.p + sizeof f, packed.n - sizeof f};
    for (size_t i = 0; i < 5; i++) {
        if (!take_slice(&rest, f.text[i], texts[i])) {
            return VV_ESYNTAX;
        }
    }
    for (size_t i = 0; i < f.attr_count; i++) {
        struct vv_span_attr past;
        if (!take_attr(&rest, attrs != NULL ? &attrs[i] : &past)) {
            return VV_ESYNTAX;
        }
    }
    if (rest.n != 0) {
        return VV_ESYNTAX;
    }
    memcpy(s.trace_id, f.trace_id, sizeof s.trace_id);
    memcpy(s.span_id, f.span_id, sizeof s.span_id);
    memcpy(s.parent_id, f.parent_id, sizeof s.parent_id);
    s.start_ns = f.start_ns;
    s.end_ns = f.end_ns;
    s.kind = f.kind;
    s.status = f.status;
    s.flags = f.flags;
    s.http_status = f.http_status;
    s.dropped = f.dropped;
    s.attrs = attrs;
    s.attr_count = attrs != NULL ? f.attr_count : 0;
    *ret = s;
    return VV_OK;
}

const struct vv_span_attr *vv_span_attr_find(const struct vv_span *s, enum vv_span_key key)
{
    for (size_t i = 0; i < s->attr_count && s->attrs[i].type != VV_ATTR_EVENT; i++) {
        if (s->attrs[i].key == key && s->attrs[i].type != VV_ATTR_LINK) {
            return &s->attrs[i];
        }
    }
    return NULL;
}
