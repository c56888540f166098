/* src/observe/exposition.c - the registry as Prometheus text, OpenMetrics or JSON.
 *
 * The label text of a series was escaped when the series was made, so writing ten thousand series
 * is mostly memcpy. Bounds ("le") print the same in both text formats, as floats: otherwise a
 * change of negotiation would rename series. */
#include "observe/metrics_int.h"

#include "base/json.h"
#include "observe/text_int.h"
#include <stdio.h>
#include <stdlib.h>

#define LINE_MAX 64 /* a value and what follows it */

/* The same numbers as vv_hist_bound_ns, as they are printed. */
static const char *const bound_text[VV_HIST_BOUNDS + 1] = {
    "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.075", "0.1",  "0.2",
    "0.35",  "0.5",    "0.75",  "1.0",  "2.0",   "5.0",  "10.0",  "30.0", "+Inf"};

struct sample {
    struct sample *next; /* of the same metric */
    struct vv_metric_series *series;
    double value;
};

struct vv_collect {
    struct vv_metrics *m;
    struct sample **map; /* open addressing; at most half full */
    size_t map_cap, count;
    struct sample *first[VV_METRIC_ROWS], *last[VV_METRIC_ROWS];
    bool failed;
};

/* ---- collecting ---- */

/* Where the label set is in the map, or the empty slot where it belongs. */
static struct sample **map_find(const struct vv_collect *c, enum vv_metric id,
                                const struct vv_str *values, uint64_t hash)
{
    size_t at = hash & (c->map_cap - 1);
    while (c->map[at] != NULL && !vv_metric_series_is(c->map[at]->series, id, values, hash)) {
        at = (at + 1) & (c->map_cap - 1);
    }
    return &c->map[at];
}

static bool collect_room(struct vv_collect *c)
{
    if (c->count * 2 < c->map_cap) {
        return true;
    }
    const size_t cap = c->map_cap != 0 ? c->map_cap * 2 : 128;
    struct sample **map = calloc(cap, sizeof(struct sample *));
    if (map == NULL) {
        return false;
    }
    free(c->map);
    c->map = map;
    c->map_cap = cap;
    for (unsigned id = 0; id < VV_METRIC_ROWS; id++) {
        for (struct sample *s = c->first[id]; s != NULL; s = s->next) {
            *map_find(c, id, s->series->value, s->series->hash) = s;
        }
    }
    return true;
}

void vv_collect_value(struct vv_collect *c, enum vv_metric id, const struct vv_str *values,
                      size_t count, double value)
{
    VV_ASSERT((unsigned)id < VV_METRIC_ROWS);
    VV_ASSERT(count == c->m->family[id].labels);
    VV_ASSERT(vv_metric_rows[id].kind != VV_HISTOGRAM);
    struct vv_metric_room room;
    struct vv_str clean[VV_METRIC_LABELS];
    vv_metric_clean(values, count, &room, clean);
    const uint64_t hash = vv_metric_series_hash(id, clean, count);
    if (!collect_room(c)) {
        c->failed = true;
        return;
    }
    struct sample **slot = map_find(c, id, clean, hash);
    if (*slot != NULL) {
        (*slot)->value = vv_metric_rows[id].kind == VV_COUNTER ? (*slot)->value + value : value;
        return;
    }
    struct vv_metric_series *series = vv_metric_series_make(c->m, id, clean, hash);
    struct sample *s = malloc(sizeof(*s));
    if (series == NULL || s == NULL) {
        free(series);
        free(s);
        c->failed = true;
        return;
    }
    *s = (struct sample){.series = series, .value = value};
    *slot = s;
    c->count++;
    *(c->last[id] == NULL ? &c->first[id] : &c->last[id]->next) = s;
    c->last[id] = s;
}

static void collect_fini(struct vv_collect *c)
{
    for (unsigned id = 0; id < VV_METRIC_ROWS; id++) {
        while (c->first[id] != NULL) {
            struct sample *s = c->first[id];
            c->first[id] = s->next;
            free(s->series);
            free(s);
        }
    }
    free(c->map);
}

/* ---- one pass over everything, for all formats ---- */

/* What a format does with the samples. `s` is the series; family() comes before its samples. */
struct format {
    void (*family)(void *out, enum vv_metric id);
    void (*family_end)(void *out, enum vv_metric id);
    void (*word)(void *out, const struct vv_metric_series *s, uint64_t word);
    void (*number)(void *out, const struct vv_metric_series *s, double value);
    void (*histogram)(void *out, const struct vv_metric_series *s);
};

