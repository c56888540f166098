/* tests/unit/trace/test_ring.c - order, fullness, and one thread on each side. */
#include "trace/ring.h"
#include "vv_test.h"

#include "trace_maker.h"

#include <pthread.h>
#include <sched.h>

struct seen {
    uint64_t next, count;
    bool order;
};

static void look(void *user, struct vv_str packed)
{
    struct seen *seen = user;
    struct vv_span s;
    if (vv_span_unpack(packed, &s, NULL) != VV_OK || s.start_ns < seen->next) {
        seen->order = false;
        return;
    }
    seen->next = s.start_ns + 1;
    seen->count++;
}

static const char text[600] = "some text";

/* Spans of many sizes, so that records end everywhere before the ring's end. */
static enum vv_err put(struct vv_span_ring *r, uint64_t i)
{
    struct vv_span s = {.start_ns = i, .end_ns = i, .name = {text, i * 7 % sizeof text}};
    s.trace_id[0] = s.span_id[0] = 1;
    return vv_span_ring_put(r, &s);
}

VV_TEST(spans_come_out_in_their_order_however_the_ring_turns)
{
    struct vv_span_ring *r = vv_span_ring_new(1);
    struct seen seen = {.order = true};
    struct vv_span_ring_stats st;
    for (uint64_t i = 0; i < 20000; i++) {
        VV_CHECK_INT(put(r, i), VV_OK);
        if (i % 37 == 0) {
            (void)vv_span_ring_take(r, look, &seen, SIZE_MAX);
        }
    }
    (void)vv_span_ring_take(r, look, &seen, SIZE_MAX);
    VV_CHECK(seen.order);
    VV_CHECK_INT(seen.count, 20000);
    vv_span_ring_stats(r, &st);
    VV_CHECK(st.put == 20000 && st.dropped == 0 && st.used_bytes == 0 && st.bytes == 65536);
    vv_span_ring_free(r);
}

VV_TEST(a_full_ring_drops_and_counts_and_goes_on)
{
    struct vv_span_ring *r = vv_span_ring_new(65536);
    struct seen seen = {.order = true};
    struct vv_span_ring_stats st;
    uint64_t kept = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        kept += put(r, i) == VV_OK ? 1 : 0;
    }
    vv_span_ring_stats(r, &st);
    VV_CHECK(st.put == kept && st.dropped == 1000 - kept && kept > 100 && kept < 1000);
    VV_CHECK_INT(vv_span_ring_take(r, look, &seen, 10), 10);
    VV_CHECK_INT(put(r, 2000), VV_OK);
    (void)vv_span_ring_take(r, look, &seen, SIZE_MAX);
    VV_CHECK(seen.order && seen.count == kept + 1);
    vv_span_ring_free(r);
}

#define MANY 200000
static void *writer(void *arg)
{
    for (uint64_t i = 0; i < MANY; i++) {
        (void)put(arg, i);
    }
    return NULL;
}

VV_TEST(one_thread_puts_while_another_takes)
{
    struct vv_span_ring *r = vv_span_ring_new(65536);
    struct seen seen = {.order = true};
    struct vv_span_ring_stats st = {0};
    pthread_t t;
    VV_CHECK_INT(pthread_create(&t, NULL, writer, r), 0);
    while (st.put + st.dropped < MANY) {
        vv_span_ring_stats(r, &st);
        if (vv_span_ring_take(r, look, &seen, 100) == 0) {
            sched_yield();
        }
    }
    pthread_join(t, NULL);
    (void)vv_span_ring_take(r, look, &seen, SIZE_MAX);
    vv_span_ring_stats(r, &st);
    VV_CHECK(seen.order);
    VV_CHECK_INT(seen.count, st.put);
    VV_CHECK_INT(st.put + st.dropped, MANY);
    vv_span_ring_free(r);
}
