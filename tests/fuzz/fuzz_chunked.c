/* tests/fuzz/fuzz_chunked.c - chunked bodies: the same however reads are cut, and what was decoded
 * comes back unchanged when it is encoded and decoded again. */
#include "wire/http1.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    enum vv_err err;
    enum vv_h1_error error;
    size_t used, n;
    char *body;
};

/* Feeds one read until the decoder wants more, is done or refuses. */
static void feed(struct vv_h1_chunked *d, struct vv_str bytes, struct outcome *o)
{
    do {
        size_t used = 0;
        struct vv_str run;
        o->err = vv_h1_chunked_next(d, bytes, &used, &run);
        VV_ASSERT(used <= bytes.n);
        VV_ASSERT(run.n == 0 || (run.p >= bytes.p && run.p + run.n <= bytes.p + bytes.n));
        VV_ASSERT(o->err != VV_EAGAIN || used == bytes.n);
        VV_ASSERT(o->err != VV_OK || used > 0 || d->done);
        if (run.n > 0) {
            memcpy(o->body + o->n, run.p, run.n);
        }
        o->n += run.n;
        o->used += used;
        bytes.p += used;
        bytes.n -= used;
    } while (o->err == VV_OK && !d->done);
    o->error = d->error;
}

/* Decodes with a first read of `first` bytes and further ones of `rest` bytes. */
static struct outcome decode(struct vv_str bytes, size_t first, size_t rest)
{
    struct outcome o = {.err = VV_EAGAIN, .body = malloc(bytes.n + 1)};
    struct vv_h1_chunked d;
    VV_ASSERT(o.body != NULL);
    vv_h1_chunked_init(&d);
    for (size_t n = first; bytes.n > 0 && o.err == VV_EAGAIN; n = rest) {
        n = n < bytes.n ? n : bytes.n;
        char *copy = malloc(n);
        VV_ASSERT(copy != NULL);
        memcpy(copy, bytes.p, n);
        feed(&d, (struct vv_str){copy, n}, &o);
        free(copy);
        bytes.p += n;
        bytes.n -= n;
    }
    return o;
}

/* One chunk for every `chunk` bytes of the body. */
static void encode_and_compare(const struct outcome *o, size_t chunk)
{
    char *wire = malloc(o->n * 24 + 32);
    VV_ASSERT(wire != NULL);
    size_t n = 0;
    for (size_t at = 0; at < o->n; at += chunk) {
        const size_t here = o->n - at < chunk ? o->n - at : chunk;
        n += vv_h1_chunk_head(wire + n, here);
        memcpy(wire + n, o->body + at, here);
        memcpy(wire + n + here, "\r\n", 2);
        n += here + 2;
    }
    memcpy(wire + n, "0\r\n\r\n", 5);
    n += 5;
    struct outcome back = decode((struct vv_str){wire, n}, n, n);
    VV_ASSERT(back.err == VV_OK && back.used == n && back.n == o->n);
    VV_ASSERT(memcmp(back.body, o->body, o->n) == 0);
    free(back.body);
    free(wire);
}

/* Bytes 0 and 1 choose the sizes of the reads. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3 || size > 16384) {
        return 0;
    }
    const struct vv_str bytes = {(const char *)data + 2, size - 2};
    struct outcome whole = decode(bytes, bytes.n, bytes.n);
    struct outcome parts = decode(bytes, 1 + data[0] % bytes.n, 1 + data[1]);
    VV_ASSERT(whole.err == parts.err && whole.error == parts.error);
    VV_ASSERT(whole.used == parts.used && whole.n == parts.n);
    VV_ASSERT(memcmp(whole.body, parts.body, whole.n) == 0);
    if (whole.err == VV_OK) {
        encode_and_compare(&whole, 1 + data[1]);
    }
    free(whole.body);
    free(parts.body);
    return 0;
}
