/* src/trace/assemble.c - a hash of open traces, a list of them by last span and one by age.
 *
 * When a trace is due depends on its last span (quiet) or on its root's end; both waits are constant,
 * so two lists in order of time hold who is next and no heap is needed. Spans are chunks of memory
 * of the trace. Words already given are a table that forgets by being overwritten: two of four
 * neighbours with the same hash are rare, and the price is one late span judged as a trace. */
#include "trace/assemble.h"

#include "base/list.h"

#include <stdlib.h>

struct piece { /* one packed span */
    struct piece *next;
    uint32_t bytes;
    char at[];
};

struct open_trace {
    struct open_trace *chain; /* of the hash */
    struct vv_list by_quiet, by_age, by_root;
    uint8_t id[VV_TRACE_ID_BYTES];
    struct piece *first, **last;
    uint64_t began_ns, touched_ns, root_ns;
    uint64_t bytes;
    uint32_t count, lost;
    bool root, error;
};

struct word { /* what was decided of a trace */
    uint8_t id[VV_TRACE_ID_BYTES];
    uint8_t known, keep;
};

struct vv_assembly {
    struct vv_assembly_conf conf;
    vv_trace_judge_fn *judge;
    vv_trace_late_fn *late;
    void *user;
    struct open_trace **bucket;
    size_t mask;
    struct vv_list by_quiet, by_age, by_root; /* the next one first */
    struct word *word;
    struct vv_assembly_stats stats;
};

#define PIECE_COST (sizeof(struct piece) + 16) /* with what malloc adds */
#define TRACE_COST (sizeof(struct open_trace) + 16)

void vv_assembly_conf_default(struct vv_assembly_conf *conf)
{
    *conf = (struct vv_assembly_conf){
        .quiet_ns = 10 * VV_SEC,
        .root_grace_ns = 2 * VV_SEC,
        .age_max_ns = 60 * VV_SEC,
        .bytes_max = 32 * VV_MIB,
        .traces_max = 50000,
        .spans_max = 1000,
        .decided_max = 65536,
    };
}

static bool conf_fits(const struct vv_assembly_conf *c)
{
    return c->traces_max > 0 && c->traces_max <= 10000000 && c->spans_max > 0 &&
           c->spans_max <= 1000000 && c->decided_max >= 4 && c->decided_max <= 1 << 24 &&
           (c->decided_max & (c->decided_max - 1)) == 0 && c->bytes_max >= 64 * VV_KIB;
}

enum vv_err vv_assembly_new(const struct vv_assembly_conf *conf, vv_trace_judge_fn *judge,
                            vv_trace_late_fn *late, void *user, struct vv_assembly **ret)
{
    if (!conf_fits(conf)) {
        return VV_EINVAL;
    }
    struct vv_assembly *a = calloc(1, sizeof *a);
    if (a == NULL) {
        return VV_ENOMEM;
    }
    *a = (struct vv_assembly){
        .conf = *conf, .judge = judge, .late = late, .user = user, .mask = 1023};
    while (a->mask < conf->traces_max) {
        a->mask = 2 * a->mask + 1;
    }
    vv_list_init(&a->by_quiet);
    vv_list_init(&a->by_age);
    vv_list_init(&a->by_root);
    a->bucket = calloc(a->mask + 1, sizeof(struct open_trace *));
    a->word = calloc(conf->decided_max, sizeof *a->word);
    if (a->bucket == NULL || a->word == NULL) {
        vv_assembly_free(a);
        return VV_ENOMEM;
    }
    *ret = a;
    return VV_OK;
}

/* Ids come from strangers, who would let them meet in one bucket if they knew the seed. */
static uint64_t id_hash(const struct vv_assembly *a, const uint8_t id[VV_TRACE_ID_BYTES])
{
    return vv_str_hash((struct vv_str){(const char *)id, VV_TRACE_ID_BYTES}, a->conf.seed);
}

static struct open_trace **place(struct vv_assembly *a, const uint8_t *id)
{
    struct open_trace **at = &a->bucket[id_hash(a, id) & a->mask];
    while (*at != NULL && memcmp((*at)->id, id, VV_TRACE_ID_BYTES) != 0) {
        at = &(*at)->chain;
    }
    return at;
}

