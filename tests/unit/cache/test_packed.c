/* tests/unit/cache/test_packed.c - packed objects come back as they were, or not at all. */
#include "base/rng.h"
#include "cache/packed_int.h"
#include "vv_test.h"
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define BIG (10 * 1024 * 1024)

static const struct vv_packed_limits wide = {.head_max = VV_PACKED_HEAD_MAX,
                                             .body_max = 64 * VV_MIB};
static const uint64_t two_tags[] = {UINT64_C(0x1122334455667788), 7};

static struct vv_packed_head sample(void)
{
    return (struct vv_packed_head){
        .id = UINT64_C(0xfedcba9876543210),
        .log = UINT64_C(1234567890123) << 20 | 5,
        .written_ms = 1700000000000,
        .keep_until_ms = 1700000060000,
        .store_until_ms = 1700007200000,
        .meta = VV_STR("\x01metadata with a \0 in it"),
        .key = VV_STR("GET|http|example.test|/a"),
        .second = VV_STR("accept-encoding=gzip"),
        .head = VV_STR("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"),
        .tags = two_tags,
        .tags_n = 2,
    };
}

/* The value with its body in chunks of `step` bytes. */
static void write_value(struct vv_sb *out, const struct vv_packed_head *h, const char *body,
                        size_t step, size_t min_compress)
{
    VV_CHECK_INT(vv_packed_write_head(out, h), VV_OK);
    for (size_t at = 0; at < h->body_n; at += step) {
        const size_t n = h->body_n - at < step ? h->body_n - at : step;
        VV_CHECK_INT(vv_packed_write_chunk(out, (struct vv_str){body + at, n}, min_compress),
                     VV_OK);
    }
}

struct seen {
    struct vv_sb body;
    enum vv_err err; /* VV_OK: the end; VV_EAGAIN: it was cut */
    bool whole_head;
    struct vv_packed_head head; /* slices are gone */
};

/* Takes all that can be had now. */
static enum vv_err drain(struct vv_packed_reader *r, struct vv_sb *body)
{
    struct vv_str s;
    enum vv_err err;
    while ((err = vv_packed_body(r, &s)) == VV_OK && s.n > 0) {
        vv_sb_add(body, s);
    }
    VV_CHECK(err == VV_OK || (s.p == NULL && s.n == 0)); /* a failure lends nothing */
    return err;
}

/* Feeds in runs of at most run_max bytes, by chance when rng is given. */
static struct vv_packed_reader *feed_value(struct vv_str v, const struct vv_packed_limits *limits,
                                           size_t run_max, struct vv_rng *rng, struct seen *ret)
{
    struct vv_packed_reader *r = NULL;
    *ret = (struct seen){.body = VV_SB_INIT, .err = VV_EAGAIN};
    VV_CHECK_INT(vv_packed_reader_new(limits, &r), VV_OK);
    while (v.n > 0 && ret->err == VV_EAGAIN) {
        size_t n = rng != NULL ? 1 + vv_rng_below(rng, run_max) : run_max;
        n = n < v.n ? n : v.n;
        char *run =
            malloc(n); /* exact and short-lived: a sanitizer sees what is kept or overread */
        VV_CHECK(run != NULL);
        memcpy(run, v.p, n);
        ret->err = vv_packed_feed(r, (struct vv_str){run, n});
        free(run);
        if (ret->err == VV_OK) {
            ret->err = drain(r, &ret->body);
        }
        v.p += n;
        v.n -= n;
    }
    if (ret->err == VV_OK && v.n > 0) { /* more than the value */
        ret->err = vv_packed_feed(r, v);
    }
    ret->whole_head = vv_packed_head(r) != NULL;
    if (ret->whole_head) {
        ret->head = *vv_packed_head(r);
    }
    return r;
}

static struct seen read_value(struct vv_str v, const struct vv_packed_limits *limits,
                              size_t run_max, struct vv_rng *rng)
{
    struct seen s;
    vv_packed_reader_free(feed_value(v, limits, run_max, rng, &s));
    return s;
}

