/* tests/unit/series/test_store.c - what goes into the store comes out of it, for as long as promised,
 * in the room promised, over restarts, damage and clocks set back. */
#include "store_test.h"

#include "base/rng.h"
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

static void append_one(struct vv_samples *s, uint64_t ref, int64_t t_ms, double v)
{
    const struct vv_samples_value at = {ref, v};
    VV_CHECK_INT(vv_samples_append(s, t_ms, &at, 1), VV_OK);
}

VV_TEST(samples_come_back_after_the_store_was_closed)
{
    dir_new();
    struct vv_samples *s = store_open(NULL);
    const uint64_t up = series_of(s, "up", "job", "a", VV_SAMPLES_GAUGE);
    for (int i = 0; i < 400; i++) { /* over the ends of two segments of 180 s */
        append_one(s, up, T0 + 1000 * i, i);
    }
    for (int round = 0; round < 3; round++) {
        VV_CHECK_INT(vv_samples_last_ms(s), T0 + 399000);
        VV_CHECK(ask_one(s, "up", T0 + 399000) == 399);
        VV_CHECK(ask_one(s, "sum_over_time(up[400s])", T0 + 399000) == 399 * 400 / 2);
        VV_CHECK(ask_one(s, "up{job=\"a\"} offset 5m", T0 + 399000) == 99);
        vv_samples_close(s);
        s = store_open(NULL);
        VV_CHECK_INT(series_of(s, "up", "job", "a", VV_SAMPLES_GAUGE) & UINT32_MAX,
                     up & UINT32_MAX);
    }
    vv_samples_close(s);
    dir_end();
}

VV_TEST(series_are_found_by_every_kind_of_matcher)
{
    dir_new();
    struct vv_samples *s = store_open(NULL);
    const char *codes[] = {"200", "204", "404", "500"};
    for (size_t i = 0; i < 4; i++) {
        append_one(s, series_of(s, "hits", "code", codes[i], VV_SAMPLES_COUNTER), T0, 1 << i);
    }
    append_one(s, series_of(s, "other", "code", "200", VV_SAMPLES_COUNTER), T0, 100);
    VV_CHECK(ask_one(s, "sum(hits)", T0) == 15);
    VV_CHECK(ask_one(s, "hits{code=\"404\"}", T0) == 4);
    VV_CHECK(ask_one(s, "sum(hits{code!=\"404\"})", T0) == 11);
    VV_CHECK(ask_one(s, "sum(hits{code=~\"2..\"})", T0) == 3);
    VV_CHECK(ask_one(s, "sum(hits{code!~\"2..\"})", T0) == 12);
    VV_CHECK(ask_one(s, "sum({code=\"200\"})", T0) == 101);
    VV_CHECK(ask_one(s, "sum({code=~\".+\"})", T0) == 115);
    VV_CHECK_INT(ask(s, "none", T0).n, 0);
    VV_CHECK_INT(ask(s, "hits{absent=\"\"}", T0).n, 4);
    vv_samples_close(s);
    dir_end();
}

VV_TEST(what_is_refused_is_counted)
{
    dir_new();
    struct vv_samples_conf conf;
    struct vv_samples_stats st;
    uint64_t ref = 0;
    vv_samples_conf_default(&conf);
    conf.series_max = 2;
    conf.sync_ns = 0;
    struct vv_samples *s = store_open(&conf);
    const uint64_t a = series_of(s, "m", "k", "a", VV_SAMPLES_GAUGE);
    const uint64_t b = series_of(s, "m", "k", "b", VV_SAMPLES_GAUGE);
    append_one(s, a, T0, 1);
    append_one(s, b, T0, 1); /* another batch of the same time */
    VV_CHECK_INT(series_try(s, "m", "k", "c", VV_SAMPLES_GAUGE, &ref), VV_ELIMIT);
    VV_CHECK_INT(series_try(s, "m", "k", "a", VV_SAMPLES_GAUGE, &ref), VV_OK);
    VV_CHECK_INT(series_try(s, "m", "A", "", VV_SAMPLES_GAUGE, &ref), VV_EINVAL);
    append_one(s, a, T0, 2);          /* the same time again */
    append_one(s, UINT64_MAX, T0, 2); /* no such series */
    const struct vv_samples_value at[] = {{a, 1}, {b, 1}};
    VV_CHECK_INT(vv_samples_append(s, T0 - 1, at, 2), VV_ERANGE);
    VV_CHECK_INT(vv_samples_append(s, -1, at, 2), VV_ERANGE);
    vv_samples_stats(s, &st);
    VV_CHECK_INT(st.series_refused, 1);
    VV_CHECK_INT(st.late, 5);
    VV_CHECK_INT(st.unknown, 1);
    VV_CHECK_INT(st.appended, 2);
    /* A month later nothing of them is left, and their places are free. */
    uint64_t c = a;
    for (int i = 0; i < 5; i++) {
        append_one(s, a, T0 + (31 * INT64_C(86400) + i * 21600) * 1000, 1);
    }
    VV_CHECK_INT(series_try(s, "m", "k", "c", VV_SAMPLES_GAUGE, &c), VV_OK);
    append_one(s, b, T0 + 33 * INT64_C(86400000), 1);
    vv_samples_stats(s, &st);
    VV_CHECK_INT(st.unknown, 2); /* b went, and its reference does not reach c */
    VV_CHECK_INT(st.series, 2);
    vv_samples_close(s);
    dir_end();
}

