/* tests/unit/trace/test_map.c - edges from parents and kinds of spans. */
#include "trace/map.h"
#include "vv_test.h"

#include "trace_maker.h"

#include <stdio.h>

static struct vv_span *span(struct maker *m, uint64_t id, uint64_t parent, unsigned kind,
                            uint64_t ns, const char *service)
{
    struct vv_span *s = maker_add(m, 1, id, parent, 0, ns, service, "n");
    s->kind = (uint8_t)kind;
    return s;
}

static void check_edge(const struct vv_map_edge *e, const char *caller, const char *callee,
                       enum vv_map_kind kind, uint64_t n, uint64_t errors)
{
    VV_CHECK_SLICE(e->caller, caller);
    VV_CHECK_SLICE(e->callee, callee);
    VV_CHECK_INT(e->kind, kind);
    VV_CHECK_INT(e->count, n);
    VV_CHECK_INT(e->errors, errors);
}

VV_TEST(calls_databases_queues_and_clients_become_edges)
{
    struct vv_map *map;
    struct vv_map_edge e[16];
    struct maker m = {0};
    static const struct vv_span_attr db = {
        .type = VV_ATTR_STR, .key = VV_KEY_DB_SYSTEM_NAME, .str = {"postgresql", 10}};
    static const struct vv_span_attr host = {
        .type = VV_ATTR_STR, .key = VV_KEY_SERVER, .str = {"pay.example", 11}};
    VV_CHECK_INT(vv_map_new(100, VV_MINUTE, &map), VV_OK);
    span(&m, 1, 0, VV_SPAN_SERVER, 100 * VV_MS, "gateway");
    span(&m, 2, 1, VV_SPAN_CLIENT, 90 * VV_MS, "gateway")->http_status = 503;
    span(&m, 3, 2, VV_SPAN_SERVER, 80 * VV_MS, "shop");
    span(&m, 4, 3, VV_SPAN_INTERNAL, 70 * VV_MS, "shop"); /* within: no call */
    struct vv_span *s = span(&m, 5, 4, VV_SPAN_CLIENT, 30 * VV_MS, "shop");
    s->attrs = &db;
    s->attr_count = 1;
    s = span(&m, 6, 4, VV_SPAN_CLIENT, 40 * VV_MS, "shop");
    s->attrs = &host;
    s->attr_count = 1;
    s->status = VV_SPAN_ERROR;
    span(&m, 7, 4, VV_SPAN_PRODUCER, 1 * VV_MS, "shop");
    span(&m, 8, 7, VV_SPAN_CONSUMER, 500 * VV_MS, "mailer");
    span(&m, 9, 4, VV_SPAN_CLIENT, 1 * VV_MS, "shop"); /* says nothing of whom */
    vv_map_add(map, &m.trace, VV_SEC);
    VV_CHECK_INT(vv_map_edges(map, 2 * VV_SEC, e, 16), 5);
    check_edge(&e[0], "client", "gateway", VV_MAP_ENTRY, 1, 0);
    check_edge(&e[1], "gateway", "shop", VV_MAP_CALL, 1, 1);
    VV_CHECK_INT(e[1].p50_ns,
                 90 * VV_MS); /* the caller's view; no bucket says more than was seen */
    VV_CHECK(!e[1].external);
    check_edge(&e[2], "shop", "mailer", VV_MAP_QUEUE, 1, 0);
    VV_CHECK_INT(e[2].p50_ns, 500 * VV_MS); /* the consumer's: the producer only put it there */
    check_edge(&e[3], "shop", "pay.example", VV_MAP_CALL, 1, 1);
    check_edge(&e[4], "shop", "postgresql", VV_MAP_DATABASE, 1, 0);
    VV_CHECK(e[3].external && e[4].external);
    VV_CHECK_INT(vv_map_edges(map, 2 * VV_SEC, e, 2), 2);
    vv_map_free(map);
}

VV_TEST(rates_and_quantiles_cover_two_periods_and_then_fade)
{
    struct vv_map *map;
    struct vv_map_edge e[4];
    VV_CHECK_INT(vv_map_new(100, 10 * VV_SEC, &map), VV_OK);
    for (uint64_t i = 0; i < 200; i++) { /* ten a second for 20 s; 5 % of 1 s among 10 ms */
        struct maker m = {0};
        span(&m, 1, 0, VV_SPAN_SERVER, i % 20 == 7 ? VV_SEC : 10 * VV_MS, "api");
        vv_map_add(map, &m.trace, 100 * VV_SEC + i * 100 * VV_MS);
    }
    VV_CHECK_INT(vv_map_edges(map, 120 * VV_SEC - 1, e, 4), 1);
    VV_CHECK_INT(e[0].count, 200);
    VV_CHECK(e[0].rate > 9.9 && e[0].rate < 10.1);
    VV_CHECK(e[0].p50_ns >= 10 * VV_MS && e[0].p50_ns <= 12500 * VV_US); /* within 25 % */
    VV_CHECK_INT(e[0].p99_ns, VV_SEC);
    VV_CHECK_INT(vv_map_edges(map, 125 * VV_SEC, e, 4), 1); /* the second ten seconds are left */
    VV_CHECK_INT(e[0].count, 100);
    VV_CHECK_INT(vv_map_edges(map, 140 * VV_SEC, e, 4), 0);
    struct maker m = {0}; /* a gone edge leaves its room */
    span(&m, 1, 0, VV_SPAN_SERVER, VV_SEC, "api");
    vv_map_add(map, &m.trace, 141 * VV_SEC);
    VV_CHECK_INT(vv_map_edges(map, 141 * VV_SEC, e, 4), 1);
    VV_CHECK_INT(e[0].count, 1);
    vv_map_free(map);
}

VV_TEST(edges_over_the_bound_are_counted)
{
    struct vv_map *map;
    struct vv_map_edge e[20];
    char name[16];
    VV_CHECK_INT(vv_map_new(10, VV_MINUTE, &map), VV_OK);
    for (int i = 0; i < 15; i++) {
        struct maker m = {0};
        snprintf(name, sizeof name, "s%02d", i);
        span(&m, 1, 0, VV_SPAN_SERVER, 1, name);
        vv_map_add(map, &m.trace, 1);
    }
    VV_CHECK_INT(vv_map_edges(map, 1, e, 20), 10);
    VV_CHECK_INT(vv_map_dropped(map), 5);
    vv_map_free(map);
}
