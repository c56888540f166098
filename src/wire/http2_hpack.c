/* src/wire/http2_hpack.c - HPACK over tables of pointers to entries.
 *
 * A connection meets a few dozen different fields and then the same ones again and again, so both
 * directions are made for that: decoding a field of the table is a look-up and no more, encoding
 * one is a hash over its bytes and one comparison. Everything else may cost an allocation. */
#include "wire/http2_hpack.h"

#include <string.h>

#define ENTRY_COST 32       /* RFC 7541 4.1 */
#define NUMBER_SHIFT_MAX 21 /* longer numbers than 28 bits and their prefix make no sense here */
#define LARGE_PART 4        /* a field over a quarter of the table would flush it */
#define HUFFMAN_MIN 4       /* shorter strings are not worth the look */
#define STATIC_SLOTS 256

struct vv_hpack_entry {
    uint32_t name_n, value_n;
    uint64_t hash, name_hash; /* of the encoder */
    uint32_t older;           /* entry of the same bucket, by number */
    uint16_t note;
    char bytes[];
};

const struct vv_hpack_static vv_hpack_statics[VV_HPACK_STATIC + 1] = {
#define VV_HPACK_ROW(index, n, v) [index] = {{n, sizeof(n) - 1}, {v, sizeof(v) - 1}},
#include "wire/http2_hpack.def"
#undef VV_HPACK_ROW
};

/* ---- the table */

static void table_init(struct vv_hpack_table *t, const struct vv_hpack_memory *memory,
                       uint32_t limit)
{
    *t = (struct vv_hpack_table){.memory = memory, .bytes_max = limit, .limit = limit};
}

static struct vv_hpack_entry *entry_new(const struct vv_hpack_table *t, size_t name_n,
                                        size_t value_n)
{
    struct vv_hpack_entry *e = t->memory->alloc(t->memory->user, sizeof *e + name_n + value_n);
    if (e != NULL) {
        *e = (struct vv_hpack_entry){.name_n = (uint32_t)name_n, .value_n = (uint32_t)value_n};
    }
    return e;
}

static void entry_free(const struct vv_hpack_table *t, struct vv_hpack_entry *e)
{
    t->memory->dealloc(t->memory->user, e);
}

static uint64_t cost_of(const struct vv_hpack_entry *e)
{
    return (uint64_t)e->name_n + e->value_n + ENTRY_COST;
}

/* Makes the table as small as it takes for so many bytes to be free. */
static void make_room(struct vv_hpack_table *t, uint64_t bytes)
{
    while (t->count > 0 && t->bytes + bytes > t->bytes_max) {
        struct vv_hpack_entry *oldest = t->ring[(t->put - t->count) & t->mask];
        t->bytes -= (uint32_t)cost_of(oldest);
        t->count--;
        entry_free(t, oldest);
    }
}

static bool ring_ready(struct vv_hpack_table *t)
{
    if (t->ring != NULL) {
        return true;
    }
    uint32_t slots = 8;
    while (slots < t->limit / ENTRY_COST) {
        slots *= 2;
    }
    t->ring = t->memory->alloc(t->memory->user, slots * sizeof(struct vv_hpack_entry *));
    t->mask = slots - 1;
    return t->ring != NULL;
}

/* The entry fits, once there is room; false: no memory. */
static bool table_put(struct vv_hpack_table *t, struct vv_hpack_entry *e)
{
    if (!ring_ready(t)) {
        return false;
    }
    make_room(t, cost_of(e));
    t->ring[t->put++ & t->mask] = e;
    t->count++;
    t->bytes += (uint32_t)cost_of(e);
    return true;
}

/* number: from 1; it may have left the table long ago. */
static struct vv_hpack_entry *entry_of(const struct vv_hpack_table *t, uint32_t number)
{
    return number != 0 && t->put - number < t->count ? t->ring[(number - 1) & t->mask] : NULL;
}

static void table_resize(struct vv_hpack_table *t, uint32_t bytes)
{
    t->bytes_max = bytes;
    make_room(t, 0);
}

static void table_fini(struct vv_hpack_table *t)
{
    table_resize(t, 0);
    t->memory->dealloc(t->memory->user, t->ring);
    t->ring = NULL;
}

/* ---- decoding */

void vv_hpack_in_init(struct vv_hpack_in *d, const struct vv_hpack_memory *memory, uint32_t limit)
{
    *d = (struct vv_hpack_in){.limit = limit};
    table_init(&d->table, memory, limit);
    table_resize(&d->table, 4096 < limit ? 4096 : limit); /* RFC 9113 6.5.2: so it starts */
}

