/* src/watch/labels.c - insertion into a short sorted array: sets have ten labels, not 1,000. */
#include "watch/labels.h"

#include <stdlib.h>

static int text_compare(struct vv_str a, struct vv_str b)
{
    const size_t n = a.n < b.n ? a.n : b.n;
    const int order = n > 0 ? memcmp(a.p, b.p, n) : 0;
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

enum vv_err vv_labels_from(struct vv_labels *l, struct vv_promql_labels from)
{
    if (from.n > VV_LABELS_MAX) {
        return VV_ELIMIT;
    }
    for (size_t i = 0; i < from.n; i++) {
        l->at[i] = from.at[i];
    }
    l->n = from.n;
    return VV_OK;
}

enum vv_err vv_labels_set(struct vv_labels *l, struct vv_str name, struct vv_str value)
{
    size_t i = 0;
    while (i < l->n && text_compare(l->at[i].name, name) < 0) {
        i++;
    }
    const bool there = i < l->n && vv_str_eq(l->at[i].name, name);
    if (value.n == 0) {
        if (there) {
            memmove(&l->at[i], &l->at[i + 1], (--l->n - i) * sizeof l->at[0]);
        }
        return VV_OK;
    }
    if (!there) {
        if (l->n == VV_LABELS_MAX) {
            return VV_ELIMIT;
        }
        memmove(&l->at[i + 1], &l->at[i], (l->n++ - i) * sizeof l->at[0]);
    }
    l->at[i] = (struct vv_promql_label){name, value};
    return VV_OK;
}

struct vv_str vv_labels_get(struct vv_promql_labels l, struct vv_str name)
{
    for (size_t i = 0; i < l.n; i++) {
        if (vv_str_eq(l.at[i].name, name)) {
            return l.at[i].value;
        }
    }
    return VV_STR("");
}

uint64_t vv_labels_hash(struct vv_promql_labels l)
{
    uint64_t h = l.n;
    for (size_t i = 0; i < l.n; i++) {
        h = vv_str_hash(l.at[i].value, vv_str_hash(l.at[i].name, h));
    }
    return h;
}

int vv_labels_compare(struct vv_promql_labels a, struct vv_promql_labels b)
{
    for (size_t i = 0; i < a.n && i < b.n; i++) {
        int order = text_compare(a.at[i].name, b.at[i].name);
        order = order != 0 ? order : text_compare(a.at[i].value, b.at[i].value);
        if (order != 0) {
            return order;
        }
    }
    return (a.n > b.n) - (a.n < b.n);
}

static struct vv_str put(char **to, struct vv_str s)
{
    const struct vv_str copy = {*to, s.n};
    if (s.n > 0) {
        memcpy(*to, s.p, s.n);
    }
    *to += s.n;
    return copy;
}

struct vv_promql_labels vv_labels_dup(struct vv_promql_labels l)
{
    size_t bytes = 0;
    for (size_t i = 0; i < l.n; i++) {
        bytes += l.at[i].name.n + l.at[i].value.n;
    }
    struct vv_promql_label *block = malloc((l.n + 1) * sizeof *block + bytes);
    if (block == NULL) {
        return (struct vv_promql_labels){NULL, 0};
    }
    char *text = (char *)(block + l.n + 1);
    for (size_t i = 0; i < l.n; i++) {
        block[i].name = put(&text, l.at[i].name);
        block[i].value = put(&text, l.at[i].value);
    }
    return (struct vv_promql_labels){block, l.n};
}

static bool name_valid(struct vv_str s, bool colons)
{
    for (size_t i = 0; i < s.n; i++) {
        const char c = s.p[i], lower = vv_char_lower(c);
        const bool letter = (lower >= 'a' && lower <= 'z') || c == '_' || (colons && c == ':');
        if (!letter && (i == 0 || c < '0' || c > '9')) {
            return false;
        }
    }
    return s.n > 0;
}

bool vv_label_name_valid(struct vv_str name)
{
    return name_valid(name, false);
}

bool vv_metric_name_valid(struct vv_str name)
{
    return name_valid(name, true);
}
