/* src/cache/epoch.c - no fences, only sequentially consistent operations on two words, so that the
 * thread sanitizer sees the same order as the machine.
 *
 * A reader that comes online stores `seen`, then reads `now` again. A writer unlinks, bumps `now`,
 * then reads `seen`. In the one order of these four, either the writer sees the reader, or the
 * reader sees the bump and with it the unlinking. */
#include "cache/epoch.h"

void vv_epoch_init(struct vv_epoch *e)
{
    atomic_init(&e->now, 1);
    VV_ASSERT(pthread_mutex_init(&e->lock, NULL) == 0);
    VV_ASSERT(pthread_mutex_init(&e->running, NULL) == 0);
    e->first = NULL;
    e->last = &e->first;
    for (size_t i = 0; i < VV_EPOCH_READERS; i++) {
        atomic_init(&e->readers[i].seen, 0);
        e->readers[i].used = false;
    }
}

void vv_epoch_fini(struct vv_epoch *e)
{
    for (size_t i = 0; i < VV_EPOCH_READERS; i++) {
        VV_ASSERT(atomic_load(&e->readers[i].seen) == 0);
    }
    while (vv_epoch_reclaim(e) > 0) {
        /* an item's function may retire more */
    }
    pthread_mutex_destroy(&e->lock);
    pthread_mutex_destroy(&e->running);
}

enum vv_err vv_epoch_join(struct vv_epoch *e, struct vv_epoch_reader **ret_reader)
{
    enum vv_err err = VV_ELIMIT;
    pthread_mutex_lock(&e->lock);
    for (size_t i = 0; i < VV_EPOCH_READERS && err != VV_OK; i++) {
        if (!e->readers[i].used) {
            e->readers[i].used = true;
            *ret_reader = &e->readers[i];
            err = VV_OK;
        }
    }
    pthread_mutex_unlock(&e->lock);
    if (err == VV_OK) {
        vv_epoch_online(e, *ret_reader);
    }
    return err;
}

void vv_epoch_leave(struct vv_epoch *e, struct vv_epoch_reader *r)
{
    vv_epoch_offline(r);
    pthread_mutex_lock(&e->lock);
    r->used = false;
    pthread_mutex_unlock(&e->lock);
}

size_t vv_epoch_index(const struct vv_epoch *e, const struct vv_epoch_reader *r)
{
    return (size_t)(r - e->readers);
}

void vv_epoch_online(struct vv_epoch *e, struct vv_epoch_reader *r)
{
    uint64_t now = atomic_load(&e->now);
    for (;;) {
        atomic_store(&r->seen, now);
        const uint64_t again = atomic_load(&e->now);
        if (again == now) {
            return;
        }
        now = again;
    }
}

void vv_epoch_retire(struct vv_epoch *e, struct vv_epoch_item *item,
                     void (*fn)(struct vv_epoch_item *item))
{
    item->fn = fn;
    item->next = NULL;
    pthread_mutex_lock(&e->lock);
    item->stamp = atomic_fetch_add(&e->now, 1) + 1;
    *e->last = item;
    e->last = &item->next;
    pthread_mutex_unlock(&e->lock);
}

static uint64_t oldest_reader(struct vv_epoch *e)
{
    uint64_t oldest = UINT64_MAX;
    for (size_t i = 0; i < VV_EPOCH_READERS; i++) {
        const uint64_t seen = atomic_load(&e->readers[i].seen);
        if (seen != 0 && seen < oldest) {
            oldest = seen;
        }
    }
    return oldest;
}

size_t vv_epoch_reclaim(struct vv_epoch *e)
{
    if (pthread_mutex_trylock(&e->running) != 0) {
        return 0;
    }
    /* The items were retired, and `now` bumped, before the readers are looked at. */
    pthread_mutex_lock(&e->lock);
    struct vv_epoch_item *first = NULL;
    struct vv_epoch_item **last = &first;
    if (e->first != NULL) {
        const uint64_t oldest = oldest_reader(e);
        while (e->first != NULL && e->first->stamp <= oldest) {
            struct vv_epoch_item *item = e->first;
            e->first = item->next;
            item->next = NULL;
            *last = item;
            last = &item->next;
        }
        if (e->first == NULL) {
            e->last = &e->first;
        }
    }
    pthread_mutex_unlock(&e->lock);
    size_t count = 0;
    while (first != NULL) {
        struct vv_epoch_item *item = first;
        first = item->next;
        item->fn(item);
        count++;
    }
    pthread_mutex_unlock(&e->running);
    return count;
}