static void *memory_of(struct vv_hpack_in *d, size_t bytes)
{
    return d->table.memory->alloc(d->table.memory->user, bytes);
}

static void give_back(struct vv_hpack_in *d, void *p)
{
    d->table.memory->dealloc(d->table.memory->user, p);
}

void vv_hpack_in_end(struct vv_hpack_in *d)
{
    give_back(d, d->scratch);
    give_back(d, d->loose);
    d->scratch = NULL;
    d->loose = NULL;
    d->scratch_bytes = d->scratch_used = 0;
}

void vv_hpack_in_fini(struct vv_hpack_in *d)
{
    vv_hpack_in_end(d);
    table_fini(&d->table);
}

void vv_hpack_in_limit(struct vv_hpack_in *d, uint32_t limit)
{
    d->must_shrink = limit < d->table.bytes_max;
    d->limit = limit;
}

void vv_hpack_in_begin(struct vv_hpack_in *d)
{
    d->field_seen = false;
}

/* RFC 7541 5.1. The byte at *at is there; its upper bits, which mean something else, are not
 * looked at. */
static enum vv_err take_number(const uint8_t **at, const uint8_t *end, unsigned bits, uint32_t *ret)
{
    const uint32_t full = (1U << bits) - 1;
    uint32_t v = *(*at)++ & full;
    if (VV_LIKELY(v < full)) {
        *ret = v;
        return VV_OK;
    }
    for (unsigned shift = 0; shift <= NUMBER_SHIFT_MAX && *at < end; shift += 7) {
        const uint8_t byte = *(*at)++;
        v += (uint32_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret = v;
            return VV_OK;
        }
    }
    return VV_ESYNTAX;
}

/* Room for a decoded string. What is there of this field already may move, so its place is kept by
 * offset: the name is the only one. */
static char *scratch_room(struct vv_hpack_in *d, size_t bytes, struct vv_str *name)
{
    if (d->scratch_bytes - d->scratch_used >= bytes) {
        return d->scratch + d->scratch_used;
    }
    const size_t want = d->scratch_used + bytes + 256;
    char *fresh = memory_of(d, want);
    if (fresh == NULL) {
        return NULL;
    }
    if (d->scratch_used > 0) {
        memcpy(fresh, d->scratch, d->scratch_used);
        if (name->p == d->scratch) {
            name->p = fresh;
        }
    }
    give_back(d, d->scratch);
    d->scratch = fresh;
    d->scratch_bytes = want;
    return fresh + d->scratch_used;
}

/* name: what is in the scratch already, or nothing. */
static enum vv_err take_string(struct vv_hpack_in *d, const uint8_t **at, const uint8_t *end,
                               struct vv_str *name, struct vv_str *ret)
{
    if (*at == end) {
        return VV_ESYNTAX;
    }
    const bool huffman = (**at & 0x80) != 0;
    uint32_t n;
    if (take_number(at, end, 7, &n) != VV_OK || n > (size_t)(end - *at)) {
        return VV_ESYNTAX;
    }
    const uint8_t *p = *at;
    *at += n;
    if (!huffman) {
        *ret = (struct vv_str){(const char *)p, n};
        return VV_OK;
    }
    char *to = scratch_room(d, vv_huffman_room(n), name);
    if (to == NULL) {
        return VV_ENOMEM;
    }
    const size_t got = vv_huffman_decode(to, p, n);
    if (got == SIZE_MAX) {
        return VV_ESYNTAX;
    }
    d->scratch_used += got;
    *ret = (struct vv_str){to, got};
    return VV_OK;
}

static enum vv_err take_indexed(const struct vv_hpack_in *d, uint32_t index,
                                struct vv_hpack_field *ret)
{
    if (index <= VV_HPACK_STATIC) {
        *ret = (struct vv_hpack_field){.name = vv_hpack_statics[index].name,
                                       .value = vv_hpack_statics[index].value,
                                       .index = index,
                                       .forever = true};
        return index > 0 ? VV_OK : VV_ESYNTAX;
    }
    const struct vv_hpack_table *t = &d->table;
    if (VV_UNLIKELY(index - VV_HPACK_STATIC > t->count)) {
        return VV_ESYNTAX;
    }
    struct vv_hpack_entry *e = t->ring[(t->put - (index - VV_HPACK_STATIC)) & t->mask];
    *ret = (struct vv_hpack_field){.name = {e->bytes, e->name_n},
                                   .value = {e->bytes + e->name_n, e->value_n},
                                   .note = &e->note};
    return VV_OK;
}

