/* tests/fuzz/fuzz_encoder.c - any Accept-Encoding yields codings in falling order without repeats, and
 * any cuts of input, flushes and room make a stream of plausible length that ends. */
#include "wire/encoder.h"

#define OUT_MAX (64 * 1024)
#define FLUSH_BYTES 512 /* a flush may cost the tables of a block: 330 bytes in deflate */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_accept(struct vv_str value)
{
    static struct vv_h1_head head;
    vv_h1_head_init(&head);
    head.fields[0] = (struct vv_h1_field){.value = value, .id = VV_FIELD_ACCEPT_ENCODING};
    head.first[VV_FIELD_ACCEPT_ENCODING] = 1;
    head.fields_count = 1;
    enum vv_encoding order[VV_ENCODING_COUNT];
    const size_t n = vv_encoding_order(&head, order);
    unsigned seen = 0;
    VV_ASSERT(n <= VV_ENCODING_COUNT);
    for (size_t i = 0; i < n; i++) {
        VV_ASSERT((seen >> order[i] & 1) == 0);
        seen |= 1U << order[i];
    }
    /* Whoever is asked for the client's best of all we have says the same as the order. */
    static const enum vv_encoding all[] = {VV_ENCODING_BR, VV_ENCODING_ZSTD, VV_ENCODING_GZIP};
    static const struct vv_str types[] = {{"text/*", 6}};
    static const struct vv_encoding_rules rules = {all, VV_COUNT(all), types, 1, 0};
    const struct vv_encoding_facts facts = {
        .status = 200, .length = UINT64_MAX, .type = {"text/plain", 10}};
    const struct vv_encoding_verdict v = vv_encoding_decide(&rules, &head, &facts);
    VV_ASSERT(v.encoding == VV_ENCODING_IDENTITY || (seen >> v.encoding & 1) != 0);
    VV_ASSERT(n == 0 || v.encoding == order[0] || order[0] == VV_ENCODING_IDENTITY);
}

/* The first byte of each step says how much input, which op, and how much room. */
static void check_stream(enum vv_encoding encoding, struct vv_str in)
{
    static struct vv_encoders pool = {.bytes_max = 16 * 1024 * 1024};
    static char out[OUT_MAX];
    const size_t size = in.n;
    size_t total = 0;
    size_t flushes = 0;
    struct vv_encoder *e = NULL;
    if (vv_encoder_begin(&pool, encoding, 1, size, &e) != VV_OK) {
        return;
    }
    enum vv_encoder_op op = VV_ENCODER_MORE;
    while (op != VV_ENCODER_FINISH) {
        const unsigned step = in.n > 0 ? (unsigned char)in.p[0] : 0;
        struct vv_str run = {in.p, vv_min_u64(in.n, 1 + (step & 15) * 16)};
        in.p += run.n;
        in.n -= run.n;
        op = in.n == 0 ? VV_ENCODER_FINISH : (step & 64) != 0 ? VV_ENCODER_FLUSH : VV_ENCODER_MORE;
        flushes += op != VV_ENCODER_MORE;
        enum vv_err err;
        do {
            size_t n = 0;
            const size_t room = (step & 128) != 0 ? 1 + (step & 7) : OUT_MAX;
            err = vv_encoder_feed(e, &run, op, out, room, &n);
            VV_ASSERT(n <= room && (err == VV_OK || err == VV_EAGAIN));
            VV_ASSERT(err == VV_OK || n == room); /* it only stops for room */
            total += n;
            VV_ASSERT(total <= 2 * size + FLUSH_BYTES * (flushes + 1));
        } while (err == VV_EAGAIN);
        VV_ASSERT(run.n == 0);
    }
    vv_encoder_end(&pool, e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 16384) {
        return 0;
    }
    const struct vv_str rest = {(const char *)data + 1, size - 1};
    check_accept(rest);
    check_stream((enum vv_encoding)(data[0] % VV_ENCODING_IDENTITY), rest);
    return 0;
}
