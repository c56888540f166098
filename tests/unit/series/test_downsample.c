/* tests/unit/series/test_downsample.c - coarse tiers answer as all samples would: the same questions
 * go to the store, when only coarse samples are left of the time asked for, and to a plain memory that
 * has every second. */
#include "store_test.h"

#include "base/rng.h"
#include "promql/memory.h"
#include <math.h>

#define SECONDS 3000 /* of history that is asked about */
#define BUCKETS 5

static struct vv_arena all_arena;
static struct vv_promql_memory all;

struct writer {
    struct vv_samples *s;
    struct vv_samples_value at[16];
    size_t all[16];
    bool counts[16];
    size_t n;
};

static void writer_series(struct writer *w, const char *name, const char *label, const char *value,
                          enum vv_samples_kind kind)
{
    const struct vv_promql_label at[] = {{VV_STR("__name__"), vv_str_from(name)},
                                         {vv_str_from(label), vv_str_from(value)}};
    VV_CHECK_INT(vv_promql_memory_series(&all, (struct vv_promql_labels){at, 2}, &w->all[w->n]),
                 VV_OK);
    w->at[w->n].v = 0;
    w->counts[w->n] = kind == VV_SAMPLES_COUNTER;
    w->at[w->n++].ref = series_of(w->s, name, label, value, kind);
}

static void writer_batch(struct writer *w, int64_t t_ms, bool also_memory)
{
    VV_CHECK_INT(vv_samples_append(w->s, t_ms, w->at, w->n), VV_OK);
    for (size_t i = 0; i < w->n && also_memory; i++) {
        VV_CHECK_INT(vv_promql_memory_add(&all, w->all[i], t_ms, w->at[i].v), VV_OK);
    }
}

static void writer_init(struct writer *w)
{
    static const char *const le[BUCKETS] = {"0.1", "0.5", "1", "5", "+Inf"};
    vv_arena_init(&all_arena, NULL, 0, 65536, 0);
    vv_promql_memory_init(&all, &all_arena);
    dir_new();
    *w = (struct writer){.s = store_open(NULL)};
    for (size_t i = 0; i < BUCKETS; i++) {
        writer_series(w, "lat_bucket", "le", le[i], VV_SAMPLES_COUNTER);
    }
    writer_series(w, "hits_total", "code", "200", VV_SAMPLES_COUNTER);
    writer_series(w, "hits_total", "code", "500", VV_SAMPLES_COUNTER);
    writer_series(w, "temp", "in", "room", VV_SAMPLES_GAUGE);
}

/* Counters fall on their own (a worker that starts again) and rise above where they were within a few
 * seconds: an interval's last sample alone would hide that. */
static void writer_fill(struct writer *w, struct vv_rng *rng, bool falls)
{
    for (int t = 0; t < SECONDS; t++) {
        const uint64_t bucket = vv_rng_below(rng, BUCKETS);
        for (size_t i = bucket; i < BUCKETS; i++) {
            w->at[i].v += 3;
        }
        for (size_t i = BUCKETS; i < BUCKETS + 2; i++) {
            w->at[i].v += (double)vv_rng_below(rng, 50);
            if (falls && vv_rng_below(rng, 40) == 0) {
                w->at[i].v = (double)vv_rng_below(rng, 3);
            }
        }
        w->at[BUCKETS + 2].v = 20 + vv_rng_double(rng);
        writer_batch(w, T0 + 1000 * (int64_t)t, true);
    }
}

static void writer_age(struct writer *w, int64_t hours)
{
    for (int64_t t = T0 + SECONDS * 1000; t < T0 + hours * 3600000; t += 5000) {
        writer_batch(w, t, false);
    }
}

static void same_answer(struct vv_samples *s, const char *text, int64_t t_ms)
{
    const struct vv_promql_query q = {.start_ms = t_ms};
    struct vv_samples_view view;
    ask_begin();
    const struct vv_promql_result want = ask_range(vv_promql_memory_source(&all), text, &q);
    const struct vv_promql_result got = ask_range(vv_samples_source(&view, s, &q, 0), text, &q);
    VV_CHECK(want.n > 0);
    VV_CHECK_INT(got.n, want.n);
    for (size_t i = 0; i < want.n; i++) {
        const double a = want.series[i].samples[0].v, b = got.series[i].samples[0].v;
        VV_CHECK(fabs(a - b) <= 1e-9 * fabs(a));
    }
}

/* Windows from one kept sample to another: both sides then see the same first and last one. */
static void ask_all(struct vv_samples *s)
{
    for (int64_t minute = 6; minute < SECONDS / 60; minute += 4) {
        const int64_t t = T0 + minute * 60000 - 1000;
        same_answer(s, "rate(hits_total[5m])", t);
        same_answer(s, "increase(hits_total[2m])", t);
        same_answer(s, "resets(hits_total[5m])", t);
        same_answer(s, "sum by (code) (rate(hits_total[4m]))", t);
        same_answer(s, "histogram_quantile(0.9, rate(lat_bucket[5m]))", t);
        same_answer(s, "histogram_quantile(0.5, sum by (le) (rate(lat_bucket[1m])))", t);
        same_answer(s, "lat_bucket", t);
        same_answer(s, "temp", t);
    }
}

