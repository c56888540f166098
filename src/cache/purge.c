/* src/cache/purge.c - purging by tag, pattern and everything as records with a serial number.
 *
 * A record says: what was fetched before serial S and carries this tag (or matches) is gone. The
 * purge is the cost of one record, however many objects it hits. An object is judged when it is
 * looked up and its `judged` serial is behind; the sweeper judges the rest and frees what is dead,
 * after which the records it started from are dropped. An answer whose fetch began before a dropped
 * record (spec->born) cannot be judged any more and is not stored. */
#include "cache/store_int.h"
#include <stdlib.h>

#define TAGS_ROOM_MAX 65536
#define PATTERNS_MAX 64

uint64_t vv_cache_tag(struct vv_str tag)
{
    const uint64_t hash = vv_str_hash(tag, 0); /* unseeded: snapshots keep the hashes */
    return hash != 0 ? hash : 1;
}

uint64_t vv_cache_born(const struct vv_cache *c)
{
    return atomic_load_explicit(&c->serial, memory_order_acquire);
}

/* Linear in the pattern and the text for each star, without recursion: the last star takes one
 * byte more whenever the rest does not match. */
bool vv_cache_glob(struct vv_str glob, struct vv_str text)
{
    size_t g = 0, t = 0, star = SIZE_MAX, mark = 0;
    while (t < text.n) {
        if (g < glob.n && glob.p[g] == '*') {
            star = g++;
            mark = t;
        } else if (g < glob.n && (glob.p[g] == '?' || glob.p[g] == text.p[t])) {
            g++;
            t++;
        } else if (star != SIZE_MAX) {
            g = star + 1;
            t = ++mark;
        } else {
            return false;
        }
    }
    while (g < glob.n && glob.p[g] == '*') {
        g++;
    }
    return g == glob.n;
}

static enum judgement worse(enum judgement a, enum judgement b)
{
    return a > b ? a : b;
}

static enum judgement judge_tag(const struct purge_set *set, uint64_t tag, uint64_t born)
{
    for (size_t i = 0; i <= set->tags_mask; i++) {
        const struct purge_tag *t = &set->tags[(tag + i) & set->tags_mask];
        const uint64_t there = atomic_load_explicit(&t->tag, memory_order_acquire);
        if (there == 0) {
            break;
        }
        if (there == tag) {
            if (atomic_load_explicit(&t->hard, memory_order_relaxed) > born) {
                return JUDGE_HARD;
            }
            return atomic_load_explicit(&t->soft, memory_order_relaxed) > born ? JUDGE_SOFT
                                                                               : JUDGE_FINE;
        }
    }
    return JUDGE_FINE;
}

enum judgement vv_cache_judge(struct vv_cache *c, const struct vv_cache_object *o, uint64_t serial)
{
    enum judgement j = JUDGE_FINE;
    if (atomic_load_explicit(&o->judged, memory_order_relaxed) >= serial) {
        return j;
    }
    if (atomic_load_explicit(&c->all_hard, memory_order_acquire) > o->born) {
        return JUDGE_HARD;
    }
    if (atomic_load_explicit(&c->all_soft, memory_order_acquire) > o->born) {
        j = JUDGE_SOFT;
    }
    const struct purge_set *set = atomic_load_explicit(&c->purges, memory_order_acquire);
    if (set == NULL) {
        return j;
    }
    for (uint32_t i = 0; i < o->tags_n && set->tags_n > 0; i++) {
        j = worse(j, judge_tag(set, vv_cache_tags(o)[i], o->born));
    }
    for (size_t i = 0; i < set->patterns_n && j != JUDGE_HARD; i++) {
        const struct purge_pattern *p = &set->patterns[i];
        if (p->serial > o->born && vv_cache_glob((struct vv_str){p->p, p->n}, vv_cache_key(o))) {
            j = worse(j, p->soft ? JUDGE_SOFT : JUDGE_HARD);
        }
    }
    return j;
}

/* Remembers the judgement, so that the next look compares two words. */
enum judgement vv_cache_judge_now(struct vv_cache *c, struct vv_cache_object *o)
{
    const uint64_t serial = vv_cache_born(c);
    if (VV_UNLIKELY(atomic_load_explicit(&o->judged, memory_order_acquire) < serial)) {
        const enum judgement j = vv_cache_judge(c, o, serial);
        if (j == JUDGE_HARD) {
            return j;
        }
        if (j == JUDGE_SOFT) {
            atomic_store_explicit(&o->soft, true, memory_order_relaxed);
        }
        atomic_store_explicit(&o->judged, serial, memory_order_release);
    }
    return atomic_load_explicit(&o->soft, memory_order_relaxed) ? JUDGE_SOFT : JUDGE_FINE;
}

