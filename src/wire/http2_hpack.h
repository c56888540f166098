/* src/wire/http2_hpack.h - HPACK, the header compression of HTTP/2: both directions.
 *
 * Model:     struct vv_hpack_in decodes the blocks of one peer, struct vv_hpack_out makes blocks
 *            for it; each has its dynamic table. A field decoded from the table comes with a
 *            `note`, two bytes of the caller's that live as long as the entry: what it found out
 *            about the field need not be found out again. The encoder puts into the table what
 *            tends to come again (a server's name) at once, other fields when they are seen for
 *            the second time, and secrets never; of a name that is in no table, the first one.
 *            What the table keeps is Huffman-coded, since that is paid for once; what is said only
 *            this time is not: it would save a fifth of its bytes.
 * Source:    RFC 7541.
 * Threads:   one connection's, of one worker.
 * Ownership: entries come from vv_hpack_memory; _fini gives all back.
 * Errors:    VV_ESYNTAX: a COMPRESSION_ERROR of the connection, as is VV_ENOMEM while decoding.
 */
#ifndef VV_WIRE_HTTP2_HPACK_H
#define VV_WIRE_HTTP2_HPACK_H
#include "base/err.h"
#include "base/str.h"

#include <string.h>

struct vv_hpack_memory {
    void *(*alloc)(void *user, size_t bytes); /* NULL: none */
    void (*dealloc)(void *user, void *p);     /* NULL is fine */
    void *user;
};

struct vv_hpack_entry;

struct vv_hpack_table { /* PRIVATE */
    const struct vv_hpack_memory *memory;
    struct vv_hpack_entry **ring; /* of `mask` + 1; NULL: nothing was put in yet */
    uint32_t mask, count;
    uint32_t put; /* entries ever put in: the number of the newest one */
    uint32_t bytes, bytes_max, limit;
};

#define VV_HPACK_STATIC 61 /* entries of the static table; the first has index 1 */

struct vv_hpack_field {
    struct vv_str name, value; /* valid until the next call for this block, or `forever` */
    uint16_t *note; /* of an entry, 0 at first; NULL: a literal, or in the static table */
    uint32_t index; /* in the static table, 0: not from there */
    bool forever;   /* name and value never go away */
};

/* ---- decoding */
struct vv_hpack_in { /* PRIVATE */
    struct vv_hpack_table table;
    uint32_t limit;   /* what the peer may make of the table */
    bool must_shrink; /* and it has to say so first */
    bool field_seen;  /* in this block */
    char *scratch;    /* decoded strings of one field */
    size_t scratch_bytes, scratch_used;
    struct vv_hpack_entry *loose; /* holds a field too large for the table */
};
/* memory: borrowed. limit: SETTINGS_HEADER_TABLE_SIZE, at least until the peer knows another. */
void vv_hpack_in_init(struct vv_hpack_in *d, const struct vv_hpack_memory *memory, uint32_t limit);
void vv_hpack_in_fini(struct vv_hpack_in *d);
/* The peer has acknowledged another limit; not above the one of init. */
void vv_hpack_in_limit(struct vv_hpack_in *d, uint32_t limit);
void vv_hpack_in_begin(struct vv_hpack_in *d); /* a block begins */
/* The next field at *at, which moves. VV_EAGAIN: the block has ended. The block's bytes stay put
 * until then. */
VV_MUST_CHECK enum vv_err vv_hpack_in_next(struct vv_hpack_in *d, const uint8_t **at,
                                           const uint8_t *end, struct vv_hpack_field *ret);
void vv_hpack_in_end(struct vv_hpack_in *d); /* gives back what only a block needs */

/* ---- encoding */
#define VV_HPACK_BUCKETS 64
struct vv_hpack_out { /* PRIVATE */
    struct vv_hpack_table table;
    uint32_t bucket[VV_HPACK_BUCKETS]; /* newest entry with such a hash, by number; 0: none */
    uint32_t name[VV_HPACK_BUCKETS];   /* the same by the hash of the name alone */
    uint16_t seen[VV_HPACK_BUCKETS];   /* hashes of fields that went by */
    uint32_t announce_min;             /* with announce: the least limit since the last block */
    uint32_t last;                     /* entry that the last field is in, by number; 0: in none */
    bool announce;                     /* the next block says how large the table is */
};
/* limit: never more, whatever the peer would allow. */
void vv_hpack_out_init(struct vv_hpack_out *e, const struct vv_hpack_memory *memory,
                       uint32_t limit);
void vv_hpack_out_fini(struct vv_hpack_out *e);
/* The peer's SETTINGS_HEADER_TABLE_SIZE. */
void vv_hpack_out_limit(struct vv_hpack_out *e, uint32_t limit);

#define VV_HPACK_BEGIN_BYTES 12 /* the room vv_hpack_out_begin() needs at most */
#define VV_HPACK_FIELD_BYTES 16 /* and a field, beside its name and its value */
/* Each writes at `to` and returns where it ended. */
uint8_t *vv_hpack_out_begin(struct vv_hpack_out *e, uint8_t *to);
/* `name` is lower case. secret: in no table, here or behind (RFC 7541 7.1.3). */
uint8_t *vv_hpack_out_field(struct vv_hpack_out *e, uint8_t *to, struct vv_str name,
                            struct vv_str value, bool secret);
/* Number of the entry that the last field is in, 0: it is in none. */
static inline uint32_t vv_hpack_out_last(const struct vv_hpack_out *e)
{
    return e->last;
}
/* The field of an entry, by number; NULL: it has left the table. */
uint8_t *vv_hpack_out_again(struct vv_hpack_out *e, uint8_t *to, uint32_t number);
/* 100 to 999. */
uint8_t *vv_hpack_out_status(struct vv_hpack_out *e, uint8_t *to, int status);

/* The static table; index 1 to VV_HPACK_STATIC. */
struct vv_hpack_static {
    struct vv_str name, value;
};
extern const struct vv_hpack_static vv_hpack_statics[VV_HPACK_STATIC + 1];

/* memcmp() for short strings that mostly are the same. */
static inline bool vv_hpack_same(const char *a, const char *b, size_t n)
{
    uint64_t x, y;
    if (n < sizeof x) {
        return n == 0 || memcmp(a, b, n) == 0;
    }
    for (size_t i = 0; i + sizeof x < n; i += sizeof x) {
        memcpy(&x, a + i, sizeof x);
        memcpy(&y, b + i, sizeof y);
        if (x != y) {
            return false;
        }
    }
    memcpy(&x, a + n - sizeof x, sizeof x);
    memcpy(&y, b + n - sizeof y, sizeof y);
    return x == y;
}

/* ---- the Huffman code (RFC 7541 5.2) */
/* Bytes that `to` needs room for. */
static inline size_t vv_huffman_room(size_t n)
{
    return n * 8 / 5 + 2; /* the shortest code has 5 bits; two symbols are written at a time */
}
/* Returns the bytes written, or SIZE_MAX: malformed. */
size_t vv_huffman_decode(char *to, const uint8_t *p, size_t n);
size_t vv_huffman_bytes(struct vv_str s);                 /* that encoding takes */
uint8_t *vv_huffman_encode(uint8_t *to, struct vv_str s); /* returns its end */
#endif
