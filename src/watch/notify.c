/* src/watch/notify.c - decisions about notes, without clocks and sockets: every rule can be tried
 * with made-up times, and the sender has nothing left to decide. */
#include "watch/notify.h"

#include <math.h>
#include <stdlib.h>

/* ---- matchers ------------------------------------------------------------------------------ */

enum vv_err vv_note_matcher_parse(struct vv_str text, struct vv_arena *arena,
                                  struct vv_note_matcher *ret)
{
    size_t at = 0;
    struct vv_note_matcher m = {.re = NULL};
    const char *why = NULL;
    while (at < text.n && text.p[at] != '=' && text.p[at] != '!') {
        at++;
    }
    m.name = vv_str_trim((struct vv_str){text.p, at});
    m.negated = at < text.n && text.p[at] == '!';
    const bool pattern = at + 1 < text.n && text.p[at + 1] == '~';
    const bool plain_not = m.negated && at + 1 < text.n && text.p[at + 1] == '=';
    if (!vv_label_name_valid(m.name) || at == text.n || (m.negated && !pattern && !plain_not)) {
        return VV_ESYNTAX;
    }
    at += pattern || plain_not ? 2 : 1;
    struct vv_str value = vv_str_trim((struct vv_str){text.p + at, text.n - at});
    if (value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"') {
        value = (struct vv_str){value.p + 1, value.n - 2};
    }
    m.name = vv_arena_str(arena, m.name);
    m.value = vv_arena_str(arena, value);
    if (m.name.p == NULL || m.value.p == NULL) {
        return VV_ENOMEM;
    }
    const enum vv_err err = pattern ? vv_regex_compile(m.value, arena, &m.re, &why) : VV_OK;
    if (err == VV_OK) {
        *ret = m;
    }
    return err;
}

bool vv_note_matches(struct vv_note_matchers m, struct vv_promql_labels labels)
{
    for (size_t i = 0; i < m.n; i++) {
        const struct vv_str value = vv_labels_get(labels, m.at[i].name);
        const bool is = m.at[i].re != NULL ? vv_regex_match(m.at[i].re, value, NULL)
                                           : vv_str_eq(value, m.at[i].value);
        if (is == m.at[i].negated) {
            return false;
        }
    }
    return true;
}

ptrdiff_t vv_silenced(const struct vv_silence *s, size_t n, struct vv_promql_labels labels,
                      int64_t now_ms)
{
    for (size_t i = 0; i < n; i++) {
        if (s[i].matchers.n > 0 && s[i].starts_ms <= now_ms && now_ms < s[i].ends_ms &&
            vv_note_matches(s[i].matchers, labels)) {
            return (ptrdiff_t)i;
        }
    }
    return -1;
}

static bool same_values(const struct vv_inhibition *r, struct vv_promql_labels a,
                        struct vv_promql_labels b)
{
    for (size_t i = 0; i < r->equal_n; i++) {
        if (!vv_str_eq(vv_labels_get(a, r->equal[i]), vv_labels_get(b, r->equal[i]))) {
            return false;
        }
    }
    return true;
}

ptrdiff_t vv_inhibited(const struct vv_inhibition *rules, size_t n, const struct vv_note *note,
                       const struct vv_note *all, size_t all_n)
{
    for (size_t r = 0; r < n; r++) {
        const struct vv_inhibition *rule = &rules[r];
        if (!vv_note_matches(rule->target, note->labels)) {
            continue;
        }
        const bool both = vv_note_matches(rule->source, note->labels);
        for (size_t i = 0; i < all_n; i++) {
            if (all[i].firing && all[i].hash != note->hash &&
                vv_note_matches(rule->source, all[i].labels) &&
                same_values(rule, all[i].labels, note->labels) &&
                !(both && vv_note_matches(rule->target, all[i].labels))) {
                return (ptrdiff_t)i;
            }
        }
    }
    return -1;
}

/* ---- flapping ------------------------------------------------------------------------------ */

