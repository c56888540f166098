/* src/watch/rules_read.c - the tree is read by hand, not through rows: a rule file is Prometheus'
 * own format with keys that exclude each other, and what is wrong in it must be said with the place
 * in that file. All of a file is checked before any of it counts. */
#include "conf/node.h"
#include "watch/rules_int.h"

#include <stdio.h>
#include <stdlib.h>

#define GROUPS_MAX 10000
#define RULES_MAX 100000

struct reader {
    struct vv_rules *set;
    struct vv_conf_tree *tree;
    struct vv_str file;
    int64_t interval_ms;
    size_t rules;
    bool failed, no_memory;
};

static void *zalloc(struct reader *r, size_t bytes)
{
    void *p = vv_arena_zalloc(&r->set->arena, bytes);
    r->no_memory = r->no_memory || p == NULL;
    return p;
}

static struct vv_str copy(struct reader *r, const char *text)
{
    const struct vv_str s = vv_arena_str(&r->set->arena, vv_str_from(text));
    r->no_memory = r->no_memory || s.p == NULL;
    return s.p != NULL ? s : VV_STR("");
}

#define FAIL(r, node, ...)                                                                         \
    do {                                                                                           \
        vv_conf_node_report((r)->tree, node, false, NULL, __VA_ARGS__);                            \
        (r)->failed = true;                                                                        \
    } while (0)

enum vv_err vv_rules_parse_duration(struct vv_str s, int64_t *ret_ms)
{
    if (vv_str_eq(s, VV_STR("0"))) { /* the only one without a unit */
        *ret_ms = 0;
        return VV_OK;
    }
    return vv_promql_duration(s, ret_ms);
}

static bool is_kind(struct reader *r, const struct vv_conf_node *n, enum vv_conf_node_kind kind,
                    const char *what)
{
    static const char *const names[] = {"nothing", "a single value", "a list", "a map"};
    if (vv_conf_node_kind(n) != kind) {
        FAIL(r, n, "%s must be %s, not %s", what, names[kind], vv_conf_node_kind_name(n));
        return false;
    }
    return true;
}

/* Text of a key; "" when it is not there or is nothing. */
static const char *text_of(struct reader *r, const struct vv_conf_node *map, const char *key)
{
    const struct vv_conf_node *n = vv_conf_node_get(map, key);
    if (n == NULL || vv_conf_node_kind(n) == VV_CONF_NODE_NULL ||
        !is_kind(r, n, VV_CONF_NODE_SCALAR, key)) {
        return "";
    }
    return vv_conf_node_text(n);
}

static int64_t duration_of(struct reader *r, const struct vv_conf_node *map, const char *key,
                           int64_t def)
{
    const struct vv_conf_node *n = vv_conf_node_get(map, key);
    const char *text = text_of(r, map, key);
    int64_t ms = def;
    if (text[0] != '\0' && vv_rules_parse_duration(vv_str_from(text), &ms) != VV_OK) {
        FAIL(r, n, "\"%s\" is not a duration like 5m or 1h30m", text);
    }
    return ms;
}

static uint64_t count_of(struct reader *r, const struct vv_conf_node *map, const char *key)
{
    const char *text = text_of(r, map, key);
    uint64_t v = 0;
    if (text[0] != '\0' && vv_str_to_u64(vv_str_from(text), &v) != VV_OK) {
        FAIL(r, vv_conf_node_get(map, key), "%s must be a whole number", key);
    }
    return v;
}

static void check_keys(struct reader *r, const struct vv_conf_node *map, const char *const *known,
                       size_t n, const char *what)
{
    for (size_t i = 0; i < vv_conf_node_count(map); i++) {
        const struct vv_conf_node *key = vv_conf_node_key(map, i);
        const char *text = vv_conf_node_text(key);
        bool found = false;
        for (size_t k = 0; k < n; k++) {
            found = found || strcmp(text, known[k]) == 0;
        }
        if (!found) {
            const char *near = vv_conf_nearest(text, known, n);
            char hint[80] = "";
            if (near != NULL) {
                snprintf(hint, sizeof hint, "did you mean \"%s\"?", near);
            }
            vv_conf_node_report(r->tree, key, false, near != NULL ? hint : NULL,
                                "unknown key \"%s\" in %s", text, what);
            r->failed = true;
        }
    }
}

static int by_name(const void *a, const void *b)
{
    const struct rule_text *x = a, *y = b;
    const size_t n = x->name.n < y->name.n ? x->name.n : y->name.n;
    const int o = memcmp(x->name.p, y->name.p, n);
    return o != 0 ? o : (x->name.n > y->name.n) - (x->name.n < y->name.n);
}

