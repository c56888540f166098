/* src/wire/http2_head.c - from decoded fields to a head in the form of HTTP/1, and its rules.
 *
 * One pass, as strict as the HTTP/1 parser and with its tables: what a request may say must not
 * depend on the version it came in. Field bytes are copied once, into the stream's own memory: an
 * entry of the table may be gone with the next field. What the bytes of an entry are is found out
 * once and noted there. */
#include "wire/http1_int.h"
#include "wire/http2_int.h"

#define FIELD_COST 32 /* RFC 9113 6.5.2 */
#define BOMB_FACTOR 4

/* A note about a field's bytes: looked at, the reason against them, and what the name is - an enum
 * vv_field_id, or the bit of a pseudo-header field, whose value may have been found well-formed. */
enum { NOTED = 0x8000, VALUE_FINE = 0x4000, REASON_SHIFT = 8, REASON_MASK = 0x3f, ID_MASK = 0xff };
_Static_assert((int)VV_H2_REASON_COUNT <= 0x3f && (int)VV_FIELD_COUNT <= 0xff, "they fit");
static uint16_t static_notes[VV_HPACK_STATIC + 1];

void vv_h2_head_begin(struct vv_h2_block *b, struct vv_h2_inner *s, struct vv_h1_head *head)
{
    *b = (struct vv_h2_block){.s = s, .head = head, .is_trailer = s != NULL && s->final_head};
    vv_h1_head_init(head);
}

void vv_h2_head_copy(struct vv_h1_head *to, const struct vv_h1_head *from)
{
    memcpy(to, from,
           offsetof(struct vv_h1_head, fields) + from->fields_count * sizeof from->fields[0]);
}

static enum vv_method find_method(struct vv_str s)
{
    for (int i = 0; i < VV_METHOD_OTHER; i++) {
        if (vv_str_eq(vv_methods[i].name, s)) {
            return (enum vv_method)i;
        }
    }
    return VV_METHOD_OTHER;
}

/* Runs to the end, or to a byte that is neither of its class nor a whole escape. */
static const char *run(const char *p, const char *end, bool query)
{
    for (;;) {
        p = query ? vv_h1_scan_query(p, end) : vv_h1_scan_path(p, end);
        if (p == end || *p != '%' || end - p < 3 || !vv_h1_is(p[1], VV_H1_C_HEX) ||
            !vv_h1_is(p[2], VV_H1_C_HEX)) {
            return p;
        }
        p += 3;
    }
}

static enum vv_h2_reason take_path(struct vv_h1_head *h, struct vv_str v)
{
    const char *end = v.p + v.n;
    h->target = v;
    if (v.n == 1 && v.p[0] == '*') {
        h->path = v;
        h->target_form = VV_H1_ASTERISK;
        return VV_H2_FINE;
    }
    if (v.n == 0 || v.p[0] != '/') {
        return VV_H2_WHY_PATH;
    }
    const char *p = run(v.p, end, false);
    h->path = (struct vv_str){v.p, (size_t)(p - v.p)};
    if (p < end && *p == '?') {
        h->query = (struct vv_str){p + 1, (size_t)(end - p - 1)};
        p = run(p + 1, end, true);
    }
    h->target_form = VV_H1_ORIGIN;
    return p == end ? VV_H2_FINE : VV_H2_WHY_PATH;
}

static bool authority_fine(struct vv_str v)
{
    bool port;
    return v.n > 0 && v.p[0] != ':' && vv_str_find_char(v, '@') < 0 &&
           vv_h1_authority_valid(v, &port);
}

static enum vv_h2_reason take_status(struct vv_h1_head *h, struct vv_str v)
{
    if (v.n != 3 || !vv_h1_is(v.p[0], VV_H1_C_DIGIT) || !vv_h1_is(v.p[1], VV_H1_C_DIGIT) ||
        !vv_h1_is(v.p[2], VV_H1_C_DIGIT)) {
        return VV_H2_WHY_STATUS;
    }
    h->status = (v.p[0] - '0') * 100 + (v.p[1] - '0') * 10 + (v.p[2] - '0');
    /* 101 does not exist here (RFC 9113 8.6). */
    return h->status < 100 || h->status > 599 || h->status == 101 ? VV_H2_WHY_STATUS : VV_H2_FINE;
}

