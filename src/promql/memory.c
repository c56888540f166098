/* src/promql/memory.c - arrays that double; the old half stays in the arena, which costs at most as
 * much again and saves every free(). */
#include "promql/memory.h"

#include "promql/promql_int.h"

void vv_promql_memory_init(struct vv_promql_memory *m, struct vv_arena *arena)
{
    *m = (struct vv_promql_memory){.arena = arena};
}

static bool in_order(struct vv_promql_labels l)
{
    for (size_t i = 0; i < l.n; i++) {
        if (l.at[i].name.n == 0 || l.at[i].value.n == 0) {
            return false;
        }
        if (i > 0 && vv_pq_str_compare(l.at[i - 1].name, l.at[i].name) >= 0) {
            return false;
        }
    }
    return true;
}

static bool grow(struct vv_promql_memory *m)
{
    const size_t cap = m->cap > 0 ? 2 * m->cap : 16;
    struct vv_promql_series *series = vv_arena_alloc(m->arena, cap * sizeof *series);
    size_t *room = vv_arena_alloc(m->arena, cap * sizeof *room);
    if (series == NULL || room == NULL) {
        return false;
    }
    if (m->n > 0) {
        memcpy(series, m->series, m->n * sizeof *series);
        memcpy(room, m->room, m->n * sizeof *room);
    }
    m->series = series;
    m->room = room;
    m->cap = cap;
    return true;
}

enum vv_err vv_promql_memory_series(struct vv_promql_memory *m, struct vv_promql_labels labels,
                                    size_t *ret)
{
    if (!in_order(labels)) {
        return VV_EINVAL;
    }
    for (size_t i = 0; i < m->n; i++) {
        if (vv_pq_labels_equal(m->series[i].labels, labels)) {
            *ret = i;
            return VV_OK;
        }
    }
    if (m->n == m->cap && !grow(m)) {
        return VV_ENOMEM;
    }
    struct vv_promql_label *copy = vv_arena_alloc(m->arena, (labels.n + 1) * sizeof *copy);
    if (copy == NULL) {
        return VV_ENOMEM;
    }
    for (size_t i = 0; i < labels.n; i++) {
        copy[i].name = vv_arena_str(m->arena, labels.at[i].name);
        copy[i].value = vv_arena_str(m->arena, labels.at[i].value);
        if (copy[i].name.p == NULL || copy[i].value.p == NULL) {
            return VV_ENOMEM;
        }
    }
    m->series[m->n] = (struct vv_promql_series){.labels = {copy, labels.n}};
    m->room[m->n] = 0;
    *ret = m->n++;
    return VV_OK;
}

enum vv_err vv_promql_memory_add(struct vv_promql_memory *m, size_t series, int64_t t_ms, double v)
{
    VV_ASSERT(series < m->n);
    struct vv_promql_series *s = &m->series[series];
    if (s->n > 0 && s->samples[s->n - 1].t_ms >= t_ms) {
        return VV_EINVAL;
    }
    struct vv_promql_sample *at = (struct vv_promql_sample *)(uintptr_t)s->samples;
    if (s->n == m->room[series]) {
        const size_t room = s->n > 0 ? 2 * s->n : 16;
        at = vv_arena_alloc(m->arena, room * sizeof *at);
        if (at == NULL) {
            return VV_ENOMEM;
        }
        if (s->n > 0) {
            memcpy(at, s->samples, s->n * sizeof *at);
        }
        s->samples = at;
        m->room[series] = room;
    }
    at[s->n++] = (struct vv_promql_sample){t_ms, v};
    return VV_OK;
}

static enum vv_err select_series(void *ctx, const struct vv_promql_matcher *match, size_t n,
                                 int64_t from_ms, int64_t to_ms, struct vv_arena *arena,
                                 const struct vv_promql_series **ret, size_t *ret_n)
{
    const struct vv_promql_memory *m = ctx;
    struct vv_promql_series *found = vv_arena_alloc(arena, (m->n + 1) * sizeof *found);
    if (found == NULL) {
        return VV_ENOMEM;
    }
    size_t count = 0;
    for (size_t i = 0; i < m->n; i++) {
        const struct vv_promql_series *s = &m->series[i];
        if (s->n > 0 && s->samples[0].t_ms <= to_ms && s->samples[s->n - 1].t_ms >= from_ms &&
            vv_promql_matches(match, n, s->labels)) {
            found[count++] = *s;
        }
    }
    *ret = found;
    *ret_n = count;
    return VV_OK;
}

struct vv_promql_source vv_promql_memory_source(struct vv_promql_memory *m)
{
    return (struct vv_promql_source){.ctx = m, .select = select_series};
}
