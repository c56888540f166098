/* tests/fuzz/fuzz_hpack.c - any bytes as header blocks: our decoder and nghttp2's find the same
 * fields, and call the same blocks malformed. The first byte chooses how they are cut into blocks. */
#include "wire/http2_hpack.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void *take(void *user, size_t bytes)
{
    (void)user;
    return malloc(bytes);
}

static void give(void *user, void *p)
{
    (void)user;
    free(p);
}

static const struct vv_hpack_memory memory = {take, give, NULL};

/* One field or the end of nghttp2's view. VV_ESYNTAX: it finds the block malformed. */
static enum vv_err peer_next(nghttp2_hd_inflater *peer, const uint8_t **at, const uint8_t *end,
                             nghttp2_nv *nv)
{
    for (;;) {
        int flags = 0;
        const ssize_t used = nghttp2_hd_inflate_hd2(peer, nv, &flags, *at, (size_t)(end - *at), 1);
        if (used < 0) {
            return VV_ESYNTAX;
        }
        *at += used;
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
            return VV_OK;
        }
        if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) {
            return VV_EAGAIN;
        }
    }
}

static bool one_block(struct vv_hpack_in *d, nghttp2_hd_inflater *peer, const uint8_t *p, size_t n)
{
    const uint8_t *ours = p, *theirs = p, *end = p + n;
    struct vv_hpack_field f;
    nghttp2_nv nv;
    vv_hpack_in_begin(d);
    for (;;) {
        const enum vv_err a = vv_hpack_in_next(d, &ours, end, &f);
        const enum vv_err b = peer_next(peer, &theirs, end, &nv);
        VV_ASSERT(a == b);
        if (a != VV_OK) {
            vv_hpack_in_end(d);
            nghttp2_hd_inflate_end_headers(peer);
            return a == VV_EAGAIN;
        }
        VV_ASSERT(f.name.n == nv.namelen && f.value.n == nv.valuelen);
        VV_ASSERT(f.name.n == 0 || memcmp(f.name.p, nv.name, f.name.n) == 0);
        VV_ASSERT(f.value.n == 0 || memcmp(f.value.p, nv.value, f.value.n) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nghttp2_hd_inflater *peer;
    struct vv_hpack_in d;
    if (size < 2 || size > 16384) {
        return 0;
    }
    const size_t piece = data[0] > 0 ? data[0] : size;
    VV_ASSERT(nghttp2_hd_inflate_new(&peer) == 0);
    vv_hpack_in_init(&d, &memory, 4096);
    for (size_t at = 1; at < size; at += piece) {
        const size_t n = size - at < piece ? size - at : piece;
        if (!one_block(&d, peer, data + at, n)) {
            break;
        }
    }
    VV_ASSERT(d.table.bytes <= 4096);
    vv_hpack_in_fini(&d);
    nghttp2_hd_inflate_del(peer);
    return 0;
}