static void read_text(struct reader *r, const struct vv_conf_node *key,
                      const struct vv_conf_node *value, bool is_template, struct rule_text *out)
{
    struct vv_template_error why;
    const char *text =
        vv_conf_node_kind(value) == VV_CONF_NODE_SCALAR ? vv_conf_node_text(value) : "";
    out->name = copy(r, vv_conf_node_text(key));
    out->text = copy(r, text);
    if (!vv_label_name_valid(out->name) || vv_str_eq(out->name, VV_STR("__name__"))) {
        FAIL(r, key, "\"%s\" cannot be the name of a label", vv_conf_node_text(key));
    }
    if (vv_conf_node_kind(value) > VV_CONF_NODE_SCALAR) {
        FAIL(r, value, "a text is expected, not %s", vv_conf_node_kind_name(value));
    } else if (is_template) {
        const enum vv_err err = vv_template_compile(out->text, &r->set->arena, &out->tmpl, &why);
        r->no_memory = r->no_memory || err == VV_ENOMEM;
        if (err != VV_OK && err != VV_ENOMEM) {
            FAIL(r, value, "template: %s (at character %zu)", why.text, why.at + 1);
        }
    }
}

static struct rule_text *read_texts(struct reader *r, const struct vv_conf_node *rule,
                                    const char *key, bool is_template, size_t *ret_n)
{
    const struct vv_conf_node *map = vv_conf_node_get(rule, key);
    *ret_n = 0;
    if (map == NULL || vv_conf_node_kind(map) == VV_CONF_NODE_NULL ||
        !is_kind(r, map, VV_CONF_NODE_MAP, key)) {
        return NULL;
    }
    const size_t n = vv_conf_node_count(map);
    if (n > VV_LABELS_MAX / 2) {
        FAIL(r, map, "more than %d %s", VV_LABELS_MAX / 2, key);
        return NULL;
    }
    struct rule_text *texts = zalloc(r, (n + 1) * sizeof *texts);
    for (size_t i = 0; i < n && texts != NULL; i++) {
        read_text(r, vv_conf_node_key(map, i), vv_conf_node_item(map, i), is_template, &texts[i]);
    }
    if (texts != NULL && n > 1) {
        qsort(texts, n, sizeof *texts, by_name);
    }
    *ret_n = texts != NULL ? n : 0;
    return texts;
}

static void read_expr(struct reader *r, const struct vv_conf_node *n, struct vv_rule *rule)
{
    const struct vv_conf_node *e = vv_conf_node_get(n, "expr");
    const char *text = text_of(r, n, "expr");
    struct vv_promql_error why;
    if (text[0] == '\0') {
        FAIL(r, e != NULL ? e : n, "a rule needs an expression: expr");
        return;
    }
    rule->expr_text = vv_str_trim(copy(r, text));
    const enum vv_err err = vv_promql_parse(rule->expr_text, &r->set->arena, &rule->expr, &why);
    if (err == VV_ENOMEM) {
        r->no_memory = true;
    } else if (err != VV_OK) {
        FAIL(r, e, "expr: %s (at character %zu)", why.text, why.at + 1);
    } else if (vv_promql_type(rule->expr) != VV_PROMQL_VECTOR &&
               vv_promql_type(rule->expr) != VV_PROMQL_SCALAR) {
        FAIL(r, e, "a rule needs a vector or a scalar, and this is a %s",
             vv_promql_type_name(vv_promql_type(rule->expr)));
    }
}

static void read_rule(struct reader *r, const struct vv_conf_node *n, struct vv_rule *rule)
{
    static const char *const keys[] = {"record", "alert",           "expr",       "for",
                                       "labels", "keep_firing_for", "annotations"};
    static const char *const only_alerts[] = {"for", "keep_firing_for", "annotations"};
    if (!is_kind(r, n, VV_CONF_NODE_MAP, "a rule")) {
        return;
    }
    check_keys(r, n, keys, VV_COUNT(keys), "a rule");
    const char *record = text_of(r, n, "record"), *alert = text_of(r, n, "alert");
    if ((record[0] != '\0') == (alert[0] != '\0')) {
        FAIL(r, n,
             record[0] != '\0' ? "a rule has either record or alert, not both"
                               : "a rule needs a name: record or alert");
    }
    rule->is_alert = alert[0] != '\0';
    rule->name = copy(r, rule->is_alert ? alert : record);
    if (!rule->is_alert && record[0] != '\0' && !vv_metric_name_valid(rule->name)) {
        FAIL(r, vv_conf_node_get(n, "record"), "\"%s\" cannot be the name of a metric", record);
    }
    for (size_t i = 0; i < VV_COUNT(only_alerts) && !rule->is_alert; i++) {
        const struct vv_conf_node *extra = vv_conf_node_get(n, only_alerts[i]);
        if (extra != NULL && vv_conf_node_kind(extra) != VV_CONF_NODE_NULL) {
            FAIL(r, extra, "only an alert has %s", only_alerts[i]);
        }
    }
    read_expr(r, n, rule);
    rule->for_ms = duration_of(r, n, "for", 0);
    rule->keep_ms = duration_of(r, n, "keep_firing_for", 0);
    rule->labels = read_texts(r, n, "labels", rule->is_alert, &rule->labels_n);
    rule->annotations = read_texts(r, n, "annotations", true, &rule->annotations_n);
}

