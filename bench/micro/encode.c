/* bench/micro/encode.c - CPU and size of the content codings, beside zlib and libdeflate.
 *
 * Codes a 64 KiB JSON answer made here, or the files given (first 4 MiB of each), in runs of 16 KiB as
 * they come from an upstream. The best of several rounds is shown: noise only ever adds. Run it on an
 * idle core: `meson compile -C build bench_encode && taskset -c 1 build/src/wire/bench_encode [FILE...]`. */
#include "base/rng.h"
#include "wire/encoder.h"
#include <libdeflate.h>
#include <stdio.h>
#include <time.h>
#include <zlib.h>

#define ROUNDS 9
#define RUN_BYTES (16 * 1024)
#define BODY_MAX (4 * 1024 * 1024)
#define ROUND_NS 20e6 /* a round codes as often as this takes */

static char body[BODY_MAX], out[2 * BODY_MAX];
static size_t body_n;
static struct vv_encoders pool;

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Records as an API answers them: repeated keys, few words, numbers, and a random token each. */
static void make_json(size_t bytes)
{
    static const char *const word[] = {"alpha", "bravo", "charlie", "delta",  "echo", "foxtrot",
                                       "golf",  "hotel", "india",   "juliet", "kilo", "lima"};
    struct vv_rng rng;
    vv_rng_init(&rng, 7);
    body_n = 0;
    for (int id = 1; body_n + 256 < bytes; id++) {
        const char *w[5];
        for (size_t i = 0; i < VV_COUNT(w); i++) {
            w[i] = word[vv_rng_below(&rng, VV_COUNT(word))];
        }
        body_n +=
            (size_t)snprintf(body + body_n, sizeof body - body_n,
                             "%s{\"id\": %d, \"name\": \"%s %s\", \"price\": %.2f, \"active\": %s, "
                             "\"tags\": [\"%s\", \"%s\", \"%s\"], \"token\": \"%016llx\"}",
                             id == 1 ? "[" : ",\n", id, w[0], w[1], 1 + 998 * vv_rng_double(&rng),
                             vv_rng_double(&rng) < 0.7 ? "true" : "false", w[2], w[3], w[4],
                             (unsigned long long)vv_rng_u64(&rng));
    }
    body[body_n++] = ']';
}

static size_t code_ours(int encoding, int level)
{
    struct vv_encoder *e = NULL;
    size_t at = 0;
    size_t n = 0;
    if (vv_encoder_begin(&pool, (enum vv_encoding)encoding, level, body_n, &e) != VV_OK) {
        return 0;
    }
    for (size_t i = 0; i < body_n; i += RUN_BYTES) {
        const bool last = body_n - i <= RUN_BYTES;
        struct vv_str in = {body + i, last ? body_n - i : RUN_BYTES};
        if (vv_encoder_feed(e, &in, last ? VV_ENCODER_FINISH : VV_ENCODER_MORE, out + at,
                            sizeof out - at, &n) != VV_OK) {
            return 0;
        }
        at += n;
    }
    vv_encoder_end(&pool, e);
    return at;
}

static size_t code_zlib(int unused VV_UNUSED, int level)
{
    static z_stream z; /* kept, as ours are */
    static int made;
    if (made != level) {
        deflateEnd(&z);
        if (deflateInit2(&z, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
            return 0;
        }
        made = level;
    } else {
        deflateReset(&z);
    }
    z.next_out = (Bytef *)out;
    z.avail_out = sizeof out;
    for (size_t i = 0; i < body_n; i += RUN_BYTES) {
        const bool last = body_n - i <= RUN_BYTES;
        z.next_in = (Bytef *)body + i;
        z.avail_in = (uInt)(last ? body_n - i : RUN_BYTES);
        deflate(&z, last ? Z_FINISH : Z_NO_FLUSH);
    }
    return z.total_out;
}

static size_t code_libdeflate(int unused VV_UNUSED, int level) /* needs the whole body at once */
{
    static struct libdeflate_compressor *c[13];
    if (c[level] == NULL) {
        c[level] = libdeflate_alloc_compressor(level);
    }
    return c[level] != NULL ? libdeflate_gzip_compress(c[level], body, body_n, out, sizeof out) : 0;
}

static const struct coder {
    const char *name;
    size_t (*code)(int encoding, int level);
    int encoding, level;
} coders[] = {
    {"gzip 1", code_ours, VV_ENCODING_GZIP, 1},
    {"gzip 2", code_ours, VV_ENCODING_GZIP, 2},
    {"gzip 3", code_ours, VV_ENCODING_GZIP, 3},
    {"zlib 1", code_zlib, 0, 1},
    {"zlib 6", code_zlib, 0, 6},
    {"libdeflate 1", code_libdeflate, 0, 1},
    {"libdeflate 6", code_libdeflate, 0, 6},
    {"libdeflate 8", code_libdeflate, 0, 8},
    {"libdeflate 9", code_libdeflate, 0, 9},
    {"libdeflate 12", code_libdeflate, 0, 12},

    {"brotli 2", code_ours, VV_ENCODING_BR, 2},
    {"brotli 3", code_ours, VV_ENCODING_BR, 3},
    {"brotli 4", code_ours, VV_ENCODING_BR, 4},
    {"brotli 5", code_ours, VV_ENCODING_BR, 5},
    {"brotli 6", code_ours, VV_ENCODING_BR, 6},
    {"brotli 8", code_ours, VV_ENCODING_BR, 8},
    {"zstd 1", code_ours, VV_ENCODING_ZSTD, 1},
    {"zstd 3", code_ours, VV_ENCODING_ZSTD, 3},
    {"zstd 6", code_ours, VV_ENCODING_ZSTD, 6},
    {"zstd 9", code_ours, VV_ENCODING_ZSTD, 9},
    {"zstd 12", code_ours, VV_ENCODING_ZSTD, 12},
};

static void measure(const char *name)
{
    printf("%s, %zu bytes\n", name, body_n);
    for (size_t i = 0; i < VV_COUNT(coders); i++) {
        const struct coder *c = &coders[i];
        double best = 1e18;
        const size_t n = c->code(c->encoding, c->level);
        for (int round = 0; round < ROUNDS; round++) {
            const double start = cpu_ns();
            int count = 0;
            do {
                c->code(c->encoding, c->level);
                count++;
            } while (cpu_ns() - start < ROUND_NS);
            const double each = (cpu_ns() - start) / count;
            best = each < best ? each : best;
        }
        printf("  %-13s %8zu bytes %5.1f %% %9.1f us\n", c->name, n,
               100.0 * (double)n / (double)body_n, best / 1e3);
    }
}

int main(int argc, char **argv)
{
    vv_encoders_init(&pool, 64 * VV_MIB);
    if (argc == 1) {
        make_json(64 * 1024);
        measure("JSON");
    }
    for (int i = 1; i < argc; i++) {
        FILE *f = fopen(argv[i], "rb");
        body_n = f != NULL ? fread(body, 1, sizeof body, f) : 0;
        if (f != NULL) {
            fclose(f);
        }
        if (body_n == 0) {
            fprintf(stderr, "%s: cannot be read, or is empty\n", argv[i]);
            return 1;
        }
        measure(argv[i]);
    }
    vv_encoders_fini(&pool);
    return 0;
}