/* name has a colon and at least one character behind it. */
static unsigned pseudo_bit(struct vv_str name)
{
    switch (name.p[1]) {
    case 'm':
        return vv_str_eq(name, VV_STR(":method")) ? VV_H2_P_METHOD : 0;
    case 'p':
        if (name.n == 5) {
            return vv_str_eq(name, VV_STR(":path")) ? VV_H2_P_PATH : 0;
        }
        return vv_str_eq(name, VV_STR(":protocol")) ? VV_H2_P_PROTOCOL : 0;
    case 's':
        if (name.n > 2 && name.p[2] == 'c') {
            return vv_str_eq(name, VV_STR(":scheme")) ? VV_H2_P_SCHEME : 0;
        }
        return vv_str_eq(name, VV_STR(":status")) ? VV_H2_P_STATUS : 0;
    case 'a':
        return vv_str_eq(name, VV_STR(":authority")) ? VV_H2_P_AUTHORITY : 0;
    default:
        return 0;
    }
}

/* fine: what the same bytes were found before; only what is the same for every head may count. */
static enum vv_h2_reason take_pseudo(struct vv_h2 *c, struct vv_h2_block *b, unsigned bit,
                                     struct vv_str v, bool fine)
{
    struct vv_h1_head *h = b->head;
    switch (bit) {
    case VV_H2_P_METHOD:
        h->method_text = v;
        h->method = find_method(v);
        return fine || vv_h1_is_token(v) ? VV_H2_FINE : VV_H2_WHY_METHOD;
    case VV_H2_P_SCHEME:
        h->scheme = v;
        return fine || vv_str_eq_nocase(v, VV_STR("https")) || vv_str_eq_nocase(v, VV_STR("http"))
                   ? VV_H2_FINE
                   : VV_H2_WHY_SCHEME;
    case VV_H2_P_AUTHORITY:
        h->authority = v;
        return fine || authority_fine(v) ? VV_H2_FINE : VV_H2_WHY_AUTHORITY;
    case VV_H2_P_PATH:
        return take_path(h, v);
    case VV_H2_P_PROTOCOL:
        b->s->protocol = v;
        return vv_h1_is_token(v) && c->conf->connect_protocol ? VV_H2_FINE : VV_H2_WHY_PROTOCOL;
    default:
        return take_status(h, v);
    }
}

static enum vv_h2_reason pseudo_field(struct vv_h2 *c, struct vv_h2_block *b, unsigned bit,
                                      struct vv_str v, bool fine)
{
    if (b->is_trailer) {
        return VV_H2_WHY_PSEUDO_TRAILER;
    }
    if (bit == 0 || (bit == VV_H2_P_STATUS) != c->client) {
        return VV_H2_WHY_PSEUDO_UNKNOWN;
    }
    if (b->regular_seen) {
        return VV_H2_WHY_PSEUDO_LATE;
    }
    if ((b->pseudo & bit) != 0) {
        return VV_H2_WHY_PSEUDO_REPEATED;
    }
    b->pseudo = (uint8_t)(b->pseudo | bit);
    return take_pseudo(c, b, bit, v, fine);
}

/* Names that mean a connection (RFC 9113 8.2.2), and what else has rules of its own. */
static enum vv_h2_reason known_field(struct vv_h1_head *h, struct vv_h1_field *f)
{
    switch (f->id) {
    case VV_FIELD_CONNECTION:
    case VV_FIELD_KEEP_ALIVE:
    case VV_FIELD_PROXY_CONNECTION:
    case VV_FIELD_TRANSFER_ENCODING:
    case VV_FIELD_UPGRADE:
        return VV_H2_WHY_CONNECTION_FIELD;
    case VV_FIELD_TE:
        f->hop = true;
        return vv_str_eq_nocase(f->value, VV_STR("trailers")) ? VV_H2_FINE : VV_H2_WHY_TE;
    case VV_FIELD_TRAILER:
    case VV_FIELD_PROXY_AUTHENTICATE:
    case VV_FIELD_PROXY_AUTHORIZATION:
        f->hop = true;
        return VV_H2_FINE;
    case VV_FIELD_HOST:
        return h->first[VV_FIELD_HOST] != 0 ? VV_H2_WHY_HOST_DIFFERS : VV_H2_FINE;
    case VV_FIELD_CONTENT_LENGTH:
        return h->first[VV_FIELD_CONTENT_LENGTH] != 0 ? VV_H2_WHY_LENGTH : VV_H2_FINE;
    default:
        return VV_H2_FINE;
    }
}

