/* src/gateway/clients.c - a table of its own instead of the one of src/guard: one look-up decides about four things,
 * a ban is no limit, and operators want to see addresses, not hashes of them. */
#include "gateway/clients.h"
#include "gateway/address_set.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAYS 8 /* places an address may have */
#define STRIPES 256
#define ROOM_MAX (UINT64_C(1) << 24)
#define MAPPED_BITS 96
#define LOOK_MAX 100

struct vv_client {
    uint8_t address[16]; /* the block's first; IPv4 mapped */
    uint16_t place;      /* 0: free */
    uint8_t family, bits;
    uint32_t open;
    uint64_t fresh_ns, handshakes_ns, malformed_ns; /* theoretical arrival times */
    uint64_t ban_until_ns;
    uint32_t refused, malformed; /* ever, for people */
};
_Static_assert(sizeof(struct vv_client) == VV_CACHE_LINE, "an entry is a cache line");

struct vv_clients {
    struct vv_client *entry; /* buckets of WAYS, on a cache line */
    void *block;             /* what `entry` lies in */
    uint64_t mask;           /* buckets - 1 */
    uint64_t seed;
    _Atomic uint64_t used, evicted, untracked, bans;
    _Atomic unsigned memory;
    pthread_mutex_t stripe[STRIPES];
    pthread_mutex_t names_lock;
    char **name; /* of place i + 1 */
    uint32_t names;
};

const char *vv_client_verdict_name(enum vv_client_verdict v)
{
    static const char *const names[VV_CLIENT_VERDICTS] = {
        [VV_CLIENT_PASSES] = "passes",   [VV_CLIENT_DENIED] = "denied",
        [VV_CLIENT_BANNED] = "banned",   [VV_CLIENT_CONNECTIONS] = "address_connections",
        [VV_CLIENT_NEW] = "address_new", [VV_CLIENT_HANDSHAKES] = "address_handshakes",
    };
    return names[v];
}

enum vv_err vv_clients_new(uint64_t room, uint64_t seed, struct vv_clients **ret)
{
    uint64_t buckets = 1;
    if (room > ROOM_MAX) {
        return VV_ERANGE;
    }
    while (buckets * WAYS < room) {
        buckets *= 2;
    }
    struct vv_clients *c = calloc(1, sizeof *c);
    /* calloc() of much memory is untouched pages; aligned_alloc() and clearing would touch them. */
    void *memory = calloc(buckets * WAYS + 1, sizeof(struct vv_client));
    if (c == NULL || memory == NULL) {
        free(c);
        free(memory);
        return VV_ENOMEM;
    }
    const uintptr_t at = ((uintptr_t)memory + VV_CACHE_LINE - 1) & ~(uintptr_t)(VV_CACHE_LINE - 1);
    c->block = memory;
    c->entry = (struct vv_client *)at;
    c->mask = buckets - 1;
    c->seed = seed;
    for (size_t i = 0; i < STRIPES; i++) {
        pthread_mutex_init(&c->stripe[i], NULL);
    }
    pthread_mutex_init(&c->names_lock, NULL);
    *ret = c;
    return VV_OK;
}

void vv_clients_free(struct vv_clients *c)
{
    if (c == NULL) {
        return;
    }
    for (size_t i = 0; i < STRIPES; i++) {
        pthread_mutex_destroy(&c->stripe[i]);
    }
    pthread_mutex_destroy(&c->names_lock);
    for (uint32_t i = 0; i < c->names; i++) {
        free(c->name[i]);
    }
    free(c->name);
    free(c->block);
    free(c);
}

static uint32_t find_name(const struct vv_clients *c, const char *listener)
{
    for (uint32_t i = 0; i < c->names; i++) {
        if (strcmp(c->name[i], listener) == 0) {
            return i + 1;
        }
    }
    return 0;
}

