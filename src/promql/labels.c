/* src/promql/labels.c - label sets never change: every operation makes a new array of slices, the
 * bytes stay where the source has them. */
#include "promql/promql_int.h"

int vv_pq_str_compare(struct vv_str a, struct vv_str b)
{
    const size_t n = a.n < b.n ? a.n : b.n;
    const int c = n > 0 ? memcmp(a.p, b.p, n) : 0;
    return c != 0 ? c : a.n < b.n ? -1 : a.n > b.n ? 1 : 0;
}

bool vv_pq_labels_equal(struct vv_promql_labels a, struct vv_promql_labels b)
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

uint64_t vv_pq_labels_hash(struct vv_promql_labels l)
{
    uint64_t h = l.n;
    for (size_t i = 0; i < l.n; i++) {
        h = vv_str_hash(l.at[i].value, vv_str_hash(l.at[i].name, h));
    }
    return h;
}

struct vv_str vv_pq_label(struct vv_promql_labels l, struct vv_str name)
{
    for (size_t i = 0; i < l.n; i++) {
        if (vv_str_eq(l.at[i].name, name)) {
            return l.at[i].value;
        }
    }
    return (struct vv_str){"", 0};
}

bool vv_pq_in_names(struct vv_pq_names names, struct vv_str name)
{
    for (size_t i = 0; i < names.n; i++) {
        if (vv_str_eq(names.at[i], name)) {
            return true;
        }
    }
    return false;
}

bool vv_pq_label_name_valid(struct vv_str name)
{
    for (size_t i = 0; i < name.n; i++) {
        const char l = vv_char_lower(name.p[i]);
        if (!((l >= 'a' && l <= 'z') || l == '_' || (i > 0 && l >= '0' && l <= '9'))) {
            return false;
        }
    }
    return name.n > 0;
}

static struct vv_promql_labels filter(struct vv_pq_run *r, struct vv_promql_labels l,
                                      struct vv_pq_names names, bool keep, bool name_too)
{
    struct vv_promql_label *at = vv_pq_alloc(r, l.n + 1, sizeof *at);
    size_t n = 0;
    for (size_t i = 0; at != NULL && i < l.n; i++) {
        const bool named = vv_pq_in_names(names, l.at[i].name) ||
                           (name_too && vv_str_eq(l.at[i].name, VV_PQ_NAME));
        if (named == keep) {
            at[n++] = l.at[i];
        }
    }
    return (struct vv_promql_labels){at, n};
}

struct vv_promql_labels vv_pq_drop_name(struct vv_pq_run *r, struct vv_promql_labels l)
{
    if (l.n > 0 && vv_str_eq(l.at[0].name, VV_PQ_NAME)) {
        return (struct vv_promql_labels){l.at + 1, l.n - 1};
    }
    return filter(r, l, (struct vv_pq_names){NULL, 0}, false, true);
}

struct vv_promql_labels vv_pq_labels_only(struct vv_pq_run *r, struct vv_promql_labels l,
                                          struct vv_pq_names names)
{
    if (names.n == 0) {
        return (struct vv_promql_labels){NULL, 0};
    }
    return filter(r, l, names, true, false);
}

struct vv_promql_labels vv_pq_labels_without(struct vv_pq_run *r, struct vv_promql_labels l,
                                             struct vv_pq_names names, bool name_too)
{
    return filter(r, l, names, false, name_too);
}

struct vv_promql_labels vv_pq_labels_set(struct vv_pq_run *r, struct vv_promql_labels l,
                                         struct vv_str name, struct vv_str value)
{
    struct vv_promql_label *at = vv_pq_alloc(r, l.n + 1, sizeof *at);
    size_t n = 0;
    bool done = value.n == 0;
    for (size_t i = 0; at != NULL && i < l.n; i++) {
        const int order = vv_pq_str_compare(name, l.at[i].name);
        if (order <= 0 && !done) {
            at[n++] = (struct vv_promql_label){name, value};
            done = true;
        }
        if (order != 0) {
            at[n++] = l.at[i];
        }
    }
    if (at != NULL && !done) {
        at[n++] = (struct vv_promql_label){name, value};
    }
    return (struct vv_promql_labels){at, n};
}

/* The slot of the key, or the free one where it belongs. */
static size_t probe(const struct vv_pq_table *t, struct vv_promql_labels key, uint64_t hash)
{
    size_t s = (size_t)hash & (t->slots_n - 1);
    while (t->slots[s] != 0) {
        const size_t i = t->slots[s] - 1;
        if (t->hashes[i] == hash && vv_pq_labels_equal(t->keys[i], key)) {
            break;
        }
        s = (s + 1) & (t->slots_n - 1);
    }
    return s;
}

static bool table_grow(struct vv_pq_table *t)
{
    const size_t cap = t->cap > 0 ? 2 * t->cap : 16;
    struct vv_pq_table big = {.arena = t->arena, .cap = cap, .slots_n = 2 * cap, .n = t->n};
    big.keys = vv_arena_alloc(t->arena, cap * sizeof *big.keys);
    big.hashes = vv_arena_alloc(t->arena, cap * sizeof *big.hashes);
    big.slots = vv_arena_zalloc(t->arena, big.slots_n * sizeof *big.slots);
    if (big.keys == NULL || big.hashes == NULL || big.slots == NULL || cap > UINT32_MAX / 2) {
        return false;
    }
    for (size_t i = 0; i < t->n; i++) {
        big.keys[i] = t->keys[i];
        big.hashes[i] = t->hashes[i];
        size_t s = (size_t)big.hashes[i] & (big.slots_n - 1);
        while (big.slots[s] != 0) {
            s = (s + 1) & (big.slots_n - 1);
        }
        big.slots[s] = (uint32_t)i + 1;
    }
    *t = big;
    return true;
}

size_t vv_pq_table_find(const struct vv_pq_table *t, struct vv_promql_labels key)
{
    if (t->n == 0) {
        return SIZE_MAX;
    }
    const uint32_t got = t->slots[probe(t, key, vv_pq_labels_hash(key))];
    return got == 0 ? SIZE_MAX : got - 1;
}

size_t vv_pq_table_add(struct vv_pq_table *t, struct vv_promql_labels key, bool *ret_new)
{
    if (t->n == t->cap && !table_grow(t)) {
        return SIZE_MAX;
    }
    const uint64_t hash = vv_pq_labels_hash(key);
    const size_t s = probe(t, key, hash);
    *ret_new = t->slots[s] == 0;
    if (*ret_new) {
        t->keys[t->n] = key;
        t->hashes[t->n] = hash;
        t->slots[s] = (uint32_t)++t->n;
    }
    return t->slots[s] - 1;
}

bool vv_promql_matches(const struct vv_promql_matcher *m, size_t n, struct vv_promql_labels labels)
{
    for (size_t i = 0; i < n; i++) {
        const struct vv_str value = vv_pq_label(labels, m[i].name);
        const bool is = m[i].how == MATCH_EQ || m[i].how == MATCH_NE
                            ? vv_str_eq(value, m[i].value)
                            : vv_regex_match(m[i].re, value, NULL);
        if (is != (m[i].how == MATCH_EQ || m[i].how == MATCH_RE)) {
            return false;
        }
    }
    return true;
}

bool vv_promql_matcher_equals(const struct vv_promql_matcher *m, size_t i, struct vv_str *ret_name,
                              struct vv_str *ret_value)
{
    *ret_name = m[i].name;
    *ret_value = m[i].value;
    return m[i].how == MATCH_EQ && m[i].value.n > 0;
}
