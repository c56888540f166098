/* src/gateway/keys.h - keys of callers: a file of their hashes, and the table it is read into.
 *
 * Model:     one line a key: SHA-256 in hexadecimal, plan ("-": none), name, time of creation, then
 *            expires=TIME and revoked=TIME where they apply. Lines that begin with # and empty ones are
 *            left alone. Hashes and names are unique. Times are UTC as RFC 3339 writes them, to the
 *            second. The keys themselves are nowhere: they are long and random, so that a plain hash
 *            does not give them away. A table never changes; a change makes a new text and a new table.
 * Source:    FIPS 180-4 (SHA-256), RFC 3339 section 5.6 (times).
 * Units:     *_s are seconds since 1970.
 * Threads:   a table is read by any; uses are counted by any.
 * Ownership: a table owns its text. Uses belong to whoever links them (access.c), and outlive tables.
 * Errors:    VV_ESYNTAX with line, column and a static text.
 */
#ifndef VV_GATEWAY_KEYS_H
#define VV_GATEWAY_KEYS_H
#include "base/err.h"
#include "base/sb.h"
#include <stdatomic.h>

#define VV_KEY_HASH 32
#define VV_KEY_NAME_MAX 64         /* of keys, plans and users */
#define VV_KEY_BYTES_MIN 16        /* of a key: shorter ones could be guessed from their hash */
#define VV_KEY_BYTES_MAX 512       /* longer credentials are no keys */
#define VV_KEYS_BYTES (256u << 20) /* of a file */
#define VV_KEY_TEXT 48             /* room for a key made here, with its NUL */

struct vv_key_use { /* of one key, for as long as the process lives */
    _Atomic uint64_t requests, refused, last_wall_ns;
    struct vv_key_use *next; /* PRIVATE */
    uint8_t hash[VV_KEY_HASH];
    char id[VV_KEY_NAME_MAX + 8]; /* "key:NAME" */
};

struct vv_key {
    uint8_t hash[VV_KEY_HASH];
    const char *plan; /* NULL: none */
    const char *name;
    int64_t created_s, expires_s, revoked_s; /* 0: not */
    uint32_t line;
    struct vv_key_use *use; /* NULL until linked */
};

struct vv_keys { /* in the order of the file */
    size_t count;
    struct vv_key *key;
    char *text;                  /* PRIVATE: the names lie in it */
    uint32_t *by_hash, *by_name; /* PRIVATE: index + 1, open addressing */
    size_t slots;                /* PRIVATE: a power of two */
};

struct vv_keys_error {
    uint32_t line, column; /* from 1 */
    const char *text;
};

VV_MUST_CHECK enum vv_err vv_keys_parse(struct vv_str text, struct vv_keys **ret,
                                        struct vv_keys_error *reterr);
void vv_keys_free(struct vv_keys *k); /* NULL is fine */
/* Also one that is revoked or expired: vv_key_good() tells. Compares in constant time. NULL: unknown. */
const struct vv_key *vv_keys_find(const struct vv_keys *k, const uint8_t hash[VV_KEY_HASH]);
const struct vv_key *vv_keys_named(const struct vv_keys *k, struct vv_str name);
static inline bool vv_key_good(const struct vv_key *k, int64_t now_s)
{
    return k->revoked_s == 0 && (k->expires_s == 0 || now_s < k->expires_s);
}

/* "90d" from wall_ns on, as the second in which it ends. VV_ERANGE: less than a second or more than 100
 * years; VV_EINVAL and VV_ESYNTAX: no duration. */
VV_MUST_CHECK enum vv_err vv_key_lasts(struct vv_str text, uint64_t wall_ns, int64_t *ret_unix_s);

/* ---- changes: from one text of a file to the next ---- */
struct vv_key_new {
    struct vv_str name, plan; /* plan n 0: none */
    uint8_t hash[VV_KEY_HASH];
    int64_t created_s, expires_s; /* 0: never */
};
/* Writes the file whole. Only its owner may read it, and its group where that is not our own: whoever writes
 * it by hand may be somebody else than the gateway that reads it. A link stays one. */
VV_MUST_CHECK enum vv_err vv_keys_write(const char *path, struct vv_str text);
/* Comments and order stay. VV_EEXIST: the name or the key is taken; VV_EINVAL: no name, no plan's name;
 * VV_ESYNTAX: the text. reterr_text (256 bytes) says what. */
VV_MUST_CHECK enum vv_err vv_keys_add(struct vv_str text, const struct vv_key_new *n,
                                      struct vv_sb *out, char *reterr_text);
/* VV_ENOENT: no such name; VV_EEXIST: revoked before. */
VV_MUST_CHECK enum vv_err vv_keys_revoke(struct vv_str text, struct vv_str name, int64_t now_s,
                                         struct vv_sb *out, char *reterr_text);

bool vv_key_is_name(struct vv_str s); /* letters, digits, . _ @ -; not "-" alone */
/* May it be a key? 16 to 512 visible ASCII characters. */
bool vv_key_is_key(struct vv_str s);
VV_MUST_CHECK enum vv_err vv_key_hash(struct vv_str key, uint8_t ret[VV_KEY_HASH]);
/* A new key out of 32 random bytes of the caller. */
void vv_key_make(const uint8_t random[32], char ret[VV_KEY_TEXT]);

#define VV_UTC_BYTES 24 /* "2026-11-21T14:00:00Z" and its NUL */
const char *vv_utc_format(int64_t unix_s, char out[VV_UTC_BYTES]);
VV_MUST_CHECK bool vv_utc_parse(struct vv_str s, int64_t *ret_unix_s);
#endif
