/* tests/unit/series/store_test.h - a store in a directory of its own, and questions to it. */
#ifndef STORE_TEST_H
#define STORE_TEST_H
#include "series/series.h"
#include "vv_test.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define T0 INT64_C(1800000000000) /* a whole hour: 500,000 of them */

static char test_dir[64];

static inline void dir_new(void)
{
    snprintf(test_dir, sizeof test_dir, "/tmp/vv-series-XXXXXX");
    VV_CHECK(mkdtemp(test_dir) != NULL);
}

/* Calls fn for each file; the sum of their sizes, rounded up to 4 KiB. */
static inline uint64_t dir_each(void (*fn)(const char *path))
{
    uint64_t sum = 0;
    DIR *d = opendir(test_dir);
    const struct dirent *e;
    VV_CHECK(d != NULL);
    while ((e = readdir(d)) != NULL) {
        char path[400];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", test_dir, e->d_name);
        if (e->d_name[0] != '.' && stat(path, &st) == 0) {
            sum += ((uint64_t)st.st_size + 4095) / 4096 * 4096;
            if (fn != NULL) {
                fn(path);
            }
        }
    }
    closedir(d);
    return sum;
}

static inline void remove_file(const char *path)
{
    VV_CHECK_INT(unlink(path), 0);
}

static inline void dir_end(void)
{
    dir_each(remove_file);
    VV_CHECK_INT(rmdir(test_dir), 0);
}

static inline struct vv_samples *store_open(const struct vv_samples_conf *conf)
{
    struct vv_samples_conf c;
    struct vv_samples *s = NULL;
    vv_samples_conf_default(&c);
    c.sync_ns = 0;
    VV_CHECK_INT(vv_samples_open(test_dir, conf != NULL ? conf : &c, &s), VV_OK);
    return s;
}

/* A series with a name and one more label. */
static inline enum vv_err series_try(struct vv_samples *s, const char *name, const char *label,
                                     const char *value, enum vv_samples_kind kind, uint64_t *ref)
{
    const struct vv_promql_label at[] = {{VV_STR("__name__"), vv_str_from(name)},
                                         {vv_str_from(label), vv_str_from(value)}};
    return vv_samples_series(s, (struct vv_promql_labels){at, 2}, kind, ref);
}

static inline uint64_t series_of(struct vv_samples *s, const char *name, const char *label,
                                 const char *value, enum vv_samples_kind kind)
{
    uint64_t ref = 0;
    VV_CHECK_INT(series_try(s, name, label, value, kind, &ref), VV_OK);
    return ref;
}

/* The answers live until the next question. */
static struct vv_arena ask_arena;
static inline struct vv_promql_result ask_range(struct vv_promql_source source, const char *text,
                                                const struct vv_promql_query *q)
{
    const struct vv_promql_expr *e = NULL;
    struct vv_promql_error why;
    struct vv_promql_result r;
    VV_CHECK_INT(vv_promql_parse(vv_str_from(text), &ask_arena, &e, &why), VV_OK);
    VV_CHECK_INT(vv_promql_eval(e, &source, q, &ask_arena, &r, &why), VV_OK);
    return r;
}

static inline void ask_begin(void)
{
    vv_arena_fini(&ask_arena);
    vv_arena_init(&ask_arena, NULL, 0, 65536, 0);
}

static inline struct vv_promql_result ask(struct vv_samples *s, const char *text, int64_t t_ms)
{
    const struct vv_promql_query q = {.start_ms = t_ms};
    struct vv_samples_view view;
    ask_begin();
    return ask_range(vv_samples_source(&view, s, &q, 0), text, &q);
}

/* The one number of the answer; NaN when there is none. */
static inline double ask_one(struct vv_samples *s, const char *text, int64_t t_ms)
{
    const struct vv_promql_result r = ask(s, text, t_ms);
    VV_CHECK(r.n <= 1);
    return r.n == 1 ? r.series[0].samples[0].v : (double)__builtin_nan("");
}
#endif
