/* bench/micro/replay.c - what does our cache miss? Replays a trace through the cache itself.
 *
 * Usage: replay FORMAT [POLICY...] < trace, the trace decompressed:
 *   i32be  one big-endian 32-bit object a request        lis   lines "first count 0 number"
 *   sized  lines "time object bytes"                     web   the CSV of a web log
 *   like   as web, every object counted as 1
 * Prints one row for each part of all objects (sized, web: of all bytes) that the cache holds and
 * each policy: miss ratio by request and by byte. Policies of ours: auto, s3fifo, gdsf, bytes;
 * plain ones for comparison: fifo, lru, clock, sieve. As in the published figures an object's size
 * is its body, so the limit is on bodies, and the budget is out of the way. */
#include "cache/store.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct request {
    uint32_t id, bytes;
};

static const double shares[] = {0.005, 0.01, 0.05, 0.1, 0.2};
static struct request *requests;
static size_t requests_n, requests_room;

static void add(uint32_t id, uint32_t bytes)
{
    if (requests_n == requests_room) {
        requests_room = requests_room > 0 ? requests_room * 2 : 65536;
        requests = realloc(requests, requests_room * sizeof(*requests));
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
        } else if ((strcmp(format, "web") == 0 || strcmp(format, "like") == 0) &&
                   sscanf(line, "%*[^,],%*[^,],%lu,%*[^,],%15[^,],%lu,%lu", &a, method, &b, &c) ==
                       4 &&
                   strcmp(method, "GET") == 0 && (b == 200 || b == 206 || b == 304)) {
            add((uint32_t)a, b == 200 && format[0] == 'w' ? (uint32_t)c : 0);
        }
    }
}

static int by_id(const void *a, const void *b)
{
    const struct request *x = a, *y = b;
    return x->id != y->id ? (x->id > y->id) - (x->id < y->id)
                          : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* An object's size is the largest that was seen; ids become 0, 1, ... */
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
        requests[i] = (struct request){(uint32_t)lo, r[lo].bytes};
    }
    free(all);
}

struct result {
    uint64_t misses, missed, bytes;
    char note[96];
};

static void replay_ours(const struct vv_cache_conf *conf, struct result *ret)
{
    static struct vv_epoch epoch;
    struct vv_epoch_reader *r;
    struct vv_cache *c;
    struct vv_cache_stats st;
    uint32_t largest = 0;
    vv_epoch_init(&epoch);
    VV_ASSERT(vv_epoch_join(&epoch, &r) == VV_OK && vv_cache_new(conf, &epoch, &c) == VV_OK);
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
        ret->bytes += s.body.n;
        if (vv_cache_lookup(c, r, &q, &soft) == NULL) {
            ret->misses++;
            ret->missed += s.body.n;
            vv_epoch_quiet(&epoch, r);
            const enum vv_err err = vv_cache_insert(c, &s, 1);
            VV_ASSERT(err == VV_OK || err == VV_ELIMIT || err == VV_ENOMEM);
            vv_epoch_quiet(&epoch, r);
        }
    }
    vv_cache_stats(c, &st);
    snprintf(ret->note, sizeof(ret->note), "%s entries=%lu refused=%lu",
             st.policy == VV_CACHE_S3FIFO ? "s3fifo"
             : st.policy == VV_CACHE_GDSF ? "gdsf"
                                          : "bytes",
             st.entries, st.refused_admission);
    free(body);
    vv_cache_check(c);
    vv_epoch_leave(&epoch, r);
    vv_cache_free(c);
    vv_epoch_fini(&epoch);
}

/* ---- plain policies: one list, newest first ---- */

enum plain { FIFO, LRU, CLOCK, SIEVE };
struct node {
    uint32_t next, prev; /* towards older, towards newer; 0: the ring's head */
    bool in, asked;
};

static void node_out(struct node *n, uint32_t i)
{
    n[n[i].prev].next = n[i].next;
    n[n[i].next].prev = n[i].prev;
}

static void node_in(struct node *n, uint32_t i)
{
    n[i].prev = 0;
    n[i].next = n[0].next;
    n[n[0].next].prev = i;
    n[0].next = i;
}