static void check_head(const struct vv_packed_head *got, const struct vv_packed_head *want)
{
    VV_CHECK(got->id == want->id && got->log == want->log);
    VV_CHECK_INT(got->written_ms, want->written_ms);
    VV_CHECK_INT(got->keep_until_ms, want->keep_until_ms);
    VV_CHECK_INT(got->store_until_ms, want->store_until_ms);
    VV_CHECK_INT(got->body_n, want->body_n);
    VV_CHECK_INT(got->marker, want->marker);
    VV_CHECK(vv_str_eq(got->meta, want->meta) && vv_str_eq(got->key, want->key));
    VV_CHECK(vv_str_eq(got->second, want->second) && vv_str_eq(got->head, want->head));
    VV_CHECK_INT(got->tags_n, want->tags_n);
    VV_CHECK_INT((uintptr_t)got->tags % 8, 0);
    VV_CHECK_INT((uintptr_t)got->meta.p % 8, 0);
    for (uint32_t i = 0; i < want->tags_n; i++) {
        VV_CHECK(got->tags[i] == want->tags[i]);
    }
}

/* Writes, reads in runs, compares everything. */
static void round_trip(const struct vv_packed_head *h, const char *body, size_t step,
                       size_t min_compress, size_t run_max, struct vv_rng *rng)
{
    struct vv_sb out = VV_SB_INIT;
    struct seen s;
    write_value(&out, h, body, step, min_compress);
    VV_CHECK(vv_packed_id((struct vv_str){out.p, VV_PACKED_ID_END}) == h->id);
    struct vv_packed_reader *r = feed_value(vv_sb_str(&out), &wide, run_max, rng, &s);
    VV_CHECK_INT(s.err, VV_OK);
    check_head(vv_packed_head(r), h);
    VV_CHECK_INT(s.body.n, h->body_n);
    VV_CHECK(h->body_n == 0 || memcmp(s.body.p, body, s.body.n) == 0);
    vv_packed_reader_free(r);
    vv_sb_fini(&s.body);
    vv_sb_fini(&out);
}

/* Lines with few different words: zstd makes a fraction of it. */
static char *text_body(size_t n)
{
    char *p = malloc(n + 32);
    VV_CHECK(p != NULL);
    for (size_t at = 0, line = 0; at < n; line++) {
        at += (size_t)snprintf(p + at, 32, "line %zu of the answer\n", line % 1000);
    }
    return p;
}

static char *noise_body(size_t n)
{
    struct vv_rng rng;
    char *p = malloc(n + 8);
    VV_CHECK(p != NULL);
    vv_rng_init(&rng, 3);
    for (size_t at = 0; at < n; at += 8) {
        const uint64_t v = vv_rng_u64(&rng);
        memcpy(p + at, &v, 8);
    }
    return p;
}

VV_TEST(packed_objects_come_back_however_they_are_cut_and_fed)
{
    static const size_t lengths[] = {0, 1, 100, 1023, 1024, 65535, 65536, 65537, 200000, 300001};
    struct vv_rng rng;
    vv_rng_init(&rng, 1);
    char *text = text_body(300001);
    char *noise = noise_body(300001);
    for (size_t i = 0; i < VV_COUNT(lengths); i++) {
        struct vv_packed_head h = sample();
        h.body_n = lengths[i];
        for (int turn = 0; turn < 8; turn++) {
            const size_t step = turn < 2 ? VV_PACKED_CHUNK : 500 + vv_rng_below(&rng, 65037);
            const size_t runs = turn % 2 == 0 ? 500000 : 1 + vv_rng_below(&rng, 40000);
            round_trip(&h, text, step, turn % 3 == 0 ? SIZE_MAX : 0, runs, &rng);
            round_trip(&h, noise, step, 0, runs, &rng);
        }
    }
    struct vv_packed_head h = sample(); /* byte by byte, one chunk each */
    h.body_n = 300;
    round_trip(&h, text, 1, 0, 1, NULL);
    free(text);
    free(noise);
}

