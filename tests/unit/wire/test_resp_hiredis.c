/* tests/unit/wire/test_resp_hiredis.c - replies as hiredis reads them, commands as it writes them: random
 * ones, cut at random places. hiredis 0.14 speaks version 2 only, and nests seven arrays at most. */
#include "base/rng.h"
#include "vv_test.h"
#include "wire/resp.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROUNDS = 400, ROOM = 1 << 18, DEPTH = 5 };

static struct vv_rng rng;
static char bytes[ROOM], want[ROOM], got[ROOM];
static size_t bytes_n, want_n, got_n;

static void add(char *to, size_t *n, const void *p, size_t count)
{
    VV_CHECK(*n + count < ROOM);
    memcpy(to + *n, p, count);
    *n += count;
}

static void add_text(char *to, size_t *n, const char *text)
{
    add(to, n, text, strlen(text));
}

static void make_string(size_t bytes_max, bool line)
{
    const size_t len = (size_t)vv_rng_below(&rng, bytes_max);
    for (size_t i = 0; i < len; i++) {
        const char c = line ? (char)(' ' + vv_rng_below(&rng, 90)) : (char)vv_rng_below(&rng, 256);
        add(bytes, &bytes_n, &c, 1);
    }
}

static void make_reply(int depth)
{
    char head[64];
    const uint64_t kind = vv_rng_below(&rng, depth < DEPTH ? 7 : 5);
    if (kind == 0 || kind == 1) {
        add_text(bytes, &bytes_n, kind == 0 ? "+" : "-");
        make_string(60, true);
        add_text(bytes, &bytes_n, "\r\n");
    } else if (kind == 2) {
        snprintf(head, sizeof head, ":%lld\r\n", (long long)(int64_t)vv_rng_u64(&rng));
        add_text(bytes, &bytes_n, head);
    } else if (kind == 3) {
        const size_t len = (size_t)vv_rng_below(&rng, vv_rng_below(&rng, 8) == 0 ? 4000 : 40);
        snprintf(head, sizeof head, "$%zu\r\n", len);
        add_text(bytes, &bytes_n, head);
        for (size_t i = 0; i < len; i++) {
            const char c = (char)vv_rng_below(&rng, 256);
            add(bytes, &bytes_n, &c, 1);
        }
        add_text(bytes, &bytes_n, "\r\n");
    } else if (kind == 4) {
        add_text(bytes, &bytes_n, vv_rng_below(&rng, 2) == 0 ? "$-1\r\n" : "*-1\r\n");
    } else {
        const uint64_t count = vv_rng_below(&rng, 6);
        snprintf(head, sizeof head, "*%llu\r\n", (unsigned long long)count);
        add_text(bytes, &bytes_n, head);
        for (uint64_t i = 0; i < count; i++) {
            make_reply(depth + 1);
        }
    }
}

static void show(const redisReply *r)
{
    char head[64];
    switch (r->type) {
    case REDIS_REPLY_ARRAY:
        snprintf(head, sizeof head, "array %zu;", (size_t)r->elements);
        add_text(want, &want_n, head);
        for (size_t i = 0; i < r->elements; i++) {
            show(r->element[i]);
        }
        return;
    case REDIS_REPLY_INTEGER:
        snprintf(head, sizeof head, "integer %lld;", r->integer);
        add_text(want, &want_n, head);
        return;
    case REDIS_REPLY_NIL:
        add_text(want, &want_n, "null;");
        return;
    default:
        add_text(want, &want_n,
                 r->type == REDIS_REPLY_STRING  ? "bulk "
                 : r->type == REDIS_REPLY_ERROR ? "error "
                                                : "status ");
        add(want, &want_n, r->str, (size_t)r->len);
        add_text(want, &want_n, ";");
    }
}