VV_TEST(only_one_process_has_the_store_open)
{
    dir_new();
    struct vv_samples *s = store_open(NULL), *other = NULL;
    struct vv_samples_conf conf;
    vv_samples_conf_default(&conf);
    VV_CHECK_INT(vv_samples_open(test_dir, &conf, &other), VV_EAGAIN);
    vv_samples_close(s);
    conf.tier[1].step_ns = 1500 * VV_MS; /* no multiple of the finer step */
    VV_CHECK_INT(vv_samples_open(test_dir, &conf, &other), VV_EINVAL);
    dir_end();
}

VV_TEST(a_clock_set_back_hides_the_future_and_loses_no_past)
{
    dir_new();
    struct vv_samples *s = store_open(NULL);
    struct vv_samples_stats st;
    const uint64_t up = series_of(s, "up", "job", "a", VV_SAMPLES_GAUGE);
    const struct vv_samples_value v = {up, 7};
    for (int i = 0; i < 1000; i++) {
        append_one(s, up, T0 + 1000 * i, 1);
    }
    VV_CHECK_INT(vv_samples_append(s, T0 + 950000, &v, 1), VV_ERANGE); /* 49 s: waited out */
    for (int i = 0; i < 100; i++) { /* 499 s back: from here on anew */
        append_one(s, up, T0 + 500000 + 1000 * i, 2);
    }
    for (int round = 0; round < 2; round++) {
        VV_CHECK(ask_one(s, "up", T0 + 499000) == 1);
        VV_CHECK(ask_one(s, "up", T0 + 599000) == 2);
        VV_CHECK(ask_one(s, "sum_over_time(up[10s])", T0 + 504000) == 6 * 1 + 5 * 2);
        VV_CHECK_INT(vv_samples_last_ms(s), T0 + 599000);
        vv_samples_stats(s, &st);
        VV_CHECK_INT(st.clock_back, round == 0 ? 1 : 0);
        vv_samples_close(s);
        s = store_open(NULL);
    }
    /* And the coarse tier goes on: minutes of the second run are written. */
    for (int i = 100; i < 400; i++) {
        append_one(s, up, T0 + 500000 + 1000 * i, 2);
    }
    const struct vv_promql_query q = {.start_ms = T0, .end_ms = T0 + 840000, .step_ms = 60000};
    struct vv_samples_view view;
    ask_begin();
    const struct vv_promql_result r = ask_range(vv_samples_source(&view, s, &q, 0), "up", &q);
    VV_CHECK_INT(r.n, 1);
    VV_CHECK_INT(r.series[0].n, 14);  /* minutes 1 to 14: the first sample kept is at 59 s */
    for (size_t i = 0; i < 14; i++) { /* minute i + 1 looks at the sample of i:59 */
        VV_CHECK(r.series[0].samples[i].v == ((i * 60 + 59) < 500 ? 1 : 2));
    }
    vv_samples_close(s);
    dir_end();
}

static double value_of(unsigned id, int64_t t_ms)
{
    return (double)(t_ms / 1000 % 100000 * (id + 1)) + (id % 2 == 0 ? 0 : 0.25);
}