static enum vv_h2_reason regular_field(struct vv_h2_block *b, enum vv_field_id id,
                                       struct vv_str name, struct vv_str value)
{
    struct vv_h1_head *h = b->head;
    b->regular_seen = true;
    struct vv_h1_field *f = &h->fields[h->fields_count];
    *f = (struct vv_h1_field){.name = name, .value = value, .id = (uint16_t)id};
    if (id != VV_FIELD_OTHER) {
        const enum vv_h2_reason why = known_field(h, f);
        if (VV_UNLIKELY(why != VV_H2_FINE)) {
            return why;
        }
    } else if (name.n == 8 && b->priority.n == 0 && memcmp(name.p, "priority", 8) == 0) {
        b->priority = value;
    }
    h->fields_count++;
    if (h->first[id] == 0) {
        h->first[id] = (uint8_t)h->fields_count;
    }
    return VV_H2_FINE;
}

static enum vv_h2_reason check_bytes(struct vv_str name, struct vv_str value)
{
    const char *end = name.p + name.n;
    const char *p = name.p + (name.n > 0 && name.p[0] == ':');
    if (p == end) {
        return VV_H2_WHY_NAME;
    }
    for (; p < end; p++) {
        if (VV_UNLIKELY(!vv_h1_is(*p, VV_H1_C_TOKEN))) {
            return VV_H2_WHY_NAME;
        }
        if (VV_UNLIKELY(*p >= 'A' && *p <= 'Z')) {
            return VV_H2_WHY_NAME_UPPER;
        }
    }
    end = value.p + value.n;
    if (VV_UNLIKELY(vv_h1_scan_value(value.p, end) != end)) {
        return VV_H2_WHY_VALUE_CHAR;
    }
    const bool edge = value.n > 0 && (value.p[0] == ' ' || value.p[0] == '\t' || end[-1] == ' ' ||
                                      end[-1] == '\t');
    return edge ? VV_H2_WHY_VALUE_SPACE : VV_H2_FINE;
}

/* Looks at the bytes of a field and at its name. */
static uint16_t look_at(struct vv_str name, struct vv_str value)
{
    const enum vv_h2_reason why = check_bytes(name, value);
    unsigned id = 0;
    if (why == VV_H2_FINE) {
        id = name.p[0] == ':' ? pseudo_bit(name) : vv_field_lookup_token(name.p, name.n);
    }
    return (uint16_t)(NOTED | (unsigned)why << REASON_SHIFT | id);
}

static uint16_t note_of(const struct vv_hpack_field *f)
{
    if (f->index != 0) {
        return static_notes[f->index];
    }
    if (f->note == NULL) {
        return look_at(f->name, f->value);
    }
    if (*f->note == 0) {
        *f->note = look_at(f->name, f->value);
    }
    return *f->note;
}

/* The tables of names may not be there yet, so this looks for itself. */
__attribute__((constructor)) static void fill_static_notes(void)
{
    for (unsigned i = 1; i <= VV_HPACK_STATIC; i++) {
        const struct vv_str name = vv_hpack_statics[i].name;
        unsigned id = name.p[0] == ':' ? pseudo_bit(name) : VV_FIELD_OTHER;
        for (unsigned k = 1; k < VV_FIELD_COUNT; k++) {
            id = vv_str_eq_nocase(vv_field_names[k], name) ? k : id;
        }
        static_notes[i] = (uint16_t)(NOTED | id | (i <= 7 && i > 1 ? VALUE_FINE : 0));
    }
}

