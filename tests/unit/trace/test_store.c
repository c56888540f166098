/* tests/unit/trace/test_store.c - finding kept traces, and giving way. */
#include "trace/store.h"
#include "vv_test.h"

#include "trace_maker.h"

#include <stdlib.h>

/* Two spans; the route is "/a" or "/b" by the id's last bit. */
static enum vv_err add(struct vv_trace_store *s, uint64_t id, uint64_t start_ns, uint64_t ns,
                       unsigned status)
{
    struct maker m = {0};
    static uint8_t buf[2][1024];
    struct vv_str packed[2];
    struct vv_trace t;
    void *memory;
    struct vv_span *root = maker_add(&m, id, 1, 0, start_ns, start_ns + ns, "shop", "GET");
    root->route = id % 2 == 0 ? VV_STR("/a") : VV_STR("/b");
    root->http_status = (uint16_t)status;
    root->status = status >= 500 ? VV_SPAN_ERROR : VV_SPAN_UNSET;
    maker_add(&m, id, 2, 1, start_ns, start_ns + ns / 2, "db", "select");
    for (size_t i = 0; i < 2; i++) { /* the child comes first */
        packed[1 - i] = (struct vv_str){(char *)buf[i], vv_span_pack(&m.span[i], buf[i])};
    }
    VV_CHECK_INT(vv_trace_open(packed, 2, &t, &memory), VV_OK);
    const enum vv_err err = vv_trace_store_add(s, &t, VV_SAMPLE_SHARE);
    free(memory);
    return err;
}

static struct vv_trace_store *begin(void)
{
    struct vv_trace_store *s;
    VV_CHECK_INT(vv_trace_store_new(VV_MIB, 1, &s), VV_OK);
    for (uint64_t i = 1; i <= 20; i++) {
        VV_CHECK_INT(add(s, i, i * VV_SEC, i * VV_MS, i % 5 == 0 ? 503 : 200), VV_OK);
    }
    return s;
}

static uint64_t count(struct vv_trace_store *s, struct vv_trace_query q)
{
    struct vv_trace_summary found[30];
    uint64_t total;
    const size_t n = vv_trace_store_find(s, &q, found, 30, &total);
    VV_CHECK_INT(n, total);
    return total;
}

VV_TEST(a_trace_is_found_by_its_id_whole)
{
    struct vv_trace_store *s = begin();
    struct vv_trace t;
    void *memory;
    uint8_t id[VV_TRACE_ID_BYTES];
    maker_id(id, sizeof id, 7);
    VV_CHECK_INT(vv_trace_store_get(s, id, &t, &memory), VV_OK);
    VV_CHECK(t.count == 2 && t.root == 1 && memcmp(t.id, id, sizeof id) == 0);
    VV_CHECK_SLICE(t.spans[0].name, "select");
    free(memory);
    maker_id(id, sizeof id, 99);
    VV_CHECK_INT(vv_trace_store_get(s, id, &t, &memory), VV_ENOENT);
    vv_trace_store_free(s);
}

VV_TEST(every_filter_narrows)
{
    struct vv_trace_store *s = begin();
    VV_CHECK_INT(count(s, (struct vv_trace_query){0}), 20);
    VV_CHECK_INT(count(s, (struct vv_trace_query){.route = VV_STR("/a")}), 10);
    VV_CHECK_INT(count(s, (struct vv_trace_query){.route = VV_STR("/c")}), 0);
    VV_CHECK_INT(count(s, (struct vv_trace_query){.service = VV_STR("shop")}), 20);
    VV_CHECK_INT(count(s, (struct vv_trace_query){.service = VV_STR("db")}), 0); /* of the root */
    VV_CHECK_INT(count(s, (struct vv_trace_query){.errors_only = true}), 4);
    VV_CHECK_INT(count(s, (struct vv_trace_query){.status_min = 500, .status_max = 599}), 4);
    VV_CHECK_INT(count(s, (struct vv_trace_query){.duration_min_ns = 15 * VV_MS}), 6);
    VV_CHECK_INT(count(s, (struct vv_trace_query){.duration_max_ns = 4 * VV_MS}), 4);
    VV_CHECK_INT(count(s, (struct vv_trace_query){.from_ns = 5 * VV_SEC, .until_ns = 8 * VV_SEC}),
                 3);
    VV_CHECK_INT(count(s, (struct vv_trace_query){.errors_only = true, .route = VV_STR("/a")}), 2);
    vv_trace_store_free(s);
}

