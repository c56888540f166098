/* src/load/engine_int.h - one generator thread, and what it shares with the thread that runs the test.
 *
 * Model:     threads never wait for each other. Each records into a batch of its own; once a second
 *            it hands that over as mail to the caller's loop and goes on with an empty one, so all
 *            merging happens off the generating threads. Batches come back as mail.
 * Threads:   everything in a vv_load_gen belongs to its thread, except what is marked.
 * Ownership: the run owns generators and batches until all threads are joined.
 */
#ifndef VV_LOAD_ENGINE_INT_H
#define VV_LOAD_ENGINE_INT_H
#include "load/client.h"
#include "load/engine.h"
#include "load/schedule.h"
#include "os/alarm.h"
#include "os/dns.h"
#include "os/thread.h"

/* A start this late still counts in the second it was meant for. */
#define VV_LOAD_GRACE_NS (10 * VV_MS)

struct vv_load_gen;
struct vv_load_batch { /* what one thread measured in one second */
    struct vv_mail mail;
    struct vv_load_gen *gen;
    struct vv_load_batch *next;   /* of all batches of a generator */
    struct vv_load_batch *spare;  /* of its empty ones */
    struct vv_load_result *r;     /* histograms of endpoints and classes; totals come from them */
    struct vv_load_hist *latency; /* of this second */
    uint64_t second;
    uint64_t started[2]; /* users that began: of the second before, of this one */
    uint64_t skipped[2];
    uint64_t begun; /* iterations of closed users, which are their own plan */
    uint64_t in_flight;
    bool final;
};

struct vv_load_shared { /* of a run; fixed while threads are at work */
    const struct vv_load_plan *plan;
    struct vv_load_view view;
    struct vv_loop *home; /* the caller's */
    unsigned parts;       /* threads of all agents */
    uint64_t seed;
    uint64_t connections_max;                                     /* of one thread */
    void (*on_ready)(struct vv_loop *loop, struct vv_mail *mail); /* run in the caller's loop */
    void (*on_batch)(struct vv_loop *loop, struct vv_mail *mail);
};

struct vv_load_user_slot;
struct vv_load_dest;
struct vv_load_gen {
    const struct vv_load_shared *shared;
    struct vv_thread thread;
    struct vv_loop *loop; /* post to it from anywhere */
    struct vv_mail ready, go, stop;
    enum vv_err err;    /* of setting up; read by the caller once ready has arrived */
    uint64_t t0_ns;     /* set by the caller before it posts go */
    uint64_t delivered; /* the caller's: seconds before this one have arrived */
    bool done;          /* the caller's: its final batch has arrived */
    void *run;          /* the caller's */
    unsigned part;

    bool going, stopping;
    uint64_t stop_ns;
    struct vv_dns *dns;
    struct vv_load_client client;
    struct vv_alarm alarm;
    struct vv_load_schedule schedule;
    struct vv_load_start next;
    bool has_next;
    struct vv_rng rng;
    uint64_t *phase_at_ns;                             /* when each phase begins */
    uint64_t *phase_alive;                             /* users of each phase */
    uint64_t alive, open;                              /* users, connections */
    uint64_t cpu_ns, in_bytes, out_bytes, connections; /* counted in batches so far */
    uint64_t handshakes, resumed;                      /* the same */
    uint64_t last_sent_ns;
    struct vv_load_batch *batch, *spare, *batches;
    struct vv_load_user_slot *free_users, *users;
    struct vv_load_dest *dests;
    struct vv_list free_conns;
};

/* Prepares memory and the loop; the thread itself is not started. */
VV_MUST_CHECK enum vv_err vv_load_gen_init(struct vv_load_gen *g,
                                           const struct vv_load_shared *shared, unsigned part);
void vv_load_gen_fini(struct vv_load_gen *g); /* after the thread was joined */
void vv_load_gen_main(void *gen);             /* the thread */
/* Gives a batch that was merged back to its thread; not the final one. From the caller's thread. */
void vv_load_batch_return(struct vv_load_batch *b);

/* users.c */
/* Begins the user of this start, `late_ns` after its time. */
void vv_load_users_start(struct vv_load_gen *g, const struct vv_load_start *start, uint64_t now_ns);
/* Makes TLS possible; client.tls_error says why not. */
VV_MUST_CHECK enum vv_err vv_load_users_trust(struct vv_load_gen *g);
/* Looks the plan's target up and waits for the answer a little: not during the run. */
void vv_load_users_resolve(struct vv_load_gen *g);
/* Closed users stop at their next step; with `at_once` all users are dropped uncounted. */
void vv_load_users_end(struct vv_load_gen *g, bool at_once);
void vv_load_users_free(struct vv_load_gen *g);
#endif