static void read_group(struct reader *r, const struct vv_conf_node *n, struct rule_group *g)
{
    static const char *const keys[] = {"name", "interval", "limit", "rules"};
    if (!is_kind(r, n, VV_CONF_NODE_MAP, "a group")) {
        return;
    }
    check_keys(r, n, keys, VV_COUNT(keys), "a group");
    const char *name = text_of(r, n, "name");
    if (name[0] == '\0') {
        FAIL(r, n, "a group needs a name");
    }
    g->name = copy(r, name);
    g->file = r->file;
    g->last_ms = INT64_MIN;
    g->interval_ms = duration_of(r, n, "interval", 0);
    g->interval_ms = g->interval_ms > 0 ? g->interval_ms : r->interval_ms;
    const uint64_t limit = count_of(r, n, "limit");
    const struct vv_conf_node *rules = vv_conf_node_get(n, "rules");
    if (rules == NULL || vv_conf_node_kind(rules) == VV_CONF_NODE_NULL ||
        !is_kind(r, rules, VV_CONF_NODE_LIST, "rules")) {
        return;
    }
    const size_t count = vv_conf_node_count(rules);
    r->rules += count;
    if (r->rules > RULES_MAX) {
        FAIL(r, rules, "more than %d rules", RULES_MAX);
        return;
    }
    g->rules = zalloc(r, (count + 1) * sizeof *g->rules);
    for (size_t i = 0; i < count && g->rules != NULL && !r->no_memory; i++) {
        g->rules[i].group = g->name;
        g->rules[i].limit = limit;
        read_rule(r, vv_conf_node_item(rules, i), &g->rules[i]);
        g->n = i + 1;
    }
}

static size_t read_groups(struct reader *r, const struct vv_conf_node *root,
                          struct rule_group **ret)
{
    static const char *const keys[] = {"groups"};
    if (!is_kind(r, root, VV_CONF_NODE_MAP, "a rule file")) {
        return 0;
    }
    check_keys(r, root, keys, VV_COUNT(keys), "a rule file");
    const struct vv_conf_node *list = vv_conf_node_get(root, "groups");
    if (list == NULL || vv_conf_node_kind(list) == VV_CONF_NODE_NULL ||
        !is_kind(r, list, VV_CONF_NODE_LIST, "groups")) {
        return 0;
    }
    const size_t n = vv_conf_node_count(list);
    if (n > GROUPS_MAX) {
        FAIL(r, list, "more than %d groups", GROUPS_MAX);
        return 0;
    }
    struct rule_group *groups = zalloc(r, (n + 1) * sizeof *groups);
    for (size_t i = 0; i < n && groups != NULL && !r->no_memory; i++) {
        read_group(r, vv_conf_node_item(list, i), &groups[i]);
        for (size_t k = 0; k < i; k++) {
            if (groups[i].name.n > 0 && vv_str_eq(groups[k].name, groups[i].name)) {
                FAIL(r, vv_conf_node_get(vv_conf_node_item(list, i), "name"),
                     "the group \"" VV_STR_FMT "\" is there twice", VV_STR_ARG(groups[i].name));
            }
        }
    }
    *ret = groups;
    return groups != NULL ? n : 0;
}

static enum vv_err take(struct vv_rules *set, const struct rule_group *groups, size_t n)
{
    struct rule_group *all = realloc(set->groups, (set->n + n + 1) * sizeof *all);
    if (all == NULL) {
        return VV_ENOMEM;
    }
    set->groups = all;
    for (size_t i = 0; i < n; i++) {
        set->groups[set->n++] = groups[i];
    }
    return VV_OK;
}

enum vv_err vv_rules_add(struct vv_rules *set, const char *path, const char *text,
                         int64_t interval_ms, struct vv_conf_problems *problems)
{
    struct rule_group *groups = NULL;
    struct reader r = {.set = set, .interval_ms = interval_ms};
    const size_t errors = vv_conf_problems_errors(problems);
    r.tree = vv_conf_tree_new(problems);
    if (r.tree == NULL) {
        return VV_ENOMEM;
    }
    r.file = copy(&r, path);
    const struct vv_conf_node *root = vv_conf_tree_read(r.tree, path, text);
    r.no_memory = r.no_memory || vv_conf_tree_failed(r.tree);
    const size_t n = root != NULL ? read_groups(&r, root, &groups) : 0;
    vv_conf_tree_close(r.tree);
    if (r.no_memory) {
        return VV_ENOMEM;
    }
    if (r.failed || vv_conf_problems_errors(problems) > errors) {
        return VV_ECONFIG;
    }
    return n > 0 ? take(set, groups, n) : VV_OK;
}
