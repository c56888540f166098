/* src/trace/path.c - arrays and indexes, no pointers between spans: one allocation, no recursion.
 *
 * Siblings are found by sorting all spans by (parent, start) once; the walk then needs the children of
 * one span by end, and how many of them begin or end within a stretch: two more sorted arrays. */
#include "trace/path.h"

#include <stdlib.h>

#define OVERLAP_SHARE 100 /* an overlap below 1/100 of the parent is taken for clock skew */

struct work {
    const struct vv_trace *t;
    struct vv_path_span *span;
    uint32_t *slot; /* hash of span ids to indexes */
    size_t mask;
    uint32_t *stack;         /* spans to walk */
    uint32_t *by_end;        /* children of the span at hand, last end first */
    uint64_t *starts, *ends; /* their sorted times */
};

/* ---------------------------------------------------------------- tree */

static uint64_t id_word(const uint8_t id[VV_SPAN_ID_BYTES])
{
    uint64_t v;
    memcpy(&v, id, sizeof v);
    return v;
}

static uint32_t find(const struct work *w, uint64_t id)
{
    for (size_t h = (id * UINT64_C(0x9E3779B97F4A7C15)) >> 32;; h++) {
        const uint32_t at = w->slot[h & w->mask];
        if (at == VV_PATH_NONE || id_word(w->t->spans[at].span_id) == id) {
            return at;
        }
    }
}

/* The first of two spans with one id is the span; the other keeps its parent but gets no children. */
static void index_spans(struct work *w)
{
    memset(w->slot, 0xff, (w->mask + 1) * sizeof *w->slot);
    for (uint32_t i = 0; i < w->t->count; i++) {
        const uint64_t id = id_word(w->t->spans[i].span_id);
        size_t h = (id * UINT64_C(0x9E3779B97F4A7C15)) >> 32;
        while (w->slot[h & w->mask] != VV_PATH_NONE &&
               id_word(w->t->spans[w->slot[h & w->mask]].span_id) != id) {
            h++;
        }
        if (w->slot[h & w->mask] == VV_PATH_NONE) {
            w->slot[h & w->mask] = i;
        }
    }
}

static int by_start_last_first(const void *a, const void *b, void *user)
{
    const struct work *w = user;
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    const uint64_t sx = w->t->spans[x].start_ns, sy = w->t->spans[y].start_ns;
    return sx != sy ? (sx < sy ? 1 : -1) : x < y ? 1 : -1;
}

static void link_children(struct work *w)
{
    const size_t n = w->t->count;
    for (uint32_t i = 0; i < n; i++) {
        const struct vv_span *s = &w->t->spans[i];
        /* The root has no parent in here, or a cycle could lead back to it. */
        const bool root = i == w->t->root || vv_trace_id_zero(s->parent_id, sizeof s->parent_id);
        const uint32_t parent = root ? VV_PATH_NONE : find(w, id_word(s->parent_id));
        w->span[i] = (struct vv_path_span){.parent = parent == i ? VV_PATH_NONE : parent,
                                           .first_child = VV_PATH_NONE,
                                           .next_sibling = VV_PATH_NONE,
                                           .start_ns = s->start_ns,
                                           .end_ns = s->end_ns};
        w->stack[i] = i;
    }
    /* Pushed to the front, the latest first, children end up in order of their start. */
    qsort_r(w->stack, n, sizeof *w->stack, by_start_last_first, w);
    for (size_t k = 0; k < n; k++) {
        const uint32_t i = w->stack[k];
        const uint32_t parent = w->span[i].parent;
        if (parent != VV_PATH_NONE) {
            w->span[i].next_sibling = w->span[parent].first_child;
            w->span[parent].first_child = i;
        }
    }
}

/* Cuts the children to the parent's time; what does not touch it is not reached. A span that lasts no
 * time lies within its parent all the same. */
static bool cut_to(const struct vv_path_span *parent, struct vv_path_span *c)
{
    const bool inside = c->start_ns >= parent->start_ns && c->end_ns <= parent->end_ns;
    if (!inside && (c->start_ns >= parent->end_ns || c->end_ns <= parent->start_ns)) {
        return false;
    }
    c->start_ns = vv_max_u64(c->start_ns, parent->start_ns);
    c->end_ns = vv_min_u64(c->end_ns, parent->end_ns);
    return true;
}

/* Down from the root, which is in no list of children; every other span is in at most one. So each is
 * visited once, whatever cycles there are elsewhere. Self time: children come by start, so one pass unites them. */
static void descend(struct work *w, uint32_t root)
{
    size_t n = 0;
    w->span[root].reached = true;
    w->stack[n++] = root;
    while (n > 0) {
        struct vv_path_span *p = &w->span[w->stack[--n]];
        uint64_t covered = 0, until = p->start_ns;
        for (uint32_t i = p->first_child; i != VV_PATH_NONE; i = w->span[i].next_sibling) {
            struct vv_path_span *c = &w->span[i];
            if (!cut_to(p, c)) {
                continue;
            }
            c->reached = true;
            c->depth = p->depth + 1;
            if (c->end_ns > until) {
                covered += c->end_ns - vv_max_u64(until, c->start_ns);
                until = c->end_ns;
            }
            w->stack[n++] = i;
        }
        p->self_ns = p->end_ns - p->start_ns - covered;
    }
}