/* The field's bytes move into an entry: the name may be an older entry's, which goes now. */
static enum vv_err keep(struct vv_hpack_in *d, struct vv_hpack_field *f)
{
    struct vv_hpack_entry *e = entry_new(&d->table, f->name.n, f->value.n);
    if (e == NULL) {
        return VV_ENOMEM;
    }
    memcpy(e->bytes, f->name.p, f->name.n);
    memcpy(e->bytes + f->name.n, f->value.p, f->value.n);
    f->name.p = e->bytes;
    f->value.p = e->bytes + f->name.n;
    if (cost_of(e) > d->table.bytes_max) { /* RFC 7541 4.4: it only empties the table */
        make_room(&d->table, cost_of(e));
        give_back(d, d->loose);
        d->loose = e;
        return VV_OK;
    }
    if (!table_put(&d->table, e)) {
        entry_free(&d->table, e);
        return VV_ENOMEM;
    }
    f->note = &e->note;
    return VV_OK;
}

static enum vv_err take_literal(struct vv_hpack_in *d, const uint8_t **at, const uint8_t *end,
                                unsigned bits, struct vv_hpack_field *ret)
{
    uint32_t index;
    enum vv_err err = take_number(at, end, bits, &index);
    d->scratch_used = 0;
    *ret = (struct vv_hpack_field){0};
    if (err != VV_OK) {
        return err;
    }
    if (index > 0) {
        struct vv_hpack_field named;
        err = take_indexed(d, index, &named);
        ret->name = named.name;
    } else {
        err = take_string(d, at, end, &ret->name, &ret->name);
    }
    if (err == VV_OK) {
        err = take_string(d, at, end, &ret->name, &ret->value);
    }
    return err == VV_OK && bits == 6 ? keep(d, ret) : err;
}

VV_HOT enum vv_err vv_hpack_in_next(struct vv_hpack_in *d, const uint8_t **at, const uint8_t *end,
                                    struct vv_hpack_field *ret)
{
    while (*at < end) {
        const uint8_t first = **at;
        if ((first & 0xe0) == 0x20) { /* 001: the size of the table (RFC 7541 6.3) */
            uint32_t bytes;
            if (d->field_seen || take_number(at, end, 5, &bytes) != VV_OK || bytes > d->limit) {
                return VV_ESYNTAX;
            }
            table_resize(&d->table, bytes);
            d->must_shrink = false;
            continue;
        }
        if (VV_UNLIKELY(d->must_shrink)) {
            return VV_ESYNTAX;
        }
        d->field_seen = true;
        if ((first & 0x80) != 0) {
            uint32_t index;
            return take_number(at, end, 7, &index) == VV_OK ? take_indexed(d, index, ret)
                                                            : VV_ESYNTAX;
        }
        /* 01: put it into the table; 0000 and 0001: do not */
        return take_literal(d, at, end, (first & 0x40) != 0 ? 6 : 4, ret);
    }
    return VV_EAGAIN;
}

/* ---- encoding */

enum policy { AT_ONCE, WHEN_SEEN, NEVER };

static uint8_t static_slots[STATIC_SLOTS]; /* index of the first row with a name, by its hash */

static const uint8_t static_policy[VV_HPACK_STATIC + 1] = {
    [4] = WHEN_SEEN,  /* :path */
    [21] = WHEN_SEEN, /* age */
    [23] = NEVER,     /* authorization */
    [28] = WHEN_SEEN, /* content-length */
    [30] = WHEN_SEEN, /* content-range */
    [32] = NEVER,     /* cookie: of many people, on a connection to an upstream */
    [34] = WHEN_SEEN, /* etag */
    [36] = WHEN_SEEN, /* expires */
    [40] = WHEN_SEEN, /* if-modified-since */
    [41] = WHEN_SEEN, /* if-none-match */
    [44] = WHEN_SEEN, /* last-modified */
    [46] = WHEN_SEEN, /* location */
    [49] = NEVER,     /* proxy-authorization */
    [50] = WHEN_SEEN, /* range */
    [51] = WHEN_SEEN, /* referer */
    [55] = NEVER,     /* set-cookie */
};

static uint64_t mix(uint64_t h, uint64_t word)
{
    h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ h >> 29;
}

static uint64_t hash_bytes(uint64_t h, struct vv_str s)
{
    uint64_t word = 0;
    h = mix(h, s.n);
    if (s.n >= 8) {
        const char *last = s.p + s.n - 8;
        for (const char *p = s.p; p < last; p += 8) {
            memcpy(&word, p, 8);
            h = mix(h, word);
        }
        memcpy(&word, last, 8);
    } else if (s.n >= 4) {
        uint32_t a, b;
        memcpy(&a, s.p, 4);
        memcpy(&b, s.p + s.n - 4, 4);
        word = (uint64_t)a << 32 | b;
    } else if (s.n > 0) {
        word = (uint64_t)(uint8_t)s.p[0] << 16 | (uint64_t)(uint8_t)s.p[s.n / 2] << 8 |
               (uint8_t)s.p[s.n - 1];
    }
    return mix(h, word);
}

