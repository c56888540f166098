/* src/series/rows.c - a log of batches costs about a byte a sample: most series did not change or
 * changed by a small whole number, and a batch has the series of the one before. Every 64th record is
 * a key that stands alone, so that damage costs a minute and not the rest of the log. */
#include "series/series_int.h"

#include <stdlib.h>

#define MAGIC UINT32_C(0x72a5565a)
#define KEY_EVERY 64
#define WHOLE_MAX INT64_C(0x10000000000000) /* 2^52: whole numbers that a double holds exactly */
#define VALUE_BYTES 20                      /* at most: an id, a token and eight bytes */

bool vv_bytes_room(struct vv_bytes *b, size_t more)
{
    if (b->failed || more > SIZE_MAX / 4 - b->n) {
        b->failed = true;
        return false;
    }
    if (b->n + more > b->cap) {
        const size_t cap = (b->n + more) * 2;
        uint8_t *p = realloc(b->p, cap);
        if (p == NULL) {
            b->failed = true;
            return false;
        }
        b->p = p;
        b->cap = cap;
    }
    return true;
}

void vv_bytes_add(struct vv_bytes *b, const void *p, size_t n)
{
    if (n > 0 && vv_bytes_room(b, n)) {
        memcpy(b->p + b->n, p, n);
        b->n += n;
    }
}

void vv_bytes_fini(struct vv_bytes *b)
{
    free(b->p);
    *b = (struct vv_bytes){0};
}

void vv_bytes_varint(struct vv_bytes *b, uint64_t v)
{
    while (v >= 0x80) {
        b->p[b->n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    b->p[b->n++] = (uint8_t)v;
}

static uint64_t zigzag(int64_t v)
{
    return ((uint64_t)v << 1) ^ (v < 0 ? UINT64_MAX : 0);
}

static int64_t unzigzag(uint64_t u)
{
    return (int64_t)(u >> 1) ^ ((u & 1) != 0 ? -1 : 0);
}

void vv_bytes_zigzag(struct vv_bytes *b, int64_t v)
{
    vv_bytes_varint(b, zigzag(v));
}

uint64_t vv_cursor_varint(struct vv_cursor *c)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (c->p == c->end) {
            break;
        }
        const uint8_t byte = *c->p++;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            return v;
        }
    }
    c->bad = true;
    return 0;
}

int64_t vv_cursor_zigzag(struct vv_cursor *c)
{
    return unzigzag(vv_cursor_varint(c));
}

const uint8_t *vv_cursor_take(struct vv_cursor *c, size_t n)
{
    if (c->bad || n > (size_t)(c->end - c->p)) {
        c->bad = true;
        return NULL;
    }
    const uint8_t *p = c->p;
    c->p += n;
    return p;
}

void vv_record_begin(struct vv_bytes *b, size_t *ret_at)
{
    static const uint8_t head[VV_RECORD_HEAD];
    *ret_at = b->n;
    vv_bytes_add(b, head, sizeof head);
}

void vv_record_end(struct vv_bytes *b, size_t at)
{
    if (b->failed) {
        return;
    }
    const uint32_t magic = MAGIC, n = (uint32_t)(b->n - at - VV_RECORD_HEAD);
    const struct vv_str body = {(const char *)b->p + at + VV_RECORD_HEAD, n};
    const uint64_t hash = vv_str_hash(body, n);
    memcpy(b->p + at, &magic, 4);
    memcpy(b->p + at + 4, &n, 4);
    memcpy(b->p + at + 8, &hash, 8);
}

static bool record_at(const uint8_t *buf, size_t n, struct vv_str *ret)
{
    uint32_t magic, bytes;
    uint64_t hash;
    if (n < VV_RECORD_HEAD) {
        return false;
    }
    memcpy(&magic, buf, 4);
    memcpy(&bytes, buf + 4, 4);
    memcpy(&hash, buf + 8, 8);
    if (magic != MAGIC || bytes > n - VV_RECORD_HEAD) {
        return false;
    }
    *ret = (struct vv_str){(const char *)buf + VV_RECORD_HEAD, bytes};
    return vv_str_hash(*ret, bytes) == hash;
}

bool vv_record_next(const uint8_t *buf, size_t n, size_t *at, struct vv_str *ret, bool *ret_gap,
                    uint64_t *damaged)
{
    *ret_gap = false;
    for (size_t i = *at; i + VV_RECORD_HEAD <= n; i++) {
        if (record_at(buf + i, n - i, ret)) {
            *ret_gap = i != *at;
            *damaged += i != *at;
            *at = i + VV_RECORD_HEAD + ret->n;
            return true;
        }
    }
    return false;
}

void vv_rows_fini(struct vv_rows *r)
{
    free(r->prev);
    free(r->prev_epoch);
    free(r->ids);
    *r = (struct vv_rows){0};
}

void vv_rows_restart(struct vv_rows *r)
{
    r->left = 0;
}