uint32_t vv_clients_place(struct vv_clients *c, const char *listener)
{
    pthread_mutex_lock(&c->names_lock);
    uint32_t place = find_name(c, listener);
    if (place == 0 && c->names < VV_CLIENTS_PLACES_MAX) {
        char **more = realloc(c->name, (c->names + 1) * sizeof *more);
        char *copy = strdup(listener);
        c->name = more != NULL ? more : c->name;
        if (more != NULL && copy != NULL) {
            c->name[c->names++] = copy;
            place = c->names;
        } else {
            free(copy);
        }
    }
    pthread_mutex_unlock(&c->names_lock);
    return place;
}

bool vv_clients_allowed(const struct vv_clients_settings *conf, const struct vv_addr *peer)
{
    if (peer->sa.sa_family != AF_INET && peer->sa.sa_family != AF_INET6) {
        return true;
    }
    if (conf->deny_set != NULL && vv_address_set_has(conf->deny_set, peer)) {
        return false;
    }
    return conf->allow_set == NULL || vv_address_set_has(conf->allow_set, peer);
}

/* ---- places ---- */

static void first_of_block(uint8_t address[16], unsigned bits)
{
    for (unsigned i = 0; i < 16; i++) {
        const unsigned fixed = bits > i * 8 ? bits - i * 8 : 0;
        if (fixed < 8) {
            address[i] &= (uint8_t) ~(0xff >> fixed);
        }
    }
}

/* False: not an IP address. */
static bool name_client(const struct vv_client_ask *ask, struct vv_client *ret)
{
    uint8_t key[VV_ADDRESS_KEY];
    if (!vv_address_key(ask->peer, key)) {
        return false;
    }
    *ret = (struct vv_client){.place = (uint16_t)ask->place, .family = key[0]};
    memcpy(ret->address, key + 1, 16);
    ret->bits = (uint8_t)(key[0] == 4 ? ask->conf->prefix4 : ask->conf->prefix6);
    first_of_block(ret->address, ret->bits + (key[0] == 4 ? MAPPED_BITS : 0u));
    return true;
}

static bool same(const struct vv_client *a, const struct vv_client *b)
{
    return a->place == b->place && a->family == b->family && a->bits == b->bits &&
           memcmp(a->address, b->address, 16) == 0;
}

static uint64_t bucket_of(const struct vv_clients *c, const struct vv_client *who)
{
    const struct vv_str bytes = {(const char *)who, offsetof(struct vv_client, open)};
    return vv_str_hash(bytes, c->seed) & c->mask;
}

static pthread_mutex_t *stripe_of(struct vv_clients *c, const struct vv_client *e)
{
    return &c->stripe[(uint64_t)(e - c->entry) / WAYS % STRIPES];
}

/* How long the entry will still say something a new one would not. */
static uint64_t idle_in_ns(const struct vv_client *e, uint64_t now_ns)
{
    const uint64_t until = vv_max_u64(vv_max_u64(e->fresh_ns, e->handshakes_ns),
                                      vv_max_u64(e->malformed_ns, e->ban_until_ns));
    return until > now_ns ? until - now_ns : 0;
}

/* The lock is held. NULL: all places are taken by clients with open connections. */
static struct vv_client *find_or_make(struct vv_clients *c, struct vv_client *bucket,
                                      const struct vv_client *who, uint64_t now_ns)
{
    struct vv_client *best = NULL;
    uint64_t best_idle = UINT64_MAX;
    for (size_t i = 0; i < WAYS; i++) {
        struct vv_client *e = &bucket[i];
        if (same(e, who)) {
            return e;
        }
        if (e->place != 0 && e->open > 0) {
            continue;
        }
        /* A free place before any other. */
        const uint64_t idle = e->place == 0 ? 0 : idle_in_ns(e, now_ns) + 1;
        if (best == NULL || idle < best_idle) {
            best = e;
            best_idle = idle;
        }
    }
    if (best == NULL) {
        atomic_fetch_add_explicit(&c->untracked, 1, memory_order_relaxed);
        return NULL;
    }
    if (best->place == 0) {
        atomic_fetch_add_explicit(&c->used, 1, memory_order_relaxed);
    } else if (best_idle > 1) {
        atomic_fetch_add_explicit(&c->evicted, 1, memory_order_relaxed);
    }
    *best = *who;
    return best;
}

