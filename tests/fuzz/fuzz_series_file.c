/* tests/fuzz/fuzz_series_file.c - whatever is in a file of the store of samples, the store opens, gives
 * rising times, and takes the next batch. The first byte chooses the file, and whether checksums are
 * made good, so that what is behind them is reached. */
#include "series/series.h"
#include "series/series_int.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const files[] = {"0-0000000000000001.log",
                                    "1-0000000000000001.log",
                                    "2-0000000000000001.log",
                                    "0-0000000000000001.seg",
                                    "1-0000000000000001.seg",
                                    "2-0000000000000001.seg",
                                    "labels"};
static char dir[64];
static uint64_t refs[4];

static void path_of(char path[200], const char *name)
{
    snprintf(path, 200, "%s/%s", dir, name);
}

static void empty_dir(void)
{
    char path[200], name[64];
    for (unsigned tier = 0; tier < VV_SAMPLES_TIERS; tier++) {
        for (unsigned seq = 1; seq < 5; seq++) {
            snprintf(name, sizeof name, "%u-%016u.seg", tier, seq);
            path_of(path, name);
            (void)unlink(path);
            snprintf(name, sizeof name, "%u-%016u.log", tier, seq);
            path_of(path, name);
            (void)unlink(path);
        }
    }
    path_of(path, "labels");
    (void)unlink(path);
    path_of(path, "lock");
    (void)unlink(path);
}

static void end(void)
{
    empty_dir();
    (void)rmdir(dir);
}

static struct vv_samples *store_open(void)
{
    struct vv_samples_conf conf;
    struct vv_samples *s = NULL;
    vv_samples_conf_default(&conf);
    conf.sync_ns = 0;
    VV_ASSERT(vv_samples_open(dir, &conf, &s) == VV_OK);
    return s;
}

static void make_series(struct vv_samples *s)
{
    for (size_t i = 0; i < VV_COUNT(refs); i++) {
        const struct vv_promql_label at[] = {{VV_STR("__name__"), VV_STR("m")},
                                             {VV_STR("n"), {&"0123"[i], 1}}};
        VV_ASSERT(vv_samples_series(s, (struct vv_promql_labels){at, 2},
                                    i % 2 == 0 ? VV_SAMPLES_COUNTER : VV_SAMPLES_GAUGE,
                                    &refs[i]) == VV_OK);
    }
}

/* A length and so many bytes, again and again, become whole records. */
static void wrap_records(const uint8_t *data, size_t size, struct vv_bytes *out)
{
    for (size_t at = 0; at < size;) {
        size_t head = 0, n = data[at++];
        n = n < size - at ? n : size - at;
        vv_record_begin(out, &head);
        vv_bytes_add(out, data + at, n);
        vv_record_end(out, head);
        at += n;
    }
}

/* The same as chunks of a closed segment, whose first byte says which series and how many samples. */
static void wrap_chunks(const uint8_t *data, size_t size, struct vv_bytes *out)
{
    for (size_t at = 0; at < size;) {
        size_t n = data[at++];
        n = n < size - at ? n : size - at;
        uint32_t words[4] = {UINT32_C(0x63a5535a), n > 0 ? data[at] % 5 : 0,
                             n > 0 ? data[at] / 5 + 1u : 1, (uint32_t)n};
        uint8_t head[40] = {0};
        memcpy(head, words, sizeof words);
        const uint64_t hash =
            vv_str_hash((struct vv_str){(const char *)data + at, n},
                        vv_str_hash((struct vv_str){(const char *)head, 32}, UINT64_C(0x31a5535a)));
        memcpy(head + 32, &hash, 8);
        vv_bytes_add(out, head, sizeof head);
        vv_bytes_add(out, data + at, n);
        at += n;
    }
}

static enum vv_err check(void *user, const struct vv_promql_series *series,
                         enum vv_samples_kind kind)
{
    (void)user;
    (void)kind;
    for (size_t i = 1; i < series->n; i++) {
        VV_ASSERT(series->samples[i - 1].t_ms < series->samples[i].t_ms);
    }
    return VV_OK;
}

static enum vv_err count(void *user, const struct vv_promql_series *series,
                         enum vv_samples_kind kind)
{
    (void)kind;
    *(size_t *)user += series->n;
    return VV_OK;
}

static void try_store(void)
{
    struct vv_samples *s = store_open();
    size_t n = 0;
    VV_ASSERT(vv_samples_walk(s, -1, INT64_MAX - 1, check, NULL) == VV_OK);
    int64_t t = vv_samples_last_ms(s);
    t = t < 0 ? 1000 : t + 1000;
    if (t < VV_SERIES_T_MAX) {
        make_series(s);
        const struct vv_samples_value v = {refs[2], 5};
        VV_ASSERT(vv_samples_append(s, t, &v, 1) == VV_OK);
        VV_ASSERT(vv_samples_walk(s, t - 1, t, count, &n) == VV_OK);
        VV_ASSERT(n == 1);
    }
    vv_samples_close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vv_bytes out = {0};
    char path[200];
    if (size < 1 || size > 4096) {
        return 0;
    }
    if (dir[0] == '\0') {
        snprintf(dir, sizeof dir, "%s/vv-fuzz-series-XXXXXX",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        VV_ASSERT(mkdtemp(dir) != NULL);
        VV_ASSERT(atexit(end) == 0);
    }
    struct vv_samples *s = store_open();
    make_series(s);
    vv_samples_close(s);
    const size_t which = (data[0] & 0x7f) % VV_COUNT(files);
    if ((data[0] & 0x80) == 0) {
        vv_bytes_add(&out, data + 1, size - 1);
    } else if (which >= 3 && which <= 5) {
        wrap_chunks(data + 1, size - 1, &out);
    } else {
        wrap_records(data + 1, size - 1, &out);
    }
    path_of(path, files[which]);
    const int fd = open(path, O_WRONLY | O_CREAT | (which == 6 ? O_APPEND : O_TRUNC), 0600);
    VV_ASSERT(fd >= 0 && (out.n == 0 || write(fd, out.p, out.n) == (ssize_t)out.n));
    close(fd);
    vv_bytes_fini(&out);
    try_store();
    try_store(); /* and once more, with what the first one made of it */
    empty_dir();
    return 0;
}