VV_TEST(packed_body_of_ten_megabytes_comes_back)
{
    struct vv_packed_head h = sample();
    char *text = text_body(BIG);
    h.body_n = BIG;
    round_trip(&h, text, VV_PACKED_CHUNK, 0, 16384, NULL);
    round_trip(&h, text, VV_PACKED_CHUNK, SIZE_MAX, 16384, NULL);
    round_trip(&h, text, VV_PACKED_CHUNK, SIZE_MAX, 2 * BIG, NULL); /* all at once */
    free(text);
}

VV_TEST(packed_chunks_are_compressed_from_the_length_given_and_only_if_that_helps)
{
    struct vv_sb out = VV_SB_INIT;
    char *text = text_body(32768);
    char *noise = noise_body(32768);
    VV_CHECK_INT(vv_packed_write_chunk(&out, (struct vv_str){text, 1023}, 1024), VV_OK);
    VV_CHECK_INT(out.n, PACKED_CHUNK_HEAD + 1023); /* below the threshold: as it is */
    vv_sb_reset(&out);
    VV_CHECK_INT(vv_packed_write_chunk(&out, (struct vv_str){text, 1024}, 1024), VV_OK);
    VV_CHECK(out.n < 1024 / 2);
    vv_sb_reset(&out);
    VV_CHECK_INT(vv_packed_write_chunk(&out, (struct vv_str){text, 32768}, SIZE_MAX), VV_OK);
    VV_CHECK_INT(out.n, PACKED_CHUNK_HEAD + 32768);
    vv_sb_reset(&out);
    VV_CHECK_INT(vv_packed_write_chunk(&out, (struct vv_str){noise, 32768}, 0), VV_OK);
    VV_CHECK_INT(out.n, PACKED_CHUNK_HEAD + 32768); /* nothing could be saved */
    vv_sb_reset(&out);
    VV_CHECK_INT(vv_packed_write_chunk(&out, (struct vv_str){NULL, 0}, 0), VV_OK);
    VV_CHECK_INT(out.n, 0);
    VV_CHECK_INT(vv_packed_write_chunk(&out, (struct vv_str){text, VV_PACKED_CHUNK + 1}, 0),
                 VV_EINVAL);
    vv_sb_fini(&out);
    free(text);
    free(noise);
}

VV_TEST(packed_objects_keep_no_tags_and_all_tags)
{
    uint64_t tags[VV_CACHE_TAGS_MAX];
    for (uint32_t i = 0; i < VV_CACHE_TAGS_MAX; i++) {
        tags[i] = (uint64_t)i << 56 | i;
    }
    struct vv_packed_head h = sample();
    h.body_n = 5;
    h.tags_n = 0;
    h.tags = NULL;
    round_trip(&h, "abcde", 5, SIZE_MAX, 1000, NULL);
    h.tags = tags;
    h.tags_n = VV_CACHE_TAGS_MAX;
    round_trip(&h, "abcde", 5, SIZE_MAX, 7, NULL);
    const struct vv_packed_head bare = {.id = 1};
    round_trip(&bare, "", 1, 0, 1000, NULL);
    round_trip(&bare, "", 1, 0, 1, NULL);
}

VV_TEST(packed_marker_has_no_body_and_no_head)
{
    struct vv_sb out = VV_SB_INIT;
    struct vv_packed_head h = sample();
    h.marker = true;
    VV_CHECK_INT(vv_packed_write_head(&out, &h), VV_EINVAL); /* it has a head */
    h.head = (struct vv_str){NULL, 0};
    h.body_n = 1;
    VV_CHECK_INT(vv_packed_write_head(&out, &h), VV_EINVAL);
    VV_CHECK_INT(out.n, 0);
    h.body_n = 0;
    round_trip(&h, "", 1, 0, 50, NULL);
    vv_sb_fini(&out);
}

