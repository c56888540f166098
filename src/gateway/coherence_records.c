/* src/gateway/coherence_records.c - records as an index instead of a list: of a key, a tag or a prefix only the
 * newest record counts, so each is one entry of a hash table, found by the hash alone. Two that share a hash
 * of 64 bits would purge each other's objects, which costs a fetch and nothing else. A pattern with one star
 * at its end is a prefix; the others are few, and are tried one by one, newest first.
 *
 * A purge of everything needs no entry: it lifts the floor. So does whatever is forgotten. */
#include "gateway/coherence_int.h"
#include <stdio.h>
#include <stdlib.h>

#define ROOM_MIN 64
#define GLOBS_MAX 64    /* other patterns: tried one by one */
#define PREFIX_MAX 1023 /* bytes; longer ones are tried one by one */
#define VALUE_MAX 65536 /* of a pattern that is tried one by one; longer: everything */
#define ID_NUMBER_BITS 20
#define MIX UINT64_C(0x9e3779b97f4a7c15) /* odd, bits well spread */

const char *const vv_record_names[VV_RECORD_COUNT] = {
    [VV_RECORD_URL] = "url", [VV_RECORD_PATTERN] = "pattern", [VV_RECORD_TAG] = "tag",
    [VV_RECORD_ALL] = "all", [VV_RECORD_BEGIN] = "begin",
};

struct entry { /* the newest purges of one key, tag or prefix; 0: none */
    uint64_t hash, hard, soft;
};

struct place {         /* one record in the order of the log, to know what leaves first */
    uint64_t id, hash; /* hash 0: it is in no entry */
    uint32_t prefix;   /* 1 + bytes of it; 0: none */
};

struct glob {
    uint64_t hard, soft;
    char *p;
    size_t n;
};

struct vv_records {
    size_t max, first, count; /* of the ring */
    struct place *ring;
    size_t ring_room;
    struct entry *table;
    size_t mask, used;
    uint64_t seed, floor, newest, all_soft;
    struct glob glob[GLOBS_MAX]; /* by their newest record, oldest first */
    size_t globs;
    uint32_t prefixes[PREFIX_MAX + 1]; /* entries by length */
    uint64_t lengths[(PREFIX_MAX + 64) / 64];
};

/* ---- ids ---- */

bool vv_record_id_read(struct vv_str text, uint64_t *ret)
{
    uint64_t ms = 0, number = 0;
    struct vv_str rest = text;
    const struct vv_str first = vv_str_cut(&rest, '-');
    if (vv_str_to_u64(first, &ms) != VV_OK || vv_str_to_u64(rest, &number) != VV_OK ||
        ms >> (64 - ID_NUMBER_BITS) != 0 || number >> ID_NUMBER_BITS != 0) {
        return false;
    }
    *ret = ms << ID_NUMBER_BITS | number;
    return true;
}

struct vv_str vv_record_id_write(uint64_t id, char *out)
{
    const int n =
        snprintf(out, VV_RECORD_ID_MAX, "%llu-%llu", (unsigned long long)(id >> ID_NUMBER_BITS),
                 (unsigned long long)(id & ((UINT64_C(1) << ID_NUMBER_BITS) - 1)));
    return (struct vv_str){out, (size_t)n};
}

/* ---- hashes ---- */

static uint64_t not_zero(uint64_t hash)
{
    return hash != 0 ? hash : 1;
}

static uint64_t key_hash(const struct vv_records *rs, struct vv_str key)
{
    return not_zero(vv_str_hash(key, rs->seed));
}

/* Apart from keys by what is mixed in afterwards: seeds that are alike make short texts collide. */
static uint64_t prefix_hash(const struct vv_records *rs, struct vv_str prefix)
{
    return not_zero(vv_str_hash(prefix, rs->seed) ^ (prefix.n + 1) * MIX);
}

static uint64_t tag_hash(const struct vv_records *rs, uint64_t tag)
{
    return not_zero((tag ^ rs->seed) * MIX);
}

static struct entry *find(const struct vv_records *rs, uint64_t hash)
{
    for (size_t i = hash & rs->mask;; i = (i + 1) & rs->mask) {
        if (rs->table[i].hash == hash || rs->table[i].hash == 0) {
            return &rs->table[i];
        }
    }
}