static enum vv_err check_values(void *user, const struct vv_promql_series *series,
                                enum vv_samples_kind kind)
{
    uint64_t *seen = user;
    uint64_t number = 0;
    VV_CHECK_INT(vv_str_to_u64(series->labels.at[1].value, &number), VV_OK);
    const unsigned id = (unsigned)number;
    VV_CHECK_INT(kind, VV_SAMPLES_GAUGE);
    for (size_t i = 0; i < series->n; i++) {
        VV_CHECK(series->samples[i].v == value_of(id, series->samples[i].t_ms));
        VV_CHECK(i == 0 || series->samples[i - 1].t_ms < series->samples[i].t_ms);
    }
    *seen += series->n;
    return VV_OK;
}

static void fill(struct vv_samples *s, unsigned series, int64_t from_ms, int64_t step_ms, size_t n)
{
    struct vv_samples_value at[64];
    for (unsigned i = 0; i < series; i++) {
        char name[8];
        snprintf(name, sizeof name, "%u", i);
        at[i].ref = series_of(s, "m", "n", name, VV_SAMPLES_GAUGE);
    }
    for (size_t k = 0; k < n; k++) {
        const int64_t t_ms = from_ms + (int64_t)k * step_ms;
        for (unsigned i = 0; i < series; i++) {
            at[i].v = value_of(i, t_ms);
        }
        const enum vv_err err = vv_samples_append(s, t_ms, at, series);
        VV_CHECK(err == VV_OK || err == VV_ELIMIT); /* the latter: no room on disk */
    }
}

VV_TEST(a_walk_gives_each_sample_once)
{
    dir_new();
    struct vv_samples *s = store_open(NULL);
    uint64_t seen = 0;
    fill(s, 5, T0, 1000, 700);
    for (int64_t t = T0 - 1; t < T0 + 699000; t += 7000) {
        const int64_t until = t + 7000 < T0 + 699000 ? t + 7000 : T0 + 699000;
        VV_CHECK_INT(vv_samples_walk(s, t, until, check_values, &seen), VV_OK);
    }
    VV_CHECK_INT(seen, 5 * 700);
    seen = 0;
    VV_CHECK_INT(vv_samples_each(s, check_values, &seen), VV_OK);
    VV_CHECK_INT(seen, 5);
    vv_samples_close(s);
    dir_end();
}

VV_TEST(thirty_days_fit_the_budget_and_can_be_asked)
{
    dir_new();
    struct vv_samples_conf conf;
    struct vv_samples_stats st;
    uint64_t seen = 0, most = 0;
    vv_samples_conf_default(&conf);
    conf.sync_ns = 0;
    conf.disk_bytes_max = 16 * VV_MIB;
    struct vv_samples *s = store_open(&conf);
    for (int day = 0; day < 33; day++) { /* a batch every 10 s, for speed */
        fill(s, 16, T0 + day * INT64_C(86400000), 10000, 8640);
        const uint64_t bytes = dir_each(NULL);
        vv_samples_stats(s, &st);
        VV_CHECK_INT(st.disk_bytes, bytes);
        most = bytes > most ? bytes : most;
    }
    const int64_t end = T0 + 33 * INT64_C(86400000) - 10000;
    VV_CHECK(most < 16 * VV_MIB);
    VV_CHECK_INT(st.evicted, 0);
    VV_CHECK_INT(st.unwritten + st.write_errors + st.damaged + st.overfull, 0);
    VV_CHECK(st.memory_bytes < 16 * 12000 + 100000); /* open chunks: 720 samples of <= 10 bytes */
    /* Thirty days by the minute, and at most two segments more: the oldest goes when the
     * newest one ends. */
    VV_CHECK(st.oldest_ms[2] <= end - 30 * INT64_C(86400000) + 60000);
    VV_CHECK(st.oldest_ms[2] >= end - 30 * INT64_C(86400000) - 2 * 21600000);
    VV_CHECK(st.oldest_ms[1] >= end - 7 * INT64_C(3600000));
    VV_CHECK(st.oldest_ms[0] >= end - 21 * INT64_C(60000));
    VV_CHECK_INT(vv_samples_walk(s, end - 30 * INT64_C(86400000), end, check_values, &seen), VV_OK);
    /* By the minute for 30 days less 6 h to 6.5 h, by 10 s since (finer batches there are none). */
    VV_CHECK(seen >= 16 * ((30 * 24 - 7) * 60 + 6 * 360));
    VV_CHECK(seen <= 16 * ((30 * 24 - 6) * 60 + 7 * 360));
    VV_CHECK(ask_one(s, "m{n=\"3\"}", end - 29 * INT64_C(86400000)) ==
             value_of(3, end - 29 * INT64_C(86400000) - (end / 1000 % 60 == 50 ? 0 : 60000)));
    vv_samples_close(s);
    dir_end();
}

