/* src/acme/runner.c - threads that look for something due, do it, and sleep until the next thing is.
 *
 * A thread that blocks in a look-up of a name or a transfer holds up nobody but its own name. */
#include "acme/acme_int.h"
#include "os/clock.h"

#include <stdlib.h>
#include <time.h>

#define LOOK_EVERY_NS (2 * VV_SEC) /* at the clock, and at files other gateways may have written */
#define SWEEP_EVERY_NS VV_HOUR

/* ---- waiting ------------------------------------------------------------------------------- */

static void wait_locked(struct vv_acme *a, uint64_t until_ns)
{
    const struct timespec at = {.tv_sec = (time_t)(until_ns / VV_SEC),
                                .tv_nsec = (long)(until_ns % VV_SEC)};
    (void)pthread_cond_timedwait(&a->wake, &a->lock, &at);
}

bool vv_acme_sleep(struct vv_acme *a, uint64_t until_ns)
{
    pthread_mutex_lock(&a->lock);
    while (!a->stop && vv_clock_now() < until_ns) {
        wait_locked(a, until_ns);
    }
    pthread_mutex_unlock(&a->lock);
    return !a->stop;
}

bool vv_acme_still(struct vv_acme *a, const struct vv_acme_entry *e, const struct vv_acme_wish *w)
{
    pthread_mutex_lock(&a->lock);
    const bool still = !a->stop && (e->wanted || e->revoke) && a->wish == w;
    pthread_mutex_unlock(&a->lock);
    return still;
}

/* ---- files --------------------------------------------------------------------------------- */

/* What the file holds; false: nothing that can be served. */
static bool read_life(const char *store, const char *name, struct vv_acme_life *ret,
                      struct vv_sb *why)
{
    char path[VV_ACME_PATH_MAX];
    struct vv_tls_cert *c = NULL;
    vv_acme_store_path(store, name, path);
    const struct vv_tls_cert_files files = {.cert = path};
    if (vv_tls_cert_load(&files, why, &c) != VV_OK) {
        return false;
    }
    const struct vv_tls_cert_info *info = vv_tls_cert_info(c);
    ret->not_before_wall_ns = info->not_before_wall_ns;
    ret->not_after_wall_ns = info->not_after_wall_ns;
    vv_tls_cert_unref(c);
    return true;
}

bool vv_acme_load(struct vv_acme *a, struct vv_acme_entry *e, const struct vv_acme_wish *w)
{
    struct vv_acme_life life = {0, 0, 0};
    struct vv_acme_memory m;
    struct vv_sb why = VV_SB_INIT;
    const uint64_t stamp = vv_acme_store_stamp(w->store, e->name);
    const bool usable = stamp != 0 && read_life(w->store, e->name, &life, &why);
    vv_acme_store_recall(w->store, e->name, &m);
    life.issued_wall_ns = m.issued_wall_ns;
    const uint64_t wall_ns = vv_clock_wall(), now_ns = vv_clock_now();
    pthread_mutex_lock(&a->lock);
    const bool other = stamp != e->stamp;
    e->stamp = stamp;
    e->not_before_wall_ns = life.not_before_wall_ns;
    e->not_after_wall_ns = life.not_after_wall_ns;
    e->memory = m;
    e->loaded = true;
    vv_acme_plan_remember(&e->plan, m.failures, m.retry_wall_ns, wall_ns, now_ns);
    if (usable) {
        vv_acme_plan_have(&e->plan, &life, wall_ns, now_ns, &a->rng);
        e->revoked = false;
    } else {
        vv_acme_plan_gone(&e->plan);
    }
    pthread_mutex_unlock(&a->lock);
    if (other) {
        (void)atomic_fetch_add(&a->generation, 1);
    }
    if (stamp != 0 && !usable) {
        vv_acme_say(a, VV_ACME_WARN, e->name, "%s; a new certificate will be ordered",
                    why.p != NULL ? why.p : "the certificate in the store cannot be used");
    }
    vv_sb_fini(&why);
    return other;
}

/* ---- looking around ------------------------------------------------------------------------ */

