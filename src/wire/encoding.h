/* src/wire/encoding.h - which content codings a client takes, and whether an answer gets one.
 *
 * Model:     the Accept-Encoding fields of a request become one weight per coding we know; what is
 *            not named has the weight of "*". Identity is always taken unless excluded by
 *            "identity;q=0", or by "*;q=0" without a word about identity.
 * Source:    RFC 9110 section 12.5.3, weights 12.4.2. Units: weights in thousandths, 0 to 1000.
 *            An answer is encoded on its way only where that changes nothing but its size: the
 *            reasons against it are rows of VV_ENCODING_WHYS, each with its section.
 * Threads:   pure. Ownership: slices borrow; nothing is kept.
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

/* ---- is this answer encoded on its way? ---- */
struct vv_encoding_rules {          /* borrowed from the settings */
    const enum vv_encoding *prefer; /* codings that may be used; of equal weight the first wins */
    size_t prefer_count;
    const struct vv_str *type; /* media types; one "*" in a pattern stands for anything */
    size_t type_count;
    uint64_t bytes_min;
};

struct vv_encoding_facts { /* about an answer */
    int status;
    uint64_t length;      /* UINT64_MAX: not known */
    struct vv_str type;   /* Content-Type, with its parameters */
    bool encoded;         /* has Content-Encoding */
    bool part;            /* has Content-Range */
    bool no_transform;    /* Cache-Control says so */
    bool has_body_digest; /* a field that names a digest of the bytes */
};
/* The facts of a parsed head; its slices are borrowed. */
struct vv_encoding_facts vv_encoding_facts_of(const struct vv_h1_head *answer);
/* What one more field says. For heads that are made field by field. */
void vv_encoding_facts_add(struct vv_encoding_facts *facts, enum vv_field_id id, struct vv_str name,
                           struct vv_str value);
/* Is this Content-Type among the rules' types? */
bool vv_encoding_type_fits(const struct vv_encoding_rules *rules, struct vv_str content_type);

/* VV_ENCODING_WHY(id, name, text): what decided. */
#define VV_ENCODING_WHYS(X)                                                                        \
    X(CHOSEN, "chosen", "the client takes it (RFC 9110 12.5.3)")                                   \
    X(STATUS, "status", "an answer of this status is passed as it is (RFC 9110 15)")               \
    X(PART, "part", "a part of a representation stays a part of it (RFC 9110 14.4)")               \
    X(ENCODED, "encoded", "it has a content coding already (RFC 9110 8.4)")                        \
    X(NO_TRANSFORM, "no_transform", "Cache-Control: no-transform (RFC 9111 5.2.2.6)")              \
    X(DIGEST, "digest", "a digest of the bytes would become wrong (RFC 9530)")                     \
    X(TYPE, "type", "its media type is not in the list, or is compressed by itself")               \
    X(SMALL, "small", "it is shorter than the minimum")                                            \
    X(CLIENT, "client", "the client takes no coding we may use (RFC 9110 12.5.3)")
enum vv_encoding_why {
#define VV_ENCODING_WHY(id, name, text) VV_ENCODING_WHY_##id,
    VV_ENCODING_WHYS(VV_ENCODING_WHY)
#undef VV_ENCODING_WHY
        VV_ENCODING_WHY_COUNT
};
extern const struct vv_encoding_why_info {
    const char *name, *text;
} vv_encoding_whys[VV_ENCODING_WHY_COUNT];

struct vv_encoding_verdict {
    enum vv_encoding encoding; /* IDENTITY: leave it as it is */
    bool vary;                 /* the choice depended on Accept-Encoding: Vary must say so */
    enum vv_encoding_why why;
};
/* An answer to HEAD gets the verdict of GET: the same fields, except Content-Length, which is then not
 * known (RFC 9110 9.3.2). A client that refuses even identity gets identity: the origin has answered,
 * and section 12.5.3 lets a server send what it has. */
struct vv_encoding_verdict vv_encoding_decide(const struct vv_encoding_rules *rules,
                                              const struct vv_h1_head *req,
                                              const struct vv_encoding_facts *facts);

/* The coding of an answer that may have one, by what the client says alone. */
enum vv_encoding vv_encoding_choose(const struct vv_encoding_rules *rules,
                                    const struct vv_h1_head *req);

/* What must stand before the entity tag of an encoded answer: "W/" before a strong one, for the bytes
 * are others now (RFC 9110 8.8.3), nothing before a weak one. Weak comparison (If-None-Match) still
 * matches the origin's own tag, so revalidation goes through unchanged. */
struct vv_str vv_encoding_etag_prefix(struct vv_str etag);

/* Writes the value of Vary: all members of the answer's Vary fields, then `name` unless it is there; "*"
 * alone if it is among them. Returns the length; 0: `cap` is too small (the members, two bytes each,
 * and the name always suffice). */
size_t vv_vary_merge(const struct vv_h1_head *answer, struct vv_str name, char *out, size_t cap);
#endif
