/* src/watch/rules.c - results and alerts are both kept in the order of their label sets' hashes, so
 * that one walk over both finds what is new, what goes on and what has ended, however many there
 * are. Every evaluation first computes everything that can fail, then changes the alerts. */
#include "watch/rules.h"

#include "watch/rules_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define ARENA_BLOCK_BYTES (32 * VV_KIB)
#define EVAL_BYTES_MAX (256 * VV_MIB)

struct found { /* one element of a rule's result, with the labels it will have */
    uint64_t hash;
    struct vv_promql_labels labels;      /* in the arena of the evaluation */
    struct vv_promql_labels annotations; /* the same */
    double v;
};
struct eval {
    struct vv_rules *set;
    struct vv_rule *rule;
    const struct vv_rules_io *io;
    int64_t t_ms;
    struct vv_arena arena;
    struct found *found;
    size_t n;
    struct found *out; /* series to write */
    size_t out_n, out_cap;
};

const char *vv_alert_state_name(enum vv_alert_state s)
{
    static const char *const names[] = {"inactive", "pending", "firing"};
    return names[s];
}

static void alert_free(struct vv_alert *a)
{
    if (a != NULL) {
        free((void *)(uintptr_t)a->labels.at);
        free((void *)(uintptr_t)a->annotations.at);
        free(a);
    }
}

static void forget_seen(struct seen *seen, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free((void *)(uintptr_t)seen[i].labels.at);
    }
    free(seen);
}

void rule_fini(struct vv_rule *rule)
{
    for (size_t i = 0; i < rule->alerts_n; i++) {
        alert_free(rule->alerts[i]);
    }
    free(rule->alerts);
    forget_seen(rule->seen, rule->seen_n);
}

struct vv_rules *vv_rules_new(void)
{
    struct vv_rules *r = calloc(1, sizeof *r);
    if (r != NULL) {
        vv_arena_init(&r->arena, NULL, 0, ARENA_BLOCK_BYTES, EVAL_BYTES_MAX);
        r->url = VV_STR("");
    }
    return r;
}

void vv_rules_free(struct vv_rules *r)
{
    if (r != NULL) {
        for (size_t g = 0; g < r->n; g++) {
            for (size_t i = 0; i < r->groups[g].n; i++) {
                rule_fini(&r->groups[g].rules[i]);
            }
        }
        free(r->groups);
        free((void *)(uintptr_t)r->outer.at);
        vv_arena_fini(&r->arena);
        free(r);
    }
}

enum vv_err vv_rules_outer(struct vv_rules *r, struct vv_promql_labels labels, struct vv_str url)
{
    const struct vv_promql_labels copy = vv_labels_dup(labels);
    const struct vv_str text = vv_arena_str(&r->arena, url);
    if (copy.at == NULL || text.p == NULL) {
        free((void *)(uintptr_t)copy.at);
        return VV_ENOMEM;
    }
    free((void *)(uintptr_t)r->outer.at);
    r->outer = copy;
    r->url = text;
    return VV_OK;
}

/* ---- what a rule finds --------------------------------------------------------------------- */

static enum vv_err VV_PRINTF(3, 4) unwell(struct eval *e, enum vv_err err, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(e->rule->health, sizeof e->rule->health, fmt, args);
    va_end(args);
    return err;
}

static enum vv_err keep_labels(struct eval *e, const struct vv_labels *l,
                               struct vv_promql_labels *ret)
{
    struct vv_promql_label *copy = vv_arena_alloc(&e->arena, (l->n + 1) * sizeof *copy);
    if (copy == NULL) {
        return unwell(e, VV_ENOMEM, "out of memory");
    }
    memcpy(copy, l->at, l->n * sizeof *copy);
    *ret = (struct vv_promql_labels){copy, l->n};
    return VV_OK;
}