/* ---- decisions ---- */

static bool within(uint64_t arrival_ns, uint64_t interval_ns, uint64_t burst, uint64_t now_ns)
{
    return interval_ns == 0 || arrival_ns <= now_ns + (burst - 1) * interval_ns;
}

static void charge(uint64_t *arrival_ns, uint64_t interval_ns, uint64_t now_ns)
{
    if (interval_ns != 0) {
        *arrival_ns = vv_max_u64(*arrival_ns, now_ns) + interval_ns;
    }
}

static enum vv_client_verdict judge(struct vv_client *e, const struct vv_client_ask *ask,
                                    uint64_t now_ns)
{
    const struct vv_clients_settings *conf = ask->conf;
    const uint64_t handshakes_ns = ask->tls ? conf->handshakes_interval_ns : 0;
    if (e->ban_until_ns > now_ns && conf->malformed_interval_ns != 0) {
        return VV_CLIENT_BANNED;
    }
    if (conf->connections != 0 && e->open >= conf->connections) {
        return VV_CLIENT_CONNECTIONS;
    }
    if (!within(e->fresh_ns, conf->fresh_interval_ns, conf->fresh_burst, now_ns)) {
        return VV_CLIENT_NEW;
    }
    if (!within(e->handshakes_ns, handshakes_ns, conf->handshakes_burst, now_ns)) {
        return VV_CLIENT_HANDSHAKES;
    }
    charge(&e->fresh_ns, conf->fresh_interval_ns, now_ns);
    charge(&e->handshakes_ns, handshakes_ns, now_ns);
    e->open++;
    return VV_CLIENT_PASSES;
}

enum vv_client_verdict vv_clients_take(struct vv_clients *c, const struct vv_client_ask *ask,
                                       uint64_t now_ns, struct vv_client **ret_client)
{
    struct vv_client who;
    *ret_client = NULL;
    if (!vv_clients_allowed(ask->conf, ask->peer)) {
        return VV_CLIENT_DENIED;
    }
    if (!vv_clients_count(ask->conf) || ask->place == 0 || !name_client(ask, &who)) {
        return VV_CLIENT_PASSES;
    }
    struct vv_client *bucket = &c->entry[bucket_of(c, &who) * WAYS];
    pthread_mutex_t *lock = stripe_of(c, bucket);
    enum vv_client_verdict verdict = VV_CLIENT_PASSES;
    pthread_mutex_lock(lock);
    struct vv_client *e = find_or_make(c, bucket, &who, now_ns);
    if (e != NULL) {
        verdict = judge(e, ask, now_ns);
        if (verdict == VV_CLIENT_PASSES) {
            *ret_client = e;
        } else {
            e->refused += e->refused < UINT32_MAX;
        }
    }
    pthread_mutex_unlock(lock);
    return verdict;
}

void vv_client_leave(struct vv_clients *c, struct vv_client *client)
{
    if (client == NULL) {
        return;
    }
    pthread_mutex_lock(stripe_of(c, client));
    VV_ASSERT(client->open > 0);
    client->open--;
    pthread_mutex_unlock(stripe_of(c, client));
}

void vv_client_resumed(struct vv_clients *c, struct vv_client *client,
                       const struct vv_clients_settings *conf)
{
    if (client == NULL || conf->handshakes_interval_ns == 0) {
        return;
    }
    pthread_mutex_lock(stripe_of(c, client));
    client->handshakes_ns -= vv_min_u64(client->handshakes_ns, conf->handshakes_interval_ns);
    pthread_mutex_unlock(stripe_of(c, client));
}