VV_TEST(packed_heads_that_are_too_large_are_not_written)
{
    static char room[VV_PACKED_HEAD_MAX];
    static uint64_t tags[VV_CACHE_TAGS_MAX + 1];
    struct vv_sb out = VV_SB_INIT;
    struct vv_packed_head h = {.id = 1, .meta = {room, VV_CACHE_META_MAX + 1}};
    VV_CHECK_INT(vv_packed_write_head(&out, &h), VV_ELIMIT);
    h = (struct vv_packed_head){.id = 1, .tags = tags, .tags_n = VV_CACHE_TAGS_MAX + 1};
    VV_CHECK_INT(vv_packed_write_head(&out, &h), VV_ELIMIT);
    h = (struct vv_packed_head){.id = 1, .head = {room, VV_PACKED_HEAD_MAX - PACKED_FIXED + 1}};
    VV_CHECK_INT(vv_packed_write_head(&out, &h), VV_ELIMIT);
    h = (struct vv_packed_head){.id = 1, .head = {room, SIZE_MAX}, .key = {room, SIZE_MAX}};
    VV_CHECK_INT(vv_packed_write_head(&out, &h), VV_ELIMIT);
    h = (struct vv_packed_head){.id = 0};
    VV_CHECK_INT(vv_packed_write_head(&out, &h), VV_EINVAL);
    VV_CHECK_INT(out.n, 0); /* a call that fails changes nothing */
    h = (struct vv_packed_head){.id = 1, .head = {room, VV_PACKED_HEAD_MAX - PACKED_FIXED}};
    round_trip(&h, "", 1, 0, 100000, NULL);
    vv_sb_fini(&out);
}

/* Body of one plain and one compressed chunk. */
static void small_value(struct vv_sb *out, char **ret_body)
{
    struct vv_packed_head h = sample();
    *ret_body = text_body(700);
    h.body_n = 700;
    VV_CHECK_INT(vv_packed_write_head(out, &h), VV_OK);
    VV_CHECK_INT(vv_packed_write_chunk(out, (struct vv_str){*ret_body, 100}, SIZE_MAX), VV_OK);
    VV_CHECK_INT(vv_packed_write_chunk(out, (struct vv_str){*ret_body + 100, 600}, 0), VV_OK);
    VV_CHECK(out->n < PACKED_FIXED + 2 * 8 + 24 + 24 + 20 + 44 + 16 + 100 + 16 + 600 - 75);
}

VV_TEST(packed_reader_finds_every_flipped_bit_and_lends_nothing_wrong)
{
    struct vv_sb out = VV_SB_INIT;
    char *body;
    small_value(&out, &body);
    for (size_t at = 0; at < out.n; at++) {
        for (int bit = 0; bit < 8; bit++) {
            out.p[at] = (char)(out.p[at] ^ 1 << bit);
            struct seen s = read_value(vv_sb_str(&out), &wide, 64, NULL);
            VV_CHECK(s.err != VV_OK);
            VV_CHECK(s.err == VV_ESYNTAX || s.err == VV_EUNSUPPORTED || s.err == VV_EAGAIN);
            VV_CHECK_INT(s.err == VV_EUNSUPPORTED, at >= PACKED_AT_VERSION && at < PACKED_AT_ID);
            VV_CHECK(s.body.n == 0 || memcmp(s.body.p, body, s.body.n) == 0);
            VV_CHECK(!s.whole_head || at >= PACKED_FIXED); /* a head is never damaged */
            vv_sb_fini(&s.body);
            out.p[at] = (char)(out.p[at] ^ 1 << bit);
        }
    }
    free(body);
    vv_sb_fini(&out);
}

VV_TEST(packed_reader_never_ends_well_on_a_cut_value)
{
    struct vv_sb out = VV_SB_INIT;
    char *body;
    small_value(&out, &body);
    for (size_t n = 0; n < out.n; n++) {
        struct seen s = read_value((struct vv_str){out.p, n}, &wide, 1 + n % 50, NULL);
        VV_CHECK_INT(s.err, VV_EAGAIN);
        VV_CHECK(s.body.n == 0 || memcmp(s.body.p, body, s.body.n) == 0);
        vv_sb_fini(&s.body);
    }
    struct seen s = read_value(vv_sb_str(&out), &wide, 50, NULL);
    VV_CHECK_INT(s.err, VV_OK);
    vv_sb_fini(&s.body);
    free(body);
    vv_sb_fini(&out);
}