VV_TEST(newest_or_slowest_come_first)
{
    struct vv_trace_store *s = begin();
    struct vv_trace_summary found[5];
    uint64_t total;
    struct vv_trace_query q = {0};
    VV_CHECK_INT(vv_trace_store_find(s, &q, found, 5, NULL), 5);
    VV_CHECK(found[0].id[15] == 20 && found[4].id[15] == 16 && found[0].spans == 2);
    VV_CHECK_SLICE(found[0].route, "/a");
    VV_CHECK_INT(add(s, 50, 1, 10500 * VV_US, 200), VV_OK);
    q.order = VV_TRACE_SLOWEST;
    q.duration_max_ns = 12 * VV_MS;
    VV_CHECK_INT(vv_trace_store_find(s, &q, found, 5, &total), 5);
    VV_CHECK_INT(total, 13);
    static const uint8_t want[] = {12, 11, 50, 10, 9};
    for (size_t i = 0; i < 5; i++) {
        VV_CHECK_INT(found[i].id[15], want[i]);
    }
    vv_trace_store_free(s);
}

VV_TEST(the_oldest_give_way_and_the_budget_holds)
{
    struct vv_trace_store *s;
    struct vv_trace_store_stats st;
    struct vv_trace t;
    void *memory;
    uint8_t id[VV_TRACE_ID_BYTES];
    VV_CHECK_INT(vv_trace_store_new(64 * VV_KIB, 1, &s), VV_OK);
    for (uint64_t i = 1; i <= 5000; i++) {
        VV_CHECK_INT(add(s, i, i, 1 + i % 7, 200), VV_OK);
        maker_id(id, sizeof id, i);
        VV_CHECK_INT(vv_trace_store_get(s, id, &t, &memory), VV_OK);
        VV_CHECK_INT(vv_span_ns(&t.spans[t.root]), 1 + i % 7);
        free(memory);
    }
    vv_trace_store_stats(s, &st);
    VV_CHECK(st.used_bytes <= 64 * VV_KIB && st.traces + st.evicted == 5000 && st.traces > 40);
    VV_CHECK_INT(st.oldest_ns, 5000 - st.traces + 1);
    VV_CHECK_INT(st.spans, 2 * st.traces);
    maker_id(id, sizeof id, st.oldest_ns - 1);
    VV_CHECK_INT(vv_trace_store_get(s, id, &t, &memory), VV_ENOENT);
    VV_CHECK_INT(vv_trace_store_find(s, &(struct vv_trace_query){0}, NULL, 0, &st.added), 0);
    VV_CHECK_INT(st.added, st.traces);
    vv_trace_store_free(s);
    VV_CHECK_INT(vv_trace_store_new(1000, 1, &s), VV_EINVAL);
}

VV_TEST(a_late_span_joins_its_trace)
{
    struct vv_trace_store *s = begin();
    struct vv_trace_store_stats st;
    struct vv_trace t;
    void *memory;
    struct maker m = {0};
    uint8_t buf[512];
    maker_add(&m, 7, 3, 1, 7 * VV_SEC, 7 * VV_SEC + 1, "late", "span")->status = VV_SPAN_ERROR;
    const struct vv_str packed = {(char *)buf, vv_span_pack(m.span, buf)};
    VV_CHECK_INT(vv_trace_store_add_span(s, packed), VV_OK);
    VV_CHECK_INT(vv_trace_store_get(s, m.span[0].trace_id, &t, &memory), VV_OK);
    VV_CHECK(t.count == 3 && t.error);
    free(memory);
    vv_trace_store_stats(s, &st);
    VV_CHECK(st.traces == 20 && st.spans == 41);
    VV_CHECK_INT(count(s, (struct vv_trace_query){.errors_only = true}), 5);
    for (int i = 1; i < VV_TRACE_LATE_MAX; i++) {
        VV_CHECK_INT(vv_trace_store_add_span(s, packed), VV_OK);
    }
    VV_CHECK_INT(vv_trace_store_add_span(s, packed), VV_ELIMIT);
    maker_id(m.span[0].trace_id, 16, 77);
    const struct vv_str other = {(char *)buf, vv_span_pack(m.span, buf)};
    VV_CHECK_INT(vv_trace_store_add_span(s, other), VV_ENOENT);
    vv_trace_store_free(s);
}
