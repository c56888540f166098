/* tests/fuzz/fuzz_packed.c - the reader of packed objects answers the same however a value is cut, lends no more
 * than the value promised, and once it has ended well the value can be written again. */
#include "cache/packed_int.h"
#include <stdlib.h>

#define HEAD_MAX 8192
#define BODY_MAX (256 * VV_KIB)

static const struct vv_packed_limits limits = {HEAD_MAX, BODY_MAX};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct result {
    struct vv_sb body;
    enum vv_err err;
    bool head;
    uint64_t id;
};

static void check_head(const struct vv_packed_head *h)
{
    struct vv_sb again = VV_SB_INIT;
    VV_ASSERT(h->body_n <= BODY_MAX && h->id != 0);
    VV_ASSERT(vv_packed_write_head(&again, h) == VV_OK);
    VV_ASSERT(again.n <= HEAD_MAX);
    VV_ASSERT(vv_packed_id(vv_sb_str(&again)) == h->id);
    vv_sb_fini(&again);
}

static struct result read_in_runs(const char *p, size_t n, size_t run)
{
    struct result res = {.body = VV_SB_INIT, .err = VV_EAGAIN};
    struct vv_packed_reader *r = NULL;
    VV_ASSERT(vv_packed_reader_new(&limits, &r) == VV_OK);
    for (size_t at = 0; at < n && (res.err == VV_EAGAIN || res.err == VV_OK); at += run) {
        struct vv_str s;
        res.err = vv_packed_feed(r, (struct vv_str){p + at, n - at < run ? n - at : run});
        if (res.err != VV_OK) {
            break;
        }
        while ((res.err = vv_packed_body(r, &s)) == VV_OK && s.n > 0) {
            VV_ASSERT(s.n <= VV_PACKED_CHUNK);
            vv_sb_add(&res.body, s);
        }
    }
    const struct vv_packed_head *h = vv_packed_head(r);
    res.head = h != NULL;
    if (h != NULL) {
        res.id = h->id;
        check_head(h);
        VV_ASSERT(res.body.n <= h->body_n);
        VV_ASSERT(res.err != VV_OK || res.body.n == h->body_n);
    }
    VV_ASSERT(h != NULL || (res.err != VV_OK && res.body.n == 0));
    vv_packed_reader_free(r);
    return res;
}

/* The sums that chance never gets right, so that what is behind them is reached. */
static void repair(char *p, size_t n)
{
    if (n < PACKED_FIXED) {
        return;
    }
    const size_t parts_n =
        (size_t)packed_get32(p + PACKED_AT_META_N) + packed_get32(p + PACKED_AT_TAGS_N) * 8ul +
        packed_get32(p + PACKED_AT_KEY_N) + packed_get32(p + PACKED_AT_SECOND_N) +
        packed_get32(p + PACKED_AT_HEAD_N);
    size_t at = PACKED_FIXED;
    if (parts_n <= n - at) {
        const struct vv_str parts = {p + at, parts_n};
        packed_put64(p + PACKED_AT_PARTS_SUM, vv_str_hash(parts, 0));
    }
    packed_put64(p + PACKED_AT_SUM, vv_str_hash((struct vv_str){p, PACKED_AT_SUM}, 0));
    if (parts_n > n - at) {
        return;
    }
    at += parts_n;
    while (n - at >= PACKED_CHUNK_HEAD) {
        const uint32_t plain_n = packed_get32(p + at + PACKED_CHUNK_PLAIN_N);
        const uint32_t stored_n = packed_get32(p + at + PACKED_CHUNK_STORED_N);
        const struct vv_str stored = {p + at + PACKED_CHUNK_HEAD, stored_n & ~PACKED_COMPRESSED};
        if (stored.n > n - at - PACKED_CHUNK_HEAD) {
            return;
        }
        packed_put64(p + at + PACKED_CHUNK_SUM, packed_chunk_sum(stored, plain_n, stored_n));
        at += PACKED_CHUNK_HEAD + stored.n;
    }
}

static void compare(const char *p, size_t n, size_t run)
{
    struct result whole = read_in_runs(p, n, n);
    struct result cut = read_in_runs(p, n, run);
    VV_ASSERT(whole.head == cut.head);
    VV_ASSERT(whole.id == cut.id || !whole.head);
    /* What follows the end, or can never be part of the body, is met earlier in one run. */
    VV_ASSERT(whole.err == cut.err || whole.err == VV_ESYNTAX);
    VV_ASSERT(whole.body.n <= cut.body.n);
    VV_ASSERT(whole.body.n == 0 || memcmp(whole.body.p, cut.body.p, whole.body.n) == 0);
    vv_sb_fini(&whole.body);
    vv_sb_fini(&cut.body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 200000) {
        return 0;
    }
    const size_t n = size - 1;
    const size_t run =
        1 + data[0] * (size > 4096 ? 64ul : 1ul); /* the first byte: length of a run */
    char *copy = malloc(n);
    VV_ASSERT(copy != NULL);
    memcpy(copy, data + 1, n);
    compare(copy, n, run);
    repair(copy, n);
    compare(copy, n, run);
    free(copy);
    return 0;
}