VV_TEST(a_budget_too_small_holds_and_the_oldest_goes_first)
{
    dir_new();
    struct vv_samples_conf conf;
    struct vv_samples_stats st;
    uint64_t seen = 0;
    vv_samples_conf_default(&conf);
    conf.sync_ns = 0;
    conf.disk_bytes_max = 512 * VV_KIB;
    struct vv_samples *s = store_open(&conf);
    for (int hour = 0; hour < 24 * 6; hour++) {
        fill(s, 32, T0 + hour * INT64_C(3600000), 5000, 720);
        VV_CHECK(dir_each(NULL) <= 512 * VV_KIB);
    }
    const int64_t end = T0 + 6 * INT64_C(86400000) - 5000;
    vv_samples_stats(s, &st);
    VV_CHECK(st.evicted > 0);
    VV_CHECK_INT(st.write_errors + st.damaged, 0);
    VV_CHECK(st.oldest_ms[2] > T0 && st.oldest_ms[2] < end - 6 * INT64_C(3600000));
    VV_CHECK_INT(vv_samples_walk(s, T0, end, check_values, &seen), VV_OK);
    VV_CHECK(seen > 32 * 6 * 360);
    vv_samples_close(s);
    /* Not even room for the open logs: it goes on in memory, and says so. */
    conf.disk_bytes_max = 256 * VV_KIB;
    conf.series_max = 64;
    s = store_open(&conf);
    fill(s, 64, end + 5000, 1000, 12 * 3600);
    VV_CHECK(dir_each(NULL) <= 256 * VV_KIB);
    VV_CHECK(ask_one(s, "m{n=\"63\"}", end + 4000 + 12 * INT64_C(3600000)) ==
             value_of(63, end + 4000 + 12 * INT64_C(3600000)));
    vv_samples_close(s);
    dir_end();
}

static char victim[400];
static off_t victim_size;
static char wanted[16];
static void find_victim(const char *path)
{
    struct stat st;
    if (strstr(path, wanted) != NULL && stat(path, &st) == 0 && st.st_size > 0) {
        snprintf(victim, sizeof victim, "%s", path);
        victim_size = st.st_size;
    }
}

static void choose_victim(const char *part)
{
    snprintf(wanted, sizeof wanted, "%s", part);
    victim[0] = '\0';
    dir_each(find_victim);
    VV_CHECK(victim[0] != '\0');
}

VV_TEST(a_log_torn_anywhere_gives_what_was_whole)
{
    dir_new();
    struct vv_samples *s = store_open(NULL);
    uint64_t before = 5 * 100;
    fill(s, 5, T0, 1000, 100);
    vv_samples_close(s);
    choose_victim("/0-");
    for (off_t size = victim_size - 1; size > 0; size -= 3) {
        uint64_t seen = 0;
        VV_CHECK_INT(truncate(victim, size), 0);
        s = store_open(NULL);
        VV_CHECK_INT(vv_samples_walk(s, 0, T0 * 2, check_values, &seen), VV_OK);
        vv_samples_close(s);
        if (access(victim, F_OK) != 0) { /* nothing whole was left in it, but nine of 10 s were */
            VV_CHECK_INT(before, 5);
            VV_CHECK_INT(seen, 5 * 9);
            break;
        }
        VV_CHECK(seen <= before && seen + 5 >= before); /* a record has five samples */
        before = seen;
    }
    dir_end();
}