static void begin_key(struct vv_rows *r)
{
    r->left = KEY_EVERY;
    r->epoch++;
    r->ids_n = 0;
    r->t_ms = 0;
}

static bool reach(struct vv_rows *r, uint32_t id)
{
    if (id < r->cap) {
        return true;
    }
    const size_t cap = 2 * (size_t)id + 64;
    uint64_t *prev = realloc(r->prev, cap * sizeof *prev);
    if (prev == NULL) {
        return false;
    }
    r->prev = prev;
    uint32_t *epoch = realloc(r->prev_epoch, cap * sizeof *epoch);
    if (epoch == NULL) {
        return false;
    }
    memset(epoch + r->cap, 0, (cap - r->cap) * sizeof *epoch);
    r->prev_epoch = epoch;
    r->cap = cap;
    return true;
}

static bool reach_ids(struct vv_rows *r, size_t n)
{
    if (n > r->ids_cap) {
        uint32_t *ids = realloc(r->ids, 2 * n * sizeof *ids);
        if (ids == NULL) {
            return false;
        }
        r->ids = ids;
        r->ids_cap = 2 * n;
    }
    return true;
}

/* Epoch 0 never runs, so a fresh place is of no epoch. */
static uint64_t *previous(struct vv_rows *r, uint32_t id)
{
    if (r->prev_epoch[id] != r->epoch) {
        r->prev_epoch[id] = r->epoch;
        r->prev[id] = 0;
    }
    return &r->prev[id];
}

static bool whole(uint64_t bits, int64_t *ret)
{
    double v;
    uint64_t back;
    memcpy(&v, &bits, sizeof v);
    if (!(v > (double)-WHOLE_MAX && v < (double)WHOLE_MAX)) {
        return false;
    }
    *ret = (int64_t)v;
    v = (double)*ret;
    memcpy(&back, &v, sizeof back);
    return back == bits; /* -0.0 is no whole number here */
}

/* Tokens: 0 unchanged and how many more so, 1 a difference of whole numbers, 2 differing bytes. */
static void put_values(struct vv_rows *r, const struct vv_row_value *at, size_t n,
                       struct vv_bytes *out)
{
    uint64_t same = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t *prev = previous(r, at[i].id);
        const uint64_t differ = *prev ^ at[i].bits;
        int64_t was = 0, is = 0;
        if (differ == 0) {
            same++;
            continue;
        }
        if (same > 0) {
            vv_bytes_varint(out, (same - 1) << 2);
            same = 0;
        }
        if (whole(*prev, &was) && whole(at[i].bits, &is)) {
            vv_bytes_varint(out, zigzag(is - was) << 2 | 1);
        } else {
            const unsigned high = (unsigned)__builtin_clzll(differ) / 8;
            const unsigned low = (unsigned)__builtin_ctzll(differ) / 8;
            const uint64_t part = differ >> (8 * low);
            vv_bytes_varint(out, (uint64_t)(high << 3 | low) << 2 | 2);
            memcpy(out->p + out->n, &part, 8);
            out->n += 8 - high - low;
        }
        *prev = at[i].bits;
    }
    if (same > 0) {
        vv_bytes_varint(out, (same - 1) << 2);
    }
}

static bool same_ids(const struct vv_rows *r, const struct vv_row_value *at, size_t n)
{
    if (n != r->ids_n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (at[i].id != r->ids[i]) {
            return false;
        }
    }
    return true;
}

static bool put_row(struct vv_rows *r, const struct vv_row_value *at, size_t n,
                    struct vv_bytes *out)
{
    uint32_t last = 0;
    if (!vv_bytes_room(out, (n + 2) * VALUE_BYTES) || !reach_ids(r, n)) {
        return false;
    }
    vv_bytes_zigzag(out, at[0].t_ms - r->t_ms);
    r->t_ms = at[0].t_ms;
    if (same_ids(r, at, n)) {
        vv_bytes_varint(out, 0);
    } else {
        vv_bytes_varint(out, n);
        for (size_t i = 0; i < n; i++) {
            if (!reach(r, at[i].id)) {
                return false;
            }
            vv_bytes_zigzag(out, (int64_t)at[i].id - (int64_t)last);
            last = r->ids[i] = at[i].id;
        }
        r->ids_n = n;
    }
    put_values(r, at, n, out);
    return true;
}

enum vv_err vv_rows_write(struct vv_rows *r, int64_t until_ms, const struct vv_row_value *at,
                          size_t n, struct vv_bytes *out)
{
    const bool key = r->left == 0;
    size_t head = 0;
    bool ok = vv_bytes_room(out, 64);
    if (key) {
        begin_key(r);
    }
    r->left--;
    vv_record_begin(out, &head);
    vv_bytes_add(out, &(uint8_t){key ? 1 : 0}, 1);
    vv_bytes_add(out, &until_ms, sizeof until_ms);
    for (size_t i = 0, end = 0; ok && i < n; i = end) {
        for (end = i + 1; end < n && at[end].t_ms == at[i].t_ms;) {
            end++;
        }
        ok = put_row(r, at + i, end - i, out);
    }
    vv_record_end(out, head);
    if (!ok || out->failed) {
        vv_rows_restart(r); /* what was not written must not be built upon */
        return VV_ENOMEM;
    }
    return VV_OK;
}