bool vv_client_malformed(struct vv_clients *c, struct vv_client *client,
                         const struct vv_clients_settings *conf, uint64_t now_ns)
{
    bool banned = false;
    if (client == NULL || conf->malformed_interval_ns == 0) {
        return false;
    }
    pthread_mutex_lock(stripe_of(c, client));
    client->malformed += client->malformed < UINT32_MAX;
    if (within(client->malformed_ns, conf->malformed_interval_ns, conf->malformed_burst, now_ns)) {
        charge(&client->malformed_ns, conf->malformed_interval_ns, now_ns);
    } else {
        banned = client->ban_until_ns <= now_ns;
        client->ban_until_ns = now_ns + conf->ban_ns;
    }
    pthread_mutex_unlock(stripe_of(c, client));
    if (banned) {
        atomic_fetch_add_explicit(&c->bans, 1, memory_order_relaxed);
    }
    return banned;
}

enum vv_memory_state vv_clients_memory(const struct vv_clients *c)
{
    return (enum vv_memory_state)atomic_load_explicit(&c->memory, memory_order_relaxed);
}

void vv_clients_set_memory(struct vv_clients *c, enum vv_memory_state state)
{
    atomic_store_explicit(&c->memory, (unsigned)state, memory_order_relaxed);
}

/* ---- for people ---- */

typedef void visit_fn(struct vv_client *e, void *user);

static void each(struct vv_clients *c, visit_fn *visit, void *user)
{
    if (atomic_load_explicit(&c->used, memory_order_relaxed) == 0) {
        return; /* the table was never touched, and stays so */
    }
    for (uint64_t b = 0; b <= c->mask; b++) {
        struct vv_client *bucket = &c->entry[b * WAYS];
        pthread_mutex_lock(stripe_of(c, bucket));
        for (size_t i = 0; i < WAYS; i++) {
            if (bucket[i].place != 0) {
                visit(&bucket[i], user);
            }
        }
        pthread_mutex_unlock(stripe_of(c, bucket));
    }
}

struct look {
    struct vv_clients_stats *stats;
    uint64_t now_ns;
};

static void count_one(struct vv_client *e, void *user)
{
    struct look *l = user;
    l->stats->banned += e->ban_until_ns > l->now_ns;
}

void vv_clients_look(struct vv_clients *c, uint64_t now_ns, struct vv_clients_stats *ret)
{
    struct look l = {.stats = ret, .now_ns = now_ns};
    *ret = (struct vv_clients_stats){
        .room = (c->mask + 1) * WAYS,
        .used = atomic_load_explicit(&c->used, memory_order_relaxed),
        .evicted = atomic_load_explicit(&c->evicted, memory_order_relaxed),
        .untracked = atomic_load_explicit(&c->untracked, memory_order_relaxed),
        .bans = atomic_load_explicit(&c->bans, memory_order_relaxed)};
    if (ret->bans > 0) {
        each(c, count_one, &l);
    }
}

struct busiest { /* the first `count` are the busiest so far, in order */
    struct vv_client *top;
    size_t count, limit;
    uint64_t now_ns;
};

static bool busier(const struct vv_client *a, const struct vv_client *b, uint64_t now_ns)
{
    const bool banned = a->ban_until_ns > now_ns, other = b->ban_until_ns > now_ns;
    if (banned != other) {
        return banned;
    }
    return a->open != b->open ? a->open > b->open : a->refused > b->refused;
}

static void keep_busiest(struct vv_client *e, void *user)
{
    struct busiest *b = user;
    size_t at = b->count;
    if (e->open == 0 && e->refused == 0 && e->malformed == 0) {
        return;
    }
    while (at > 0 && busier(e, &b->top[at - 1], b->now_ns)) {
        at--;
    }
    if (at == b->limit) {
        return;
    }
    b->count += b->count < b->limit;
    memmove(&b->top[at + 1], &b->top[at], (b->count - at - 1) * sizeof *e);
    b->top[at] = *e;
}