static enum vv_err expand(struct eval *e, const struct rule_text *t,
                          const struct vv_template_data *data, struct vv_str *ret)
{
    if (t->tmpl == NULL) {
        *ret = t->text;
        return VV_OK;
    }
    struct vv_sb sb = VV_SB_INIT;
    const enum vv_err err = vv_template_expand(t->tmpl, data, &sb);
    *ret = err != VV_ENOMEM ? vv_arena_str(&e->arena, vv_sb_str(&sb)) : (struct vv_str){NULL, 0};
    vv_sb_fini(&sb);
    return ret->p != NULL ? VV_OK : unwell(e, VV_ENOMEM, "out of memory");
}

/* The names that a rule's result will bear. */
static enum vv_err name_one(struct eval *e, const struct vv_promql_series *s, struct found *out)
{
    const struct vv_rule *rule = e->rule;
    const struct vv_template_data data = {.labels = s->labels,
                                          .external_labels = e->set->outer,
                                          .external_url = e->set->url,
                                          .value = s->samples[0].v};
    struct vv_labels l, notes = {.n = 0};
    enum vv_err err = vv_labels_from(&l, s->labels);
    if (err == VV_OK) {
        err = vv_labels_set(&l, VV_STR("__name__"), rule->is_alert ? VV_STR("") : rule->name);
    }
    for (size_t i = 0; i < rule->labels_n && err == VV_OK; i++) {
        struct vv_str text;
        err = expand(e, &rule->labels[i], &data, &text);
        err = err == VV_OK ? vv_labels_set(&l, rule->labels[i].name, text) : err;
    }
    if (err == VV_OK && rule->is_alert) {
        err = vv_labels_set(&l, VV_STR("alertname"), rule->name);
    }
    for (size_t i = 0; i < rule->annotations_n && err == VV_OK; i++) {
        struct vv_str text;
        err = expand(e, &rule->annotations[i], &data, &text);
        err = err == VV_OK ? vv_labels_set(&notes, rule->annotations[i].name, text) : err;
    }
    if (err != VV_OK) {
        return err == VV_ELIMIT ? unwell(e, err, "too many labels") : err;
    }
    out->v = s->samples[0].v;
    out->hash = vv_labels_hash(vv_labels_view(&l));
    err = keep_labels(e, &l, &out->labels);
    return err == VV_OK ? keep_labels(e, &notes, &out->annotations) : err;
}

static int order(uint64_t ha, struct vv_promql_labels a, uint64_t hb, struct vv_promql_labels b)
{
    return ha != hb ? (ha > hb) - (ha < hb) : vv_labels_compare(a, b);
}

static int by_hash(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    return order(x->hash, x->labels, y->hash, y->labels);
}