static void set_retired(struct vv_epoch_item *item)
{
    struct purge_set *set = VV_CONTAINER(item, struct purge_set, retired);
    atomic_fetch_sub_explicit(&set->cache->held, set->charged, memory_order_relaxed);
    vv_cache_mem_free(set->cache, set, set->charged);
}

static void put_tag(struct purge_set *set, uint64_t tag, uint64_t hard, uint64_t soft)
{
    size_t i = tag & set->tags_mask;
    uint64_t there;
    while ((there = atomic_load_explicit(&set->tags[i].tag, memory_order_relaxed)) != 0 &&
           there != tag) {
        i = (i + 1) & set->tags_mask;
    }
    struct purge_tag *t = &set->tags[i];
    if (hard > atomic_load_explicit(&t->hard, memory_order_relaxed)) {
        atomic_store_explicit(&t->hard, hard, memory_order_relaxed);
    }
    if (soft > atomic_load_explicit(&t->soft, memory_order_relaxed)) {
        atomic_store_explicit(&t->soft, soft, memory_order_relaxed);
    }
    if (there == 0) {
        atomic_store_explicit(&t->tag, tag, memory_order_release);
        set->tags_n++;
    }
}

/* Is `p` said by `add` as well? It is newer and at least as hard. */
static bool covers(const struct purge_pattern *add, const struct purge_pattern *p)
{
    return add != NULL && (p->soft || !add->soft) && add->n == p->n &&
           memcmp(add->p, p->p, p->n) == 0;
}

static size_t uncovered(const struct purge_set *set, const struct purge_pattern *add)
{
    size_t n = 0;
    for (size_t i = 0; set != NULL && i < set->patterns_n; i++) {
        n += !covers(add, &set->patterns[i]);
    }
    return n;
}

/* A new set with what is newer than `after`, and room for more; published at once. */
static enum vv_err replace_set(struct vv_cache *c, uint64_t after, const struct purge_pattern *add)
{
    struct purge_set *old = atomic_load_explicit(&c->purges, memory_order_relaxed);
    const size_t tags_n = old != NULL ? old->tags_n : 0;
    const size_t old_patterns = old != NULL ? old->patterns_n : 0;
    size_t room = 16;
    while (room < tags_n * 2 + 2) {
        room *= 2;
    }
    const size_t tags_bytes = sizeof(*old) + room * sizeof(old->tags[0]);
    const size_t bytes = tags_bytes + (old_patterns + (add != NULL)) * sizeof(*add);
    uint64_t charged;
    (void)vv_cache_mem_room(c, bytes); /* a purge is worth a moment over the budget */
    struct purge_set *set = vv_cache_mem(c, bytes, &charged);
    if (set == NULL) {
        return VV_ENOMEM;
    }
    memset(set, 0, bytes);
    set->cache = c;
    set->charged = charged;
    set->tags_mask = room - 1;
    set->patterns = (struct purge_pattern *)(void *)((char *)set + tags_bytes);
    for (size_t i = 0; tags_n > 0 && i <= old->tags_mask; i++) {
        const uint64_t hard = atomic_load(&old->tags[i].hard),
                       soft = atomic_load(&old->tags[i].soft);
        if (vv_max_u64(hard, soft) > after) {
            put_tag(set, atomic_load(&old->tags[i].tag), hard, soft);
        }
    }
    for (size_t i = 0; i < old_patterns; i++) {
        if (old->patterns[i].serial > after && !covers(add, &old->patterns[i])) {
            set->patterns[set->patterns_n++] = old->patterns[i];
        }
    }
    if (add != NULL) {
        set->patterns[set->patterns_n++] = *add;
    }
    atomic_store_explicit(&c->purges, set, memory_order_release);
    if (old != NULL) {
        atomic_fetch_add_explicit(&c->held, old->charged, memory_order_relaxed);
        vv_epoch_retire(c->epoch, &old->retired, set_retired);
    }
    return VV_OK;
}

void vv_cache_purge_fini(struct vv_cache *c)
{
    struct purge_set *set = atomic_load(&c->purges);
    if (set != NULL) {
        vv_cache_mem_free(c, set, set->charged);
    }
}

static void publish(struct vv_cache *c, uint64_t serial)
{
    atomic_store_explicit(&c->serial, serial, memory_order_release);
}

enum vv_err vv_cache_purge_tag(struct vv_cache *c, struct vv_str tag, bool soft)
{
    enum vv_err err = VV_OK;
    pthread_mutex_lock(&c->lock);
    const uint64_t serial = atomic_load(&c->serial) + 1;
    struct purge_set *set = atomic_load_explicit(&c->purges, memory_order_relaxed);
    if (set == NULL || (set->tags_n + 1) * 2 > set->tags_mask + 1) {
        err = set != NULL && set->tags_mask + 1 >= TAGS_ROOM_MAX ? VV_ELIMIT
                                                                 : replace_set(c, 0, NULL);
        set = atomic_load_explicit(&c->purges, memory_order_relaxed);
    }
    if (err == VV_OK) {
        put_tag(set, vv_cache_tag(tag), soft ? 0 : serial, soft ? serial : 0);
        publish(c, serial);
    }
    pthread_mutex_unlock(&c->lock);
    return err;
}