__attribute__((constructor)) static void fill_static_slots(void)
{
    for (uint8_t i = 1; i <= VV_HPACK_STATIC; i++) {
        if (i > 1 && vv_str_eq(vv_hpack_statics[i].name, vv_hpack_statics[i - 1].name)) {
            continue;
        }
        unsigned at = (unsigned)hash_bytes(0, vv_hpack_statics[i].name) % STATIC_SLOTS;
        while (static_slots[at] != 0) {
            at = (at + 1) % STATIC_SLOTS;
        }
        static_slots[at] = i;
    }
}

static uint32_t static_name(struct vv_str name, uint64_t hash)
{
    for (unsigned at = (unsigned)hash % STATIC_SLOTS; static_slots[at] != 0;
         at = (at + 1) % STATIC_SLOTS) {
        if (vv_str_eq(vv_hpack_statics[static_slots[at]].name, name)) {
            return static_slots[at];
        }
    }
    return 0;
}

void vv_hpack_out_init(struct vv_hpack_out *e, const struct vv_hpack_memory *memory, uint32_t limit)
{
    *e = (struct vv_hpack_out){.announce_min = UINT32_MAX};
    table_init(&e->table, memory, limit);
    table_resize(&e->table, 4096 < limit ? 4096 : limit);
    if (limit < 4096) {
        vv_hpack_out_limit(e, limit); /* the peer thinks of 4,096 until told */
    }
}

void vv_hpack_out_fini(struct vv_hpack_out *e)
{
    table_fini(&e->table);
}

void vv_hpack_out_limit(struct vv_hpack_out *e, uint32_t limit)
{
    limit = limit < e->table.limit ? limit : e->table.limit;
    e->announce = true;
    e->announce_min = limit < e->announce_min ? limit : e->announce_min;
    table_resize(&e->table, limit);
}

static uint8_t *put_number(uint8_t *to, uint8_t pattern, unsigned bits, uint32_t v)
{
    const uint32_t full = (1U << bits) - 1;
    if (VV_LIKELY(v < full)) {
        *to++ = (uint8_t)(pattern | v);
        return to;
    }
    *to++ = (uint8_t)(pattern | full);
    for (v -= full; v >= 0x80; v >>= 7) {
        *to++ = (uint8_t)(v | 0x80);
    }
    *to++ = (uint8_t)v;
    return to;
}

static uint8_t *put_string(uint8_t *to, struct vv_str s, bool huffman)
{
    if (huffman && s.n >= HUFFMAN_MIN) {
        const size_t n = vv_huffman_bytes(s);
        if (n < s.n) {
            return vv_huffman_encode(put_number(to, 0x80, 7, (uint32_t)n), s);
        }
    }
    to = put_number(to, 0, 7, (uint32_t)s.n);
    if (s.n > 0) {
        memcpy(to, s.p, s.n);
    }
    return to + s.n;
}

uint8_t *vv_hpack_out_begin(struct vv_hpack_out *e, uint8_t *to)
{
    if (VV_UNLIKELY(e->announce)) {
        if (e->announce_min < e->table.bytes_max) { /* RFC 7541 4.2: the least, then the last */
            to = put_number(to, 0x20, 5, e->announce_min);
        }
        to = put_number(to, 0x20, 5, e->table.bytes_max);
        e->announce = false;
        e->announce_min = UINT32_MAX;
    }
    return to;
}

static uint32_t index_of(const struct vv_hpack_table *t, uint32_t number)
{
    return VV_HPACK_STATIC + 1 + t->put - number;
}

/* Number of the entry with this field, 0: none. */
static uint32_t find_field(const struct vv_hpack_out *e, uint64_t hash, struct vv_str name,
                           struct vv_str value)
{
    uint32_t number = e->bucket[hash % VV_HPACK_BUCKETS];
    const struct vv_hpack_entry *x;
    while ((x = entry_of(&e->table, number)) != NULL) {
        if (x->hash == hash && x->name_n == name.n && x->value_n == value.n &&
            vv_hpack_same(x->bytes, name.p, name.n) &&
            vv_hpack_same(x->bytes + name.n, value.p, value.n)) {
            return number;
        }
        number = x->older;
    }
    return 0;
}