/* ---------------------------------------------------------------- words given */

static struct word *word_of(struct vv_assembly *a, const uint8_t *id)
{
    struct word *w = &a->word[(id_hash(a, id) >> 32) & (a->conf.decided_max - 1) & ~UINT64_C(3)];
    for (size_t i = 0; i < 4; i++) {
        if (w[i].known != 0 && memcmp(w[i].id, id, VV_TRACE_ID_BYTES) == 0) {
            return &w[i];
        }
    }
    return NULL;
}

static void remember(struct vv_assembly *a, const uint8_t *id, bool keep)
{
    struct word *w = &a->word[(id_hash(a, id) >> 32) & (a->conf.decided_max - 1) & ~UINT64_C(3)];
    memmove(&w[1], &w[0], 3 * sizeof *w); /* the oldest of four falls out */
    memcpy(w[0].id, id, VV_TRACE_ID_BYTES);
    w[0].known = 1;
    w[0].keep = keep ? 1 : 0;
}

/* ---------------------------------------------------------------- judging */

static void drop(struct vv_assembly *a, struct open_trace *t)
{
    struct open_trace **at = place(a, t->id);
    *at = t->chain;
    vv_list_del(&t->by_quiet);
    vv_list_del(&t->by_age);
    vv_list_del(&t->by_root);
    a->stats.open--;
    a->stats.bytes -= t->bytes;
    for (struct piece *p = t->first, *next; p != NULL; p = next) {
        next = p->next;
        free(p);
    }
    free(t);
}

void vv_assembly_free(struct vv_assembly *a)
{
    if (a == NULL) {
        return;
    }
    while (a->bucket != NULL && !vv_list_empty(&a->by_age)) {
        drop(a, VV_LIST_ENTRY(a->by_age.next, struct open_trace, by_age));
    }
    free(a->bucket);
    free(a->word);
    free(a);
}

static bool view(const struct open_trace *t, struct vv_trace *ret, void **memory)
{
    /* NOLINTNEXTLINE: drop() takes a trace off every list before it frees it */
    struct vv_str *packed = calloc(t->count, sizeof *packed);
    size_t n = 0;
    if (packed == NULL) {
        return false;
    }
    for (const struct piece *p = t->first; p != NULL; p = p->next) {
        packed[n++] = (struct vv_str){p->at, p->bytes};
    }
    const bool ok = vv_trace_open(packed, n, ret, memory) == VV_OK;
    free(packed);
    return ok;
}

static void decide(struct vv_assembly *a, struct open_trace *t, uint64_t now_ns, bool early)
{
    struct vv_trace trace;
    void *memory;
    bool keep = false;
    if (view(t, &trace, &memory)) { /* without memory the trace is lost */
        trace.lost = t->lost;       /* NOLINT: the same */
        trace.early = early;
        keep = a->judge(a->user, &trace, now_ns);
        free(memory);
    }
    remember(a, t->id, keep);
    a->stats.kept += keep ? 1 : 0;
    a->stats.dropped += keep ? 0 : 1;
    a->stats.early += early ? 1 : 0;
    drop(a, t);
}