enum vv_err vv_cache_purge_pattern(struct vv_cache *c, struct vv_str glob, bool soft)
{
    struct purge_pattern p = {.soft = soft, .n = (uint16_t)glob.n};
    if (glob.n > sizeof(p.p)) {
        return VV_ERANGE;
    }
    memcpy(p.p, glob.p, glob.n);
    pthread_mutex_lock(&c->lock);
    p.serial = atomic_load(&c->serial) + 1;
    const struct purge_set *set = atomic_load_explicit(&c->purges, memory_order_relaxed);
    enum vv_err err = VV_ELIMIT;
    if (uncovered(set, &p) < PATTERNS_MAX) {
        err = replace_set(c, 0, &p);
    }
    if (err == VV_OK) {
        publish(c, p.serial);
    }
    pthread_mutex_unlock(&c->lock);
    return err;
}

void vv_cache_purge_all(struct vv_cache *c, bool soft)
{
    pthread_mutex_lock(&c->lock);
    const uint64_t serial = atomic_load(&c->serial) + 1;
    atomic_store_explicit(soft ? &c->all_soft : &c->all_hard, serial, memory_order_release);
    publish(c, serial);
    pthread_mutex_unlock(&c->lock);
}

size_t vv_cache_purge_key(struct vv_cache *c, struct vv_str key, bool soft)
{
    const uint64_t hash = vv_cache_hash(c, key);
    size_t count = 0, at = 0;
    vv_cache_fill_doom(c, key, hash); /* first: what it publishes until now is met below */
    pthread_mutex_lock(&c->lock);
    struct vv_cache_object *o;
    while ((o = vv_cache_index_next(c, key, hash, &at)) != NULL) {
        count++;
        if (soft) {
            atomic_store_explicit(&o->soft, true, memory_order_relaxed);
        } else {
            c->stats.removed_purged++;
            vv_cache_unlink(c, o);
        }
    }
    pthread_mutex_unlock(&c->lock);
    return count;
}

static void pass_start(struct vv_cache *c)
{
    c->sweeping = true;
    c->sweep_segment = c->sweep_slot = 0;
    c->sweep_rebuilt = c->segments[0].rebuilt;
    c->sweep_serial = atomic_load(&c->serial);
}

/* Everything in the index has been judged up to sweep_serial. When memory for the smaller set is
 * out, the records simply stay until the next pass. */
static void pass_end(struct vv_cache *c)
{
    const struct purge_set *set = atomic_load_explicit(&c->purges, memory_order_relaxed);
    c->sweeping = false;
    if (set != NULL && set->tags_n + set->patterns_n > 0 &&
        replace_set(c, c->sweep_serial, NULL) != VV_OK) {
        return;
    }
    c->forgotten = c->sweep_serial;
}

static void sweep_one(struct vv_cache *c, struct vv_cache_object *o, uint64_t now_ns)
{
    if (vv_cache_judge_now(c, o) == JUDGE_HARD) {
        c->stats.removed_purged++;
        vv_cache_unlink(c, o);
    } else if (o->keep_until_ns <= now_ns) {
        c->stats.evicted_expired++;
        vv_cache_unlink(c, o);
    }
}

bool vv_cache_sweep(struct vv_cache *c, uint64_t now_ns, size_t slots_max)
{
    bool ended = false;
    pthread_mutex_lock(&c->lock);
    if (!c->sweeping) {
        pass_start(c);
    }
    for (size_t i = 0; i < slots_max && !ended; i++) {
        struct segment *s = &c->segments[c->sweep_segment];
        if (s->rebuilt != c->sweep_rebuilt) { /* everything moved: this segment again */
            c->sweep_rebuilt = s->rebuilt;
            c->sweep_slot = 0;
        }
        struct table *t = atomic_load_explicit(&s->table, memory_order_relaxed);
        const uint64_t slot = atomic_load_explicit(&t->slots[c->sweep_slot], memory_order_relaxed);
        if (slot > 1) {
            sweep_one(c, slot_object(slot), now_ns);
        }
        if (++c->sweep_slot > t->mask) {
            c->sweep_slot = 0;
            ended = ++c->sweep_segment == SEGMENTS;
            c->sweep_rebuilt = ended ? 0 : c->segments[c->sweep_segment].rebuilt;
        }
    }
    if (ended) {
        pass_end(c);
    }
    pthread_mutex_unlock(&c->lock);
    vv_epoch_reclaim(c->epoch);
    return ended;
}