VV_TEST(rate_and_quantiles_are_the_same_over_ten_second_samples)
{
    struct writer w;
    struct vv_rng rng;
    vv_rng_init(&rng, 21);
    writer_init(&w);
    writer_fill(&w, &rng, true);
    writer_age(&w, 3); /* the tier of 1 s has long forgotten, that of 10 s has not */
    ask_all(w.s);
    VV_CHECK(ask_one(w.s, "count_over_time(temp[1m])", T0 + 659000) == 7);
    vv_samples_close(w.s);
    w.s = store_open(NULL);
    ask_all(w.s);
    vv_samples_close(w.s);
    vv_arena_fini(&all_arena);
    dir_end();
}

VV_TEST(rate_and_quantiles_are_the_same_over_minutes)
{
    struct writer w;
    struct vv_rng rng;
    vv_rng_init(&rng, 22);
    writer_init(&w);
    writer_fill(&w, &rng, true);
    writer_age(&w, 9);
    VV_CHECK(ask_one(w.s, "count_over_time(temp[1m])", T0 + 659000) == 2);
    ask_all(w.s);
    vv_samples_close(w.s);
    vv_arena_fini(&all_arena);
    dir_end();
}

VV_TEST(a_fall_over_a_restart_is_seen_in_coarse_tiers)
{
    dir_new();
    struct vv_samples *s = NULL;
    /* 100 a second for 10 s, then a restart that is quick enough for the count to be higher at the
     * end of the minute than before it. */
    for (int run = 0; run < 2; run++) {
        s = store_open(NULL);
        struct vv_samples_value v = {series_of(s, "c_total", "k", "v", VV_SAMPLES_COUNTER), 0};
        for (int i = 0; i < (run == 0 ? 70 : 50); i++) { /* 0 s to 69 s; 70 s to 119 s */
            v.v = run == 0 ? 100 + i : 5 * (i + 1);
            VV_CHECK_INT(vv_samples_append(s, T0 + 1000 * (70 * run + i), &v, 1), VV_OK);
        }
        if (run == 0) {
            vv_samples_close(s);
        }
    }
    struct vv_samples_value up = {series_of(s, "up", "k", "v", VV_SAMPLES_GAUGE), 1};
    for (int64_t t = T0 + 120000; t < T0 + 8 * 3600000; t += 10000) {
        VV_CHECK_INT(vv_samples_append(s, t, &up, 1), VV_OK);
    }
    /* Kept: 59 s (159), then of the second minute 69 s (169), 70 s (5), 119 s (250). */
    VV_CHECK(ask_one(s, "count_over_time(c_total[2m])", T0 + 119000) == 4);
    VV_CHECK(ask_one(s, "resets(c_total[2m])", T0 + 119000) == 1);
    /* From 59 s to 119 s: 10 before the fall, 250 after it. */
    VV_CHECK(fabs(ask_one(s, "increase(c_total[1m])", T0 + 119000) - 260) < 1e-9);
    vv_samples_close(s);
    dir_end();
}

VV_TEST(a_long_range_is_read_coarse_and_ends_with_the_newest_sample)
{
    dir_new();
    struct vv_samples *s = store_open(NULL);
    struct vv_samples_value v = {series_of(s, "g", "k", "v", VV_SAMPLES_GAUGE), 0};
    for (int i = 0; i < 3630; i++) {
        v.v = i;
        VV_CHECK_INT(vv_samples_append(s, T0 + 1000 * (int64_t)i, &v, 1), VV_OK);
    }
    struct vv_promql_query q = {.start_ms = T0, .end_ms = T0 + 3629000, .step_ms = 0};
    const struct vv_promql_series *found = NULL;
    struct vv_samples_view view;
    struct vv_promql_source source;
    size_t n = 0;
    ask_begin();
    /* Asked by the minute with the usual look-back: one sample of each minute that is over, then 30
     * of the running one. */
    q.step_ms = 60000;
    source = vv_samples_source(&view, s, &q, 0);
    VV_CHECK_INT(
        source.select(source.ctx, NULL, 0, T0 - 300000, T0 + 3629000, &ask_arena, &found, &n),
        VV_OK);
    VV_CHECK_INT(n, 1);
    VV_CHECK_INT(found[0].n, 60 + 30);
    VV_CHECK(found[0].samples[0].v == 59 && found[0].samples[89].v == 3629);
    /* A window of 40 s needs 10 s: 360 of them and 3,600 s to 3,629 s, three intervals, are whole,
     * the last one by its end at 3,630 s not yet. */
    source = vv_samples_source(&view, s, &q, 0);
    VV_CHECK_INT(
        source.select(source.ctx, NULL, 0, T0 - 40000, T0 + 3629000, &ask_arena, &found, &n),
        VV_OK);
    VV_CHECK_INT(found[0].n, 362 + 10);
    /* Asked every second: what the finest tier has, and coarser before. */
    q.step_ms = 1000;
    source = vv_samples_source(&view, s, &q, 5000);
    VV_CHECK_INT(
        source.select(source.ctx, NULL, 0, T0 - 300000, T0 + 3629000, &ask_arena, &found, &n),
        VV_OK);
    /* Segments of 3 minutes; at 3,600 s those that ended before 2,700 s went: from 2,520 s on. */
    VV_CHECK_INT(found[0].n, 1110 + 252);
    source = vv_samples_source(&view, s, &q, 100);
    VV_CHECK_INT(
        source.select(source.ctx, NULL, 0, T0 - 300000, T0 + 3629000, &ask_arena, &found, &n),
        VV_ELIMIT);
    vv_samples_close(s);
    dir_end();
}
