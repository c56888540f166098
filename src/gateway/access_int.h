/* src/gateway/access_int.h - what the files of access share: one view of all tables, and each worker's seat.
 *
 * Model:     keys, users and public keys lie in one immutable view, which is replaced as a whole. A worker
 *            that looks into it writes its address into its own seat first (a hazard pointer), so that the
 *            control thread sees who still reads what was replaced. What outlives the look is copied, or
 *            belongs to the process (struct vv_key_use).
 * Source:    M. Michael, "Hazard Pointers: Safe Memory Reclamation for Lock-Free Objects", IEEE TPDS 2004.
 */
#ifndef VV_GATEWAY_ACCESS_INT_H
#define VV_GATEWAY_ACCESS_INT_H
#include "base/list.h"
#include "gateway/access.h"
#include "gateway/jwks.h"
#include "gateway/jwt.h"
#include "gateway/keys.h"
#include "gateway/users.h"

#include <openssl/evp.h>
#include <sys/stat.h>

#define VV_ACCESS_SEATS 128 /* as many as workers can look into caches (cache/epoch.h) */
#define VV_ACCESS_SEEN 512  /* a power of two */
#define VV_ACCESS_SERIES 256

enum vv_access_part { PART_KEYS, PART_USERS, PART_JWKS, PART_COUNT };
struct vv_part { /* counted; only the control thread counts */
    unsigned refs;
    void *value;
    void (*free)(void *value);
};
struct vv_tables {
    struct vv_tables *next; /* of those that were replaced */
    uint64_t generation;
    struct vv_part *part[PART_COUNT]; /* NULL: none */
};
static inline const void *vv_tables_get(const struct vv_tables *t, enum vv_access_part part)
{
    return t->part[part] != NULL ? t->part[part]->value : NULL;
}

/* Credentials that took long to check and hold: not checked again for a while. */
struct vv_seen {
    uint8_t hash[VV_KEY_HASH]; /* of the whole credentials */
    uint64_t tables, runtime;  /* generations under which it was checked; 0: an empty slot */
    enum vv_access_by by;      /* as what: the same text may be sent as something else */
    int64_t until_s;
    char name[VV_JWT_CLAIM_MAX + 1];
    char plan[VV_JWT_CLAIM_MAX + 1];
};

struct vv_seat { /* of one worker; only `held` is read by another thread */
    VV_ALIGNED(VV_CACHE_LINE) _Atomic(const struct vv_tables *) held;
    EVP_MD_CTX *sha;      /* made at the first use */
    struct vv_seen *seen; /* the same */
    struct vv_list jobs;  /* passwords that are being checked */
    unsigned job_count;
    bool ready;
    struct {
        uint64_t tag;
        vv_series series;
    } count[VV_ACCESS_SERIES];
};

struct vv_stamp { /* of a file: another one, another content */
    struct timespec changed;
    off_t bytes;
    ino_t inode;
};
struct vv_file_part {
    char *path; /* NULL: the settings name none */
    struct vv_stamp stamp;
};
struct vv_view { /* what the settings ask for, and what was read for it */
    struct vv_file_part file[PART_COUNT];
    struct vv_part *part[PART_COUNT];
    char *url; /* of the public keys; NULL: a file, or none */
    uint64_t refresh_ns;
    size_t plan_count;
    char **plan;              /* names that keys and users may have */
    struct vv_tables *tables; /* to be published by vv_access_settle() */
};

struct vv_access {
    struct vv_metrics *metrics;
    struct vv_shard *shard; /* the control thread's */
    const EVP_MD *sha256;
    _Atomic(const struct vv_tables *) now;
    _Atomic bool key_wanted; /* a token named a public key that is not known */
    struct vv_tables *replaced;
    uint64_t generation;
    struct vv_view *view, *next;
    struct vv_key_use *uses;
    struct vv_jwks_fetch *fetch;
    uint64_t look_ns, fetch_ns, asked_ns,
        fetched_ns;        /* next look at files, next fetch, last ones */
    char fetch_error[256]; /* "": the last fetch went well */
    char *asked_url;       /* of the last fetch: a reload may have named another one meanwhile */
    struct vv_seat seat[VV_ACCESS_SEATS];
};

/* access.c */
struct vv_seat *vv_access_seat(struct vv_access *a, struct vv_worker *w); /* NULL: no memory */
const struct vv_tables *vv_access_hold(struct vv_access *a, struct vv_seat *s);
static inline void vv_access_let_go(struct vv_seat *s)
{
    atomic_store_explicit(&s->held, NULL, memory_order_release);
}
VV_MUST_CHECK bool vv_access_hash(struct vv_access *a, struct vv_seat *s, struct vv_str text,
                                  uint8_t ret[VV_KEY_HASH]);
/* What holds for the same hash, way and generations as `what` has; NULL: not seen, or no longer good. */
const struct vv_seen *vv_access_recall(const struct vv_seat *s, const struct vv_seen *what,
                                       int64_t now_s);
void vv_access_remember(struct vv_seat *s, const struct vv_seen *what);

/* access_view.c: control thread */
VV_MUST_CHECK enum vv_err vv_view_new(struct vv_access *a, const struct vv_access_settings *conf,
                                      struct vv_view **ret, char *reterr_text);
void vv_view_free(struct vv_view *v); /* NULL is fine */
VV_MUST_CHECK enum vv_err vv_view_tables(struct vv_access *a, const struct vv_view *v,
                                         struct vv_tables **ret);
void vv_tables_free(struct vv_tables *t); /* NULL is fine */
/* Reads one file anew; what was read before stays when that fails. */
VV_MUST_CHECK enum vv_err vv_view_read(struct vv_access *a, struct vv_view *v,
                                       enum vv_access_part part, char *reterr_text);
/* Has the file changed since it was read? */
bool vv_view_changed(const struct vv_view *v, enum vv_access_part part);
void vv_view_put(struct vv_view *v, enum vv_access_part part, struct vv_part *value);
VV_MUST_CHECK enum vv_err vv_part_new(void *value, void (*free_it)(void *value),
                                      struct vv_part **ret);
void vv_jwks_free_any(void *value);
bool vv_view_has_plan(const struct vv_view *v, const char *name);

/* access_basic.c: true: the exchange waits until the password was checked, and then goes on. */
enum vv_basic { BASIC_WAITS, BASIC_MALFORMED, BASIC_BUSY };
VV_MUST_CHECK enum vv_basic vv_access_basic(struct vv_exchange *x, struct vv_seat *s,
                                            const struct vv_tables *t, struct vv_str credentials,
                                            const uint8_t hash[VV_KEY_HASH]);
void vv_access_basic_forget(struct vv_seat *s); /* the workers and the pool are gone */
/* access_check.c: what was sent is not right; answers 401. */
void vv_access_refuse_wrong(struct vv_exchange *x, const char *why);
#endif