/* The bytes in the stream's own memory. */
static bool copy_field(struct vv_h2_inner *s, struct vv_str *name, struct vv_str *value)
{
    char *copy = vv_h2_text(s, name->n + value->n);
    if (VV_UNLIKELY(copy == NULL)) {
        return false;
    }
    if (VV_LIKELY(value->p == name->p + name->n)) {
        memcpy(copy, name->p, name->n + value->n);
    } else {
        memcpy(copy, name->p, name->n);
        memcpy(copy + name->n, value->p, value->n);
    }
    name->p = copy;
    value->p = copy + name->n;
    return true;
}

VV_HOT void vv_h2_head_field(struct vv_h2 *c, struct vv_h2_block *b, const struct vv_hpack_field *f)
{
    struct vv_h2_inner *s = b->s;
    struct vv_str name = f->name, value = f->value;
    b->list_bytes += (uint32_t)(name.n + value.n + FIELD_COST);
    if (VV_UNLIKELY(b->list_bytes > (uint64_t)c->conf->head_bytes * BOMB_FACTOR)) {
        vv_h2_fail(c, VV_H2_WHY_HEAD_BOMB);
        return;
    }
    if (VV_UNLIKELY(s == NULL || s->bad)) {
        return; /* decoded for the table's sake */
    }
    const unsigned note = note_of(f), id = note & ID_MASK;
    enum vv_h2_reason why = (enum vv_h2_reason)(note >> REASON_SHIFT & REASON_MASK);
    const bool pseudo = name.n > 0 && name.p[0] == ':';
    const bool full =
        b->list_bytes > c->conf->head_bytes || b->head->fields_count >= c->conf->fields;
    if (VV_UNLIKELY(why == VV_H2_FINE && full && !pseudo)) {
        b->too_large = true; /* judged at the end: 431 is for requests that are right otherwise */
        return;
    }
    if (VV_LIKELY(why == VV_H2_FINE)) {
        if (!f->forever && !copy_field(s, &name, &value)) {
            vv_h2_fail(c, VV_H2_WHY_MEMORY);
            return;
        }
        why = pseudo ? pseudo_field(c, b, id, value, (note & VALUE_FINE) != 0)
                     : regular_field(b, (enum vv_field_id)id, name, value);
    }
    if (VV_UNLIKELY(why != VV_H2_FINE)) {
        vv_h2_malformed(s, why);
    } else if (pseudo && f->note != NULL) {
        *f->note |= VALUE_FINE;
    }
}

/* RFC 9113 8.2.3: crumbs may come apart for the table's sake; behind us they are one field. */
static bool join_cookies(struct vv_h2_inner *s, struct vv_h1_head *h)
{
    struct vv_h1_field *first = &h->fields[h->first[VV_FIELD_COOKIE] - 1];
    size_t bytes = 0;
    uint32_t crumbs = 0, kept = 0;
    for (uint32_t i = 0; i < h->fields_count; i++) {
        if (h->fields[i].id == VV_FIELD_COOKIE) {
            bytes += h->fields[i].value.n + 2;
            crumbs++;
        }
    }
    if (crumbs < 2) {
        return true;
    }
    char *text = vv_h2_text(s, bytes), *at = text;
    if (text == NULL) {
        return false;
    }
    memset(h->first, 0, sizeof h->first);
    for (uint32_t i = 0; i < h->fields_count; i++) {
        const struct vv_h1_field *f = &h->fields[i];
        if (f->id == VV_FIELD_COOKIE) {
            if (at != text) {
                memcpy(at, "; ", 2);
                at += 2;
            }
            memcpy(at, f->value.p, f->value.n);
            at += f->value.n;
            if (f != first) {
                continue;
            }
        }
        h->fields[kept++] = *f;
        if (h->first[f->id] == 0) {
            h->first[f->id] = (uint8_t)kept;
        }
    }
    h->fields_count = kept;
    first->value = (struct vv_str){text, (size_t)(at - text)}; /* nothing before it has moved */
    return true;
}