static bool in_seconds(enum vv_metric id)
{
    return strcmp(vv_metric_rows[id].unit, "seconds") == 0;
}

/* A word of a gauge is signed: one thread may count up what another counts down. */
static double word_double(enum vv_metric id, uint64_t word)
{
    const double scale = in_seconds(id) ? 1e9 : 1.0;
    return (vv_metric_rows[id].kind == VV_COUNTER ? (double)word : (double)(int64_t)word) / scale;
}

/* True when a collector has the same label set; then a counter's word joins that sample. */
static bool collected_too(struct vv_collect *c, const struct vv_metric_series *s, uint64_t word)
{
    if (c->first[s->id] == NULL) {
        return false;
    }
    struct sample *same = *map_find(c, s->id, s->value, s->hash);
    if (same == NULL) {
        return false;
    }
    if (vv_metric_rows[s->id].kind == VV_COUNTER) {
        same->value += word_double(s->id, word);
    }
    return true;
}

static void walk_family(struct vv_metrics *m, struct vv_collect *c, enum vv_metric id,
                        const struct format *f, void *out)
{
    bool begun = false;
    const struct vv_metric_series *s = __atomic_load_n(&m->family[id].first, __ATOMIC_ACQUIRE);
    for (; s != NULL; s = __atomic_load_n(&s->next, __ATOMIC_ACQUIRE)) {
        if (!__atomic_load_n(&s->shown, __ATOMIC_RELAXED)) {
            continue;
        }
        const uint64_t word = vv_metrics_value(m, s->number);
        if (collected_too(c, s, word)) {
            continue;
        }
        if (!begun) {
            f->family(out, id);
            begun = true;
        }
        if (vv_metric_rows[id].kind == VV_HISTOGRAM) {
            f->histogram(out, s);
        } else if (vv_metric_rows[id].kind == VV_INFO) {
            f->word(out, s, 1);
        } else {
            f->word(out, s, word);
        }
    }
    for (const struct sample *i = c->first[id]; i != NULL; i = i->next) {
        if (!begun) {
            f->family(out, id);
            begun = true;
        }
        f->number(out, i->series, i->value);
    }
    if (begun) {
        f->family_end(out, id);
    }
}

/* ---- Prometheus text 0.0.4 and OpenMetrics 1.0.0 ---- */

struct text {
    struct vv_metrics *m;
    struct vv_sb *out;
    bool open; /* OpenMetrics */
};

static struct vv_str family_name(const struct text *t, enum vv_metric id)
{
    struct vv_str name = vv_str_from(vv_metric_rows[id].name);
    const struct vv_str suffix =
        vv_metric_rows[id].kind == VV_COUNTER ? VV_STR("_total") : VV_STR("_info");
    const bool suffixed =
        vv_metric_rows[id].kind == VV_COUNTER || vv_metric_rows[id].kind == VV_INFO;
    if (t->open && suffixed && vv_str_ends(name, suffix)) {
        name.n -= suffix.n; /* OpenMetrics names the family without the suffix of its samples */
    }
    return name;
}

static void comment(struct vv_sb *out, const char *word, struct vv_str name)
{
    vv_sb_adds(out, word);
    vv_sb_add(out, name);
    vv_sb_addc(out, ' ');
}

static void text_family(void *arg, enum vv_metric id)
{
    const struct text *t = arg;
    const struct vv_metric_info *row = &vv_metric_rows[id];
    static const char *const kinds[] = {"counter", "gauge", "histogram", "gauge"};
    const struct vv_str name = family_name(t, id);
    comment(t->out, "# HELP ", name);
    vv_metric_escape(t->out, vv_str_from(row->help), t->open);
    vv_sb_addc(t->out, '\n');
    comment(t->out, "# TYPE ", name);
    vv_sb_adds(t->out, t->open && row->kind == VV_INFO ? "info" : kinds[row->kind]);
    vv_sb_addc(t->out, '\n');
    if (t->open && row->unit[0] != '\0' && strcmp(row->unit, "1") != 0) {
        comment(t->out, "# UNIT ", name);
        vv_sb_adds(t->out, row->unit);
        vv_sb_addc(t->out, '\n');
    }
}

static void nothing(void *arg VV_UNUSED, enum vv_metric id VV_UNUSED)
{
}