static enum vv_err find(struct eval *e)
{
    const struct vv_promql_query q = {.start_ms = e->t_ms, .end_ms = e->t_ms};
    struct vv_promql_result result;
    struct vv_promql_error why;
    enum vv_err err = vv_promql_eval(e->rule->expr, e->io->source, &q, &e->arena, &result, &why);
    if (err != VV_OK) {
        return unwell(e, err, "%s", why.text);
    }
    const struct vv_promql_series scalar = {{NULL, 0}, &result.scalar, 1};
    const bool is_scalar = result.type == VV_PROMQL_SCALAR;
    const struct vv_promql_series *series = is_scalar ? &scalar : result.series;
    e->n = is_scalar ? 1 : result.n;
    if (e->n > VV_ALERTS_PER_RULE_MAX) {
        return unwell(e, VV_ELIMIT, "it finds %zu series, more than %d", e->n,
                      VV_ALERTS_PER_RULE_MAX);
    }
    e->found = vv_arena_alloc(&e->arena, (e->n + 1) * sizeof *e->found);
    if (e->found == NULL) {
        return unwell(e, VV_ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < e->n && err == VV_OK; i++) {
        err = name_one(e, &series[i], &e->found[i]);
    }
    if (err != VV_OK) {
        return err;
    }
    if (e->n > 1) {
        qsort(e->found, e->n, sizeof *e->found, by_hash);
    }
    for (size_t i = 1; i < e->n; i++) {
        if (by_hash(&e->found[i - 1], &e->found[i]) == 0) {
            return unwell(e, VV_EINVAL,
                          "two series have the same labels once the rule's labels are set");
        }
    }
    return VV_OK;
}

/* ---- what it writes ------------------------------------------------------------------------ */

static void write_later(struct eval *e, struct vv_promql_labels labels, double v)
{
    VV_ASSERT(e->out_n < e->out_cap);
    e->out[e->out_n++] = (struct found){vv_labels_hash(labels), labels, {NULL, 0}, v};
}

static enum vv_err write_alert(struct eval *e, const struct vv_alert *a)
{
    struct vv_labels l;
    struct vv_promql_labels kept = {NULL, 0};
    enum vv_err err = vv_labels_from(&l, a->labels);
    err = err == VV_OK ? vv_labels_set(&l, VV_STR("__name__"), VV_STR("ALERTS_FOR_STATE")) : err;
    err = err == VV_OK ? keep_labels(e, &l, &kept) : err;
    /* Whole seconds, rounded down, as Go's Unix(). */
    const int64_t s = a->active_ms / 1000 - (a->active_ms % 1000 < 0 ? 1 : 0);
    if (err == VV_OK) {
        write_later(e, kept, (double)s);
    }
    err = err == VV_OK ? vv_labels_set(&l, VV_STR("__name__"), VV_STR("ALERTS")) : err;
    err = err == VV_OK
              ? vv_labels_set(&l, VV_STR("alertstate"), vv_str_from(vv_alert_state_name(a->state)))
              : err;
    err = err == VV_OK ? keep_labels(e, &l, &kept) : err;
    if (err == VV_OK) {
        write_later(e, kept, 1);
    }
    return err;
}

/* Samples, then markers for what has ended since the last time, which is remembered anew. */
static enum vv_err write_out(struct eval *e)
{
    struct vv_rule *rule = e->rule;
    enum vv_err err = VV_OK;
    if (e->out_n > 1) {
        qsort(e->out, e->out_n, sizeof *e->out, by_hash);
    }
    struct seen *seen = calloc(e->out_n + 1, sizeof *seen);
    size_t n = 0, old = 0;
    if (seen == NULL) {
        return unwell(e, VV_ENOMEM, "out of memory");
    }
    for (; n < e->out_n; n++) {
        seen[n] = (struct seen){e->out[n].hash, vv_labels_dup(e->out[n].labels)};
        if (seen[n].labels.at == NULL) {
            forget_seen(seen, n);
            return unwell(e, VV_ENOMEM, "out of memory");
        }
    }
    for (size_t i = 0; i < n && e->io->append != NULL && err == VV_OK; i++) {
        err = e->io->append(e->io->ctx, seen[i].labels, e->t_ms, e->out[i].v);
    }
    for (size_t i = 0; e->io->append != NULL && old < rule->seen_n; old++) {
        const struct seen *was = &rule->seen[old];
        while (i < n && order(seen[i].hash, seen[i].labels, was->hash, was->labels) < 0) {
            i++;
        }
        const bool goes_on =
            i < n && order(seen[i].hash, seen[i].labels, was->hash, was->labels) == 0;
        if (!goes_on && err == VV_OK) {
            err = e->io->append(e->io->ctx, was->labels, e->t_ms, vv_promql_stale());
        }
    }
    forget_seen(rule->seen, rule->seen_n);
    rule->seen = seen;
    rule->seen_n = n;
    return err == VV_OK ? VV_OK : unwell(e, err, "cannot write the series: %s", vv_err_text(err));
}

/* ---- alerts -------------------------------------------------------------------------------- */

static void move(struct eval *e, struct vv_alert *a, enum vv_alert_state to)
{
    const enum vv_alert_state from = a->state;
    a->state = to;
    if (to == VV_ALERT_INACTIVE) {
        a->resolved_ms = e->t_ms;
    } else if (to == VV_ALERT_FIRING) {
        a->fired_ms = e->t_ms;
    }
    if (e->io->moved != NULL && from != to) {
        e->io->moved(e->io->ctx, e->rule, a, from, to);
    }
}

static struct vv_alert *alert_new(const struct found *f, int64_t t_ms)
{
    struct vv_alert *a = calloc(1, sizeof *a);
    if (a == NULL) {
        return NULL;
    }
    *a = (struct vv_alert){.labels = vv_labels_dup(f->labels),
                           .annotations = vv_labels_dup(f->annotations),
                           .hash = f->hash,
                           .state = VV_ALERT_INACTIVE,
                           .value = f->v,
                           .active_ms = t_ms,
                           .fired_ms = VV_ALERT_NEVER,
                           .resolved_ms = VV_ALERT_NEVER,
                           .keep_since_ms = VV_ALERT_NEVER};
    if (a->labels.at == NULL || a->annotations.at == NULL) {
        alert_free(a);
        return NULL;
    }
    return a;
}

/* The alert is in the result: begins, goes on, or begins again. */
static void still_there(struct eval *e, struct vv_alert *a, struct vv_alert *fresh)
{
    if (a->state == VV_ALERT_INACTIVE) {
        a->active_ms = e->t_ms;
        a->fired_ms = a->resolved_ms = VV_ALERT_NEVER;
        move(e, a, VV_ALERT_PENDING);
    }
    a->keep_since_ms = VV_ALERT_NEVER;
    if (a != fresh) {
        const struct vv_promql_labels old = a->annotations;
        a->value = fresh->value;
        a->annotations = fresh->annotations;
        fresh->annotations = old;
    }
    if (a->state == VV_ALERT_PENDING && e->t_ms - a->active_ms >= e->rule->for_ms) {
        move(e, a, VV_ALERT_FIRING);
    }
}

/* The alert is not in the result. False: forget it. */
static bool gone(struct eval *e, struct vv_alert *a)
{
    if (a->state == VV_ALERT_FIRING && e->rule->keep_ms > 0) {
        if (a->keep_since_ms == VV_ALERT_NEVER) {
            a->keep_since_ms = e->t_ms;
        }
        if (e->t_ms - a->keep_since_ms < e->rule->keep_ms) {
            return true;
        }
    }
    if (a->state == VV_ALERT_INACTIVE) {
        return e->t_ms - a->resolved_ms <= VV_ALERT_RESOLVED_KEPT_MS;
    }
    const bool pending = a->state == VV_ALERT_PENDING;
    move(e, a, VV_ALERT_INACTIVE);
    return !pending;
}

/* How many alerts would be active, before anything is changed. */
static size_t count_active(const struct eval *e)
{
    const struct vv_rule *rule = e->rule;
    size_t active = e->n, i = 0;
    for (size_t k = 0; k < rule->alerts_n; k++) {
        const struct vv_alert *a = rule->alerts[k];
        while (i < e->n && order(e->found[i].hash, e->found[i].labels, a->hash, a->labels) < 0) {
            i++;
        }
        const bool there =
            i < e->n && order(e->found[i].hash, e->found[i].labels, a->hash, a->labels) == 0;
        const bool kept =
            a->state == VV_ALERT_FIRING && rule->keep_ms > 0 &&
            (a->keep_since_ms == VV_ALERT_NEVER || e->t_ms - a->keep_since_ms < rule->keep_ms);
        active += !there && kept ? 1 : 0;
    }
    return active;
}

/* Over its limit a rule loses all its alerts, as in Prometheus: they were not to be trusted. */
static enum vv_err over_limit(struct eval *e, size_t active)
{
    for (size_t i = 0; i < e->rule->alerts_n; i++) {
        struct vv_alert *a = e->rule->alerts[i];
        if (a->state != VV_ALERT_INACTIVE) {
            move(e, a, VV_ALERT_INACTIVE);
        }
        alert_free(a);
    }
    e->rule->alerts_n = 0;
    return unwell(e, VV_ELIMIT, "exceeded limit of %llu with %zu alerts",
                  (unsigned long long)e->rule->limit, active);
}

static void free_fresh(struct vv_alert **fresh, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        alert_free(fresh[i]);
    }
    free(fresh);
}