static bool worth_keeping(struct vv_hpack_out *e, enum policy policy, uint64_t hash, uint64_t cost)
{
    if (policy == NEVER || cost > e->table.bytes_max / LARGE_PART) {
        return false;
    }
    const uint16_t trace = (uint16_t)(hash >> 32);
    uint16_t *seen = &e->seen[(hash >> 8) % VV_HPACK_BUCKETS];
    const bool again = *seen == trace;
    *seen = trace;
    return again || policy == AT_ONCE;
}

static bool put_entry(struct vv_hpack_out *e, struct vv_str name, struct vv_str value,
                      uint64_t name_hash, uint64_t hash)
{
    struct vv_hpack_entry *x = entry_new(&e->table, name.n, value.n);
    if (x == NULL) {
        return false;
    }
    memcpy(x->bytes, name.p, name.n);
    if (value.n > 0) {
        memcpy(x->bytes + name.n, value.p, value.n);
    }
    x->hash = hash;
    x->name_hash = name_hash;
    x->older = e->bucket[hash % VV_HPACK_BUCKETS];
    if (!table_put(&e->table, x)) {
        entry_free(&e->table, x);
        return false;
    }
    e->bucket[hash % VV_HPACK_BUCKETS] = e->name[name_hash % VV_HPACK_BUCKETS] = e->table.put;
    return true;
}

/* A field that is in no table. */
static uint8_t *put_literal(struct vv_hpack_out *e, uint8_t *to, struct vv_str name,
                            struct vv_str value, uint64_t name_hash, uint64_t hash, bool secret)
{
    uint32_t index = static_name(name, name_hash);
    enum policy policy = static_policy[index];
    if (index == 0) {
        const uint32_t number = e->name[name_hash % VV_HPACK_BUCKETS];
        const struct vv_hpack_entry *x = entry_of(&e->table, number);
        if (x != NULL && x->name_hash == name_hash && x->name_n == name.n &&
            memcmp(x->bytes, name.p, name.n) == 0) {
            index = index_of(&e->table, number);
            policy = WHEN_SEEN; /* else at once, for the name's sake */
        }
    }
    policy = secret ? NEVER : policy;
    const bool keeps = worth_keeping(e, policy, hash, name.n + value.n + ENTRY_COST) &&
                       put_entry(e, name, value, name_hash, hash);
    e->last = keeps ? e->table.put : 0;
    if (keeps) {
        to = put_number(to, 0x40, 6, index);
    } else {
        to = put_number(to, policy == NEVER ? 0x10 : 0, 4, index);
    }
    if (index == 0) {
        to = put_string(to, name, true);
    }
    return put_string(to, value, keeps);
}

VV_HOT uint8_t *vv_hpack_out_field(struct vv_hpack_out *e, uint8_t *to, struct vv_str name,
                                   struct vv_str value, bool secret)
{
    const uint64_t name_hash = hash_bytes(0, name);
    const uint64_t hash = hash_bytes(name_hash, value);
    const uint32_t number = secret ? 0 : find_field(e, hash, name, value);
    e->last = number;
    if (VV_LIKELY(number != 0)) {
        return put_number(to, 0x80, 7, index_of(&e->table, number));
    }
    if (name.n > 0 && name.p[0] == ':') { /* only these have values worth a look */
        for (uint32_t i = static_name(name, name_hash);
             i > 0 && i < 15 && vv_str_eq(vv_hpack_statics[i].name, name); i++) {
            if (vv_str_eq(vv_hpack_statics[i].value, value) && value.n > 0) {
                return put_number(to, 0x80, 7, i);
            }
        }
    }
    return put_literal(e, to, name, value, name_hash, hash, secret);
}

uint8_t *vv_hpack_out_again(struct vv_hpack_out *e, uint8_t *to, uint32_t number)
{
    e->last = number;
    return entry_of(&e->table, number) != NULL
               ? put_number(to, 0x80, 7, index_of(&e->table, number))
               : NULL;
}

uint8_t *vv_hpack_out_status(struct vv_hpack_out *e, uint8_t *to, int status)
{
    static const int indexed[] = {200, 204, 206, 304, 400, 404, 500}; /* from index 8 on */
    for (size_t i = 0; i < VV_COUNT(indexed); i++) {
        if (indexed[i] == status) {
            *to++ = (uint8_t)(0x80 | (8 + i));
            return to;
        }
    }
    const char text[3] = {(char)('0' + status / 100), (char)('0' + status / 10 % 10),
                          (char)('0' + status % 10)};
    return vv_hpack_out_field(e, to, VV_STR(":status"), (struct vv_str){text, 3}, false);
}
