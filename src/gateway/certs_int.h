/* src/gateway/certs_int.h - what the files of the certificates share. Never included elsewhere.
 *
 * Model:     a seat for each listener that ever had TLS, with the slot its connections look into; a set is
 *            what the settings of one listener ask for: items (one certificate each) and the context made
 *            of them. A set is made by prepare, put in its seat by settle, and looked after by tick.
 * Threads:   control. Of a seat, workers read name, slot and `on`; seats are never freed before the home.
 */
#ifndef VV_GATEWAY_CERTS_INT_H
#define VV_GATEWAY_CERTS_INT_H
#include "gateway/certs.h"
#include "os/tls_local.h"
#include <stdatomic.h>
#include <sys/stat.h>

#define VV_CERTS_WHY 256
#define VV_CERTS_LIVES 8 /* different lives of tickets */

enum vv_certs_file { FILE_CERT, FILE_KEY, FILE_OCSP, FILE_COUNT };
enum vv_certs_source { VV_CERTS_FILES, VV_CERTS_LOCAL, VV_CERTS_ACME };

struct vv_acme;

struct vv_certs_stamp { /* of a file: another one, another content */
    struct timespec changed;
    off_t bytes; /* -1: not there */
    ino_t inode;
    dev_t device;
};

struct vv_certs_item {
    const char *name;                        /* ACME: whom it is for; else NULL */
    const char *path[FILE_COUNT];            /* NULL: none; the key may be in the same file */
    struct vv_certs_stamp stamp[FILE_COUNT]; /* when they were read last */
    struct vv_tls_cert *cert;                /* NULL: not there yet */
    unsigned failures;                       /* reads in a row */
    char problem[VV_CERTS_WHY];              /* of the last read; "": none */
};

struct vv_certs_set {
    struct vv_arena arena; /* all text */
    const char *listener;
    enum vv_certs_source source;
    struct vv_certs_item *item;
    size_t count;
    struct vv_tls_cert *placeholder; /* ACME: until the first certificates are there; NULL: none */
    size_t placeholder_for;          /* how many names had no certificate when it was made */
    const char *dir, *ca_file;       /* LOCAL; of clients */
    struct vv_certs_stamp ca_stamp;
    const char *const *name; /* LOCAL, ACME */
    size_t name_count;
    enum vv_tls_ask ask;
    enum vv_tls_version version_min;
    size_t hello_bytes;
    bool strict_names, ktls, http2;
    struct vv_tls_tickets *tickets; /* the home's; NULL: off */
    struct vv_tls_context *context; /* in force, or about to be */
    struct vv_certs *home;
    uint64_t warned_wall_ns; /* about certificates that end */
};

struct vv_certs_seat {
    _Atomic(struct vv_certs_seat *) next; /* seats only come behind the last one */
    char *name;
    struct vv_tls_slot *slot;
    _Atomic bool on;                 /* the listener has TLS */
    struct vv_certs_set *set, *then; /* in force; prepared */
    uint64_t swaps;
};

struct vv_certs_life {
    uint64_t life_ns;
    struct vv_tls_tickets *keys;
};

struct vv_certs {
    struct vv_metrics *metrics;
    struct vv_shard *shard;
    _Atomic(struct vv_certs_seat *) seats;
    struct vv_certs_life life[VV_CERTS_LIVES];
    size_t lives;
    _Atomic(struct vv_acme *) acme; /* NULL: nobody wanted it yet */
    uint64_t keys_generation;
    uint64_t look_ns;       /* the next look at files */
    uint64_t local_wall_ns; /* the next look at how old local certificates are */
};

/* certs.c: the keys of tickets that live so long, the home's; VV_ELIMIT: VV_CERTS_LIVES are there. */
VV_MUST_CHECK enum vv_err vv_certs_tickets(struct vv_certs *c, uint64_t life_ns,
                                           struct vv_tls_tickets **ret);

/* certs_set.c. *ret is the caller's. */
VV_MUST_CHECK enum vv_err vv_certs_set_new(struct vv_certs *c, const struct vv_listen_settings *l,
                                           const char *dir, struct vv_sb *why,
                                           struct vv_certs_set **ret);
void vv_certs_set_free(struct vv_certs_set *s); /* NULL is fine */
/* Looks at the files. VV_OK: s->context is a new one; VV_EAGAIN: nothing is new. Other errors: what was read
 * last stays. *why, also on VV_OK: what cannot be used, said once for each mistake. */
VV_MUST_CHECK enum vv_err vv_certs_set_look(struct vv_certs_set *s, struct vv_sb *why);

/* certs_acme.c */
VV_MUST_CHECK enum vv_err vv_certs_acme_conf(struct vv_certs *c, const struct vv_settings *s,
                                             struct vv_sb *why);
void vv_certs_acme_file(struct vv_certs *c, struct vv_certs_set *s, struct vv_certs_item *i);
struct vv_tls_cert *vv_certs_acme_challenge(void *acme, struct vv_str name);
void vv_certs_acme_tick(struct vv_certs *c);
void vv_certs_acme_json(const struct vv_certs *c, struct vv_json *j);
void vv_certs_acme_free(struct vv_certs *c);

/* certs_view.c */
void vv_certs_collect(struct vv_collect *collect, void *certs);
#endif
