/* src/acme/acme_int.h - what the files behind acme.h share.
 *
 * Model:     entries (one for each name) belong to the list under `lock`; a thread that works on one has
 *            set `working`, and then only it frees the entry. Nothing blocks while `lock` is held.
 */
#ifndef VV_ACME_ACME_INT_H
#define VV_ACME_ACME_INT_H
#include "acme/acme.h"
#include "acme/plan.h"
#include "acme/store.h"
#include "os/thread.h"
#include <stdatomic.h>

#define VV_ACME_THREADS 4
#define VV_ACME_EVENTS 256
#define VV_ACME_LOOKS_MAX 50 /* into the store, a second, for challenges of strangers */

struct vv_acme_wish { /* a configuration; immutable and counted */
    atomic_uint refs;
    struct vv_arena arena;
    const char *store, *email, *ca_file, *eab_key, *eab_mac;
    const char **directory;
    size_t directory_count;
    bool agree;
    enum vv_acme_challenge challenge;
    uint64_t retry_ns;
};

struct vv_acme_entry { /* everything under the lock, unless said otherwise */
    char name[VV_ACME_NAME_MAX];
    struct vv_acme_plan plan;
    struct vv_acme_memory memory;
    uint64_t stamp, not_before_wall_ns, not_after_wall_ns; /* of the file; 0: there is none */
    uint64_t look_ns; /* another gateway is at it: not before */
    bool loaded, wanted, working, asked, revoke, revoked;
};

struct vv_acme_token { /* what one thread has put up */
    char token[VV_ACME_TOKEN_MAX], name[VV_ACME_NAME_MAX];
    char answer[VV_ACME_TOKEN_MAX + 64];
    struct vv_tls_cert *cert; /* TLS-ALPN-01, else NULL */
};

struct vv_acme_event {
    enum vv_acme_level level;
    char *name, *text;
};

enum vv_acme_result { VV_ACME_OK, VV_ACME_FAILED, VV_ACME_TAKEN, VV_ACME_RESULTS };

struct vv_acme_thread {
    struct vv_acme *a;
    struct vv_thread thread;
    struct vv_acme_token *token; /* a->token of this thread */
};

struct vv_acme {
    struct vv_metrics *metrics;
    pthread_mutex_t lock;
    pthread_cond_t wake; /* monotonic */
    struct vv_acme_wish *wish;
    struct vv_acme_entry **entry;
    size_t entry_count;
    struct vv_rng rng;
    struct vv_acme_event event[VV_ACME_EVENTS];
    size_t event_first, event_count;
    unsigned threads;
    uint64_t look_s, looks; /* challenges looked for in the store in this second */

    struct vv_acme_thread thread[VV_ACME_THREADS];
    atomic_bool stop, busy;
    atomic_uint_fast64_t generation, result[VV_ACME_RESULTS];

    pthread_mutex_t token_lock;
    struct vv_acme_token token[VV_ACME_THREADS];
};

struct vv_acme_wish *vv_acme_wish_ref(struct vv_acme_wish *w);
void vv_acme_wish_unref(struct vv_acme_wish *w); /* NULL is fine */
/* Out of the list, if it is there, and gone; under the lock. */
void vv_acme_drop(struct vv_acme *a, struct vv_acme_entry *e);
void vv_acme_say(struct vv_acme *a, enum vv_acme_level level, const char *name, const char *fmt,
                 ...) VV_PRINTF(4, 5);                  /* locks */
void vv_acme_wall_text(uint64_t wall_ns, char out[32]); /* RFC 3339 in UTC */
void vv_acme_span_text(uint64_t ns, char out[32]);      /* "3 minutes" */

/* challenges.c: puts the answer up, here and in the store; takes it down again. */
VV_MUST_CHECK enum vv_err vv_acme_publish(struct vv_acme_thread *t, const struct vv_acme_wish *w,
                                          const char *name, const struct vv_acme_order *o);
void vv_acme_unpublish(struct vv_acme_thread *t, const struct vv_acme_wish *w);

/* runner.c: a thread's life. */
void vv_acme_run(void *thread);
/* Sleeps, wakes up early when it is time to stop. False: stop. */
bool vv_acme_sleep(struct vv_acme *a, uint64_t until_ns);
/* Is this work still wanted, by this configuration? */
bool vv_acme_still(struct vv_acme *a, const struct vv_acme_entry *e, const struct vv_acme_wish *w);
/* Reads the certificate's file and what is remembered of the name; says whether it is another file. */
bool vv_acme_load(struct vv_acme *a, struct vv_acme_entry *e, const struct vv_acme_wish *w);

/* work.c: what is due for an entry that is marked as working. */
void vv_acme_work(struct vv_acme_thread *t, struct vv_acme_entry *e, struct vv_acme_wish *w);
#endif
