/* src/trace/map.c - edges in a hash by their names; each has two halves of counts, the present period's
 * and the one before, so that old traffic fades without a queue of calls. */
#include "trace/map.h"

#include <stdlib.h>

#define BUCKETS 72 /* four an octave from 16 us: to about 4 s, 19 % wide; the last is open */
#define FLOOR_SHIFT 12

struct half {
    uint64_t count, errors, max_ns;
    uint32_t bucket[BUCKETS];
};
struct edge {
    char caller[VV_MAP_NAME_MAX], callee[VV_MAP_NAME_MAX];
    uint64_t last_ns;
    uint32_t next; /* 1 + index; of the hash or of the free ones */
    uint8_t kind;
    bool external, used;
    struct half half[2];
};
struct vv_map {
    struct edge **edge;
    size_t count, edges_max; /* count: allocated */
    uint32_t *bucket, free_first;
    size_t mask;
    uint64_t period_ns, turned_ns, dropped;
    unsigned now; /* which half */
    bool began, has_past;
};

enum vv_err vv_map_new(uint64_t edges_max, uint64_t period_ns, struct vv_map **ret)
{
    if (edges_max == 0 || edges_max > 1000000 || period_ns == 0) {
        return VV_EINVAL;
    }
    struct vv_map *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return VV_ENOMEM;
    }
    m->edges_max = edges_max;
    m->period_ns = period_ns;
    m->mask = 63;
    while (m->mask < edges_max) {
        m->mask = 2 * m->mask + 1;
    }
    m->edge = calloc(edges_max, sizeof(struct edge *));
    m->bucket = calloc(m->mask + 1, sizeof *m->bucket);
    if (m->edge == NULL || m->bucket == NULL) {
        vv_map_free(m);
        return VV_ENOMEM;
    }
    *ret = m;
    return VV_OK;
}

void vv_map_free(struct vv_map *m)
{
    if (m == NULL) {
        return;
    }
    for (size_t i = 0; i < m->count; i++) {
        free(m->edge[i]);
    }
    free(m->edge);
    free(m->bucket);
    free(m);
}

uint64_t vv_map_dropped(const struct vv_map *m)
{
    return m->dropped;
}

/* ---------------------------------------------------------------- periods */

static uint32_t *bucket_of(struct vv_map *m, struct vv_str caller, struct vv_str callee)
{
    return &m->bucket[vv_str_hash(callee, vv_str_hash(caller, 0)) & m->mask];
}

static void forget(struct vv_map *m, uint32_t i)
{
    struct edge *e = m->edge[i];
    uint32_t *at = bucket_of(m, vv_str_from(e->caller), vv_str_from(e->callee));
    while (*at != i + 1) {
        at = &m->edge[*at - 1]->next;
    }
    *at = e->next;
    e->used = false;
    e->next = m->free_first;
    m->free_first = i + 1;
}

static void turn_once(struct vv_map *m)
{
    m->now ^= 1;
    for (uint32_t i = 0; i < m->count; i++) {
        struct edge *e = m->edge[i];
        memset(&e->half[m->now], 0, sizeof e->half[m->now]);
        if (e->used && e->half[m->now ^ 1].count == 0) {
            forget(m, i);
        }
    }
}

static void turn(struct vv_map *m, uint64_t now_ns)
{
    if (!m->began) {
        m->began = true;
        m->turned_ns = now_ns;
    }
    const uint64_t periods = now_ns > m->turned_ns ? (now_ns - m->turned_ns) / m->period_ns : 0;
    for (uint64_t i = 0; i < vv_min_u64(periods, 2); i++) {
        turn_once(m);
    }
    m->turned_ns += periods * m->period_ns;
    m->has_past = periods == 1 || (periods == 0 && m->has_past);
}

/* ---------------------------------------------------------------- counting */

static size_t slot_of(uint64_t ns)
{
    const uint64_t units = vv_max_u64(ns >> FLOOR_SHIFT, 4);
    const unsigned octave = 61 - (unsigned)__builtin_clzll(units);
    return vv_min_u64(4 * (uint64_t)octave + ((units >> octave) & 3), BUCKETS - 1);
}

static uint64_t slot_top(size_t b)
{
    return ((4 + (b & 3) + 1) << (b >> 2)) << FLOOR_SHIFT;
}

static struct vv_str fit(struct vv_str s)
{
    const void *nul = s.n > 0 ? memchr(s.p, 0, s.n) : NULL;
    s.n = nul != NULL ? (size_t)((const char *)nul - s.p) : s.n;
    s.n = vv_min_u64(s.n, VV_MAP_NAME_MAX - 1);
    return s.n > 0 ? s : VV_STR("unknown");
}

