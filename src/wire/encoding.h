/* src/wire/encoding.h - which content codings a client takes, and how gladly.
 *
 * Model:     the Accept-Encoding fields of a request become one weight per coding we know; what is
 *            not named has the weight of "*". Identity is always taken unless excluded by
 *            "identity;q=0", or by "*;q=0" without a word about identity.
 * Source:    RFC 9110 section 12.5.3, weights 12.4.2. Units: weights in thousandths, 0 to 1000.
 * Threads:   pure.
 */
#ifndef VV_WIRE_ENCODING_H
#define VV_WIRE_ENCODING_H
#include "wire/http1.h"

/* In our order of preference when the client does not care: smallest first. */
#define VV_ENCODINGS(X)                                                                            \
    X(BR, "br", ".br")                                                                             \
    X(ZSTD, "zstd", ".zst")                                                                        \
    X(GZIP, "gzip", ".gz")                                                                         \
    X(IDENTITY, "identity", "")
enum vv_encoding {
#define VV_ENCODING(id, name, suffix) VV_ENCODING_##id,
    VV_ENCODINGS(VV_ENCODING)
#undef VV_ENCODING
        VV_ENCODING_COUNT
};
extern const struct vv_encoding_info {
    struct vv_str name, suffix; /* of a compressed file */
} vv_encodings[VV_ENCODING_COUNT];

/* The codings the client takes, best first; IDENTITY among them unless excluded. Malformed members
 * are skipped. Returns how many; 0: nothing at all would do (406). */
size_t vv_encoding_order(const struct vv_h1_head *req, enum vv_encoding ret[VV_ENCODING_COUNT]);
#endif
