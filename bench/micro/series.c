/* bench/micro/series.c - the store of samples: ns an append, bytes a sample on disk and in memory. */
#include "series/series.h"
#include "base/rng.h"
#include "os/clock.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SERIES 2000
#define SECONDS (7 * 3600)

/* A third each: counters that count now and then, a busy counter, gauges of which half move. */
static double next(struct vv_rng *rng, size_t i, double v)
{
    switch (i % 3) {
    case 0:
        return v + (vv_rng_below(rng, 10) == 0 ? 1 : 0);
    case 1:
        return v + (double)vv_rng_below(rng, 1000);
    default:
        return i % 2 == 0 ? v : vv_rng_double(rng);
    }
}

int main(void)
{
    static struct vv_samples_value batch[SERIES];
    struct vv_samples_conf conf;
    struct vv_samples_stats st;
    struct vv_samples *s = NULL;
    struct vv_rng rng;
    char dir[] = "/tmp/vv-series-bench-XXXXXX";
    uint64_t worst = 0;
    vv_rng_init(&rng, 1);
    vv_samples_conf_default(&conf);
    conf.sync_ns = 0;
    if (mkdtemp(dir) == NULL || vv_samples_open(dir, &conf, &s) != VV_OK) {
        return 1;
    }
    for (size_t i = 0; i < SERIES; i++) {
        char number[16];
        const int n = snprintf(number, sizeof number, "%zu", i);
        const struct vv_promql_label at[] = {{VV_STR("__name__"), VV_STR("bench_metric_total")},
                                             {VV_STR("number"), {number, (size_t)n}},
                                             {VV_STR("route"), VV_STR("api")}};
        if (vv_samples_series(s, (struct vv_promql_labels){at, VV_COUNT(at)},
                              i % 3 < 2 ? VV_SAMPLES_COUNTER : VV_SAMPLES_GAUGE,
                              &batch[i].ref) != VV_OK) {
            return 1;
        }
    }
    const uint64_t from_ns = vv_clock_thread();
    for (int t = 0; t < SECONDS; t++) {
        for (size_t i = 0; i < SERIES; i++) {
            batch[i].v = next(&rng, i, batch[i].v);
        }
        const uint64_t at_ns = vv_clock_thread();
        if (vv_samples_append(s, INT64_C(1800000000000) + 1000 * t, batch, SERIES) != VV_OK) {
            return 1;
        }
        const uint64_t took = vv_clock_thread() - at_ns;
        worst = took > worst ? took : worst;
    }
    const uint64_t ns = vv_clock_thread() - from_ns;
    vv_samples_stats(s, &st);
    printf("append               %6.1f ns a sample (all tiers, files), worst batch %.1f ms\n",
           (double)ns / SECONDS / SERIES, (double)worst / 1e6);
    /* What is kept: 15 to 18 minutes of 1 s, 6 to 6.5 h of 10 s, 7 h of a minute. */
    const double kept = SERIES * (16.5 * 60 + 6.25 * 360 + 7 * 60);
    printf("disk                 %6.2f bytes a sample (%.1f MiB, %u series)\n",
           (double)st.disk_bytes / kept, (double)st.disk_bytes / (double)VV_MIB, SERIES);
    printf("memory               %6.0f bytes a series (%.1f MiB)\n",
           (double)st.memory_bytes / SERIES, (double)st.memory_bytes / (double)VV_MIB);
    vv_samples_close(s);
    const uint64_t open_ns = vv_clock_now();
    if (vv_samples_open(dir, &conf, &s) != VV_OK) {
        return 1;
    }
    printf("open                 %6.1f ms\n", (double)(vv_clock_now() - open_ns) / 1e6);
    vv_samples_close(s);
    DIR *d = opendir(dir);
    const struct dirent *e;
    while (d != NULL && (e = readdir(d)) != NULL) {
        char path[400];
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        (void)unlink(path);
    }
    closedir(d);
    return rmdir(dir);
}