static bool grow_table(struct vv_records *rs)
{
    const size_t old_mask = rs->mask;
    struct entry *old = rs->table;
    struct entry *table = calloc((old_mask + 1) * 2, sizeof *table);
    if (table == NULL) {
        return false;
    }
    rs->table = table;
    rs->mask = old_mask * 2 + 1;
    for (size_t i = 0; i <= old_mask; i++) {
        if (old[i].hash != 0) {
            *find(rs, old[i].hash) = old[i];
        }
    }
    free(old);
    return true;
}

/* Closes the gap: what follows moves up unless its own place lies behind the gap. */
static void take_out(struct vv_records *rs, struct entry *e)
{
    size_t gap = (size_t)(e - rs->table);
    for (size_t i = (gap + 1) & rs->mask; rs->table[i].hash != 0; i = (i + 1) & rs->mask) {
        const size_t home = rs->table[i].hash & rs->mask;
        if (((i - home) & rs->mask) >= ((i - gap) & rs->mask)) {
            rs->table[gap] = rs->table[i];
            gap = i;
        }
    }
    rs->table[gap].hash = 0;
    rs->used--;
}

/* ---- lengths of prefixes ---- */

static void count_prefix(struct vv_records *rs, size_t n, bool more)
{
    rs->prefixes[n] += more ? 1 : UINT32_MAX;
    const uint64_t bit = UINT64_C(1) << (n % 64);
    if (rs->prefixes[n] > 0) {
        rs->lengths[n / 64] |= bit;
    } else {
        rs->lengths[n / 64] &= ~bit;
    }
}

/* ---- the ring ---- */

static struct place *place_at(struct vv_records *rs, size_t i)
{
    const size_t at = rs->first + i;
    return &rs->ring[at < rs->ring_room ? at : at - rs->ring_room];
}

/* ---- forgetting ---- */

static void drop_glob(struct vv_records *rs)
{
    free(rs->glob[0].p);
    memmove(&rs->glob[0], &rs->glob[1], --rs->globs * sizeof rs->glob[0]);
}

/* The oldest leaves: what was written before it cannot be judged any more. */
static void drop_oldest(struct vv_records *rs)
{
    const struct place p = *place_at(rs, 0);
    rs->first = rs->first + 1 < rs->ring_room ? rs->first + 1 : 0;
    rs->count--;
    rs->floor = vv_max_u64(rs->floor, p.id);
    if (p.hash != 0) {
        struct entry *e = find(rs, p.hash);
        if (e->hash == p.hash && vv_max_u64(e->hard, e->soft) <= p.id) {
            take_out(rs, e);
            if (p.prefix > 0) {
                count_prefix(rs, p.prefix - 1, false);
            }
        }
    }
    while (rs->globs > 0 && vv_max_u64(rs->glob[0].hard, rs->glob[0].soft) <= rs->floor) {
        drop_glob(rs);
    }
}

void vv_records_clear(struct vv_records *rs, uint64_t floor)
{
    while (rs->globs > 0) {
        free(rs->glob[--rs->globs].p);
    }
    memset(rs->table, 0, (rs->mask + 1) * sizeof *rs->table);
    memset(rs->prefixes, 0, sizeof rs->prefixes);
    memset(rs->lengths, 0, sizeof rs->lengths);
    rs->first = rs->count = rs->used = 0;
    rs->all_soft = 0;
    rs->floor = rs->newest = floor;
}

/* ---- adding ---- */

static bool grow_ring(struct vv_records *rs)
{
    const size_t room = vv_min_u64(rs->ring_room * 2, rs->max);
    struct place *ring = malloc(room * sizeof *ring);
    if (ring == NULL) {
        return false;
    }
    for (size_t i = 0; i < rs->count; i++) {
        ring[i] = *place_at(rs, i);
    }
    free(rs->ring);
    rs->ring = ring;
    rs->ring_room = room;
    rs->first = 0;
    return true;
}