const struct vv_flap_conf vv_flap_defaults = {6, 2, 600000};

bool vv_flap_damped(struct vv_flap *f, const struct vv_flap_conf *conf, int64_t now_ms)
{
    if (now_ms > f->at_ms) {
        f->penalty *= exp2(-(double)(now_ms - f->at_ms) / (double)conf->half_life_ms);
        f->at_ms = now_ms;
    }
    f->damped = f->penalty >= conf->suppress || (f->damped && f->penalty >= conf->reuse);
    return f->damped;
}

void vv_flap_moved(struct vv_flap *f, const struct vv_flap_conf *conf, int64_t now_ms)
{
    (void)vv_flap_damped(f, conf, now_ms);
    /* No more than twice the bound: the quiet it takes to be heard again stays bounded. */
    f->penalty = fmin(f->penalty + 1, 2 * conf->suppress);
    (void)vv_flap_damped(f, conf, now_ms);
}

/* ---- groups -------------------------------------------------------------------------------- */

const struct vv_group_conf vv_group_defaults = {30000, 300000, 14400000, true};

enum vv_err vv_group_labels(struct vv_promql_labels labels, const struct vv_str *by, size_t by_n,
                            struct vv_labels *ret)
{
    enum vv_err err = VV_OK;
    ret->n = 0;
    for (size_t i = 0; i < by_n && err == VV_OK; i++) {
        err = vv_labels_set(ret, by[i], vv_labels_get(labels, by[i]));
    }
    return err;
}

void vv_group_fini(struct vv_group_timer *t)
{
    free(t->told);
    *t = (struct vv_group_timer){.told = NULL};
}

int64_t vv_group_due_ms(const struct vv_group_timer *t, const struct vv_group_conf *conf)
{
    return t->looked ? t->looked_ms + conf->interval_ms : t->first_ms + conf->wait_ms;
}

static int by_number(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static bool was_told(const uint64_t *at, size_t n, uint64_t hash)
{
    return n > 0 && bsearch(&hash, at, n, sizeof *at, by_number) != NULL;
}

bool vv_group_look(struct vv_group_timer *t, const struct vv_group_conf *conf,
                   const struct vv_note *notes, size_t n, int64_t now_ms)
{
    size_t firing = 0;
    bool new_firing = false, new_resolved = false;
    if (!t->began) {
        t->began = true;
        t->first_ms = now_ms;
    }
    if (now_ms < vv_group_due_ms(t, conf)) {
        return false;
    }
    t->looked = true;
    t->looked_ms = now_ms;
    for (size_t i = 0; i < n; i++) {
        const uint64_t *resolved = t->told + t->firing_n;
        firing += notes[i].firing ? 1 : 0;
        new_firing |= notes[i].firing && !was_told(t->told, t->firing_n, notes[i].hash);
        /* Nobody wants to hear the end of what was never told. */
        new_resolved |= !notes[i].firing && was_told(t->told, t->firing_n, notes[i].hash) &&
                        !was_told(resolved, t->resolved_n, notes[i].hash);
    }
    if (!t->sent || new_firing) {
        return firing > 0;
    }
    if (new_resolved && conf->send_resolved) {
        return true;
    }
    return firing > 0 && now_ms - t->sent_ms >= conf->repeat_ms;
}

enum vv_err vv_group_told(struct vv_group_timer *t, const struct vv_note *notes, size_t n,
                          int64_t now_ms)
{
    uint64_t *told = calloc(n + 1, sizeof *told);
    size_t firing = 0, resolved = n;
    if (told == NULL) {
        return VV_ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        told[notes[i].firing ? firing++ : --resolved] = notes[i].hash;
    }
    qsort(told, firing, sizeof *told, by_number);
    qsort(told + firing, n - firing, sizeof *told, by_number);
    free(t->told);
    t->told = told;
    t->firing_n = firing;
    t->resolved_n = n - firing;
    t->sent = true;
    t->sent_ms = now_ms;
    return VV_OK;
}
