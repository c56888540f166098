/* src/series/index.c - series by number, by all their labels, and by each label. A list per label is
 * keyed by a hash of it alone: what a collision or a series that went away leaves in it is sorted out
 * by asking every candidate's labels, which must be done for the other matchers anyway. */
#include "series/series_int.h"

#include <math.h>
#include <stdlib.h>

struct vv_posting {
    uint64_t hash;
    uint32_t *ids;
    uint32_t n, cap; /* cap 0: free */
};

static uint64_t label_hash(struct vv_str name, struct vv_str value)
{
    return vv_str_hash(value, vv_str_hash(name, 1));
}

static uint64_t labels_hash(struct vv_promql_labels l)
{
    uint64_t h = l.n;
    for (size_t i = 0; i < l.n; i++) {
        h = vv_str_hash(l.at[i].value, vv_str_hash(l.at[i].name, h));
    }
    return h;
}

static int compare(struct vv_str a, struct vv_str b)
{
    const int c = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
    return c != 0 ? c : a.n < b.n ? -1 : a.n > b.n;
}

static size_t labels_bytes(struct vv_promql_labels l)
{
    size_t n = 0;
    for (size_t i = 0; i < l.n; i++) {
        n += l.at[i].name.n + l.at[i].value.n;
    }
    return n;
}

bool vv_series_labels_valid(struct vv_promql_labels l)
{
    for (size_t i = 0; i < l.n; i++) {
        if (l.at[i].name.n == 0 || l.at[i].value.n == 0 ||
            l.at[i].name.n + l.at[i].value.n > VV_SAMPLES_LABEL_BYTES_MAX ||
            (i > 0 && compare(l.at[i - 1].name, l.at[i].name) >= 0)) {
            return false;
        }
    }
    return l.n > 0 && l.n <= VV_SAMPLES_LABELS_MAX && labels_bytes(l) <= VV_SAMPLES_LABEL_BYTES_MAX;
}

static bool labels_equal(struct vv_promql_labels a, struct vv_promql_labels b)
{
    if (a.n != b.n) {
        return false;
    }
    for (size_t i = 0; i < a.n; i++) {
        if (!vv_str_eq(a.at[i].name, b.at[i].name) || !vv_str_eq(a.at[i].value, b.at[i].value)) {
            return false;
        }
    }
    return true;
}

/* `at` and `text` have the room. */
static void labels_copy(struct vv_promql_labels from, struct vv_promql_label *at, char *text)
{
    for (size_t i = 0; i < from.n; i++) {
        const struct vv_str name = from.at[i].name, value = from.at[i].value;
        memcpy(text, name.p, name.n);
        at[i].name = (struct vv_str){text, name.n};
        text += name.n;
        memcpy(text, value.p, value.n);
        at[i].value = (struct vv_str){text, value.n};
        text += value.n;
    }
}

enum vv_err vv_series_labels_copy(struct vv_promql_labels from, struct vv_arena *a,
                                  struct vv_promql_labels *ret)
{
    struct vv_promql_label *at = vv_arena_alloc(a, from.n * sizeof *at + labels_bytes(from) + 1);
    if (at == NULL) {
        return VV_ENOMEM;
    }
    labels_copy(from, at, (char *)(at + from.n));
    *ret = (struct vv_promql_labels){at, from.n};
    return VV_OK;
}

static void one_free(struct vv_series_index *x, struct vv_one *one)
{
    if (one != NULL) {
        for (size_t i = 0; i < VV_SAMPLES_TIERS; i++) {
            x->bytes -= one->head[i].buf != NULL ? one->head[i].chunk.bytes : 0;
            free(one->head[i].buf);
        }
        x->bytes -= one->bytes;
        free(one);
    }
}