static struct vv_addr address_of(const struct vv_client *e)
{
    struct vv_addr a = {.len = 0};
    if (e->family == 4) {
        a.in4.sin_family = AF_INET;
        a.len = sizeof a.in4;
        memcpy(&a.in4.sin_addr, e->address + 12, 4);
    } else {
        a.in6.sin6_family = AF_INET6;
        a.len = sizeof a.in6;
        memcpy(&a.in6.sin6_addr, e->address, 16);
    }
    return a;
}

static void client_json(const struct vv_client *e, const char *listener, uint64_t now_ns,
                        struct vv_json *j)
{
    char text[VV_ADDR_TEXT];
    const struct vv_addr a = address_of(e);
    const size_t n = vv_addr_format_ip(&a, text, sizeof text - 5);
    if (e->bits < (e->family == 4 ? 32 : 128)) {
        (void)snprintf(text + n, sizeof text - n, "/%u", e->bits);
    }
    vv_json_obj(j);
    vv_json_kcstr(j, "address", text);
    vv_json_kcstr(j, "listener", listener);
    vv_json_ku64(j, "connections", e->open);
    vv_json_ku64(j, "refused", e->refused);
    vv_json_ku64(j, "malformed", e->malformed);
    vv_json_kdouble(j, "banned_seconds",
                    e->ban_until_ns > now_ns ? (double)(e->ban_until_ns - now_ns) / 1e9 : 0);
    vv_json_obj_end(j);
}

void vv_clients_json(struct vv_clients *c, uint64_t now_ns, size_t limit, struct vv_json *j)
{
    struct vv_client top[LOOK_MAX];
    struct busiest b = {.top = top, .limit = limit < LOOK_MAX ? limit : LOOK_MAX, .now_ns = now_ns};
    struct vv_clients_stats stats;
    if (b.limit > 0) {
        each(c, keep_busiest, &b);
    }
    vv_clients_look(c, now_ns, &stats);
    vv_json_key(j, "clients");
    vv_json_arr(j);
    pthread_mutex_lock(&c->names_lock);
    for (size_t i = 0; i < b.count; i++) {
        client_json(&top[i], c->name[top[i].place - 1], now_ns, j);
    }
    pthread_mutex_unlock(&c->names_lock);
    vv_json_arr_end(j);
    vv_json_key(j, "table");
    vv_json_obj(j);
    vv_json_ku64(j, "room", stats.room);
    vv_json_ku64(j, "used", stats.used);
    vv_json_ku64(j, "evicted", stats.evicted);
    vv_json_ku64(j, "untracked", stats.untracked);
    vv_json_ku64(j, "bans", stats.bans);
    vv_json_ku64(j, "banned", stats.banned);
    vv_json_obj_end(j);
}

struct pardon {
    const uint8_t *key; /* NULL: all */
    uint64_t now_ns;
    size_t count;
};

static void pardon_one(struct vv_client *e, void *user)
{
    struct pardon *p = user;
    if (p->key != NULL) {
        uint8_t block[16];
        memcpy(block, p->key + 1, sizeof block);
        first_of_block(block, e->bits + (e->family == 4 ? MAPPED_BITS : 0u));
        if (e->family != p->key[0] || memcmp(block, e->address, sizeof block) != 0) {
            return;
        }
    }
    p->count += e->ban_until_ns > p->now_ns;
    e->ban_until_ns = e->malformed_ns = 0;
}

size_t vv_clients_pardon(struct vv_clients *c, const struct vv_addr *ip, uint64_t now_ns)
{
    uint8_t key[VV_ADDRESS_KEY];
    struct pardon p = {.now_ns = now_ns};
    if (ip != NULL) {
        if (!vv_address_key(ip, key)) {
            return 0;
        }
        p.key = key;
    }
    each(c, pardon_one, &p);
    return p.count;
}