static void show_ours(const struct vv_resp_item *it)
{
    char head[64];
    if (it->type == VV_RESP_ARRAY) {
        snprintf(head, sizeof head, "array %zu;", (size_t)it->count);
    } else if (it->type == VV_RESP_INTEGER) {
        snprintf(head, sizeof head, "integer %lld;", (long long)it->integer);
    } else if (it->type == VV_RESP_NIL) {
        snprintf(head, sizeof head, "null;");
    } else {
        snprintf(head, sizeof head, "%s ", it->first ? vv_resp_type_name(it->type) : "");
        add(got, &got_n, head, it->first ? strlen(head) : 0);
        add(got, &got_n, it->text.p, it->text.n);
        add_text(got, &got_n, it->last ? ";" : "");
        return;
    }
    add_text(got, &got_n, head);
}

static void read_theirs(void)
{
    redisReader *reader = redisReaderCreate();
    for (size_t at = 0; at < bytes_n;) {
        const size_t n = vv_min_u64(1 + vv_rng_below(&rng, 50), bytes_n - at);
        void *reply = NULL;
        VV_CHECK_INT(redisReaderFeed(reader, bytes + at, n), REDIS_OK);
        at += n;
        do {
            VV_CHECK_INT(redisReaderGetReply(reader, &reply), REDIS_OK);
            if (reply != NULL) {
                show(reply);
                freeReplyObject(reply);
            }
        } while (reply != NULL);
    }
    redisReaderFree(reader);
}

/* Whole replies that ended. */
static unsigned read_ours(void)
{
    struct vv_resp_reader reader;
    unsigned replies = 0;
    size_t at = 0, end = 0;
    vv_resp_reader_init(&reader, NULL, false);
    while (end < bytes_n) {
        end += vv_min_u64(1 + vv_rng_below(&rng, 50), bytes_n - end);
        enum vv_err err = VV_OK;
        while (err == VV_OK) {
            struct vv_resp_item it;
            size_t used = 0;
            err = vv_resp_next(&reader, (struct vv_str){bytes + at, end - at}, &used, &it);
            at += used;
            if (err == VV_OK) {
                show_ours(&it);
                replies += it.done;
            }
        }
        VV_CHECK_INT(err, VV_EAGAIN);
    }
    VV_CHECK(vv_resp_between(&reader));
    return replies;
}

VV_TEST(resp_reads_what_hiredis_reads)
{
    vv_rng_init(&rng, 7);
    for (int round = 0; round < ROUNDS; round++) {
        const unsigned replies = 1 + (unsigned)vv_rng_below(&rng, 5);
        bytes_n = want_n = got_n = 0;
        for (unsigned i = 0; i < replies; i++) {
            make_reply(0);
        }
        read_theirs();
        VV_CHECK_INT(read_ours(), replies);
        VV_CHECK_INT(got_n, want_n);
        VV_CHECK(memcmp(got, want, want_n) == 0);
    }
}

VV_TEST(resp_writes_what_hiredis_writes)
{
    static char value[3][2000];
    vv_rng_init(&rng, 8);
    for (int round = 0; round < ROUNDS; round++) {
        const size_t count = 1 + (size_t)vv_rng_below(&rng, 3);
        const char *argv[3] = {value[0], value[1], value[2]};
        size_t lens[3];
        struct vv_str args[3];
        for (size_t i = 0; i < count; i++) {
            lens[i] = (size_t)vv_rng_below(&rng, sizeof value[0]);
            for (size_t k = 0; k < lens[i]; k++) {
                value[i][k] = (char)vv_rng_below(&rng, 256);
            }
            args[i] = (struct vv_str){value[i], lens[i]};
        }
        char *theirs = NULL;
        const long long n = redisFormatCommandArgv(&theirs, (int)count, argv, lens);
        VV_CHECK(n > 0);
        struct iovec iov[16];
        struct vv_resp_out out;
        vv_resp_out_init(&out, bytes, sizeof bytes, iov, 16);
        VV_CHECK_INT(vv_resp_put(&out, args, count), VV_OK);
        VV_CHECK_INT(out.bytes, n);
        got_n = 0;
        for (size_t i = 0; i < out.iov_used; i++) {
            add(got, &got_n, iov[i].iov_base, iov[i].iov_len);
        }
        if (out.iov_used == 0) {
            add(got, &got_n, bytes, out.text_used);
        }
        VV_CHECK_INT(got_n, n);
        VV_CHECK(memcmp(got, theirs, got_n) == 0);
        redisFreeCommand(theirs);
    }
}