static void postings_free(struct vv_series_index *x)
{
    for (size_t i = 0; i < x->postings_n; i++) {
        x->bytes -= x->postings[i].cap * sizeof(uint32_t);
        free(x->postings[i].ids);
    }
    x->bytes -= x->postings_n * sizeof *x->postings;
    free(x->postings);
    x->postings = NULL;
    x->postings_n = x->postings_used = 0;
}

void vv_series_index_fini(struct vv_series_index *x)
{
    for (uint32_t i = 0; i < x->n; i++) {
        one_free(x, x->at[i]);
    }
    postings_free(x);
    free(x->at);
    free(x->slots);
    *x = (struct vv_series_index){0};
}

static struct vv_posting *posting(struct vv_posting *at, size_t n, uint64_t hash)
{
    size_t i = (size_t)hash & (n - 1);
    while (at[i].cap > 0 && at[i].hash != hash) {
        i = (i + 1) & (n - 1);
    }
    return &at[i];
}

static bool postings_grow(struct vv_series_index *x)
{
    const size_t n = x->postings_n > 0 ? 2 * x->postings_n : 256;
    struct vv_posting *at = calloc(n, sizeof *at);
    if (at == NULL) {
        return false;
    }
    for (size_t i = 0; i < x->postings_n; i++) {
        if (x->postings[i].cap > 0) {
            *posting(at, n, x->postings[i].hash) = x->postings[i];
        }
    }
    x->bytes += (n - x->postings_n) * sizeof *at;
    free(x->postings);
    x->postings = at;
    x->postings_n = n;
    return true;
}

static bool posting_add(struct vv_series_index *x, uint64_t hash, uint32_t id)
{
    if (2 * x->postings_used >= x->postings_n && !postings_grow(x)) {
        return false;
    }
    struct vv_posting *p = posting(x->postings, x->postings_n, hash);
    if (p->n == p->cap) {
        const uint32_t cap = p->cap > 0 ? 2 * p->cap : 4;
        uint32_t *ids = realloc(p->ids, cap * sizeof *ids);
        if (ids == NULL) {
            return false;
        }
        x->postings_used += p->cap == 0;
        x->bytes += (cap - p->cap) * sizeof *ids;
        p->ids = ids;
        p->cap = cap;
        p->hash = hash;
    }
    p->ids[p->n++] = id;
    return true;
}

static void slot_put(struct vv_series_index *x, const struct vv_one *one)
{
    size_t i = (size_t)one->hash & (x->slots_n - 1);
    while (x->slots[i] != 0) {
        i = (i + 1) & (x->slots_n - 1);
    }
    x->slots[i] = one->id + 1;
}