static bool get_ids(struct vv_rows *r, struct vv_cursor *c)
{
    const uint64_t n = vv_cursor_varint(c);
    int64_t id = 0;
    if (n == 0) {
        return !c->bad && r->ids_n > 0;
    }
    if (n > (size_t)(c->end - c->p) || !reach_ids(r, n)) {
        return false;
    }
    r->ids_n = 0; /* until all of them are known to be good */
    for (size_t i = 0; i < n; i++) {
        const int64_t gap = vv_cursor_zigzag(c);
        if (c->bad || gap < -VV_SAMPLES_SERIES_MAX || gap > VV_SAMPLES_SERIES_MAX) {
            return false;
        }
        id += gap;
        if (id < 0 || id >= VV_SAMPLES_SERIES_MAX || !reach(r, (uint32_t)id)) {
            return false;
        }
        r->ids[i] = (uint32_t)id;
    }
    r->ids_n = n;
    return true;
}

static bool get_value(struct vv_cursor *c, uint64_t token, uint64_t *prev)
{
    int64_t was = 0;
    if ((token & 3) == 1) {
        const int64_t by = unzigzag(token >> 2);
        if (!whole(*prev, &was) || by > 2 * WHOLE_MAX || by < -2 * WHOLE_MAX) {
            return false;
        }
        const double v = (double)(was + by);
        memcpy(prev, &v, sizeof v);
        return true;
    }
    const unsigned high = (unsigned)(token >> 5) & 7, low = (unsigned)(token >> 2) & 7;
    uint64_t part = 0;
    if ((token & 3) != 2 || token >> 8 != 0 || high + low > 7) {
        return false;
    }
    const uint8_t *p = vv_cursor_take(c, 8 - high - low);
    if (p == NULL) {
        return false;
    }
    memcpy(&part, p, 8 - high - low);
    *prev ^= part << (8 * low);
    return true;
}

static bool get_row(struct vv_rows *r, struct vv_cursor *c, struct vv_row_value *at)
{
    uint64_t same = 0;
    for (size_t i = 0; i < r->ids_n; i++) {
        uint64_t *prev = previous(r, r->ids[i]);
        if (same > 0) {
            same--;
        } else {
            const uint64_t token = vv_cursor_varint(c);
            if (c->bad) {
                return false;
            }
            if ((token & 3) == 0) {
                same = token >> 2;
            } else if (!get_value(c, token, prev)) {
                return false;
            }
        }
        at[i] = (struct vv_row_value){r->t_ms, *prev, r->ids[i]};
    }
    return same == 0;
}

static bool get_record(struct vv_rows *r, struct vv_cursor *c, vv_rows_fn *fn, void *user)
{
    int64_t until_ms = 0, by = 0;
    const uint8_t *p = vv_cursor_take(c, sizeof until_ms);
    if (p == NULL) {
        return false;
    }
    memcpy(&until_ms, p, sizeof until_ms);
    if (c->p == c->end) {
        fn(user, until_ms, NULL, 0);
    }
    while (c->p < c->end) {
        by = vv_cursor_zigzag(c);
        if (__builtin_add_overflow(r->t_ms, by, &r->t_ms) || r->t_ms < 0 ||
            r->t_ms > VV_SERIES_T_MAX || !get_ids(r, c)) {
            return false;
        }
        struct vv_row_value *at = malloc(r->ids_n * sizeof *at);
        const bool ok = at != NULL && get_row(r, c, at);
        if (ok) {
            fn(user, until_ms, at, r->ids_n);
        }
        free(at);
        if (!ok) {
            return false;
        }
    }
    return true;
}

size_t vv_rows_read(struct vv_rows *r, const uint8_t *buf, size_t bytes, vv_rows_fn *fn, void *user,
                    uint64_t *damaged)
{
    size_t at = 0;
    struct vv_str record;
    bool gap = false, lost = true; /* until a key comes */
    while (vv_record_next(buf, bytes, &at, &record, &gap, damaged)) {
        struct vv_cursor c = {(const uint8_t *)record.p, (const uint8_t *)record.p + record.n,
                              false};
        const uint8_t *key = vv_cursor_take(&c, 1);
        lost = lost || gap;
        if (key != NULL && *key == 1) {
            begin_key(r);
            lost = false;
        }
        if (lost || key == NULL || !get_record(r, &c, fn, user)) {
            *damaged += 1;
            lost = true;
        }
    }
    vv_rows_restart(r);
    return at;
}
