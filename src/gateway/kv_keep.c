/* src/gateway/kv_keep.c - tells a store that was away what it has missed.
 *
 * One worker at a time does it for a store. It tries again after growing pauses; while a breaker is open that
 * costs no more than a timer. Purges come first, one after the other;
 * then the keys, oldest note first, some at once: each becomes what memory holds at that moment. */
#include "gateway/kv_int.h"
#include <stdlib.h>

#define AT_ONCE 32
#define PAUSE_MIN (20 * VV_MS)
#define PAUSE_MAX (500 * VV_MS)

struct vv_kv_keeper {
    struct vv_kv_keeper *next; /* of the worker */
    struct vv_worker *w;
    struct vv_kv *kv;
    struct vv_timer timer;
    uint64_t pause_ns, purge_id;
    unsigned left; /* jobs under way */
    bool failed, over;
    size_t count;
    struct vv_kv_noted noted[AT_ONCE];
};

static void keeper_free(struct vv_kv_keeper *k)
{
    struct vv_store *s = k->kv->store;
    struct vv_kv_keeper **at = &k->w->kv_keepers;
    while (*at != NULL && *at != k) {
        at = &(*at)->next;
    }
    if (*at != NULL) {
        *at = k->next;
    }
    vv_loop_timer_stop(k->w->loop, &k->timer);
    free(k);
    vv_store_unref(s);
}

static void pause_for(struct vv_kv_keeper *k, uint64_t ns)
{
    vv_loop_timer_at(k->w->loop, &k->timer, vv_worker_now(k->w) + ns);
}

/* What was under way has ended. */
static void go_on(struct vv_kv_keeper *k)
{
    if (k->over) {
        keeper_free(k);
        return;
    }
    k->pause_ns = k->failed ? vv_min_u64(2 * k->pause_ns, PAUSE_MAX) : PAUSE_MIN;
    pause_for(k, k->failed ? k->pause_ns : 0);
}

/* ---- keys -------------------------------------------------------------------------------------- */

static void job_done(struct vv_kv_job *job)
{
    struct vv_kv_keeper *k = job->user;
    for (size_t i = 0; i < k->count; i++) {
        struct vv_kv_noted *n = &k->noted[i];
        if (n->key.p != NULL && vv_str_eq(n->key, job->key)) {
            const bool ok = !job->failed && !job->tags_failed;
            k->failed |= !ok;
            if (ok) {
                vv_kv_note_done(k->kv->notes, n->key, n->serial);
            } else {
                vv_kv_note_later(k->kv->notes,
                                 n->key); /* others may be on servers that are there */
            }
            vv_kv_count(k->w, k->kv, VV_KV_VERBS,
                        !ok                      ? VV_KV_R_FAILED
                        : job->verb == VV_KV_PUT ? VV_KV_R_STORED
                                                 : VV_KV_R_REMOVED,
                        VV_KV_STORE);
            free((char *)n->key.p);
            n->key.p = NULL;
        }
    }
    vv_kv_job_free(job);
    if (--k->left == 0) {
        go_on(k);
    }
}

static bool repeat(struct vv_kv_keeper *k, struct vv_kv_noted *n)
{
    struct vv_small_item *it = vv_small_get(k->kv->small, n->key, vv_worker_now(k->w));
    struct vv_kv_job *job =
        vv_kv_job_new(k->w, k->kv, it != NULL ? VV_KV_PUT : VV_KV_DELETE, n->key, it, NULL);
    vv_small_item_unref(it);
    if (job == NULL) {
        return false;
    }
    job->finish = job_done;
    job->user = k;
    if (!vv_kv_job_send(job)) {
        vv_kv_job_free(job);
        return false;
    }
    return true;
}

static void repeat_some(struct vv_kv_keeper *k)
{
    k->failed = false;
    k->left = 1; /* so that nothing ends it meanwhile */
    k->count = vv_kv_notes_oldest(k->kv->notes, k->noted, AT_ONCE);
    for (size_t i = 0; i < k->count; i++) {
        if (repeat(k, &k->noted[i])) {
            k->left++;
        } else {
            k->failed = true;
            vv_kv_note_later(k->kv->notes, k->noted[i].key);
            free((char *)k->noted[i].key.p);
            k->noted[i].key.p = NULL;
        }
    }
    k->failed |= k->count == 0; /* a purge is being carried out by somebody */
    if (--k->left == 0) {
        go_on(k);
    }
}

/* ---- purges ------------------------------------------------------------------------------------ */

static void purge_done(void *user, bool ok, uint64_t count)
{
    struct vv_kv_keeper *k = user;
    (void)count;
    vv_kv_purge_done(k->kv->notes, k->purge_id, ok);
    vv_kv_count(k->w, k->kv, VV_KV_VERBS, ok ? VV_KV_R_REMOVED : VV_KV_R_FAILED, VV_KV_STORE);
    k->failed = !ok;
    k->left = 0;
    go_on(k);
}

/* True: one has begun. */
static bool repeat_purge(struct vv_kv_keeper *k)
{
    struct vv_kv_purge_note p;
    vv_kv_notes_take_purge(k->kv->notes, &p);
    if (p.id == 0) {
        return false;
    }
    k->purge_id = p.id;
    k->left = 1;
    if (vv_kv_run_start(k->w, k->kv, p.is_tag, p.what, purge_done, k) == NULL) {
        purge_done(k, false, 0);
    }
    free((char *)p.what.p);
    return true;
}

/* ---- the keeper -------------------------------------------------------------------------------- */

static void on_timer(struct vv_loop *loop, struct vv_timer *t)
{
    struct vv_kv_keeper *k = VV_CONTAINER(t, struct vv_kv_keeper, timer);
    struct vv_kv *kv = k->kv;
    (void)loop;
    /* A store that nobody else holds was taken out of the file. */
    if (vv_kv_notes_empty(kv->notes) || atomic_load(&kv->store->refs) == 1) {
        struct vv_worker *w = k->w;
        (void)vv_store_ref(kv->store);
        atomic_store(&kv->kept, false);
        keeper_free(k);
        if (!vv_kv_notes_empty(kv->notes) && atomic_load(&kv->store->refs) > 1) {
            vv_kv_keep(w, kv); /* noted just now, while it was thought to be kept */
        }
        vv_store_unref(kv->store);
        return;
    }
    if (!repeat_purge(k)) {
        repeat_some(k);
    }
}

void vv_kv_keep(struct vv_worker *w, struct vv_kv *kv)
{
    if (w->kv_left || atomic_exchange(&kv->kept, true)) {
        return;
    }
    struct vv_kv_keeper *k = calloc(1, sizeof *k);
    if (k == NULL) {
        atomic_store(&kv->kept, false); /* the next write tries again */
        return;
    }
    (void)vv_store_ref(kv->store);
    k->w = w;
    k->kv = kv;
    k->pause_ns = PAUSE_MIN;
    vv_timer_init(&k->timer, on_timer);
    k->next = w->kv_keepers;
    w->kv_keepers = k;
    pause_for(k, PAUSE_MIN);
}

void vv_kv_leave(struct vv_worker *w)
{
    w->kv_left = true;
    for (struct vv_kv_keeper *k = w->kv_keepers, *next; k != NULL; k = next) {
        next = k->next;
        k->over = true;
        atomic_store(&k->kv->kept, false);
        if (k->left == 0) {
            keeper_free(k); /* else with the end of what is under way, when the clients are freed */
        }
    }
}
