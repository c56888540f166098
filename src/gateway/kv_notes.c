/* src/gateway/kv_notes.c - keys in a table of chains and in the order they were first noted. */
#include "gateway/kv_notes.h"

#include "base/list.h"
#include "cache/store.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define CHAINS 4096
#define ALL_ID 1 /* of the note about everything */

struct note {
    struct vv_list order;
    struct note *next;
    uint64_t hash, serial;
    size_t key_n;
    char key[];
};

struct purge {
    struct vv_list node;
    uint64_t id;
    bool is_tag, running;
    size_t what_n;
    char what[];
};

enum everything { NO, WAITS, RUNS, RUNS_AND_WAITS };

struct vv_kv_notes {
    pthread_mutex_t lock;
    _Atomic uint64_t some; /* how much is noted: read without the lock */
    struct vv_list order, purges;
    struct note *chain[CHAINS];
    uint64_t keys, bytes, purge_count, serial, id, overflows;
    enum everything all;
};

enum vv_err vv_kv_notes_new(struct vv_kv_notes **ret)
{
    struct vv_kv_notes *n = calloc(1, sizeof *n);
    if (n == NULL) {
        return VV_ENOMEM;
    }
    vv_list_init(&n->order);
    vv_list_init(&n->purges);
    n->id = ALL_ID;
    VV_ASSERT(pthread_mutex_init(&n->lock, NULL) == 0);
    *ret = n;
    return VV_OK;
}

static void settle(struct vv_kv_notes *n)
{
    atomic_store_explicit(&n->some, n->keys + n->purge_count + (n->all != NO),
                          memory_order_release);
}

static struct note **place(struct vv_kv_notes *n, struct vv_str key, uint64_t hash)
{
    struct note **at = &n->chain[hash % CHAINS];
    while (*at != NULL &&
           ((*at)->hash != hash || !vv_str_eq((struct vv_str){(*at)->key, (*at)->key_n}, key))) {
        at = &(*at)->next;
    }
    return at;
}

static void drop_note(struct vv_kv_notes *n, struct note **at)
{
    struct note *e = *at;
    VV_ASSERT(e != NULL);
    *at = e->next;
    vv_list_del(&e->order);
    n->keys--;
    n->bytes -= e->key_n;
    free(e);
}

static void drop_purge(struct vv_kv_notes *n, struct purge *p)
{
    vv_list_del(&p->node);
    n->purge_count--;
    free(p);
}

static void forget_keys(struct vv_kv_notes *n)
{
    VV_LIST_EACH (node, &n->order) {
        struct note *e = VV_LIST_ENTRY(node, struct note, order);
        drop_note(n, place(n, (struct vv_str){e->key, e->key_n}, e->hash));
    }
}

/* Purges that somebody carries out stay: they are to be ended. */
static void note_all(struct vv_kv_notes *n)
{
    forget_keys(n);
    VV_LIST_EACH (node, &n->purges) {
        struct purge *p = VV_LIST_ENTRY(node, struct purge, node);
        if (!p->running) {
            drop_purge(n, p);
        }
    }
    n->all = n->all == NO || n->all == WAITS ? WAITS : RUNS_AND_WAITS;
    n->overflows++;
}

void vv_kv_notes_free(struct vv_kv_notes *n)
{
    if (n == NULL) {
        return;
    }
    forget_keys(n);
    VV_LIST_EACH (node, &n->purges) {
        drop_purge(n, VV_LIST_ENTRY(node, struct purge, node));
    }
    pthread_mutex_destroy(&n->lock);
    free(n);
}

bool vv_kv_notes_empty(struct vv_kv_notes *n)
{
    return atomic_load_explicit(&n->some, memory_order_acquire) == 0;
}

void vv_kv_notes_count(struct vv_kv_notes *n, uint64_t *ret_keys, uint64_t *ret_purges)
{
    pthread_mutex_lock(&n->lock);
    *ret_keys = n->keys;
    *ret_purges = n->purge_count + (n->all != NO);
    pthread_mutex_unlock(&n->lock);
}

uint64_t vv_kv_notes_overflows(struct vv_kv_notes *n)
{
    pthread_mutex_lock(&n->lock);
    const uint64_t overflows = n->overflows;
    pthread_mutex_unlock(&n->lock);
    return overflows;
}

/* ---- keys ------------------------------------------------------------------------------------ */

static bool matched(const struct vv_kv_notes *n, struct vv_str key)
{
    VV_LIST_EACH (node, &n->purges) {
        const struct purge *p = VV_LIST_ENTRY(node, struct purge, node);
        if (!p->is_tag && vv_cache_glob((struct vv_str){p->what, p->what_n}, key)) {
            return true;
        }
    }
    return n->all != NO;
}

bool vv_kv_noted(struct vv_kv_notes *n, struct vv_str key)
{
    if (vv_kv_notes_empty(n)) {
        return false;
    }
    const uint64_t hash = vv_str_hash(key, 0);
    pthread_mutex_lock(&n->lock);
    const bool noted = *place(n, key, hash) != NULL || matched(n, key);
    pthread_mutex_unlock(&n->lock);
    return noted;
}

bool vv_kv_noted_tag(struct vv_kv_notes *n, const struct vv_str *tag, size_t tags)
{
    bool noted = false;
    if (tags == 0 || vv_kv_notes_empty(n)) {
        return false;
    }
    pthread_mutex_lock(&n->lock);
    VV_LIST_EACH (node, &n->purges) {
        const struct purge *p = VV_LIST_ENTRY(node, struct purge, node);
        for (size_t i = 0; p->is_tag && i < tags; i++) {
            noted |= vv_str_eq((struct vv_str){p->what, p->what_n}, tag[i]);
        }
    }
    noted |= n->all != NO;
    pthread_mutex_unlock(&n->lock);
    return noted;
}