static struct edge *edge_of(struct vv_map *m, struct vv_str caller, struct vv_str callee)
{
    uint32_t *at = bucket_of(m, caller, callee);
    for (uint32_t i = *at; i != 0; i = m->edge[i - 1]->next) {
        struct edge *e = m->edge[i - 1];
        if (vv_str_eq(vv_str_from(e->caller), caller) &&
            vv_str_eq(vv_str_from(e->callee), callee)) {
            return e;
        }
    }
    uint32_t i = m->free_first;
    if (i != 0) {
        m->free_first = m->edge[i - 1]->next;
    } else {
        struct edge *made = m->count < m->edges_max ? malloc(sizeof *made) : NULL;
        if (made == NULL) {
            return NULL;
        }
        m->edge[m->count++] = made;
        i = (uint32_t)m->count;
    }
    struct edge *e = m->edge[i - 1];
    *e = (struct edge){.used = true, .next = *at};
    memcpy(e->caller, caller.p, caller.n);
    memcpy(e->callee, callee.p, callee.n);
    *at = i;
    return e;
}

struct call {
    struct vv_str caller, callee;
    enum vv_map_kind kind;
    bool external, error;
    uint64_t ns;
};

static void count_call(struct vv_map *m, const struct call *c, uint64_t now_ns)
{
    struct edge *e = edge_of(m, fit(c->caller), fit(c->callee));
    if (e == NULL) {
        m->dropped++;
        return;
    }
    struct half *h = &e->half[m->now];
    h->count++;
    h->errors += c->error ? 1 : 0;
    h->max_ns = vv_max_u64(h->max_ns, c->ns);
    h->bucket[slot_of(c->ns)]++;
    e->kind = (uint8_t)c->kind;
    e->external = c->external;
    e->last_ns = now_ns;
}

/* ---------------------------------------------------------------- reading a trace */

struct by_id {
    uint64_t id;
    size_t at;
    bool has_remote; /* a child in another service told its side */
};

static int order_ids(const void *a, const void *b)
{
    const struct by_id *x = a, *y = b;
    return x->id != y->id ? (x->id < y->id ? -1 : 1) : x->at < y->at ? -1 : x->at > y->at;
}

static struct by_id *find(struct by_id *ids, size_t n, const uint8_t *span_id)
{
    uint64_t id;
    memcpy(&id, span_id, sizeof id);
    size_t low = 0, high = n;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (ids[mid].id < id) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low < n && ids[low].id == id && id != 0 ? &ids[low] : NULL;
}

static bool text_of(const struct vv_span *s, enum vv_span_key key, struct vv_str *ret)
{
    const struct vv_span_attr *a = vv_span_attr_find(s, key);
    if (a == NULL || a->type != VV_ATTR_STR || a->str.n == 0) {
        return false;
    }
    *ret = a->str;
    return true;
}

/* Who does not report is named by what the caller says of it, most telling first. */
static bool external_name(const struct vv_span *s, struct call *c)
{
    static const struct {
        enum vv_span_key key;
        enum vv_map_kind kind;
    } says[] = {{VV_KEY_PEER, VV_MAP_CALL},          {VV_KEY_DB_SYSTEM_NAME, VV_MAP_DATABASE},
                {VV_KEY_DB_SYSTEM, VV_MAP_DATABASE}, {VV_KEY_MESSAGING, VV_MAP_QUEUE},
                {VV_KEY_SERVER, VV_MAP_CALL},        {VV_KEY_NET_PEER, VV_MAP_CALL},
                {VV_KEY_RPC_SERVICE, VV_MAP_CALL}};
    for (size_t i = 0; i < VV_COUNT(says); i++) {
        if (text_of(s, says[i].key, &c->callee)) {
            c->kind = says[i].kind;
            return true;
        }
    }
    return false;
}

static bool failed(const struct vv_span *s)
{
    return s->status == VV_SPAN_ERROR || s->http_status >= 500;
}