static enum vv_h2_reason judge_connect(struct vv_h2_block *b)
{
    struct vv_h1_head *h = b->head;
    const unsigned all = VV_H2_P_SCHEME | VV_H2_P_PATH | VV_H2_P_AUTHORITY;
    if ((b->pseudo & VV_H2_P_PROTOCOL) != 0) {
        return h->method == VV_METHOD_CONNECT && (b->pseudo & all) == all ? VV_H2_FINE
                                                                          : VV_H2_WHY_PROTOCOL;
    }
    if ((b->pseudo & all) != VV_H2_P_AUTHORITY) {
        return VV_H2_WHY_CONNECT;
    }
    bool port = false;
    if (!vv_h1_authority_valid(h->authority, &port) || !port ||
        h->authority.p[h->authority.n - 1] == ':') {
        return VV_H2_WHY_CONNECT;
    }
    h->target = h->authority;
    h->target_form = VV_H1_AUTHORITY;
    return VV_H2_FINE;
}

static enum vv_h2_reason judge_request(struct vv_h2_block *b)
{
    struct vv_h1_head *h = b->head;
    const unsigned needed = VV_H2_P_METHOD | VV_H2_P_SCHEME | VV_H2_P_PATH;
    if ((b->pseudo & VV_H2_P_METHOD) == 0) {
        return VV_H2_WHY_PSEUDO_MISSING;
    }
    if (h->method == VV_METHOD_CONNECT || (b->pseudo & VV_H2_P_PROTOCOL) != 0) {
        const enum vv_h2_reason why = judge_connect(b);
        if (why != VV_H2_FINE) {
            return why;
        }
    } else if ((b->pseudo & needed) != needed) {
        return VV_H2_WHY_PSEUDO_MISSING;
    }
    if (h->target_form == VV_H1_ASTERISK && h->method != VV_METHOD_OPTIONS) {
        return VV_H2_WHY_PATH;
    }
    const struct vv_h1_field *host = vv_h1_find(h, VV_FIELD_HOST);
    if ((b->pseudo & VV_H2_P_AUTHORITY) == 0) {
        if (host == NULL || !authority_fine(host->value)) {
            return VV_H2_WHY_AUTHORITY;
        }
        h->authority = host->value;
    } else if (host != NULL && !vv_str_eq_nocase(host->value, h->authority)) {
        return VV_H2_WHY_HOST_DIFFERS;
    }
    h->has_host = true;
    const struct vv_h1_field *f = vv_h1_find(h, VV_FIELD_EXPECT);
    h->expect_continue = f != NULL && vv_h1_list_has(f->value, VV_STR("100-continue"));
    h->te_trailers = h->first[VV_FIELD_TE] != 0; /* known_field() saw what it says */
    return VV_H2_FINE;
}

/* RFC 9113 8.1.1. Content of an answer to HEAD, and of a 304, is not there though announced. */
static enum vv_h2_reason judge_length(struct vv_h2 *c, struct vv_h2_block *b, bool end)
{
    struct vv_h1_head *h = b->head;
    struct vv_h2_inner *s = b->s;
    bool chunked;
    h->minor = 1;
    if (vv_h1_framing_fields(h, &chunked) != VV_H1_FINE) {
        return VV_H2_WHY_LENGTH;
    }
    const bool bodyless =
        c->client && (s->head_method || h->status == 304 || h->status == 204 || h->status < 200);
    s->has_length = h->has_content_length || bodyless;
    s->content_length = bodyless ? 0 : h->content_length;
    if (h->method == VV_METHOD_CONNECT && !c->client) {
        s->has_length = false;
        s->tunnel = true;
        h->framing = VV_H1_BODY_TUNNEL;
        return VV_H2_FINE;
    }
    if (end && s->has_length && s->content_length > 0) {
        return VV_H2_WHY_LENGTH_DIFFERS;
    }
    if (bodyless || (end && !h->has_content_length)) {
        h->framing = VV_H1_BODY_NONE;
    } else {
        h->framing = h->has_content_length ? VV_H1_BODY_LENGTH : VV_H1_BODY_CHUNKED;
    }
    return VV_H2_FINE;
}

/* RFC 9218 section 4, as far as it is defined: "u=0..7" and "i"; the rest is ignored, as told
 * there. */