static void note_locked(struct vv_kv_notes *n, struct vv_str key)
{
    const uint64_t hash = vv_str_hash(key, 0);
    struct note **at = place(n, key, hash);
    if (*at != NULL) {
        (*at)->serial = ++n->serial;
        return;
    }
    struct note *e = NULL;
    if (n->keys < VV_KV_NOTES_MAX && n->bytes + key.n <= VV_KV_NOTES_BYTES) {
        e = malloc(sizeof *e + key.n);
    }
    if (e == NULL) {
        note_all(n);
        return;
    }
    e->hash = hash;
    e->serial = ++n->serial;
    e->key_n = key.n;
    memcpy(e->key, key.p != NULL ? key.p : "", key.n);
    e->next = n->chain[hash % CHAINS];
    n->chain[hash % CHAINS] = e;
    vv_list_push_back(&n->order, &e->order);
    n->keys++;
    n->bytes += key.n;
}

void vv_kv_note(struct vv_kv_notes *n, struct vv_str key)
{
    pthread_mutex_lock(&n->lock);
    note_locked(n, key);
    settle(n);
    pthread_mutex_unlock(&n->lock);
}

size_t vv_kv_notes_oldest(struct vv_kv_notes *n, struct vv_kv_noted *ret, size_t max)
{
    size_t count = 0;
    pthread_mutex_lock(&n->lock);
    const bool purges = n->purge_count > 0 || n->all != NO;
    VV_LIST_EACH (node, &n->order) {
        const struct note *e = VV_LIST_ENTRY(node, struct note, order);
        char *key = count < max && !purges ? malloc(e->key_n + 1) : NULL;
        if (key == NULL) {
            break;
        }
        memcpy(key, e->key, e->key_n);
        ret[count++] = (struct vv_kv_noted){e->serial, {key, e->key_n}};
    }
    pthread_mutex_unlock(&n->lock);
    return count;
}

void vv_kv_note_done(struct vv_kv_notes *n, struct vv_str key, uint64_t serial)
{
    pthread_mutex_lock(&n->lock);
    struct note **at = place(n, key, vv_str_hash(key, 0));
    if (*at != NULL && (*at)->serial == serial) {
        drop_note(n, at);
    }
    settle(n);
    pthread_mutex_unlock(&n->lock);
}

void vv_kv_note_later(struct vv_kv_notes *n, struct vv_str key)
{
    pthread_mutex_lock(&n->lock);
    struct note **at = place(n, key, vv_str_hash(key, 0));
    if (*at != NULL) {
        vv_list_del(&(*at)->order);
        vv_list_push_back(&n->order, &(*at)->order);
    }
    pthread_mutex_unlock(&n->lock);
}

/* ---- purges ---------------------------------------------------------------------------------- */

uint64_t vv_kv_note_purge(struct vv_kv_notes *n, bool is_tag, struct vv_str what, bool running)
{
    uint64_t id = 0;
    struct purge *p = NULL;
    pthread_mutex_lock(&n->lock);
    const bool full = n->purge_count >= VV_KV_PURGES_MAX;
    if (!full) {
        p = malloc(sizeof *p + what.n);
    }
    if (full && running) { /* the store answers: it can be asked for again */
        id = VV_KV_PURGE_BUSY;
    } else if (p == NULL) {
        note_all(n);
    } else {
        p->id = id = ++n->id;
        p->is_tag = is_tag;
        p->running = running;
        p->what_n = what.n;
        memcpy(p->what, what.p != NULL ? what.p : "", what.n);
        vv_list_push_back(&n->purges, &p->node);
        n->purge_count++;
    }
    settle(n);
    pthread_mutex_unlock(&n->lock);
    return id;
}

static struct vv_str copied(struct vv_str s)
{
    char *p = malloc(s.n + 1);
    if (p != NULL) {
        memcpy(p, s.p, s.n);
    }
    return (struct vv_str){p, s.n};
}

void vv_kv_notes_take_purge(struct vv_kv_notes *n, struct vv_kv_purge_note *ret)
{
    *ret = (struct vv_kv_purge_note){0};
    pthread_mutex_lock(&n->lock);
    VV_LIST_EACH (node, &n->purges) {
        struct purge *p = VV_LIST_ENTRY(node, struct purge, node);
        if (!p->running && ret->id == 0) {
            ret->what = copied((struct vv_str){p->what, p->what_n});
            p->running = ret->what.p != NULL;
            ret->id = ret->what.p != NULL ? p->id : 0;
            ret->is_tag = p->is_tag;
        }
    }
    if (ret->id == 0 && n->all == WAITS && n->purge_count == 0) {
        ret->what = copied(VV_STR("*"));
        ret->id = ret->what.p != NULL ? ALL_ID : 0;
        n->all = ret->id != 0 ? RUNS : WAITS;
    }
    pthread_mutex_unlock(&n->lock);
}

void vv_kv_purge_done(struct vv_kv_notes *n, uint64_t id, bool ok)
{
    pthread_mutex_lock(&n->lock);
    if (id == ALL_ID) {
        n->all = n->all == RUNS && ok ? NO : WAITS;
    }
    VV_LIST_EACH (node, &n->purges) {
        struct purge *p = VV_LIST_ENTRY(node, struct purge, node);
        if (p->id == id) {
            p->running = false;
            if (ok) {
                drop_purge(n, p);
            }
        }
    }
    settle(n);
    pthread_mutex_unlock(&n->lock);
}