/* Both are sorted: one walk merges them into the new array. */
static size_t merge(struct eval *e, struct vv_alert **fresh, struct vv_alert **all)
{
    struct vv_rule *rule = e->rule;
    size_t n = 0, i = 0, k = 0;
    while (i < e->n || k < rule->alerts_n) {
        struct vv_alert *a = k < rule->alerts_n ? rule->alerts[k] : NULL;
        const struct vv_alert *f = i < e->n ? fresh[i] : NULL;
        const int o = a == NULL   ? -1
                      : f == NULL ? 1
                                  : order(f->hash, f->labels, a->hash, a->labels);
        if (o > 0) {
            k++;
            if (gone(e, a)) {
                all[n++] = a;
            } else {
                alert_free(a);
            }
        } else if (o < 0) {
            all[n++] = fresh[i];
            still_there(e, fresh[i], fresh[i]);
            fresh[i++] = NULL;
        } else {
            all[n++] = a;
            still_there(e, a, fresh[i++]);
            k++;
        }
    }
    return n;
}

static enum vv_err run_alert(struct eval *e)
{
    struct vv_rule *rule = e->rule;
    const size_t active = count_active(e);
    if ((rule->limit > 0 && active > rule->limit) || active > VV_ALERTS_PER_RULE_MAX) {
        return over_limit(e, active);
    }
    struct vv_alert **fresh = calloc(e->n + 1, sizeof(struct vv_alert *));
    struct vv_alert **all = calloc(e->n + rule->alerts_n + 1, sizeof(struct vv_alert *));
    e->out_cap = 2 * (e->n + rule->alerts_n);
    e->out = vv_arena_alloc(&e->arena, (e->out_cap + 1) * sizeof *e->out);
    bool enough = fresh != NULL && all != NULL && e->out != NULL;
    for (size_t i = 0; i < e->n && enough; i++) {
        fresh[i] = alert_new(&e->found[i], e->t_ms);
        enough = fresh[i] != NULL;
    }
    if (!enough) {
        free_fresh(fresh, fresh != NULL ? e->n : 0);
        free(all);
        return unwell(e, VV_ENOMEM, "out of memory");
    }
    const size_t n = merge(e, fresh, all);
    free_fresh(fresh, e->n);
    free(rule->alerts);
    rule->alerts = all;
    rule->alerts_n = n;
    enum vv_err err = VV_OK;
    for (size_t i = 0; i < n && err == VV_OK; i++) {
        const bool told = all[i] != NULL && all[i]->state != VV_ALERT_INACTIVE;
        err = told ? write_alert(e, all[i]) : VV_OK;
    }
    return err == VV_OK ? write_out(e) : err;
}