/* A span and its parent in two services are a call, seen by the caller if its span is a call's. */
static void inner_call(struct vv_map *m, const struct vv_trace *t, struct by_id *ids, size_t i,
                       uint64_t now_ns)
{
    const struct vv_span *s = &t->spans[i];
    struct by_id *up = find(ids, t->count, s->parent_id);
    if (up == NULL) {
        if (i == t->root && (s->kind == VV_SPAN_SERVER || s->kind == VV_SPAN_CONSUMER)) {
            count_call(m,
                       &(struct call){.caller = VV_STR("client"),
                                      .callee = s->service,
                                      .kind = VV_MAP_ENTRY,
                                      .error = failed(s),
                                      .ns = vv_span_ns(s)},
                       now_ns);
        }
        return;
    }
    const struct vv_span *p = &t->spans[up->at];
    if (vv_str_eq(p->service, s->service)) {
        /* A service that calls itself says so with a server's span under a client's. */
        if (p->kind != VV_SPAN_CLIENT || s->kind != VV_SPAN_SERVER) {
            return;
        }
    }
    const bool callers = p->kind == VV_SPAN_CLIENT || p->kind == VV_SPAN_PRODUCER;
    const struct vv_span *view = callers && p->kind == VV_SPAN_CLIENT ? p : s;
    up->has_remote = true;
    count_call(m,
               &(struct call){.caller = p->service,
                              .callee = s->service,
                              .kind = s->kind == VV_SPAN_CONSUMER ? VV_MAP_QUEUE : VV_MAP_CALL,
                              .error = failed(view),
                              .ns = vv_span_ns(view)},
               now_ns);
}

void vv_map_add(struct vv_map *m, const struct vv_trace *t, uint64_t now_ns)
{
    struct by_id *ids = t->count > 0 ? calloc(t->count, sizeof *ids) : NULL;
    if (ids == NULL) {
        return;
    }
    turn(m, now_ns);
    for (size_t i = 0; i < t->count; i++) {
        memcpy(&ids[i].id, t->spans[i].span_id, sizeof ids[i].id);
        ids[i].at = i;
    }
    qsort(ids, t->count, sizeof *ids, order_ids);
    for (size_t i = 0; i < t->count; i++) {
        inner_call(m, t, ids, i, now_ns);
    }
    for (size_t i = 0; i < t->count; i++) {
        const struct vv_span *s = &t->spans[i];
        const struct by_id *me = find(ids, t->count, s->span_id);
        struct call c = {
            .caller = s->service, .external = true, .error = failed(s), .ns = vv_span_ns(s)};
        if ((s->kind == VV_SPAN_CLIENT || s->kind == VV_SPAN_PRODUCER) &&
            (me == NULL || !me->has_remote) && external_name(s, &c)) {
            count_call(m, &c, now_ns);
        }
    }
    free(ids);
}

/* ---------------------------------------------------------------- reading the map */

static uint64_t quantile(const struct edge *e, uint64_t ppm)
{
    const uint64_t sum = e->half[0].count + e->half[1].count;
    const uint64_t most = vv_max_u64(e->half[0].max_ns, e->half[1].max_ns);
    uint64_t seen = 0;
    for (size_t b = 0; b + 1 < BUCKETS; b++) {
        seen += (uint64_t)e->half[0].bucket[b] + e->half[1].bucket[b];
        if (seen > 0 && seen * VV_PPM >= sum * ppm) {
            return vv_min_u64(slot_top(b), most);
        }
    }
    return most;
}

static int by_names(const void *a, const void *b)
{
    const struct vv_map_edge *x = a, *y = b;
    const int order = strcmp(x->caller.p, y->caller.p);
    return order != 0 ? order : strcmp(x->callee.p, y->callee.p);
}

size_t vv_map_edges(struct vv_map *m, uint64_t now_ns, struct vv_map_edge *ret, size_t max)
{
    size_t n = 0;
    turn(m, now_ns);
    const uint64_t covered_ns = vv_max_u64(
        vv_max_u64(now_ns, m->turned_ns) - m->turned_ns + (m->has_past ? m->period_ns : 0), VV_SEC);
    for (size_t i = 0; i < m->count && n < max; i++) {
        const struct edge *e = m->edge[i];
        const uint64_t count = e->half[0].count + e->half[1].count;
        if (!e->used || count == 0) {
            continue;
        }
        ret[n++] = (struct vv_map_edge){
            .caller = vv_str_from(e->caller),
            .callee = vv_str_from(e->callee),
            .kind = (enum vv_map_kind)e->kind,
            .external = e->external,
            .count = count,
            .errors = e->half[0].errors + e->half[1].errors,
            .rate = (double)count / ((double)covered_ns / (double)VV_SEC),
            .p50_ns = quantile(e, 500000),
            .p95_ns = quantile(e, 950000),
            .p99_ns = quantile(e, 990000),
            .last_ns = e->last_ns,
        };
    }
    qsort(ret, n, sizeof *ret, by_names);
    return n;
}