static uint64_t sat_add(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static struct open_trace *due(struct vv_assembly *a, uint64_t now_ns)
{
    if (!vv_list_empty(&a->by_root)) {
        struct open_trace *t = VV_LIST_ENTRY(a->by_root.next, struct open_trace, by_root);
        if (sat_add(t->root_ns, a->conf.root_grace_ns) <= now_ns) {
            return t;
        }
    }
    if (!vv_list_empty(&a->by_quiet)) {
        struct open_trace *t = VV_LIST_ENTRY(a->by_quiet.next, struct open_trace, by_quiet);
        if (sat_add(t->touched_ns, a->conf.quiet_ns) <= now_ns) {
            return t;
        }
    }
    if (!vv_list_empty(&a->by_age)) {
        struct open_trace *t = VV_LIST_ENTRY(a->by_age.next, struct open_trace, by_age);
        if (sat_add(t->began_ns, a->conf.age_max_ns) <= now_ns) {
            return t;
        }
    }
    return NULL;
}

size_t vv_assembly_tick(struct vv_assembly *a, uint64_t now_ns, size_t max)
{
    size_t n = 0;
    for (struct open_trace *t; n < max && (t = due(a, now_ns)) != NULL; n++) {
        decide(a, t, now_ns, false);
    }
    return n;
}

void vv_assembly_flush(struct vv_assembly *a, uint64_t now_ns)
{
    while (!vv_list_empty(&a->by_age)) {
        decide(a, VV_LIST_ENTRY(a->by_age.next, struct open_trace, by_age), now_ns, true);
    }
}

/* ---------------------------------------------------------------- gathering */

static void make_room(struct vv_assembly *a, size_t bytes, uint64_t traces, uint64_t now_ns)
{
    while (!vv_list_empty(&a->by_age) && (a->stats.bytes + bytes > a->conf.bytes_max ||
                                          a->stats.open + traces > a->conf.traces_max)) {
        decide(a, VV_LIST_ENTRY(a->by_age.next, struct open_trace, by_age), now_ns, true);
    }
}

static struct open_trace *begin(struct vv_assembly *a, const uint8_t *id, size_t need,
                                uint64_t now_ns)
{
    struct open_trace *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return NULL;
    }
    make_room(a, need + TRACE_COST, 1, now_ns);
    memcpy(t->id, id, sizeof t->id);
    t->last = &t->first;
    t->began_ns = now_ns;
    t->bytes = TRACE_COST;
    vv_list_init(&t->by_quiet);
    vv_list_init(&t->by_root);
    vv_list_push_back(&a->by_age, &t->by_age);
    struct open_trace **at = place(a, id);
    t->chain = NULL;
    *at = t;
    a->stats.open++;
    a->stats.bytes += t->bytes;
    return t;
}

/* True: the trace was judged before. */
static bool came_late(struct vv_assembly *a, const uint8_t *id, struct vv_str packed)
{
    const struct word *w = word_of(a, id);
    if (w == NULL) {
        return false;
    }
    if (w->keep != 0) {
        a->stats.late_kept++;
        a->late(a->user, packed);
    } else {
        a->stats.late_dropped++;
    }
    return true;
}

static void touch(struct vv_assembly *a, struct open_trace *t, const struct vv_span_brief *b,
                  uint64_t now_ns)
{
    t->touched_ns = now_ns;
    t->error |= b->status == VV_SPAN_ERROR;
    vv_list_del(&t->by_quiet);
    vv_list_push_back(&a->by_quiet, &t->by_quiet);
    if (b->root && !t->root) {
        t->root = true;
        t->root_ns = now_ns;
        vv_list_push_back(&a->by_root, &t->by_root);
    }
}

enum vv_err vv_assembly_add(struct vv_assembly *a, struct vv_str packed, uint64_t now_ns)
{
    struct vv_span_brief b;
    struct vv_span whole;
    if (vv_span_peek(packed, &b) != VV_OK || vv_span_unpack(packed, &whole, NULL) != VV_OK) {
        a->stats.broken++;
        return VV_ESYNTAX;
    }
    a->stats.spans++;
    struct open_trace *t = *place(a, b.trace_id);
    if (t == NULL && came_late(a, b.trace_id, packed)) {
        return VV_OK;
    }
    const size_t need = packed.n + PIECE_COST;
    if (t != NULL && t->count >= a->conf.spans_max) {
        t->lost++;
        a->stats.lost++;
        touch(a, t, &b, now_ns); /* its root may be among those */
        return VV_ELIMIT;
    }
    struct piece *p = malloc(sizeof *p + packed.n);
    t = t != NULL || p == NULL ? t : begin(a, b.trace_id, need, now_ns);
    if (p == NULL || t == NULL) {
        free(p);
        a->stats.lost++;
        return VV_ENOMEM;
    }
    *p = (struct piece){.bytes = (uint32_t)packed.n};
    memcpy(p->at, packed.p, packed.n);
    *t->last = p;
    t->last = &p->next;
    t->count++;
    t->bytes += need;
    a->stats.bytes += need;
    touch(a, t, &b, now_ns);
    make_room(a, 0, 0, now_ns); /* may judge this very trace: nothing is used after it */
    return VV_OK;
}