static enum vv_err run_record(struct eval *e)
{
    if (e->rule->limit > 0 && e->n > e->rule->limit) {
        return unwell(e, VV_ELIMIT, "exceeded limit of %llu with %zu series",
                      (unsigned long long)e->rule->limit, e->n);
    }
    e->out = e->found;
    e->out_n = e->n;
    return write_out(e);
}

static void run_rule(struct vv_rules *set, struct vv_rule *rule, int64_t t_ms,
                     const struct vv_rules_io *io)
{
    struct eval e = {.set = set, .rule = rule, .io = io, .t_ms = t_ms};
    vv_arena_init(&e.arena, NULL, 0, ARENA_BLOCK_BYTES, EVAL_BYTES_MAX);
    enum vv_err err = find(&e);
    if (err == VV_OK) {
        err = rule->is_alert ? run_alert(&e) : run_record(&e);
    }
    if (err == VV_OK) {
        rule->health[0] = '\0';
    }
    vv_arena_fini(&e.arena);
}

/* ---- groups -------------------------------------------------------------------------------- */

size_t vv_rules_groups(const struct vv_rules *r)
{
    return r->n;
}

int64_t vv_rules_group_interval_ms(const struct vv_rules *r, size_t group)
{
    return r->groups[group].interval_ms;
}

struct vv_str vv_rules_group_name(const struct vv_rules *r, size_t group)
{
    return r->groups[group].name;
}

void vv_rules_eval_group(struct vv_rules *r, size_t group, int64_t t_ms,
                         const struct vv_rules_io *io)
{
    struct rule_group *g = &r->groups[group];
    g->last_ms = t_ms;
    for (size_t i = 0; i < g->n; i++) {
        run_rule(r, &g->rules[i], t_ms, io);
    }
}