static bool push(struct vv_records *rs, const struct place *p)
{
    if (rs->count == rs->ring_room && rs->ring_room < rs->max && !grow_ring(rs)) {
        return false;
    }
    if (rs->count == rs->ring_room) {
        drop_oldest(rs);
    }
    *place_at(rs, rs->count++) = *p;
    return true;
}

static void date(uint64_t *hard, uint64_t *soft, const struct vv_record *rec)
{
    *(rec->soft ? soft : hard) = rec->id;
}

/* prefix: as of struct place. */
static bool add_entry(struct vv_records *rs, const struct vv_record *rec, uint64_t hash,
                      uint32_t prefix)
{
    const struct place p = {.id = rec->id, .hash = hash, .prefix = prefix};
    if (((rs->used + 1) * 2 > rs->mask + 1 && !grow_table(rs)) || !push(rs, &p)) {
        return false;
    }
    struct entry *e = find(rs, hash);
    if (e->hash == 0) {
        *e = (struct entry){.hash = hash};
        rs->used++;
        if (prefix > 0) {
            count_prefix(rs, prefix - 1, true);
        }
    }
    date(&e->hard, &e->soft, rec);
    return true;
}

static bool add_glob(struct vv_records *rs, const struct vv_record *rec)
{
    struct glob g = {0};
    if (rec->value.n > VALUE_MAX || !push(rs, &(struct place){.id = rec->id})) {
        return false;
    }
    size_t i = 0;
    while (i < rs->globs && !vv_str_eq((struct vv_str){rs->glob[i].p, rs->glob[i].n}, rec->value)) {
        i++;
    }
    if (i < rs->globs) { /* known: it becomes the newest */
        g = rs->glob[i];
        memmove(&rs->glob[i], &rs->glob[i + 1], (--rs->globs - i) * sizeof g);
    } else {
        g.p = malloc(rec->value.n + 1);
        if (g.p == NULL) {
            return false;
        }
        memcpy(g.p, rec->value.p, rec->value.n);
        g.n = rec->value.n;
    }
    if (rs->globs == GLOBS_MAX) {
        rs->floor = vv_max_u64(rs->floor, vv_max_u64(rs->glob[0].hard, rs->glob[0].soft));
        drop_glob(rs);
    }
    date(&g.hard, &g.soft, rec);
    rs->glob[rs->globs++] = g;
    return true;
}

static bool add_pattern(struct vv_records *rs, const struct vv_record *rec)
{
    struct vv_str v = rec->value;
    const bool star = v.n > 0 && v.p[v.n - 1] == '*';
    while (v.n > 0 && v.p[v.n - 1] == '*') {
        v.n--;
    }
    const bool plain = vv_str_find_char(v, '*') < 0 && vv_str_find_char(v, '?') < 0;
    if (plain && !star) {
        return add_entry(rs, rec, key_hash(rs, v), 0);
    }
    if (plain && v.n <= PREFIX_MAX) {
        return add_entry(rs, rec, prefix_hash(rs, v), (uint32_t)v.n + 1);
    }
    return add_glob(rs, rec);
}

void vv_records_add(struct vv_records *rs, const struct vv_record *rec)
{
    bool kept = false;
    switch (rec->what) {
    case VV_RECORD_URL:
        kept = add_entry(rs, rec, key_hash(rs, rec->value), 0);
        break;
    case VV_RECORD_TAG:
        kept = add_entry(rs, rec, tag_hash(rs, vv_cache_tag(rec->value)), 0);
        break;
    case VV_RECORD_PATTERN:
        kept = add_pattern(rs, rec);
        break;
    case VV_RECORD_ALL:
        if (rec->soft) {
            kept = push(rs, &(struct place){.id = rec->id});
            rs->all_soft = rec->id;
        }
        break;
    case VV_RECORD_BEGIN:
    case VV_RECORD_COUNT:
        break;
    }
    if (!kept) {
        vv_records_clear(rs, rec->id);
    }
    rs->newest = rec->id;
}

/* ---- judging ---- */

static enum vv_coherence_verdict worse(enum vv_coherence_verdict a, enum vv_coherence_verdict b)
{
    return a > b ? a : b;
}

static enum vv_coherence_verdict dated(uint64_t hard, uint64_t soft, uint64_t log)
{
    return hard > log ? VV_COHERENCE_GONE : soft > log ? VV_COHERENCE_SOFT : VV_COHERENCE_GOOD;
}