bool vv_h2_take_priority(struct vv_str value, uint8_t *urgency, bool *incremental)
{
    bool found = false;
    struct vv_str rest = value;
    while (rest.p != NULL) {
        struct vv_str item = vv_str_trim(vv_str_cut(&rest, ','));
        item = vv_str_trim(vv_str_cut(&item, ';'));
        if (item.n == 3 && memcmp(item.p, "u=", 2) == 0 && item.p[2] >= '0' && item.p[2] <= '7') {
            *urgency = (uint8_t)(item.p[2] - '0');
            found = true;
        } else if (vv_str_eq(item, VV_STR("i")) || vv_str_eq(item, VV_STR("i=?1"))) {
            *incremental = found = true;
        } else if (vv_str_eq(item, VV_STR("i=?0"))) {
            *incremental = false;
            found = true;
        }
    }
    return found;
}

static enum vv_h2_reason judge_head(struct vv_h2 *c, struct vv_h2_block *b, bool end)
{
    struct vv_h1_head *h = b->head;
    enum vv_h2_reason why = VV_H2_FINE;
    if (c->client) {
        if ((b->pseudo & VV_H2_P_STATUS) == 0) {
            return VV_H2_WHY_PSEUDO_MISSING;
        }
        if (h->status < 200 && end) {
            return VV_H2_WHY_INTERIM_END;
        }
    } else {
        why = judge_request(b);
    }
    return why == VV_H2_FINE ? judge_length(c, b, end) : why;
}

static void end_trailer(struct vv_h2 *c, struct vv_h2_block *b, bool end)
{
    struct vv_h2_inner *s = b->s;
    if (!end) {
        vv_h2_malformed(s, VV_H2_WHY_TRAILER_OPEN);
    } else if (b->too_large) {
        vv_h2_malformed(s, VV_H2_WHY_HEAD_TOO_LARGE);
    } else if (s->has_length && s->body_in != s->content_length) {
        vv_h2_malformed(s, VV_H2_WHY_LENGTH_DIFFERS);
    } else {
        if (c->events->trailers != NULL) {
            c->events->trailers(c->user, &s->pub, b->head);
        }
        vv_h2_peer_ended(s);
    }
}

static void tell_head(struct vv_h2 *c, struct vv_h2_block *b, bool end)
{
    struct vv_h2_inner *s = b->s;
    struct vv_h1_head *h = b->head;
    if (h->first[VV_FIELD_COOKIE] != 0 && !c->client && !join_cookies(s, h)) {
        vv_h2_fail(c, VV_H2_WHY_MEMORY);
        return;
    }
    if (b->too_large) {
        h->error = h->fields_count >= c->conf->fields ? VV_H1_ERR_TOO_MANY_FIELDS
                                                      : VV_H1_ERR_HEAD_TOO_LARGE;
        if (c->client) {
            vv_h2_malformed(s, VV_H2_WHY_HEAD_TOO_LARGE);
            return;
        }
        vv_h2_pool_counts(c->pool)->reason[VV_H2_WHY_HEAD_TOO_LARGE]++;
    }
    if (!s->told) {
        s->told = true;
        c->streams_told++;
    }
    s->final_head = !c->client || h->status >= 200;
    s->peer_ended = end;
    c->events->head(c->user, &s->pub, h, end);
    vv_h2_both_ended(s);
}

static void end_message_head(struct vv_h2 *c, struct vv_h2_block *b, bool end)
{
    struct vv_h2_inner *s = b->s;
    struct vv_h1_head *h = b->head;
    h->head_bytes = b->list_bytes;
    const enum vv_h2_reason why = judge_head(c, b, end);
    if (VV_UNLIKELY(why != VV_H2_FINE)) {
        vv_h2_malformed(s, why);
        return;
    }
    if (b->priority.n > 0 && !c->client && !s->priority_told) {
        (void)vv_h2_take_priority(b->priority, &s->urgency, &s->incremental);
    }
    tell_head(c, b, end);
}

VV_HOT void vv_h2_head_end(struct vv_h2 *c, struct vv_h2_block *b, bool end)
{
    if (b->is_trailer) {
        end_trailer(c, b, end);
    } else {
        end_message_head(c, b, end);
    }
}