static uint32_t plain_victim(struct node *n, enum plain policy, uint32_t *hand)
{
    uint32_t i = policy == SIEVE && *hand != 0 ? *hand : n[0].prev;
    while ((policy == CLOCK || policy == SIEVE) && n[i].asked) {
        n[i].asked = false;
        if (policy == CLOCK) {
            node_out(n, i);
            node_in(n, i);
            i = n[0].prev;
        } else {
            i = n[i].prev != 0 ? n[i].prev : n[0].prev;
        }
    }
    *hand = n[i].prev;
    return i;
}

static void replay_plain(enum plain policy, uint64_t room, size_t objects, bool sized,
                         struct result *ret)
{
    struct node *n = calloc(objects + 1, sizeof(*n));
    uint32_t *size = calloc(objects + 1, sizeof(*size)), hand = 0;
    uint64_t used = 0;
    VV_ASSERT(n != NULL && size != NULL);
    for (size_t i = 0; i < requests_n; i++) {
        const uint32_t id = requests[i].id + 1, bytes = sized ? requests[i].bytes : 1;
        ret->bytes += requests[i].bytes;
        size[id] = bytes;
        if (n[id].in) {
            n[id].asked = true;
            if (policy == LRU) {
                node_out(n, id);
                node_in(n, id);
            }
            continue;
        }
        ret->misses++;
        ret->missed += requests[i].bytes;
        while (bytes <= room && used + bytes > room) {
            const uint32_t out = plain_victim(n, policy, &hand);
            node_out(n, out);
            n[out].in = n[out].asked = false;
            used -= size[out];
        }
        if (bytes <= room) {
            node_in(n, id);
            n[id].in = true;
            used += bytes;
        }
    }
    free(n);
    free(size);
}

static const struct policy {
    const char *name;
    bool ours;
    int which;
} policies[] = {{"auto", true, VV_CACHE_AUTO}, {"s3fifo", true, VV_CACHE_S3FIFO},
                {"gdsf", true, VV_CACHE_GDSF}, {"bytes", true, VV_CACHE_GDSF_BYTES},
                {"fifo", false, FIFO},         {"lru", false, LRU},
                {"clock", false, CLOCK},       {"sieve", false, SIEVE}};

static void row(const struct policy *p, double share, size_t objects, uint64_t bytes)
{
    struct result r = {0, 0, 0, ""};
    const uint64_t of_objects = (uint64_t)(share * (double)objects),
                   of_bytes = (uint64_t)(share * (double)bytes);
    if (p->ours) {
        const struct vv_cache_conf conf = {.budget_bytes = 2 * bytes + 64 * VV_MIB,
                                           .seed = 1,
                                           .object_bytes_max = UINT64_MAX,
                                           .policy = (enum vv_cache_policy)p->which,
                                           .entries_max = bytes == 0 ? of_objects : 0,
                                           .body_bytes_max = of_bytes};
        replay_ours(&conf, &r);
    } else {
        replay_plain((enum plain)p->which, bytes > 0 ? of_bytes : of_objects, objects, bytes > 0,
                     &r);
    }
    printf("%-6g %-7s %.4f %.4f %s\n", share, p->name, (double)r.misses / (double)requests_n,
           r.bytes > 0 ? (double)r.missed / (double)r.bytes : 0, r.note);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    size_t objects;
    uint64_t bytes;
    if (argc < 2) {
        fprintf(stderr, "usage: replay i32be|lis|sized|web|like [POLICY...] < trace\n");
        return 2;
    }
    if (strcmp(argv[1], "i32be") == 0) {
        read_i32be();
    } else {
        read_lines(argv[1]);
    }
    settle_sizes(&objects, &bytes);
    for (size_t s = 0; s < VV_COUNT(shares); s++) {
        for (size_t i = 0; i < VV_COUNT(policies); i++) {
            bool wanted = argc == 2;
            for (int a = 2; a < argc; a++) {
                wanted = wanted || strcmp(argv[a], policies[i].name) == 0;
            }
            if (wanted) {
                row(&policies[i], shares[s], objects, bytes);
            }
        }
    }
    free(requests);
    return 0;
}