VV_TEST(flipped_bytes_are_stepped_over_and_counted)
{
    static const char *const kinds[] = {".log", ".seg", "labels"};
    struct vv_rng rng;
    uint64_t damaged = 0;
    vv_rng_init(&rng, 3);
    dir_new();
    struct vv_samples *s = store_open(NULL);
    fill(s, 5, T0, 1000, 4000);
    vv_samples_close(s);
    for (int round = 0; round < 150; round++) {
        struct vv_samples_stats st;
        uint64_t seen = 0;
        uint8_t byte = 0;
        choose_victim(kinds[round % 3]);
        const int fd = open(victim, O_RDWR);
        const off_t at = (off_t)vv_rng_below(&rng, (uint64_t)victim_size);
        VV_CHECK(fd >= 0 && pread(fd, &byte, 1, at) == 1);
        byte ^= (uint8_t)(1u << vv_rng_below(&rng, 8));
        VV_CHECK(pwrite(fd, &byte, 1, at) == 1);
        close(fd);
        s = store_open(NULL);
        VV_CHECK_INT(vv_samples_walk(s, 0, T0 * 2, check_values, &seen), VV_OK);
        vv_samples_stats(s, &st);
        damaged += st.damaged + st.torn_bytes;
        fill(s, 5, T0 + 4000000 + round * 20000, 1000, 20); /* and life goes on */
        VV_CHECK(ask_one(s, "m{n=\"4\"}", T0 + 4000000 + round * 20000 + 19000) ==
                 value_of(4, T0 + 4000000 + round * 20000 + 19000));
        vv_samples_close(s);
    }
    VV_CHECK(damaged > 75);
    dir_end();
}

VV_TEST(one_flipped_byte_in_a_log_costs_at_most_a_key_distance)
{
    dir_new();
    struct vv_samples *s = store_open(NULL);
    uint64_t seen = 0;
    uint8_t byte = 0;
    fill(s, 5, T0, 1000, 170);
    vv_samples_close(s);
    choose_victim("/0-");
    const int fd = open(victim, O_RDWR);
    VV_CHECK(fd >= 0 && pread(fd, &byte, 1, victim_size / 8) == 1);
    byte ^= 1;
    VV_CHECK(pwrite(fd, &byte, 1, victim_size / 8) == 1);
    close(fd);
    s = store_open(NULL);
    VV_CHECK_INT(vv_samples_walk(s, 0, T0 * 2, check_values, &seen), VV_OK);
    VV_CHECK(seen < 5 * 170 && seen >= 5 * (170 - 64));
    vv_samples_close(s);
    dir_end();
}

VV_TEST(a_series_that_ended_is_gone_in_every_tier)
{
    dir_new();
    struct vv_samples *s = store_open(NULL);
    const uint64_t a = series_of(s, "m", "k", "a", VV_SAMPLES_GAUGE);
    const uint64_t b = series_of(s, "m", "k", "b", VV_SAMPLES_GAUGE);
    for (int i = 0; i < 9 * 360; i++) { /* 9 hours by 10 s */
        append_one(s, b, T0 + 10000 * (int64_t)i, 2);
        if (i <= 20) {
            append_one(s, a, T0 + 10000 * (int64_t)i, i < 20 ? 1 : vv_promql_stale());
        }
    }
    VV_CHECK_INT(ask(s, "m", T0 + 190000).n, 2); /* minutes: 170 s is the last before */
    VV_CHECK_INT(ask(s, "m", T0 + 200000).n, 1); /* the marker is that minute's last */
    VV_CHECK_INT(ask(s, "m", T0 + 240000).n, 1);
    VV_CHECK(ask_one(s, "sum_over_time(m{k=\"a\"}[10m])", T0 + 300000) == 3); /* 50, 110, 170 s */
    vv_samples_close(s);
    dir_end();
}

VV_TEST(an_open_chunk_has_an_end)
{
    dir_new();
    struct vv_samples *s = store_open(NULL);
    struct vv_samples_stats st;
    struct vv_rng rng;
    vv_rng_init(&rng, 9);
    const uint64_t a = series_of(s, "m", "k", "a", VV_SAMPLES_GAUGE);
    for (int i = 0; i < 20000; i++) { /* within one segment of 180 s, 9.5 bytes each */
        append_one(s, a, T0 + 9 * (int64_t)i, vv_rng_double(&rng));
    }
    vv_samples_stats(s, &st);
    VV_CHECK(st.overfull > 1000 && st.overfull + st.appended == 20000);
    VV_CHECK(st.memory_bytes < 3 * 65536 + 20000);
    vv_samples_close(s);
    dir_end();
}

