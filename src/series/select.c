/* src/series/select.c - reading. First it is decided which stretch of time comes from which segment of
 * which tier; the stretches do not overlap and rise, so a series' samples only need to be put one
 * behind the other. Each file is opened once for all series. */
#include "series/series_int.h"

#include "os/sock.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define SAMPLES_MAX UINT64_C(10000000)
#define WALK_SERIES 256 /* read at once */

struct piece {
    unsigned tier;
    const struct vv_segment *seg; /* NULL: the open chunks */
    int64_t lo_ms, hi_ms;
};
struct pieces {
    struct piece *at;
    size_t n, cap;
};
struct samples { /* of one series while they are gathered */
    struct vv_promql_sample *at;
    size_t n, cap;
};
struct gather {
    struct vv_samples *s;
    const uint32_t *ids; /* rising */
    size_t ids_n;
    struct samples *out; /* one each */
    uint64_t left;       /* samples that may still come */
    struct vv_bytes scratch;
};

static int64_t min_ms(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t max_ms(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* What segments that were written later leave of an older one. */
static void hide(const struct vv_tier *r, size_t i, int64_t *lo, int64_t *hi)
{
    for (size_t k = i + 1; k <= r->seg_n; k++) {
        const int64_t from = k < r->seg_n ? r->seg[k].min_ms : r->min_ms;
        const int64_t to = k < r->seg_n ? r->seg[k].max_ms : r->max_ms;
        if (from > *hi || to < *lo) {
            continue;
        }
        if (from <= *lo) {
            *lo = to + 1;
        } else {
            *hi = from - 1;
        }
    }
}

static bool piece_add(struct pieces *ps, struct piece p)
{
    if (p.lo_ms > p.hi_ms) {
        return true;
    }
    if (ps->n == ps->cap) {
        const size_t cap = 2 * ps->cap + 64;
        struct piece *at = realloc(ps->at, cap * sizeof *at);
        if (at == NULL) {
            return false;
        }
        ps->at = at;
        ps->cap = cap;
    }
    ps->at[ps->n++] = p;
    return true;
}

static bool add_tier(const struct vv_samples *s, unsigned tier, int64_t from_ms, int64_t to_ms,
                     struct pieces *ps)
{
    const struct vv_tier *r = &s->tier[tier];
    if (from_ms > to_ms) {
        return true;
    }
    for (size_t i = 0; i < r->seg_n; i++) {
        int64_t lo = r->seg[i].min_ms, hi = r->seg[i].max_ms;
        hide(r, i, &lo, &hi);
        if (!piece_add(ps,
                       (struct piece){tier, &r->seg[i], max_ms(lo, from_ms), min_ms(hi, to_ms)})) {
            return false;
        }
    }
    return r->start_ms == VV_SERIES_NEVER ||
           piece_add(ps, (struct piece){tier, NULL, max_ms(r->min_ms, from_ms),
                                        min_ms(r->max_ms, to_ms)});
}

/* The first time that this tier can be asked for; INT64_MAX: it is empty. */
static int64_t reaches_back(const struct vv_samples *s, unsigned tier)
{
    const struct vv_tier *r = &s->tier[tier];
    int64_t first = r->min_ms;
    for (size_t i = 0; i < r->seg_n; i++) {
        first = min_ms(first, r->seg[i].min_ms);
    }
    /* A clock that was once far in the past left a segment that says nothing about the time since. */
    return first == INT64_MAX ? first : max_ms(first, s->last_ms - r->keep_ms - 2 * r->span_ms);
}

static int piece_order(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    return x->lo_ms < y->lo_ms ? -1 : x->lo_ms > y->lo_ms;
}

/* From `floor` up for as far as each tier reaches, and what is not yet in it from the finest. */
static bool choose(const struct vv_samples *s, unsigned floor, int64_t from_ms, int64_t to_ms,
                   struct pieces *ps)
{
    while (floor > 0 && (s->tier[floor].start_ms == VV_SERIES_NEVER ||
                         s->tier[floor].flushed_ms == VV_SERIES_NEVER)) {
        floor--;
    }
    int64_t until = to_ms;
    if (floor > 0 && s->tier[floor].flushed_ms <= to_ms) {
        const int64_t flushed = s->tier[floor].flushed_ms;
        if (!add_tier(s, 0, max_ms(from_ms, flushed), to_ms, ps)) {
            return false;
        }
        until = flushed - 1;
    }
    for (unsigned k = floor; k < VV_SAMPLES_TIERS && until >= from_ms; k++) {
        const int64_t first = reaches_back(s, k);
        if (!add_tier(s, k, max_ms(first, from_ms), until, ps)) {
            return false;
        }
        until = min_ms(until, first == INT64_MAX ? first : first - 1);
    }
    if (ps->n > 1) {
        qsort(ps->at, ps->n, sizeof *ps->at, piece_order);
    }
    return true;
}

static enum vv_err sample_add(struct gather *g, struct samples *out, int64_t t_ms, double v)
{
    if (out->n == out->cap) {
        const size_t cap = 2 * out->cap + 64;
        struct vv_promql_sample *at = realloc(out->at, cap * sizeof *at);
        if (at == NULL) {
            return VV_ENOMEM;
        }
        out->at = at;
        out->cap = cap;
    }
    if (g->left == 0) {
        return VV_ELIMIT;
    }
    if (out->n == 0 || out->at[out->n - 1].t_ms < t_ms) {
        out->at[out->n++] = (struct vv_promql_sample){t_ms, v};
        g->left--;
    }
    return VV_OK;
}

static enum vv_err decode(struct gather *g, const struct piece *p, struct samples *out,
                          const uint8_t *buf, size_t bytes, uint32_t n)
{
    struct vv_chunk_reader r;
    int64_t t = 0;
    double v = 0;
    enum vv_err err = VV_OK, got;
    vv_chunk_read(&r, buf, bytes, n);
    while ((got = vv_chunk_next(&r, &t, &v)) == VV_OK && t <= p->hi_ms && err == VV_OK) {
        if (t >= p->lo_ms) {
            err = sample_add(g, out, t, v);
        }
    }
    g->s->stats.damaged += got != VV_OK && got != VV_ENOENT;
    return err;
}

static bool read_at(int fd, uint64_t at, void *p, size_t n)
{
    for (size_t done = 0; done < n;) {
        const ssize_t got = pread(fd, (char *)p + done, n - done, (off_t)(at + done));
        if (got == 0 || (got < 0 && errno != EINTR)) {
            return false;
        }
        done += got > 0 ? (size_t)got : 0;
    }
    return true;
}

static enum vv_err read_chunk(struct gather *g, const struct piece *p, int fd,
                              const struct vv_segment_slot *slot, size_t i)
{
    struct vv_segment_chunk c;
    if (slot->bytes == 0) {
        return VV_OK;
    }
    g->scratch.n = 0;
    if (!vv_bytes_room(&g->scratch, slot->bytes)) {
        return VV_ENOMEM;
    }
    if (slot->at > p->seg->bytes || slot->bytes > p->seg->bytes - slot->at ||
        !read_at(fd, slot->at, g->scratch.p, slot->bytes) ||
        vv_segment_chunk(g->scratch.p, slot->bytes, &c) != VV_OK || c.id != g->ids[i]) {
        g->s->stats.damaged++;
        return VV_OK;
    }
    return decode(g, p, &g->out[i], c.p, (size_t)(g->scratch.p + slot->bytes - c.p), c.n);
}

static enum vv_err read_segment(struct gather *g, const struct piece *p)
{
    char name[64];
    const uint32_t first = g->ids[0];
    uint32_t count = g->ids[g->ids_n - 1] - first + 1;
    enum vv_err err = VV_OK;
    if (first >= p->seg->ids) {
        return VV_OK;
    }
    count = count > p->seg->ids - first ? p->seg->ids - first : count;
    vv_series_file_name(name, p->tier, p->seg->seq, "seg");
    VV_AUTO(vv_close_fd) int fd = openat(g->s->dir_fd, name, O_RDONLY | O_CLOEXEC);
    struct vv_segment_slot *slots = malloc(count * sizeof *slots);
    if (slots == NULL) {
        return VV_ENOMEM;
    }
    if (p->seg->index != NULL) {
        memcpy(slots, p->seg->index + first, count * sizeof *slots);
    } else if (fd < 0 || !read_at(fd, p->seg->index_at + first * sizeof *slots, slots,
                                  count * sizeof *slots)) {
        g->s->stats.damaged++;
        free(slots);
        return VV_OK;
    }
    for (size_t i = 0; i < g->ids_n && g->ids[i] - first < count && err == VV_OK; i++) {
        err = read_chunk(g, p, fd, &slots[g->ids[i] - first], i);
    }
    free(slots);
    return err;
}

static enum vv_err read_piece(struct gather *g, const struct piece *p)
{
    enum vv_err err = VV_OK;
    if (p->seg != NULL) {
        return read_segment(g, p);
    }
    for (size_t i = 0; i < g->ids_n && err == VV_OK; i++) {
        const struct vv_chunk *c = &g->s->index.at[g->ids[i]]->head[p->tier].chunk;
        if (c->n > 0) {
            err = decode(g, p, &g->out[i], c->buf, vv_chunk_bytes(c), c->n);
        }
    }
    return err;
}

/* Samples of g->ids into g->out, which gather_fini() frees. */
static enum vv_err gather(struct gather *g, unsigned floor, int64_t from_ms, int64_t to_ms)
{
    struct pieces ps = {0};
    enum vv_err err = VV_OK;
    g->out = calloc(g->ids_n + 1, sizeof *g->out);
    if (g->out == NULL || !choose(g->s, floor, from_ms, to_ms, &ps)) {
        err = VV_ENOMEM;
    }
    for (size_t i = 0; i < ps.n && g->ids_n > 0 && err == VV_OK; i++) {
        err = read_piece(g, &ps.at[i]);
    }
    free(ps.at);
    return err;
}

static void gather_fini(struct gather *g)
{
    for (size_t i = 0; g->out != NULL && i < g->ids_n; i++) {
        free(g->out[i].at);
    }
    free(g->out);
    vv_bytes_fini(&g->scratch);
}

static enum vv_err copy_out(const struct gather *g, struct vv_arena *arena,
                            const struct vv_promql_series **ret, size_t *ret_n)
{
    struct vv_promql_series *found = vv_arena_alloc(arena, (g->ids_n + 1) * sizeof *found);
    size_t n = 0;
    if (found == NULL) {
        return VV_ENOMEM;
    }
    for (size_t i = 0; i < g->ids_n; i++) {
        const struct samples *from = &g->out[i];
        if (from->n == 0) {
            continue;
        }
        struct vv_promql_sample *at = vv_arena_alloc(arena, from->n * sizeof *at);
        if (at == NULL || vv_series_labels_copy(g->s->index.at[g->ids[i]]->labels, arena,
                                                &found[n].labels) != VV_OK) {
            return VV_ENOMEM;
        }
        memcpy(at, from->at, from->n * sizeof *at);
        found[n].samples = at;
        found[n++].n = from->n;
    }
    *ret = found;
    *ret_n = n;
    return VV_OK;
}

/* The coarsest tier that the query cannot tell from the finest: one sample or more for each of its
 * steps, four or more for each of its windows. */
static unsigned coarsest(const struct vv_samples_view *view, int64_t from_ms, int64_t to_ms)
{
    const int64_t window = (to_ms - from_ms) - (view->end_ms - view->start_ms);
    const int64_t need = min_ms(view->step_ms, window / 4);
    unsigned tier = 0;
    while (tier + 1 < VV_SAMPLES_TIERS && view->samples->tier[tier + 1].step_ms <= need) {
        tier++;
    }
    return tier;
}

static enum vv_err select_series(void *ctx, const struct vv_promql_matcher *m, size_t n,
                                 int64_t from_ms, int64_t to_ms, struct vv_arena *arena,
                                 const struct vv_promql_series **ret, size_t *ret_n)
{
    const struct vv_samples_view *view = ctx;
    struct gather g = {.s = view->samples, .left = view->samples_max};
    uint32_t *ids = NULL;
    pthread_mutex_lock(&g.s->lock);
    enum vv_err err = vv_series_index_select(&g.s->index, m, n, &ids, &g.ids_n);
    if (err == VV_OK) {
        g.ids = ids;
        err = gather(&g, coarsest(view, from_ms, to_ms), from_ms, to_ms);
    }
    if (err == VV_OK) {
        err = copy_out(&g, arena, ret, ret_n);
    }
    pthread_mutex_unlock(&view->samples->lock);
    gather_fini(&g);
    free(ids);
    return err;
}

struct vv_promql_source vv_samples_source(struct vv_samples_view *view, struct vv_samples *s,
                                          const struct vv_promql_query *query, uint64_t samples_max)
{
    *view = (struct vv_samples_view){s, query->start_ms,
                                     query->step_ms > 0 ? query->end_ms : query->start_ms,
                                     query->step_ms, samples_max > 0 ? samples_max : SAMPLES_MAX};
    return (struct vv_promql_source){.ctx = view, .select = select_series};
}

static enum vv_err tell(const struct gather *g, vv_samples_walk_fn *fn, void *user)
{
    enum vv_err err = VV_OK;
    for (size_t i = 0; i < g->ids_n && err == VV_OK; i++) {
        const struct vv_one *one = g->s->index.at[g->ids[i]];
        const struct vv_promql_series series = {one->labels, g->out[i].at, g->out[i].n};
        if (series.n > 0) {
            err = fn(user, &series, one->kind);
        }
    }
    return err;
}

static enum vv_err walk(struct vv_samples *s, int64_t after_ms, int64_t until_ms,
                        vv_samples_walk_fn *fn, void *user)
{
    enum vv_err err = VV_OK;
    for (uint32_t id = 0; id < s->index.n && err == VV_OK;) {
        uint32_t ids[WALK_SERIES];
        struct gather g = {.s = s, .ids = ids, .left = UINT64_MAX};
        for (; id < s->index.n && g.ids_n < WALK_SERIES; id++) {
            if (s->index.at[id] != NULL) {
                ids[g.ids_n++] = id;
            }
        }
        err = gather(&g, 0, after_ms + 1, until_ms);
        err = err == VV_OK ? tell(&g, fn, user) : err;
        gather_fini(&g);
    }
    return err;
}

enum vv_err vv_samples_walk(struct vv_samples *s, int64_t after_ms, int64_t until_ms,
                            vv_samples_walk_fn *fn, void *user)
{
    pthread_mutex_lock(&s->lock);
    const enum vv_err err = after_ms < until_ms ? walk(s, after_ms, until_ms, fn, user) : VV_OK;
    pthread_mutex_unlock(&s->lock);
    return err;
}

enum vv_err vv_samples_each(struct vv_samples *s, vv_samples_walk_fn *fn, void *user)
{
    enum vv_err err = VV_OK;
    pthread_mutex_lock(&s->lock);
    for (uint32_t i = 0; i < s->index.n && err == VV_OK; i++) {
        const struct vv_one *one = s->index.at[i];
        if (one != NULL) {
            const struct vv_promql_sample last = {one->last_ms, one->last_v};
            const bool has = one->last_ms != VV_SERIES_NEVER;
            const struct vv_promql_series series = {one->labels, has ? &last : NULL, has};
            err = fn(user, &series, one->kind);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return err;
}