VV_TEST(packed_reader_refuses_bytes_after_the_end)
{
    struct vv_sb out = VV_SB_INIT;
    char *body;
    small_value(&out, &body);
    vv_sb_addc(&out, 'x');
    static const size_t runs[] = {1, 50, 100000};
    for (size_t i = 0; i < VV_COUNT(runs); i++) {
        struct seen s = read_value(vv_sb_str(&out), &wide, runs[i], NULL);
        VV_CHECK_INT(s.err, VV_ESYNTAX);
        vv_sb_fini(&s.body);
    }
    free(body);
    vv_sb_fini(&out);
}

VV_TEST(packed_reader_holds_its_limits)
{
    struct vv_sb out = VV_SB_INIT;
    char *body;
    small_value(&out, &body);
    /* 2 tags, 24 bytes of metadata, 24 of key, 20 of secondary key, 43 of head */
    const struct vv_packed_head h = sample();
    const size_t head = PACKED_FIXED + 16 + h.meta.n + h.key.n + h.second.n + h.head.n;
    const struct vv_packed_limits fits = {head, 700};
    const struct vv_packed_limits head_less = {head - 1, 700};
    const struct vv_packed_limits body_less = {head, 699};
    struct seen s = read_value(vv_sb_str(&out), &fits, 10, NULL);
    VV_CHECK_INT(s.err, VV_OK);
    vv_sb_fini(&s.body);
    s = read_value(vv_sb_str(&out), &head_less, 10, NULL);
    VV_CHECK_INT(s.err, VV_ELIMIT);
    VV_CHECK_INT(s.body.n, 0);
    s = read_value(vv_sb_str(&out), &body_less, 10, NULL);
    VV_CHECK_INT(s.err, VV_ELIMIT);
    VV_CHECK_INT(s.body.n, 0);
    free(body);
    vv_sb_fini(&out);
}

/* Gives a changed fixed part the sum that it would have. */
static void seal_fixed(char *p)
{
    packed_put64(p + PACKED_AT_SUM, vv_str_hash((struct vv_str){p, PACKED_AT_SUM}, 0));
}

static enum vv_err outcome(const struct vv_sb *out)
{
    struct seen s = read_value(vv_sb_str(out), &wide, 1000000, NULL);
    vv_sb_fini(&s.body);
    return s.err;
}

VV_TEST(packed_reader_tells_another_version_or_byte_order_from_damage)
{
    struct vv_sb out = VV_SB_INIT;
    char *body;
    small_value(&out, &body);
    const char low = out.p[PACKED_AT_LAYOUT];
    out.p[PACKED_AT_LAYOUT] = out.p[PACKED_AT_LAYOUT + 1]; /* as the other order writes it */
    out.p[PACKED_AT_LAYOUT + 1] = low;
    VV_CHECK_INT(outcome(&out), VV_EUNSUPPORTED);
    VV_CHECK(vv_packed_id(vv_sb_str(&out)) == 0);
    out.p[PACKED_AT_LAYOUT + 1] = out.p[PACKED_AT_LAYOUT];
    out.p[PACKED_AT_LAYOUT] = low;
    out.p[PACKED_AT_VERSION]++;
    seal_fixed(out.p);
    VV_CHECK_INT(outcome(&out), VV_EUNSUPPORTED);
    VV_CHECK(vv_packed_id(vv_sb_str(&out)) == 0);
    /* another version may be shorter than our fixed part: its first 8 bytes say so */
    struct seen s = read_value((struct vv_str){out.p, 8}, &wide, 8, NULL);
    VV_CHECK_INT(s.err, VV_EUNSUPPORTED);
    out.p[PACKED_AT_VERSION]--;
    packed_put32(out.p + PACKED_AT_FLAGS, 2); /* a flag of a later day */
    seal_fixed(out.p);
    VV_CHECK_INT(outcome(&out), VV_EUNSUPPORTED);
    VV_CHECK(vv_packed_id((struct vv_str){out.p, VV_PACKED_ID_END - 1}) == 0);
    out.p[0] = 'X';
    VV_CHECK_INT(outcome(&out), VV_ESYNTAX);
    VV_CHECK(vv_packed_id(vv_sb_str(&out)) == 0);
    free(body);
    vv_sb_fini(&out);
}