/* ---------------------------------------------------------------- the walk */

static int by_end_last_first(const void *a, const void *b, void *user)
{
    const struct work *w = user;
    const struct vv_path_span *x = &w->span[*(const uint32_t *)a];
    const struct vv_path_span *y = &w->span[*(const uint32_t *)b];
    if (x->end_ns != y->end_ns) {
        return x->end_ns < y->end_ns ? 1 : -1;
    }
    if (x->start_ns != y->start_ns) { /* of equal ends the longest */
        return x->start_ns > y->start_ns ? 1 : -1;
    }
    return x < y ? -1 : 1;
}

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static size_t below(const uint64_t *sorted, size_t n, uint64_t v) /* how many are < v */
{
    size_t low = 0, high = n;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (sorted[mid] < v) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static size_t within(const uint64_t *sorted, size_t n, uint64_t from, uint64_t to)
{
    return (to == UINT64_MAX ? n : below(sorted, n, to + 1)) - below(sorted, n, from);
}

static bool before(const struct work *w, size_t n, const struct vv_path_span *parent,
                   const struct vv_path_span *a, const struct vv_path_span *b)
{
    const uint64_t length = parent->end_ns - parent->start_ns;
    if (a->end_ns <= b->start_ns) {
        return true;
    }
    if (a->end_ns >= b->end_ns || a->start_ns >= b->start_ns ||
        a->end_ns - b->start_ns >= length / OVERLAP_SHARE + (length % OVERLAP_SHARE != 0)) {
        return false;
    }
    /* Exactly two events: a's end and b's start. */
    return within(w->starts, n, b->start_ns, a->end_ns) +
               within(w->ends, n, b->start_ns, a->end_ns) ==
           2;
}

/* Marks the children of p that are on its path, pushes them so that the last one is walked first, and
 * takes their time off p's own. */
static size_t walk_children(struct work *w, struct vv_path_span *p, size_t depth)
{
    size_t n = 0, first = depth;
    for (uint32_t i = p->first_child; i != VV_PATH_NONE; i = w->span[i].next_sibling) {
        if (w->span[i].reached) {
            w->by_end[n] = i;
            w->starts[n] = w->span[i].start_ns;
            w->ends[n++] = w->span[i].end_ns;
        }
    }
    p->exclusive_ns = p->end_ns - p->start_ns;
    if (n == 0) {
        return depth;
    }
    qsort_r(w->by_end, n, sizeof *w->by_end, by_end_last_first, w);
    qsort(w->starts, n, sizeof *w->starts, by_value);
    qsort(w->ends, n, sizeof *w->ends, by_value);
    const struct vv_path_span *later = NULL;
    for (size_t k = 0; k < n; k++) {
        struct vv_path_span *c = &w->span[w->by_end[k]];
        if (later != NULL && !before(w, n, p, c, later)) {
            continue;
        }
        c->critical = true;
        p->exclusive_ns -= vv_min_u64(p->exclusive_ns, c->end_ns - c->start_ns);
        w->stack[depth++] = w->by_end[k];
        later = c;
    }
    for (size_t low = first, high = depth; low + 1 < high; low++, high--) {
        const uint32_t swap = w->stack[low];
        w->stack[low] = w->stack[high - 1];
        w->stack[high - 1] = swap;
    }
    return depth;
}

static void walk(struct work *w, struct vv_path *p)
{
    size_t n = 0;
    w->span[p->root].critical = true;
    w->stack[n++] = p->root;
    while (n > 0) {
        const uint32_t i = w->stack[--n];
        p->order[p->order_count++] = i;
        n = walk_children(w, &w->span[i], n);
    }
}

enum vv_err vv_path_compute(const struct vv_trace *t, struct vv_path *ret)
{
    const size_t n = t->count;
    struct work w = {.t = t, .mask = 1};
    if (n == 0 || t->root >= n || n >= VV_PATH_NONE / 4) {
        return VV_EINVAL;
    }
    while (w.mask < 2 * n) {
        w.mask = 2 * w.mask + 1;
    }
    struct vv_path p = {.root = (uint32_t)t->root, .count = n};
    p.span = calloc(n, sizeof *p.span);
    p.order = calloc(n, sizeof *p.order);
    w.span = p.span;
    w.slot = calloc(w.mask + 1, sizeof *w.slot);
    w.stack = calloc(2 * n, sizeof *w.stack);
    w.starts = calloc(2 * n, sizeof *w.starts);
    if (p.span == NULL || p.order == NULL || w.slot == NULL || w.stack == NULL ||
        w.starts == NULL) {
        free(w.slot);
        free(w.stack);
        free(w.starts);
        vv_path_fini(&p);
        return VV_ENOMEM;
    }
    w.by_end = w.stack + n;
    w.ends = w.starts + n;
    index_spans(&w);
    link_children(&w);
    descend(&w, p.root);
    walk(&w, &p);
    free(w.slot);
    free(w.stack);
    free(w.starts);
    *ret = p;
    return VV_OK;
}

void vv_path_fini(struct vv_path *p)
{
    free(p->span);
    free(p->order);
    *p = (struct vv_path){0};
}
