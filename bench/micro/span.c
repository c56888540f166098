/* bench/micro/span.c - what does it cost to record a span? Prints ns per span put into a ring that is
 * emptied in between (not timed), and ns per span for the collector's whole way.
 *
 * The best of several rounds is shown: noise only ever adds. Run it alone on an idle core:
 * `meson compile -C build bench_span && taskset -c 1 build/src/trace/bench_span`. */
#include "trace/ring.h"
#include "trace/store.h"

#include <stdio.h>
#include <time.h>

#define ROUNDS 15
#define SPANS 20000 /* a round; the ring holds them all */

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static const struct vv_span_attr attrs[] = {
    {.type = VV_ATTR_STR, .key = VV_KEY_METHOD, .str = {"GET", 3}},
    {.type = VV_ATTR_STR, .key = VV_KEY_PATH, .str = {"/api/products/1234", 18}},
    {.type = VV_ATTR_I64, .key = VV_KEY_STATUS, .i64 = 200},
    {.type = VV_ATTR_STR, .key = VV_KEY_CLIENT, .str = {"192.0.2.17", 10}},
    {.type = VV_ATTR_STR, .key = VV_KEY_CACHE, .str = {"hit", 3}},
    {.type = VV_ATTR_I64, .key = VV_KEY_RESPONSE_BYTES, .i64 = 1024},
};

struct collector {
    struct vv_assembly *assembly;
    struct vv_sampler *sampler;
    struct vv_trace_store *store;
    uint64_t now_ns;
};

static void nothing(void *user, struct vv_str packed)
{
    *(size_t *)user += packed.n;
}

static void gather(void *user, struct vv_str packed)
{
    struct collector *c = user;
    (void)vv_assembly_add(c->assembly, packed, c->now_ns);
}

static bool judge(void *user, const struct vv_trace *t, uint64_t at_ns)
{
    struct collector *c = user;
    const enum vv_sample_why why = vv_sampler_judge(c->sampler, t, false, at_ns);
    return why != VV_SAMPLE_DROP && vv_trace_store_add(c->store, t, why) == VV_OK;
}

static void late(void *user, struct vv_str packed)
{
    struct collector *c = user;
    (void)vv_trace_store_add_span(c->store, packed);
}

/* One trace is a server's span and a client's below it. */
static double put_all(struct vv_span_ring *ring, struct vv_rng *rng, size_t count)
{
    struct vv_span s = {.kind = VV_SPAN_SERVER,
                        .http_status = 200,
                        .service = {"vivace", 6},
                        .name = {"GET /api/products/:id", 21},
                        .route = {"/api/products/:id", 17},
                        .attrs = attrs,
                        .attr_count = count};
    const double began = now_ns();
    for (size_t i = 0; i < SPANS; i++) {
        if (i % 2 == 0) {
            vv_span_id_new(s.trace_id, rng);
            vv_span_id_new(s.trace_id + 8, rng);
            memset(s.parent_id, 0, sizeof s.parent_id);
        } else {
            memcpy(s.parent_id, s.span_id, sizeof s.parent_id);
        }
        vv_span_id_new(s.span_id, rng);
        s.start_ns = 1000000 + i;
        s.end_ns = s.start_ns + 2 * VV_MS;
        (void)vv_span_ring_put(ring, &s);
    }
    return (now_ns() - began) / SPANS;
}

static double collect_all(struct vv_span_ring *ring, struct collector *c)
{
    const double began = now_ns();
    (void)vv_span_ring_take(ring, gather, c, SIZE_MAX);
    c->now_ns += VV_MINUTE;
    (void)vv_assembly_tick(c->assembly, c->now_ns, SIZE_MAX);
    return (now_ns() - began) / SPANS;
}

int main(void)
{
    static const size_t counts[] = {0, 6};
    struct vv_span_ring *ring = vv_span_ring_new(16 * VV_MIB);
    struct collector c = {.now_ns = VV_SEC};
    struct vv_assembly_conf ac;
    struct vv_sample_conf sc;
    struct vv_rng rng;
    size_t bytes = 0;
    vv_rng_init(&rng, 1);
    vv_assembly_conf_default(&ac);
    vv_sample_conf_default(&sc);
    if (ring == NULL || vv_assembly_new(&ac, judge, late, &c, &c.assembly) != VV_OK ||
        vv_sampler_new(&sc, &c.sampler) != VV_OK ||
        vv_trace_store_new(16 * VV_MIB, 1, &c.store) != VV_OK) {
        return 1;
    }
    for (size_t k = 0; k < VV_COUNT(counts); k++) {
        double put = 1e18, collect = 1e18;
        for (int round = 0; round < ROUNDS; round++) {
            const double one = put_all(ring, &rng, counts[k]);
            put = one < put ? one : put;
            bytes = 0;
            (void)vv_span_ring_take(ring, nothing, &bytes, SIZE_MAX);
            (void)put_all(ring, &rng, counts[k]);
            const double all = collect_all(ring, &c);
            collect = all < collect ? all : collect;
        }
        printf("%zu attributes: %zu bytes, record %.1f ns, collect and judge %.1f ns\n", counts[k],
               bytes / SPANS, put, collect);
    }
    vv_span_ring_free(ring);
    vv_assembly_free(c.assembly);
    vv_sampler_free(c.sampler);
    vv_trace_store_free(c.store);
    return 0;
}