VV_TEST(packed_reader_believes_no_length_that_only_its_checksum_vouches_for)
{
    static const struct {
        size_t at;
        uint32_t value;
        enum vv_err want;
    } lies[] = {
        {PACKED_AT_META_N, VV_CACHE_META_MAX + 1, VV_ESYNTAX},
        {PACKED_AT_META_N, UINT32_MAX, VV_ESYNTAX},
        {PACKED_AT_TAGS_N, VV_CACHE_TAGS_MAX + 1, VV_ESYNTAX},
        {PACKED_AT_TAGS_N, UINT32_MAX, VV_ESYNTAX},
        {PACKED_AT_KEY_N, UINT32_MAX, VV_ELIMIT},
        {PACKED_AT_SECOND_N, UINT32_MAX, VV_ELIMIT},
        {PACKED_AT_HEAD_N, UINT32_MAX, VV_ELIMIT},
        {PACKED_AT_KEY_N, 1, VV_ESYNTAX}, /* then the parts have another sum */
        {PACKED_AT_FLAGS, PACKED_MARKER, VV_ESYNTAX},
        {PACKED_AT_BODY_N + 4, 1, VV_ELIMIT}, /* 4 GiB */
        {PACKED_AT_BODY_N, 699, VV_ESYNTAX},  /* the last chunk oversteps it */
        {PACKED_AT_BODY_N, 701, VV_EAGAIN},   /* one byte is missing */
    };
    for (size_t i = 0; i < VV_COUNT(lies); i++) {
        struct vv_sb out = VV_SB_INIT;
        char *body;
        small_value(&out, &body);
        packed_put32(out.p + lies[i].at, lies[i].value);
        seal_fixed(out.p);
        VV_CHECK_INT(outcome(&out), lies[i].want);
        free(body);
        vv_sb_fini(&out);
    }
}

/* A value of one chunk with these lengths, its sum right. */
static enum vv_err read_chunk(uint64_t body_n, uint32_t plain_n, uint32_t stored_n,
                              struct vv_str stored)
{
    struct vv_sb out = VV_SB_INIT;
    char head[PACKED_CHUNK_HEAD];
    const struct vv_packed_head h = {.id = 9, .body_n = body_n};
    VV_CHECK_INT(vv_packed_write_head(&out, &h), VV_OK);
    packed_put32(head + PACKED_CHUNK_PLAIN_N, plain_n);
    packed_put32(head + PACKED_CHUNK_STORED_N, stored_n);
    packed_put64(head + PACKED_CHUNK_SUM, packed_chunk_sum(stored, plain_n, stored_n));
    vv_sb_add(&out, (struct vv_str){head, sizeof head});
    vv_sb_add(&out, stored);
    const enum vv_err err = outcome(&out);
    vv_sb_fini(&out);
    return err;
}