void vv_assembly_stats(const struct vv_assembly *a, struct vv_assembly_stats *ret)
{
    *ret = a->stats;
}

/* ---------------------------------------------------------------- a trace from its bytes */

struct span_place {
    uint64_t id;
    size_t at;
};

static int by_id(const void *x, const void *y)
{
    const struct span_place *a = x, *b = y;
    return a->id < b->id ? -1 : a->id > b->id;
}

/* The root: a span without a parent, else the gateway's entry, else one whose parent is not here; of
 * several the earliest, and of these the longest. */
static size_t find_root(const struct vv_trace *t, struct span_place *ids)
{
    size_t best = 0;
    int best_rank = -1;
    for (size_t i = 0; i < t->count; i++) {
        memcpy(&ids[i].id, t->spans[i].span_id, sizeof ids[i].id);
        ids[i].at = i;
    }
    qsort(ids, t->count, sizeof *ids, by_id);
    for (size_t i = 0; i < t->count; i++) {
        const struct vv_span *s = &t->spans[i], *b = &t->spans[best];
        struct span_place parent = {0};
        memcpy(&parent.id, s->parent_id, sizeof parent.id);
        const int rank = parent.id == 0                                                ? 3
                         : bsearch(&parent, ids, t->count, sizeof *ids, by_id) != NULL ? 0
                         : (s->flags & VV_SPAN_F_ENTRY) != 0                           ? 2
                                                                                       : 1;
        if (rank > best_rank ||
            (rank == best_rank && (s->start_ns < b->start_ns ||
                                   (s->start_ns == b->start_ns && s->end_ns > b->end_ns)))) {
            best = i;
            best_rank = rank;
        }
    }
    return best;
}

/* One block: packed slices, spans, places for the root's search, then all attributes. */
enum vv_err vv_trace_open(const struct vv_str *packed, size_t count, struct vv_trace *ret,
                          void **ret_memory)
{
    size_t attrs = 0, bytes = 0;
    struct vv_span probe;
    static _Thread_local struct vv_span_attr scratch[VV_SPAN_ATTRS_MAX];
    if (count == 0) {
        return VV_EINVAL;
    }
    for (size_t i = 0; i < count; i++) {
        if (vv_span_unpack(packed[i], &probe, scratch) != VV_OK) {
            return VV_ESYNTAX;
        }
        attrs += probe.attr_count;
        bytes += packed[i].n;
    }
    char *memory = malloc(
        count * (sizeof(struct vv_str) + sizeof(struct vv_span) + sizeof(struct span_place)) +
        attrs * sizeof(struct vv_span_attr));
    if (memory == NULL) {
        return VV_ENOMEM;
    }
    struct vv_span *spans = (struct vv_span *)(void *)memory;
    struct vv_str *slices = (struct vv_str *)(void *)(spans + count);
    struct span_place *ids = (struct span_place *)(void *)(slices + count);
    struct vv_span_attr *at = (struct vv_span_attr *)(void *)(ids + count);
    *ret = (struct vv_trace){.spans = spans,
                             .count = count,
                             .packed_bytes = bytes,
                             .packed = slices,
                             .start_ns = UINT64_MAX};
    for (size_t i = 0; i < count; i++) {
        slices[i] = packed[i];
        /* Unpacking writes attr_count rows at most, and these were counted above. */
        if (vv_span_unpack(packed[i], &spans[i], at) != VV_OK) {
            free(memory);
            return VV_ESYNTAX;
        }
        at += spans[i].attr_count;
        ret->start_ns = vv_min_u64(ret->start_ns, spans[i].start_ns);
        ret->end_ns = vv_max_u64(ret->end_ns, spans[i].end_ns);
        ret->error |= spans[i].status == VV_SPAN_ERROR;
    }
    memcpy(ret->id, spans[0].trace_id, sizeof ret->id);
    ret->root = find_root(ret, ids);
    *ret_memory = memory;
    return VV_OK;
}