VV_TEST(lost_labels_give_their_samples_to_nobody)
{
    dir_new();
    struct vv_samples *s = store_open(NULL);
    uint64_t seen = 0;
    fill(s, 5, T0, 1000, 400);
    vv_samples_close(s);
    choose_victim("labels");
    VV_CHECK_INT(unlink(victim), 0);
    for (int round = 0; round < 3;
         round++) { /* other series get the lowest numbers that are free */
        s = store_open(NULL);
        append_one(s, series_of(s, "m", "n", "7", VV_SAMPLES_GAUGE), T0 + 400000 + round * 1000,
                   value_of(7, T0 + 400000 + round * 1000));
        vv_samples_close(s);
    }
    s = store_open(NULL);
    VV_CHECK_INT(vv_samples_walk(s, 0, T0 * 2, check_values, &seen), VV_OK);
    VV_CHECK_INT(seen, 3);
    vv_samples_close(s);
    dir_end();
}

VV_TEST(writes_that_fail_halfway_cost_only_what_they_were)
{
    dir_new();
    struct vv_samples *s = store_open(NULL);
    struct vv_samples_stats st;
    struct rlimit old, tight;
    struct vv_samples_value at[8];
    uint64_t seen = 0;
    unsigned failed = 0;
    VV_CHECK(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    VV_CHECK_INT(getrlimit(RLIMIT_FSIZE, &old), 0);
    fill(s, 8, T0, 1000, 20);
    for (unsigned i = 0; i < 8; i++) {
        char name[8];
        snprintf(name, sizeof name, "%u", i);
        at[i].ref = series_of(s, "m", "n", name, VV_SAMPLES_GAUGE);
    }
    for (int k = 0; k < 300; k++) { /* a full disk for 10 s out of 40, also at 180 s */
        const int64_t t_ms = T0 + 20000 + k * 1000;
        tight = old;
        tight.rlim_cur = k % 40 < 10 ? 700 : old.rlim_cur;
        VV_CHECK_INT(setrlimit(RLIMIT_FSIZE, &tight), 0);
        for (unsigned i = 0; i < 8; i++) {
            at[i].v = value_of(i, t_ms);
        }
        failed += vv_samples_append(s, t_ms, at, 8) != VV_OK;
        VV_CHECK(ask_one(s, "m{n=\"5\"}", t_ms) == value_of(5, t_ms)); /* in memory anyhow */
    }
    VV_CHECK_INT(setrlimit(RLIMIT_FSIZE, &old), 0);
    vv_samples_stats(s, &st);
    VV_CHECK(failed > 50 && st.unwritten >= 8 * failed && st.write_errors > 0);
    VV_CHECK_INT(st.disk_bytes, dir_each(NULL));
    vv_samples_close(s);
    s = store_open(NULL);
    vv_samples_stats(s, &st);
    VV_CHECK_INT(st.damaged + st.torn_bytes, 0);
    VV_CHECK_INT(vv_samples_walk(s, 0, T0 * 2, check_values, &seen), VV_OK);
    /* The segment of 180 s could be closed at 210 s, with what its log had not. Since then a full
     * disk took 30 s at most. */
    VV_CHECK(seen >= 8 * (320 - 30));
    vv_samples_close(s);
    dir_end();
}

static void *ask_often(void *user)
{
    struct vv_samples *s = user;
    uint64_t seen = 0;
    struct vv_samples_stats st;
    for (int i = 0; i < 50; i++) {
        if (vv_samples_walk(s, 0, T0 * 2, check_values, &seen) != VV_OK) {
            return user;
        }
        vv_samples_stats(s, &st);
    }
    return NULL;
}

VV_TEST(threads_may_ask_while_one_appends)
{
    dir_new();
    struct vv_samples *s = store_open(NULL);
    pthread_t thread;
    void *bad = NULL;
    fill(s, 8, T0, 1000, 1);
    VV_CHECK_INT(pthread_create(&thread, NULL, ask_often, s), 0);
    fill(s, 8, T0 + 1000, 1000, 1000);
    VV_CHECK_INT(pthread_join(thread, &bad), 0);
    VV_CHECK(bad == NULL);
    vv_samples_close(s);
    dir_end();
}