/* Copies of names, so that no file is touched under the lock. False: no more. */
static bool name_at(struct vv_acme *a, size_t i, char name[VV_ACME_NAME_MAX], uint64_t *ret_stamp,
                    struct vv_acme_wish **ret_wish)
{
    pthread_mutex_lock(&a->lock);
    const bool there = !a->stop && i < a->entry_count && a->wish != NULL;
    if (there) {
        memcpy(name, a->entry[i]->name, VV_ACME_NAME_MAX);
        *ret_stamp = a->entry[i]->stamp;
        *ret_wish = vv_acme_wish_ref(a->wish);
    }
    pthread_mutex_unlock(&a->lock);
    return there;
}

/* Another gateway with this store has a new certificate, or somebody removed ours. */
static void look_at_files(struct vv_acme *a)
{
    char name[VV_ACME_NAME_MAX];
    uint64_t stamp;
    struct vv_acme_wish *w;
    for (size_t i = 0; name_at(a, i, name, &stamp, &w); i++) {
        if (vv_acme_store_stamp(w->store, name) != stamp) {
            pthread_mutex_lock(&a->lock);
            for (size_t k = 0; k < a->entry_count; k++) {
                if (strcmp(a->entry[k]->name, name) == 0) {
                    a->entry[k]->loaded = false; /* whoever is free loads it */
                }
            }
            pthread_mutex_unlock(&a->lock);
        }
        vv_acme_wish_unref(w);
    }
}

/* Something to do now, or how long nothing is. */
static struct vv_acme_entry *pick(struct vv_acme *a, uint64_t now_ns, uint64_t *ret_wait_ns)
{
    const uint64_t wall_ns = vv_clock_wall();
    uint64_t wait = LOOK_EVERY_NS;
    for (size_t i = 0; i < a->entry_count; i++) {
        struct vv_acme_entry *e = a->entry[i];
        if (e->working) {
            continue;
        }
        if (now_ns < e->look_ns) {
            wait = vv_min_u64(wait, e->look_ns - now_ns);
            continue;
        }
        if (!e->loaded || e->revoke || e->asked) {
            return e;
        }
        const uint64_t w = vv_acme_plan_wait(&e->plan, wall_ns, now_ns, wait);
        if (w == 0) {
            return e;
        }
        wait = vv_min_u64(wait, w);
    }
    *ret_wait_ns = wait;
    return NULL;
}

static void sweep(struct vv_acme *a)
{
    char name[VV_ACME_NAME_MAX];
    uint64_t stamp;
    struct vv_acme_wish *w;
    if (name_at(a, 0, name, &stamp, &w)) {
        vv_acme_store_sweep(w->store, vv_clock_wall());
        vv_acme_wish_unref(w);
    }
}

/* The first thread is the one that looks around. */
static void look_around(struct vv_acme_thread *t, uint64_t *look_ns, uint64_t *sweep_ns)
{
    const uint64_t now_ns = vv_clock_now();
    if (t != &t->a->thread[0] || now_ns < *look_ns) {
        return;
    }
    look_at_files(t->a);
    *look_ns = now_ns + LOOK_EVERY_NS;
    if (now_ns >= *sweep_ns) {
        sweep(t->a);
        *sweep_ns = now_ns + SWEEP_EVERY_NS;
    }
}

static void work_on(struct vv_acme_thread *t, struct vv_acme_entry *e)
{
    struct vv_acme *a = t->a;
    struct vv_acme_wish *w = vv_acme_wish_ref(a->wish);
    e->working = true;
    pthread_mutex_unlock(&a->lock);
    vv_acme_work(t, e, w);
    vv_acme_wish_unref(w);
    pthread_mutex_lock(&a->lock);
    e->working = false;
    if (!e->wanted && !e->revoke) {
        vv_acme_drop(a, e); /* it left the list while we worked, or was there to be revoked */
    }
}

void vv_acme_run(void *thread)
{
    struct vv_acme_thread *t = thread;
    struct vv_acme *a = t->a;
    uint64_t look_ns = 0, sweep_ns = 0, wait_ns = 0;
    pthread_mutex_lock(&a->lock);
    while (!a->stop) {
        pthread_mutex_unlock(&a->lock);
        look_around(t, &look_ns, &sweep_ns);
        pthread_mutex_lock(&a->lock);
        const uint64_t now_ns = vv_clock_now();
        struct vv_acme_entry *e = a->stop ? NULL : pick(a, now_ns, &wait_ns);
        if (e != NULL) {
            work_on(t, e);
        } else if (!a->stop) {
            wait_locked(a, now_ns + wait_ns);
        }
    }
    pthread_mutex_unlock(&a->lock);
}
