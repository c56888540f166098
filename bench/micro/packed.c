/* bench/micro/packed.c - what writing an object for a store and reading it back costs.
 *
 * Build:  ninja -C build src/cache/bench_packed
 * Prints: for bodies of several sizes, of JSON and of noise, as they are and compressed: nanoseconds of CPU of
 *         a write (head and body), of a read in runs of 16 KiB, and the bytes of the value. The best of
 *         several rounds is shown: noise only ever adds. Then the memory of a thread's contexts. */
#include "cache/packed.h"
#include "base/rng.h"
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS 9
#define ROUND_NS 10e6 /* a round repeats for as long as this takes */
#define RUN_BYTES (16 * 1024)
#define BODY_MAX (256 * 1024)

static char json[BODY_MAX + 256], noise[BODY_MAX];
static struct vv_sb value;

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void make_bodies(void)
{
    static const char *const word[] = {"alpha", "bravo", "charlie", "delta", "echo", "foxtrot"};
    struct vv_rng rng;
    vv_rng_init(&rng, 7);
    for (size_t at = 0, id = 0; at < BODY_MAX; id++) {
        at += (size_t)snprintf(
            json + at, 256,
            "%c{\"id\": %zu, \"name\": \"%s %s\", \"price\": %.2f, \"token\": \"%08x\"}",
            id == 0 ? '[' : ',', id, word[vv_rng_below(&rng, VV_COUNT(word))],
            word[vv_rng_below(&rng, VV_COUNT(word))], 1 + 998 * vv_rng_double(&rng),
            (unsigned)vv_rng_u64(&rng));
    }
    for (size_t i = 0; i < BODY_MAX; i++) {
        noise[i] = (char)vv_rng_u64(&rng);
    }
}

static void write_value(struct vv_str body, size_t min_compress)
{
    static const uint64_t tags[] = {1, 2};
    const struct vv_packed_head h = {
        .id = 1,
        .body_n = body.n,
        .meta = {noise, 136},
        .key = VV_STR("GET|https|www.example.test|/api/products?page=2&sort=price"),
        .second = VV_STR("gzip"),
        .head = VV_STR("HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 20:00:00 GMT\r\n"
                       "Content-Type: application/json\r\nETag: \"0123456789abcdef\"\r\n"
                       "Cache-Control: public, max-age=60\r\nVary: Accept-Encoding\r\n"),
        .tags = tags,
        .tags_n = 2,
    };
    vv_sb_reset(&value);
    enum vv_err err = vv_packed_write_head(&value, &h);
    for (size_t at = 0; at < body.n && err == VV_OK; at += VV_PACKED_CHUNK) {
        const size_t n = body.n - at < VV_PACKED_CHUNK ? body.n - at : VV_PACKED_CHUNK;
        err = vv_packed_write_chunk(&value, (struct vv_str){body.p + at, n}, min_compress);
    }
    VV_ASSERT(err == VV_OK);
}

static uint64_t read_value(void)
{
    const struct vv_packed_limits limits = {64 * VV_KIB, BODY_MAX};
    struct vv_packed_reader *r = NULL;
    uint64_t n = 0;
    enum vv_err err = vv_packed_reader_new(&limits, &r);
    for (size_t at = 0; at < value.n && (err == VV_OK || err == VV_EAGAIN); at += RUN_BYTES) {
        const size_t run = value.n - at < RUN_BYTES ? value.n - at : RUN_BYTES;
        struct vv_str s = {NULL, 0};
        err = vv_packed_feed(r, (struct vv_str){value.p + at, run});
        while (err == VV_OK && (err = vv_packed_body(r, &s)) == VV_OK && s.n > 0) {
            n += s.n;
        }
    }
    VV_ASSERT(err == VV_OK);
    vv_packed_reader_free(r);
    return n;
}

static double best_ns(bool read, struct vv_str body, size_t min_compress)
{
    double best = 1e18;
    for (int round = 0; round < ROUNDS; round++) {
        const double from = cpu_ns();
        double now = from;
        uint64_t turns = 0;
        while (now - from < ROUND_NS) {
            for (int i = 0; i < 16; i++, turns++) {
                if (!read) {
                    write_value(body, min_compress);
                } else if (read_value() != body.n) {
                    abort();
                }
            }
            now = cpu_ns();
        }
        best = (now - from) / (double)turns < best ? (now - from) / (double)turns : best;
    }
    return best;
}

static void row(const char *name, const char *body, size_t n)
{
    printf("%-6s %7zu", name, n);
    for (int z = 0; z < 2; z++) {
        const size_t min_compress = z == 0 ? SIZE_MAX : 0;
        const double write_ns = best_ns(false, (struct vv_str){body, n}, min_compress);
        const double read_ns = best_ns(true, (struct vv_str){body, n}, min_compress);
        printf("  | %9.0f %9.0f %7zu", write_ns, read_ns, value.n);
    }
    printf("\n");
}

int main(void)
{
    static const size_t sizes[] = {128, 256, 512, 1024, 2048, 4096, 8192, 32768, 65536, 262144};
    make_bodies();
    printf("               |         as it is: ns, bytes |       compressed: ns, bytes\n"
           "body     bytes |     write      read   value |     write      read   value\n");
    for (size_t i = 0; i < VV_COUNT(sizes); i++) {
        row("json", json, sizes[i]);
    }
    row("noise", noise, 1024);
    row("noise", noise, 32768);
    malloc_stats();
    return 0;
}
