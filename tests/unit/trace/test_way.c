/* tests/unit/trace/test_way.c - the whole way of a span: ring, assembly, judge, store, map; and spans of an
 * application joining the gateway's in one trace. */
#include "trace/map.h"
#include "trace/otlp.h"
#include "trace/path.h"
#include "trace/ring.h"
#include "trace/store.h"
#include "vv_test.h"

#include "trace_maker.h"

#include <stdlib.h>

struct collector {
    struct vv_assembly *assembly;
    struct vv_sampler *sampler;
    struct vv_trace_store *store;
    struct vv_map *map;
    uint64_t now_ns;
};

static void gather(void *user, struct vv_str packed)
{
    struct collector *c = user;
    VV_CHECK_INT(vv_assembly_add(c->assembly, packed, c->now_ns), VV_OK);
}

static bool ingest(void *user, const struct vv_span *s)
{
    uint8_t buf[VV_SPAN_PACKED_MAX];
    gather(user, (struct vv_str){(char *)buf, vv_span_pack(s, buf)});
    return true;
}

static bool judge(void *user, const struct vv_trace *t, uint64_t now_ns)
{
    struct collector *c = user;
    vv_map_add(c->map, t, now_ns);
    const enum vv_sample_why why = vv_sampler_judge(c->sampler, t, false, now_ns);
    return why != VV_SAMPLE_DROP && vv_trace_store_add(c->store, t, why) == VV_OK;
}

static void late(void *user, struct vv_str packed)
{
    VV_CHECK_INT(vv_trace_store_add_span(((struct collector *)user)->store, packed), VV_OK);
}

static void begin(struct collector *c)
{
    struct vv_assembly_conf ac;
    struct vv_sample_conf sc;
    vv_assembly_conf_default(&ac);
    vv_sample_conf_default(&sc);
    sc.share_ppm = 0;
    sc.rare_count = 0;
    *c = (struct collector){.now_ns = VV_SEC};
    VV_CHECK_INT(vv_assembly_new(&ac, judge, late, c, &c->assembly), VV_OK);
    VV_CHECK_INT(vv_sampler_new(&sc, &c->sampler), VV_OK);
    VV_CHECK_INT(vv_trace_store_new(VV_MIB, 1, &c->store), VV_OK);
    VV_CHECK_INT(vv_map_new(100, VV_MINUTE, &c->map), VV_OK);
}

static void end(struct collector *c)
{
    vv_assembly_free(c->assembly);
    vv_sampler_free(c->sampler);
    vv_trace_store_free(c->store);
    vv_map_free(c->map);
}

static const char application[] =
    "{\"resourceSpans\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":{"
    "\"stringValue\":\"shop\"}}]},\"scopeSpans\":[{\"spans\":[{\"traceId\":"
    "\"00000000000000000000000000000007\",\"spanId\":\"0000000000000003\",\"parentSpanId\":"
    "\"0000000000000002\",\"name\":\"handle\",\"kind\":2,\"startTimeUnixNano\":\"30000000\","
    "\"endTimeUnixNano\":\"80000000\",\"status\":{\"code\":2}}]}]}]}";

VV_TEST(spans_of_the_gateway_and_an_application_become_one_kept_trace)
{
    struct collector c;
    struct maker m = {0};
    struct vv_otlp_limits limits;
    struct vv_otlp_result result;
    struct vv_map_edge edges[4];
    struct vv_trace t;
    struct vv_path p;
    void *memory;
    begin(&c);
    vv_otlp_limits_default(&limits);
    struct vv_span_ring *ring = vv_span_ring_new(1);
    maker_add(&m, 7, 1, 55, 10 * VV_MS, 100 * VV_MS, "gateway", "GET /x");
    m.span[0].flags = VV_SPAN_F_ENTRY | VV_SPAN_F_OURS; /* its caller's spans never come here */
    m.span[0].kind = VV_SPAN_SERVER;
    maker_add(&m, 7, 2, 1, 20 * VV_MS, 90 * VV_MS, "gateway", "GET")->kind = VV_SPAN_CLIENT;
    maker_add(&m, 8, 1, 0, 10 * VV_MS, 11 * VV_MS, "gateway", "fine")->kind = VV_SPAN_SERVER;
    for (size_t i = 0; i < 3; i++) {
        VV_CHECK_INT(vv_span_ring_put(ring, &m.span[i]), VV_OK);
    }
    VV_CHECK_INT(vv_span_ring_take(ring, gather, &c, SIZE_MAX), 3);
    VV_CHECK_INT(vv_otlp_read(vv_str_from(application), &limits, ingest, &c, &result), VV_OK);
    VV_CHECK_INT(vv_assembly_tick(c.assembly, 5 * VV_SEC, SIZE_MAX), 2);
    /* Only the one whose application failed stays. */
    VV_CHECK_INT(vv_trace_store_get(c.store, m.span[2].trace_id, &t, &memory), VV_ENOENT);
    VV_CHECK_INT(vv_trace_store_get(c.store, m.span[0].trace_id, &t, &memory), VV_OK);
    VV_CHECK(t.count == 3 && t.error);
    VV_CHECK_INT(vv_path_compute(&t, &p), VV_OK);
    VV_CHECK_INT(p.order_count, 3);
    VV_CHECK_INT(p.span[p.order[0]].exclusive_ns, 20 * VV_MS); /* 90 - 70 */
    VV_CHECK_INT(p.span[p.order[1]].exclusive_ns, 20 * VV_MS); /* 70 - 50 */
    VV_CHECK_INT(p.span[p.order[2]].exclusive_ns, 50 * VV_MS);
    vv_path_fini(&p);
    free(memory);
    VV_CHECK_INT(vv_map_edges(c.map, 5 * VV_SEC, edges, 4), 2);
    VV_CHECK_SLICE(edges[0].caller, "client");
    VV_CHECK_INT(edges[0].count, 2);
    VV_CHECK_SLICE(edges[1].callee, "shop");
    /* A span that comes after the decision still joins. */
    maker_add(&m, 7, 4, 3, 40 * VV_MS, 50 * VV_MS, "shop", "query");
    VV_CHECK_INT(vv_span_ring_put(ring, &m.span[3]), VV_OK);
    VV_CHECK_INT(vv_span_ring_take(ring, gather, &c, SIZE_MAX), 1);
    VV_CHECK_INT(vv_trace_store_get(c.store, m.span[0].trace_id, &t, &memory), VV_OK);
    VV_CHECK_INT(t.count, 4);
    free(memory);
    vv_span_ring_free(ring);
    end(&c);
}