int64_t vv_rules_tick(struct vv_rules *r, int64_t now_ms, const struct vv_rules_io *io)
{
    int64_t next_ms = INT64_MAX;
    for (size_t i = 0; i < r->n; i++) {
        const int64_t interval = r->groups[i].interval_ms > 0 ? r->groups[i].interval_ms : 60000;
        const int64_t due = now_ms - now_ms % interval;
        if (due > r->groups[i].last_ms) {
            vv_rules_eval_group(r, i, due, io);
        }
        next_ms = due + interval < next_ms ? due + interval : next_ms;
    }
    return next_ms;
}

static const struct rule_group *group_of(const struct vv_rules *r, size_t *i)
{
    for (size_t g = 0; g < r->n; g++) {
        if (*i < r->groups[g].n) {
            return &r->groups[g];
        }
        *i -= r->groups[g].n;
    }
    return NULL;
}

size_t vv_rules_count(const struct vv_rules *r)
{
    size_t n = 0;
    for (size_t g = 0; g < r->n; g++) {
        n += r->groups[g].n;
    }
    return n;
}

const struct vv_rule *vv_rules_at(const struct vv_rules *r, size_t i)
{
    const struct rule_group *g = group_of(r, &i);
    return g != NULL ? &g->rules[i] : NULL;
}

/* ---- reload -------------------------------------------------------------------------------- */

static bool same_texts(const struct rule_text *a, size_t an, const struct rule_text *b, size_t bn)
{
    bool same = an == bn;
    for (size_t i = 0; i < an && same; i++) {
        same = vv_str_eq(a[i].name, b[i].name) && vv_str_eq(a[i].text, b[i].text);
    }
    return same;
}

static bool same_rule(const struct vv_rule *a, const struct vv_rule *b)
{
    return a->is_alert == b->is_alert && vv_str_eq(a->name, b->name) &&
           vv_str_eq(a->group, b->group) && vv_str_eq(a->expr_text, b->expr_text) &&
           same_texts(a->labels, a->labels_n, b->labels, b->labels_n);
}

static void adopt(struct vv_rule *to, struct vv_rule *from)
{
    to->alerts = from->alerts;
    to->alerts_n = from->alerts_n;
    to->seen = from->seen;
    to->seen_n = from->seen_n;
    from->alerts = NULL;
    from->seen = NULL;
    from->alerts_n = from->seen_n = 0;
}

void vv_rules_adopt(struct vv_rules *r, struct vv_rules *old)
{
    for (size_t g = 0; g < r->n; g++) {
        for (size_t o = 0; o < old->n; o++) {
            struct rule_group *to = &r->groups[g], *from = &old->groups[o];
            if (!vv_str_eq(to->name, from->name) || !vv_str_eq(to->file, from->file)) {
                continue;
            }
            to->last_ms = from->last_ms;
            for (size_t i = 0; i < to->n; i++) {
                for (size_t k = 0; k < from->n && to->rules[i].seen == NULL; k++) {
                    if (same_rule(&to->rules[i], &from->rules[k])) {
                        adopt(&to->rules[i], &from->rules[k]);
                    }
                }
            }
        }
    }
}

/* ---- looking ------------------------------------------------------------------------------- */

size_t vv_rules_alerts(const struct vv_rule *rule)
{
    return rule->alerts_n;
}

const struct vv_alert *vv_rules_alert(const struct vv_rule *rule, size_t i)
{
    return rule->alerts[i];
}

struct vv_str vv_rule_name(const struct vv_rule *rule)
{
    return rule->name;
}

bool vv_rule_is_alert(const struct vv_rule *rule)
{
    return rule->is_alert;
}

struct vv_str vv_rule_expression(const struct vv_rule *rule)
{
    return rule->expr_text;
}

int64_t vv_rule_for_ms(const struct vv_rule *rule)
{
    return rule->for_ms;
}

const char *vv_rule_health(const struct vv_rule *rule)
{
    return rule->health[0] != '\0' ? rule->health : NULL;
}
