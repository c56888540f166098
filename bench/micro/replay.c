/* bench/micro/replay.c - what does our cache miss? Replays a trace through the cache itself.
 *
 * Usage: replay FORMAT SHARE [POLICY] < trace, the trace decompressed:
 *   i32be  one big-endian 32-bit object a request        lis   lines "first count 0 number"
 *   sized  lines "time object bytes"                     web   the CSV of a web log
 * SHARE is the part of all objects (sized, web: of all bytes) that the cache holds. Prints the miss
 * ratio by request and by byte. As in the published figures an object's size is its body, so the
 * limit is on bodies, and the budget is out of the way. */
#include "cache/store.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct request {
    uint32_t id, bytes;
};

static struct request *requests;
static size_t requests_n, room;

static void add(uint32_t id, uint32_t bytes)
{
    if (requests_n == room) {
        room = room > 0 ? room * 2 : 65536;
        requests = realloc(requests, room * sizeof(*requests));
        VV_ASSERT(requests != NULL);
    }
    requests[requests_n++] = (struct request){id, bytes};
}

static void read_i32be(void)
{
    unsigned char b[4];
    while (fread(b, 1, 4, stdin) == 4) {
        add((uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3], 0);
    }
}

static void read_lines(const char *format)
{
    char line[512], method[16];
    while (fgets(line, sizeof(line), stdin) != NULL) {
        unsigned long a, b, c;
        if (strcmp(format, "lis") == 0 && sscanf(line, "%lu %lu", &a, &b) == 2) {
            for (unsigned long i = 0; i < b; i++) {
                add((uint32_t)(a + i), 0);
            }
        } else if (strcmp(format, "sized") == 0 && sscanf(line, "%lu %lu %lu", &a, &b, &c) == 3) {
            add((uint32_t)b, (uint32_t)c);
        } else if (strcmp(format, "web") == 0 &&
                   sscanf(line, "%*[^,],%*[^,],%lu,%*[^,],%15[^,],%lu,%lu", &a, method, &b, &c) ==
                       4 &&
                   strcmp(method, "GET") == 0 && (b == 200 || b == 206 || b == 304)) {
            add((uint32_t)a, b == 200 ? (uint32_t)c : 0);
        }
    }
}

static int by_id(const void *a, const void *b)
{
    const struct request *x = a, *y = b;
    return x->id != y->id ? (x->id > y->id) - (x->id < y->id)
                          : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* An object's size is the largest that was seen. */
static void settle_sizes(size_t *ret_objects, uint64_t *ret_bytes)
{
    struct request *all = malloc(requests_n * sizeof(*all));
    VV_ASSERT(all != NULL);
    memcpy(all, requests, requests_n * sizeof(*all));
    qsort(all, requests_n, sizeof(*all), by_id);
    size_t n = 0;
    for (size_t i = 0; i < requests_n; i++) {
        if (n > 0 && all[n - 1].id == all[i].id) {
            all[n - 1].bytes = all[i].bytes;
        } else {
            all[n++] = all[i];
        }
    }
    *ret_objects = n;
    *ret_bytes = 0;
    for (size_t i = 0; i < n; i++) {
        *ret_bytes += all[i].bytes;
    }
    for (size_t i = 0; i < requests_n; i++) {
        const struct request *r = &all[0];
        size_t lo = 0, hi = n;
        while (hi - lo > 1) {
            const size_t mid = (lo + hi) / 2;
            *(all[mid].id <= requests[i].id ? &lo : &hi) = mid;
        }
        requests[i].bytes = r[lo].bytes;
    }
    free(all);
}

static void replay(struct vv_cache *c, struct vv_epoch *epoch, struct vv_epoch_reader *r)
{
    uint64_t misses = 0, missed = 0, bytes = 0;
    uint32_t largest = 0;
    for (size_t i = 0; i < requests_n; i++) {
        largest = requests[i].bytes > largest ? requests[i].bytes : largest;
    }
    char *body = calloc(1, largest + 1u);
    for (size_t i = 0; i < requests_n; i++) {
        bool soft;
        struct vv_cache_spec s = {.key = {(const char *)&requests[i].id, 4},
                                  .keep_until_ns = UINT64_MAX,
                                  .body = {body, requests[i].bytes},
                                  .born = 1};
        s.hash = vv_cache_hash(c, s.key);
        const struct vv_cache_query q = {.key = s.key, .hash = s.hash};
        bytes += s.body.n;
        if (vv_cache_lookup(c, r, &q, &soft) == NULL) {
            misses++;
            missed += s.body.n;
            vv_epoch_quiet(epoch, r);
            if (vv_cache_insert(c, &s, 1) == VV_OK) {
                vv_epoch_quiet(epoch, r);
            }
        }
    }
    struct vv_cache_stats st;
    vv_cache_stats(c, &st);
    printf("%.4f %.4f %s entries=%lu refused=%lu\n", (double)misses / (double)requests_n,
           bytes > 0 ? (double)missed / (double)bytes : 0,
           st.policy == VV_CACHE_S3FIFO ? "s3fifo" : "gdsf", st.entries, st.refused_admission);
    free(body);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: replay i32be|lis|sized|web SHARE [s3fifo|gdsf|bytes] < trace\n");
        return 2;
    }
    if (strcmp(argv[1], "i32be") == 0) {
        read_i32be();
    } else {
        read_lines(argv[1]);
    }
    size_t objects;
    uint64_t bytes;
    settle_sizes(&objects, &bytes);
    const double share = atof(argv[2]);
    struct vv_cache_conf conf = {
        .budget_bytes = 2 * bytes + 64 * VV_MIB, .seed = 1, .object_bytes_max = UINT64_MAX};
    conf.entries_max = bytes == 0 ? (uint64_t)(share * (double)objects) : 0;
    conf.body_bytes_max = (uint64_t)(share * (double)bytes);
    if (argc > 3) {
        conf.policy = strcmp(argv[3], "gdsf") == 0    ? VV_CACHE_GDSF
                      : strcmp(argv[3], "bytes") == 0 ? VV_CACHE_GDSF_BYTES
                                                      : VV_CACHE_S3FIFO;
    }
    static struct vv_epoch epoch;
    struct vv_epoch_reader *reader;
    struct vv_cache *c;
    vv_epoch_init(&epoch);
    if (vv_epoch_join(&epoch, &reader) != VV_OK || vv_cache_new(&conf, &epoch, &c) != VV_OK) {
        return 1;
    }
    replay(c, &epoch, reader);
    vv_cache_check(c);
    vv_epoch_leave(&epoch, reader);
    vv_cache_free(c);
    vv_epoch_fini(&epoch);
    free(requests);
    return 0;
}
