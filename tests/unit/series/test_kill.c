/* tests/unit/series/test_kill.c - a process that writes is killed a hundred times, whenever it happens
 * to be. What it was told was written is there, as it was; at most the last two seconds are not. */
#include "store_test.h"

#include "base/rng.h"
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#define SERIES 20

static double value_of(unsigned id, int64_t t_ms)
{
    return id % 4 == 3 ? 0.5 * (double)(t_ms % 7919) : (double)((t_ms - T0) / 1000 * id);
}

/* Runs until it is killed; a second of samples as often as it can. */
static void write_forever(volatile int64_t *acked, int64_t t_ms)
{
    struct vv_samples_value at[SERIES];
    struct vv_samples_conf conf;
    struct vv_samples *s = NULL;
    vv_samples_conf_default(&conf);
    conf.sync_ns = 0;
    conf.disk_bytes_max = 4 * VV_MIB;
    if (vv_samples_open(test_dir, &conf, &s) != VV_OK) {
        _exit(3);
    }
    for (unsigned i = 0; i < SERIES; i++) {
        char name[8];
        snprintf(name, sizeof name, "%u", i);
        if (series_try(s, "m", "n", name, VV_SAMPLES_GAUGE, &at[i].ref) != VV_OK) {
            _exit(4);
        }
    }
    for (;; t_ms += 1000) {
        for (unsigned i = 0; i < SERIES; i++) {
            at[i].v = value_of(i, t_ms);
        }
        if (vv_samples_append(s, t_ms, at, SERIES) != VV_OK) {
            _exit(5);
        }
        *acked = t_ms;
    }
}

struct seen {
    int64_t from_ms, until_ms;
    unsigned series;
};

static enum vv_err check(void *user, const struct vv_promql_series *series,
                         enum vv_samples_kind kind)
{
    struct seen *seen = user;
    uint64_t number = 0;
    VV_CHECK_INT(vv_str_to_u64(series->labels.at[1].value, &number), VV_OK);
    const unsigned id = (unsigned)number;
    VV_CHECK_INT(kind, VV_SAMPLES_GAUGE);
    for (size_t i = 0; i < series->n; i++) {
        VV_CHECK(series->samples[i].v == value_of(id, series->samples[i].t_ms));
        /* Of the last minutes every second is there, before them every minute. */
        const int64_t gap = i > 0 ? series->samples[i].t_ms - series->samples[i - 1].t_ms : 0;
        VV_CHECK(gap == 0 || gap == 1000 ||
                 (gap <= 60000 && series->samples[i].t_ms < seen->until_ms - 800000));
    }
    VV_CHECK(series->samples[0].t_ms <= seen->from_ms);
    VV_CHECK(series->samples[series->n - 1].t_ms >= seen->until_ms);
    seen->series++;
    return VV_OK;
}

static void kill_after(pid_t child, uint64_t us)
{
    const struct timespec wait = {.tv_nsec = (long)us * 1000};
    int status = 0;
    (void)nanosleep(&wait, NULL);
    VV_CHECK_INT(kill(child, SIGKILL), 0);
    VV_CHECK_INT(waitpid(child, &status, 0), child);
    VV_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

VV_TEST(a_hundred_kills_lose_at_most_two_seconds_each)
{
    volatile int64_t *acked =
        mmap(NULL, sizeof *acked, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct vv_rng rng;
    uint64_t closed = 0;
    VV_CHECK(acked != MAP_FAILED);
    vv_rng_init(&rng, 11);
    dir_new();
    *acked = T0 - 1000;
    for (int round = 0; round < 100; round++) {
        const int64_t first = *acked + 1000;
        fflush(NULL);
        const pid_t child = fork();
        VV_CHECK(child >= 0);
        if (child == 0) {
            write_forever(acked, first);
        }
        kill_after(child, 500 + vv_rng_below(&rng, 30000));
        struct vv_samples *s = store_open(NULL);
        struct vv_samples_stats st;
        vv_samples_stats(s, &st);
        closed += st.segments[0] > 2;
        const int64_t last = vv_samples_last_ms(s);
        if (*acked > T0) {
            struct seen seen = {.from_ms = T0 + 59000, .until_ms = *acked - 2000};
            VV_CHECK(last >= *acked - 2000);
            VV_CHECK_INT(st.damaged, 0); /* torn, perhaps, but no more than a tail */
            VV_CHECK_INT(vv_samples_walk(s, 0, last, check, &seen), VV_OK);
            VV_CHECK_INT(seen.series, SERIES);
        }
        *acked = last > *acked ? last : *acked; /* killed between writing and telling */
        vv_samples_close(s);
    }
    VV_CHECK(closed > 20); /* kills fell into closings of segments, too */
    dir_end();
    munmap((void *)(uintptr_t)acked, sizeof *acked);
}
