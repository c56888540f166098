/* src/gateway/resp_commands.h - the commands of Redis that applications may use through the gateway: where
 * their keys are, who answers them, and how answers of version 3 read in version 2.
 *
 * Model:     resp_commands.def has a row for each. What is not in the table is refused as unknown; rows
 *            with REFUSE say why. A command is sent to one server, so its keys must live on one: those
 *            that can be cut in pieces (SUM, MGET, MSET) are, others across servers are refused.
 *            Answers come as items (wire/resp.h) of whichever version the server speaks and leave in the
 *            version the client asked for.
 * Source:    Redis documentation: commands and their key specifications; the RESP3 specification and the
 *            notes on answers that differ between versions 2 and 3.
 * Threads:   pure functions over the caller's structs.
 * Ownership: vv_resp_bytes owns its bytes until _fini; keys point into the caller's arguments.
 * Errors:    VV_ESYNTAX: the number of keys is none, or more than there are arguments.
 */
#ifndef VV_GATEWAY_RESP_COMMANDS_H
#define VV_GATEWAY_RESP_COMMANDS_H
#include "store/redis_url.h"
#include "wire/resp.h"

#define VV_RESP_COUNTED 127 /* in `last` of a row */

/* VV_RESP_CLASS(id, name): as the metrics count them. */
#define VV_RESP_CLASSES(X)                                                                         \
    X(STRING, "string")                                                                            \
    X(HASH, "hash")                                                                                \
    X(LIST, "list")                                                                                \
    X(SET, "set")                                                                                  \
    X(ZSET, "zset")                                                                                \
    X(KEY, "key")                                                                                  \
    X(SERVER, "server")                                                                            \
    X(CONNECTION, "connection")                                                                    \
    X(REFUSED, "refused") /* and unknown */
enum vv_resp_class {
#define VV_RESP_AS_CLASS(id, name) VV_RESP_CLASS_##id,
    VV_RESP_CLASSES(VV_RESP_AS_CLASS)
#undef VV_RESP_AS_CLASS
        VV_RESP_CLASS_COUNT
};
const char *vv_resp_class_name(enum vv_resp_class c);

enum vv_resp_how {
    VV_RESP_HOW_PASS,
    VV_RESP_HOW_SUM,
    VV_RESP_HOW_MGET,
    VV_RESP_HOW_MSET,
    VV_RESP_HOW_OWN,
    VV_RESP_HOW_FLUSH,
    VV_RESP_HOW_REFUSE
};

enum vv_resp_memory { /* how resp_memory.c answers */
                      VV_RESP_MEMORY_NONE,
                      VV_RESP_MEMORY_GET,
                      VV_RESP_MEMORY_SET,
                      VV_RESP_MEMORY_SETEX,
                      VV_RESP_MEMORY_SETNX,
                      VV_RESP_MEMORY_MGET,
                      VV_RESP_MEMORY_MSET,
                      VV_RESP_MEMORY_DEL,
                      VV_RESP_MEMORY_EXISTS,
                      VV_RESP_MEMORY_TTL,
                      VV_RESP_MEMORY_EXPIRE,
                      VV_RESP_MEMORY_INCR
};

enum vv_resp_flags {
    VV_RESP_READ = 1,
    VV_RESP_WRITE = 2,
    VV_RESP_SLOW = 4,      /* takes longer with more elements: a longer deadline */
    VV_RESP_ALONE = 8,     /* means one server: refused where there are several */
    VV_RESP_OPEN = 16,     /* before the password, too */
    VV_RESP_PAIRS = 32,    /* version 3 answers with a list of pairs, version 2 with a flat one */
    VV_RESP_NIL_LIST = 64, /* nothing is an empty list in version 2, not an empty string */
    VV_RESP_AS_MAP = 128,  /* a map in version 3, a list in version 2 */
    VV_RESP_AS_SET = 256   /* a set in version 3, the same */
};

struct vv_resp_command {
    struct vv_str name; /* upper case */
    int8_t arity, first, last, step;
    uint8_t class, how, memory;
    uint16_t flags;
    const char *text;
};
/* In any case; NULL: not in the table. */
const struct vv_resp_command *vv_resp_command_find(struct vv_str name);
/* By place in the table; NULL: there are no more. */
const struct vv_resp_command *vv_resp_command_at(size_t i);
bool vv_resp_command_fits(const struct vv_resp_command *c, size_t args_count); /* arity */

/* Where the keys of one command are. */
struct vv_resp_keys {
    const struct vv_str *args;
    size_t first, step, count;
    size_t extra; /* place of one more key, that comes first; 0: none */
};
/* The command fits. No keys: count 0. */
VV_MUST_CHECK enum vv_err vv_resp_keys_find(const struct vv_resp_command *c,
                                            const struct vv_str *args, size_t args_count,
                                            struct vv_resp_keys *ret);
static inline size_t vv_resp_keys_count(const struct vv_resp_keys *k)
{
    return k->count + (k->extra > 0 ? 1 : 0);
}
static inline struct vv_str vv_resp_key(const struct vv_resp_keys *k, size_t i)
{
    if (k->extra > 0) {
        return i == 0 ? k->args[k->extra] : k->args[k->first + (i - 1) * k->step];
    }
    return k->args[k->first + i * k->step];
}
/* What decides which server has a key: what stands between its first { and the next }, if anything does. */
struct vv_str vv_resp_key_tag(struct vv_str key);
/* Do both surely live on one server? */
bool vv_resp_keys_together(enum vv_redis_kind kind, struct vv_str a, struct vv_str b);

struct vv_resp_bytes { /* growing bytes; zeroes are empty */
    char *p;
    size_t n, cap;
};
void vv_resp_bytes_fini(struct vv_resp_bytes *b);
/* False: no memory, nothing was added. */
VV_MUST_CHECK bool vv_resp_bytes_room(struct vv_resp_bytes *b, size_t more);
VV_MUST_CHECK bool vv_resp_bytes_add(struct vv_resp_bytes *b, struct vv_str s);
/* "*3\r\n" and the like. */
VV_MUST_CHECK bool vv_resp_bytes_head(struct vv_resp_bytes *b, char type, int64_t n);
VV_MUST_CHECK bool vv_resp_bytes_bulk(struct vv_resp_bytes *b, struct vv_str s);
/* The head of a map of so many pairs; "no value". */
VV_MUST_CHECK bool vv_resp_bytes_map(struct vv_resp_bytes *b, unsigned version, int64_t pairs);
VV_MUST_CHECK bool vv_resp_bytes_nil(struct vv_resp_bytes *b, unsigned version);

struct vv_resp_convert { /* PRIVATE fields */
    uint16_t flags;
    uint8_t version;
    bool waits, flat; /* waits: the head of a list of pairs, until it is seen whether it is one */
    uint64_t count;
};
/* version: the client's. */
void vv_resp_convert_init(struct vv_resp_convert *v, unsigned version, uint16_t flags);
/* One more item of the answer. False: no memory. */
VV_MUST_CHECK bool vv_resp_convert(struct vv_resp_convert *v, const struct vv_resp_item *it,
                                   struct vv_resp_bytes *out);
#endif