VV_TEST(packed_reader_bounds_every_chunk)
{
    char *text = text_body(VV_PACKED_CHUNK + 1);
    struct vv_sb good = VV_SB_INIT;
    VV_CHECK_INT(vv_packed_write_chunk(&good, (struct vv_str){text, 60000}, 0), VV_OK);
    const struct vv_str packed = {good.p + PACKED_CHUNK_HEAD, good.n - PACKED_CHUNK_HEAD};
    const uint32_t z = (uint32_t)packed.n | PACKED_COMPRESSED;
    VV_CHECK_INT(read_chunk(60000, 60000, z, packed), VV_OK);
    VV_CHECK_INT(read_chunk(60001, 60001, z, packed), VV_ESYNTAX); /* unpacks to less */
    VV_CHECK_INT(read_chunk(59999, 59999, z, packed), VV_ESYNTAX); /* unpacks to more */
    VV_CHECK_INT(read_chunk(10, 60000, z, packed), VV_ESYNTAX);    /* more than the body */
    VV_CHECK_INT(read_chunk(60000, 0, PACKED_COMPRESSED, packed), VV_ESYNTAX);
    VV_CHECK_INT(read_chunk(60000, 60000, PACKED_COMPRESSED, packed), VV_ESYNTAX);
    VV_CHECK_INT(read_chunk(60000, 60000, PACKED_COMPRESSED | 60000, packed), VV_ESYNTAX);
    VV_CHECK_INT(read_chunk(5, 5, 5, (struct vv_str){text, 5}), VV_OK);
    VV_CHECK_INT(read_chunk(5, 5, 4, (struct vv_str){text, 4}), VV_ESYNTAX);
    VV_CHECK_INT(read_chunk(5, 0, 0, (struct vv_str){text, 0}), VV_ESYNTAX);
    VV_CHECK_INT(read_chunk(VV_PACKED_CHUNK + 1, VV_PACKED_CHUNK + 1, VV_PACKED_CHUNK + 1,
                            (struct vv_str){text, VV_PACKED_CHUNK + 1}),
                 VV_ESYNTAX);
    /* sums and lengths are right, zstd knows nothing of it */
    VV_CHECK_INT(read_chunk(60000, 60000, PACKED_COMPRESSED | 100, (struct vv_str){text, 100}),
                 VV_ESYNTAX);
    vv_sb_fini(&good);
    free(text);
}

VV_TEST(packed_reader_takes_no_more_than_a_body_can_need)
{
    struct vv_sb out = VV_SB_INIT;
    struct vv_packed_reader *r = NULL;
    const struct vv_packed_head h = {.id = 9, .body_n = 10};
    static char zeros[171]; /* 10 bytes in chunks of their own take 170 */
    VV_CHECK_INT(vv_packed_write_head(&out, &h), VV_OK);
    VV_CHECK_INT(vv_packed_reader_new(&wide, &r), VV_OK);
    VV_CHECK_INT(vv_packed_feed(r, vv_sb_str(&out)), VV_OK);
    VV_CHECK_INT(vv_packed_feed(r, (struct vv_str){zeros, 171}), VV_ESYNTAX);
    struct vv_str s;
    VV_CHECK_INT(vv_packed_feed(r, (struct vv_str){zeros, 1}), VV_ESYNTAX); /* for good */
    VV_CHECK_INT(vv_packed_body(r, &s), VV_ESYNTAX);
    VV_CHECK_INT(s.n, 0);
    vv_packed_reader_free(r);
    vv_packed_reader_free(NULL);
    vv_sb_fini(&out);
}

static void *pack_and_unpack(void *arg)
{
    struct vv_packed_head h = sample();
    h.body_n = VV_PACKED_CHUNK;
    round_trip(&h, arg, VV_PACKED_CHUNK, 0, 5000, NULL);
    return NULL;
}

static void in_threads(char *text, int count)
{
    for (int i = 0; i < count; i++) {
        pthread_t t;
        VV_CHECK_INT(pthread_create(&t, NULL, pack_and_unpack, text), 0);
        VV_CHECK_INT(pthread_join(t, NULL), 0);
    }
}

VV_TEST(packed_contexts_of_zstd_end_with_their_thread)
{
    char *text = text_body(VV_PACKED_CHUNK);
    in_threads(text, 1); /* what is made once for all threads */
    const struct mallinfo2 before = mallinfo2();
    in_threads(text, 8);
    const struct mallinfo2 after = mallinfo2();
    /* one thread's are more than half a megabyte; a sanitizer counts nothing here, but sees leaks */
    VV_CHECK(after.uordblks + after.hblkhd < before.uordblks + before.hblkhd + 256 * VV_KIB);
    free(text);
}