/* name<suffix>{labels} - with "le" last when given - and a space. */
static void head(const struct text *t, const struct vv_metric_series *s, const char *suffix,
                 const char *le)
{
    struct vv_sb *out = t->out;
    vv_sb_adds(out, vv_metric_rows[s->id].name);
    vv_sb_adds(out, suffix);
    const bool constant = t->m->const_text != NULL;
    if (constant || s->text.n > 0 || le != NULL) {
        vv_sb_addc(out, '{');
        vv_sb_adds(out, constant ? t->m->const_text : "");
        vv_sb_adds(out, constant && s->text.n > 0 ? "," : "");
        vv_sb_add(out, s->text);
        if (le != NULL) {
            vv_sb_adds(out, constant || s->text.n > 0 ? ",le=\"" : "le=\"");
            vv_sb_adds(out, le);
            vv_sb_addc(out, '"');
        }
        vv_sb_addc(out, '}');
    }
    vv_sb_addc(out, ' ');
}

static void end_line(struct vv_sb *out, const char *value, char *end)
{
    *end++ = '\n';
    vv_sb_add(out, (struct vv_str){value, (size_t)(end - value)});
}

static void text_word(void *arg, const struct vv_metric_series *s, uint64_t word)
{
    const struct text *t = arg;
    char value[LINE_MAX];
    char *p = value;
    head(t, s, "", NULL);
    if (vv_metric_rows[s->id].kind == VV_GAUGE && (int64_t)word < 0) {
        *p++ = '-';
        word = 0 - word;
    }
    p = in_seconds(s->id) ? vv_text_seconds(p, word) : vv_text_u64(p, word);
    end_line(t->out, value, p);
}

static void text_number(void *arg, const struct vv_metric_series *s, double value)
{
    const struct text *t = arg;
    char text[LINE_MAX];
    head(t, s, "", NULL);
    if (!__builtin_isfinite(value)) {
        vv_sb_adds(t->out, value != value ? "NaN\n" : value < 0 ? "-Inf\n" : "+Inf\n");
    } else if (value >= 0 && value < 9007199254740992.0 && value == (double)(uint64_t)value) {
        end_line(t->out, text, vv_text_u64(text, (uint64_t)value));
    } else {
        int n = snprintf(text, sizeof(text) - 1, "%.15g", value);
        if (strtod(text, NULL) != value) { /* 17 digits always read back exactly */
            n = snprintf(text, sizeof(text) - 1, "%.17g", value);
        }
        end_line(t->out, text, text + n);
    }
}

/* The count is taken from the buckets, so that it always equals the last of them, even when a
 * worker adds while we read. */
static void text_histogram(void *arg, const struct vv_metric_series *s)
{
    const struct text *t = arg;
    struct vv_metric_bounds b;
    char value[LINE_MAX];
    uint64_t sum = 0;
    vv_metric_bounds(t->m, s->number, &b);
    for (size_t i = 0; i <= VV_HIST_BOUNDS; i++) {
        sum += b.at_most[i];
        head(t, s, "_bucket", bound_text[i]);
        end_line(t->out, value, vv_text_u64(value, sum));
    }
    head(t, s, "_sum", NULL);
    end_line(t->out, value, vv_text_seconds(value, b.sum_ns));
    head(t, s, "_count", NULL);
    end_line(t->out, value, vv_text_u64(value, sum));
}

/* ---- JSON ---- */

struct json {
    struct vv_metrics *m;
    struct vv_json j;
};

static void json_family(void *arg, enum vv_metric id)
{
    struct json *o = arg;
    const struct vv_metric_info *row = &vv_metric_rows[id];
    static const char *const kinds[] = {"counter", "gauge", "histogram", "info"};
    vv_json_key(&o->j, row->name);
    vv_json_obj(&o->j);
    vv_json_kcstr(&o->j, "type", kinds[row->kind]);
    vv_json_kcstr(&o->j, "unit", row->unit);
    vv_json_kcstr(&o->j, "help", row->help);
    vv_json_key(&o->j, "series");
    vv_json_arr(&o->j);
}

static void json_family_end(void *arg, enum vv_metric id VV_UNUSED)
{
    struct json *o = arg;
    vv_json_arr_end(&o->j);
    vv_json_obj_end(&o->j);
}

static void json_labels(struct json *o, const struct vv_metric_series *s)
{
    vv_json_key(&o->j, "labels");
    vv_json_obj(&o->j);
    for (size_t i = 0; i < s->count; i++) {
        vv_json_keyn(&o->j, o->m->family[s->id].label[i]);
        vv_json_str(&o->j, s->value[i]);
    }
    vv_json_obj_end(&o->j);
}