static enum vv_coherence_verdict look_up(const struct vv_records *rs, uint64_t hash, uint64_t log)
{
    const struct entry *e = find(rs, hash);
    return e->hash != 0 ? dated(e->hard, e->soft, log) : VV_COHERENCE_GOOD;
}

static enum vv_coherence_verdict judge_prefixes(const struct vv_records *rs,
                                                const struct vv_packed_head *h)
{
    enum vv_coherence_verdict v = VV_COHERENCE_GOOD;
    for (size_t w = 0; w < VV_COUNT(rs->lengths) && w * 64 <= h->key.n; w++) {
        for (uint64_t bits = rs->lengths[w]; bits != 0; bits &= bits - 1) {
            const size_t n = w * 64 + (size_t)__builtin_ctzll(bits);
            if (n > h->key.n) {
                break;
            }
            v = worse(v, look_up(rs, prefix_hash(rs, (struct vv_str){h->key.p, n}), h->log));
        }
    }
    return v;
}

enum vv_coherence_verdict vv_records_judge(const struct vv_records *rs,
                                           const struct vv_packed_head *h)
{
    if (h->log < rs->floor) {
        return VV_COHERENCE_GONE;
    }
    if (h->log >= rs->newest) {
        return VV_COHERENCE_GOOD;
    }
    enum vv_coherence_verdict v = dated(0, rs->all_soft, h->log);
    v = worse(v, look_up(rs, key_hash(rs, h->key), h->log));
    for (uint32_t i = 0; i < h->tags_n && v != VV_COHERENCE_GONE; i++) {
        v = worse(v, look_up(rs, tag_hash(rs, h->tags[i]), h->log));
    }
    if (v != VV_COHERENCE_GONE) {
        v = worse(v, judge_prefixes(rs, h));
    }
    for (size_t i = rs->globs; i-- > 0 && v != VV_COHERENCE_GONE;) {
        const struct glob *g = &rs->glob[i];
        const enum vv_coherence_verdict one = dated(g->hard, g->soft, h->log);
        if (one == VV_COHERENCE_GOOD) {
            break; /* the others are older */
        }
        if (one > v && vv_cache_glob((struct vv_str){g->p, g->n}, h->key)) {
            v = one;
        }
    }
    return v;
}

bool vv_record_fits(enum vv_record_what what, struct vv_str value, uint64_t tag,
                    const struct vv_packed_head *h)
{
    switch (what) {
    case VV_RECORD_URL:
        return vv_str_eq(value, h->key);
    case VV_RECORD_PATTERN:
        return vv_cache_glob(value, h->key);
    case VV_RECORD_TAG:
        for (uint32_t i = 0; i < h->tags_n; i++) {
            if (h->tags[i] == tag) {
                return true;
            }
        }
        return false;
    case VV_RECORD_ALL:
    case VV_RECORD_BEGIN:
    case VV_RECORD_COUNT:
        break;
    }
    return true;
}

/* ---- life ---- */

struct vv_records *vv_records_new(size_t max, uint64_t seed)
{
    struct vv_records *rs = calloc(1, sizeof *rs);
    if (rs == NULL) {
        return NULL;
    }
    rs->max = max;
    rs->seed = seed;
    rs->ring_room = vv_min_u64(ROOM_MIN, max);
    rs->mask = ROOM_MIN - 1;
    rs->ring = malloc(rs->ring_room * sizeof *rs->ring);
    rs->table = calloc(ROOM_MIN, sizeof *rs->table);
    if (rs->ring == NULL || rs->table == NULL) {
        vv_records_free(rs);
        return NULL;
    }
    return rs;
}

void vv_records_free(struct vv_records *rs)
{
    if (rs == NULL) {
        return;
    }
    while (rs->globs > 0) {
        free(rs->glob[--rs->globs].p);
    }
    free(rs->ring);
    free(rs->table);
    free(rs);
}

size_t vv_records_count(const struct vv_records *rs)
{
    return rs->count;
}

uint64_t vv_records_floor(const struct vv_records *rs)
{
    return rs->floor;
}