static bool slots_rebuild(struct vv_series_index *x)
{
    size_t n = 256;
    while (n < 4 * ((size_t)x->n + 1)) {
        n *= 2;
    }
    uint32_t *slots = calloc(n, sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    x->bytes += n * sizeof *slots - x->slots_n * sizeof *slots;
    free(x->slots);
    x->slots = slots;
    x->slots_n = n;
    for (uint32_t i = 0; i < x->n; i++) {
        if (x->at[i] != NULL) {
            slot_put(x, x->at[i]);
        }
    }
    return true;
}

struct vv_one *vv_series_index_find(const struct vv_series_index *x, struct vv_promql_labels l)
{
    if (x->slots_n == 0) {
        return NULL;
    }
    const uint64_t hash = labels_hash(l);
    for (size_t i = (size_t)hash & (x->slots_n - 1); x->slots[i] != 0;
         i = (i + 1) & (x->slots_n - 1)) {
        struct vv_one *one = x->at[x->slots[i] - 1];
        if (one != NULL && one->hash == hash && labels_equal(one->labels, l)) {
            return one;
        }
    }
    return NULL;
}

static bool reach(struct vv_series_index *x, uint32_t id)
{
    if (id >= x->cap) {
        const uint32_t cap = 2 * id + 64;
        struct vv_one **at = realloc(x->at, cap * sizeof(void *));
        if (at == NULL) {
            return false;
        }
        memset(at + x->cap, 0, (cap - x->cap) * sizeof(void *));
        x->bytes += (cap - x->cap) * sizeof(void *);
        x->at = at;
        x->cap = cap;
    }
    return true;
}

static uint32_t free_number(struct vv_series_index *x)
{
    while (x->lowest < x->n && x->at[x->lowest] != NULL) {
        x->lowest++;
    }
    return x->lowest;
}

static bool enter(struct vv_series_index *x, const struct vv_one *one)
{
    for (size_t i = 0; i < one->labels.n; i++) {
        if (!posting_add(x, label_hash(one->labels.at[i].name, one->labels.at[i].value), one->id)) {
            return false;
        }
    }
    return true;
}

enum vv_err vv_series_index_add(struct vv_series_index *x, uint32_t id, struct vv_promql_labels l,
                                enum vv_samples_kind kind, struct vv_one **ret)
{
    const size_t bytes = sizeof(struct vv_one) + l.n * sizeof(*l.at) + labels_bytes(l);
    if (id == UINT32_MAX) {
        id = free_number(x);
    }
    if (id >= VV_SAMPLES_SERIES_MAX) {
        return VV_ELIMIT;
    }
    struct vv_one *one = calloc(1, bytes);
    if (one == NULL || !reach(x, id)) {
        free(one);
        return VV_ENOMEM;
    }
    struct vv_promql_label *at = (struct vv_promql_label *)(void *)(one + 1);
    labels_copy(l, at, (char *)(at + l.n));
    one->labels = (struct vv_promql_labels){at, l.n};
    one->kind = kind;
    one->id = id;
    one->generation = ++x->generation;
    one->hash = labels_hash(l);
    one->last_ms = one->newest_ms = one->number_ms = VV_SERIES_NEVER;
    one->number = (double)NAN;
    one->bytes = bytes;
    if (!enter(x, one)) { /* what is in some lists already is taken for a collision */
        free(one);
        return VV_ENOMEM;
    }
    const uint32_t n = x->n;
    struct vv_one *old = x->at[id];
    x->at[id] = one;
    x->n = id >= n ? id + 1 : n;
    if (old != NULL || x->slots_n < 2 * ((size_t)x->n + 1)) {
        if (!slots_rebuild(x)) {
            x->at[id] = old;
            x->n = n;
            free(one);
            return VV_ENOMEM;
        }
    } else {
        slot_put(x, one);
    }
    x->live += old == NULL;
    x->bytes += bytes;
    one_free(x, old);
    *ret = one;
    return VV_OK;
}

void vv_series_index_seen(struct vv_series_index *x, uint32_t id)
{
    if ((id >= x->n || x->at[id] == NULL) && id >= x->burnt) {
        x->burnt = id + 1;
        x->lowest = x->lowest < x->burnt ? x->burnt : x->lowest;
    }
}

enum vv_err vv_series_index_drop(struct vv_series_index *x, int64_t before_ms)
{
    const uint32_t live = x->live;
    for (uint32_t i = 0; i < x->n; i++) {
        if (x->at[i] != NULL && x->at[i]->newest_ms < before_ms) {
            one_free(x, x->at[i]);
            x->at[i] = NULL;
            x->live--;
        }
    }
    if (x->live == live) {
        return VV_OK;
    }
    x->lowest = x->burnt;
    postings_free(x);
    for (uint32_t i = 0; i < x->n; i++) {
        if (x->at[i] != NULL && !enter(x, x->at[i])) {
            return VV_ENOMEM;
        }
    }
    return slots_rebuild(x) ? VV_OK : VV_ENOMEM;
}

static int number_order(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* The shortest list of a matcher that is an equality; *ret_n UINT32_MAX: there is none. */
static const uint32_t *candidates(const struct vv_series_index *x,
                                  const struct vv_promql_matcher *m, size_t n, uint32_t *ret_n)
{
    const uint32_t *ids = NULL;
    *ret_n = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        struct vv_str name, value;
        if (!vv_promql_matcher_equals(m, i, &name, &value)) {
            continue;
        }
        if (x->postings_n == 0) {
            *ret_n = 0;
            return NULL;
        }
        const struct vv_posting *p = posting(x->postings, x->postings_n, label_hash(name, value));
        if (p->n < *ret_n) {
            *ret_n = p->n;
            ids = p->ids;
        }
    }
    return ids;
}

enum vv_err vv_series_index_select(const struct vv_series_index *x,
                                   const struct vv_promql_matcher *m, size_t n, uint32_t **ret,
                                   size_t *ret_n)
{
    uint32_t found_n = 0;
    const uint32_t *found = candidates(x, m, n, &found_n);
    const bool all = found_n == UINT32_MAX;
    const uint32_t count = all ? x->n : found_n;
    uint32_t *ids = malloc(((size_t)count + 1) * sizeof *ids);
    size_t kept = 0;
    if (ids == NULL) {
        return VV_ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t id = all ? i : found[i];
        if (x->at[id] != NULL && vv_promql_matches(m, n, x->at[id]->labels)) {
            ids[kept++] = id;
        }
    }
    qsort(ids, kept, sizeof *ids, number_order);
    size_t once = 0;
    for (size_t i = 0; i < kept; i++) {
        if (i == 0 || ids[i] != ids[once - 1]) {
            ids[once++] = ids[i];
        }
    }
    *ret = ids;
    *ret_n = once;
    return VV_OK;
}

void vv_series_labels_write(const struct vv_one *one, struct vv_bytes *out)
{
    size_t at = 0;
    vv_record_begin(out, &at);
    if (!vv_bytes_room(out, 64 + one->bytes + 10 * one->labels.n)) {
        return;
    }
    vv_bytes_varint(out, one->id);
    vv_bytes_varint(out, (uint64_t)one->kind);
    vv_bytes_varint(out, one->labels.n);
    for (size_t i = 0; i < one->labels.n; i++) {
        const struct vv_promql_label *l = &one->labels.at[i];
        vv_bytes_varint(out, l->name.n);
        vv_bytes_add(out, l->name.p, l->name.n);
        vv_bytes_varint(out, l->value.n);
        vv_bytes_add(out, l->value.p, l->value.n);
    }
    vv_record_end(out, at);
}

static struct vv_str get_text(struct vv_cursor *c)
{
    const uint64_t n = vv_cursor_varint(c);
    const uint8_t *p = vv_cursor_take(c, n);
    return (struct vv_str){(const char *)p, p != NULL ? n : 0};
}

enum vv_err vv_series_labels_read(struct vv_str record, uint32_t *ret_id,
                                  enum vv_samples_kind *ret_kind,
                                  struct vv_promql_label at[VV_SAMPLES_LABELS_MAX], size_t *ret_n)
{
    struct vv_cursor c = {(const uint8_t *)record.p, (const uint8_t *)record.p + record.n, false};
    const uint64_t id = vv_cursor_varint(&c), kind = vv_cursor_varint(&c);
    const uint64_t n = vv_cursor_varint(&c);
    if (c.bad || id >= VV_SAMPLES_SERIES_MAX || kind > VV_SAMPLES_COUNTER ||
        n > VV_SAMPLES_LABELS_MAX) {
        return VV_ESYNTAX;
    }
    for (size_t i = 0; i < n; i++) {
        at[i].name = get_text(&c);
        at[i].value = get_text(&c);
    }
    if (c.bad || !vv_series_labels_valid((struct vv_promql_labels){at, n})) {
        return VV_ESYNTAX;
    }
    *ret_id = (uint32_t)id;
    *ret_kind = (enum vv_samples_kind)kind;
    *ret_n = n;
    return VV_OK;
}