static void json_word(void *arg, const struct vv_metric_series *s, uint64_t word)
{
    struct json *o = arg;
    vv_json_obj(&o->j);
    json_labels(o, s);
    vv_json_key(&o->j, "value");
    if (in_seconds(s->id)) {
        vv_json_double(&o->j, word_double(s->id, word));
    } else if (vv_metric_rows[s->id].kind == VV_GAUGE) {
        vv_json_i64(&o->j, (int64_t)word);
    } else {
        vv_json_u64(&o->j, word);
    }
    vv_json_obj_end(&o->j);
}

static void json_number(void *arg, const struct vv_metric_series *s, double value)
{
    struct json *o = arg;
    vv_json_obj(&o->j);
    json_labels(o, s);
    vv_json_kdouble(&o->j, "value", value);
    vv_json_obj_end(&o->j);
}

static void json_histogram(void *arg, const struct vv_metric_series *s)
{
    struct json *o = arg;
    struct vv_hist h;
    uint64_t sum = 0;
    vv_metrics_hist(o->m, s->number, &h);
    vv_json_obj(&o->j);
    json_labels(o, s);
    vv_json_key(&o->j, "buckets");
    vv_json_obj(&o->j);
    for (size_t i = 0; i <= VV_HIST_BOUNDS; i++) {
        sum += h.at_most[i];
        vv_json_ku64(&o->j, bound_text[i], sum);
    }
    vv_json_obj_end(&o->j);
    vv_json_ku64(&o->j, "count", sum);
    vv_json_kdouble(&o->j, "sum", (double)h.sum_ns / 1e9);
    vv_json_kdouble(&o->j, "p50", (double)vv_hist_quantile(&h, 500000) / 1e9);
    vv_json_kdouble(&o->j, "p95", (double)vv_hist_quantile(&h, 950000) / 1e9);
    vv_json_kdouble(&o->j, "p99", (double)vv_hist_quantile(&h, 990000) / 1e9);
    vv_json_obj_end(&o->j);
}

static void write_json(struct vv_metrics *m, struct vv_collect *c, struct vv_sb *out)
{
    static const struct format format = {.family = json_family,
                                         .family_end = json_family_end,
                                         .word = json_word,
                                         .number = json_number,
                                         .histogram = json_histogram};
    struct json o = {.m = m};
    vv_json_init(&o.j, out);
    vv_json_obj(&o.j);
    vv_json_key(&o.j, "labels");
    vv_json_obj(&o.j);
    for (size_t i = 0; i < m->const_count; i++) {
        vv_json_kcstr(&o.j, m->const_name[i], m->const_value[i]);
    }
    vv_json_obj_end(&o.j);
    vv_json_key(&o.j, "metrics");
    vv_json_obj(&o.j);
    for (unsigned id = 0; id < VV_METRIC_ROWS; id++) {
        walk_family(m, c, id, &format, &o);
    }
    vv_json_obj_end(&o.j);
    vv_json_obj_end(&o.j);
}

static void write_text(struct vv_metrics *m, struct vv_collect *c, bool open, struct vv_sb *out)
{
    static const struct format format = {.family = text_family,
                                         .family_end = nothing,
                                         .word = text_word,
                                         .number = text_number,
                                         .histogram = text_histogram};
    struct text t = {.m = m, .out = out, .open = open};
    for (unsigned id = 0; id < VV_METRIC_ROWS; id++) {
        walk_family(m, c, id, &format, &t);
    }
    if (open) {
        vv_sb_adds(out, "# EOF\n");
    }
}

void vv_metrics_write(struct vv_metrics *m, enum vv_exposition e, struct vv_sb *out)
{
    struct vv_collect c = {.m = m};
    pthread_mutex_lock(&m->scrape);
    if (!collect_room(&c)) {
        c.failed = true;
    }
    for (struct vv_metric_collector *at = m->collectors; at != NULL; at = at->next) {
        at->fn(&c, at->user);
    }
    if (c.failed) {
        out->failed = true; /* half the truth would look like a drop to zero */
    } else if (e == VV_EXPOSITION_JSON) {
        write_json(m, &c, out);
    } else {
        write_text(m, &c, e == VV_EXPOSITION_OPENMETRICS, out);
    }
    pthread_mutex_unlock(&m->scrape);
    collect_fini(&c);
}
